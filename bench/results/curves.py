"""What a page draws of a run: curves, distributions and costs, as short lists of numbers.

Pure functions of results and of the counts beside them; nothing here formats. Counts on disk have 24 bits, so a curve
lies within the certified half-width of the figures of its cell. Every function gives None, or leaves a cell out, where
there is nothing to draw: not applicable, undefined, or of a protocol that ranks no two sides.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.api import Metric, Protocol, Undefined, Value
from bench.core import versions
from bench.counts.keys import order_key, union
from bench.counts.runs import Keys
from bench.counts.tally import Column, Counts
from bench.metrics import ranking
from bench.results import operating, summary
from bench.results.reliability import diagram
from bench.results.store import CellLabels, Result, Run

Floats = NDArray[np.float64]
Sides = tuple[Sequence[int], Sequence[int]]  # categories that should score high, and low

POINTS = 100  # of one curve at most
SPACED = 1e-4  # of the pixels so far: how many lie between two of the thresholds that are looked at
COLUMN = 2e-4  # of the x axis: what swings within one is drawn as one stroke
NEAR = 7e-4  # how far a point may then lie from the drawn curve, both axes from 0 to 1; together a thousandth
COLUMN_RISK = 5e-4
NEAR_RISK = 1e-4  # risks are small numbers, and the area under them is a figure
PREFIX = "curves."  # of what is kept beside the counts
TIED = 1000  # points of a risk curve that would all lie in one key
DIGITS = 5
SAME = 1e-4  # of both rates: two thresholds that no chart tells apart
THRESHOLD_DIGITS = 9  # tell any two float32 apart

FORWARD = "predict"  # the stage that every method of a network shares
OWN = ("score", "segments", "refine")  # the stages that a method adds to it
HARNESS = ("load", "count", "spool", "second")  # reading, corrupting and evaluating
LEVELS = (0, 5, 25, 50, 75, 95, 100)  # percent, of the quantiles over images


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


@dataclass(frozen=True, slots=True)
class Reliability:
    """How often pixels are right, by what the method's confidence says; bins without pixels are left out."""

    confidence: tuple[float, ...]  # mean of each bin
    accuracy: tuple[float, ...]
    pixels: tuple[int, ...]
    edges: tuple[float, ...]  # of all bins, from 0 to 1


@dataclass(frozen=True, slots=True)
class ByImage:
    """The leading figure of each image, worst first. From 16 bits of each score: for orders, not for records."""

    metric: str
    better: str  # higher or lower
    ids: tuple[str, ...]
    values: tuple[float, ...]
    undefined: tuple[str, ...]  # ids of images without a figure, such as those without an anomaly
    quantiles: Mapping[int, float]  # percent of the images with a figure: the figure, in ascending order of the figures


@dataclass(frozen=True, slots=True)
class Cost:
    """What one cell costs per image, beside the figure that ranks it.

    ``forward`` is the network's pass with all that methods share of it, ``own`` what this method adds: scoring, and
    for refinements the segments. A method alone costs their sum. ``harness`` is what evaluating costs: reading,
    corrupting, counting. CPU milliseconds, so a device other than ``cpu`` works unseen.
    """

    protocol: str
    dataset: str
    model: str
    method: str
    forward: float | None
    own: float | None  # None where no cell of the pair has the stage
    harness: float
    stages: Mapping[str, float]  # milliseconds per image by stage, of all cells of the pair
    memory_mb: float | None  # peak of the process until then: an upper bound; the smallest of the pair's cells
    device: str
    metric: str
    figure: float | None
    lo: float | None
    hi: float | None
    partial: bool

    @property
    def total(self) -> float | None:
        """Forward pass and method."""
        return None if self.forward is None or self.own is None else self.forward + self.own


@dataclass(frozen=True, slots=True)
class Estimate:
    """A rate, or the mean of one over corruptions; without a value there is a reason."""

    value: float | None
    lo: float | None
    hi: float | None
    cells: int  # that can be used
    of: int  # that the plan has
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Corrupted:
    """What a threshold that was chosen on clean data does as corruption grows."""

    rule: str  # name of the operating point
    words: str  # how the threshold was chosen
    protocol: str
    calibrate: str  # label of the data set that it was chosen on
    dataset: str  # label of the corrupted data set without its corruption
    model: str
    method: str | None
    threshold: float | None
    severities: tuple[int, ...]  # 0 is the data set as it is, unless the threshold was chosen on it
    means: Mapping[str, tuple[Estimate, ...]]  # over corruptions, by metric (tpr, fpr, precision, f1) and severity
    corruptions: Mapping[str, Mapping[str, tuple[Estimate | None, ...]]]  # each alone; None: the plan has no such cell


def roc_pr(run: Run, result: Result) -> Curves | None:
    """ROC and PR curves of pooled pixels and the thresholds on them."""
    if not _evaluated(result):
        return None
    arrays = run.arrays(result, PREFIX)
    if _usable(arrays, "roc", "pr", "points"):
        return _drawn_curves(arrays, result.definitions)
    sides = operating.two_sides(result)
    counts = operating.counted(run, result) if sides else None
    return _curves(counts, sides, result.definitions, result.metrics) if sides and counts else None


def risk_coverage(run: Run, result: Result) -> RiskCoverage | None:
    """Selective risk where positives are wrong predictions; None for anomalies, which no class map gets right."""
    if not _evaluated(result) or not _judges_predictions(result.pixels, result.definitions):
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
    """The curves of a cell as arrays that lie beside its counts, ``Tally.folded_arrays``, so that pages need not wait.

    ``roc`` [3, n] is fpr, tpr and threshold, ``pr`` [3, n] recall, precision and threshold, ``risk`` [2, n] coverage
    and risk; ``points`` [k, 5] are threshold, tpr, fpr, precision and F1 by ``names``. NaN is no finite score.
    """
    sides = operating.sides_of(protocol)
    counts = Counts.from_arrays(folded) if sides else None
    found = _curves(counts, sides, protocol.metrics, figures) if sides and counts else None
    if found is None or sides is None or counts is None:
        return {}
    roc, pr = ([np.nan if one is None else one for one in row] for row in (found.roc_thresholds, found.pr_thresholds))
    points = [(one.threshold, one.tpr, one.fpr, one.precision, one.f1) for one in found.points]
    arrays = {
        "roc": np.array([found.fpr, found.tpr, roc]),
        "pr": np.array([found.recall, found.precision, pr]),
        "points": np.array(points, np.float64).reshape(len(points), 5),
        "names": np.array([one.name for one in found.points], "U"),
        "pixels": np.array([found.positives, found.negatives]),
        "within": np.array([found.within]),
    }
    if _judges_predictions(protocol.category_names, protocol.metrics) and (risk := _risk(counts, sides)):
        arrays |= {"risk": np.array([risk.coverage, risk.risk]), "within": np.array([found.within, risk.within])}
    return {f"{PREFIX}{name}": array for name, array in arrays.items()} | {
        f"{PREFIX}version": np.array(versions.NUMBERS["curves"])
    }


def _usable(arrays: Mapping[str, NDArray[Any]], *names: str) -> bool:
    """Whether what was kept is of this version and has the shapes that it must: the file may come from anywhere."""
    if f"{PREFIX}version" not in arrays or arrays[f"{PREFIX}version"].tolist() != versions.NUMBERS["curves"]:
        return False
    shapes = {"roc": (3, -1), "pr": (3, -1), "points": (-1, 5), "risk": (2, -1), "pixels": (2,), "within": (-1,)}
    for name in (*names, "pixels", "within"):
        array, wanted = arrays.get(f"{PREFIX}{name}"), shapes[name]
        if array is None or array.dtype.kind not in "fiu" or array.ndim != len(wanted) or not array.size:
            return False
        if any(side not in (-1, size) for side, size in zip(wanted, array.shape, strict=True)):
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
        tuple(one if math.isfinite(one) else None for one in roc_thresholds),
        tuple(recall),
        tuple(precision),
        tuple(one if math.isfinite(one) else None for one in pr_thresholds),
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
    return RiskCoverage(tuple(coverage), tuple(risk), _perfect(positives, total), _rounded(positives / total), within)


def _curves(
    counts: Counts, sides: Sides, definitions: Mapping[str, Metric], figures: Mapping[str, Value | Undefined]
) -> Curves | None:
    thresholds = _thresholds(definitions, figures)
    also = np.array([_edge(threshold, counts.bits) for _, threshold in thresholds.values()], np.uint32)
    found = _ranked(counts, sides, also=also)
    if found is None:
        return None
    keys, hits, alarms = found.keys, found.hits, found.alarms
    positives, negatives = int(hits[-1]), int(alarms[-1])
    scores = found.counts.lowest(keys)
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
        tuple(None if place == 0 else _threshold(scores[place - 1]) for place in roc),
        short(steps[pr]),
        short(heights[pr]),
        tuple(_threshold(scores[place // 2]) for place in pr),
        tuple(_points(thresholds, found)),
        positives,
        negatives,
        _rounded(max(off_roc, off_pr) + SPACED),
    )


def _risk(counts: Counts, sides: Sides) -> RiskCoverage | None:
    found = _ranked(counts, sides, top=False)
    if found is None:
        return None
    wrong, right = (np.diff(side, prepend=0)[::-1] for side in (found.hits, found.alarms))  # least suspicious first
    accepted, risk = _risks(wrong, right)
    total, errors = int(accepted[-1]), int(wrong.sum())
    chosen, off = thin(accepted / total, risk, NEAR_RISK, COLUMN_RISK)
    drawn = short(accepted[chosen] / total), short(risk[chosen])
    return RiskCoverage(*drawn, _perfect(errors, total), _rounded(errors / total), _rounded(off + SPACED))


def reliability(run: Run, result: Result) -> Reliability | None:
    """The reliability diagram of a cell whose scores are confidences, or can be read as such."""
    found = diagram(run, result)
    if found is None:
        return None
    there = found.pixels > 0
    return Reliability(
        short(found.confidence[there] / found.pixels[there]),
        short(found.right[there] / found.pixels[there]),
        tuple(int(count) for count in found.pixels[there]),
        short(np.arange(found.pixels.size + 1) / found.pixels.size),
    )


def by_image(run: Run, result: Result) -> ByImage | None:
    """Images by the metric that ranks, or the first with a direction that images have alone."""
    if not _evaluated(result):
        return None
    directed = {name: metric for name, metric in result.definitions.items() if metric.better != "neither"}
    arrays = run.arrays(result, "ids", *(f"images.{name}" for name in directed))
    name = next((name for name in directed if f"images.{name}" in arrays), None)
    if name is None:
        return None
    ids, values = [str(sample) for sample in arrays["ids"]], arrays[f"images.{name}"].astype(np.float64)
    better = directed[name].better
    there = np.flatnonzero(np.isfinite(values))
    order = there[np.argsort(values[there] if better == "higher" else -values[there], kind="stable")]
    levels = np.percentile(values[there], LEVELS) if there.size else ()
    return ByImage(
        name,
        better,
        tuple(ids[place] for place in order),
        short(values[order]),
        tuple(ids[place] for place in np.flatnonzero(~np.isfinite(values))),
        dict(zip(LEVELS, short(levels), strict=False)),
    )


def cost(run: Run) -> list[Cost]:
    """One entry per evaluated cell that has a method, in the order of the plan."""
    pairs: dict[tuple[str, str, str], list[Result]] = {}
    for result in run.results:
        if _evaluated(result) and result.ranked and result.images and result.labels.method:
            pairs.setdefault(_pair(result), []).append(result)
    return [_cost(result, pairs[_pair(result)]) for mates in pairs.values() for result in mates]


def corrupted_points(run: Run) -> list[Corrupted]:
    """The operating points of a run on its corrupted data sets, by severity."""
    groups: dict[tuple[str, ...], list[operating.Carried]] = {}
    for one in operating.carried(run):
        spot = _spot(one.target.labels)
        base = spot[0] if spot else one.target.labels.dataset
        where = (one.rule["name"], one.target.labels.protocol, base)
        groups.setdefault((*where, one.target.labels.model, one.target.labels.method or ""), []).append(one)
    corrupted = [mates for mates in groups.values() if any(_spot(one.target.labels) for one in mates)]
    return [_corrupted(run, mates) for mates in corrupted]


def thin(
    x: Floats, y: Floats, near: float = NEAR, column: float = COLUMN, most: int = POINTS
) -> tuple[NDArray[np.int64], float]:
    """Indices of few points of a polyline [n], x ascending, and how far the others lie from the lines between them.

    At first the first, last, lowest and highest point of every ``column`` are kept, so that what swings within one is
    drawn as a stroke; then the farthest point is added until all lie within ``near``, or ``most`` are there.
    """
    kept = _envelope(x, y, column)
    u, v = x[kept], y[kept]
    chosen = [0, kept.size - 1]
    heap: list[tuple[float, int, int, int]] = []

    def consider(start: int, end: int) -> None:
        if end - start > 1:
            away = _away(u[start : end + 1], v[start : end + 1])
            place = int(np.argmax(away))
            heapq.heappush(heap, (-float(away[place]), start, start + place, end))

    consider(0, kept.size - 1)
    while heap and -heap[0][0] > near and len(chosen) < most:
        _, start, place, end = heapq.heappop(heap)
        chosen.append(place)
        consider(start, place)
        consider(place, end)
    left = -heap[0][0] if heap else 0.0
    return kept[np.unique(chosen)], left + (column if kept.size < x.size else 0.0)


def short(values: Any) -> tuple[float, ...]:
    """Floats with ``DIGITS`` significant digits."""
    return tuple(_rounded(value) for value in values)


def _rounded(value: Any) -> float:
    return float(f"{float(value):.{DIGITS}g}")


def _threshold(score: Any) -> float | None:
    """None where it is infinite."""
    return float(f"{float(score):.{THRESHOLD_DIGITS}g}") if np.isfinite(score) else None


def _envelope(x: Floats, y: Floats, width: float) -> NDArray[np.int64]:
    """Ascending indices of the first, lowest, highest and last point of each column of x."""
    column = np.floor(x / width)
    starts = np.flatnonzero(np.concatenate([[True], column[1:] != column[:-1]]))
    sizes = np.diff(np.append(starts, x.size))
    found = [starts, starts + sizes - 1]
    for reduce in (np.minimum, np.maximum):
        at = np.flatnonzero(y == np.repeat(reduce.reduceat(y, starts), sizes))
        found.append(at[np.concatenate([[True], column[at[1:]] != column[at[:-1]]])])
    return np.unique(np.concatenate(found))


def _away(x: Floats, y: Floats) -> Floats:
    """How far points [n] lie from the segment between the first and the last."""
    along, up = x[-1] - x[0], y[-1] - y[0]
    length = along**2 + up**2
    share = np.clip(((x - x[0]) * along + (y - y[0]) * up) / length, 0, 1) if length else np.zeros_like(x)
    return np.asarray(np.hypot(x - x[0] - share * along, y - y[0] - share * up), np.float64)


def _evaluated(result: Result) -> bool:
    return not result.not_applicable


@dataclass(frozen=True, slots=True)
class _Side:
    """The pixels of one side, by key."""

    keys: Keys  # ascending, distinct
    below: NDArray[np.int64]  # [n + 1]: pixels below each key, and all of them

    @property
    def total(self) -> int:
        return int(self.below[-1])

    def at_or_above(self, keys: Keys) -> NDArray[np.int64]:
        return np.asarray(self.total - self.below[np.searchsorted(self.keys, keys)], np.int64)

    def spaced(self, *, top: bool) -> Keys:
        """Keys from one end on between which that many pixels more lie that they are ``SPACED`` of all so far.

        A key that alone holds more comes with the one before it, so that the step at it is exact.
        """
        seen = self.total - self.below[-2::-1] if top else self.below[1:]
        places = np.searchsorted(seen, _targets(self.total))
        places = np.concatenate([places, np.maximum(places - 1, 0)])
        return self.keys[::-1][places] if top else self.keys[places]


@lru_cache(maxsize=64)
def _targets(total: int) -> NDArray[np.int64]:
    """Whole numbers up to ``total``, each at most ``SPACED`` of itself larger than the one before, or by one."""
    singles = int(1 / SPACED)
    many = max(0, math.ceil(math.log(max(total / singles, 1)) / math.log1p(SPACED)))
    rest = (singles * (1 + SPACED) ** np.arange(1, many + 1)).astype(np.int64)
    found = np.concatenate([np.arange(1, min(singles, total) + 1), rest])
    return np.append(found[found < total], total)


@dataclass(frozen=True, slots=True)
class _Ranked:
    """Thresholds of a cell from the top down, enough of them for a curve and all that a rule may choose."""

    counts: Counts
    keys: Keys
    hits: NDArray[np.int64]  # positives at or above each
    alarms: NDArray[np.int64]


def _ranked(counts: Counts, sides: Sides, *, top: bool = True, also: Keys | None = None) -> _Ranked | None:
    """Close together at one end, the top or the bottom, where few pixels decide; ``also`` are keys to have besides."""
    positives, negatives = (_side(counts.column(side)) for side in sides)
    if ranking.undefined(positives.total, negatives.total):
        return None
    parts = [side.spaced(top=top) for side in (positives, negatives)]
    if top:
        parts.append(_for_rules(positives, negatives, union(parts)))
    keys = union(parts if also is None else [*parts, also])[::-1]
    hits, alarms = positives.at_or_above(keys), negatives.at_or_above(keys)
    there = slice(int(np.count_nonzero(hits + alarms == 0)), None)  # nothing lies above a threshold of others
    return _Ranked(counts, keys[there], hits[there], alarms[there])


def _side(column: Column) -> _Side:
    keys, counts = column.distinct()
    return _Side(keys, np.concatenate([[0], np.cumsum(counts)]))


def _for_rules(positives: _Side, negatives: _Side, keys: Keys) -> Keys:
    """Every key that a rule of operating points could choose of all, by what is known at some, ``keys``, ascending."""
    total = positives.total
    tpr95 = np.flatnonzero(20 * (total - positives.below[:-1]) >= 19 * total)[-1:]
    # The smallest key with few enough alarms follows the largest with too many.
    many = np.flatnonzero(20 * (negatives.total - negatives.below[:-1]) > negatives.total)
    first = negatives.keys[many[-1]] + 1 if many.size else np.uint32(0)
    fpr05 = [side.keys[(at := int(np.searchsorted(side.keys, first))) : at + 1] for side in (positives, negatives)]
    # Only a key with a positive can have the best F1; between two keys it is at most that of both their best sides.
    hits, alarms = positives.at_or_above(keys), negatives.at_or_above(keys)
    known = 2 * hits / (hits + alarms + total)
    most = 2 * hits / (hits + np.append(alarms[1:], 0) + total)
    rivals = np.flatnonzero(most >= known.max())
    starts = np.searchsorted(positives.keys, keys[rivals])
    ends = np.searchsorted(positives.keys, np.append(keys, np.uint32(0xFFFFFFFF))[rivals + 1])
    best = [positives.keys[start:end] for start, end in zip(starts, ends, strict=True)]
    return np.concatenate([positives.keys[tpr95], *fpr05, *best])


def _points(reported: Mapping[str, tuple[Metric, float]], found: _Ranked) -> list[Point]:
    """The rules of operating points, and the thresholds that the protocol reports and no rule gives."""
    keys, hits, alarms = found.keys, found.hits, found.alarms
    points: list[Point] = []
    for name, words in operating.RULES.items():
        from_below = operating.place(hits[::-1], alarms[::-1], name)
        if from_below is not None:
            place = keys.size - 1 - from_below
            point = _point(found, name, words, float(found.counts.lowest(keys[place])), place)
            points += [point] if point else []
    for name, (metric, threshold) in reported.items():
        place = keys.size - 1 - int(np.searchsorted(keys[::-1], _edge(threshold, found.counts.bits)))
        if place >= 0:
            point = _point(found, name, metric.definition, threshold, place)
            if point and not any(abs(one.tpr - point.tpr) < SAME and abs(one.fpr - point.fpr) < SAME for one in points):
                points.append(point)
    return points


def _thresholds(
    definitions: Mapping[str, Metric], figures: Mapping[str, Value | Undefined]
) -> dict[str, tuple[Metric, float]]:
    """The thresholds that the protocol reports, by metric."""
    found: dict[str, tuple[Metric, float]] = {}
    for name, metric in definitions.items():
        figure = figures.get(name)
        if "threshold" in name and metric.better == "neither" and isinstance(figure, Value):
            found[name] = metric, figure.value
    return found


def _edge(threshold: float, bits: int) -> Any:
    """The key that holds a score."""
    return order_key(np.array([threshold], np.float32))[0] >> np.uint32(32 - bits)


def _point(found: _Ranked, name: str, words: str, score: float, place: int) -> Point | None:
    threshold = _threshold(score)
    if threshold is None:
        return None
    true, false = int(found.hits[place]), int(found.alarms[place])
    positives, negatives = int(found.hits[-1]), int(found.alarms[-1])
    rates = true / positives, false / negatives, true / (true + false), 2 * true / (true + false + positives)
    return Point(name, words, threshold, *short(rates))


def _judges_predictions(categories: Iterable[str], metrics: Iterable[str]) -> bool:
    """Whether positives are pixels that the network gets wrong."""
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
    risks = (1 - right / place if place else 0.0 for place in accepted)
    return ((0.0, 0.0), *zip(short(accepted / total), short(risks), strict=True))


def _pair(result: Result) -> tuple[str, str, str]:
    return result.labels.dataset, result.labels.model, result.labels.on("method")


def _cost(result: Result, mates: Sequence[Result]) -> Cost:
    """Scoring is timed in one of the cells that share a map, so a pair's stages are those of all of its cells."""
    stages: dict[str, float] = {}
    for mate in mates:
        for stage, spent in mate.seconds.items():
            stages[stage] = max(stages.get(stage, 0.0), 1000 * spent / mate.images)
    own = [stages[stage] for stage in OWN if stage in stages]
    name, metric = next(iter(result.definitions.items()))
    figure = result.metrics.get(name)
    value = figure if isinstance(figure, Value) and metric.better != "neither" else None
    memory = [mate.memory_mb for mate in mates if mate.memory_mb]
    return Cost(
        result.labels.protocol,
        result.labels.dataset,
        result.labels.model,
        result.labels.on("method"),
        _rounded(stages[FORWARD]) if FORWARD in stages else None,
        _rounded(sum(own)) if own else None,
        _rounded(sum(stages.get(stage, 0.0) for stage in HARNESS)),
        {stage: _rounded(spent) for stage, spent in stages.items()},
        min(memory) if memory else None,
        str(result.provenance.get("numerics", {}).get("device", "")),
        name,
        _rounded(value.value) if value else None,
        _rounded(value.lo) if value and value.lo is not None else None,
        _rounded(value.hi) if value and value.hi is not None else None,
        result.partial,
    )


RATES = ("tpr", "fpr", "precision", "f1")


def _spot(labels: CellLabels) -> tuple[str, str, int] | None:
    """Label without the corruption, corruption and severity of a corrupted data set."""
    corruption = labels.corruption
    if corruption is None:
        return None
    order = "-bgr" if corruption.order == "bgr" else ""
    return labels.uncorrupted + order, corruption.name, corruption.severity


def _corrupted(run: Run, mates: Sequence[operating.Carried]) -> Corrupted:
    """One operating point of one method: ``mates`` are its targets, the data set as it is among them."""
    first = mates[0]
    labels = first.target.labels
    there: dict[tuple[str, int], operating.Carried] = {}
    clean: operating.Carried | None = None
    base = labels.dataset
    for one in mates:
        if spot := _spot(one.target.labels):
            base, there[spot[1:]] = spot[0], one
        else:
            clean = one
    planned = _planned(run, labels, base) or {spot: None for spot in there}
    spots = [*planned, *(spot for spot in there if spot not in planned)]
    severities = sorted({severity for _, severity in spots})
    names = list(dict.fromkeys(name for name, _ in spots))
    thresholds = [one.figures["threshold"] for one in mates if not isinstance(one.figures, Undefined)]
    known = next((figure.value for figure in thresholds if isinstance(figure, Value)), None)
    return Corrupted(
        first.rule["name"],
        operating.RULES[first.rule["rule"]],
        labels.protocol,
        first.rule["calibrate"] if first.source is None else first.source.labels.dataset,
        base,
        labels.model,
        labels.method,
        None if known is None else _threshold(known),
        (*((0,) if clean else ()), *severities),
        {
            metric: (
                *((_estimate([clean], metric),) if clean else ()),
                *(_estimate([there.get(spot) for spot in spots if spot[1] == each], metric) for each in severities),
            )
            for metric in RATES
        },
        {
            metric: {
                name: (
                    *((None,) if clean else ()),
                    *(
                        _estimate([there.get((name, each))], metric) if (name, each) in spots else None
                        for each in severities
                    ),
                )
                for name in names
            }
            for metric in RATES
        },
    )


def _planned(run: Run, labels: CellLabels, base: str) -> dict[tuple[str, int], None]:
    """Corruption and severity of every cell that the plan has beside one; empty where it does not spell its cells."""
    spots: dict[tuple[str, int], None] = {}
    for other in run.plan.cells:
        spot = _spot(other)
        if spot and spot[0] == base and (other.protocol, other.row) == (labels.protocol, labels.row):
            spots[spot[1:]] = None
    return spots


def _estimate(cells: Sequence[operating.Carried | None], metric: str) -> Estimate:
    """The unweighted mean, with the interval of the mean where every cell has draws of the same resamples."""
    figures: list[Value] = []
    reason = None
    for one in cells:
        if one is None:
            continue
        figure = one.figures if isinstance(one.figures, Undefined) else one.figures[metric]
        if isinstance(figure, Value):
            figures.append(figure)
        elif isinstance(figure, Undefined):
            reason = reason or figure.reason
    usable, asked = len(figures), len(cells)
    if usable < asked or not asked:
        return Estimate(None, None, None, usable, asked, reason or summary.UNFINISHED.format(usable, asked))
    value = _rounded(np.mean([figure.value for figure in figures]))
    lo, hi = _ends(figures[0]) if asked == 1 else _spread([one.draws.get(metric) for one in cells if one])
    return Estimate(value, lo, hi, usable, asked)


def _ends(figure: Value) -> tuple[float | None, float | None]:
    lo, hi = (None if end is None else _rounded(end) for end in (figure.lo, figure.hi))
    return lo, hi


def _spread(draws: Sequence[Floats | None]) -> tuple[float | None, float | None]:
    """The interval of the mean of cells; none where one has no draws, or another number of them."""
    known = [one for one in draws if one is not None]
    if len(known) < len(draws) or len({one.size for one in known}) != 1:
        return None, None
    mean = np.mean(known, axis=0)
    low, high = summary.limits(mean)
    return None if low is None else _rounded(low), None if high is None else _rounded(high)
