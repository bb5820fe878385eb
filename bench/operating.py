"""A threshold chosen on one data set and carried to others: what a deployed detector would do there.

A pure function of results: the threshold is read off the counts of the calibration cell, what it does elsewhere off the
counts of each other cell. A data set is never judged at a threshold that was chosen on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from bench import intervals, registry, store
from bench.api import Rows, Undefined, Value
from bench.metrics import operating_point, ranking
from bench.metrics.pooled import PooledRanking
from bench.metrics.tally import Counts, Tally, union
from bench.store import Result, Run

RULES: Mapping[str, str] = {
    "tpr95": "the largest threshold with TPR >= 0.95",
    "fpr05": "the smallest threshold with FPR <= 0.05",
    "best_f1": "the threshold with the best F1",
}


class _TwoSides:
    """What ``Protocol.read`` needs of a tally: the counts of the side that should score low, and of the other."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts

    def counts(self) -> Counts:
        return self._counts


def compute(run: Run) -> list[dict[str, Any]]:
    """One entry per point asked for, model, method, data set and figure, shaped as those of ``summary.compute``."""
    return [entry for rule in run.plan.operating_points for entry in _rule(run, rule)]


def _rule(run: Run, rule: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    mine = [r for r in run.results if _is(r, "protocol", rule["protocol"]) and not r.not_applicable]
    chosen = {_pair(r): r for r in mine if _is(r, "dataset", rule["calibrate"])}
    for result in mine:
        if result.labels["dataset"] not in {other.labels["dataset"] for other in chosen.values()}:
            yield from _carried(run, rule, chosen.get(_pair(result)), result)


def _is(result: Result, axis: str, pattern: str) -> bool:
    return result.cell[axis]["name"] == pattern or fnmatchcase(result.labels[axis], pattern)


def _pair(result: Result) -> tuple[str, str | None]:
    return result.labels["model"], result.labels.get("method")


def _carried(run: Run, rule: Mapping[str, str], source: Result | None, target: Result) -> Iterator[dict[str, Any]]:
    base: dict[str, Any] = {
        "name": f"{rule['name']}, on {target.labels['dataset']}",
        "protocol": target.labels["protocol"],
        "model": target.labels["model"],
        "method": target.labels.get("method"),
        "cells": 1,
        "of": 1,
    }
    figures = _figures(run, rule, source, target)
    for name, metric in operating_point.METRICS.items():
        entry = base | {"metric": name, "title": metric.title, "definition": metric.definition, "better": metric.better}
        figure = figures if isinstance(figures, Undefined) else figures[name]
        if isinstance(figure, Undefined):
            yield entry | {"value": None, "err": None, "lo": None, "hi": None, "reason": figure.reason}
        else:
            numbers = {"value": figure.value, "err": figure.err, "lo": figure.lo, "hi": figure.hi}
            yield entry | numbers | {"reason": None}


def _figures(
    run: Run, rule: Mapping[str, str], source: Result | None, target: Result
) -> Mapping[str, Value | Undefined] | Undefined:
    if source is None:
        return Undefined(f"{rule['calibrate']} has no result of this model and method yet")
    if source.partial or target.partial:
        return Undefined("the calibration or this cell is partial")
    found = threshold(_sides(run, source)[0], rule["rule"])
    if isinstance(found, Undefined):
        return found
    counts, rows = _sides(run, target)
    point = operating_point.MisclassificationPoint(threshold=found)  # of any two sides: it reads counts alone
    figures = point.read(cast(Tally, _TwoSides(counts)), rows)
    return intervals.intervals(point, figures, rows, target.cell["seed"], target.cell["bootstrap"])[0]


def threshold(counts: Counts, rule: str) -> float | Undefined:
    """The score under a rule of ``RULES``; category 1 should score high, 0 low. The low end of a folded key."""
    positive, negative = counts.column([1]), counts.column([0])
    if reason := ranking.undefined(positive.total, negative.total):
        return reason
    keys = union([positive.distinct()[0], negative.distinct()[0]])
    hits = positive.total - positive.ranks(keys)[0]  # at or above each key
    alarms = negative.total - negative.ranks(keys)[0]
    if rule == "tpr95":
        place = int(np.flatnonzero(20 * hits >= 19 * positive.total)[-1])
    elif rule == "fpr05":
        allowed = np.flatnonzero(20 * alarms <= negative.total)
        if not allowed.size:
            return Undefined("no threshold keeps the FPR at 0.05 or below")
        place = int(allowed[0])
    else:
        f1 = 2 * hits / (hits + alarms + positive.total)
        place = int(np.flatnonzero(f1 == f1.max())[-1])
    return float(counts.lowest(keys[place : place + 1])[0])


def _sides(run: Run, result: Result) -> tuple[Counts, Rows]:
    """Counts and per-image counts of the two sides, whatever parts the protocol counted apart."""
    protocol: PooledRanking = registry.build(
        "protocol", result.cell["protocol"]["name"], result.cell["protocol"]["params"], where=result.labels["protocol"]
    )
    high, low = protocol.sides
    arrays = run.arrays(result)
    kept = {name.removeprefix("counts."): values for name, values in arrays.items() if name.startswith("counts.")}
    counts = Tally.from_arrays(kept).counts()
    rows = store.unpack_rows([str(sample) for sample in arrays["ids"]], arrays)
    folded = {
        sample: {**row, "bin_counts": np.stack([_sum(row["bin_counts"], low), _sum(row["bin_counts"], high)], axis=1)}
        for sample, row in rows.items()
    }
    return Counts(counts.bits, [counts.column(low), counts.column(high)]), folded


def _sum(counts: NDArray[Any], categories: Any) -> NDArray[Any]:
    total: NDArray[Any] = counts[:, list(categories)].sum(axis=1)
    return total
