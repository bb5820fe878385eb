"""Calibration: are pixels as often right as the method's confidence says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.contract.dataset import Sample
from bench.contract.protocol import Protocol
from bench.core.errors import BadPlugin
from bench.core.values import Labels, Metric, Row, Rows, Scores, Undefined, Value
from bench.counts.keys import union
from bench.counts.tally import Counts
from bench.metrics.truths import classes_of, labels_of, score_of, wrong_pixels

METRICS: Mapping[str, Metric] = {
    "ece": Metric(
        "ECE", "sum over equal bins of confidence of their share times |accuracy - mean confidence|", "lower"
    ),
    "brier": Metric("Brier", "mean over labelled pixels of (confidence - 1 if right, else 0) squared", "lower"),
}
KEPT = ("pixels", "right", "confidence")  # what a row holds by bin
NO_PIXELS = Undefined("no pixels")


@dataclass(frozen=True)
class Calibration(Protocol):
    """Pixels pooled over all images; bins are closed above, the first one on both sides.

    Reads confidences in [0, 1], not scores. The rows are the reliability diagram: ``pixels``, ``right`` and
    ``confidence`` (its sum) by bin.
    """

    name = "calibration"
    source = "Guo et al., arXiv:1706.04599, section 2 (ECE, 15 bins); Brier, Monthly Weather Review 1950, by pixel"
    version = 1
    metrics = METRICS
    needs = frozenset({"labels", "prediction", "confidence"})
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
        bins = _places(confidence, self.bins)
        return {
            "pixels": np.bincount(bins, minlength=self.bins),
            "right": np.bincount(bins, right, self.bins),
            "confidence": np.bincount(bins, confidence, self.bins),
            "squares": np.array([((confidence - right) ** 2).sum()]),
        }

    def read(self, counts: Counts, rows: Rows) -> Mapping[str, Value | Undefined]:
        ordered = [rows[image] for image in sorted(rows)]
        whole = {
            name: np.array([fsum(column) for column in zip(*(row[name] for row in ordered), strict=True)])
            for name in ("pixels", "right", "confidence", "squares")
        }
        if not whole["pixels"].sum():
            return dict.fromkeys(METRICS, NO_PIXELS)
        return {name: Value(float(value)) for name, value in _figures(whole).items()}

    def bootstrap(self, weights: NDArray[np.float64], rows: Rows) -> Mapping[str, NDArray[np.float64]]:
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


@dataclass(frozen=True, slots=True, eq=False)
class Diagram:
    """A reliability diagram: the pixels of equal bins of confidence, closed above, the first one on both sides.

    Of rows and of whole scores (32 bits) it is exact. Scores of 24 bits may lie on either side of an edge.
    """

    pixels: NDArray[np.int64]  # [bins]
    right: NDArray[np.int64]  # [bins]
    confidence: NDArray[np.float64]  # [bins], sum over the pixels
    shared: NDArray[np.int64]  # [bins - 1], pixels that may lie on the other side of each inner edge
    slack: NDArray[np.float64]  # [bins], how far the sum of those very pixels may be off


def of_rows(rows: Rows) -> Diagram | Undefined:
    """The diagram of the rows of ``Calibration``, all images together."""
    if not rows:
        return NO_PIXELS
    sums = [
        np.array([fsum(column) for column in zip(*(row[name] for row in rows.values()), strict=True)]) for name in KEPT
    ]
    pixels, right = (values.round().astype(np.int64) for values in sums[:2])
    return _diagram(pixels, right, sums[2], np.zeros(pixels.size - 1, np.int64), np.zeros(pixels.size))


def of_counts(
    counts: Counts,
    wrong: Sequence[int],
    right: Sequence[int],
    confidence: Callable[[Scores], Scores | None],
    bins: int = 15,
) -> Diagram | Undefined:
    """The diagram of counts by score, from the method's own reading of scores; the categories are named as in rankings.

    Undefined where the method has no such reading, or one that does not fall as suspicion rises.
    """
    if confidence(np.zeros((1, 1), np.float32)) is None:  # asked first: to join the keys takes longer
        return Undefined("the method gives no confidence")
    columns = [counts.column(categories) for categories in (wrong, right)]
    keys = union([column.distinct()[0] for column in columns])
    scores = [counts.lowest(keys), *([] if counts.exact else [counts.highest(keys)])]
    ends = [confidence(np.ascontiguousarray(end[None])) for end in scores]
    known = [np.clip(end[0].astype(np.float64), 0, 1) for end in ends if end is not None]
    if len(known) < len(ends):
        return Undefined("the method gives no confidence")
    most, least = known[0], known[-1]
    if (most < least).any() or (least[:-1] < most[1:]).any():
        return Undefined("the confidence does not fall as the score rises")
    bad, good = (column.ranks(keys)[1] for column in columns)
    pixels = bad + good
    if counts.exact:
        middle, bin_of, shared = most, _places(most, bins), [0] * (bins - 1)
    else:
        middle = (most + least) / 2
        bin_of, up, down = (_places(values, bins) for values in (middle, most, least))
        shared = [pixels[(down <= edge) & (up > edge)].sum() for edge in range(bins - 1)]
    return _diagram(
        np.bincount(bin_of, pixels, bins).round().astype(np.int64),
        np.bincount(bin_of, good, bins).round().astype(np.int64),
        np.bincount(bin_of, pixels * middle, bins),
        np.array(shared, np.int64),
        np.bincount(bin_of, pixels * (most - least) / 2, bins),
    )


def _diagram(pixels: NDArray[np.int64], *others: NDArray[Any]) -> Diagram | Undefined:
    return Diagram(pixels, *others) if pixels.any() else NO_PIXELS


def _places(confidence: NDArray[np.float64], bins: int) -> NDArray[np.intp]:
    return np.searchsorted(np.arange(1, bins) / bins, confidence, "left")
