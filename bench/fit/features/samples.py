"""Labelled pixels of images to fit on, at the resolution of the features."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from bench.api import IGNORE, Labels, Prediction, Sample
from bench.core.errors import MissingData
from bench.ops import dense, transfer
from bench.ops.tiles import Tiles, Window


@dataclass(frozen=True, slots=True, eq=False)
class Pixels:
    """The n labelled pixels of one image, or of one of its windows."""

    sample: str
    window: int  # its number in the image
    index: NDArray[np.int64]  # [n] number of the pixel among all of the window
    features: NDArray[np.float32]  # [n, D]
    labels: Labels  # uint8 [n]
    logits: NDArray[np.float32]  # [n, C]; [n, 0] where nobody asked for them


def labels_of(sample: Sample, who: str) -> Labels:
    """Return the labels of an image. Raise MissingData, to the method or trainer ``who``, where it has none."""
    if sample.labels is None:
        raise MissingData(f"{who} needs labels, sample {sample.id} has none")
    return sample.labels


def labelled(stream: Iterable[tuple[Prediction, Sample]], who: str, *, logits: bool = False) -> Iterator[Pixels]:
    """Yield the labelled pixels of every image, window by window; none of one without any.

    A pixel has the label of its centre, and where ``logits`` are asked for those at its centre, by interpolation if
    the network gives them on another grid. Scales and mirror images are averaged at label size before.

    Raises MissingData, to ``who``, for an image without labels, for outputs that the network does not give, and where
    there is no labelled pixel in all images.
    """
    nothing = True
    for prediction, sample in stream:
        truth = labels_of(sample, who)
        outputs = prediction.raw
        parts: list[Mapping[str, Tensor]] = [outputs]
        windows, size = [(0, 0, *truth.shape)], (int(truth.shape[0]), int(truth.shape[1]))
        if isinstance(outputs, Tiles):
            parts, windows, size = list(outputs.parts), list(outputs.windows), outputs.size
        for number, (part, window) in enumerate(zip(parts, windows, strict=True)):
            _refuse_lacking({"features"} | ({"logits"} if logits else set()), part, who)
            features = part["features"]
            grid = int(features.shape[1]), int(features.shape[2])
            labels = _at_centres(truth, grid, window, size).reshape(-1)
            index = np.flatnonzero(labels != IGNORE)
            if not index.size:
                continue
            nothing = False
            of_classes = _rows(dense.resize(part["logits"], grid), index) if logits else _rows(features[:0], index)
            yield Pixels(sample.id, number, index, _rows(features, index), labels[index], of_classes)
    if nothing:
        raise MissingData(f"{who} cannot be fitted: no labelled pixel in the data")


def _refuse_lacking(wanted: set[str], outputs: Mapping[str, Tensor], who: str) -> None:
    if lacking := wanted - set(outputs):
        advice = "; say average: logits in the model's inference" if "probabilities" in outputs else ""
        raise MissingData(f"{who} cannot be fitted: the network gives no {' and no '.join(sorted(lacking))}{advice}")


def _at_centres(truth: Labels, grid: tuple[int, int], window: Window, size: tuple[int, int]) -> Labels:
    """Return the labels [h, w] at the centres of the pixels of a window, which lies in the image scaled to ``size``."""
    top, left, bottom, right = window
    rows, cols = (
        ((low + (np.arange(cells) + 0.5) * (high - low) / cells) * (length / scaled)).astype(np.int64)
        for low, high, cells, length, scaled in zip((top, left), (bottom, right), grid, truth.shape, size, strict=True)
    )
    labels: Labels = truth[np.minimum(rows, truth.shape[0] - 1)[:, None], np.minimum(cols, truth.shape[1] - 1)]
    return labels


def _rows(output: Tensor, index: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the pixels of [D, h, w] by flat index, float32 [n, D]."""
    values: NDArray[np.float32] = transfer.to_host(output.flatten(1))
    return np.ascontiguousarray(values[:, index].T)
