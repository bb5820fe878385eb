"""Which images an epoch shows, in which order, and what is cut out of them. Every draw depends on its place alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.api import IGNORE, Labels, Sample, Source
from bench.core.errors import MissingData

OUTLIER = 254  # target of a pixel of an outlier, as in the source


@dataclass(frozen=True)
class Place:
    """One image of an epoch."""

    outlier: bool
    index: int  # in its data set
    at: int  # in the epoch


def dice(*names: object) -> np.random.RandomState:
    """Draws that depend on these names alone, wherever a training is taken up."""
    seed = hashlib.sha256("/".join(map(str, names)).encode()).digest()
    return np.random.RandomState(np.frombuffer(seed, dtype="<u4").astype(np.uint32))


def epoch(labelled: int, outliers: int, drawn: int, seed: int, number: int) -> list[Place]:
    """All labelled images and ``drawn`` of the outlier images, shuffled together."""
    draws = dice(seed, "epoch", number)
    chosen = draws.permutation(outliers)[:drawn].tolist()
    every = [(False, index) for index in range(labelled)] + [(True, index) for index in chosen]
    order = [every[index] for index in draws.permutation(len(every)).tolist()]
    return [Place(outlier, index, at) for at, (outlier, index) in enumerate(order)]


def examples(
    places: Sequence[Place], ahead: Sequence[Place], sources: Mapping[bool, Source], crop: int, classes: int, draw: str
) -> Iterator[tuple[NDArray[np.uint8], Labels]]:
    """Images and targets of these places; ``ahead`` are the next ones. ``draw`` names the epoch and its seed."""
    streams = {
        outlier: iter(
            source.samples(
                [item.index for item in places if item.outlier == outlier],
                [item.index for item in ahead if item.outlier == outlier],
            )
        )
        for outlier, source in sources.items()
    }
    for item in places:
        sample = next(streams[item.outlier])
        yield cut(sample.image(), target(sample, classes, outlier=item.outlier), crop, dice(draw, item.at))


def target(sample: Sample, classes: int, *, outlier: bool) -> Labels:
    """uint8 [H, W]: classes, 254 outliers, 255 ignored. Of a picture of outliers, what has no label is ignored."""
    if outlier:
        if sample.anomaly is None:
            raise MissingData(f"outliers: sample {sample.id} has no anomaly mask")
        labels = np.full(sample.size, IGNORE, np.uint8) if sample.labels is None else sample.labels.copy()
        labels[sample.anomaly == 1] = OUTLIER
    elif sample.labels is None:
        raise MissingData(f"data: sample {sample.id} has no labels")
    else:
        labels = sample.labels
    odd = labels[(labels >= classes) & (labels < OUTLIER)]
    if odd.size or (not outlier and (labels == OUTLIER).any()):
        value = int(odd[0]) if odd.size else OUTLIER
        raise MissingData(f"sample {sample.id} has the label {value}, the network has classes 0 to {classes - 1}")
    return labels


def cut(
    image: NDArray[np.uint8], labels: Labels, side: int, draws: np.random.RandomState
) -> tuple[NDArray[np.uint8], Labels]:
    """A square out of an image that is mirrored or not. Anything with a shorter side is resized, out of proportion."""
    if image.shape[:2] != labels.shape:
        labels = np.asarray(Image.fromarray(labels).resize((image.shape[1], image.shape[0]), Image.Resampling.NEAREST))
    if draws.random_sample() < 0.5:
        image, labels = image[:, ::-1], labels[:, ::-1]
    height, width = labels.shape
    if min(height, width) < side:
        small = Image.fromarray(np.ascontiguousarray(image)).resize((side, side), Image.Resampling.BILINEAR)
        coarse = Image.fromarray(np.ascontiguousarray(labels)).resize((side, side), Image.Resampling.NEAREST)
        return np.asarray(small), np.asarray(coarse)
    top, left = (int(draws.randint(0, length - side + 1)) for length in (height, width))
    window = slice(top, top + side), slice(left, left + side)
    return image[window], labels[window]
