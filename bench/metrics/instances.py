"""Average precision of anomalous instances, by the rules with which Cityscapes and OoDIS evaluate them.

Source: Nekrasov et al., OoDIS, arXiv:2406.11835; kumuji/anomaly-benchmark-suite@b2d5a82, whose evaluation is that of
mcordts/cityscapesScripts, evalInstanceLevelSemanticLabeling.py, with one class and a least region of 10 pixels.

A predicted instance is a set of pixels with a score. At an overlap t it meets an instance of the truth if their
intersection over union is above t. An instance of at least ``LEAST`` pixels that is met is a hit with the largest score
among the predictions that meet it; each other prediction that meets it is a false alarm, and so is one that meets
nothing, unless more than the share t of its pixels is ignored. Pixels of smaller instances are ignored pixels; a
prediction that meets one is neither hit nor false alarm.

ap50   area under precision over recall at t = 0.5, by the trapezoid rule between the points of all scores and the
       point of recall 0 and precision 1: what the source writes as a convolution
ap     mean of the same at t = 0.5, 0.55 ... 0.95
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.core.values import Labels, Row, Scores, Undefined, Value
from bench.counts.keys import at_or_above
from bench.ops import segments

Floats = NDArray[np.float64]
Instances = NDArray[np.int32]  # [H, W]: 0 none, -1 ignored, else the number of an instance

LEAST = 10  # pixels of an instance of the truth that counts
MOST = 100  # predictions of an image
OVERLAPS: Floats = np.arange(0.5, 1.0, 0.05)
IGNORED = -1
BLOCK = 1 << 22  # entries of resamples by scores that are held at a time


def of_mask(anomaly: Labels) -> Instances:
    """Return int32 [H, W] of a mask of 0, 1 and 255: each 8-connected component is an instance, 255 is ignored."""
    truth = segments.label(anomaly == 1)
    truth[anomaly == 255] = IGNORED
    return truth


def predicted(score: Scores, threshold: float, least: int = LEAST, most: int = MOST) -> tuple[Instances, Floats]:
    """Return the components of ``score >= threshold`` from 1 on, int32 [H, W], and their scores, float64 [n].

    Components are 8-connected; those below ``least`` pixels are none. The score of one is the mean over its pixels;
    the ``most`` with the largest scores are kept, of equal ones those that a scan line meets first.
    """
    components = segments.label(at_or_above(score, threshold))
    sizes = np.bincount(components.ravel(), minlength=1)
    sums = np.bincount(components.ravel(), score.ravel().astype(np.float64), sizes.size)
    large = np.flatnonzero(sizes[1:] >= least) + 1
    means = sums[large] / sizes[large]
    kept = np.sort(np.argsort(-means, kind="stable")[:most])
    number = np.zeros(sizes.size, np.int32)
    number[large[kept]] = np.arange(1, kept.size + 1)
    return number[components], means[kept]


def row_of(truth: Instances, masks: Iterable[NDArray[np.bool_]] | Instances, scores: Floats) -> Row:
    """Return what one image says: pixels of instances and predictions, and of each pair that meets in a pixel.

    ``masks`` are the predictions, which may overlap, or a map of their numbers from 1 on; ``scores`` is float64 [n].
    Predictions without a pixel are left out, as in the source.
    """
    numbers, compact = np.unique(truth, return_inverse=True)
    compact = compact.reshape(truth.shape)
    sizes = np.bincount(compact.ravel(), minlength=numbers.size)
    if isinstance(masks, np.ndarray):
        count = int(masks.max(initial=0)) + 1
        table = np.bincount(
            masks.ravel().astype(np.int64) * numbers.size + compact.ravel(), minlength=count * numbers.size
        )
        table = table.reshape(count, numbers.size)[1:]
    else:
        counts = [np.bincount(compact[mask], minlength=numbers.size) for mask in masks]
        table = np.array(counts, np.int64).reshape(len(counts), numbers.size)
    pixels = table.sum(axis=1)
    nonempty = pixels > 0
    table, pixels, scores = table[nonempty], pixels[nonempty], np.asarray(scores, np.float64)[nonempty]
    is_instance = numbers > 0
    ignored = table[:, numbers == IGNORED].sum(axis=1)
    prediction, instance = np.nonzero(table[:, is_instance])
    shared = table[:, is_instance][prediction, instance]
    return {
        "truth_pixels": sizes[is_instance].astype(np.int64),
        "predicted_pixels": pixels.astype(np.int64),
        "predicted_score": scores,
        "predicted_ignored": ignored.astype(np.int64),
        "pairs": np.stack([instance, prediction, shared], axis=1).astype(np.int64),
    }


def _judged(row: Row, overlap: float, least: int) -> tuple[Floats, NDArray[np.bool_], int]:
    """Return the scores of hits and false alarms, float64 [n], which of them are hits, and the instances missed."""
    truth, pixels, scores = row["truth_pixels"], row["predicted_pixels"], row["predicted_score"]
    instance, prediction, shared = row["pairs"].T
    meets = shared / (truth[instance] + pixels[prediction] - shared) > overlap
    large = truth >= least
    met = np.zeros(pixels.size, bool)
    met[prediction[meets]] = True
    ignored = row["predicted_ignored"] + np.bincount(
        prediction, np.where(large[instance], 0, shared), minlength=pixels.size
    )
    alarm = ~met & (ignored / np.maximum(pixels, 1) <= overlap)
    best: Floats = np.full(truth.size, -np.inf)
    counted = meets & large[instance]
    np.maximum.at(best, instance[counted], scores[prediction[counted]])
    # Of several predictions that meet one instance all but the best are false alarms.
    order = np.lexsort((-scores[prediction[counted]], instance[counted]))
    ordered = instance[counted][order]
    beaten = np.ones(ordered.size, bool)
    beaten[np.unique(ordered, return_index=True)[1]] = False
    hit = np.isin(np.arange(truth.size), ordered)
    values = np.concatenate([best[hit], scores[prediction[counted]][order][beaten], scores[alarm]])
    hits = np.arange(values.size) < int(hit.sum())
    return values, hits, int((large & ~hit).sum())


def average_precision(rows: Sequence[Row], overlap: float, weights: Floats, least: int = LEAST) -> Floats:
    """Return the AP of R resamples at one overlap, float64 [R]; NaN without an instance, 0 without a prediction.

    ``weights`` is [R, images]: how often each image of ``rows`` is in the resample.
    """
    judged = [_judged(row, overlap, least) for row in rows]
    scores = np.concatenate([values for values, *_ in judged]) if judged else np.zeros(0)
    hits = np.concatenate([hit for _, hit, _ in judged]) if judged else np.zeros(0, bool)
    image = np.repeat(np.arange(len(rows)), [values.size for values, *_ in judged])
    missed = weights @ np.array([count for *_, count in judged], np.float64).reshape(len(rows))
    order = np.argsort(-scores, kind="stable")
    hits, image = hits[order], image[order]
    last = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))[: scores.size]  # of each distinct score
    result = np.zeros(len(weights))
    step = max(1, BLOCK // max(scores.size, 1))
    for start in range(0, len(weights), step):
        weight = weights[start : start + step][:, image]
        true = np.cumsum(weight * hits, axis=1)[:, last]
        claimed = np.cumsum(weight, axis=1)[:, last]
        total = (true[:, -1] if last.size else np.zeros(len(weight))) + missed[start : start + step]
        precision = np.divide(true, claimed, out=np.ones_like(true), where=claimed > 0)
        recall = np.divide(true, total[:, None], out=np.zeros_like(true), where=total[:, None] > 0)
        precision = np.concatenate([np.ones((len(weight), 1)), precision], axis=1)
        recall = np.concatenate([np.zeros((len(weight), 1)), recall], axis=1)
        area = ((precision[:, 1:] + precision[:, :-1]) * np.diff(recall, axis=1)).sum(axis=1) / 2
        result[start : start + step] = np.where(total > 0, area, np.nan)
    return result


def figures(rows: Sequence[Row], weights: Floats, least: int = LEAST) -> dict[str, Floats]:
    """Return ``ap`` and ``ap50`` of R resamples, float64 [R] each."""
    by_overlap = np.array([average_precision(rows, float(overlap), weights, least) for overlap in OVERLAPS])
    return {"ap": by_overlap.mean(axis=0), "ap50": by_overlap[0]}


def read(rows: Sequence[Row], least: int = LEAST) -> Mapping[str, Value | Undefined]:
    """Return ``ap`` and ``ap50`` over all images, each once."""
    values: Mapping[str, Any] = figures(rows, np.ones((1, len(rows))), least)
    nothing = Undefined(f"no instance of at least {least} pixels")
    return {name: nothing if np.isnan(value[0]) else Value(float(value[0])) for name, value in values.items()}
