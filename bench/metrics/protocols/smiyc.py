"""The figures of SegmentMeIfYouCan: the official evaluator's own curve and components, and the exact ranking beside.

Source: SegmentMeIfYouCan/road-anomaly-benchmark@1c7804e, ``PixBinaryClass`` and ``SegEval-*``. Scores are float16, as
the benchmark stores them. The official curve joins a sketch of each frame: its scores' histogram between at most 768
quantiles. Where several frames share the highest score, the official figures depend on which of them is read first,
because its first threshold is not joined with equal ones. Frames are taken in the order of their ids; a figure that
another order would move carries an ``err`` as large as that. Where the source divides by zero or calls a figure 0
without an anomaly, there is no figure here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bench.contract.dataset import Sample
from bench.contract.protocol import Quantized, TwoPhase
from bench.core.errors import BadScores
from bench.core.values import IGNORE, Labels, Metric, Row, Rows, Scores, Undefined, Value
from bench.counts.tally import Counts
from bench.metrics import bootstrap, components, ranking
from bench.metrics.truths import anomaly_of, only_known, score_of

Floats = NDArray[np.float64]
Halves = NDArray[np.float16]

QUANTILES = 384  # of each class and frame; 768 / 2 in the source
INSERTED = 16  # so few entries are sorted by insertion in NumPy, which leaves equal ones in their order

EXACT = {f"{name}_exact": metric for name, metric in ranking.METRICS.items() if name in ranking.RESAMPLED}
AT = (25, 50, 75)  # percent: the first, sixth and last of components.TAUS
METRICS: Mapping[str, Metric] = {
    "ap": Metric("AP", "area_PRC of the official evaluator: the step sum over the joined sketches"),
    "fpr95": Metric(
        "FPR95", "tpr95_fpr of the official evaluator: FPR at the first point with recall >= 0.95", "lower"
    ),
    "siou": Metric("sIoU", "sIoU_gt of the official evaluator: mean over the objects of the split"),
    "ppv": Metric("PPV", "prec_pred of the official evaluator: mean over the predicted components of the split"),
    "mean_f1": Metric("mean F1", "f1_mean of the official evaluator: over 11 thresholds of sIoU and PPV"),
    "auroc": Metric("AUROC", "area_ROC of the official evaluator; not in its tables"),
    "best_f1": Metric("best F1", "best_f1 of the official evaluator"),
    "best_f1_threshold": Metric("threshold", "best_f1_threshold of the official evaluator, for components", "neither"),
    **{f"f1_{at}": Metric(f"F1 at {at}", f"F1 of components at sIoU and PPV of {at} %") for at in AT},
    **{f"fn_{at}": Metric(f"missed at {at}", f"objects with sIoU below {at} %", "lower", "number") for at in AT},
    **{f"fp_{at}": Metric(f"false at {at}", f"predictions with PPV below {at} %", "lower", "number") for at in AT},
    **{
        name: Metric(f"{metric.title} (exact)", f"{metric.definition}; scores rounded to float16", metric.better)
        for name, metric in EXACT.items()
    },
}
CURVE = ("ap", "fpr95", "auroc", "best_f1", "best_f1_threshold")


def halved(score: Scores) -> Scores:
    """float32 [H, W] with the values that float16 can hold, rounded once, from float64 too."""
    with np.errstate(over="ignore"):
        return score.astype(np.float16).astype(np.float32)


def _stored(score: Scores) -> NDArray[np.float16] | Scores:
    """The map as the evaluator holds it: float16 as it was saved, or float32 where a smaller one was upsampled."""
    with np.errstate(over="ignore"):
        half = score.astype(np.float16)
    return half if np.array_equal(half, score) or not np.isfinite(half).all() else score


def upsampled(score: Scores, size: tuple[int, int]) -> Scores:
    """Scores [H, W] from a smaller map [h, w]: bilinear, half-pixel centres, as the parallel evaluator's OpenCV."""
    lines, columns = (_between(*sides) for sides in zip(score.shape, size, strict=True))
    wide = score[:, columns[0]] * (1 - columns[2]) + score[:, columns[1]] * columns[2]
    share = lines[2][:, None]
    return np.asarray(wide[lines[0]] * (1 - share) + wide[lines[1]] * share, np.float32)


def _between(small: int, large: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Two neighbours on the small side for each pixel of the large one, and how far towards the second it lies."""
    position = np.clip((np.arange(large) + 0.5) * (small / large) - 0.5, 0, small - 1)
    first = np.floor(position).astype(np.int64)
    return first, np.minimum(first + 1, small - 1), (position - first).astype(np.float32)


def sketch(score: Scores | Halves, truth: Labels) -> Row:
    """One frame of the official curve, ``threshold`` float64 [n] descending, ``hits`` and ``alarms`` int64 [n].

    score [H, W], float16, or float32 where the evaluator has upsampled a smaller map; truth 0, 1, 255. A pixel is
    predicted from its threshold on.
    """
    positives, negatives = (_Sorted(score[truth == side]) for side in (1, 0))
    values = np.concatenate([positives.values, negatives.values]).astype(np.float64)
    if not values.size:
        return {"threshold": np.empty(0), "hits": np.empty(0, np.int64), "alarms": np.empty(0, np.int64)}
    low, high = float(values.min()), float(values.max())
    margin = max(0.01 * (high - low), 0.01)
    edges = np.unique(np.concatenate([[low - margin, high + margin], positives.quantiles(), negatives.quantiles()]))
    return {
        "threshold": edges[:-1][::-1].copy(),
        "hits": positives.histogram(edges)[::-1].copy(),
        "alarms": negatives.histogram(edges)[::-1].copy(),
    }


class _Sorted:
    """Many scores as few values: NumPy's quantile and histogram to the last bit, in a fraction of their time."""

    def __init__(self, score: Scores | Halves) -> None:
        self.values: NDArray[Any]
        if score.dtype == np.float16:
            counts = np.bincount(score.view(np.uint16), minlength=1 << 16)
            halves = np.flatnonzero(counts).astype(np.uint16)
            order = np.argsort(halves.view(np.float16), kind="stable")
            self.values, counts = halves.view(np.float16)[order], counts[halves][order]
        else:
            self.values, counts = np.unique(score, return_counts=True)
        self.ends = np.cumsum(counts)

    def quantiles(self) -> Floats:
        """``numpy.quantile`` at linspace(0, 1, min(384, n)): the difference of neighbours is rounded as scores are."""
        if not self.values.size:
            return np.empty(0)
        total = int(self.ends[-1])
        position = (total - 1) * np.linspace(0, 1, min(QUANTILES, total))
        below = np.floor(position).astype(np.int64)
        share = position - below
        lower, upper = (
            self.values[np.searchsorted(self.ends, np.minimum(index, total - 1), "right")]
            for index in (below, below + 1)
        )
        step = upper - lower
        return np.asarray(np.where(share >= 0.5, upper - step * (1 - share), lower + step * share), np.float64)

    def histogram(self, edges: Floats) -> NDArray[np.int64]:
        """``numpy.histogram``: every bin takes its lower edge, the last one both."""
        values = self.values.astype(np.float64)
        before = np.append(values.searchsorted(edges[:-1], "left"), values.searchsorted(edges[-1:], "right"))
        return np.diff(np.concatenate([[0], self.ends])[before])


def curve(rows: Rows) -> dict[str, Floats]:
    """The official curve: ``threshold`` descending, ``hits`` and ``alarms`` at or above it, [n] each.

    Equal thresholds are joined at their last, but the very first entry is kept, as in the source.
    """
    joined, orders = _orders(rows)
    return _points(joined, orders[0])


def in_any_order(rows: Rows) -> dict[str, Value | Undefined]:
    """The figures of ``curve``, each with an ``err`` as large as another order of the frames could move it."""
    joined, orders = _orders(rows)
    figures, *others = (read_curve(_points(joined, order)) for order in orders)
    for name, figure in figures.items():
        if isinstance(figure, Value):
            moved = [abs(figure.value - other.value) for each in others if isinstance(other := each[name], Value)]
            figures[name] = Value(figure.value, max(moved, default=0.0))
    return figures


def _orders(rows: Rows) -> tuple[dict[str, Floats], list[NDArray[np.int64]]]:
    """The entries of all frames by id, and in which orders they may be read: one for each entry that may be the first.

    Among equal thresholds only the first of all matters. It is that of the first frame, but of the last one where there
    are at most 16 entries in all: so NumPy 1.23, which the source pins, sorts them in every published case.
    """
    frames = [rows[image] for image in sorted(rows)]
    joined = {
        name: np.concatenate([np.empty(0), *(row[name] for row in frames)]) for name in ("threshold", "hits", "alarms")
    }
    order = np.argsort(-joined["threshold"], kind="stable")
    highest = int(np.count_nonzero(joined["threshold"] == joined["threshold"].max(initial=-np.inf)))
    leaders = {tuple(joined[name][entry] for name in ("hits", "alarms")): entry for entry in order[:highest][::-1]}
    default = order[highest - 1 if 0 < order.size <= INSERTED else 0] if order.size else 0
    firsts = dict.fromkeys([int(default), *(int(entry) for entry in leaders.values())])
    return joined, [np.concatenate([[first], order[order != first]]) for first in firsts] if order.size else [order]


def _points(joined: Mapping[str, Floats], order: NDArray[np.int64]) -> dict[str, Floats]:
    threshold = joined["threshold"][order]
    if not threshold.size:
        return dict(joined)
    kept = np.concatenate([[0], np.flatnonzero(np.diff(threshold)), [threshold.size - 1]])
    hits, alarms = (np.cumsum(joined[name][order])[kept] for name in ("hits", "alarms"))
    threshold = threshold[kept]
    if hits[0] or alarms[0]:
        threshold = np.concatenate([[threshold.max() + 1], threshold])
        hits, alarms = (np.concatenate([[0.0], values]) for values in (hits, alarms))
    return {"threshold": threshold, "hits": hits, "alarms": alarms}


def read_curve(points: Mapping[str, Floats]) -> dict[str, Value | Undefined]:
    """The figures of ``CURVE``."""
    threshold, hits, alarms = points["threshold"], points["hits"], points["alarms"]
    total_p, total_n = (int(values[-1]) if values.size else 0 for values in (hits, alarms))
    if reason := ranking.undefined(total_p, total_n):
        return dict.fromkeys(CURVE, reason)
    recall, false_rate = hits / total_p, alarms / total_n
    predicted = hits + alarms
    precision = np.divide(hits, predicted, out=np.ones_like(hits), where=predicted > 0)
    f1 = 2 * hits / (predicted + total_p)
    best = int(np.argmax(f1))
    return {
        "ap": Value(float((np.diff(recall) * precision[1:]).sum())),
        "fpr95": Value(float(false_rate[np.argmax(recall >= 0.95)])),
        "auroc": Value(float((np.diff(false_rate) * (recall[1:] + recall[:-1])).sum() / 2)),
        "best_f1": Value(float(f1[best])),
        "best_f1_threshold": Value(float(threshold[best])),
    }


@dataclass(frozen=True)
class _Smiyc(TwoPhase, Quantized):
    """Pixels by the official sketch, then components at its threshold, strictly above, both in float16."""

    version = 2  # 2: of frames that share the highest score the first one by id is read first
    computations = TwoPhase.computations | {"segments"}
    metrics = METRICS
    needs = frozenset({"anomaly", "score"})
    category_names = ("normal", "anomaly")
    spool = "float16"
    resizes = True
    min_predicted: ClassVar[int]  # pixels
    min_truth: ClassVar[int]

    def quantize(self, score: Scores) -> Scores:
        return halved(score)

    def categories(self, sample: Sample, predicted: Labels | None) -> Labels:
        return only_known(anomaly_of(sample))

    def row(self, sample: Sample, predicted: Labels | None, score: Scores | None = None) -> Row:
        truth = self.categories(sample, predicted)
        stored = _stored(score_of(sample, score))
        if not np.isfinite(stored[truth != IGNORE]).all():
            raise BadScores(
                f"{sample.id}: scores beyond the 65504 that float16 can hold, as SMIYC stores them; rescale"
            )
        return sketch(stored, truth)

    def parameters(self, counts: Counts, rows: Rows) -> Mapping[str, float] | Undefined:
        threshold = read_curve(curve(rows))["best_f1_threshold"]
        return threshold if isinstance(threshold, Undefined) else {"threshold": threshold.value}

    def second_row(
        self, score: Scores, sample: Sample, predicted: Labels | None, parameters: Mapping[str, float]
    ) -> Row:
        # The threshold is rounded as NumPy 1 does, under which the leaderboard's figures were made.
        stored = _stored(score)
        above = stored > stored.dtype.type(parameters["threshold"])
        truth = self.categories(sample, predicted)
        return components.find(above, truth, min_predicted=self.min_predicted, min_truth=self.min_truth)

    def read(self, counts: Counts, rows: Rows) -> Mapping[str, Value | Undefined]:
        official = in_any_order(rows)
        exact = ranking.ranking(counts, [1], [0])
        figures: dict[str, Value | Undefined] = {f"{name}_exact": exact[name] for name in ranking.RESAMPLED}
        figures.update(official)
        if isinstance(official["best_f1_threshold"], Undefined):
            figures = {**dict.fromkeys(METRICS, official["best_f1_threshold"]), **figures}
        elif all("siou" in row for row in rows.values()):
            frames = [rows[image] for image in sorted(rows)]
            figures.update(components.read(frames))
            figures.update(_at(components.total(frames)))
        return {name: figures[name] for name in METRICS if name in figures}

    def bootstrap(self, weights: Floats, rows: Rows) -> Mapping[str, Floats]:
        """The official and the exact figures share their resamples, each shifted to its own; the threshold is held."""
        pixels = bootstrap.replicate_ranking(weights, rows, [1], [0])
        figures = {**pixels, **{f"{name}_exact": values for name, values in pixels.items()}}
        if rows and all("siou" in row for row in rows.values()):
            counts = np.array([components.pooled(row) for row in rows.values()])
            figures.update(components.figures(weights @ counts))
        else:
            figures.update({name: np.full(len(weights), np.nan) for name in components.NOTHING})
        return figures


def _at(counts: Floats) -> dict[str, Value | Undefined]:
    figures: dict[str, Value | Undefined] = {}
    for at, index in zip(AT, (0, 5, 10), strict=True):
        hit, missed, alarms = (float(counts[start + index]) for start in (4, 15, 26))
        whole = 2 * hit + missed + alarms
        figures[f"f1_{at}"] = Value(2 * hit / whole) if whole else components.NOTHING["mean_f1"]
        figures[f"fn_{at}"] = Value(missed)
        figures[f"fp_{at}"] = Value(alarms)
    return figures


@dataclass(frozen=True)
class SmiycAnomaly(_Smiyc):
    """AnomalyTrack, and Fishyscapes' anomalies under SMIYC: objects from 100 pixels, predictions from 500."""

    name = "smiyc_anomaly"
    source = "Chan et al., arXiv:2104.14812; SegmentMeIfYouCan/road-anomaly-benchmark@1c7804e, SegEval-AnomalyTrack"
    min_predicted = 500
    min_truth = 100


@dataclass(frozen=True)
class SmiycObstacle(_Smiyc):
    """ObstacleTrack and LostAndFound: objects from 10 pixels, predictions from 50."""

    name = "smiyc_obstacle"
    source = "Chan et al., arXiv:2104.14812; SegmentMeIfYouCan/road-anomaly-benchmark@1c7804e, SegEval-ObstacleTrack"
    min_predicted = 50
    min_truth = 10
