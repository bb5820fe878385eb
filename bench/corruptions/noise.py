"""Noise, drawn value by value in the order of the image."""

from __future__ import annotations

import math

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray

from bench.core.compiled import compiled
from bench.corruptions.draws import BATCH, drawing, fill_normal, fill_uniform, renew
from bench.corruptions.filters import UNIT

Image = NDArray[np.uint8]

MOST = 400  # photons; at rate 60 and below, as many have a probability below 1e-180


def gaussian_noise(image: Image, severity: int, random: RandomState) -> Image:
    return _normal(image, (0.08, 0.12, 0.18, 0.26, 0.38)[severity - 1], random, proportional=False)


def speckle_noise(image: Image, severity: int, random: RandomState) -> Image:
    return _normal(image, (0.15, 0.2, 0.35, 0.45, 0.6)[severity - 1], random, proportional=True)


def _normal(image: Image, scale: float, random: RandomState, *, proportional: bool) -> Image:
    """Return the image plus normal noise of deviation ``scale``, or ``scale`` times the value, on the range [0, 1]."""
    out = np.empty_like(image)
    factors = UNIT if proportional else np.ones(256)
    with drawing(random) as stream:
        _add_normal(*stream, image.reshape(-1), UNIT, factors, scale, out.reshape(-1))
    return out


def shot_noise(image: Image, severity: int, random: RandomState) -> Image:
    photons = (60, 25, 12, 5, 3)[severity - 1]
    rates = UNIT * photons
    bounds = np.array([math.exp(-rate) for rate in rates])
    constants = np.array([_constants(rate) if rate >= 10 else (0.0,) * 5 for rate in rates])
    factorials = np.array([math.lgamma(count + 1) for count in range(MOST)])
    levels = (np.clip(np.arange(photons + 1) / float(photons), 0, 1) * 255).astype(np.uint8)
    out = np.empty_like(image)
    with drawing(random) as stream:
        _count_photons(*stream[:4], image.reshape(-1), rates, bounds, constants, factorials, levels, out.reshape(-1))
    return out


def impulse_noise(image: Image, severity: int, random: RandomState) -> Image:
    """Return values made black or white with equal chance. The library's generator cannot be seeded: only its rule."""
    amount = (0.03, 0.06, 0.09, 0.17, 0.27)[severity - 1]
    out = image.copy()  # v / 255 * 255, cut off, is v for all 256 of them
    with drawing(random) as stream:
        _strike(*stream[:4], amount, np.empty(image.size, np.uint8), out.reshape(-1))
    return out


def _constants(rate: float) -> tuple[float, float, float, float, float]:
    """a, b, log(1/alpha), v_r and log(rate) of Hörmann's transformed rejection, PTRS, for rates from 10 on.

    Source: W. Hörmann, Insurance: Mathematics and Economics 12 (1993) 39-45; the same in NumPy's distributions.
    """
    b = 0.931 + 2.53 * math.sqrt(rate)
    a = -0.059 + 0.02483 * b
    return a, b, math.log(1.1239 + 1.1328 / (b - 3.4)), 0.9277 - 3.6224 / (b - 2), math.log(rate)


@compiled
def _add_normal(
    key: NDArray[np.uint32],
    carry: NDArray[np.uint32],
    batch: NDArray[np.float64],
    cursor: NDArray[np.int64],
    spare: NDArray[np.float64],
    image: NDArray[np.uint8],
    unit: NDArray[np.float64],
    factors: NDArray[np.float64],
    scale: float,
    out: NDArray[np.uint8],
) -> None:
    noise = np.empty(4096)
    for start in range(0, image.size, noise.size):
        stop = min(start + noise.size, image.size)
        fill_normal(key, carry, batch, cursor, spare, 0.0, scale, noise[: stop - start])
        for index in range(start, stop):
            level = image[index]
            value = unit[level] + factors[level] * noise[index - start]
            out[index] = np.uint8(min(max(value, 0.0), 1.0) * 255.0)


@compiled
def _count_photons(
    key: NDArray[np.uint32],
    carry: NDArray[np.uint32],
    batch: NDArray[np.float64],
    cursor: NDArray[np.int64],
    image: NDArray[np.uint8],
    rates: NDArray[np.float64],
    bounds: NDArray[np.float64],
    constants: NDArray[np.float64],
    factorials: NDArray[np.float64],
    levels: NDArray[np.uint8],
    out: NDArray[np.uint8],
) -> None:
    """Put the grey of a Poisson count into ``out``: below rate 10 by products of uniforms, from there on by PTRS.

    ``bounds`` are exp(-rate), ``constants`` those of PTRS, ``factorials[k]`` is log k!, ``levels`` the grey of a count.
    """
    most = levels.size - 1
    here = cursor[0]
    for index in range(image.size):
        level = image[index]
        rate = rates[level]
        count = 0
        if rate >= 10.0:
            a, b = constants[level, 0], constants[level, 1]
            while True:
                if here == BATCH:
                    renew(key, carry, batch)
                    here = 0
                u = batch[here] - 0.5
                here += 1
                if here == BATCH:
                    renew(key, carry, batch)
                    here = 0
                v = batch[here]
                here += 1
                edge = 0.5 - abs(u)
                if edge == 0.0:  # NumPy divides by it, finds minus infinity and rejects
                    continue
                real = math.floor((2.0 * a / edge + b) * u + rate + 0.43)
                if real < 0.0 or real >= MOST:
                    continue
                count = int(real)
                if edge >= 0.07 and v <= constants[level, 3]:
                    break
                if edge < 0.013 and v > edge:
                    continue
                chance = -rate + count * constants[level, 4] - factorials[count]
                if v == 0.0 or math.log(v) + constants[level, 2] - math.log(a / (edge * edge) + b) <= chance:
                    break
        elif rate > 0.0:
            bound = bounds[level]
            product = 1.0
            count = -1
            while product > bound:
                if here == BATCH:
                    renew(key, carry, batch)
                    here = 0
                product *= batch[here]
                here += 1
                count += 1
        out[index] = levels[min(count, most)]
    cursor[0] = here


@compiled
def _strike(
    key: NDArray[np.uint32],
    carry: NDArray[np.uint32],
    batch: NDArray[np.float64],
    cursor: NDArray[np.int64],
    amount: float,
    struck: NDArray[np.uint8],
    out: NDArray[np.uint8],
) -> None:
    """First which values are struck, 255 in ``struck`` and 0 elsewhere; then of every value whether it may be white."""
    chances = np.empty(4096)
    for start in range(0, out.size, chances.size):
        stop = min(start + chances.size, out.size)
        fill_uniform(key, carry, batch, cursor, 0.0, 1.0, chances[: stop - start])
        for index in range(start, stop):
            struck[index] = np.uint8(255 * (chances[index - start] <= amount))
    for start in range(0, out.size, chances.size):
        stop = min(start + chances.size, out.size)
        fill_uniform(key, carry, batch, cursor, 0.0, 1.0, chances[: stop - start])
        for index in range(start, stop):
            white = np.uint8(255 * (chances[index - start] <= 0.5))
            # No branch: it would often be guessed wrong.
            out[index] = np.uint8(out[index] ^ ((out[index] ^ white) & struck[index]))
