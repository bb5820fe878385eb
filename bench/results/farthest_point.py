"""The point of a piece of a polyline that its chord misses most, as machine code."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from bench.core.compiled import compiled

Floats = NDArray[np.float64]


@compiled
def farthest_point(x: Floats, y: Floats, start: int, end: int) -> tuple[int, float]:
    """Return the first index from ``start`` to ``end`` that lies farthest from the segment between them, and how far.

    A chart asks hundreds of times about a few points each: as array operations, calls cost more than arithmetic.
    """
    along, up = x[end] - x[start], y[end] - y[start]
    length = along * along + up * up
    farthest, most = start, -1.0
    for index in range(start, end + 1):
        dx, dy = x[index] - x[start], y[index] - y[start]
        share = 0.0
        if length > 0.0:
            share = min(max((dx * along + dy * up) / length, 0.0), 1.0)
        away = math.hypot(dx - share * along, dy - share * up)
        if away > most:
            farthest, most = index, away
    return farthest, most
