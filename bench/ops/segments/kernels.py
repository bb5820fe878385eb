"""The loops over the pixels of segments, compiled. Imported when there is a mask: numba takes a second."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.core.compiled import compiled

ZERO, ONE, EPSILON = np.float32(0), np.float32(1), np.float32(2.0**-23)


@compiled
def label(mask: Any, starts: Any, ends: Any, parents: Any, rows: Any, labels: Any) -> None:
    """Write the 8-connected components of mask uint8 [H, W], 0 or 1, to labels int32 [H, W] of zeros.

    Runs of a line are joined with those of the line above that they touch. The first run of a component stands for it,
    so that components are numbered in the order of the scan line that first meets them. ``starts``, ``ends`` and
    ``parents``, which count up from 0, have a place for every run, ``rows`` [H + 1] for every line: memory to work in.
    """
    height, width = mask.shape
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
                if first < second:
                    parents[second] = first
                else:
                    parents[first] = second
                other += 1
            run += 1
    rows[height] = run
    number = 0
    for run in range(rows[height]):  # a parent comes before its runs, and is a number from here on
        if parents[run] == run:
            number += 1
            parents[run] = number
        else:
            parents[run] = parents[parents[run]]
    for y in range(height):
        for run in range(rows[y], rows[y + 1]):
            line, number = labels[y, starts[run] : ends[run]], parents[run]
            for x in range(line.size):
                line[x] = number


@compiled
def accumulate(
    probabilities: Any,
    index: Any,
    components: Any,
    predicted: Any,
    scale: Any,
    heat: Any,
    pixels: Any,
    inner: Any,
    places: Any,
    means: Any,
    neighbours: Any,
) -> None:
    """Add the pixels ``index`` [n], which all lie in components, with their probabilities [n, C].

    Heat maps are float32 as in the source, sums float64; see ``bench.ops.segments`` for what is summed. ``scale`` is
    log C as float32, ``heat`` [3] memory to work in.
    """
    height, width = components.shape
    count = probabilities.shape[1]
    for pixel in range(index.size):
        y, x = index[pixel] // width, index[pixel] % width
        who = components[y, x] - 1
        entropy, first, second = ZERO, ZERO, ZERO
        for c in range(count):
            p = probabilities[pixel, c]
            entropy -= p * np.log(p + EPSILON)
            second = first if p > first else (p if p > second else second)
            first = p if p > first else first
            means[who, c] += p
        heat[0] = entropy / scale
        heat[1] = ONE - first + second
        heat[2] = ONE - first
        outside = 0
        for v in range(y - 1, y + 2):
            for u in range(x - 1, x + 2):
                if 0 <= v < height and 0 <= u < width and components[v, u] == 0:
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
