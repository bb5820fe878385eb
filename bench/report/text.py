"""How figures are put into words, the same in Markdown, LaTeX and on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.api import Metric, Value
from bench.report import leaderboard
from bench.report.leaderboard import Change
from bench.report.merge_runs import Merged
from bench.report.selection import Choice
from bench.results.store import Run

LISTED = 12  # names of missing cells in one sentence


@dataclass(frozen=True, slots=True)
class Style:
    """Digits and intervals as they were asked for."""

    digits: int | None = None
    intervals: bool = True

    @classmethod
    def of(cls, choice: Choice, *, intervals: bool) -> Style:
        """As chosen; ``intervals`` says what suits the table where nothing was."""
        return cls(choice.digits, intervals if choice.intervals is None else choice.intervals)

    def number(self, value: float, metric: Metric) -> str:
        return leaderboard.number(value, metric, self.digits)

    def interval(self, value: Value, metric: Metric) -> str:
        """Empty where none was made or none is to be shown."""
        return leaderboard.interval(value.lo, value.hi, metric, self.digits) if self.intervals else ""

    def change(self, moved: Change | None, metric: Metric) -> str:
        """A difference with its sign; in parentheses unless it is clear."""
        if moved is None:
            return ""
        shown = leaderboard.difference(moved, metric, self.digits)
        shown = shown if moved.clear else f"({shown})"
        if not self.intervals or moved.lo is None or moved.hi is None:
            return shown
        ends = (
            leaderboard.difference(Change(end, None, None, clear=True), metric, self.digits)
            for end in (moved.lo, moved.hi)
        )
        return f"{shown} [{', '.join(ends)}]"


def baseline(pattern: str) -> str:
    """What a column of changes is."""
    return (
        f"Δ is the difference to {pattern} of the same network, in parentheses unless its paired 95 % interval lies on "
        "one side of 0 by more than the certified errors."
    )


def pending(run: Run) -> dict[tuple[str, str], str]:
    """By protocol and data set, the rows that have no result yet; those of complete tables are left out."""
    there = {result.key for result in run.results}
    names: dict[tuple[str, str], list[str]] = {}
    for key, cell in zip(run.plan.keys, run.plan.cells, strict=False):
        if key not in there:
            name = f"{cell['method']} on {cell['model']}" if "method" in cell else cell["model"]
            names.setdefault((cell["protocol"], cell["dataset"]), []).append(name)
    return {place: listed(missing) for place, missing in names.items()}


def listed(names: Sequence[str], most: int = LISTED) -> str:
    """The first few, and how many more."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def about(run: Run) -> Iterable[str]:
    """Sentences on a run of several: which, and what tells their rows apart."""
    if isinstance(run, Merged):
        yield f"Several runs: {', '.join(source.name for source in run.sources)}."
        yield from run.remarks


def millions(value: int) -> str:
    """Such as 44.0, or 0.07 for a small network."""
    return f"{value / 1e6:.3g}" if value < 10e6 else f"{value / 1e6:.1f}"


def count(value: int) -> str:
    return f"{value:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def minus(text: str) -> str:
    return text.replace("-", "\N{MINUS SIGN}")
