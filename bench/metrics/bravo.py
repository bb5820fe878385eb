"""The figures of the BRAVO challenge 2024 for one subset of its images.

Source: Vu et al., arXiv:2409.15107; valeoai/bravo_challenge@d54005d. One confidence per pixel, in 65,536 levels, is to
say where the class map is right and, being low, where the image shows something invalid: an unknown object, or what a
flare or a drop hides. At most 100,000 labelled pixels of each image count, at places that the labels alone decide; the
class map is judged on all of them. Not reproduced: predictions of 19 that count as another class, errors that end the
source's evaluation where a figure is undefined.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.api import IGNORE, Labels, Metric, Protocol, Row, Rows, Sample, Scores, Undefined, Value
from bench.metrics import ranking, segmentation
from bench.metrics.ranking import Steps
from bench.metrics.tally import Tally
from bench.metrics.truths import classes_of, labels_of, score_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LEVELS = 1 << 16
ECE_BINS = 15
LIMITS: Ints = np.round(np.arange(ECE_BINS + 1) * LEVELS / ECE_BINS).astype(np.int64)
CLASSES = 19

METRICS: Mapping[str, Metric] = {
    "hmean": Metric("harmonic mean", "of all figures of the subset that are defined, with 1 - ECE and 1 - FPR95"),
    "miou": Metric("mIoU", "over the valid pixels"),
    "ece": Metric("ECE", "15 bins of 65,536 levels, valid sampled pixels", "lower"),
    "auroc": Metric("AUROC", "right against wrong valid sampled pixels, by confidence"),
    "auprc_success": Metric("AUPR success", "step-sum AP of right pixels, by confidence"),
    "auprc_error": Metric("AUPR error", "step-sum AP of wrong pixels, by lack of confidence"),
    "fpr95": Metric("FPR95", "share of wrong pixels above the confidence that 95 % of the right ones reach", "lower"),
    "auroc_ood": Metric("AUROC OOD", "invalid against valid sampled pixels, by lack of confidence"),
    "auprc_ood": Metric("AUPR OOD", "step-sum AP of invalid pixels, by lack of confidence"),
    "fpr95_ood": Metric(
        "FPR95 OOD", "share of valid pixels that 95 % of the invalid ones are not less doubted than", "lower"
    ),
}
SEMANTIC = ("miou", "ece", "auroc", "auprc_success", "auprc_error", "fpr95")
OOD = ("auroc_ood", "auprc_ood", "fpr95_ood")
REVERSED = ("ece", "fpr95", "fpr95_ood")


def sampled(labels: Labels, samples: int, seed: int) -> Ints:
    """Flat indices, ascending, of the labelled pixels that count; the generator starts anew for every image."""
    places = np.flatnonzero(labels.reshape(-1) != IGNORE)
    if places.size <= samples:
        return places
    return np.sort(places[np.random.RandomState(seed).permutation(places.size)[:samples]])


def levels(confidence: Scores) -> Ints:
    """floor(65536 c), at most 65535; a level stands for (q + 0.5) / 65536."""
    return np.minimum((confidence * np.float32(LEVELS)).astype(np.int64), LEVELS - 1)


def ranked(positives: Ints, negatives: Ints) -> dict[str, float]:
    """auroc, auprc, fpr95 of counts [65536] by ascending level; both sides must be there."""
    found = _steps(positives, negatives)
    true = np.cumsum(found.positives)
    first = int(np.argmax(20 * true >= 19 * found.total_positives))
    return {
        "auroc": ranking.area(found),
        "auprc": ranking.average_precision(found),
        "fpr95": float((found.above + found.negatives)[first] / found.total_negatives),
    }


def _steps(positives: Ints, negatives: Ints) -> Steps:
    keys = np.flatnonzero(positives)
    below = np.cumsum(negatives) - negatives
    total = int(negatives.sum())
    at = negatives[keys]
    above = total - below[keys] - at
    return Steps(
        keys[::-1].astype(np.uint32), positives[keys][::-1], at[::-1], above[::-1], int(positives.sum()), total
    )


def ece(right: Ints, wrong: Ints) -> float:
    """Of counts [65536]. The weights of the bins are float32, as the source's are under NumPy 1."""
    pixels = right + wrong
    sums = [
        np.add.reduceat(values, LIMITS[:-1])
        for values in (pixels, right, pixels * ((np.arange(LEVELS) + 0.5) / LEVELS))
    ]
    count, good, confidence = (values[sums[0] > 0] for values in sums)
    weights = (count.astype(np.float32) / np.float32(count.sum())).astype(np.float64)
    return float((weights * abs(confidence / count - good / count)).sum() / weights.sum())


def harmonic_mean(values: Iterable[float]) -> float:
    """0 if one is 0; NaN if there is none."""
    listed = list(values)
    if not listed:
        return float("nan")
    return 0.0 if min(listed) == 0 else len(listed) / sum(1 / value for value in listed)


def index(subsets: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """semantic_hmean, ood_hmean and bravo_index from the figures of the subsets, as a run of all nine has them."""

    def mean(names: tuple[str, ...]) -> float:
        listed = [(name, figures[name]) for figures in subsets.values() for name in names if name in figures]
        return harmonic_mean(1 - value if name in REVERSED else value for name, value in listed)

    semantic, ood = mean(SEMANTIC), mean(OOD)
    whole = float("nan") if np.isnan([semantic, ood]).any() else harmonic_mean([semantic, ood])
    return {"semantic_hmean": semantic, "ood_hmean": ood, "bravo_index": whole}


def figures(
    right: Ints, wrong: Ints, invalid: Ints, confusion: NDArray[np.int64] | Floats, judged: Iterable[str] = METRICS
) -> dict[str, float]:
    """``METRICS`` of counts [65536] and confusion [C, C + 1]; what is undefined or not ``judged`` is left out."""
    found: dict[str, float] = {}
    mean = float(segmentation.miou(confusion))
    if not np.isnan(mean):
        found["miou"] = mean
    if right.any() or wrong.any():
        found["ece"] = ece(right, wrong)
    if right.any() and wrong.any():
        success = ranked(right, wrong)
        found.update({"auroc": success["auroc"], "fpr95": success["fpr95"], "auprc_success": success["auprc"]})
        found["auprc_error"] = ranked(wrong[::-1], right[::-1])["auprc"]
    valid = right + wrong
    if invalid.any() and valid.any():
        found.update({f"{name}_ood": value for name, value in ranked(invalid[::-1], valid[::-1]).items()})
    found = {name: value for name, value in found.items() if name in judged}
    if found:
        found["hmean"] = harmonic_mean(1 - value if name in REVERSED else value for name, value in found.items())
    return found


@dataclass(frozen=True)
class Bravo(Protocol):
    """One subset: labels 0 to 18 (255 is void), and what is invalid as the anomaly mask, if the samples carry one."""

    name = "bravo"
    source = "Vu et al., arXiv:2409.15107; valeoai/bravo_challenge@d54005d"
    version = 1
    reads = "confidence"
    metrics = METRICS
    needs = frozenset({"labels"})
    needs_prediction = True
    category_names = ("right", "wrong", "invalid")

    judged: Literal["semantic", "ood", "both"] = "both"  # SMIYC: ood; synobjs: both; the other seven subsets: semantic
    samples: int = 100_000  # pixels of one image that are ranked
    seed: int = 1

    def categories(self, sample: Sample, predicted: Labels | None) -> Labels:
        """Of the sampled pixels; all others are ignored."""
        labels, classes = labels_of(sample), classes_of(sample, predicted)
        found = np.full(labels.size, IGNORE, np.uint8)
        places = sampled(labels, self.samples, self.seed)
        found[places] = (labels.reshape(-1)[places] != classes.reshape(-1)[places]).astype(np.uint8)
        if sample.anomaly is not None:
            found[places[sample.anomaly.reshape(-1)[places] != 0]] = 2
        return found.reshape(labels.shape)

    def row(self, sample: Sample, predicted: Labels | None, score: Scores | None = None) -> Row:
        labels, classes = labels_of(sample), classes_of(sample, predicted)
        categories = self.categories(sample, predicted).reshape(-1)
        counted = np.flatnonzero(categories != IGNORE)
        place = levels(score_of(sample, score).reshape(-1)[counted]) * 3 + categories[counted]
        table = np.bincount(place, minlength=3 * LEVELS).reshape(LEVELS, 3)
        used = np.flatnonzero(table.any(axis=1))
        if sample.anomaly is not None:
            labels = np.where(sample.anomaly != 0, np.uint8(IGNORE), labels)
        return {
            "levels": used.astype(np.uint16),
            "level_counts": table[used].astype(np.uint32),
            "confusion": segmentation.confusion(labels, classes, CLASSES),
        }

    def read(self, tally: Tally | None, rows: Rows) -> Mapping[str, Value | Undefined]:
        table, confusion = self._added(rows, np.ones(len(rows), np.int64))
        right, wrong, invalid = table.T
        judged = {"semantic": SEMANTIC, "ood": OOD, "both": (*SEMANTIC, *OOD)}[self.judged]
        found = figures(right, wrong, invalid, confusion, judged)
        return {name: Value(found[name]) if name in found else self._reason(name, judged, table) for name in METRICS}

    def replicate(self, weights: Floats, rows: Rows) -> Mapping[str, Floats]:
        """Of mIoU; the other figures have no interval."""
        if not rows:
            return {"miou": np.full(len(weights), np.nan)}
        shape = (CLASSES, CLASSES + 1)
        counts = np.array([row["confusion"].reshape(-1) for row in rows.values()], np.float64)
        return {"miou": segmentation.miou((weights @ counts).reshape(-1, *shape))}

    def _added(self, rows: Rows, times: Ints) -> tuple[Ints, Ints]:
        table, confusion = np.zeros((LEVELS, 3), np.int64), np.zeros((CLASSES, CLASSES + 1), np.int64)
        for row, count in zip(rows.values(), times, strict=True):
            table[row["levels"]] += count * row["level_counts"].astype(np.int64)
            confusion += count * row["confusion"]
        return table, confusion

    @staticmethod
    def _reason(name: str, judged: Sequence[str], table: Ints) -> Undefined:
        right, wrong, invalid = table.sum(axis=0)
        if name not in judged and name != "hmean":
            return Undefined("no part of this subset")
        if not right + wrong + invalid:
            return ranking.NO_PIXELS
        if name in OOD and not invalid:
            return Undefined("no invalid pixels")
        if not right + wrong:
            return Undefined("no valid pixels")
        return Undefined("no wrong pixels" if right else "no right pixels")
