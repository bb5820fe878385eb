"""Pixels of COCO's annotations, the same ones as the official tool sets.

Source of the rules: cocodataset/cocoapi, common/maskApi.c (``rleFrPoly``, ``rleDecode``) and ``annToMask`` of
pycocotools; ``tests/fixtures/coco_masks.json`` holds masks that pycocotools 2.0.11 made. Polygons and uncompressed run
lengths are all that the ``instances_*.json`` files hold; the compressed strings of result files are refused where they
are read.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FINE = 5  # the outline is drawn on a grid this much finer than the pixels

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


def polygon(points: Floats, size: tuple[int, int]) -> Bools:
    """Bool [H, W]: the inside of a closed outline of float64 [k, 2] corners (x, y); size is (H, W).

    The corners are rounded to the fine grid and joined by straight steps there. Wherever the outline passes the middle
    of a pixel column, inside and outside change places from the next pixel middle below on.
    """
    height, width = size
    mask = np.zeros((height, width), np.bool_)
    across, down = _outline(points)
    before, after = across[:-1], across[1:]
    moved = before != after
    # A step to the right passes the line that it leaves, a step to the left the one that it reaches.
    passed = np.where(after < before, after, after - 1)[moved]
    column = (passed + 0.5) / FINE - 0.5
    inside = (np.floor(column) == column) & (column >= 0) & (column <= width - 1)
    columns = column[inside].astype(np.int64)
    if not columns.size:
        return mask
    top = np.minimum(down[:-1], down[1:])[moved][inside]
    rows = np.ceil(np.clip((top + 0.5) / FINE - 0.5, 0, height)).astype(np.int64)
    first, last = int(columns.min()), int(columns.max())
    changes = np.bincount((columns - first) * (height + 1) + rows, minlength=(last - first + 1) * (height + 1))
    filled = np.cumsum(changes.reshape(-1, height + 1), axis=1)[:, :height] % 2 == 1
    mask[:, first : last + 1] = filled.T
    return mask


def runs(lengths: NDArray[np.int64], size: tuple[int, int]) -> Bools:
    """Bool [H, W]: alternating runs of outside and inside, down the columns; they add up to H x W."""
    height, width = size
    return np.repeat(np.arange(len(lengths)) % 2 == 1, lengths).reshape(width, height).T


def _outline(points: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Every step of the closed outline on the fine grid: int64 columns and rows, in order."""
    start = (FINE * points + 0.5).astype(np.int64)  # towards zero, as a cast in C
    stop = np.roll(start, -1, axis=0)
    reach = np.abs(stop - start)
    steps = reach.max(axis=1)
    wide = reach[:, 0] >= reach[:, 1]
    # Each edge is drawn from its left or upper end whatever its direction, then walked in its own.
    flip = np.where(wide, start[:, 0] > stop[:, 0], start[:, 1] > stop[:, 1])
    low, high = np.where(flip[:, None], stop, start), np.where(flip[:, None], start, stop)
    edge = np.repeat(np.arange(len(steps)), steps + 1)
    step = np.arange(len(edge)) - np.repeat(np.cumsum(steps + 1) - (steps + 1), steps + 1)
    step = np.where(flip[edge], steps[edge] - step, step)
    along, aside = np.where(wide, 0, 1), np.where(wide, 1, 0)
    each = np.arange(len(steps))
    slope = (high[each, aside] - low[each, aside]) / np.maximum(steps, 1)
    major = low[each, along][edge] + step
    minor = (low[each, aside][edge] + slope[edge] * step + 0.5).astype(np.int64)
    level = wide[edge]
    return np.where(level, major, minor), np.where(level, minor, major)
