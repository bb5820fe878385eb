"""Figures over several cells: pure functions of results, invalid while one of their cells is missing or partial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.api import Undefined, Value
from bench.results import harmonic, resampled
from bench.results.store import Result, Run

UNFINISHED = "{} of {} cells are finished and complete"
ABSENT = Undefined("a result holds no such figure")
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
    unfinished: bool = False  # True where the reason is that cells are missing or partial: it says what the counts say

    @property
    def complete(self) -> bool:
        return self.value is not None


def compute(run: Run) -> list[dict[str, Any]]:
    """One entry per summary asked for, model, method and metric; docs/reference/files.md describes the fields."""
    by_protocol: dict[str, list[Result]] = {}  # by label and by name of the protocol
    for result in run.results:
        for name in {result.labels.protocol, result.cell.protocol.name}:
            by_protocol.setdefault(name, []).append(result)
    planned: dict[tuple[str, str, str | None], list[str]] = {}  # the data sets of each mean
    for labels in run.plan.cells:
        planned.setdefault((labels.protocol, *labels.row), []).append(labels.dataset)
    return [entry for rule in run.plan.summaries for entry in _rule(run, rule, by_protocol, planned)]


def _rule(
    run: Run,
    rule: Mapping[str, Any],
    by_protocol: Mapping[str, Sequence[Result]],
    planned: Mapping[tuple[str, str, str | None], Sequence[str]],
) -> list[dict[str, Any]]:
    covered = _covered(run, rule)
    if rule.get("rule") == harmonic.RULE:
        return list(harmonic.entries(run, rule, covered))
    groups: dict[tuple[str, str | None], list[Result]] = {}
    for result in by_protocol.get(rule["protocol"], ()):
        if result.labels.dataset in covered:
            groups.setdefault(result.labels.row, []).append(result)
    entries = []
    for (model, method), group in groups.items():
        # How many cells the plan has for the mean, those without a result included.
        asked = sum(dataset in covered for dataset in planned.get((group[0].labels.protocol, model, method), ()))
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
            figure = mean(run, group, metric, asked)
            entries.append(base | {name: getattr(figure, name) for name in FIELDS})
    return entries


def _covered(run: Run, rule: Mapping[str, Any]) -> frozenset[str]:
    """The data sets that the mean runs over; runs of before corruptions were an axis have a pattern."""
    if (datasets := rule.get("datasets")) is not None:
        return frozenset(datasets)
    known = {labels.dataset for labels in (*run.plan.cells, *(result.labels for result in run.results))}
    return frozenset(label for label in known if fnmatchcase(label, rule["dataset"]))


def mean(run: Run, group: Sequence[Result], metric: str, asked: int) -> Mean:
    """The mean over the cells of ``group``; without a value unless all that were asked for are full and defined.

    The run remembers it, with the cells, so that none of them is mistaken for a later one at the same address.
    """
    key = ("mean", metric, asked, *map(id, group))
    return run.memo.once(key, lambda: (_mean(run, group, metric, asked), tuple(group)))[0]


def _mean(run: Run, group: Sequence[Result], metric: str, asked: int) -> Mean:
    figures = [result.metrics.get(metric, ABSENT) for result in group]
    known = [figure for figure in figures if isinstance(figure, Value)]
    usable = [
        result
        for result, figure in zip(group, figures, strict=True)
        if isinstance(figure, Value) and not result.partial
    ]
    if len(usable) < max(asked, 1):
        undefined = next((figure.reason for figure in figures if isinstance(figure, Undefined)), None)
        reason = undefined or UNFINISHED.format(len(usable), asked)
        return Mean(None, 0.0, None, None, len(usable), asked, reason, unfinished=undefined is None)
    value = float(np.mean([figure.value for figure in known]))
    err = float(np.mean([figure.err for figure in known]))
    draws = _mean_of([run.replicates(result).get(metric) for result in usable])
    lo, hi = (None, None) if draws is None else resampled.limits(draws)
    return Mean(value, err, lo, hi, len(usable), asked, None, draws)


def _mean_of(spread: Sequence[NDArray[np.float64] | None]) -> NDArray[np.float64] | None:
    """The mean in each resample, as ``numpy.mean`` over the cells; None where the resamples are not the same.

    Weights are a function of the seed and the ids: the same images are resampled together, different ones apart.
    """
    known = [draws for draws in spread if draws is not None]
    if len(known) < len(spread) or len({draws.shape for draws in known}) != 1:
        return None
    total = known[0].astype(np.float64)  # a copy
    for draws in known[1:]:
        total += draws
    total /= len(known)
    return total
