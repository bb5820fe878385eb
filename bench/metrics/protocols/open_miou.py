"""Segmentation that may reject, as FlowEneDet measures it: wrong pixels are one more class.

Source: Gudovskiy et al., arXiv:2305.09610, section 4; gudovskiy/flowenedet, mmseg/core/evaluation/metrics.py,
``f1_threshold`` and ``intersect_and_union``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from bench.contract.dataset import Sample
from bench.contract.protocol import CarriesThreshold
from bench.core.values import Labels, Metric, Row, Rows, Scores, Undefined, Value
from bench.counts.bins import last_bin
from bench.counts.tally import Counts
from bench.metrics import per_image, ranking
from bench.metrics.protocols.fed import scores_of, tuned_threshold
from bench.metrics.ranking import held
from bench.metrics.truths import classes_of, labels_of, score_of

Floats = NDArray[np.float64]

CLASSES = 19  # and 'rejected', which has this number in the source
OUTSIDE_HIT, OUTSIDE_MISS, REJECTED = 2 * CLASSES, 2 * CLASSES + 1, 2 * CLASSES + 2  # categories
NAMES = ("open_miou", "open_mean_accuracy", "open_pixel_accuracy")
METRICS: Mapping[str, Metric] = {
    "open_miou": Metric("open mIoU", "mean IoU over the classes and 'rejected', which every wrong pixel should be"),
    "open_mean_accuracy": Metric("open mean accuracy", "mean over the classes and 'rejected' of the recall"),
    "open_pixel_accuracy": Metric("open pixel accuracy", "share of right pixels kept and wrong pixels rejected"),
    "threshold": Metric("threshold", "score > threshold is rejected", "neither"),
}


@dataclass(frozen=True)
class OpenMeanIoU(CarriesThreshold):
    """Segmentation that may reject: wrong pixels are one more class, which a high score predicts. Nothing is ignored.

    Without ``threshold`` it is the source's: the mean over images of the score with the best F1 for wrong against right
    pixels of that image, chosen on the labels it is tested on. ``threshold`` fixes it beforehand, as on another split.
    The mean is one of float64, summed in the order of the ids; against float32 scores it is rounded to float32, as
    PyTorch does. Images without a wrong pixel have no threshold and are left out of it.

    As in the source a class map's 19 is 'rejected', whatever the score, and wrong pixels of any other class beyond the
    19 count as wrong pixels, though no class was predicted there.
    """

    name = "open_miou"
    source = "Gudovskiy et al., arXiv:2305.09610, section 4; gudovskiy/flowenedet --eval oIoU"
    version = 2  # 2: the threshold in float64, and class maps with values from 19 on
    only_classes = CLASSES
    metrics = METRICS
    needs = frozenset({"labels", "prediction", "score"})
    category_names = (
        *(f"{kind} {index}" for kind in ("hit", "miss") for index in range(CLASSES)),
        "hit outside the classes",
        "miss outside the classes",
        "rejected by the class map",
    )

    threshold: float | None = None

    @property
    def carried(self) -> float | None:
        return self.threshold

    def categories(self, sample: Sample, predicted: Labels | None) -> Labels:
        labels, classes = labels_of(sample), classes_of(sample, predicted)
        hits = np.arange(256, dtype=np.uint8)
        hits[CLASSES:] = OUTSIDE_HIT
        misses = np.arange(CLASSES, 256 + CLASSES).astype(np.uint8)  # those that wrap are replaced
        misses[CLASSES:] = OUTSIDE_MISS
        hits[CLASSES] = misses[CLASSES] = REJECTED
        return np.where(labels == classes, hits[classes], misses[classes])

    def row(self, sample: Sample, predicted: Labels | None, score: Scores | None = None) -> Row:
        if self.threshold is not None:
            return {}
        wrong = (labels_of(sample) != classes_of(sample, predicted)).astype(np.uint8)
        with np.errstate(over="ignore"):  # the source chooses the threshold among float32 scores
            ranked = per_image.steps(score_of(sample, score).astype(np.float32, copy=False), wrong)
        return per_image.row(tuned=tuned_threshold(ranked, scores_of(ranked)) if ranked.total_positives else np.nan)

    def read(self, counts: Counts, rows: Rows) -> Mapping[str, Value | Undefined]:
        threshold = self._threshold(rows)
        if isinstance(threshold, Undefined):
            return dict.fromkeys(METRICS, threshold)
        compared = threshold if counts.bits == 64 else float(np.float32(threshold))
        kept, unsure, whole = _split(counts, compared)
        if not whole.sum():
            return dict.fromkeys(METRICS, ranking.NO_PIXELS)
        shown = Value(threshold) if np.isfinite(threshold) else Undefined("the threshold is infinite")
        return {**_bounds(kept, unsure, whole), "threshold": shown}

    def bootstrap(self, weights: Floats, rows: Rows) -> Mapping[str, Floats]:
        """From the leading 16 bits of each image; the threshold is held."""
        threshold = self._threshold(rows)
        if isinstance(threshold, Undefined) or not rows:
            return {name: np.full(len(weights), np.nan) for name in NAMES}
        kept, whole = [], []
        for row in rows.values():
            bins, counts = row["bins"], row["bin_counts"]
            compared = threshold if bins.dtype == np.uint64 else float(np.float32(threshold))
            kept.append(counts[bins <= last_bin(compared, bins)].sum(axis=0))
            whole.append(counts.sum(axis=0))
        return dict(zip(NAMES, _figures(weights @ np.array(kept), weights @ np.array(whole)), strict=True))

    def _threshold(self, rows: Rows) -> float | Undefined:
        if self.threshold is not None:
            return self.threshold
        tuned = [float(rows[image]["tuned"]) for image in sorted(rows)]
        tuned = [value for value in tuned if not np.isnan(value)]
        if not tuned:
            return Undefined("no wrong pixels to choose a threshold by")
        mean = list(accumulate(tuned))[-1] / len(tuned)  # one after the other, as the source adds them
        return np.inf if np.isnan(mean) else mean  # of infinities of both signs, which no score is above


def _split(counts: Counts, threshold: float) -> tuple[Floats, Floats, Floats]:
    """[41] each: pixels with score <= threshold for certain, those whose key is the threshold's, and all."""
    edge, whole_key = counts.last_at(threshold)
    kept, unsure, whole = (np.zeros(len(counts.columns)) for _ in range(3))
    for category, column in enumerate(counts.columns):
        below, at = (int(part[0]) for part in column.ranks(edge))
        kept[category] = below + (at if whole_key else 0)
        unsure[category] = 0 if whole_key else at
        whole[category] = column.total
    return kept, unsure, whole


def _figures(kept: Floats, whole: Floats) -> tuple[Floats, Floats, Floats]:
    """Open mIoU, mean accuracy, pixel accuracy [...] of pixels kept and pixels in all [..., 41], by category."""
    hits, wrong_kept, right = kept[..., :CLASSES], kept[..., CLASSES:OUTSIDE_HIT], whole[..., :CLASSES]
    misses = np.r_[CLASSES:OUTSIDE_HIT, OUTSIDE_MISS]
    by_map = whole[..., [REJECTED]]  # labelled, predicted and right as 'rejected', kept or not
    wrong = whole[..., misses].sum(axis=-1, keepdims=True) + by_map
    rejected = (whole - kept)[..., misses].sum(axis=-1, keepdims=True) + by_map
    refused = (whole - kept)[..., :REJECTED].sum(axis=-1, keepdims=True) + by_map
    inside = np.concatenate([hits, rejected], axis=-1)
    union = np.concatenate([right + wrong_kept, refused + wrong - rejected], axis=-1)
    labelled = np.concatenate([right, wrong], axis=-1)
    return (
        _mean(inside, union),
        _mean(inside, labelled),
        _mean(inside.sum(axis=-1, keepdims=True), labelled.sum(axis=-1, keepdims=True)),
    )


def _mean(part: Floats, whole: Floats) -> Floats:
    each = np.divide(part, whole, out=np.zeros(part.shape), where=whole > 0)
    present = (whole > 0).sum(axis=-1)
    total = each.sum(axis=-1)
    return np.asarray(np.divide(total, present, out=np.full(np.shape(present), np.nan), where=present > 0), np.float64)


def _bounds(kept: Floats, unsure: Floats, whole: Floats) -> dict[str, Value]:
    """The figures, and how far the pixels that share the threshold's key can move them, each class by itself.

    Every class gains when its unsure hits are kept and its unsure misses are rejected, and so does 'rejected'.
    """
    gain, lose = np.r_[:CLASSES, OUTSIDE_HIT], np.r_[CLASSES:OUTSIDE_HIT, OUTSIDE_MISS]
    best, worst = kept.copy(), kept.copy()
    best[gain] += unsure[gain]
    worst[lose] += unsure[lose]
    highs, lows = _figures(best, whole), _figures(worst, whole)
    if not unsure.any():
        return {name: Value(float(value)) for name, value in zip(NAMES, highs, strict=True)}
    return {
        name: held(float(low + high) / 2, float(low), float(high))
        for name, low, high in zip(NAMES, lows, highs, strict=True)
    }
