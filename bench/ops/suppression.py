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

ZERO, ONE = np.float32(0), np.float32(1)
STEP, SIDE = np.uint64(1), np.uint64(3)  # without a sign, so that no index is checked for being negative


def suppress(score: Floats, labels: NDArray[np.uint8]) -> Floats:
    """Scores with those near boundaries replaced, float32 [H, W]; see ``smoothing.boundary``."""
    near = boundary_steps(labels)
    wide, wide_near = np.pad(score, 1, mode="edge"), np.pad(near, 1, mode="edge").reshape(-1)
    positions, row = np.flatnonzero(np.pad(near, 1)).astype(np.uint64), np.uint64(wide.shape[1])
    for radius in range(3, -1, -1):
        bit = np.uint8(1 << radius)
        inside = np.uint8(bit >> 2)  # neighbours are at most two steps nearer or further: deeper in, all are as near
        _replace(positions, wide_near, bit, inside, row, wide.reshape(-1))
        wide[0], wide[-1] = wide[1], wide[-2]
        wide[:, 0], wide[:, -1] = wide[:, 1], wide[:, -2]
    return wide[1:-1, 1:-1].copy()


def boundary_steps(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8 [H, W]: bit r, r from 0 to 3, is set where a boundary is at most r steps away, up, down, left or right."""
    height, width = labels.shape
    edge, along = np.zeros((height, width + 6), np.uint8), np.zeros((height + 6, width), np.uint8)
    near = np.empty((height, width), np.uint8)
    _near(np.pad(labels, 1, mode="edge"), edge, along, near)
    return near


def blur(score: Floats, rows: NDArray[np.int64], columns: NDArray[np.int64], taps: Floats, step: int) -> Floats:
    """Separable filter of 7 symmetric taps ``step`` apart.

    ``rows`` [H + 6 step] and ``columns`` [W + 6 step] say which pixel stands at each place of the extended map.
    """
    score = np.require(score, requirements=["C", "W"])  # for others the loops would be compiled again
    out = np.empty_like(score)
    _blur(score, rows, columns, taps, step, np.empty(columns.size, np.float32), out)
    return out


@compiled
def _near(wide: Any, edge: Any, along: Any, near: Any) -> None:
    """Fill ``near``; ``wide`` [H + 2, W + 2] are the labels with their edges repeated.

    ``edge`` [H, W + 6] and ``along`` [H + 6, W] hold zeros around what is written: 255 at a boundary, and the bits of
    the distance within the row alone.
    """
    height, width = near.shape
    for y in range(height):
        above, row, below = wide[y], wide[y + 1], wide[y + 2]
        marks, bits = edge[y], along[y + 3]
        for x in range(width):  # the largest of the cross is not the smallest of the square
            it = row[x + 1]
            differs = (above[x + 1] != it) | (row[x] != it) | (row[x + 2] != it) | (below[x + 1] != it)
            smaller = (above[x] < it) | (above[x + 2] < it) | (below[x] < it) | (below[x + 2] < it)
            marks[x + 3] = 255 if differs | smaller else 0
        for x in range(width):
            step_1, step_2, step_3 = marks[x + 2] | marks[x + 4], marks[x + 1] | marks[x + 5], marks[x] | marks[x + 6]
            bits[x] = (marks[x + 3] & 15) | (step_1 & 14) | (step_2 & 12) | (step_3 & 8)
    for y in range(height):
        # One row off costs one step: what is within r of it is within r + 1 here.
        a, b, c, d, e, f, g = (
            along[y],
            along[y + 1],
            along[y + 2],
            along[y + 3],
            along[y + 4],
            along[y + 5],
            along[y + 6],
        )
        out = near[y]
        for x in range(width):
            out[x] = (d[x] | ((c[x] | e[x]) << 1) | ((b[x] | f[x]) << 2) | ((a[x] | g[x]) << 3)) & 15


@compiled
def _replace(positions: Any, near: Any, bit: Any, inside: Any, row: Any, wide: Any) -> None:
    """One round of replacement, in place: it reads pixels that it does not write.

    ``wide`` are the scores with their edges repeated in one row, ``near`` their bits, ``row`` the places of a line.
    """
    for index in range(positions.size):
        position = positions[index]
        if near[position] & bit and not near[position] & inside:
            total, far = ZERO, ZERO
            first = position - row - STEP
            for down in range(SIDE):
                for across in range(SIDE):
                    other = first + down * row + across
                    if not near[other] & bit:
                        total += wide[other]
                        far += ONE
            if far:
                wide[position] = total / far


@compiled
def _blur(score: Any, rows: Any, columns: Any, taps: Any, step: Any, line: Any, out: Any) -> None:
    """``line`` [W + 6 step] is memory to work in."""
    height, width = score.shape
    reach = 3 * step
    furthest, further, far, itself = taps[0], taps[1], taps[2], taps[3]
    middle = line[reach : reach + width]
    p, q, r, s = line[:width], line[step:], line[2 * step :], line[3 * step :]
    t, u, v = line[4 * step :], line[5 * step :], line[6 * step :]
    for y in range(height):
        a, b, c = score[rows[y]], score[rows[y + step]], score[rows[y + 2 * step]]
        d, e = score[rows[y + 3 * step]], score[rows[y + 4 * step]]
        f, g = score[rows[y + 5 * step]], score[rows[y + 6 * step]]
        for x in range(width):
            middle[x] = itself * d[x] + far * (c[x] + e[x]) + further * (b[x] + f[x]) + furthest * (a[x] + g[x])
        for x in range(reach):
            line[x] = middle[columns[x]]
            line[reach + width + x] = middle[columns[reach + width + x]]
        row = out[y]
        for x in range(width):
            row[x] = itself * s[x] + far * (r[x] + t[x]) + further * (q[x] + u[x]) + furthest * (p[x] + v[x])
