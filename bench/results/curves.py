"""ROC, precision-recall and risk-coverage curves of a cell, as short lists of numbers.

Pure functions of results and of the counts beside them; nothing here formats. Counts on disk have 24 bits, so a curve
lies within the certified half-width of the figures of its cell. Every function gives None where there is nothing to
draw: not applicable, undefined, or of a protocol that ranks no two sides.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.api import Metric, Protocol, Undefined, Value
from bench.core import versions
from bench.counts.tally import Counts
from bench.results import operating
from bench.results.polyline import Floats, finite, rounded, short, thin
from bench.results.ranked import SPACED, Ranked, Sides, key_of, ranked
from bench.results.store import Result, Run

COLUMN_RISK = 5e-4
NEAR_RISK = 1e-4  # risks are small numbers, and the area under them is a figure
PREFIX = "curves."  # of what is kept beside the counts
TIED = 1000  # points of a risk curve that would all lie in one key
SAME = 1e-4  # of both rates: two thresholds that no chart tells apart


@dataclass(frozen=True, slots=True)
class Point:
    """A threshold that means something, and what it does: score >= threshold is positive."""

    name: str  # of operating.RULES, or the metric that it is a figure of
    words: str  # how it was chosen
    threshold: float
    tpr: float  # also the recall
    fpr: float
    precision: float
    f1: float


@dataclass(frozen=True, slots=True)
class Curves:
    """ROC and PR of the two sides of a cell, to be joined by straight lines.

    The PR curve holds its own steps: precision P_n over the recalls from R_{n-1} to R_n, so that the area under it is
    the step-sum AP. ``thresholds`` belong to the points of each curve; None is above every score, or infinite.
    """

    fpr: tuple[float, ...]  # ascending, from (0, 0) to (1, 1)
    tpr: tuple[float, ...]
    roc_thresholds: tuple[float | None, ...]
    recall: tuple[float, ...]  # ascending, from 0 to 1
    precision: tuple[float, ...]
    pr_thresholds: tuple[float | None, ...]
    points: tuple[Point, ...]
    positives: int  # pixels
    negatives: int
    within: float  # how far the full curves lie from the drawn ones at most


@dataclass(frozen=True, slots=True)
class RiskCoverage:
    """The share of wrong pixels among those accepted, from the least suspicious on; straight lines between."""

    coverage: tuple[float, ...]  # ascending, to 1
    risk: tuple[float, ...]
    perfect: tuple[tuple[float, float], ...]  # coverage and risk of a ranking that accepts every wrong pixel last
    error_rate: float  # risk at full coverage
    within: float  # how far the full curve lies from the drawn one at most


def roc_pr(run: Run, result: Result) -> Curves | None:
    """Return the ROC and PR curves of pooled pixels and the thresholds on them."""
    if result.not_applicable:
        return None
    arrays = run.arrays(result, PREFIX)
    if _usable(arrays, "roc", "pr", "points"):
        return _drawn_curves(arrays, result.definitions)
    sides = operating.two_sides(result)
    counts = operating.counted(run, result) if sides else None
    return _curves(counts, sides, result.definitions, result.metrics) if sides and counts else None


def risk_coverage(run: Run, result: Result) -> RiskCoverage | None:
    """Return the selective risk where positives are wrong predictions; None for anomalies, which no class map gets."""
    if result.not_applicable or not _judges_predictions(result.pixels, result.definitions):
        return None
    arrays = run.arrays(result, PREFIX)
    if _usable(arrays, "risk"):
        return _drawn_risk(arrays)
    sides = operating.two_sides(result)
    counts = operating.counted(run, result) if sides else None
    return _risk(counts, sides) if sides and counts else None


def kept(
    protocol: Protocol, folded: Mapping[str, NDArray[Any]], figures: Mapping[str, Value | Undefined]
) -> dict[str, NDArray[Any]]:
    """Return the curves of a cell as arrays to lie beside its counts, ``Tally.folded_arrays``: pages need not wait.

    ``roc`` [3, n] is fpr, tpr and threshold, ``pr`` [3, n] recall, precision and threshold, ``risk`` [2, n] coverage
    and risk; ``points`` [k, 5] are threshold, tpr, fpr, precision and F1 by ``names``. NaN is no finite score.
    """
    sides = operating.sides_of(protocol)
    counts = Counts.from_arrays(folded) if sides else None
    curves = _curves(counts, sides, protocol.metrics, figures) if sides and counts else None
    if curves is None or sides is None or counts is None:
        return {}
    roc, pr = (
        [np.nan if threshold is None else threshold for threshold in thresholds]
        for thresholds in (curves.roc_thresholds, curves.pr_thresholds)
    )
    points = [(point.threshold, point.tpr, point.fpr, point.precision, point.f1) for point in curves.points]
    arrays = {
        "roc": np.array([curves.fpr, curves.tpr, roc]),
        "pr": np.array([curves.recall, curves.precision, pr]),
        "points": np.array(points, np.float64).reshape(len(points), 5),
        "names": np.array([point.name for point in curves.points], "U"),
        "pixels": np.array([curves.positives, curves.negatives]),
        "within": np.array([curves.within]),
    }
    if _judges_predictions(protocol.category_names, protocol.metrics) and (risk := _risk(counts, sides)):
        arrays |= {"risk": np.array([risk.coverage, risk.risk]), "within": np.array([curves.within, risk.within])}
    return {f"{PREFIX}{name}": array for name, array in arrays.items()} | {
        f"{PREFIX}version": np.array(versions.NUMBERS["curves"])
    }


def _usable(arrays: Mapping[str, NDArray[Any]], *names: str) -> bool:
    """Return True if what was kept is of this version and has its shapes: the file may come from anywhere."""
    if f"{PREFIX}version" not in arrays or arrays[f"{PREFIX}version"].tolist() != versions.NUMBERS["curves"]:
        return False
    shapes = {"roc": (3, -1), "pr": (3, -1), "points": (-1, 5), "risk": (2, -1), "pixels": (2,), "within": (-1,)}
    for name in (*names, "pixels", "within"):
        array, shape = arrays.get(f"{PREFIX}{name}"), shapes[name]
        if array is None or array.dtype.kind not in "fiu" or array.ndim != len(shape) or not array.size:
            return False
        if any(side not in (-1, size) for side, size in zip(shape, array.shape, strict=True)):
            return False
        if not np.isfinite(array[:2] if name in ("roc", "pr") else array).all():
            return False
    return bool((arrays[f"{PREFIX}pixels"] > 0).all())


def _drawn_curves(arrays: Mapping[str, NDArray[Any]], definitions: Mapping[str, Metric]) -> Curves:
    fpr, tpr, roc_thresholds = arrays[f"{PREFIX}roc"].tolist()
    recall, precision, pr_thresholds = arrays[f"{PREFIX}pr"].tolist()
    positives, negatives = (int(count) for count in arrays[f"{PREFIX}pixels"])
    names = [str(name) for name in arrays.get(f"{PREFIX}names", ())]
    words = {**{name: metric.definition for name, metric in definitions.items()}, **operating.RULES}
    points = (
        Point(name, words[name], *values)
        for name, values in zip(names, arrays[f"{PREFIX}points"].tolist(), strict=False)
        if name in words
    )
    return Curves(
        tuple(fpr),
        tuple(tpr),
        tuple(score if math.isfinite(score) else None for score in roc_thresholds),
        tuple(recall),
        tuple(precision),
        tuple(score if math.isfinite(score) else None for score in pr_thresholds),
        tuple(points),
        positives,
        negatives,
        float(arrays[f"{PREFIX}within"][0]),
    )


def _drawn_risk(arrays: Mapping[str, NDArray[Any]]) -> RiskCoverage:
    coverage, risk = arrays[f"{PREFIX}risk"].tolist()
    positives, negatives = (int(count) for count in arrays[f"{PREFIX}pixels"])
    total = positives + negatives
    within = float(arrays[f"{PREFIX}within"][-1])
    return RiskCoverage(tuple(coverage), tuple(risk), _perfect(positives, total), rounded(positives / total), within)


def _curves(
    counts: Counts, sides: Sides, definitions: Mapping[str, Metric], figures: Mapping[str, Value | Undefined]
) -> Curves | None:
    thresholds = _thresholds(definitions, figures)
    also = np.array([key_of(threshold, counts.bits) for _, threshold in thresholds.values()], np.uint32)
    thinned = ranked(counts, sides, also=also)
    if thinned is None:
        return None
    keys, hits, alarms = thinned.keys, thinned.hits, thinned.alarms
    positives, negatives = int(hits[-1]), int(alarms[-1])
    scores = counts.lowest(keys)
    tpr, fpr = np.append(0, hits) / positives, np.append(0, alarms) / negatives
    roc, off_roc = thin(fpr, tpr)
    precision = hits / (hits + alarms)
    recall = np.append(0, hits) / positives
    steps = np.stack([recall[:-1], recall[1:]], axis=1).reshape(-1)
    heights = np.repeat(precision, 2)
    pr, off_pr = thin(steps, heights)
    return Curves(
        short(fpr[roc]),
        short(tpr[roc]),
        tuple(None if index == 0 else finite(scores[index - 1]) for index in roc),
        short(steps[pr]),
        short(heights[pr]),
        tuple(finite(scores[index // 2]) for index in pr),
        tuple(_points(thresholds, thinned)),
        positives,
        negatives,
        rounded(max(off_roc, off_pr) + SPACED),
    )


def _risk(counts: Counts, sides: Sides) -> RiskCoverage | None:
    thinned = ranked(counts, sides, top=False)
    if thinned is None:
        return None
    wrong, right = (np.diff(side, prepend=0)[::-1] for side in (thinned.hits, thinned.alarms))  # least suspicious first
    accepted, risk = _risks(wrong, right)
    total, errors = int(accepted[-1]), int(wrong.sum())
    chosen, off = thin(accepted / total, risk, NEAR_RISK, COLUMN_RISK)
    drawn = short(accepted[chosen] / total), short(risk[chosen])
    return RiskCoverage(*drawn, _perfect(errors, total), rounded(errors / total), rounded(off + SPACED))


def _points(reported: Mapping[str, tuple[Metric, float]], thinned: Ranked) -> list[Point]:
    """The rules of operating points, and the thresholds that the protocol reports and no rule gives."""
    keys, hits, alarms = thinned.keys, thinned.hits, thinned.alarms
    points: list[Point] = []
    for name, words in operating.RULES.items():
        from_below = operating.place(hits[::-1], alarms[::-1], name)
        if from_below is not None:
            index = keys.size - 1 - from_below
            point = _point(thinned, name, words, float(thinned.counts.lowest(keys[index])), index)
            points += [point] if point else []
    for name, (metric, threshold) in reported.items():
        index = keys.size - 1 - int(np.searchsorted(keys[::-1], key_of(threshold, thinned.counts.bits)))
        point = _point(thinned, name, metric.definition, threshold, index) if index >= 0 else None
        if point and not any(abs(known.tpr - point.tpr) < SAME > abs(known.fpr - point.fpr) for known in points):
            points.append(point)
    return points


def _thresholds(
    definitions: Mapping[str, Metric], figures: Mapping[str, Value | Undefined]
) -> dict[str, tuple[Metric, float]]:
    """The thresholds that the protocol reports, by metric."""
    thresholds: dict[str, tuple[Metric, float]] = {}
    for name, metric in definitions.items():
        figure = figures.get(name)
        if "threshold" in name and metric.better == "neither" and isinstance(figure, Value):
            thresholds[name] = metric, figure.value
    return thresholds


def _point(thinned: Ranked, name: str, words: str, score: float, index: int) -> Point | None:
    threshold = finite(score)
    if threshold is None:
        return None
    true, false = int(thinned.hits[index]), int(thinned.alarms[index])
    positives, negatives = int(thinned.hits[-1]), int(thinned.alarms[-1])
    rates = true / positives, false / negatives, true / (true + false), 2 * true / (true + false + positives)
    return Point(name, words, threshold, *short(rates))


def _judges_predictions(categories: Iterable[str], metrics: Iterable[str]) -> bool:
    """Return True if positives are pixels that the network gets wrong."""
    return tuple(categories) == ("correct", "wrong") or "aurc" in metrics


def _risks(wrong: NDArray[np.int64], right: NDArray[np.int64]) -> tuple[NDArray[np.int64], Floats]:
    """Accepted pixels and the expected risk among them, at every key and, where many pixels tie, between.

    Tied pixels come in random order: of k that are accepted beyond the key before, the key's share is wrong.
    """
    pixels = wrong + right
    ends, bad = np.cumsum(pixels), np.cumsum(wrong)
    total = int(ends[-1])
    pieces = np.minimum(pixels, 1 + pixels * TIED // total)  # some points within a key that holds many pixels
    owner = np.repeat(np.arange(pixels.size), pieces)
    number = np.arange(owner.size) - np.repeat(np.cumsum(pieces) - pieces, pieces) + 1
    taken = pixels[owner] * number // pieces[owner]
    accepted = ends[owner] - pixels[owner] + taken
    errors = bad[owner] - wrong[owner] + taken * (wrong[owner] / pixels[owner])
    return accepted, errors / accepted


def _perfect(errors: int, total: int) -> tuple[tuple[float, float], ...]:
    """No risk until only wrong pixels are left, then 1 - right / accepted."""
    right = total - errors
    accepted = np.linspace(right, total, 21) if errors else np.array([total])
    risks = (1 - right / pixels if pixels else 0.0 for pixels in accepted)
    return ((0.0, 0.0), *zip(short(accepted / total), short(risks), strict=True))
