"""Whether pixels are as often right as the method's confidence says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import fsum

import numpy as np
from numpy.typing import NDArray

from bench.api import Labels, Metric, Protocol, Row, Rows, Sample, Scores, Undefined, Value
from bench.errors import BadPlugin
from bench.metrics.tally import Tally
from bench.metrics.truths import classes_of, labels_of, score_of, wrong_pixels

METRICS: Mapping[str, Metric] = {
    "ece": Metric(
        "ECE", "sum over equal bins of confidence of their share times |accuracy - mean confidence|", "lower"
    ),
    "brier": Metric("Brier", "mean over labelled pixels of (confidence - 1 if right, else 0) squared", "lower"),
}


@dataclass(frozen=True)
class Calibration(Protocol):
    """Pixels pooled over all images; bins are closed above, the first one on both sides.

    Reads confidences in [0, 1], not scores. The rows are the reliability diagram: ``pixels``, ``right`` and
    ``confidence`` (its sum) by bin.
    """

    name = "calibration"
    source = "Guo et al., arXiv:1706.04599, section 2 (ECE, 15 bins); Brier, Monthly Weather Review 1950, by pixel"
    version = 1
    reads = "confidence"
    metrics = METRICS
    needs = frozenset({"labels"})
    needs_prediction = True
    category_names = ("correct", "wrong")

    bins: int = 15

    def categories(self, sample: Sample, predicted: Labels | None) -> Labels:
        return wrong_pixels(labels_of(sample), classes_of(sample, predicted))

    def row(self, sample: Sample, predicted: Labels | None, score: Scores | None = None) -> Row:
        wrong = self.categories(sample, predicted)
        valid = wrong <= 1
        confidence, right = score_of(sample, score)[valid].astype(np.float64), 1.0 - wrong[valid]
        if not ((confidence >= 0) & (confidence <= 1)).all():
            raise BadPlugin(f"{sample.id}: a confidence outside [0, 1]")
        place = np.searchsorted(np.arange(1, self.bins) / self.bins, confidence, "left")
        return {
            "pixels": np.bincount(place, minlength=self.bins),
            "right": np.bincount(place, right, self.bins),
            "confidence": np.bincount(place, confidence, self.bins),
            "squares": np.array([((confidence - right) ** 2).sum()]),
        }

    def read(self, tally: Tally | None, rows: Rows) -> Mapping[str, Value | Undefined]:
        ordered = [rows[image] for image in sorted(rows)]
        whole = {
            name: np.array([fsum(column) for column in zip(*(row[name] for row in ordered), strict=True)])
            for name in ("pixels", "right", "confidence", "squares")
        }
        if not whole["pixels"].sum():
            return dict.fromkeys(METRICS, Undefined("no pixels"))
        return {name: Value(float(value)) for name, value in _figures(whole).items()}

    def replicate(self, weights: NDArray[np.float64], rows: Rows) -> Mapping[str, NDArray[np.float64]]:
        names = ("pixels", "right", "confidence", "squares")
        sums = {name: weights @ np.array([row[name] for row in rows.values()], np.float64) for name in names}
        return _figures(sums)


def _figures(sums: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    pixels = sums["pixels"].sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "ece": abs(sums["right"] - sums["confidence"]).sum(axis=-1) / pixels,
            "brier": sums["squares"].sum(axis=-1) / pixels,
        }
