"""The loops over the pixels of segments, compiled. Imported when there is a mask: numba takes a second."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.core.compiled import compiled

EPSILON = np.float32(2.0**-23)


@compiled
def label(mask: Any, labels: Any) -> None:
    """Write the 8-connected components of mask uint8 [H, W], 0 or 1, to labels int32 [H, W] of zeros.

    Runs of a line are joined with those of the line above that they touch. The first run of a component stands for it,
    so that components are numbered in the order of the scan line that first meets them.
    """
    height, width = mask.shape
    runs = 0
    for y in range(height):
        line = mask[y]
        runs += line[0]
        for x in range(1, width):
            runs += line[x] & (line[x - 1] ^ 1)
    starts, ends = np.empty(runs, np.int32), np.empty(runs, np.int32)
    parents, rows = np.arange(runs), np.empty(height + 1, np.int64)
    above, here, run = 0, 0, 0  # the first runs of the line above and of this one, and the next of all
    for y in range(height):
        above, here = here, run
        rows[y] = run
        line = mask[y]
        x = 0
        while True:
            while x < width and line[x] == 0:
                x += 1
            if x == width:
                break
            starts[run] = x
            while x < width and line[x] == 1:
                x += 1
            ends[run] = x
            while above < here and ends[above] < starts[run]:
                above += 1
            other = above
            while other < here and starts[other] <= x:
                first, second = other, run
                while parents[first] != first:
                    parents[first] = parents[parents[first]]
                    first = parents[first]
                while parents[second] != second:
                    parents[second] = parents[parents[second]]
                    second = parents[second]
                parents[max(first, second)] = min(first, second)
                other += 1
            run += 1
    rows[height] = run
    number = 0
    for run in range(runs):  # a parent comes before its runs, and is a number from here on
        if parents[run] == run:
            number += 1
            parents[run] = number
        else:
            parents[run] = parents[parents[run]]
    for y in range(height):
        for run in range(rows[y], rows[y + 1]):
            labels[y, starts[run] : ends[run]] = parents[run]


@compiled
def accumulate(
    probabilities: Any,
    index: Any,
    components: Any,
    predicted: Any,
    pixels: Any,
    inner: Any,
    places: Any,
    means: Any,
    neighbours: Any,
) -> None:
    """Add the pixels ``index`` [n], which all lie in components, with their probabilities [n, C].

    Heat maps are float32 as in the source, sums float64; see ``bench.ops.segments`` for what is summed.
    """
    height, width = components.shape
    count = probabilities.shape[1]
    scale = np.float32(np.log(count))
    one = np.float32(1)
    heat = np.empty(3, np.float32)
    for pixel in range(len(index)):
        y, x = index[pixel] // width, index[pixel] % width
        who = components[y, x] - 1
        entropy, first, second = np.float32(0), np.float32(0), np.float32(0)
        for c in range(count):
            p = probabilities[pixel, c]
            entropy -= p * np.log(p + EPSILON)
            second = first if p > first else (p if p > second else second)
            first = p if p > first else first
            means[who, c] += p
        heat[0] = entropy / scale
        heat[1] = one - first + second
        heat[2] = one - first
        outside = 0
        for v in range(max(y - 1, 0), min(y + 2, height)):
            for u in range(max(x - 1, 0), min(x + 2, width)):
                if components[v, u] == 0:
                    outside += 1
                    neighbours[who, predicted[v, u]] += 1
        pixels[who, 0] += 1
        places[who, 0] += y
        places[who, 1] += x
        if outside == 0:
            inner[who, 0] += 1
        for k in range(3):
            h = np.float64(heat[k])
            pixels[who, 1 + 2 * k] += h
            pixels[who, 2 + 2 * k] += h * h
            if outside == 0:
                inner[who, 1 + 2 * k] += h
                inner[who, 2 + 2 * k] += h * h
