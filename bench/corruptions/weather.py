"""Weather: snow, frost, fog, and spatter on the lens."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray

from bench.core.compiled import compiled
from bench.corruptions.draws import drawing, fill_normal, fill_uniform
from bench.corruptions.extra import opencv, texture
from bench.corruptions.filters import UNIT, enlarge_plane, gaussian_plane, motion, move_plane, tabulate

Image = NDArray[np.uint8]
Floats = NDArray[np.float64]


def _normals(size: tuple[int, ...], mean: float, scale: float, random: RandomState) -> Floats:
    plane = np.empty(size)
    with drawing(random) as stream:
        fill_normal(*stream, mean, scale, plane.reshape(-1))
    return plane


def snow(image: Image, severity: int, random: RandomState) -> Image:
    """Add flakes in two layers: enlarged noise above a threshold, blurred in the direction of their fall."""
    mean, scale, factor, threshold, radius, sigma, kept = (
        (0.1, 0.3, 3.0, 0.5, 10, 4, 0.8),
        (0.2, 0.3, 2.0, 0.5, 12, 4, 0.7),
        (0.55, 0.3, 4.0, 0.9, 12, 8, 0.7),
        (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
        (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
    )[severity - 1]
    cv2 = opencv("snow")
    height, width = image.shape[:2]
    flakes = enlarge_plane(_normals(image.shape[:2], mean, scale, random), factor)
    flakes[flakes < threshold] = 0.0
    np.minimum(flakes, 1.0, out=flakes)
    flakes = move_plane(flakes, *motion(flakes.shape, radius, sigma, random.uniform(-135, -45)))
    layer = np.rint(flakes[:height, :width] * 255.0).astype(np.uint8)
    values = np.empty(image.shape, np.float32)
    tabulate(image.reshape(height, -1), UNIT.astype(np.float32), values.reshape(height, -1))
    grey = cv2.cvtColor(values, cv2.COLOR_RGB2GRAY)
    out = np.empty_like(image)
    _whiten(values, grey, layer, UNIT, np.float32(kept), np.float32(1 - kept), out)
    return out


def frost(image: Image, severity: int, random: RandomState) -> Image:
    """Return the image, darker, with a crop of one of five pictures of ice added."""
    kept, added = ((1.0, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))[severity - 1]
    height, width = image.shape[:2]
    ice = _ice(int(random.randint(5)), height, width)
    top = int(random.randint(0, ice.shape[0] - height))
    left = int(random.randint(0, ice.shape[1] - width))
    levels = np.arange(256)
    table = np.clip(kept * levels[:, None] + added * levels, 0, 255).astype(np.uint8)
    out = np.empty_like(image)
    _look_up(image, ice[top : top + height, left : left + width], table, out)
    return out


@lru_cache(maxsize=5)
def _ice(index: int, height: int, width: int) -> NDArray[np.uint8]:
    """uint8 [h, w, 3], BGR, read-only, kept: a texture, a tenth or more larger than the image that it covers."""
    cv2 = opencv("frost")
    picture = texture(index)
    missing = [side / length for side, length in zip((height, width), picture.shape, strict=False) if length < side]
    factor = max(missing, default=1) * 1.1
    size = tuple(int(np.ceil(side * factor)) for side in (picture.shape[1], picture.shape[0]))
    resized: NDArray[np.uint8] = cv2.resize(picture, dsize=size, interpolation=cv2.INTER_CUBIC)
    resized.setflags(write=False)
    return resized


def fog(image: Image, severity: int, random: RandomState) -> Image:
    """Return the image under a cloud, drawn by the diamond-square algorithm on the next power of two and cropped."""
    density, decay = ((1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4))[severity - 1]
    size = 1 << (max(image.shape[:2]) - 1).bit_length()
    cloud = np.empty((size, size))
    with drawing(random) as stream:
        least, most = _cloud(*stream[:4], decay, cloud)
    largest = float(UNIT[image.max()])
    out = np.empty_like(image)
    _veil(image, UNIT, cloud, least, most - least, density, largest, out)
    return out


def spatter(image: Image, severity: int, random: RandomState) -> Image:
    """Return the image under drops of water up to severity 3, under mud from there on.

    Where an image is so small that no drop falls on it, the library divides by zero and gives a black image; so do we.
    """
    mean, scale, sigma, threshold, strength, mud = (
        (0.65, 0.3, 4.0, 0.69, 0.6, False),
        (0.65, 0.3, 3.0, 0.68, 0.6, False),
        (0.65, 0.3, 2.0, 0.68, 0.5, False),
        (0.65, 0.3, 1.0, 0.65, 1.5, True),
        (0.67, 0.4, 1.0, 0.65, 1.5, True),
    )[severity - 1]
    liquid = _normals(image.shape[:2], mean, scale, random)
    liquid = gaussian_plane(liquid, (sigma, sigma), truncate=4.0, mode="nearest", single=False)
    liquid[liquid < threshold] = 0.0
    out = np.empty_like(image)
    if mud:
        wet = (liquid > threshold).astype(np.float64)
        wet = gaussian_plane(wet, (strength, strength), truncate=4.0, mode="nearest", single=True)
        wet[wet < 0.8] = 0.0
        brown = np.array([63 / 255.0, 42 / 255.0, 20 / 255.0])
        _soil(image, UNIT.astype(np.float32), wet.astype(np.float32), brown, out)
        return out
    drops = _drops((liquid * 255).astype(np.uint8))
    largest = drops.max()
    if largest == 0:
        out[:] = 0
        return out
    drops /= largest
    drops *= np.float32(strength)
    turquoise = np.array([175 / 255.0, 238 / 255.0, 238 / 255.0], np.float32)
    _wet(image, UNIT.astype(np.float32), drops, turquoise, out)
    return out


def _drops(liquid: NDArray[np.uint8]) -> NDArray[np.float32]:
    """float32 [H, W], from 0: the amount of water, with a relief along the rims."""
    cv2 = opencv("spatter")
    distance = cv2.distanceTransform(255 - cv2.Canny(liquid, 50, 150), cv2.DIST_L2, 5)
    _, distance = cv2.threshold(distance, 20, 20, cv2.THRESH_TRUNC)
    relief = cv2.equalizeHist(cv2.blur(distance, (3, 3)).astype(np.uint8))
    relief = cv2.filter2D(relief, cv2.CV_8U, np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]]))
    drops: NDArray[np.float32] = liquid * cv2.blur(relief, (3, 3)).astype(np.float32)
    return drops


@compiled
def _whiten(
    values: NDArray[np.float32],
    grey: NDArray[np.float32],
    layer: NDArray[np.uint8],
    unit: Floats,
    kept: np.float32,
    rest: np.float32,
    out: NDArray[np.uint8],
) -> None:
    height, width, channels = values.shape
    for y in range(height):
        for x in range(width):
            bright = np.float32(grey[y, x] * np.float32(1.5) + np.float32(0.5))
            falling = unit[layer[y, x]]
            turned = unit[layer[height - 1 - y, width - 1 - x]]
            for channel in range(channels):
                value = values[y, x, channel]
                faded = np.float32(kept * value) + np.float32(rest * max(value, bright))
                total = np.float64(np.float32(faded)) + falling + turned
                out[y, x, channel] = np.uint8(min(max(total, 0.0), 1.0) * 255.0)


@compiled
def _look_up(
    image: NDArray[np.uint8], ice: NDArray[np.uint8], table: NDArray[np.uint8], out: NDArray[np.uint8]
) -> None:
    height, width, channels = image.shape
    for y in range(height):
        for x in range(width):
            for channel in range(channels):
                out[y, x, channel] = table[image[y, x, channel], ice[y, x, channels - 1 - channel]]


@compiled
def _cloud(
    key: NDArray[np.uint32],
    carry: NDArray[np.uint32],
    batch: Floats,
    cursor: NDArray[np.int64],
    decay: float,
    cloud: Floats,
) -> tuple[float, float]:
    """Fill a square whose side is a power of two, edges joined; return its least and largest value."""
    size = len(cloud)
    cloud[0, 0] = 0.0
    least = most = 0.0
    step, wobble = size, 100.0
    chances = np.empty(size)
    while step >= 2:
        half = step // 2
        count = size // step
        line = chances[:count]
        for y in range(0, size, step):  # the middle of each square
            fill_uniform(key, carry, batch, cursor, -wobble, 2.0 * wobble, line)
            below = (y + step) % size
            for index in range(count):
                x = index * step
                right = (x + step) % size
                total = (cloud[y, x] + cloud[below, x]) + (cloud[y, right] + cloud[below, right])
                value = total / 4.0 + wobble * line[index]
                cloud[y + half, x + half] = value
                least, most = min(least, value), max(most, value)
        for y in range(0, size, step):  # the middle of each upper side
            fill_uniform(key, carry, batch, cursor, -wobble, 2.0 * wobble, line)
            for index in range(count):
                x = index * step
                vertical = cloud[y + half, x + half] + cloud[(y - half) % size, x + half]
                total = vertical + (cloud[y, x] + cloud[y, (x + step) % size])
                value = total / 4.0 + wobble * line[index]
                cloud[y, x + half] = value
                least, most = min(least, value), max(most, value)
        for y in range(0, size, step):  # the middle of each left side
            fill_uniform(key, carry, batch, cursor, -wobble, 2.0 * wobble, line)
            for index in range(count):
                x = index * step
                level = cloud[y + half, x + half] + cloud[y + half, (x - half) % size]
                total = level + (cloud[y, x] + cloud[(y + step) % size, x])
                value = total / 4.0 + wobble * line[index]
                cloud[y + half, x] = value
                least, most = min(least, value), max(most, value)
        step = half
        wobble /= decay
    return least, most


@compiled
def _veil(
    image: NDArray[np.uint8],
    unit: Floats,
    cloud: Floats,
    least: float,
    span: float,
    density: float,
    largest: float,
    out: NDArray[np.uint8],
) -> None:
    height, width, channels = image.shape
    whole = largest + density
    for y in range(height):
        for x in range(width):
            veil = density * ((cloud[y, x] - least) / span)
            for channel in range(channels):
                value = (unit[image[y, x, channel]] + veil) * largest / whole
                out[y, x, channel] = np.uint8(min(max(value, 0.0), 1.0) * 255.0)


@compiled
def _soil(
    image: NDArray[np.uint8],
    unit: NDArray[np.float32],
    wet: NDArray[np.float32],
    brown: Floats,
    out: NDArray[np.uint8],
) -> None:
    height, width, channels = image.shape
    for y in range(height):
        for x in range(width):
            dry = np.float32(np.float32(1.0) - wet[y, x])
            for channel in range(channels):
                kept = np.float32(unit[image[y, x, channel]] * dry)
                value = np.float64(kept) + brown[channel] * np.float64(wet[y, x])
                out[y, x, channel] = np.uint8(min(max(value, 0.0), 1.0) * 255.0)


@compiled
def _wet(
    image: NDArray[np.uint8],
    unit: NDArray[np.float32],
    drops: NDArray[np.float32],
    tint: NDArray[np.float32],
    out: NDArray[np.uint8],
) -> None:
    height, width, channels = image.shape
    for y in range(height):
        for x in range(width):
            for channel in range(channels):
                value = unit[image[y, x, channel]] + np.float32(drops[y, x] * tint[channel])
                value = min(max(value, np.float32(0.0)), np.float32(1.0))
                out[y, x, channel] = np.uint8(value * np.float32(255.0))
