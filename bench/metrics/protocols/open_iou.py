"""Open IoU: classes and anomalies at once, at the threshold that finds 95 % of the anomalies and at 5 % false alarms.

Source: Laskar et al., A Dataset for Semantic Segmentation in the Presence of Unknowns, arXiv:2503.22309;
vojirt/benchmark_issu, benchmark/metrics/pixel_recognition.py. A pixel whose score is above the threshold is predicted
as anomaly, whatever its class; an anomaly below it counts against the class that it was taken for. As in the source a
class that occurs nowhere counts as 0, and the mean is always one over 19. Its thresholds are read off the sketched
curve of SegmentMeIfYouCan on scores of 16 bits; here they are those of the scores as they are, over pooled pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.contract.dataset import Sample
from bench.contract.protocol import Protocol
from bench.core.values import IGNORE, Labels, Metric, Row, Rows, Scores, Undefined, Value
from bench.counts.bins import common_bins
from bench.counts.keys import union
from bench.counts.runs import AnyKeys
from bench.counts.tally import Column, Counts
from bench.metrics import ranking
from bench.metrics.truths import anomaly_of, classes_of, labels_of

Floats = NDArray[np.float64]

CLASSES = 19
HITS, MISSES, ANOMALIES = (slice(first * CLASSES, (first + 1) * CLASSES) for first in range(3))  # by predicted class
MISSED_OUTSIDE, ANOMALY_OUTSIDE = 3 * CLASSES, 3 * CLASSES + 1  # predicted as none of the classes
NORMAL = (*range(2 * CLASSES), MISSED_OUTSIDE)
UNKNOWN = (*range(2 * CLASSES, 3 * CLASSES), ANOMALY_OUTSIDE)
METRICS: Mapping[str, Metric] = {
    "open_iou_tpr95": Metric(
        "open IoU at TPR 95", "sum over the classes / 19; score > threshold is an anomaly; 95 % of these are found"
    ),
    "open_iou_fpr5": Metric(
        "open IoU at FPR 5", "sum over the classes / 19; score > threshold is an anomaly; 5 % of the normal pixels are"
    ),
    "closed_iou": Metric("closed IoU", "sum of the IoU over the classes / 19, anomalies left out"),
    "tpr_at_fpr5": Metric("TPR at FPR 5", "true positive rate at the first threshold with false positive rate >= 0.05"),
    "threshold_tpr95": Metric("threshold at TPR 95", "the largest with true positive rate >= 0.95", "neither"),
    "threshold_fpr5": Metric("threshold at FPR 5", "the largest with false positive rate >= 0.05", "neither"),
}
RESAMPLED = ("open_iou_tpr95", "open_iou_fpr5", "closed_iou", "tpr_at_fpr5")


@dataclass(frozen=True)
class OpenIoU(Protocol):
    """Mean IoU of the 19 classes of Cityscapes where a method may call any pixel an anomaly; both thresholds are exact.

    Pixels with a label and those of an anomaly are counted, all others are ignored.
    """

    name = "open_iou"
    source = "Laskar et al., arXiv:2503.22309, section 5; vojirt/benchmark_issu, benchmark/metrics/pixel_recognition.py"
    version = 1
    only_classes = CLASSES
    metrics = METRICS
    needs = frozenset({"labels", "anomaly", "prediction", "score"})
    category_names = (
        *(f"{kind} {index}" for kind in ("hit", "miss", "anomaly as") for index in range(CLASSES)),
        "miss outside the classes",
        "anomaly outside the classes",
    )

    def categories(self, sample: Sample, predicted: Labels | None) -> Labels:
        labels, anomaly, classes = labels_of(sample), anomaly_of(sample), classes_of(sample, predicted)
        known = np.minimum(classes, np.uint8(CLASSES))  # those beyond are one
        normal = np.where(labels == classes, known, np.append(np.arange(*_span(MISSES)), MISSED_OUTSIDE)[known])
        unknown = np.append(np.arange(*_span(ANOMALIES)), ANOMALY_OUTSIDE)[known]
        counted = np.where((anomaly == 0) & (labels < CLASSES), normal, IGNORE)
        return np.where(anomaly == 1, unknown, counted).astype(np.uint8)

    def row(self, sample: Sample, predicted: Labels | None, score: Scores | None = None) -> Row:
        labels = labels_of(sample)[anomaly_of(sample) == 0]
        return {"labelled": np.bincount(labels[labels < CLASSES], minlength=CLASSES).astype(np.int64)}

    def read(self, counts: Counts, rows: Rows) -> Mapping[str, Value | Undefined]:
        positives, negatives = counts.column(UNKNOWN), counts.column(NORMAL)
        if not positives.total and not negatives.total:
            return dict.fromkeys(METRICS, ranking.NO_PIXELS)
        labelled = np.sum([np.zeros(CLASSES), *(row["labelled"] for row in rows.values())], axis=0)
        whole = np.array([column.total for column in counts.columns], np.float64)
        at_tpr95 = _key(positives, 19, ranking.NO_POSITIVES)
        at_fpr5 = _key(negatives, 1, ranking.NO_NEGATIVES)
        closed: Value | Undefined = ranking.NO_NEGATIVES
        if negatives.total:
            closed = Value(float(_closed(whole, labelled)))
        return {
            "open_iou_tpr95": _open(counts, at_tpr95, labelled),
            "open_iou_fpr5": _open(counts, at_fpr5, labelled),
            "closed_iou": closed,
            "tpr_at_fpr5": _rate(counts, positives, at_fpr5),
            "threshold_tpr95": _threshold(counts, at_tpr95),
            "threshold_fpr5": _threshold(counts, at_fpr5),
        }

    def bootstrap(self, weights: Floats, rows: Rows) -> Mapping[str, Floats]:
        """From the leading 16 bits of each image; the thresholds are held."""
        images = common_bins(rows)[1]
        used = union([keys for keys, _ in images])
        pooled = np.zeros((used.size, len(self.category_names)))
        for keys, table in images:
            pooled[np.searchsorted(used, keys)] += table
        figures = {name: np.full(len(weights), np.nan) for name in RESAMPLED}
        if not rows or not pooled.any():
            return figures
        labelled = weights @ np.array([row["labelled"] for row in rows.values()], np.float64)
        whole = weights @ np.array([table.sum(axis=0) for _, table in images], np.float64)
        seen = labelled.sum(axis=1) > 0
        figures["closed_iou"] = np.where(seen, _closed(whole, labelled), np.nan)
        for name, side, share in (("tpr95", UNKNOWN, 19), ("fpr5", NORMAL, 1)):
            column = Column(used, pooled[:, side].sum(axis=1).astype(np.int64))
            key = _key(column, share, ranking.NO_PIXELS)
            if isinstance(key, Undefined):
                continue
            kept = weights @ np.array([table[keys <= key].sum(axis=0) for keys, table in images], np.float64)
            figures[f"open_iou_{name}"] = np.where(seen, _iou(kept, labelled), np.nan)
            if name == "fpr5":
                below = weights @ np.array([table[keys < key][:, UNKNOWN].sum() for keys, table in images], np.float64)
                total = whole[:, UNKNOWN].sum(axis=1)
                figures["tpr_at_fpr5"] = 1 - np.divide(below, total, out=np.full(len(total), np.nan), where=total > 0)
        return figures


def _span(part: slice) -> tuple[int, int]:
    return part.start, part.stop


def _key(column: Column, share: int, without: Undefined) -> AnyKeys | Undefined:
    """The key [1] at which, from the top, ``share`` twentieths of a column are reached; ``without`` of an empty one."""
    total = column.total
    if not total:
        return without
    rank = -(-share * total // 20)
    if column.counts is None:
        keys: AnyKeys = column.keys[total - rank : total - rank + 1]
        return keys
    place = int(np.searchsorted(np.cumsum(column.counts[::-1]), rank))
    reached: AnyKeys = column.keys[::-1][place : place + 1]
    return reached


def _open(counts: Counts, key: AnyKeys | Undefined, labelled: Floats) -> Value | Undefined:
    """Open IoU at a threshold, with bounds where pixels that share its key may lie on either side of it."""
    if isinstance(key, Undefined):
        return key
    if not labelled.any():
        return ranking.NO_NEGATIVES
    below, at = np.array([[int(part[0]) for part in column.ranks(key)] for column in counts.columns], np.float64).T
    if counts.exact:  # the score itself is not above the threshold
        return Value(float(_iou(below + at, labelled)))
    right, best, worst = np.zeros(len(at), np.bool_), below.copy(), below.copy()
    right[HITS] = True
    best[right] += at[right]
    worst[~right] += at[~right]
    return ranking.between(float(_iou(worst, labelled)), float(_iou(best, labelled)))


def _iou(kept: Floats, labelled: Floats) -> Floats:
    """Open IoU [...] of pixels that are not called anomalies [..., 59] and labelled ones by class [..., 19]."""
    hits, misses, anomalies = (kept[..., part] for part in (HITS, MISSES, ANOMALIES))
    union_of = labelled + misses + anomalies
    ious = np.divide(hits, union_of, out=np.zeros(union_of.shape), where=union_of > 0)
    return np.asarray(ious.sum(axis=-1) / CLASSES)


def _closed(whole: Floats, labelled: Floats) -> Floats:
    """IoU [...] over the classes of all normal pixels, whatever their scores."""
    normal = whole.copy()
    normal[..., UNKNOWN] = 0
    return _iou(normal, labelled)


def _rate(counts: Counts, positives: Column, key: AnyKeys | Undefined) -> Value | Undefined:
    if not positives.total:
        return ranking.NO_POSITIVES
    if isinstance(key, Undefined):
        return key
    below, at = (int(part[0]) for part in positives.ranks(key))
    highest = 1 - below / positives.total
    return Value(highest) if counts.exact else ranking.between(highest - at / positives.total, highest)


def _threshold(counts: Counts, key: AnyKeys | Undefined) -> Value | Undefined:
    if isinstance(key, Undefined):
        return key
    low, high = float(counts.lowest(key)[0]), float(counts.highest(key)[0])
    return ranking.threshold(low) if counts.exact else ranking.threshold(low, low, high)
