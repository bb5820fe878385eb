"""Pictures of odd things to train on: shapes and textures that are neither a toy street's nor its anomalies'.

Anomalies of ``toytown`` are drawn figures that are plain, checked, striped, dotted or zigzagged; these are random blobs
and splinters, filled with clouds, gradients and speckle. A network that learns them has not seen what it is judged on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from bench.contract.dataset import Dataset, Sample
from bench.core.values import IGNORE
from bench.datasets.toytown.rasteriser import Bools, Dice, Floats, enlarge
from bench.datasets.toytown.scenes import Toytown

PASTING = 1  # raised with every change of a pixel


@dataclass(frozen=True)
class ToytownOutliers(Dataset):
    """Frames of another toy town with one to five odd things in each: 1 in ``anomaly``, 255 in ``labels``."""

    name = "toytown_outliers"
    source = "drawn by this project; docs/entropy_max.md"

    images: int = 600
    height: int = 128
    width: int = 256
    seed: int = 1

    def __post_init__(self) -> None:
        self._streets()  # refuses sizes that cannot be drawn

    @property
    def annotations(self) -> frozenset[str]:
        return frozenset({"labels", "anomaly"})

    @property
    def count(self) -> int:
        return self.images

    def ids(self) -> Sequence[str]:
        return [f"toytown_outliers_{index:06}" for index in range(self.images)]

    def digest(self) -> str:
        return hashlib.sha256(f"outliers {PASTING} {self._streets().digest()}".encode()).hexdigest()[:16]

    def load(self, index: int) -> Sample:
        sample, name = self._streets().load(index), self.ids()[index]
        dice = Dice("outliers", self.seed, name)
        image = sample.image().astype(np.float32)
        anomaly = np.zeros(sample.size, np.uint8)
        for _ in range(dice.count(1, 5)):
            paste(image, anomaly, dice)
        assert sample.labels is not None  # noqa: S101 - streets are labelled
        labels = sample.labels.copy()
        labels[anomaly == 1] = IGNORE
        picture = np.clip(image, 0, 255).astype(np.uint8)
        return Sample(
            id=name,
            size=sample.size,
            image=partial(_as_drawn, picture),
            labels=labels,
            anomaly=anomaly,
            group=sample.group.replace("train", "outliers"),
            tags=sample.tags,
        )

    def _streets(self) -> Toytown:
        return Toytown(split="train", images=self.images, height=self.height, width=self.width, seed=self.seed)


def paste(image: Floats, anomaly: NDArray[np.uint8], dice: Dice) -> None:
    """Put one thing into float32 [H, W, 3] and mark it."""
    height, width = anomaly.shape
    tall = max(6, int(height * dice.between(0.06, 0.3) * dice.between(0.7, 2.0)))
    wide = max(6, int(tall * dice.between(0.5, 2.0)))
    tall, wide = min(tall, height), min(wide, width)
    top = int(dice.between(0.0, 1.0) * (height - tall))
    left = int(dice.between(0.0, 1.0) * (width - wide))
    area = slice(top, top + tall), slice(left, left + wide)
    mask = _blob(tall, wide, dice) if dice.chance(0.6) else _splinter(tall, wide, dice)
    patch = image[area]
    light = float(image.mean()) * dice.between(0.5, 1.6) / 110.0
    filled = _texture(tall, wide, dice) * np.float32(light)
    if dice.chance(0.35):  # some hide in the colours of where they are
        share = np.float32(dice.between(0.4, 0.8))
        filled = filled + (patch.reshape(-1, 3).mean(axis=0) - filled) * share
    patch[mask] = filled[mask]
    anomaly[area][mask] = 1


def _blob(height: int, width: int, dice: Dice) -> Bools:
    """Bool [height, width]: an ellipse as a hilly field leaves it."""
    y = (np.arange(height, dtype=np.float32) + np.float32(0.5)) / np.float32(height) * 2 - 1
    x = (np.arange(width, dtype=np.float32) + np.float32(0.5)) / np.float32(width) * 2 - 1
    hills = enlarge(dice.field(6, 6), height, width)
    return np.asarray((y * y)[:, None] + x * x + (hills - np.float32(0.5)) * np.float32(1.2) < np.float32(0.7))


def _splinter(height: int, width: int, dice: Dice) -> Bools:
    """Bool [height, width]: a rectangle after three straight cuts."""
    y = ((np.arange(height, dtype=np.float32) + np.float32(0.5)) / np.float32(height) * 2 - 1)[:, None]
    x = (np.arange(width, dtype=np.float32) + np.float32(0.5)) / np.float32(width) * 2 - 1
    mask = np.ones((height, width), np.bool_)
    for _ in range(3):
        across, down = np.float32(dice.between(-1, 1)), np.float32(dice.between(-1, 1))
        mask &= across * x + down * y < np.float32(dice.between(0.25, 0.7))
    return mask


def _texture(height: int, width: int, dice: Dice) -> Floats:
    """float32 [height, width, 3]: two colours, mixed by a cloud, a gradient or speckle; or one of them."""
    first, second = (np.array([dice.between(10, 250) for _ in range(3)], np.float32) for _ in range(2))
    kind = dice.pick(("cloud", "cloud", "gradient", "speckle", "plain"))
    if kind == "cloud":
        nodes = dice.count(3, 12)
        mix = np.clip((enlarge(dice.field(nodes, nodes), height, width) - np.float32(0.5)) * 3 + np.float32(0.5), 0, 1)
    elif kind == "gradient":
        mix = enlarge(dice.field(2, 2), height, width)
    elif kind == "speckle":
        mix = dice.field(height, width)
    else:
        mix = np.zeros((height, width), np.float32)
    return np.asarray(
        first + (second - first) * mix[:, :, None] + (dice.field(height, width)[:, :, None] - np.float32(0.5)) * 14
    )


def _as_drawn(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the image: a decoder where it is drawn already; unlike a lambda it can be sent to another process."""
    return image
