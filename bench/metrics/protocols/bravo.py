"""The figures of the BRAVO challenge 2024 for one subset of its images.

Source: Vu et al., arXiv:2409.15107; valeoai/bravo_challenge@d54005d, the server's toolkit. One confidence per pixel is
to say where the class map is right and, being low, where the image shows something invalid: an unknown object, or what
a flare or a drop hides. At most 100,000 pixels of each image are ranked, at places that the labels alone decide; the
class map is judged on all of them.

How we differ: where the source ends with an error because a figure has no value (nothing wrong, nothing invalid, an
image without labels), that figure is undefined and the others stand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.contract.dataset import Sample
from bench.contract.protocol import Quantized
from bench.core.errors import BadPlugin, BadScores, MissingData
from bench.core.values import IGNORE, Labels, Metric, Row, Rows, Scores, Undefined, Value
from bench.counts.keys import rounded_down
from bench.counts.tally import Column, Counts
from bench.metrics import bravo_index, bravo_levels, ranking, segmentation
from bench.metrics.bravo_index import NOT_JUDGED, Judged
from bench.metrics.bravo_levels import Floats, Ints
from bench.metrics.truths import classes_of, labels_of, score_of, wrong_pixels

CLASSES = 19
SAMPLES = 100_000  # pixels of an image that the server ranks
WRONG, INVALID = 1, 2  # categories
IMAGES = 256  # that are resampled at a time

METRICS: Mapping[str, Metric] = {
    "hmean": Metric("harmonic mean", "of all figures of the subset, with 1 - ECE and 1 - FPR95"),
    "miou": Metric("mIoU", "over all valid pixels; classes that are nowhere left out"),
    "ece": Metric("ECE", "15 bins of 65,536 levels of confidence, valid sampled pixels", "lower"),
    "auroc": Metric("AUROC", "right against wrong valid sampled pixels, by level of confidence"),
    "auprc_success": Metric("AUPR success", "step-sum AP of right pixels, by level of confidence"),
    "auprc_error": Metric("AUPR error", "step-sum AP of wrong pixels, by lack of confidence"),
    "fpr95": Metric("FPR95", "share of wrong pixels at or above the level that 95 % of the right ones reach", "lower"),
    "auroc_ood": Metric("AUROC OOD", "invalid against valid sampled pixels, by lack of confidence"),
    "auprc_ood": Metric("AUPR OOD", "step-sum AP of invalid pixels, by lack of confidence"),
    "fpr95_ood": Metric(
        "FPR95 OOD", "share of valid pixels at or below the level that 95 % of the invalid ones do not pass", "lower"
    ),
}


@lru_cache(maxsize=8)
def _drawn(pixels: int, samples: int, seed: int) -> Ints:
    """Places [samples], ascending, in a list of ``pixels``; the generator starts anew for every image."""
    drawn = np.sort(np.random.RandomState(seed).permutation(pixels)[:samples])
    drawn.flags.writeable = False
    return drawn


def sampled(labels: Labels, samples: int = SAMPLES, seed: int = 1) -> Ints:
    """int64 [n]: flat row-major indices, ascending, of the pixels that are ranked; labels uint8 [H, W], 255 is void."""
    labelled = np.flatnonzero(labels.reshape(-1) != IGNORE)
    return labelled if labelled.size <= samples else labelled[_drawn(labelled.size, samples, seed)]


def confusion(labels: Labels, predicted: Labels, who: str) -> Ints:
    """int64 [19, 20]: pixels by class and predicted class, 255 ignored; the last column stays empty.

    The source counts at the flat index 19 * label + prediction and lets a prediction of 19 pass: it becomes the next
    class, predicted as 0. That is reproduced, and what the source refuses is refused; ``who`` is blamed.
    """
    from bench.counts import counting  # late: it compiles

    pairs = counting.count_pairs(np.ascontiguousarray(labels).reshape(-1), np.ascontiguousarray(predicted).reshape(-1))
    pairs = pairs[:IGNORE]
    if pairs[CLASSES:].any():
        wrong = CLASSES + int(np.argmax(pairs[CLASSES:].any(axis=1)))
        raise MissingData(f"{who}: a label of {wrong}, wanted 0 to 18, or 255")
    pairs = pairs[:CLASSES]
    if pairs[:, CLASSES + 1 :].any() or pairs[CLASSES - 1, CLASSES]:
        wrong = int(np.flatnonzero(pairs.any(axis=0))[-1])
        raise BadScores(f"{who}: its class map holds {wrong} where a class is judged, wanted 0 to 18")
    counts = np.zeros((CLASSES, CLASSES + 1), np.int64)
    counts[:, :CLASSES] = pairs[:, :CLASSES]
    counts[1:, 0] += pairs[:-1, CLASSES]
    return counts


@dataclass(frozen=True)
class Bravo(Quantized):
    """One subset: labels 0 to 18, and as the anomaly mask what is invalid (1), if the samples carry one.

    Pixels that either of them ignores (255) are void. ``pixels: official`` ranks and calibrates those ``samples``
    pixels of each image that the server does, ``exact`` all of them; mIoU is over all in both. Reads confidences in
    [0, 1], or its own 65,536 levels as whole numbers of 16 bits, not scores. Rows hold the confusion of the classes,
    the reliability of 15 bins (pixels, right ones, sum of levels) and counts by ``bravo_levels.BINS``.
    """

    name = "bravo"
    source = "Vu et al., arXiv:2409.15107; valeoai/bravo_challenge@d54005d"
    version = 2  # 2: a harmonic mean needs all its figures, and 255 in the anomaly mask is void
    only_classes = CLASSES
    metrics = METRICS
    needs = frozenset({"labels", "prediction", "confidence"})
    category_names = ("right", "wrong", "invalid")
    levels = bravo_levels.LEVELS

    judged: Judged = "both"  # as ``bravo_index.SUBSETS`` has it: SMIYC ood, synobjs both, the other seven semantic
    samples: int = SAMPLES  # pixels of one image that are ranked, of pixels: official
    seed: int = 1
    pixels: Literal["official", "exact"] = "official"

    def __post_init__(self) -> None:
        if self.samples < 1 or self.seed < 0:
            raise ValueError("samples must be at least 1 and the seed at least 0")

    def quantize(self, score: Scores) -> Scores:
        """Float32 of the same level: floor(65536 c) of float64 is that of c rounded down."""
        return score if score.dtype == np.float32 else rounded_down(score.astype(np.float64))

    def categories(self, sample: Sample, predicted: Labels | None) -> Labels:
        """Of the sampled pixels; all others are ignored."""
        every = _truth(sample, predicted).reshape(-1)
        categories = np.full(every.size, IGNORE, np.uint8)
        indices = sampled(every, self.samples if self.pixels == "official" else every.size, self.seed)
        categories[indices] = every[indices]
        return categories.reshape(sample.size)

    def row(self, sample: Sample, predicted: Labels | None, score: Scores | None = None) -> Row:
        categories = self.categories(sample, predicted).reshape(-1)
        indices = np.flatnonzero(categories != IGNORE)
        confidence, kind = score_of(sample, score).reshape(-1)[indices], categories[indices].astype(np.int64)
        if not ((confidence >= 0) & (confidence <= 1)).all():
            raise BadPlugin(f"{sample.id}: a confidence outside [0, 1]")
        level = bravo_levels.levels(confidence)
        table = np.bincount(bravo_levels.BINS[level].astype(np.int64) * 3 + kind, minlength=3 << 16).reshape(-1, 3)
        used = np.flatnonzero(table.any(axis=1))
        fields: dict[str, NDArray[np.generic]] = {
            "level_bins": used.astype(np.uint16),
            "level_counts": table[used].astype(np.uint32),
        }
        if self.judged != "ood":
            valid = kind != INVALID
            fields["reliability"] = bravo_levels.reliability(level[valid], kind[valid] == WRONG)
            fields["confusion"] = _confusion(sample, predicted)
        return fields

    def read(self, counts: Counts, rows: Rows) -> Mapping[str, Value | Undefined]:
        """Rankings come from the tally if its keys decide the level, and are bounded from the rows' bins if not."""
        exact = counts.bits >= 24
        columns = bravo_levels.at_levels(counts) if exact else _binned(rows)
        ones = np.ones((1, len(rows)))
        figures: dict[str, Value | Undefined] = dict.fromkeys(METRICS, NOT_JUDGED)
        if self.judged != "ood":
            figures |= _semantic(columns, exact)
            figures |= {name: _defined(value) for name, value in self._sums(ones, rows).items()}
        if self.judged != "semantic":
            figures |= _ood(columns, exact)
        return figures | {
            "hmean": bravo_index.hmean({name: figures[name] for name in bravo_index.FIGURES[self.judged]})
        }

    def bootstrap(self, weights: Floats, rows: Rows) -> Mapping[str, Floats]:
        right, wrong, invalid = _resampled(weights, rows)
        figures: dict[str, Floats] = {}
        if self.judged != "ood":
            figures |= self._sums(weights, rows)
            success = ranking.binned_ranking(right, wrong)
            error = ranking.binned_ranking(wrong[:, ::-1], right[:, ::-1])
            figures |= {"auroc": success["auroc"], "auprc_success": success["ap"], "auprc_error": error["ap"]}
            figures["fpr95"] = bravo_levels.fpr95(right, wrong)
        if self.judged != "semantic":
            unsure = invalid[:, ::-1], (right + wrong)[:, ::-1]
            ranks = ranking.binned_ranking(*unsure)
            figures |= {"auroc_ood": ranks["auroc"], "auprc_ood": ranks["ap"], "fpr95_ood": bravo_levels.fpr95(*unsure)}
        return {"hmean": bravo_index.mean_of(figures), **figures}

    def _sums(self, weights: Floats, rows: Rows) -> dict[str, Floats]:
        """Return the figures that are functions of sums over images: mIoU and ECE [R]."""
        shapes = {"confusion": (CLASSES, CLASSES + 1), "reliability": (bravo_levels.ECE_BINS, 3)}
        sums = {}
        for name, shape in shapes.items():
            each = np.array([row[name].reshape(-1) for row in rows.values()], np.float64)
            sums[name] = (weights @ each.reshape(len(rows), shape[0] * shape[1])).reshape(-1, *shape)
        return {"miou": segmentation.miou(sums["confusion"]), "ece": bravo_levels.ece(sums["reliability"])}


def _truth(sample: Sample, predicted: Labels | None) -> Labels:
    """uint8 [H, W]: right, wrong or invalid; 255 is void."""
    kinds = wrong_pixels(labels_of(sample), classes_of(sample, predicted))
    if sample.anomaly is not None:
        kinds[(sample.anomaly == 1) & (kinds != IGNORE)] = INVALID
        kinds[sample.anomaly > 1] = IGNORE
    return kinds


def _confusion(sample: Sample, predicted: Labels | None) -> Ints:
    labels, classes = labels_of(sample), classes_of(sample, predicted)
    if sample.anomaly is not None:
        labels = np.where(sample.anomaly != 0, np.uint8(IGNORE), labels)
    return confusion(labels, classes, sample.id)


def _semantic(columns: list[Column], exact: bool) -> dict[str, Value | Undefined]:
    right, wrong, _ = columns
    names = ("auroc", "auprc_success", "auprc_error", "fpr95")
    if reason := bravo_levels.undefined(right, wrong, lacking=("right", "wrong")):
        return dict.fromkeys(names, reason)
    success = bravo_levels.ranked(right, wrong, exact=exact)
    error = bravo_levels.ranked(*bravo_levels.doubt([wrong, right]), exact=exact)
    figures = (success["auroc"], success["auprc"], error["auprc"], success["fpr95"])
    return dict(zip(names, figures, strict=True))


def _ood(columns: list[Column], exact: bool) -> dict[str, Value | Undefined]:
    right, wrong, invalid = columns
    keys, index = np.unique(np.concatenate([right.keys, wrong.keys]), return_inverse=True)
    counts = np.concatenate([right.distinct()[1], wrong.distinct()[1]])
    valid = Column(keys, np.bincount(index, counts, keys.size).astype(np.int64))
    if reason := bravo_levels.undefined(invalid, valid, lacking=("invalid", "valid")):
        return dict.fromkeys(bravo_index.OOD, reason)
    figures = bravo_levels.ranked(*bravo_levels.doubt([invalid, valid]), exact=exact)
    return {f"{name}_ood": figure for name, figure in figures.items()}


def _defined(value: Floats) -> Value | Undefined:
    return ranking.NO_PIXELS if np.isnan(value[0]) else Value(float(value[0]))


def _binned(rows: Rows) -> list[Column]:
    """One column per category, keyed by ``BINS``, of all images together."""
    table = np.zeros((1 << 16, 3), np.int64)
    for row in rows.values():
        table[row["level_bins"]] += row["level_counts"]
    used = [np.flatnonzero(column) for column in table.T]
    return [Column(keys.astype(np.uint32), column[keys]) for keys, column in zip(used, table.T, strict=True)]


def _resampled(weights: Floats, rows: Rows) -> Floats:
    """Counts [3, R, bins] of every resample by category, bins ascending; some images at a time."""
    images = list(rows.values())
    used = np.unique(np.concatenate([np.zeros(1, np.uint16), *(row["level_bins"] for row in images)]))
    total = np.zeros((3, len(weights), used.size))
    for start in range(0, len(images), IMAGES):
        some = images[start : start + IMAGES]
        dense = np.zeros((3, len(some), used.size))
        for position, row in enumerate(some):
            dense[:, position, np.searchsorted(used, row["level_bins"])] = row["level_counts"].T
        total += weights[:, start : start + IMAGES] @ dense  # whole numbers below 2^53: exact in any order
    return total
