"""Polylines of few points: what a chart needs of a curve of millions, and how far it is off."""

from __future__ import annotations

import heapq
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

POINTS = 100  # of one curve at most
COLUMN = 2e-4  # of the x axis: what swings within one is drawn as one stroke
NEAR = 7e-4  # how far a point may then lie from the drawn curve, both axes from 0 to 1
DIGITS = 5
THRESHOLD_DIGITS = 9  # tell any two float32 apart


def thin(
    x: Floats, y: Floats, near: float = NEAR, column: float = COLUMN, most: int = POINTS
) -> tuple[NDArray[np.int64], float]:
    """Return indices of few points of a polyline [n], x ascending, and how far the others lie from the lines between.

    At first the first, last, lowest and highest point of every ``column`` are kept, so that what swings within one is
    drawn as a stroke; then the farthest point is added until all lie within ``near``, or ``most`` are there.
    """
    from bench.results.farthest_point import farthest_point  # with numba, which a page of finished results is without

    kept = _envelope(x, y, column)
    u, v = x[kept], y[kept]
    chosen = [0, kept.size - 1]
    heap: list[tuple[float, int, int, int]] = []

    def consider(start: int, end: int) -> None:
        if end - start > 1:
            farthest, away = farthest_point(u, v, start, end)
            heapq.heappush(heap, (-away, start, farthest, end))

    consider(0, kept.size - 1)
    while heap and -heap[0][0] > near and len(chosen) < most:
        _, start, farthest, end = heapq.heappop(heap)
        chosen.append(farthest)
        consider(start, farthest)
        consider(farthest, end)
    off = -heap[0][0] if heap else 0.0
    return kept[np.unique(chosen)], off + (column if kept.size < x.size else 0.0)


def short(values: Any) -> tuple[float, ...]:
    """Return floats with ``DIGITS`` significant digits."""
    return tuple(rounded(value) for value in values)


def rounded(value: Any) -> float:
    return float(f"{float(value):.{DIGITS}g}")


def finite(score: Any) -> float | None:
    """Return a score with as many digits as tell it from others; None where it is infinite."""
    return float(f"{float(score):.{THRESHOLD_DIGITS}g}") if np.isfinite(score) else None


def _envelope(x: Floats, y: Floats, width: float) -> NDArray[np.int64]:
    """Ascending indices of the first, lowest, highest and last point of each column of x."""
    column = np.floor(x / width)
    starts = np.flatnonzero(np.concatenate([[True], column[1:] != column[:-1]]))
    sizes = np.diff(np.append(starts, x.size))
    ends = [starts, starts + sizes - 1]
    for reduce in (np.minimum, np.maximum):
        at = np.flatnonzero(y == np.repeat(reduce.reduceat(y, starts), sizes))
        ends.append(at[np.concatenate([[True], column[at[1:]] != column[at[:-1]]])])
    return np.unique(np.concatenate(ends))
