"""Figures as tables have them, and what may be said when two of them are compared."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from bench.api import Metric, Undefined, Value
from bench.results.resampled import between, beyond
from bench.results.store import CellLabels, Result, Run

Key = TypeVar("Key")  # of rows that are compared
Draws = NDArray[np.float64]  # [R], the figure in each resample

CLOSE = "No figure is bold in a column where the paired 95 % interval of its difference to another row contains 0."
HIDDEN = "No figure is bold in a column where the lead is clear but smaller than the digits that are shown."
UNPAIRED = "No figure is bold in a column where some row has no bootstrap that could be compared image by image."
UNMARKED = "No figure is marked in a column where some row has no bootstrap that could be compared image by image."
LACKING = Undefined("this result holds no such figure")


@dataclass(frozen=True, slots=True)
class Change:
    """A difference to the same figure elsewhere, this one minus that, with its paired 95 % interval if there is one."""

    value: float
    lo: float | None
    hi: float | None
    clear: bool  # whether the interval excludes 0 by more than the certified errors

    @classmethod
    def of(cls, value: Value, before: Value, ends: tuple[float | None, float | None]) -> Change:
        """From both figures and the ends of the interval of their difference."""
        (lo, hi), err = ends, value.err + before.err
        return cls(value.value - before.value, lo, hi, lo is not None and hi is not None and (lo > err or hi < -err))


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure in its column."""

    metric: Metric
    value: Value | Undefined
    best: bool = False
    note: int | None = None  # number of the footnote, from 1
    change: Change | None = None  # to the baseline of the same network
    partial: int = 0  # in the table of a paper: how many images it is of, where the data was cut
    level: bool | None = None  # in the matrix: whether it is the first of its column, or not clearly worse than that


@dataclass(frozen=True, slots=True)
class Absence:
    """Why some pairs of model and method cannot be evaluated."""

    reason: str
    pairs: tuple[str, ...]


def numbered(figures: Iterable[Figure], notes: dict[str, int]) -> tuple[Figure, ...]:
    """Return the figures with the numbers of their footnotes; ``notes`` takes new reasons."""
    return tuple(
        replace(figure, note=notes.setdefault(figure.value.reason, len(notes) + 1))
        if isinstance(figure.value, Undefined)
        else figure
        for figure in figures
    )


def absences(results: Iterable[Result]) -> tuple[Absence, ...]:
    """Return each reason once, with the pairs that it holds for."""
    reasons: dict[str, dict[str, None]] = {}
    for result in results:
        if result.not_applicable:
            reasons.setdefault(result.not_applicable, {})[pair(result)] = None
    return tuple(Absence(reason, tuple(pairs)) for reason, pairs in reasons.items())


def absent_cells(run: Run) -> list[tuple[str, CellLabels | None]]:
    """Return key and labels of each cell without a result; no labels where an old plan has none."""
    keys = {result.key for result in run.results}
    return [cell for cell in zip_longest(run.plan.keys, run.plan.cells) if cell[0] not in keys]


def pair(result: Result) -> str:
    """Return what a row stands for: its method on its model."""
    method, model = result.labels.method, result.labels.model
    return f"{method} on {model}" if method else model


def uses_outliers(result: Result) -> bool:
    """Whether the method or the network was trained with data that shows anomalies."""
    about = result.about
    return bool(about.get("method", {}).get("uses_outliers") or about.get("model", {}).get("uses_outliers"))


def reference(result: Result) -> bool:
    """Whether the figures are those of the published code, quirks included."""
    method = result.cell.method
    return method is not None and method.params.get("fidelity") == "reference"


def version(result: Result) -> Any:
    """Return the version of its protocol as the result has it; None where it has none."""
    return result.about.get("protocol", {}).get("version")


def gain(value: float, metric: Metric) -> float:
    """Return the figure with the sign that makes more of it better."""
    return -value if metric.better == "lower" else value


def ranks(values: Mapping[Key, float], metric: Metric) -> dict[Key, int]:
    """Return ranks from 1; equal values share a rank and the next one is skipped. None where nothing is better."""
    if metric.better == "neither":
        return {}
    gains = {key: gain(value, metric) for key, value in values.items()}
    return {key: 1 + sum(other > own for other in gains.values()) for key, own in gains.items()}


def leader(
    values: Mapping[str, Value],
    results: Mapping[str, Sequence[Result]],
    draws: Callable[[str], Draws | None],
    name: str,
    metric: Metric,
) -> tuple[str | None, str]:
    """Return the row whose lead over every other lies outside the paired interval; or None, and the remark on why.

    ``results`` are those that each value is the mean of, ``draws`` gives its resamples.
    """
    if metric.better == "neither" or len(values) < 2:
        return None, ""
    top = max(values, key=lambda key: gain(values[key].value, metric))
    others = [key for key in values if key != top]
    if not all(_paired(results[top], results[key], name) for key in others):
        return None, UNPAIRED
    clear = [leads(draws(top), draws(key), metric, values[top].err + values[key].err) for key in others]
    if None in clear:
        return None, UNPAIRED
    return (top, "") if all(clear) else (None, CLOSE)


def level(
    values: Mapping[Key, Value],
    results: Mapping[Key, Sequence[Result]],
    draws: Callable[[Key], Draws | None],
    name: str,
    metric: Metric,
) -> tuple[frozenset[Key], str]:
    """Return the row that stands first with all that the paired interval does not tell from it, and a remark.

    Parameters are those of ``leader``. No row, where there is no rival or some row cannot be compared: the remark says
    which. A single row is a clear lead.
    """
    if metric.better == "neither" or len(values) < 2:
        return frozenset(), ""
    top = max(values, key=lambda key: gain(values[key].value, metric))
    kept = {top}
    for key, value in values.items():
        if key == top:
            continue
        alike = _paired(results[top], results[key], name)
        ahead = leads(draws(top), draws(key), metric, values[top].err + value.err) if alike else None
        if ahead is None:
            return frozenset(), UNMARKED
        if not ahead:
            kept.add(key)
    return frozenset(kept), ""


def _paired(first: Sequence[Result], other: Sequence[Result], name: str) -> bool:
    """Whether two figures, or means over the same data sets, are paired in each result."""
    labels, others = ([result.labels.dataset for result in results] for results in (first, other))
    alike = labels == others or len(labels) == len(others) == 1
    return alike and all(paired(*pair, name) for pair in zip(first, other, strict=True))


def paired(first: Result, other: Result, metric: str) -> bool:
    """Whether the n-th replicate of both is the same draw of the same images."""
    for result in (first, other):
        figure = result.metrics[metric]
        if not isinstance(figure, Value) or figure.lo is None:
            return False
    # The digest of a data set stands for the ids of its images, also where the two are of different runs.
    same = first.images == other.images and first.depends.get("dataset") == other.depends.get("dataset")
    drawn = (first.cell.recorded(name) == other.cell.recorded(name) for name in ("seed", "resample"))
    return same and all(drawn)


def leads(draws: Draws | None, others: Draws | None, metric: Metric, err: float) -> bool | None:
    """Whether the first are better than the others by more than ``err``; None if no resample has both."""
    if draws is None or others is None or draws.shape != others.shape:
        return None
    return beyond(draws - others if metric.better == "higher" else others - draws, err)


def change(run: Run, result: Result, before: Result, metric: str) -> Change | None:
    """Return the figure of ``result`` minus that of ``before``; None unless both are defined."""
    value, baseline = result.metrics.get(metric), before.metrics.get(metric)
    if not isinstance(value, Value) or not isinstance(baseline, Value):
        return None
    pair = (result, before) if paired(result, before, metric) else ()
    drawn = [run.replicates(member).get(metric) for member in pair] or [None, None]
    return Change.of(value, baseline, between(*drawn))
