"""Reductions over the classes, compiled: upsampled, averaged over windows and reduced row by row, in the cache.

The logits at label size, 159 MB for 19 classes of a Cityscapes frame, are never made. Imported by ``reduce`` alone,
when something is reduced: numba takes a second. Nothing here is compiled with fast-math: every expression is evaluated
as written, so that the numbers depend neither on the processor's vector width nor on what else is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.core.compiled import compiled

Floats = NDArray[np.float32]
Window = tuple[int, int, int, int]

LOG2E = np.float32(1.4426950408889634)
# ln 2 in two parts: the first has few enough digits that its product with an integer is exact (Cody and Waite).
LN2_HIGH = np.float32(0.693359375)
LN2_LOW = np.float32(-2.12194440e-4)
SMALLEST = np.float32(-126.0)  # exponent of the smallest normal float32; less is as good as nothing here
ZERO, HALF, ONE = np.float32(0), np.float32(0.5), np.float32(1)
NOTHING = np.float32(-0.0)  # the one number that changes no other when it is added
# 1 / k! from k = 3 on
THIRD_FACTOR, FOURTH_FACTOR, FIFTH_FACTOR = np.float32(1 / 6), np.float32(1 / 24), np.float32(1 / 120)
SIXTH_FACTOR, SEVENTH_FACTOR = np.float32(1 / 720), np.float32(1 / 5040)
BIAS, MANTISSA = np.int32(127), np.int32(23)  # of the exponent of float32, and the bits below it
TILE = 256  # columns that are reduced together: their logits stay in the first cache


def reduce(
    maps: Sequence[Floats],
    windows: Sequence[Window],
    size: tuple[int, int],
    temperatures: Sequence[float],
    *,
    margin: bool,
) -> tuple[Floats, NDArray[np.uint8], Floats, Floats, Floats]:
    """One pass over float32 [C, h, w] logits of windows of an image of ``size`` (H, W), equally large all of them.

    Upsampling is bilinear with half-pixel centres; where windows overlap, their logits are averaged. Gives the largest
    logit [H, W], its class, its lead over the second [H, W] (empty unless ``margin``), and for each T the sums over the
    other classes of e_c and of e_c d_c, [T, H, W] each, where d_c = (z_c - max z) / T and e_c = exp d_c.
    """
    logits, places, taps = _placed(maps, windows)
    inverse = (1.0 / np.array(temperatures, np.float64)).astype(np.float32)
    largest, classes = np.empty(size, np.float32), np.empty(size, np.uint8)
    lead = np.empty(size if margin else (0, 0), np.float32)
    total = np.empty((len(temperatures), *size), np.float32)
    weighted = np.empty_like(total)
    held = np.full((len(logits), 2), -1, np.int64)
    wide_rows = np.empty((len(logits), 2, logits.shape[1], taps[-1].size), np.float32)
    z, times = np.empty((logits.shape[1], TILE), np.float32), np.empty(TILE, np.float32)
    who = np.empty(TILE, np.int32)
    _reduce(logits, places, *taps, inverse, held, wide_rows, z, times, who, largest, classes, lead, total, weighted)
    return largest, classes, lead, total, weighted


def softmax_at(
    maps: Sequence[Floats], windows: Sequence[Window], size: tuple[int, int], index: NDArray[np.int64]
) -> Floats:
    """float32 [n, C]: class probabilities of the pixels ``index`` of an image of ``size``, from the same input."""
    logits, places, taps = _placed(maps, windows)
    probabilities = np.empty((len(index), logits.shape[1]), np.float32)
    _softmax_at(logits, places, *taps, size[1], index, np.empty(logits.shape[1], np.float32), probabilities)
    return probabilities


def _placed(
    maps: Sequence[Floats], windows: Sequence[Window]
) -> tuple[Floats, NDArray[np.int64], tuple[Any, Any, Any, Any]]:
    """Logits [n, C, h, w], where their windows begin, int64 [n, 2], and ``_taps`` of rows and of columns."""
    top, left, bottom, right = windows[0]
    logits = np.stack(maps) if len(maps) > 1 else maps[0][None]
    logits = np.require(logits, requirements=["C", "W"])  # for others the loops would be compiled again
    places = np.array([(window[0], window[1]) for window in windows], np.int64)
    return logits, places, (*_taps(logits.shape[2], bottom - top), *_taps(logits.shape[3], right - left))


def _taps(small: int, large: int) -> tuple[NDArray[np.uint32], Floats]:
    """The two neighbours [2, n] of each of n = ``large`` places among ``small`` ones, and the second's weight [n].

    Computed in float32 as torch does (half-pixel centres, edges repeated), so that no place gets another neighbour.
    Unsigned, so that no loop asks whether an index counts from the end.
    """
    scale = np.float32(small) / np.float32(large)
    at = np.maximum(scale * (np.arange(large, dtype=np.float32) + np.float32(0.5)) - np.float32(0.5), np.float32(0))
    first = np.minimum(at.astype(np.int32), small - 1)
    neighbours = np.stack([first, np.minimum(first + 1, small - 1)]).astype(np.uint32)
    return neighbours, (at - first).astype(np.float32)


@compiled
def _reduce(
    logits: Any,
    places: Any,
    rows: Any,
    wy: Any,
    columns: Any,
    wx: Any,
    inverse: Any,
    held: Any,
    wide_rows: Any,
    z: Any,
    times: Any,
    who: Any,
    largest: Any,
    classes: Any,
    lead: Any,
    total: Any,
    weighted: Any,
) -> None:
    """Row by row, and of each row ``TILE`` columns at a time.

    ``wide_rows`` [n, 2, C, w'] keeps the last even and odd row of each window, interpolated along itself, and ``held``
    [n, 2] which they are: a row is widened once for all the rows of the result that lie between it and its neighbours.
    ``z`` [C, TILE], ``times`` and ``who`` [TILE] are memory to work in.
    """
    windows, count = logits.shape[0], logits.shape[1]
    height, width = largest.shape
    high, wide = wy.size, wx.size
    for y in range(height):
        for k in range(windows):
            v = y - places[k, 0]
            if 0 <= v < high:
                for side in range(2):
                    row = rows[side, v]
                    if held[k, row & 1] != row:
                        held[k, row & 1] = row
                        before, after = columns[0], columns[1]
                        for c in range(count):
                            source, target = logits[k, c, row], wide_rows[k, row & 1, c]
                            for x in range(wide):
                                target[x] = (ONE - wx[x]) * source[before[x]] + wx[x] * source[after[x]]
        for start in range(0, width, TILE):
            # Slices, so that no index can be negative: only then are the loops compiled to vectors.
            best, kinds = largest[y, start : start + TILE], classes[y, start : start + TILE]
            size = best.size
            if windows > 1:
                for x in range(size):
                    times[x] = 0
                for c in range(count):
                    logit = z[c]
                    for x in range(size):
                        logit[x] = NOTHING
            for k in range(windows):
                v, left = y - places[k, 0], places[k, 1]
                first = left if left > start else start
                last = left + wide if left + wide < start + size else start + size
                if 0 <= v < high and first < last:
                    upper, lower, below = wide_rows[k, rows[0, v] & 1], wide_rows[k, rows[1, v] & 1], wy[v]
                    above = ONE - below
                    for c in range(count):
                        top, bottom = upper[c, first - left : last - left], lower[c, first - left : last - left]
                        logit = z[c, first - start : last - start]
                        if windows > 1:
                            for x in range(top.size):
                                logit[x] += above * top[x] + below * bottom[x]
                        else:
                            for x in range(top.size):
                                logit[x] = above * top[x] + below * bottom[x]
                    if windows > 1:
                        for x in range(first - start, last - start):
                            times[x] += ONE
            if windows > 1:
                for c in range(count):
                    logit = z[c]
                    for x in range(size):
                        logit[x] /= times[x]
            for x in range(size):
                best[x] = z[0, x]
                who[x] = 0
            for c in range(1, count):
                logit, kind = z[c], np.int32(c)
                for x in range(size):
                    above = logit[x] > best[x]
                    best[x] = logit[x] if above else best[x]
                    who[x] = kind if above else who[x]
            for x in range(size):
                kinds[x] = who[x]
            if lead.size:
                second = lead[y, start : start + TILE]
                for x in range(size):
                    second[x] = -np.inf
                for c in range(count):
                    logit, kind = z[c], np.int32(c)
                    for x in range(size):
                        second[x] = logit[x] if logit[x] > second[x] and who[x] != kind else second[x]
                for x in range(size):
                    second[x] = best[x] - second[x]
            for t in range(inverse.size):
                scale = inverse[t]
                sums, products = total[t, y, start : start + TILE], weighted[t, y, start : start + TILE]
                for x in range(size):
                    sums[x] = 0
                    products[x] = 0
                for c in range(count):
                    logit, kind = z[c], np.int32(c)
                    for x in range(size):
                        d = (logit[x] - best[x]) * scale
                        power = d * LOG2E
                        n = np.floor((power if power > SMALLEST else SMALLEST) + HALF)
                        r = (d - n * LN2_HIGH) - n * LN2_LOW
                        # exp on [-ln 2 / 2, ln 2 / 2] by its series; the first term left out is 2e-8 of the value
                        e = SIXTH_FACTOR + r * SEVENTH_FACTOR
                        e = FOURTH_FACTOR + r * (FIFTH_FACTOR + r * e)
                        e = ONE + r * (ONE + r * (HALF + r * (THIRD_FACTOR + r * e)))
                        # 2^n, written through its exponent field
                        e *= np.int32((np.int32(n) + BIAS) << MANTISSA).view(np.float32)
                        e = ZERO if who[x] == kind or power < SMALLEST else e
                        sums[x] += e
                        products[x] += e * d


@compiled
def _softmax_at(
    logits: Any,
    places: Any,
    rows: Any,
    wy: Any,
    columns: Any,
    wx: Any,
    width: Any,
    index: Any,
    z: Any,
    probabilities: Any,
) -> None:
    """``z`` [C] is memory to work in."""
    count = z.size
    for pixel in range(index.size):
        y, x = index[pixel] // width, index[pixel] % width
        for c in range(count):
            z[c] = 0
        seen = ZERO
        for k in range(logits.shape[0]):
            v, u = y - places[k, 0], x - places[k, 1]
            if 0 <= v < wy.size and 0 <= u < wx.size:
                seen += ONE
                below, after = wy[v], wx[u]
                above, before = ONE - below, ONE - after
                left, right = columns[0, u], columns[1, u]
                for c in range(count):
                    top, bottom = logits[k, c, rows[0, v]], logits[k, c, rows[1, v]]
                    upper = before * top[left] + after * top[right]
                    z[c] += above * upper + below * (before * bottom[left] + after * bottom[right])
        best = z[0] / seen
        for c in range(count):
            z[c] /= seen
            best = z[c] if z[c] > best else best
        total = ZERO
        for c in range(count):
            z[c] = np.exp(z[c] - best)
            total += z[c]
        for c in range(count):
            probabilities[pixel, c] = z[c] / total
