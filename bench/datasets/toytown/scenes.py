"""Toytown: street scenes drawn from a seed, with the Cityscapes classes, several weathers, and things out of place.

Synthetic, and comparable with no paper. It exists so that everything else can be run, tested and explained without a
download. The drawing is frozen: ``docs/toytown.md`` says what it shows, and a test pins its pixels.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from functools import lru_cache, partial
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.contract.dataset import Dataset, Sample
from bench.core import versions
from bench.core.values import IGNORE
from bench.datasets.toytown.anomalies import FIRST, Anomaly
from bench.datasets.toytown.rasteriser import Bools, Canvas, Dice
from bench.datasets.toytown.scene import Drive, Street
from bench.datasets.toytown.weather import WEATHER, grain, light, photograph, sky

COUNTS = {"train": 600, "val": 64, "anomaly": 64}
DRIVE = 4  # consecutive frames that share a camera, a season and the weather
CONDITIONS = tuple(WEATHER)
LARGEST = 2**26  # pixels of a frame
MOST = 10**6  # frames
LEAST = 24  # pixels of an anomaly; one that is hidden but for a crumb is not asked for
SMALL = 2**15  # pixels of a frame that is kept when it was drawn: grids, fits and galleries ask for the same ones again
KEPT = 256  # such frames, of at most 5 bytes a pixel: 42 MB


@dataclass(frozen=True)
class Toytown(Dataset):
    """Frames of a toy town. ``images`` counts from the first, so a longer set begins with the shorter one.

    ``condition`` shows the same streets under one weather instead of all five in turn.
    """

    name = "toytown"
    source = "drawn by this project; docs/toytown.md"

    split: Literal["train", "val", "anomaly"] = "val"
    images: int | None = None  # None: 600 for train, 64 for val and anomaly
    height: int = 128
    width: int = 256
    seed: int = 0
    condition: Literal["day", "dusk", "night", "fog", "rain"] | None = None

    def __post_init__(self) -> None:
        check_size(self.height, self.width)
        if self.images is not None:
            check_images(self.images)

    @property
    def annotations(self) -> frozenset[str]:
        return frozenset({"labels", "anomaly"} if self.split == "anomaly" else {"labels"})

    @property
    def count(self) -> int:
        return COUNTS[self.split] if self.images is None else self.images

    def ids(self) -> Sequence[str]:
        return [f"toytown_{self.split}_{index:06}" for index in range(self.count)]

    def digest(self) -> str:
        return hashlib.sha256(f"toytown {versions.NUMBERS['toytown']} {astuple(self)}".encode()).hexdigest()[:16]

    def load(self, index: int) -> Sample:
        """Draw one frame; tags are its ``condition`` and, in the anomaly split, the largest ``anomaly`` or "none"."""
        number = range(self.count)[index]
        draw = _recent_frame if self.height * self.width <= SMALL else _frame
        image, labels, anomaly, tags = draw(self.split, number, self.height, self.width, self.seed, self.condition)
        return Sample(
            id=f"toytown_{self.split}_{number:06}",
            size=(self.height, self.width),
            image=partial(_as_drawn, image.copy()),
            labels=labels.copy(),
            anomaly=None if anomaly is None else anomaly.copy(),
            group=f"toytown_{self.split}_drive_{number // DRIVE:06}",
            tags=dict(tags),
        )


class Frame(NamedTuple):
    """Image, truth and tags of a drawn frame, shared by all that ask for it."""

    image: NDArray[np.uint8]  # [H, W, 3]
    labels: NDArray[np.uint8]  # [H, W]
    anomaly: NDArray[np.uint8] | None  # [H, W]
    tags: dict[str, str]


def _frame(split: str, number: int, height: int, width: int, seed: int, only: str | None) -> Frame:
    """Draw one frame; ``only`` is the weather of all of them, None for five in turn."""
    names = (seed, split)
    drive = number // DRIVE
    condition = only or CONDITIONS[drive % len(CONDITIONS)]
    weather = WEATHER[condition]
    canvas = Canvas(height, width, weather.dark)
    dice = Dice(*names, "frame", number)
    street = Street(Drive.roll(Dice(*names, "drive", drive)), dice, canvas.aspect)
    anomalies = _anomalies(Dice(*names, "anomaly", number), street) if split == "anomaly" else []

    air = Dice(*names, "air", number)
    sky(canvas, street.camera, air, weather)
    street.paint(canvas, anomalies)
    grain(canvas, air)
    light(canvas, street.camera, air, weather)
    picture = photograph(canvas, air, Dice(*names, "sensor", number), weather)
    image = np.clip(picture, 0, 255).astype(np.uint8)

    tags = {"condition": condition}
    anomaly = None
    if split == "anomaly":
        anomaly, tags["anomaly"] = _extract(canvas.labels, anomalies)
        canvas.labels[anomaly != 0] = IGNORE
    return Frame(image, canvas.labels, anomaly, tags)


_recent_frame = lru_cache(KEPT)(_frame)


def check_size(height: int, width: int) -> None:
    """Raise ValueError for a frame that cannot be drawn, or not in the memory of most machines."""
    if min(height, width) < 32:
        raise ValueError(f"toytown is drawn from 32x32 on, not at {height}x{width}")
    if height * width > LARGEST:
        raise ValueError(f"toytown is drawn up to {LARGEST} pixels, not at {height}x{width}")


def check_images(images: int) -> None:
    """Raise ValueError for a number of frames that is none, or more than anybody looks at."""
    if not 1 <= images <= MOST:
        raise ValueError(f"images is {images}, wanted at least 1 and at most {MOST}")


def _as_drawn(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the image: a decoder where it is drawn already; unlike a lambda it can be sent to another process."""
    return image


def _anomalies(dice: Dice, street: Street) -> list[Anomaly]:
    """Return none to three anomalies, most of them on the road."""
    number = dice.pick((0, 1, 1, 1, 1, 2, 2, 2, 3, 3))
    things = []
    for _ in range(number):
        on_road = dice.chance(0.75)
        x = dice.between(street.left + 0.5, street.right - 0.5) if on_road else street.right + dice.between(0.3, 2.5)
        near = dice.between(0.0, 1.0)
        things.append(Anomaly(dice, x, 6.5 + 22.0 * near * near))
    return things


def _extract(labels: NDArray[np.uint8], anomalies: Sequence[Anomaly]) -> tuple[NDArray[np.uint8], str]:
    """uint8 [H, W] of 0, 1 and a border of 255 around each anomaly, and the kind of the largest one."""
    sizes = Counter({thing: int((labels == FIRST + thing).sum()) for thing in range(len(anomalies))})
    seen = [thing for thing, size in sizes.most_common() if size >= LEAST]
    inside = np.isin(labels, [FIRST + thing for thing in seen])
    anomaly = np.where(labels >= FIRST, np.uint8(IGNORE), np.uint8(0))
    anomaly[_grown(inside, max(2, labels.shape[0] // 64))] = IGNORE
    anomaly[inside] = 1
    anomaly[(labels == IGNORE) & (anomaly == 0)] = IGNORE  # the bonnet is nobody's anomaly
    return anomaly, anomalies[seen[0]].kind if seen else "none"


def _grown(mask: Bools, reach: int) -> Bools:
    """Bool [H, W]: the mask and all within ``reach`` pixels beside, above or below."""
    for axis in (0, 1):
        wide = mask.copy()
        for shift in range(1, reach + 1):
            ahead, behind = [slice(None)] * 2, [slice(None)] * 2
            ahead[axis], behind[axis] = slice(shift, None), slice(None, -shift)
            wide[tuple(ahead)] |= mask[tuple(behind)]
            wide[tuple(behind)] |= mask[tuple(ahead)]
        mask = wide
    return mask
