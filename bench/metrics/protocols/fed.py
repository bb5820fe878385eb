"""The figures of FlowEneDet (FED), by the definitions of the package ood-metrics that its code calls.

Source: Gudovskiy et al., Concurrent Misclassification and Out-of-Distribution Detection, arXiv:2305.09610;
gudovskiy/flowenedet, whose protocols are ``--eval mFishy, mOurs, oIoU``. Its "AP" is the trapezoidal area under the
precision-recall curve, its FPR95 is interpolated on the ROC: neither is what the leaderboards call so. It rounds
scores to float32.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.contract.dataset import Sample
from bench.contract.protocol import Pointwise
from bench.core.values import IGNORE, Labels, Metric, Row, Rows, Scores, Undefined, Value
from bench.counts.tally import Counts
from bench.metrics import bootstrap, per_image, ranking
from bench.metrics.ranking import Steps, held
from bench.metrics.single_precision import SinglePrecision
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
    exact = counts.exact
    return {
        "auroc": ranking.ranking(counts, positives, negatives)["auroc"],
        "ap": trapezoid_exact(ranked) if exact else trapezoid(ranked),
        "fpr95": interpolated(ranked, exact=exact),
    }


def scores_of(ranked: Steps) -> Floats:
    """The score of each key of an exact ranking."""
    return Counts(8 * ranked.keys.itemsize, []).lowest(ranked.keys).astype(np.float64)


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
class FedAnomaly(SinglePrecision, Pointwise):
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
class Idm(SinglePrecision):
    """In-distribution misclassification: by image as FED publishes it (``mOurs``), and all pixels pooled.

    Unlabelled pixels are left out. An image with no wrong pixel, or with no right one, has no ranking. ``fidelity:
    corrected`` leaves it out of the means. ``reference`` gives the source's figures: the AP of such an image is 0.5
    without a wrong pixel and 1 without a right one, and there is no mean of AUROC and FPR95, which are NaN there.
    """

    name = "idm"
    source = "Gudovskiy et al., arXiv:2305.09610; gudovskiy/flowenedet --eval mOurs"
    version = 1
    metrics = IDM
    needs = frozenset({"labels", "prediction", "score"})
    category_names = ("correct", "wrong")

    fidelity: Literal["corrected", "reference"] = "corrected"

    def categories(self, sample: Sample, predicted: Labels | None) -> Labels:
        return wrong_pixels(labels_of(sample), classes_of(sample, predicted))

    def row(self, sample: Sample, predicted: Labels | None, score: Scores | None = None) -> Row:
        ranked = per_image.steps(score_of(sample, score), self.categories(sample, predicted))
        if reason := ranking.undefined(ranked.total_positives, ranked.total_negatives):
            as_source = self.fidelity == "reference" and reason != ranking.NO_PIXELS
            alone = {"ap": 1.0 if ranked.total_positives else 0.5} if as_source else {}
            return {**per_image.nothing(BY_IMAGE), **per_image.row(**alone)}
        return per_image.row(
            auroc=ranking.area(ranked),
            ap=trapezoid_exact(ranked).value,
            fpr95=interpolated(ranked, exact=True).value,
            best_f1_threshold=tuned_threshold(ranked, scores_of(ranked)),
        )

    def read(self, counts: Counts, rows: Rows) -> Mapping[str, Value | Undefined]:
        pooled = ranking.ranking(counts, [1], [0])
        means = per_image.read(rows, BY_IMAGE, "no image with both right and wrong pixels")
        if self.fidelity == "reference" and (single := [image for image in rows if np.isnan(rows[image]["auroc"])]):
            lacking = Undefined(f"{len(single)} of {len(rows)} images have one kind of pixels, a mean of NaN")
            means |= {"auroc": lacking, "fpr95": lacking}
        return {**means, **{f"{name}_pooled": pooled[name] for name in OURS}}

    def bootstrap(self, weights: Floats, rows: Rows) -> Mapping[str, Floats]:
        pooled = bootstrap.replicate_ranking(weights, rows, [1], [0])
        means = per_image.bootstrap(weights, rows, OURS)
        if self.fidelity == "reference":
            single = weights @ np.array([np.isnan(row["auroc"]) for row in rows.values()], np.float64) > 0
            means |= {name: np.where(single, np.nan, means[name]) for name in ("auroc", "fpr95")}
        return {**means, **{f"{name}_pooled": pooled[name] for name in OURS}}


DRAWN = (1 << 15, 1 << 15, 1 << 16)  # right, wrong and unlabelled pixels of one image, at most
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


def drawn(kinds: Labels, most: Sequence[int], image: str) -> Labels:
    """uint8 [H, W]: at most so many pixels of each kind, drawn without replacement; the others are ignored."""
    flat, kept = kinds.reshape(-1), np.full(kinds.size, IGNORE, np.uint8)
    seed = int.from_bytes(hashlib.sha256(image.encode()).digest(), "big")
    chance = np.random.PCG64(seed).random_raw(kinds.size)  # frozen, as NumPy's distributions are not
    for kind, number in enumerate(most):
        pixels = np.flatnonzero(flat == kind)
        if pixels.size > number:
            pixels = pixels[np.argpartition(chance[pixels], number)[:number]]
        kept[pixels] = kind
    return kept.reshape(kinds.shape)


@dataclass(frozen=True)
class IdmOodCdd(SinglePrecision, Pointwise):
    """FED's three truths of one score, all pixels pooled: misclassified, unlabelled, and either.

    Unlabelled pixels (255) are the source's out-of-distribution pixels of Cityscapes. ``fidelity: corrected`` counts
    every pixel. ``reference`` has the source's shares of the three kinds, on which AP depends: of each image it draws
    at most 65,536 unlabelled pixels, 32,768 that are right and 32,768 that are wrong. The source draws them unseeded;
    here the id of the image decides.
    """

    name = "idm_ood_cdd"
    source = "Gudovskiy et al., arXiv:2305.09610, tables 1 and 2; gudovskiy/flowenedet our_metrics"
    version = 1
    metrics = THREE
    needs = frozenset({"labels", "prediction", "score"})
    category_names = ("hit", "miss", "void")

    fidelity: Literal["corrected", "reference"] = "corrected"

    @property
    def pointwise(self) -> bool:
        return self.fidelity == "corrected"  # a pixel that is drawn stands among others

    def categories(self, sample: Sample, predicted: Labels | None) -> Labels:
        wrong = wrong_pixels(labels_of(sample), classes_of(sample, predicted))
        kinds = np.where(wrong == IGNORE, np.uint8(2), wrong)
        return drawn(kinds, DRAWN, sample.id) if self.fidelity == "reference" else kinds

    def read(self, counts: Counts, rows: Rows) -> Mapping[str, Value | Undefined]:
        figures = {truth: ood_metrics(counts, *sides) for truth, sides in TRUTHS.items()}
        return {f"{truth}_{name}": figures[truth][name] for name in OURS for truth in TRUTHS}

    def bootstrap(self, weights: Floats, rows: Rows) -> Mapping[str, Floats]:
        figures = {truth: bootstrap.replicate_ranking(weights, rows, *sides) for truth, sides in TRUTHS.items()}
        return {f"{truth}_{name}": figures[truth][name] for name in OURS for truth in TRUTHS}
