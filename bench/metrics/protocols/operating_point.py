"""A threshold that was chosen elsewhere, judged here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.contract.dataset import Sample
from bench.contract.protocol import Breakdown, CarriesThreshold, Pointwise, TwoPhase
from bench.core.values import IGNORE, Labels, Metric, Row, Rows, Scores, Undefined, Value
from bench.counts.bins import common_bins, first_bin
from bench.counts.keys import at_or_above
from bench.counts.tally import Counts
from bench.metrics import ranking
from bench.metrics.protocols.pooled import check_sizes, names_of_sizes
from bench.metrics.ranking import held
from bench.metrics.truths import anomaly_of, classes_of, labels_of, only_known, wrong_pixels

Floats = NDArray[np.float64]

METRICS: Mapping[str, Metric] = {
    "tpr": Metric("TPR", "share of the positive pixels with score >= threshold"),
    "fpr": Metric("FPR", "share of the negative pixels with score >= threshold", "lower"),
    "precision": Metric("precision", "share of positives among the pixels with score >= threshold"),
    "f1": Metric("F1", "2 TP / (2 TP + FP + FN) of the pixels with score >= threshold"),
    "threshold": Metric("threshold", "score >= threshold is positive; chosen elsewhere", "neither"),
}
ALARMS: Mapping[str, Metric] = {
    "false_alarms": Metric("false alarms", "alarms that touch no anomaly, per image", "lower", "number"),
    "objects_found": Metric("objects found", "share of the anomalous objects that an alarm touches"),
}
NOTHING = Undefined("no pixels at or above the threshold")
UNSEEN = Undefined("no maps were looked at; run the protocol operating_point with this threshold")
EIGHT = np.ones((3, 3))  # connectivity


@dataclass(frozen=True)
class _AtThreshold(CarriesThreshold):
    """Category 1 should be at or above the threshold, category 0 below; pixels pooled."""

    version = 1
    metrics = METRICS

    threshold: float = 0.0

    @property
    def carried(self) -> float:
        return self.threshold

    def read(self, counts: Counts, rows: Rows) -> Mapping[str, Value | Undefined]:
        columns = [counts.column([category]) for category in (1, 0)]
        if reason := ranking.undefined(columns[0].total, columns[1].total):
            return dict.fromkeys(METRICS, reason)
        key, begins = counts.first_at(self.threshold)
        total_p, total_n = (column.total for column in columns)
        below, at = zip(*(column.ranks(key) for column in columns), strict=True)
        more_hits, more_alarms = total_p - int(below[0][0]), total_n - int(below[1][0])
        hits, alarms = more_hits - int(at[0][0]), more_alarms - int(at[1][0])
        if begins:
            hits, alarms = more_hits, more_alarms
        if not more_hits + more_alarms:
            precision: Value | Undefined = NOTHING
        else:
            precision = _between(_share(hits, more_alarms), _share(more_hits, alarms))
        return {
            "tpr": _between(hits / total_p, more_hits / total_p),
            "fpr": _between(alarms / total_n, more_alarms / total_n),
            "precision": precision,
            "f1": _between(_f1(hits, more_alarms, total_p), _f1(more_hits, alarms, total_p)),
            "threshold": Value(self.threshold),
        }

    def bootstrap(self, weights: Floats, rows: Rows) -> Mapping[str, Floats]:
        """From the leading 16 bits of each image."""
        bits, images = common_bins(rows)
        above = np.array(
            [counts[keys >= first_bin(self.threshold, keys, bits)].sum(axis=0) for keys, counts in images], np.float64
        )
        whole = np.array([row["bin_counts"].sum(axis=0) for row in rows.values()], np.float64)
        alarms, hits = (weights @ above.reshape(-1, 2)).T
        total_n, total_p = (weights @ whole.reshape(-1, 2)).T
        with np.errstate(invalid="ignore", divide="ignore"):
            figures = {
                "tpr": hits / total_p,
                "fpr": alarms / total_n,
                "precision": hits / (hits + alarms),
                "f1": 2 * hits / (hits + alarms + total_p),
            }
        undefined = (total_p == 0) | (total_n == 0)
        return {name: np.where(undefined, np.nan, values) for name, values in figures.items()}


@dataclass(frozen=True)
class OperatingPoint(_AtThreshold, TwoPhase, Breakdown, Pointwise):
    """Pooled anomalies at a threshold that is a parameter, chosen on another split than the one it is tried on.

    An alarm is an 8-connected component of pixels at or above the threshold, of at least ``min_alarm`` pixels; a false
    one touches no anomaly. Ignored pixels belong to none. ``objects_found`` counts an object that one alarm touches;
    ``bench show --by size`` has it for objects of different ``sizes``, in pixels of the label image.
    """

    name = "operating_point"
    source = (
        "TPR, FPR, precision, F1 and alarms at a fixed threshold; defined in bench.metrics.protocols.operating_point"
    )
    version = 3  # 2: alarms; 3: objects by size
    metrics = {**METRICS, **ALARMS}  # noqa: RUF012 - read by all, written by none
    needs = frozenset({"anomaly", "score"})
    category_names = ("normal", "anomaly")
    spool = "float32"

    min_alarm: int = 1  # pixels
    sizes: tuple[int, ...] = (100, 1000, 10000)  # where one part of the objects ends and the next begins

    def __post_init__(self) -> None:
        check_sizes(self.sizes)

    def categories(self, sample: Sample, predicted: Labels | None) -> Labels:
        return only_known(anomaly_of(sample))

    def parameters(self, counts: Counts, rows: Rows) -> Mapping[str, float]:
        return {"threshold": self.threshold}

    def second_row(
        self, score: Scores, sample: Sample, predicted: Labels | None, parameters: Mapping[str, float]
    ) -> Row:
        from scipy import ndimage

        truth = self.categories(sample, predicted)
        alarms, count = ndimage.label(at_or_above(score, parameters["threshold"]) & (truth != IGNORE), EIGHT)
        objects, known = ndimage.label(truth == 1, EIGHT)
        large = np.bincount(alarms.reshape(-1), minlength=count + 1) >= self.min_alarm
        large[0] = False
        overlap = (alarms > 0) & (objects > 0) & large[alarms]
        true = np.unique(alarms[overlap]).size
        hit = np.unique(objects[overlap])
        part = np.searchsorted(self.sizes, np.bincount(objects.reshape(-1), minlength=known + 1), side="right")
        by_size = [np.bincount(part[some], minlength=len(self.sizes) + 1) for some in (hit, np.arange(1, known + 1))]
        return {
            "alarms": np.array((int(large.sum()) - true, hit.size, known), np.int64),
            "by_size": np.array(by_size, np.int64),  # [2, sizes + 1]: objects found, and objects
        }

    def read(self, counts: Counts, rows: Rows) -> Mapping[str, Value | Undefined]:
        figures = dict(super().read(counts, rows))
        if figures["tpr"] == ranking.NO_PIXELS:
            return figures | dict.fromkeys(ALARMS, ranking.NO_PIXELS)
        if not rows or not all("alarms" in row for row in rows.values()):
            return figures | dict.fromkeys(ALARMS, UNSEEN)
        false, hit, known = np.sum([row["alarms"] for row in rows.values()], axis=0)
        objects: Value | Undefined = Value(float(hit / known)) if known else Undefined("no objects")
        return figures | {"false_alarms": Value(float(false / len(rows))), "objects_found": objects}

    def breakdown(self, counts: Counts, rows: Rows) -> Mapping[str, Mapping[str, Mapping[str, Value | Undefined]]]:
        if not rows or not all("by_size" in row for row in rows.values()):
            return {}
        found, known = np.sum([row["by_size"] for row in rows.values()], axis=0)
        return {
            "size": {
                name: {"objects_found": Value(float(hit / number)) if number else Undefined("no objects")}
                for name, hit, number in zip(names_of_sizes(self.sizes), found, known, strict=True)
            }
        }

    def bootstrap(self, weights: Floats, rows: Rows) -> Mapping[str, Floats]:
        figures = dict(super().bootstrap(weights, rows))
        if rows and all("alarms" in row for row in rows.values()):
            false, hit, known = (weights @ np.array([row["alarms"] for row in rows.values()], np.float64)).T
            counted = weights @ np.array([row["bin_counts"].sum() for row in rows.values()], np.float64) > 0
            figures["false_alarms"] = np.where(counted, false / weights.sum(axis=1), np.nan)
            figures["objects_found"] = np.divide(hit, known, out=np.full(len(hit), np.nan), where=known > 0)
        return figures


@dataclass(frozen=True)
class MisclassificationPoint(_AtThreshold, Pointwise):
    """Pooled misclassifications at a threshold that is a parameter, chosen on another split."""

    name = "operating_point_misclassification"
    source = "TPR, FPR, precision and F1 at a fixed threshold; defined in bench.metrics.protocols.operating_point"
    needs = frozenset({"labels", "prediction", "score"})
    category_names = ("correct", "wrong")

    def categories(self, sample: Sample, predicted: Labels | None) -> Labels:
        return wrong_pixels(labels_of(sample), classes_of(sample, predicted))


def _share(hits: int, alarms: int) -> float:
    return hits / (hits + alarms) if hits + alarms else 0.0


def _f1(hits: int, alarms: int, total: int) -> float:
    return 2 * hits / (hits + alarms + total)


def _between(low: float, high: float) -> Value:
    return Value(low) if low == high else held((low + high) / 2, low, high)
