"""Damage by cameras and files: exposure, contrast, colour, distortion, fewer pixels, JPEG."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import PIL.Image
from numpy.random import RandomState
from numpy.typing import NDArray

from bench.core import images
from bench.core.compiled import compiled
from bench.corruptions.draws import drawing, fill_uniform
from bench.corruptions.filters import UNIT, gaussian_plane

Image = NDArray[np.uint8]
Floats = NDArray[np.float64]


def brightness(image: Image, severity: int, random: RandomState) -> Image:
    """Return the image with its value in HSV raised."""
    out = np.empty_like(image)
    _recolour(image, UNIT, 1.0, 0.0, (0.1, 0.2, 0.3, 0.4, 0.5)[severity - 1], out)
    return out


def saturate(image: Image, severity: int, random: RandomState) -> Image:
    """Return the image with its saturation in HSV scaled: away up to severity 2, unnaturally high from there on."""
    factor, more = ((0.3, 0.0), (0.1, 0.0), (2.0, 0.0), (5.0, 0.1), (20.0, 0.2))[severity - 1]
    out = np.empty_like(image)
    _recolour(image, UNIT, factor, more, 0.0, out)
    return out


def contrast(image: Image, severity: int, random: RandomState) -> Image:
    """Return the image with every value nearer to the mean of its channel."""
    factor = (0.4, 0.3, 0.2, 0.1, 0.05)[severity - 1]
    means = np.zeros(3)
    _add_up(image, UNIT, means)
    means /= image.shape[0] * image.shape[1]
    tables = (np.clip((UNIT[:, None] - means) * factor + means, 0, 1) * 255).astype(np.uint8)
    out = np.empty_like(image)
    _look_up(image, tables, out)
    return out


def jpeg_compression(image: Image, severity: int, random: RandomState) -> Image:
    file = BytesIO()
    PIL.Image.fromarray(image).save(file, "JPEG", quality=(25, 18, 15, 10, 7)[severity - 1])
    with images.opened(file, ("JPEG",)) as picture:
        return _pixels(picture)


def pixelate(image: Image, severity: int, random: RandomState) -> Image:
    factor = (0.6, 0.5, 0.4, 0.3, 0.25)[severity - 1]
    height, width = image.shape[:2]
    small = PIL.Image.fromarray(image).resize((int(width * factor), int(height * factor)), PIL.Image.Resampling.BOX)
    return _pixels(small.resize((width, height), PIL.Image.Resampling.NEAREST))


def _pixels(picture: PIL.Image.Image, rows: int = 64) -> Image:
    """uint8 [H, W, 3]: in bands that stay in the cache, because Pillow copies a whole picture three times."""
    width, height = picture.size
    out = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        out[top:bottom] = np.asarray(picture.crop((0, top, width, bottom)))
    return out


def elastic_transform(image: Image, severity: int, random: RandomState) -> Image:
    """Return the image with every pixel moved by a smooth random field."""
    strength = (250 * 0.05, 250 * 0.065, 250 * 0.085, 250 * 0.1, 250 * 0.12)[severity - 1]
    height, width = image.shape[:2]
    most = height * 0.005  # in both directions
    field = np.empty((2, height, width))
    with drawing(random) as stream:
        fill_uniform(*stream[:4], -most, most - -most, field.reshape(-1))
    across, down = (
        (gaussian_plane(plane, (height * 0.01, width * 0.01), truncate=3.0, mode="reflect", single=False) * strength)
        for plane in field
    )
    out = np.empty_like(image)
    _displace(image, UNIT.astype(np.float32), down.astype(np.float32), across.astype(np.float32), out)
    return out


@compiled
def _recolour(
    image: NDArray[np.uint8], unit: Floats, factor: float, more: float, lighter: float, out: NDArray[np.uint8]
) -> None:
    """To HSV, change S or V there, and back. ``factor`` 1 leaves S as it is, ``lighter`` 0 leaves V.

    As scikit-image converts: of equal largest channels the last one counts.
    """
    height, width, _ = image.shape
    for y in range(height):
        for x in range(width):
            red, green, blue = unit[image[y, x, 0]], unit[image[y, x, 1]], unit[image[y, x, 2]]
            value = max(red, max(green, blue))
            delta = value - min(red, min(green, blue))
            hue = saturation = 0.0
            if delta != 0.0:
                saturation = delta / value
                if blue == value:
                    hue = 4.0 + (red - green) / delta
                elif green == value:
                    hue = 2.0 + (blue - red) / delta
                else:
                    hue = (green - blue) / delta
                hue /= 6.0
                if hue < 0.0:
                    hue += 1.0
            if factor != 1.0:
                saturation = min(max(saturation * factor + more, 0.0), 1.0)
            value = min(max(value + lighter, 0.0), 1.0)
            sector = int(hue * 6.0)
            part = hue * 6.0 - sector
            low = value * (1.0 - saturation)
            falling = value * (1.0 - part * saturation)
            rising = value * (1.0 - (1.0 - part) * saturation)
            if sector == 1:
                red, green, blue = falling, value, low
            elif sector == 2:
                red, green, blue = low, value, rising
            elif sector == 3:
                red, green, blue = low, falling, value
            elif sector == 4:
                red, green, blue = rising, low, value
            elif sector == 5:
                red, green, blue = value, low, falling
            else:
                red, green, blue = value, rising, low
            out[y, x, 0] = np.uint8(min(max(red, 0.0), 1.0) * 255.0)
            out[y, x, 1] = np.uint8(min(max(green, 0.0), 1.0) * 255.0)
            out[y, x, 2] = np.uint8(min(max(blue, 0.0), 1.0) * 255.0)


@compiled
def _add_up(image: NDArray[np.uint8], unit: Floats, sums: Floats) -> None:
    """Pixel after pixel, as NumPy reduces the first two of three axes: the last bits of a mean depend on it."""
    height, width, _ = image.shape
    red = green = blue = 0.0
    for y in range(height):
        for x in range(width):
            red += unit[image[y, x, 0]]
            green += unit[image[y, x, 1]]
            blue += unit[image[y, x, 2]]
    sums[0], sums[1], sums[2] = red, green, blue


@compiled
def _look_up(image: NDArray[np.uint8], tables: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
    height, width, channels = image.shape
    for y in range(height):
        for x in range(width):
            for channel in range(channels):
                out[y, x, channel] = tables[image[y, x, channel], channel]


@compiled
def _displace(
    image: NDArray[np.uint8],
    unit: NDArray[np.float32],
    down: NDArray[np.float32],
    across: NDArray[np.float32],
    out: NDArray[np.uint8],
) -> None:
    """Bilinear, float64 rounded to float32 as ``scipy.ndimage.map_coordinates`` does; mirrored beyond the border."""
    height, width, channels = image.shape
    for y in range(height):
        for x in range(width):
            row, column = y + np.float64(down[y, x]), x + np.float64(across[y, x])
            top, left = int(np.floor(row)), int(np.floor(column))
            lower, right = row - top, column - left
            upper, near = 1.0 - lower, 1.0 - right
            first, second = _mirror(top, height), _mirror(top + 1, height)
            third, fourth = _mirror(left, width), _mirror(left + 1, width)
            for channel in range(channels):
                total = unit[image[first, third, channel]] * upper * near
                total += unit[image[first, fourth, channel]] * upper * right
                total += unit[image[second, third, channel]] * lower * near
                total += unit[image[second, fourth, channel]] * lower * right
                value = min(max(np.float32(total), np.float32(0.0)), np.float32(1.0))
                out[y, x, channel] = np.uint8(value * np.float32(255.0))


@compiled
def _mirror(index: int, size: int) -> int:
    while index < 0 or index >= size:
        index = -1 - index if index < 0 else 2 * size - 1 - index
    return index
