"""Blur: out of focus, through glass, in motion, while zooming, Gaussian."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray

from bench.core.compiled import compiled
from bench.corruptions.extra import opencv
from bench.corruptions.filters import UNIT, enlarge, gaussian_image, motion, move_image, tabulate

Image = NDArray[np.uint8]


def gaussian_blur(image: Image, severity: int, random: RandomState) -> Image:
    return gaussian_image(image, (1.0, 2.0, 3.0, 4.0, 6.0)[severity - 1])


def defocus_blur(image: Image, severity: int, random: RandomState) -> Image:
    """Return the image out of focus. OpenCV convolves by Fourier transforms: its rounding is part of the result."""
    cv2 = opencv("defocus_blur")
    kernel = _disk(*((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))[severity - 1])
    out = np.empty_like(image)
    values = np.empty(image.shape[:2])
    for channel in range(3):
        tabulate(image[:, :, channel], UNIT, values)
        _cut_off(cv2.filter2D(values, -1, kernel), out[:, :, channel])
    return out


@lru_cache(maxsize=5)
def _disk(radius: int, alias: float) -> NDArray[np.float32]:
    """float32 [k, k], k odd: a disk of weights, its rim softened by a Gaussian of ``alias`` pixels."""
    cv2 = opencv("defocus_blur")
    reach, window = (8, (3, 3)) if radius <= 8 else (radius, (5, 5))
    distance = np.arange(-reach, reach + 1) ** 2
    disk = (distance[:, None] + distance <= radius**2).astype(np.float32)
    disk /= np.sum(disk)
    softened: NDArray[np.float32] = cv2.GaussianBlur(disk, ksize=window, sigmaX=alias)
    softened.setflags(write=False)
    return softened


def motion_blur(image: Image, severity: int, random: RandomState) -> Image:
    radius, sigma = ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))[severity - 1]
    angle = random.uniform(-45, 45)
    return move_image(image, *motion(image.shape[:2], radius, sigma, angle))


def glass_blur(image: Image, severity: int, random: RandomState) -> Image:
    """Blur, take every pixel from a place nearby, blur again.

    The library means to swap two pixels and, assigning views, copies one. From the last pixel to the first, so that a
    source may have been overwritten before.
    """
    sigma, reach, rounds = ((0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2))[severity - 1]
    shuffled = gaussian_image(image, sigma)
    height, width = image.shape[:2]
    pixels = max(height - 2 * reach, 0) * max(width - 2 * reach, 0)
    for _ in range(rounds):
        _shuffle(shuffled, reach, random.randint(-reach, reach, size=(pixels, 2), dtype=np.int32))
    return gaussian_image(shuffled, sigma)


def zoom_blur(image: Image, severity: int, random: RandomState) -> Image:
    """Return the mean of the image and of ever larger versions of its middle."""
    stop, step = ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03))[severity - 1]
    factors = [float(factor) for factor in np.arange(1, stop, step)]
    height, width = image.shape[:2]
    down = [enlarge(height, factor) for factor in factors]
    across = [enlarge(width, factor) for factor in factors]
    out = np.empty_like(image)
    _zoom(
        image,
        UNIT.astype(np.float32),
        np.stack([lower[:height] for lower, _ in down]),
        np.stack([weights[:height] for _, weights in down]),
        np.stack([lower[:width] for lower, _ in across]),
        np.stack([weights[:width] for _, weights in across]),
        out,
    )
    return out


@compiled
def _cut_off(values: NDArray[np.float64], out: NDArray[np.uint8]) -> None:
    height, width = values.shape
    for y in range(height):
        for x in range(width):
            out[y, x] = np.uint8(min(max(values[y, x], 0.0), 1.0) * 255.0)


@compiled
def _shuffle(image: NDArray[np.uint8], reach: int, offsets: NDArray[np.int32]) -> None:
    height, width, channels = image.shape
    index = 0
    for y in range(height - reach, reach, -1):
        for x in range(width - reach, reach, -1):
            source_y, source_x = y + offsets[index, 1], x + offsets[index, 0]
            for channel in range(channels):
                image[y, x, channel] = image[source_y, source_x, channel]
            index += 1


@compiled
def _zoom(
    image: NDArray[np.uint8],
    unit: NDArray[np.float32],
    rows: NDArray[np.int64],
    down: NDArray[np.float64],
    columns: NDArray[np.int64],
    across: NDArray[np.float64],
    out: NDArray[np.uint8],
) -> None:
    """The library's layers are float32, and are added in float32, after sums in float64."""
    height, width, channels = image.shape
    length = width * channels
    layers = len(rows)
    upper, lower = np.empty(length), np.empty(length)
    sums = np.empty(length, np.float32)
    scale = np.float32(layers + 1)
    for y in range(height):
        sums[:] = np.float32(0.0)
        for layer in range(layers):
            row = rows[layer, y]
            above, below = image[row].reshape(-1), image[row + 1].reshape(-1)
            first, second = down[layer, y, 0], down[layer, y, 1]
            for index in range(length):
                upper[index] = np.float64(unit[above[index]]) * first
                lower[index] = np.float64(unit[below[index]]) * second
            for x in range(width):
                start = columns[layer, x] * channels
                a, b = across[layer, x, 0], across[layer, x, 1]
                for channel in range(channels):
                    left, right = start + channel, start + channels + channel
                    total = upper[left] * a + upper[right] * b
                    sums[x * channels + channel] += np.float32(total + lower[left] * a + lower[right] * b)
        own = image[y].reshape(-1)
        target = out[y].reshape(-1)
        for index in range(length):
            value = (unit[own[index]] + sums[index]) / scale
            target[index] = np.uint8(min(max(value, np.float32(0.0)), np.float32(1.0)) * np.float32(255.0))
