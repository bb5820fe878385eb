"""Conditions on differences that may fail, for continuous integration: met, or impossible to judge.

A condition is judged on every pair of cells that has its metric. A cell of A without a partner in B, a figure or an
interval that one of them lacks, and results of other images cannot be judged, and fail like a condition that is met
unless that is allowed. What both lack for the same reason was lost by nobody.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import inf
from typing import Literal

from bench.core.errors import UnknownName, UsageError
from bench.results.compare import Difference

OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt,
}  # fmt: skip
CONDITION = re.compile(r"\s*(\w+)(?:\.(lo|hi))?\s*(<=|>=|<|>)\s*([-+]?\d*\.?\d+(?:[eE][-+]?\d+)?)\s*(%?)\s*")
Outcome = Literal["passed", "met", "unknown", "skipped"]


@dataclass(frozen=True)
class Condition:
    """A bound on a difference B - A, or on an end of its interval."""

    text: str
    metric: str
    end: str  # lo, hi, or empty for the difference itself
    sign: str
    bound: float  # as figures are in files: rates are fractions
    rate: bool

    def __str__(self) -> str:
        """The condition with its unit."""
        name = f"{self.metric}{'.' * bool(self.end)}{self.end}"
        bound = f"{100 * self.bound:g} points of a percent" if self.rate else f"{self.bound:g}"
        return f"{name} {self.sign} {bound}"


@dataclass(frozen=True)
class Judgement:
    """A condition on one pair of cells, or a cell that has no pair."""

    cell: str
    condition: str
    outcome: Outcome
    words: str  # why; empty for what passed

    @property
    def name(self) -> str:
        """The first words of a line."""
        return ": ".join(filter(None, (self.cell, self.condition)))


def parse(expression: str, differences: Sequence[Difference]) -> list[Condition]:
    """Return the conditions of ``ap < -1% or auroc.hi < 0``.

    Raise UsageError for what is no condition, and for a bound that no difference of two rates can pass: a rate is a
    fraction here, and ``%`` says otherwise. Raise UnknownName for a metric that no pair has.
    """
    units = {difference.metric: difference for difference in differences}
    conditions = []
    for text in re.split(r"\bor\b", expression):
        parsed = CONDITION.fullmatch(text)
        if parsed is None:
            raise UsageError(f"--fail-if: {text.strip()!r} must be METRIC[.lo|.hi] < NUMBER[%], such as 'ap.hi < 0'")
        metric, end, sign, number, unit = parsed.groups()
        if metric not in units:
            raise UnknownName("metric", metric, units, "--fail-if")
        limit = units[metric].largest
        rate = limit < inf
        if unit and not rate:
            raise UsageError(f"--fail-if: {text.strip()!r}: {metric} is no rate, leave out the %")
        bound = float(number) / (100 if unit else 1)
        if rate and (abs(bound) > limit or not any(OPERATORS[sign](end, bound) for end in (-limit, limit))):
            raise UsageError(
                f"--fail-if: {text.strip()!r} is met by every difference or by none: rates are fractions,"
                f" their differences lie in [{-limit:g}, {limit:g}]; for points of a percent write '{text.strip()}%'"
            )
        conditions.append(Condition(text.strip(), metric, end or "", sign, bound, rate))
    return conditions


def judge(
    conditions: Sequence[Condition], differences: Sequence[Difference], unpaired: Sequence[str], *, allow_missing: bool
) -> list[Judgement]:
    """Return a judgement for each condition and pair that has its metric, and for each cell that is ``unpaired``."""
    lost: Outcome = "skipped" if allow_missing else "unknown"
    judged = [Judgement(cell, "", lost, "B has no such cell") for cell in unpaired]
    return judged + [judgement for condition in conditions for judgement in _judged(condition, differences, lost)]


def _judged(condition: Condition, differences: Sequence[Difference], lost: Outcome) -> Iterator[Judgement]:
    for difference in differences:
        if difference.metric != condition.metric:
            continue
        value = getattr(difference, condition.end or "difference")
        cell = " / ".join(filter(None, (difference.cell, _sides(difference))))
        if difference.same:
            yield Judgement(cell, str(condition), "skipped", f"neither has it: {difference.reason}")
        elif not difference.alike:
            yield Judgement(cell, str(condition), lost, "A and B are of other images")
        elif value is None:
            yield Judgement(cell, str(condition), lost, difference.reason or "it has no value")
        elif OPERATORS[condition.sign](value, condition.bound):
            shown = f"{100 * value:+.4g} points" if condition.rate else f"{value:+.4g}"
            what = f"{condition.metric} differs by" if not condition.end else f"{condition.metric}.{condition.end} is"
            yield Judgement(cell, str(condition), "met", f"{what} {shown}, which meets {condition.text!r}")
        else:
            yield Judgement(cell, str(condition), "passed", "")


def _sides(difference: Difference) -> str:
    return "" if difference.whole else f"{difference.first} and {difference.second}"
