"""Filters and resampling, compiled. Sums run in the order of the library's, so that they are equal to the last bit.

The order matters where a picture is flat: the weights add up to 1 only almost, the result is cut off to a whole grey
level, and a saturated sky would be 254 instead of 255.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bench.core.compiled import compiled

Floats = NDArray[np.float64]
UNIT = np.arange(256) / 255.0  # float64: what the library computes from each grey level


@compiled
def tabulate(image: NDArray[np.uint8], table: NDArray[Any], out: NDArray[Any]) -> None:
    """``out[...] = table[image]`` for [H, W] and 256 values of any kind; NumPy takes five times as long."""
    height, width = image.shape
    for y in range(height):
        for x in range(width):
            out[y, x] = table[image[y, x]]


def gaussian_image(image: NDArray[np.uint8], sigma: float) -> NDArray[np.uint8]:
    """uint8 [H, W, C] in and out: image / 255, ``scipy.ndimage.gaussian_filter`` with mode "nearest", times 255."""
    weights = _gauss(sigma, 4.0)
    reach = len(weights) - 1
    out = np.empty_like(image)
    rows = _indices(image.shape[0], reach, "nearest")
    _smooth_image(image.reshape(len(image), -1), image.shape[2], UNIT, weights, rows, out.reshape(len(image), -1))
    return out


def gaussian_plane(
    plane: Floats, sigma: tuple[float, float], *, truncate: float, mode: Literal["nearest", "reflect"], single: bool
) -> Floats:
    """float64 [H, W] in and out: ``scipy.ndimage.gaussian_filter``. ``single``: as of float32, rounded in between."""
    down, across = _gauss(sigma[0], truncate), _gauss(sigma[1], truncate)
    height, width = plane.shape
    out = np.empty_like(plane)
    rows, columns = _indices(height, len(down) - 1, mode), _indices(width, len(across) - 1, mode)
    _smooth_plane(plane, down, across, rows, columns, single, out)
    return out


def _gauss(sigma: float, truncate: float) -> Floats:
    """float64 weights at distance 0, 1, ... up to ``truncate`` standard deviations."""
    reach = int(truncate * sigma + 0.5)
    weights = np.exp(-0.5 / (sigma * sigma) * np.arange(-reach, reach + 1) ** 2)
    return np.ascontiguousarray((weights / weights.sum())[reach:])


def _indices(size: int, reach: int, mode: Literal["nearest", "reflect"]) -> NDArray[np.int64]:
    """int64: the index of the value, among ``size``, that stands at -reach, ..., size - 1 + reach."""
    places = np.arange(-reach, size + reach)
    if mode == "nearest":
        return np.clip(places, 0, size - 1)
    places %= 2 * size
    return np.minimum(places, 2 * size - 1 - places)


@compiled
def _accumulate(out: Floats, first: Floats, second: Floats, weight: float) -> None:
    for index in range(out.size):
        out[index] += (first[index] + second[index]) * weight


@compiled
def _smooth_image(
    image: NDArray[np.uint8],
    channels: int,
    unit: Floats,
    weights: Floats,
    rows: NDArray[np.int64],
    out: NDArray[np.uint8],
) -> None:
    height, length = image.shape
    reach = weights.size - 1
    span = 2 * reach + 1
    edge = reach * channels
    lines = np.empty((span, length))  # the rows that the window covers, as float64
    padded = np.empty(length + 2 * edge)
    sums = np.empty(length)
    for index in range(span - 1):
        for column in range(length):
            lines[index, column] = unit[image[rows[index], column]]
    for y in range(height):
        newest = (y + span - 1) % span
        for column in range(length):
            lines[newest, column] = unit[image[rows[y + span - 1], column]]
        middle = padded[edge : edge + length]
        centre = lines[(y + reach) % span]
        for column in range(length):
            middle[column] = centre[column] * weights[0]
        for far in range(reach, 0, -1):
            _accumulate(middle, lines[(y + reach - far) % span], lines[(y + reach + far) % span], weights[far])
        for column in range(edge):
            padded[column] = middle[column % channels]
            padded[edge + length + column] = middle[length - channels + column % channels]
        for column in range(length):
            sums[column] = middle[column] * weights[0]
        for far in range(reach, 0, -1):
            step = far * channels
            _accumulate(sums, padded[edge - step :], padded[edge + step :], weights[far])
        for column in range(length):
            out[y, column] = np.uint8(min(max(sums[column], 0.0), 1.0) * 255.0)


@compiled
def _smooth_plane(
    plane: Floats,
    down: Floats,
    across: Floats,
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    single: bool,
    out: Floats,
) -> None:
    height, width = plane.shape
    reach, edge = down.size - 1, across.size - 1
    padded = np.empty(width + 2 * edge)
    middle = padded[edge : edge + width]
    for y in range(height):
        here = plane[y]
        for column in range(width):
            middle[column] = here[column] * down[0]
        for far in range(reach, 0, -1):
            _accumulate(middle, plane[rows[y + reach - far]], plane[rows[y + reach + far]], down[far])
        if single:
            for column in range(width):
                middle[column] = np.float64(np.float32(middle[column]))
        for column in range(edge):
            padded[column] = middle[columns[column]]
            padded[edge + width + column] = middle[columns[edge + width + column]]
        sums = out[y]
        for column in range(width):
            sums[column] = middle[column] * across[0]
        for far in range(edge, 0, -1):
            _accumulate(sums, padded[edge - far :], padded[edge + far :], across[far])
        if single:
            for column in range(width):
                sums[column] = np.float64(np.float32(sums[column]))


def motion(size: tuple[int, ...], radius: int, sigma: float, angle: float) -> tuple[NDArray[np.int64], Floats]:
    """Shifts (down, right) in pixels, int64 [n, 2], and weights of a blur along ``angle`` degrees, for H, W = ``size``.

    It ends where a shift leaves the image; the weights of the rest are lost, so that a small image gets darker.
    """
    length = 2 * radius + 1
    weights = np.exp(-(np.arange(length) ** 2) / (2 * sigma**2)) / (np.sqrt(2 * np.pi) * sigma)
    weights = weights / np.sum(weights)
    along = (length * np.sin(np.deg2rad(angle)), length * np.cos(np.deg2rad(angle)))
    whole = math.hypot(*along)
    shifts: list[tuple[int, int]] = []
    for index in range(length):
        down, right = (-math.ceil(index * part / whole - 0.5) for part in along)
        if abs(down) >= size[0] or abs(right) >= size[1]:
            break
        shifts.append((down, right))
    return np.array(shifts, np.int64), weights[: len(shifts)]


def move_image(image: NDArray[np.uint8], shifts: NDArray[np.int64], weights: Floats) -> NDArray[np.uint8]:
    """uint8 [H, W, C] in and out: the weighted sum of shifted images, cut off; the border is repeated outwards."""
    out = np.empty_like(image)
    reach = int(np.abs(shifts[:, 1]).max())
    _move_image(image.reshape(len(image), -1), image.shape[2], reach, shifts, weights, out.reshape(len(image), -1))
    return out


@compiled
def _add_scaled(out: Floats, line: Floats, weight: float) -> None:
    for index in range(out.size):
        out[index] += weight * line[index]


@compiled
def _move_image(
    image: NDArray[np.uint8],
    channels: int,
    reach: int,
    shifts: NDArray[np.int64],
    weights: Floats,
    out: NDArray[np.uint8],
) -> None:
    height, length = image.shape
    edge = reach * channels
    least = most = 0
    for index in range(len(shifts)):
        least, most = min(least, shifts[index, 0]), max(most, shifts[index, 0])
    span = most - least + 1
    lines = np.empty((span, length + 2 * edge))  # the rows that the shifts reach, as float64 and padded
    sums = np.empty(length)
    for step in range(height + span - 1):
        line = lines[step % span]
        source = image[min(max(step - most, 0), height - 1)]
        for column in range(length):
            line[edge + column] = np.float64(source[column])
        for column in range(edge):
            line[column] = line[edge + column % channels]
            line[edge + length + column] = line[edge + length - channels + column % channels]
        y = step - span + 1
        if y < 0:
            continue
        sums[:] = 0.0
        for index in range(len(shifts)):
            start = edge - shifts[index, 1] * channels
            _add_scaled(sums, lines[(y - shifts[index, 0] + most) % span, start:], weights[index])
        for column in range(length):
            out[y, column] = np.uint8(min(max(sums[column], 0.0), 255.0))


def move_plane(plane: Floats, shifts: NDArray[np.int64], weights: Floats) -> Floats:
    """float64 [H, W] in and out: the weighted sum of shifted planes; the border is repeated outwards."""
    reach = int(np.abs(shifts[:, 1]).max())
    out = np.zeros_like(plane)
    _move_plane(np.pad(plane, ((0, 0), (reach, reach)), mode="edge"), reach, shifts, weights, out)
    return out


@compiled
def _move_plane(padded: Floats, reach: int, shifts: NDArray[np.int64], weights: Floats, out: Floats) -> None:
    height = out.shape[0]
    for y in range(height):
        for index in range(len(shifts)):
            source = min(max(y - shifts[index, 0], 0), height - 1)
            _add_scaled(out[y], padded[source, reach - shifts[index, 1] :], weights[index])


Taps = tuple[NDArray[np.int64], Floats]  # for every place the lower neighbour, and the weights [n, 2] of both


def enlarge(size: int, factor: float) -> Taps:
    """The taps of ``scipy.ndimage.zoom(order=1)`` for the middle ``ceil(size / factor)`` of ``size`` values.

    The result has ``size`` places or a few more. scipy takes what rounding puts beyond the last value for outside,
    which is 0: both weights are 0 there.
    """
    part = math.ceil(size / factor)
    count = round(part * factor)
    places = np.arange(count) * ((part - 1) / (count - 1))
    lower = np.floor(places)
    weights = np.stack([1.0 - (places - lower), places - lower], axis=1)
    weights[places == part - 1] = (0.0, 1.0)
    weights[places > part - 1] = 0.0
    return np.minimum(lower, part - 2).astype(np.int64) + (size - part) // 2, weights


def enlarge_plane(plane: Floats, factor: float) -> Floats:
    """float64: the middle of a plane [H, W], enlarged to [H, W] or a little more, bilinearly."""
    (rows, down), (columns, across) = enlarge(plane.shape[0], factor), enlarge(plane.shape[1], factor)
    out = np.empty((len(rows), len(columns)))
    _enlarge_plane(plane, rows, down, columns, across, out)
    return out


@compiled
def _enlarge_plane(
    plane: Floats,
    rows: NDArray[np.int64],
    down: Floats,
    columns: NDArray[np.int64],
    across: Floats,
    out: Floats,
) -> None:
    for y in range(rows.size):
        upper, lower = plane[rows[y]], plane[rows[y] + 1]
        first, second = down[y, 0], down[y, 1]
        for x in range(columns.size):
            left = columns[x]
            a, b = across[x, 0], across[x, 1]
            total = upper[left] * first * a + upper[left + 1] * first * b
            out[y, x] = total + lower[left] * second * a + lower[left + 1] * second * b
