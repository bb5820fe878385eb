"""Boundary suppression and separable smoothing, compiled: only pixels near a boundary are touched.

Imported by ``smoothing`` alone, when something is smoothed: numba takes a second. Without fast-math, and every sum in
the order of the torch path.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.core.compiled import compiled

Floats = NDArray[np.float32]


def suppress(score: Floats, labels: NDArray[np.uint8]) -> Floats:
    """Scores with those near boundaries replaced, float32 [H, W]; see ``smoothing.boundary``."""
    near = np.empty(labels.shape, np.uint8)
    _near(labels, near)
    wide = np.pad(score, 1, mode="edge")
    _replace(near, np.pad(near, 1, mode="edge").reshape(-1), wide, wide.reshape(-1))
    return wide[1:-1, 1:-1].copy()


def blur(score: Floats, rows: NDArray[np.int64], columns: NDArray[np.int64], taps: Floats, step: int) -> Floats:
    """Separable filter of 7 symmetric taps ``step`` apart.

    ``rows`` [H + 6 step] and ``columns`` [W + 6 step] say which pixel stands at each place of the extended map.
    """
    out = np.empty_like(score)
    _blur(score, rows, columns, taps, step, out)
    return out


@compiled
def _near(labels: Any, near: Any) -> None:
    """Set bit r of ``near``, r from 0 to 3, where a boundary is at most r steps away, up, down, left or right."""
    height, width = labels.shape
    lowest, highest = np.empty(width + 2, np.uint8), np.empty(width, np.uint8)
    middle, edge = np.empty(width + 2, np.uint8), np.zeros(width + 6, np.uint8)
    along = np.zeros((7, width), np.uint8)  # of the last 7 rows: the distance within the row alone
    for y in range(height + 3):
        here = along[y % 7]
        if y < height:
            above, row, below = labels[max(y - 1, 0)], labels[y], labels[min(y + 1, height - 1)]
            for x in range(width):
                low = above[x] if above[x] < row[x] else row[x]
                lowest[x + 1] = low if low < below[x] else below[x]
                high = above[x] if above[x] > row[x] else row[x]
                highest[x] = high if high > below[x] else below[x]
                middle[x + 1] = row[x]
            lowest[0], lowest[width + 1] = lowest[1], lowest[width]
            middle[0], middle[width + 1] = middle[1], middle[width]
            for x in range(width):
                low = lowest[x] if lowest[x] < lowest[x + 1] else lowest[x + 1]
                low = low if low < lowest[x + 2] else lowest[x + 2]
                high = middle[x] if middle[x] > middle[x + 2] else middle[x + 2]
                high = high if high > highest[x] else highest[x]
                edge[x + 3] = 0 if low == high else 255
            for x in range(width):
                bits = edge[x + 3] & 15
                bits |= (edge[x + 2] | edge[x + 4]) & 14
                bits |= (edge[x + 1] | edge[x + 5]) & 12
                here[x] = bits | ((edge[x] | edge[x + 6]) & 8)
        else:
            for x in range(width):
                here[x] = 0
        if y >= 3:
            # One row off costs one step: what is within r of it is within r + 1 here.
            up, down = along[(y - 4) % 7], along[(y - 2) % 7]
            two, twice = along[(y - 5) % 7], along[(y - 1) % 7]
            three, thrice, itself = along[(y - 6) % 7], here, along[(y - 3) % 7]
            out = near[y - 3]
            for x in range(width):
                bits = itself[x] | ((up[x] | down[x]) << 1)
                bits |= (two[x] | twice[x]) << 2
                out[x] = (bits | ((three[x] | thrice[x]) << 3)) & 15


@compiled
def _replace(near: Any, wide_near: Any, wide: Any, flat: Any) -> None:
    """The rounds of replacement, in place: a round reads pixels that it does not write.

    ``wide`` [H + 2, W + 2] are the scores with their edges repeated, ``flat`` the same memory and ``wide_near`` their
    bits in one row. Places count from 0 without a sign, so that no index is checked for being negative.
    """
    height, width = near.shape
    count = 0
    for y in range(height):
        for x in range(width):
            count += near[y, x] != 0
    positions = np.empty(count, np.uint64)
    count = 0
    for y in range(height):
        for x in range(width):
            if near[y, x]:
                positions[count] = (y + 1) * (width + 2) + x + 1
                count += 1
    row, one, zero = np.uint64(width + 2), np.uint64(1), np.float32(0)
    for radius in range(3, -1, -1):
        bit = np.uint8(1 << radius)
        inside = np.uint8(bit >> 2)  # neighbours are at most two steps nearer or further: deeper in, all are as near
        for position in positions:
            if not wide_near[position] & bit or wide_near[position] & inside:
                continue
            total, count_far = zero, 0
            first = position - row - one
            for _ in range(3):
                for other in (first, first + one, first + one + one):
                    far = not wide_near[other] & bit
                    total += flat[other] if far else zero
                    count_far += far
                first += row
            if count_far:
                flat[position] = total / np.float32(count_far)
        for x in range(1, width + 1):
            wide[0, x], wide[height + 1, x] = wide[1, x], wide[height, x]
        for y in range(height + 2):
            wide[y, 0], wide[y, width + 1] = wide[y, 1], wide[y, width]


@compiled
def _blur(score: Any, rows: Any, columns: Any, taps: Any, step: Any, out: Any) -> None:
    height, width = score.shape
    reach = 3 * step
    line = np.empty(width + 2 * reach, np.float32)
    furthest, further, far, itself = taps[0], taps[1], taps[2], taps[3]
    for y in range(height):
        a, b, c = score[rows[y]], score[rows[y + step]], score[rows[y + 2 * step]]
        d, e = score[rows[y + 3 * step]], score[rows[y + 4 * step]]
        f, g = score[rows[y + 5 * step]], score[rows[y + 6 * step]]
        middle = line[reach : reach + width]
        for x in range(width):
            middle[x] = itself * d[x] + far * (c[x] + e[x]) + further * (b[x] + f[x]) + furthest * (a[x] + g[x])
        for x in range(reach):
            line[x] = middle[columns[x]]
            line[reach + width + x] = middle[columns[reach + width + x]]
        p, q, r, s = line[:width], line[step:], line[2 * step :], line[3 * step :]
        t, u, v = line[4 * step :], line[5 * step :], line[6 * step :]
        row = out[y]
        for x in range(width):
            row[x] = itself * s[x] + far * (r[x] + t[x]) + further * (q[x] + u[x]) + furthest * (p[x] + v[x])
