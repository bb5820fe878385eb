"""Are whole objects found? Overlap of connected components, with one labelling per map and a table of pairs.

Source: Chan et al., SegmentMeIfYouCan, arXiv:2104.14812, section 4; SegmentMeIfYouCan/road-anomaly-benchmark@1c7804e,
``default_instancer`` and ``segment_metrics``. Components are 8-connected, ignored pixels are taken out of the
prediction before it is labelled, predictions below ``min_predicted`` pixels vanish, objects below ``min_truth`` become
ignored.

siou     of an object k, with P the union of the predictions that touch it: |k & P| / |k | (P without other objects)|
ppv      of a prediction p: the share of it that lies on any object
mean_f1  mean over tau in linspace(0.25, 0.75, 11) of 2 TP / (2 TP + FN + FP): TP and FN are the objects with sIoU >=
         and < tau, FP the predictions with PPV < tau, over all images together
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import fsum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.core.values import Labels, Row, Undefined, Value
from bench.ops import segments

Floats = NDArray[np.float64]

PAIRS = 1 << 16  # of an object and a prediction, up to which they have a place each to be counted in
TAUS: Floats = np.linspace(0.25, 0.75, 11)


def find(predicted: NDArray[np.bool_], truth: Labels, *, min_predicted: int, min_truth: int) -> Row:
    """Both [H, W], truth 0, 1 (object) or 255; float64 ``siou`` [objects], ``siou_predicted``, ``ppv`` [predictions].

    In the order of the scan line that first meets them. A prediction may shrink below its minimum when an object under
    it becomes ignored, and still counts. As in the source, where fewer than ``min_truth`` pixels are no object, all of
    those are ignored.
    """
    object_mask, predicted_mask = truth == 1, predicted & (truth != 255)
    marked = np.flatnonzero(object_mask | predicted_mask)
    objects, predictions = (segments.label(mask).reshape(-1)[marked] for mask in (object_mask, predicted_mask))
    sizes = np.bincount(objects, minlength=1)
    sizes[0] = truth.size - sizes[1:].sum()
    small = np.bincount(predictions, minlength=1) < min_predicted
    predictions[small[predictions]] = 0
    counted = (sizes >= min_truth)[objects]
    return overlap(objects[counted], predictions[counted])


def overlap(objects: NDArray[np.int32], predictions: NDArray[np.int32]) -> Row:
    """``find`` of labels [n], 0 for none, of the pixels that count."""
    marked = (objects > 0) | (predictions > 0)
    columns = int(predictions.max(initial=0)) + 1
    rows = int(objects.max(initial=0)) + 1
    pairs = objects[marked].astype(np.int64) * columns + predictions[marked]
    if rows * columns <= max(PAIRS, pairs.size):
        table = np.bincount(pairs, minlength=1)
        codes = np.flatnonzero(table)
        counts = table[codes]
    else:
        codes, counts = np.unique(pairs, return_counts=True)
    row, column = np.divmod(codes, columns)
    object_sizes = np.bincount(row, counts, rows)
    prediction_sizes = np.bincount(column, counts, columns)
    both = (row > 0) & (column > 0)
    row, column, counts = row[both], column[both], counts[both]
    on_object = np.bincount(column, counts, columns)  # pixels of a prediction on any object
    in_prediction = np.bincount(row, counts, rows)

    def union(
        of: NDArray[Any], sizes: NDArray[Any], others: NDArray[Any], other_sizes: NDArray[Any], elsewhere: NDArray[Any]
    ) -> Floats:
        shared = np.bincount(of, counts, sizes.size)
        touching = np.bincount(of, other_sizes[others], sizes.size)
        on_others = np.bincount(of, elsewhere[others] - counts, sizes.size)
        here = np.flatnonzero(sizes[1:]) + 1
        return np.asarray(shared[here] / (sizes + touching - shared - on_others)[here], np.float64)

    labels = np.flatnonzero(prediction_sizes[1:]) + 1
    return {
        "siou": union(row, object_sizes, column, prediction_sizes, on_object),
        "siou_predicted": union(column, prediction_sizes, row, object_sizes, in_prediction),
        "ppv": on_object[labels] / prediction_sizes[labels],
    }


def pooled(row: Row) -> Floats:
    """[4 + 3 x 11]: sum of sIoU, objects, sum of PPV, predictions, then TP, FN and FP by tau."""
    siou, ppv = row["siou"], row["ppv"]
    hit = (siou[:, None] >= TAUS).sum(axis=0)
    alarms = (ppv[:, None] < TAUS).sum(axis=0)
    ends = [fsum(siou), siou.size, fsum(ppv), ppv.size]
    return np.concatenate([ends, hit, siou.size - hit, alarms]).astype(np.float64)


def figures(counts: Floats) -> dict[str, Floats]:
    """siou, ppv, mean_f1 [...] from pooled counts [..., 37]; NaN where undefined."""
    siou, objects, ppv, predictions = (counts[..., index] for index in range(4))
    hit, missed, alarms = (counts[..., start : start + 11] for start in (4, 15, 26))
    denominator = 2 * hit + missed + alarms
    f1 = np.divide(2 * hit, denominator, out=np.full(hit.shape, np.nan), where=denominator > 0)
    return {
        "siou": np.divide(siou, objects, out=np.full(siou.shape, np.nan), where=objects > 0),
        "ppv": np.divide(ppv, predictions, out=np.full(ppv.shape, np.nan), where=predictions > 0),
        "mean_f1": f1.mean(axis=-1),
    }


NOTHING: Mapping[str, Undefined] = {
    "siou": Undefined("no object large enough"),
    "ppv": Undefined("nothing large enough is predicted"),
    "mean_f1": Undefined("no object and no prediction large enough"),
}


def total(rows: Sequence[Row]) -> Floats:
    """``pooled`` of all images; the same in whatever order they come."""
    table = np.array([pooled(row) for row in rows]).reshape(-1, 37)
    return np.array([fsum(column) for column in table.T])


def read(rows: Sequence[Row]) -> dict[str, Value | Undefined]:
    """siou, ppv, mean_f1 over all images."""
    values = {name: float(value) for name, value in figures(total(rows)).items()}
    return {name: NOTHING[name] if np.isnan(value) else Value(value) for name, value in values.items()}
