"""A threshold chosen on one data set and carried to others: what a deployed detector would do there.

A pure function of results: the threshold is read off the counts of the calibration cell, what it does elsewhere off the
counts of each other cell. A data set is never judged at a threshold that was chosen on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.api import Protocol, Rows, Undefined, Value
from bench.core.errors import BadSuite, MissingData, UserError
from bench.counts.keys import union
from bench.counts.tally import Counts
from bench.metrics import ranking
from bench.metrics.accumulate import Reading
from bench.metrics.protocols import operating_point
from bench.metrics.protocols.pooled import PooledRanking
from bench.results import store
from bench.results.store import Ref, Result, Run

RULES: Mapping[str, str] = {
    "tpr95": "the largest threshold with TPR >= 0.95",
    "fpr05": "the smallest threshold with FPR <= 0.05",
    "best_f1": "the threshold with the best F1",
}


@dataclass(frozen=True, slots=True, eq=False)
class Carried:
    """A threshold in one cell that it was not chosen in, and its figures there."""

    rule: Mapping[str, str]  # as the suite has it: name, protocol, calibrate, rule
    source: Result | None  # where it was chosen; None while there is no result
    target: Result
    figures: Mapping[str, Value | Undefined] | Undefined  # those of operating_point.METRICS
    draws: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)  # the bootstrap's replicates, by figure


def compute(run: Run) -> list[dict[str, Any]]:
    """Return one entry per point, model, method, data set and figure, shaped as those of ``summary.compute``."""
    return [entry for point in carried(run) for entry in _entries(point)]


def carried(run: Run) -> Iterator[Carried]:
    """Yield every point asked for in every cell that it is carried to."""
    for rule in run.plan.operating_points:
        yield from _rule(run, rule)


def _rule(run: Run, rule: Mapping[str, str]) -> Iterator[Carried]:
    results = [
        result for result in run.results if _is(result.cell.protocol, rule["protocol"]) and not result.not_applicable
    ]
    sources = {result.labels.row: result for result in results if _is(result.cell.dataset, rule["calibrate"])}
    calibrated_on = {source.labels.dataset for source in sources.values()}
    for result in results:
        if result.labels.dataset not in calibrated_on:
            source = sources.get(result.labels.row)
            yield Carried(rule, source, result, *_figures(run, rule, source, result))


def _is(ref: Ref, pattern: str) -> bool:
    return ref.name == pattern or fnmatchcase(ref.label, pattern)


def _entries(point: Carried) -> Iterator[dict[str, Any]]:
    rule, target, figures = point.rule, point.target, point.figures
    corruption = target.cell.dataset.corruption
    base: dict[str, Any] = {
        "name": f"{rule['name']}, on {target.labels.dataset}",
        "protocol": target.labels.protocol,
        "model": target.labels.model,
        "method": target.labels.method,
        "dataset": target.labels.dataset,
        "corruption": corruption and corruption.name,
        "severity": corruption and corruption.severity,
        "cells": 1,
        "of": 1,
    }
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
) -> tuple[Mapping[str, Value | Undefined] | Undefined, Mapping[str, NDArray[np.float64]]]:
    if source is None:
        return Undefined(f"{rule['calibrate']} has no result of this model and method yet"), {}
    if source.partial or target.partial:
        return Undefined("the calibration or this cell is partial"), {}
    key = "threshold", run.home(source), rule["rule"]  # a page asks for all of it twice, and of one source often
    score = run.memo.once(key, lambda: threshold(_sides(run, source)[0], rule["rule"]))
    if isinstance(score, Undefined):
        return score, {}
    return run.memo.once((*key, run.home(target)), lambda: _at(run, target, score))


def _at(
    run: Run, target: Result, score: float
) -> tuple[Mapping[str, Value | Undefined], Mapping[str, NDArray[np.float64]]]:
    """The figures of a cell at a threshold, and their draws."""
    counts, rows = _sides(run, target)
    point = operating_point.MisclassificationPoint(threshold=score)  # of any two sides: it reads counts alone
    return Reading(point, counts, rows).figures(target.cell.seed, target.cell.bootstrap)


def threshold(counts: Counts, rule: str) -> float | Undefined:
    """Return the score under a rule of ``RULES``; category 1 should score high, 0 low. The low end of a folded key."""
    positive, negative = counts.column([1]), counts.column([0])
    if reason := ranking.undefined(positive.total, negative.total):
        return reason
    keys = union([positive.distinct()[0], negative.distinct()[0]])
    hits = positive.total - positive.ranks(keys)[0]  # at or above each key
    alarms = negative.total - negative.ranks(keys)[0]
    chosen = place(hits, alarms, rule)
    if chosen is None:
        return Undefined("no threshold keeps the FPR at 0.05 or below")
    return float(counts.lowest(keys[chosen : chosen + 1])[0])


def place(hits: NDArray[np.int64], alarms: NDArray[np.int64], rule: str) -> int | None:
    """Return which of the thresholds a rule chooses; None if no FPR is small enough.

    ``hits`` and ``alarms`` [n] are the pixels at or above each threshold, ascending; the first holds all of them.
    """
    positives, negatives = int(hits[0]), int(alarms[0])
    if rule == "tpr95":
        return int(np.flatnonzero(20 * hits >= 19 * positives)[-1])
    if rule == "fpr05":
        allowed = np.flatnonzero(20 * alarms <= negatives)
        return int(allowed[0]) if allowed.size else None
    f1 = 2 * hits / (hits + alarms + positives)
    return int(np.flatnonzero(f1 == f1.max())[-1])


def protocol_of(result: Result) -> Protocol:
    """Return the definition that a result was read by; raises UserError where this installation has no such one."""
    protocol: Protocol = result.cell.protocol.build()
    return protocol


def two_sides(result: Result) -> tuple[Sequence[int], Sequence[int]] | None:
    """Return the categories that should score high and those that should score low.

    None where the protocol ranks nothing, something else than scores, or more than two sides, and where this
    installation does not know it.
    """
    try:
        return sides_of(protocol_of(result))
    except UserError:
        return None


def sides_of(protocol: Protocol) -> tuple[Sequence[int], Sequence[int]] | None:
    """Return the same of a protocol."""
    if isinstance(protocol, PooledRanking):
        return protocol.sides
    alike = protocol.reads == "score" and len(protocol.category_names) == 2
    return ([1], [0]) if alike else None


def counted(run: Run, result: Result) -> Counts | None:
    """Return the counts of a cell by category, 24 bits, as its file keeps them; None where it has none."""
    arrays = {name.removeprefix("counts."): values for name, values in run.arrays(result, "counts.").items()}
    return Counts.from_arrays(arrays) if "tally" in arrays else None


def _sides(run: Run, result: Result) -> tuple[Counts, Rows]:
    """Counts and per-image counts of the two sides, whatever parts the protocol counted apart."""
    protocol = protocol_of(result)
    if not isinstance(protocol, PooledRanking):
        raise BadSuite(f"operating_points: {result.labels.protocol} ranks no two sides; wanted one that does")
    high, low = protocol.sides
    counts = counted(run, result)
    if counts is None:
        raise MissingData(f"{run.home(result)}: no counts lie beside it; delete it and run the suite again")
    arrays = run.arrays(result, "row.", "ids")
    rows = store.unpack_rows([str(sample) for sample in arrays["ids"]], arrays)
    folded = {
        sample: {**row, "bin_counts": np.stack([_sum(row["bin_counts"], low), _sum(row["bin_counts"], high)], axis=1)}
        for sample, row in rows.items()
    }
    return Counts(counts.bits, [counts.column(low), counts.column(high)]), folded


def _sum(counts: NDArray[Any], categories: Any) -> NDArray[Any]:
    total: NDArray[Any] = counts[:, list(categories)].sum(axis=1)
    return total
