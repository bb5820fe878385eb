"""Class maps against labels: the confusion matrix and what is read off it.

miou            mean over classes of TP / (TP + FP + FN), pooled over all pixels; a class that neither the labels nor
                the class map contain is left out (cityscapesScripts, evalPixelLevelSemanticLabeling.py,
                getIouScoreForLabel)
pixel_accuracy  share of the labelled pixels with the right class
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.core.errors import BadPlugin
from bench.core.values import IGNORE, Labels

Floats = NDArray[np.float64]


def confusion(labels: Labels, predicted: Labels, classes: int) -> NDArray[np.int64]:
    """int64 [C, C + 1]: labelled pixels by their class and the predicted one, the last column any other."""
    from bench.counts import counting

    if labels.shape != predicted.shape:
        raise ValueError(f"labels {labels.shape} and class map {predicted.shape} differ in size")
    pairs = counting.count_pairs(np.ascontiguousarray(labels).reshape(-1), np.ascontiguousarray(predicted).reshape(-1))
    if pairs[classes:IGNORE].any():
        beyond = int(np.flatnonzero(pairs[classes:IGNORE].any(axis=1))[0]) + classes
        raise BadPlugin(f"the labels hold the class {beyond}, and {classes} are counted: write miou: {{classes: ...}}")
    return np.concatenate([pairs[:classes, :classes], pairs[:classes, classes:].sum(axis=1, keepdims=True)], axis=1)


def class_iou(counts: NDArray[np.int64] | Floats) -> Floats:
    """[..., C] from confusion [..., C, C + 1]; NaN for a class that is nowhere."""
    right = np.diagonal(counts, axis1=-2, axis2=-1).astype(np.float64)
    union = counts.sum(axis=-1) + counts[..., :-1].sum(axis=-2) - right
    return _share(right, union, union > 0)


def miou(counts: NDArray[np.int64] | Floats) -> Floats:
    """[...] from confusion [..., C, C + 1]; NaN without a labelled pixel."""
    each = class_iou(counts)
    present = np.isfinite(each).sum(axis=-1)
    labelled = counts.sum(axis=(-2, -1)) > 0
    total = np.nansum(each, axis=-1)
    return _share(total, present, labelled & (present > 0))


def pixel_accuracy(counts: NDArray[np.int64] | Floats) -> Floats:
    """[...] from confusion [..., C, C + 1]; NaN without a labelled pixel."""
    right = np.trace(counts, axis1=-2, axis2=-1).astype(np.float64)
    total = counts.sum(axis=(-2, -1))
    return _share(right, total, total > 0)


def _share(part: Floats, whole: NDArray[Any], where: NDArray[np.bool_]) -> Floats:
    return np.asarray(np.divide(part, whole, out=np.full(part.shape, np.nan), where=where), np.float64)
