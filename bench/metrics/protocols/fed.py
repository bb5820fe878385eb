"""The figures of FlowEneDet (FED), by the definitions of the package ood-metrics that its code calls.

Source: Gudovskiy et al., Concurrent Misclassification and Out-of-Distribution Detection, arXiv:2305.09610;
gudovskiy/flowenedet, whose protocols are ``--eval mFishy, mOurs, oIoU``. Its "AP" is the trapezoidal area under the
precision-recall curve, its FPR95 is interpolated on the ROC: neither is what the leaderboards call so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.contract.dataset import Sample
from bench.contract.protocol import Protocol
from bench.core.values import IGNORE, Labels, Metric, Row, Rows, Scores, Undefined, Value
from bench.counts.keys import order_key
from bench.counts.tally import Counts
from bench.metrics import bootstrap, per_image, ranking
from bench.metrics.ranking import Steps, held
from bench.metrics.truths import anomaly_of, classes_of, labels_of, only_known, score_of, wrong_pixels

Floats = NDArray[np.float64]

AUROC = Metric("AUROC", "area under the ROC curve over pooled pixels; ties count one half")
AP = Metric("AP (trapezoid)", "trapezoidal area under the precision-recall curve of pooled pixels")
FPR95 = Metric("FPR95 (interpolated)", "FPR at a TPR of 0.95, linear between the points of the ROC", "lower")
OURS = ("auroc", "ap", "fpr95")


def trapezoid(ranked: Steps) -> Value:
    """The area under precision over recall, straight between thresholds, from (0, 1); bounded inside a shared key.

    Precision is at least h(x) = x / (x + every negative so far and in the key) and at most the same without the key's
    own negatives, both concave in the hits x: the chord over the key is below every path, the integral above.
    """
    q, above, false = ranked.positives, ranked.above, ranked.above + ranked.negatives
    true = np.cumsum(q)
    before = true - q
    low = q * (_precision(before, false) + _precision(true, false)) / 2
    high = q - above * np.log1p(q / np.maximum(before + above, 1))
    high = np.where(above == 0, q, np.where(before + above == 0, q, high))
    total = ranked.total_positives
    return held(float((low + high).sum()) / 2 / total, float(low.sum()) / total, float(high.sum()) / total)


def trapezoid_exact(ranked: Steps) -> Value:
    """``trapezoid`` where every key is one threshold."""
    true = np.cumsum(ranked.positives)
    before = true - ranked.positives
    start = np.where(before + ranked.above == 0, 1.0, _precision(before, ranked.above))
    end = true / (true + ranked.above + ranked.negatives)
    return Value(float((ranked.positives * (start + end)).sum() / 2 / ranked.total_positives))


def interpolated(ranked: Steps, *, exact: bool) -> Value:
    """FPR at TPR 0.95 on the straight line between two points; where several points have it, the last."""
    true = np.cumsum(ranked.positives)
    past = int(np.argmax(20 * true > 19 * ranked.total_positives))
    earlier = int(true[past - 1]) if past else 0
    share = (0.95 * ranked.total_positives - earlier) / ranked.positives[past]
    low, width = float(ranked.above[past]), float(ranked.negatives[past])
    if exact:
        return Value((low + share * width) / ranked.total_negatives)
    total = ranked.total_negatives
    return held((low + width / 2) / total, low / total, (low + width) / total)


def ood_metrics(counts: Counts, positives: Sequence[int], negatives: Sequence[int]) -> dict[str, Value | Undefined]:
    """``OURS``, as ood-metrics 0.2.9 computes them; certified for counts of 24 bits."""
    ranked = ranking.steps(counts, positives, negatives)
    if reason := ranking.undefined(ranked.total_positives, ranked.total_negatives):
        return dict.fromkeys(OURS, reason)
    exact = counts.bits == 32
    return {
        "auroc": ranking.ranking(counts, positives, negatives)["auroc"],
        "ap": trapezoid_exact(ranked) if exact else trapezoid(ranked),
        "fpr95": interpolated(ranked, exact=exact),
    }


def tuned_threshold(ranked: Steps, scores: Floats) -> float:
    """The smallest score with the best F1, as an argmax over scikit-learn's ascending thresholds finds it."""
    true = np.cumsum(ranked.positives)
    precision, recall = true / (true + ranked.above + ranked.negatives), true / ranked.total_positives
    f1 = 2 * precision * recall / (precision + recall)
    return float(scores[::-1][np.argmax(f1[::-1])])


def _precision(hits: NDArray[np.int64], alarms: NDArray[np.int64]) -> Floats:
    predicted = hits + alarms
    return np.asarray(np.divide(hits, predicted, out=np.ones(hits.shape), where=predicted > 0), np.float64)


@dataclass(frozen=True)
class FedAnomaly(Protocol):
    """All pixels pooled, anomaly against the rest, with FED's AP and FPR95 (``mFishy``)."""

    name = "fed_anomaly"
    source = "Gudovskiy et al., arXiv:2305.09610; gudovskiy/flowenedet --eval mFishy, ood-metrics 0.2.9"
    version = 1
    metrics = {"auroc": AUROC, "ap": AP, "fpr95": FPR95}  # noqa: RUF012 - read by all, written by none
    needs = frozenset({"anomaly", "score"})
    category_names = ("normal", "anomaly")

    def categories(self, sample: Sample, predicted: Labels | None) -> Labels:
        return only_known(anomaly_of(sample))

    def read(self, counts: Counts, rows: Rows) -> Mapping[str, Value | Undefined]:
        return ood_metrics(counts, [1], [0])

    def bootstrap(self, weights: Floats, rows: Rows) -> Mapping[str, Floats]:
        ranked = bootstrap.replicate_ranking(weights, rows, [1], [0])
        return {name: ranked[name] for name in OURS}


IDM: Mapping[str, Metric] = {
    "auroc": Metric("AUROC", "mean over images of the AUROC of wrong against right pixels"),
    "ap": Metric("AP (trapezoid)", "mean over images of the trapezoidal area under the precision-recall curve"),
    "fpr95": Metric("FPR95 (interpolated)", "mean over images of the interpolated FPR at a TPR of 0.95", "lower"),
    "best_f1_threshold": Metric("threshold", "mean over images of the score with the best F1", "neither"),
    "auroc_pooled": AUROC,
    "ap_pooled": ranking.METRICS["ap"],
    "fpr95_pooled": ranking.METRICS["fpr95"],
}
BY_IMAGE = ("auroc", "ap", "fpr95", "best_f1_threshold")


@dataclass(frozen=True)
class Idm(Protocol):
    """In-distribution misclassification: by image as FED publishes it (``mOurs``), and all pixels pooled.

    Unlabelled pixels are left out. An image without a wrong or without a right pixel has no figure and is left out of
    the means, which it turns into NaN in the source.
    """

    name = "idm"
    source = "Gudovskiy et al., arXiv:2305.09610; gudovskiy/flowenedet --eval mOurs"
    version = 1
    metrics = IDM
    needs = frozenset({"labels", "prediction", "score"})
    category_names = ("correct", "wrong")

    def categories(self, sample: Sample, predicted: Labels | None) -> Labels:
        return wrong_pixels(labels_of(sample), classes_of(sample, predicted))

    def row(self, sample: Sample, predicted: Labels | None, score: Scores | None = None) -> Row:
        ranked = per_image.steps(score_of(sample, score), self.categories(sample, predicted))
        if ranking.undefined(ranked.total_positives, ranked.total_negatives):
            return per_image.nothing(BY_IMAGE)
        return per_image.row(
            auroc=ranking.area(ranked),
            ap=trapezoid_exact(ranked).value,
            fpr95=interpolated(ranked, exact=True).value,
            best_f1_threshold=tuned_threshold(ranked, _scores(ranked)),
        )

    def read(self, counts: Counts, rows: Rows) -> Mapping[str, Value | Undefined]:
        pooled = ranking.ranking(counts, [1], [0])
        means = per_image.read(rows, BY_IMAGE, "no image with both right and wrong pixels")
        return {**means, **{f"{name}_pooled": pooled[name] for name in OURS}}

    def bootstrap(self, weights: Floats, rows: Rows) -> Mapping[str, Floats]:
        pooled = bootstrap.replicate_ranking(weights, rows, [1], [0])
        means = per_image.bootstrap(weights, rows, OURS)
        return {**means, **{f"{name}_pooled": pooled[name] for name in OURS}}


TRUTHS: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "idm": ((1,), (0,)),
    "ood": ((2,), (0, 1)),
    "cdd": ((1, 2), (0,)),
}
THREE: Mapping[str, Metric] = {
    f"{truth}_{name}": Metric(f"{truth.upper()} {metric.title}", f"{words}: {metric.definition}", metric.better)
    for name, metric in (("auroc", AUROC), ("ap", AP), ("fpr95", FPR95))
    for truth, words in (
        ("idm", "wrong against right labelled pixels"),
        ("ood", "unlabelled against labelled pixels"),
        ("cdd", "wrong or unlabelled against right pixels"),
    )
}


@dataclass(frozen=True)
class IdmOodCdd(Protocol):
    """FED's three truths of one score, all pixels pooled: misclassified, unlabelled, and either.

    Unlabelled pixels (255) are the source's out-of-distribution pixels of Cityscapes. The source draws 131,072 pixels
    of each image at random, unseeded; here all of them count.
    """

    name = "idm_ood_cdd"
    source = "Gudovskiy et al., arXiv:2305.09610, tables 1 and 2; gudovskiy/flowenedet our_metrics"
    version = 1
    metrics = THREE
    needs = frozenset({"labels", "prediction", "score"})
    category_names = ("hit", "miss", "void")

    def categories(self, sample: Sample, predicted: Labels | None) -> Labels:
        wrong = wrong_pixels(labels_of(sample), classes_of(sample, predicted))
        return np.where(wrong == IGNORE, np.uint8(2), wrong)

    def read(self, counts: Counts, rows: Rows) -> Mapping[str, Value | Undefined]:
        figures = {truth: ood_metrics(counts, *sides) for truth, sides in TRUTHS.items()}
        return {f"{truth}_{name}": figures[truth][name] for name in OURS for truth in TRUTHS}

    def bootstrap(self, weights: Floats, rows: Rows) -> Mapping[str, Floats]:
        figures = {truth: bootstrap.replicate_ranking(weights, rows, *sides) for truth, sides in TRUTHS.items()}
        return {f"{truth}_{name}": figures[truth][name] for name in OURS for truth in TRUTHS}


OPEN: Mapping[str, Metric] = {
    "open_miou": Metric("open mIoU", "mean IoU over the classes and 'rejected', which every wrong pixel should be"),
    "open_mean_accuracy": Metric("open mean accuracy", "mean over the classes and 'rejected' of the recall"),
    "open_pixel_accuracy": Metric("open pixel accuracy", "share of right pixels kept and wrong pixels rejected"),
    "threshold": Metric("threshold", "score > threshold is rejected", "neither"),
}


@dataclass(frozen=True)
class OpenMeanIoU(Protocol):
    """Segmentation that may reject: wrong pixels are one more class, which a high score predicts. Nothing is ignored.

    Without ``threshold`` it is the source's: the mean over images of the score with the best F1 for wrong against right
    pixels of that image, chosen on the labels it is tested on. ``threshold`` fixes it beforehand, as on another split.
    """

    name = "open_miou"
    source = "Gudovskiy et al., arXiv:2305.09610, section 4; gudovskiy/flowenedet --eval oIoU"
    version = 1
    metrics = OPEN
    needs = frozenset({"labels", "prediction", "score"})
    category_names = tuple(f"{kind} {index}" for kind in ("hit", "miss") for index in range(19))

    threshold: float | None = None

    def categories(self, sample: Sample, predicted: Labels | None) -> Labels:
        labels, classes = labels_of(sample), classes_of(sample, predicted)
        return np.where(labels == classes, classes, classes + np.uint8(19))

    def row(self, sample: Sample, predicted: Labels | None, score: Scores | None = None) -> Row:
        if self.threshold is not None:
            return {}
        wrong = (labels_of(sample) != classes_of(sample, predicted)).astype(np.uint8)
        ranked = per_image.steps(score_of(sample, score), wrong)
        return per_image.row(tuned=tuned_threshold(ranked, _scores(ranked)) if ranked.total_positives else np.nan)

    def read(self, counts: Counts, rows: Rows) -> Mapping[str, Value | Undefined]:
        threshold = self._threshold(rows)
        if isinstance(threshold, Undefined):
            return dict.fromkeys(OPEN, threshold)
        kept, unsure, whole = _split(counts, threshold)
        if not whole.sum():
            return dict.fromkeys(OPEN, ranking.NO_PIXELS)
        return {**_open_bounds(kept, unsure, whole), "threshold": Value(threshold)}

    def bootstrap(self, weights: Floats, rows: Rows) -> Mapping[str, Floats]:
        """From the leading 16 bits of each image; the threshold is held."""
        names = ("open_miou", "open_mean_accuracy", "open_pixel_accuracy")
        threshold = self._threshold(rows)
        if isinstance(threshold, Undefined) or not rows:
            return {name: np.full(len(weights), np.nan) for name in names}
        edge = order_key(np.array([threshold], np.float32))[0]
        kept = np.array([row["bin_counts"][row["bins"] <= edge].sum(axis=0) for row in rows.values()])
        whole = np.array([row["bin_counts"].sum(axis=0) for row in rows.values()])
        return dict(zip(names, _open_figures(weights @ kept, weights @ whole), strict=True))

    def _threshold(self, rows: Rows) -> float | Undefined:
        if self.threshold is not None:
            return self.threshold
        tuned = np.array([rows[image]["tuned"] for image in sorted(rows)], np.float32)
        tuned = tuned[~np.isnan(tuned)]
        if not tuned.size:
            return Undefined("no wrong pixels to choose a threshold by")
        return float(tuned.mean())  # in float32, in the order of the ids, as the source's list of float32 has it


def _scores(ranked: Steps) -> Floats:
    return Counts(32, []).lowest(ranked.keys).astype(np.float64)


def _split(counts: Counts, threshold: float) -> tuple[Floats, Floats, Floats]:
    """[38] each: pixels with score <= threshold for certain, those whose key is the threshold's, and all."""
    edge = int(order_key(np.array([_rounded_down(threshold)]))[0])
    shift = 32 - counts.bits
    kept, unsure, whole = (np.zeros(len(counts.columns)) for _ in range(3))
    for category, column in enumerate(counts.columns):
        below, at = (int(part[0]) for part in column.ranks(np.array([edge >> shift], np.uint32)))
        kept[category] = below + (at if shift == 0 else 0)
        unsure[category] = at if shift else 0
        whole[category] = column.total
    return kept, unsure, whole


def _rounded_down(threshold: float) -> np.float32:
    """The largest float32 that is not above it: score > threshold is score > this."""
    near = np.float32(threshold)
    return near if float(near) <= threshold else np.nextafter(near, np.float32(-np.inf))


def _open_figures(kept: Floats, whole: Floats) -> tuple[Floats, Floats, Floats]:
    """Open mIoU, mean accuracy, pixel accuracy [...] of pixels kept and pixels in all [..., 38]: hits, then misses."""
    classes = kept.shape[-1] // 2
    hits, wrong_kept, right = kept[..., :classes], kept[..., classes:], whole[..., :classes]
    wrong = whole[..., classes:].sum(axis=-1, keepdims=True)
    rejected = wrong - wrong_kept.sum(axis=-1, keepdims=True)
    refused = (whole - kept).sum(axis=-1, keepdims=True)
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


def _open_bounds(kept: Floats, unsure: Floats, whole: Floats) -> dict[str, Value]:
    """The figures, and how far the pixels that share the threshold's key can move them, each class by itself.

    Every class gains when its unsure hits are kept and its unsure misses are rejected, and so does 'rejected'.
    """
    classes = len(kept) // 2
    names = ("open_miou", "open_mean_accuracy", "open_pixel_accuracy")
    best, worst = kept.copy(), kept.copy()
    best[:classes] += unsure[:classes]
    worst[classes:] += unsure[classes:]
    highs, lows = _open_figures(best, whole), _open_figures(worst, whole)
    if not unsure.any():
        return {name: Value(float(value)) for name, value in zip(names, highs, strict=True)}
    return {
        name: held(float(low + high) / 2, float(low), float(high))
        for name, low, high in zip(names, lows, highs, strict=True)
    }
