"""The same maps under every definition of FPR95 and AP that published code uses, and under what scripts do before.

A method whose FPR95 is 60 by one of them has 67 by another, on the same maps: a figure without its definition cannot be
compared. Rules read one ranking; poolings say which pixels make up a ranking:

pooled   all pixels of all frames
no_clean the same without frames that hold no positive pixel
scaled   all pixels, after each map was scaled to [0, 1] by its own minimum and maximum
images   the mean over frames of each frame's own figure; frames with one side only are left out

One pass over the maps as they are gives all poolings but ``scaled``: that is ``pooled`` of a second pass.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from bench.contract.dataset import Sample
from bench.contract.protocol import Presented, Quantized
from bench.core.values import Labels, Metric, Row, Rows, Scores, Undefined, Value
from bench.counts.tally import Counts
from bench.metrics import per_image, ranking
from bench.metrics.protocols import entropy_max, fed
from bench.metrics.protocols.pooled import Anomaly, Misclassification
from bench.metrics.ranking import Steps, held
from bench.metrics.truths import score_of

POOLINGS: Mapping[str, str] = {
    "pooled": "all pixels",
    "no_clean": "without clean frames",
    "scaled": "scaled by image",
    "images": "mean over images",
}


@dataclass(frozen=True)
class Rule:
    """A way to read a figure off a ranking."""

    metric: str
    words: str
    used_by: Mapping[str, str]  # by pooling


RULES: Mapping[str, Rule] = {
    "fpr95_first": Rule(
        "FPR95",
        "first point with TPR >= 0.95",
        {"pooled": "Fishyscapes, SegmentMeIfYouCan, pytorch-ood, code on torchmetrics"},
    ),
    "fpr95_strict": Rule("FPR95", "first point with TPR > 0.95", {"pooled": "RbA, DenseHybrid"}),
    "fpr95_interpolated": Rule(
        "FPR95",
        "ROC interpolated at TPR 0.95",
        {"pooled": "ood-metrics, hence SML, FlowEneDet, EoMT", "images": "FlowEneDet, misclassification"},
    ),
    "fpr95_closest": Rule(
        "FPR95",
        "point with the TPR closest to 0.95",
        {"images": "anomaly-seg (StreetHazards, BDD-Anomaly), the image-wise function of RPL"},
    ),
    "fpr95_histogram": Rule("FPR95", "closest, of 100 bins on [0, 1], sides weighed alike", {"pooled": "meta-ood"}),
    "ap_step": Rule(
        "AP",
        "sum of (R_n - R_{n-1}) P_n",
        {"pooled": "Fishyscapes, SegmentMeIfYouCan, scikit-learn", "images": "anomaly-seg"},
    ),
    "ap_trapezoid": Rule(
        "AP",
        "trapezoids under precision and recall",
        {"pooled": "ood-metrics, hence FlowEneDet", "images": "FlowEneDet, misclassification"},
    ),
    "auroc": Rule("AUROC", "ties count one half", {"pooled": "all of them", "images": "anomaly-seg"}),
}
RANKED = tuple(name for name in RULES if name != "fpr95_histogram")
READ = ("pooled", "no_clean", "images")  # the poolings of one pass
METRICS: Mapping[str, Metric] = {
    f"{name} {pooling}": Metric(
        rule.metric, f"{rule.words}; {POOLINGS[pooling]}", "lower" if rule.metric == "FPR95" else "higher"
    )
    for name, rule in RULES.items()
    for pooling in READ
    if name in RANKED or pooling == "pooled"
}
UNMOVED = Undefined("scaling a map leaves the figures of its own ranking as they are")


@dataclass(frozen=True)
class Entry:
    """One figure of the report."""

    rule: str
    pooling: str
    figure: Value | Undefined

    @property
    def used_by(self) -> str:
        """Empty where no published figure is known to be made so."""
        return RULES[self.rule].used_by.get(self.pooling, "")


def first(ranked: Steps, *, exact: bool = True) -> Value:
    """FPR at the first point with TPR >= 0.95."""
    return _at(ranked, int(np.argmax(20 * np.cumsum(ranked.positives) >= 19 * ranked.total_positives)), exact)


def strict(ranked: Steps, *, exact: bool = True) -> Value:
    """FPR at the first point with TPR > 0.95."""
    return _at(ranked, int(np.argmax(20 * np.cumsum(ranked.positives) > 19 * ranked.total_positives)), exact)


def _at(ranked: Steps, point: int, exact: bool) -> Value:
    low, high = (int(value) / ranked.total_negatives for value in (ranked.above[point], _alarms(ranked)[point]))
    return Value(high) if exact else held((low + high) / 2, low, high)


def closest(ranked: Steps, *, exact: bool = True) -> Value:
    """FPR where the TPR is nearest to 0.95 on either side: the larger of two as near, and the last point that has it.

    hendrycks/anomaly-seg, anom_utils.py, ``fpr_and_fdr_at_recall``; of the points with full recall it takes the first.
    """
    true, alarms, total = np.cumsum(ranked.positives), _alarms(ranked), ranked.total_negatives
    distance = abs(true / ranked.total_positives - 0.95)
    nearest = distance.size - 1 - int(np.argmin(distance[::-1]))
    last = nearest + 1 == distance.size
    value = int(alarms[nearest] if last else ranked.above[nearest + 1]) / total
    if exact:
        return Value(value)
    # Inside the key that crosses 0.95 the nearest point may be any, up to the first positive of the next key.
    crossing = int(np.argmax(20 * true >= 19 * ranked.total_positives))
    beyond = min(crossing + 1, distance.size - 1)
    return held(value, int(ranked.above[crossing]) / total, max(int(alarms[crossing]), int(alarms[beyond])) / total)


def _alarms(ranked: Steps) -> NDArray[np.int64]:
    counted: NDArray[np.int64] = ranked.above + ranked.negatives
    return counted


def of_image(ranked: Steps) -> dict[str, float]:
    """The figures of ``RANKED`` for one exact ranking with both sides."""
    return {
        "fpr95_first": first(ranked).value,
        "fpr95_strict": strict(ranked).value,
        "fpr95_interpolated": fed.interpolated(ranked, exact=True).value,
        "fpr95_closest": closest(ranked).value,
        "ap_step": ranking.average_precision(ranked),
        "ap_trapezoid": fed.trapezoid_exact(ranked).value,
        "auroc": ranking.area(ranked),
    }


def of_counts(counts: Counts, positives: Sequence[int], negatives: Sequence[int]) -> dict[str, Value | Undefined]:
    """The figures of ``RANKED`` for pooled pixels; certified for counts of 24 bits."""
    ranked = ranking.steps(counts, positives, negatives)
    if reason := ranking.undefined(ranked.total_positives, ranked.total_negatives):
        return dict.fromkeys(RANKED, reason)
    known = ranking.ranking(counts, positives, negatives)
    theirs = fed.ood_metrics(counts, positives, negatives)
    exact = counts.exact
    return {
        "fpr95_first": known["fpr95"],
        "fpr95_strict": strict(ranked, exact=exact),
        "fpr95_interpolated": theirs["fpr95"],
        "fpr95_closest": closest(ranked, exact=exact),
        "ap_step": known["ap"],
        "ap_trapezoid": theirs["ap"],
        "auroc": known["auroc"],
    }


def of_histograms(rows: Iterable[Row], pixels: int) -> Value | Undefined:
    """``fpr95_histogram``; the source samples 100,000 pixels of each side, here all of them are weighed so."""
    normal, anomalous = np.zeros((2, entropy_max.BINS), np.int64)
    for row in rows:
        normal, anomalous = normal + row["normal"], anomalous + row["anomalous"]
    if outside := pixels - int(normal.sum() + anomalous.sum()):
        return Undefined(f"{outside} scores lie outside [0, 1]")
    if reason := ranking.undefined(int(anomalous.sum()), int(normal.sum())):
        return reason
    return Value(entropy_max.figures(normal, anomalous)["fpr95"])


def rescaled(score: Scores) -> Scores:
    """[H, W]: the finite scores moved to [0, 1] by their own minimum and maximum; a constant map becomes 0."""
    finite = score[np.isfinite(score)].astype(np.float64)
    if not finite.size:
        return score
    low, high = float(finite.min()), float(finite.max())
    return ((score.astype(np.float64) - low) / (high - low or 1.0)).astype(score.dtype)


@dataclass(frozen=True)
class EveryDefinition(Quantized, Presented):
    """Every rule for the two sides of another protocol, in one pass over the maps as they are, or scaled by image.

    Clean frames have a category of their own, so that one tally serves with and without them.
    """

    source = "who uses which is said with each rule"
    version = 2  # 2: edges of the bins of fpr95_histogram in float64
    metrics = METRICS
    ranked = False
    category_names = ("negative", "positive", "negative of a clean frame")

    scaled: bool = False  # each map to [0, 1] by its own minimum and maximum

    @abstractmethod
    def truth(self, sample: Sample, predicted: Labels | None) -> Labels:
        """uint8 [H, W]: 1 should score high, 0 low, 255 ignored."""

    def quantize(self, score: Scores) -> Scores:
        return rescaled(score) if self.scaled else score

    def categories(self, sample: Sample, predicted: Labels | None) -> Labels:
        sides = self.truth(sample, predicted)
        return sides if (sides == 1).any() else np.where(sides == 0, np.uint8(2), sides)

    def row(self, sample: Sample, predicted: Labels | None, score: Scores | None = None) -> Row:
        sides, counted = self.truth(sample, predicted), score_of(sample, score)
        histogram = entropy_max.histogram(counted, sides)
        if self.scaled:
            return histogram
        ranked = per_image.steps(counted, sides)
        if ranking.undefined(ranked.total_positives, ranked.total_negatives):
            return {**histogram, **per_image.nothing(RANKED)}
        return {**histogram, **per_image.row(**of_image(ranked))}

    def read(self, counts: Counts, rows: Rows) -> Mapping[str, Value | Undefined]:
        """The figures by rule and pooling, as ``rule pooling``. They have no intervals: all are of the same pixels."""
        by_pooling: dict[str, Mapping[str, Value | Undefined]] = {
            "pooled": {
                **of_counts(counts, [1], [0, 2]),
                "fpr95_histogram": of_histograms(rows.values(), counts.pixels),
            },
            "no_clean": of_counts(counts, [1], [0]),
            "images": dict.fromkeys(RANKED, UNMOVED)
            if self.scaled
            else per_image.read(rows, RANKED, "no image with pixels of both sides"),
        }
        named = (name.split() for name in METRICS)
        return {f"{rule} {pooling}": by_pooling[pooling][rule] for rule, pooling in named}

    def bootstrap(self, weights: NDArray[np.float64], rows: Rows) -> Mapping[str, NDArray[np.float64]]:
        return {}


@dataclass(frozen=True)
class Definitions(EveryDefinition):
    """Anomalies under every definition of FPR95, AP and AUROC in use; ``scaled`` moves each map to [0, 1] before."""

    name = "definitions"
    needs = frozenset({"anomaly", "score"})
    of: ClassVar[str] = Anomaly.name

    def truth(self, sample: Sample, predicted: Labels | None) -> Labels:
        return Anomaly().categories(sample, predicted)


@dataclass(frozen=True)
class MisclassificationDefinitions(EveryDefinition):
    """Misclassifications under every definition of FPR95, AP and AUROC in use; ``scaled`` as in ``definitions``."""

    name = "definitions_misclassification"
    needs = frozenset({"labels", "prediction", "score"})
    of: ClassVar[str] = Misclassification.name

    def truth(self, sample: Sample, predicted: Labels | None) -> Labels:
        return Misclassification().categories(sample, predicted)


def entries(
    figures: Mapping[str, Value | Undefined], scaled: Mapping[str, Value | Undefined] | None = None
) -> list[Entry]:
    """The report, by rule and then by pooling: of the maps as they are, and of scaled ones where they were counted."""
    known = {name: figure for name, figure in figures.items() if name in METRICS}
    known |= {f"{rule} scaled": figure for rule in RULES if (figure := (scaled or {}).get(f"{rule} pooled"))}
    ordered = [(rule, pooling) for rule in RULES for pooling in POOLINGS]
    return [Entry(rule, pooling, known[name]) for rule, pooling in ordered if (name := f"{rule} {pooling}") in known]


def ranges(entries: Iterable[Entry]) -> dict[str, tuple[float, float]]:
    """The smallest and the largest figure by metric; one without any figure is left out."""
    values: dict[str, list[float]] = {}
    for entry in entries:
        if isinstance(entry.figure, Value):
            values.setdefault(RULES[entry.rule].metric, []).append(entry.figure.value)
    return {metric: (min(of), max(of)) for metric, of in values.items()}
