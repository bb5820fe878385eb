"""A painter whose pixels are the same on every machine and in every year.

Only +, -, *, /, comparisons and truncation are used, each rounded as IEEE 754 prescribes; random numbers are
``RandomState.random_sample`` of a Mersenne Twister, a stream that NumPy has frozen (NEP 19). Drawing libraries and the
transcendental functions of libm change between versions, so neither is called. Screen coordinates are fractions of the
image height, x to the right, y down, so that one composition can be painted at any size.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")
Colour = tuple[float, float, float]  # RGB, 0..255
Point = tuple[float, float]
Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

FAR = 4000.0  # metres; the depth of the sky


class Dice:
    """Random choices of one named stream; the same names give the same choices for ever."""

    def __init__(self, *names: object) -> None:
        seed = hashlib.sha256("/".join(map(str, names)).encode()).digest()
        self._state = np.random.RandomState(np.frombuffer(seed, dtype="<u4").astype(np.uint32))

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * float(self._state.random_sample())

    def chance(self, probability: float) -> bool:
        return float(self._state.random_sample()) < probability

    def pick(self, options: Sequence[T]) -> T:
        return options[int(float(self._state.random_sample()) * len(options))]

    def count(self, low: int, high: int) -> int:
        """Return an integer in low..high, both included."""
        return low + int(float(self._state.random_sample()) * (high - low + 1))

    def tint(self, colour: Colour, spread: float) -> Colour:
        """Return a colour a little lighter or darker and a little off its hue."""
        light = self.between(-spread, spread)
        red, green, blue = (self.between(-spread / 3, spread / 3) for _ in range(3))
        return colour[0] + light + red, colour[1] + light + green, colour[2] + light + blue

    def field(self, *shape: int) -> Floats:
        """float32 of that shape in [0, 1]."""
        return self._state.random_sample(shape).astype(np.float32)


def enlarge(lattice: Floats, height: int, width: int) -> Floats:
    """float32 [height, width]: the lattice [n, m] stretched over the whole area, linear between its nodes."""
    rows, cols = lattice.shape
    y = (np.arange(height, dtype=np.float32) + np.float32(0.5)) * np.float32((rows - 1) / height)
    x = (np.arange(width, dtype=np.float32) + np.float32(0.5)) * np.float32((cols - 1) / width)
    top, left = np.minimum(y.astype(np.int32), rows - 2), np.minimum(x.astype(np.int32), cols - 2)
    down, right = (y - top.astype(np.float32))[:, None], x - left.astype(np.float32)
    stripes = lattice[top] + (lattice[top + 1] - lattice[top]) * down
    begin = stripes[:, left]
    result: Floats = begin + (stripes[:, left + 1] - begin) * right
    return result


def blur(image: Floats) -> Floats:
    """Return [H, W, ...] under weights 1/4, 1/2, 1/4 along both axes; the outermost rows and columns stay."""
    half, quarter = np.float32(0.5), np.float32(0.25)
    out = image.copy()
    out[1:-1] = image[1:-1] * half + (image[:-2] + image[2:]) * quarter
    result: Floats = out.copy()
    result[:, 1:-1] = out[:, 1:-1] * half + (out[:, :-2] + out[:, 2:]) * quarter
    return result


class Canvas:
    """The picture so far: colour, class, distance and the share by which each pixel shines by itself."""

    def __init__(self, height: int, width: int, dark: bool) -> None:
        self.height, self.width, self.dark = height, width, dark
        self.image = np.zeros((height, width, 3), np.float32)  # 0..255 in plain daylight
        self.labels = np.full((height, width), 255, np.uint8)
        self.depth = np.full((height, width), FAR, np.float32)  # metres
        self.glow = np.zeros((height, width), np.float32)  # 1: keeps its colour however dark it is
        self.y = (np.arange(height, dtype=np.float64) + 0.5) / height
        self.x = (np.arange(width, dtype=np.float64) + 0.5) / height

    @property
    def aspect(self) -> float:
        return self.width / self.height

    def box(self, left: float, top: float, right: float, bottom: float) -> tuple[slice, slice] | None:
        """Rows and columns of the pixels whose centres lie inside; None where there are none."""
        scale = self.height
        # int() truncates towards zero, so what lies before zero is moved there first.
        x0 = int(left * scale + 0.5) if left > 0.0 else 0
        y0 = int(top * scale + 0.5) if top > 0.0 else 0
        x1 = int(right * scale + 0.5) if right > 0.0 else 0
        y1 = int(bottom * scale + 0.5) if bottom > 0.0 else 0
        if x1 > self.width:
            x1 = self.width
        if y1 > self.height:
            y1 = self.height
        return (slice(y0, y1), slice(x0, x1)) if x1 > x0 and y1 > y0 else None

    def put(
        self, area: tuple[slice, slice], mask: Bools | None, colour: Colour, label: int, depth: float, glow: float
    ) -> None:
        if mask is None:
            self.image[area] = colour
            self.labels[area], self.depth[area], self.glow[area] = label, depth, glow
        else:
            self.image[area][mask] = colour
            self.labels[area][mask], self.depth[area][mask], self.glow[area][mask] = label, depth, glow

    def rect(
        self, left: float, top: float, right: float, bottom: float, colour: Colour, label: int, depth: float,
        glow: float = 0.0,
    ) -> None:  # fmt: skip
        if area := self.box(left, top, right, bottom):
            self.put(area, None, colour, label, depth, glow)

    def ellipse(
        self, cx: float, cy: float, rx: float, ry: float, colour: Colour, label: int, depth: float, glow: float = 0.0,
        hollow: float = 0.0,
    ) -> None:  # fmt: skip
        """``hollow`` is the radius of the hole as a fraction of the ellipse's own."""
        if area := self.box(cx - rx, cy - ry, cx + rx, cy + ry):
            dx, dy = (self.x[area[1]] - cx) / rx, (self.y[area[0]] - cy) / ry
            distance = (dy * dy)[:, None] + dx * dx
            mask = distance <= 1.0
            if hollow:
                mask &= distance >= hollow * hollow
            self.put(area, mask, colour, label, depth, glow)

    def polygon(self, points: Sequence[Point], colour: Colour, label: int, depth: float, glow: float = 0.0) -> None:
        """Fill a convex polygon; its corners come in either order."""
        across, down = [p[0] for p in points], [p[1] for p in points]
        if area := self.box(min(across), min(down), max(across), max(down)):
            self.put(area, self.inside(area, points), colour, label, depth, glow)

    def inside(self, area: tuple[slice, slice], points: Sequence[Point]) -> Bools:
        """Bool [h, w]: the pixels of the area in a convex polygon."""
        x, y = self.x[area[1]], self.y[area[0]]
        edges = list(zip(points, [*points[1:], points[0]], strict=True))
        twice = 0.0
        for a, b in edges:  # not sum(): since Python 3.12 it rounds floats otherwise
            twice += a[0] * b[1] - b[0] * a[1]
        sign = 1.0 if twice > 0 else -1.0
        mask = np.ones((len(y), len(x)), np.bool_)
        for a, b in edges:
            run, rise = (b[0] - a[0]) * sign, (b[1] - a[1]) * sign
            mask &= ((y - a[1]) * run)[:, None] >= (x - a[0]) * rise
        return mask

    def line(
        self, start: Point, end: Point, thickness: float, colour: Colour, label: int, depth: float, glow: float = 0.0
    ) -> None:
        """Draw a straight stroke, at least as thick as a pixel."""
        reach = max(thickness, 1.0 / self.height) / 2
        run, rise = end[0] - start[0], end[1] - start[1]
        length = run * run + rise * rise
        if length <= 0.0:
            return
        left, right = (start[0], end[0]) if run > 0 else (end[0], start[0])
        top, bottom = (start[1], end[1]) if rise > 0 else (end[1], start[1])
        if area := self.box(left - reach, top - reach, right + reach, bottom + reach):
            x, y = self.x[area[1]] - start[0], (self.y[area[0]] - start[1])[:, None]
            beside, along = y * run - x * rise, y * rise + x * run
            mask = (beside * beside <= reach * reach * length) & (along >= 0.0) & (along <= length)
            self.put(area, mask, colour, label, depth, glow)

    def shade(self, cx: float, cy: float, rx: float, ry: float, factor: float) -> None:
        """Darken what is already there, such as the ground under a car."""
        if area := self.box(cx - rx, cy - ry, cx + rx, cy + ry):
            dx, dy = (self.x[area[1]] - cx) / rx, (self.y[area[0]] - cy) / ry
            self.image[area][(dy * dy)[:, None] + dx * dx <= 1.0] *= np.float32(factor)
