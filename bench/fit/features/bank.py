"""A sample of training pixels that depends on the seed and on which pixels there are, and on nothing else."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from bench.fit.features.samples import Pixels

Floats = NDArray[np.float32]


class Bank:
    """At most ``size`` of all rows that are added: those whose keys are smallest.

    A key is 64 bits of the seed, the name of the image, its window and the number of the pixel. So every pixel is as
    likely as any other, and neither the order of the images nor how they are divided among several banks matters. No
    more than ``size`` rows and those of one image are held.
    """

    def __init__(self, size: int, seed: int) -> None:
        self._size, self._seed = size, seed
        self._keys: NDArray[np.uint64] = np.empty(0, np.uint64)
        self._rows: Floats | None = None

    def add(self, pixels: Pixels, rows: Floats) -> None:
        """Offer the rows [n, K] of the pixels of an image."""
        keys = _keys(f"{self._seed} {pixels.window} {pixels.sample}", pixels.index)
        if len(self._keys) == self._size:
            low = keys < self._keys[-1]
            keys, rows = keys[low], rows[low]
        self._take(keys, rows)

    def merge(self, other: Bank) -> None:
        """Offer what another bank of the same size and seed holds."""
        if other._rows is not None:
            self._take(other._keys, other._rows)

    def rows(self) -> Floats:
        """Return what is held, float32 [m, K], by ascending key."""
        return np.empty((0, 0), np.float32) if self._rows is None else self._rows

    def _take(self, keys: NDArray[np.uint64], rows: Floats) -> None:
        order = np.argsort(keys, kind="stable")[: self._size]
        keys, rows = keys[order], rows[order]
        if self._rows is not None:
            keys, rows = np.concatenate([self._keys, keys]), np.concatenate([self._rows, rows])
            order = np.argsort(keys, kind="stable")[: self._size]
            keys, rows = keys[order], rows[order]
        self._keys, self._rows = keys, rows


def _keys(name: str, index: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return uint64 [n]: SplitMix64 (Steele, Lea and Flood, OOPSLA 2014) of numbers, begun at the digest of a name."""
    begin = np.frombuffer(hashlib.sha256(name.encode()).digest()[:8], np.uint64)
    state = begin + (index.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    keys: NDArray[np.uint64] = state ^ (state >> np.uint64(31))
    return keys
