"""Figures over several cells: pure functions of results, invalid while one of their cells is missing or partial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.api import Undefined, Value
from bench.store import Result, Run

UNFINISHED = "{} of {} cells are finished and complete"  # a reason that says no more than the counts
FIELDS = ("value", "lo", "hi", "cells", "of", "reason")  # of a mean, in summaries.json


@dataclass(frozen=True, slots=True, eq=False)
class Mean:
    """The unweighted mean of one metric over cells, or why it has no value."""

    value: float | None
    err: float  # certified half-width: the mean of those of the cells
    lo: float | None  # 2.5 and 97.5 percentiles of ``draws``
    hi: float | None
    cells: int  # how many can be used
    of: int  # how many are needed
    reason: str | None  # why there is no value
    # [R]: the mean in each resample; None where a cell has no replicates, or another number of them
    draws: NDArray[np.float64] | None = field(default=None, repr=False)

    @property
    def complete(self) -> bool:
        return self.value is not None


def compute(run: Run) -> list[dict[str, Any]]:
    """One entry per summary asked for, model, method and metric; docs/results.md describes the fields."""
    return [entry for rule in run.plan.summaries for entry in _rule(run, rule)]


def _rule(run: Run, rule: Mapping[str, Any]) -> list[dict[str, Any]]:
    groups: dict[tuple[str, str | None], list[Result]] = {}
    for result in run.results:
        labels = result.labels
        named = {labels["protocol"], result.cell["protocol"]["name"]}
        if rule["protocol"] in named and _covers(rule, labels["dataset"]):
            groups.setdefault((labels["model"], labels.get("method")), []).append(result)
    entries = []
    for (model, method), group in groups.items():
        for metric, definition in group[0].definitions.items():
            if definition.better == "neither":
                continue
            base = {
                "name": rule["name"],
                "protocol": rule["protocol"],
                "model": model,
                "method": method,
                "metric": metric,
            }
            found = mean(run, group, metric, _asked(run, group[0], rule))
            entries.append(base | {name: getattr(found, name) for name in FIELDS})
    return entries


def _covers(rule: Mapping[str, Any], dataset: str) -> bool:
    """Whether the mean runs over that data set; runs of before corruptions were an axis have a pattern."""
    datasets = rule.get("datasets")
    return fnmatchcase(dataset, rule["dataset"]) if datasets is None else dataset in datasets


def _asked(run: Run, like: Result, rule: Mapping[str, Any]) -> int:
    """How many cells the plan has for this mean, those without a result included."""
    mine = {axis: label for axis, label in like.labels.items() if axis != "dataset"}
    return sum(
        _covers(rule, cell["dataset"]) and mine == {axis: cell[axis] for axis in cell if axis != "dataset"}
        for cell in run.plan.cells
    )


def mean(run: Run, group: Sequence[Result], metric: str, asked: int) -> Mean:
    """The mean over the cells of ``group``; without a value unless all that were asked for are full and defined."""
    figures = [result.metrics.get(metric, Undefined("a result holds no such figure")) for result in group]
    known = [figure for figure in figures if isinstance(figure, Value)]
    usable = [
        result
        for result, figure in zip(group, figures, strict=True)
        if isinstance(figure, Value) and not result.partial
    ]
    if len(usable) < max(asked, 1):
        undefined = next((figure.reason for figure in figures if isinstance(figure, Undefined)), None)
        reason = undefined or UNFINISHED.format(len(usable), asked)
        return Mean(None, 0.0, None, None, len(usable), asked, reason)
    value = float(np.mean([figure.value for figure in known]))
    err = float(np.mean([figure.err for figure in known]))
    spread = [run.replicates(result).get(metric) for result in usable]
    draws = lo = hi = None
    if all(one is not None for one in spread) and len({len(one) for one in spread if one is not None}) == 1:
        # Weights are a function of the seed and the ids: the same images are resampled together, different ones apart.
        draws = np.mean([one for one in spread if one is not None], axis=0)
        lo, hi = (
            (float(end) for end in np.nanpercentile(draws, [2.5, 97.5])) if np.isfinite(draws).any() else (None, None)
        )
    return Mean(value, err, lo, hi, len(usable), asked, None, draws)
