"""The sums over the pixels of segments, compiled. Imported when features are computed: numba takes a second."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.core.compiled import compiled

EPSILON = np.float32(2.0**-23)


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
