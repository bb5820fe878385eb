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
    top, left, bottom, right = windows[0]
    logits = np.stack(maps) if len(maps) > 1 else maps[0][None]
    rows, columns = _taps(logits.shape[2], bottom - top), _taps(logits.shape[3], right - left)
    places = np.array([(window[0], window[1]) for window in windows], np.int64)
    inverse = (1.0 / np.array(temperatures, np.float64)).astype(np.float32)
    largest, classes = np.empty(size, np.float32), np.empty(size, np.uint8)
    lead = np.empty(size if margin else (0, 0), np.float32)
    total = np.empty((len(temperatures), *size), np.float32)
    weighted = np.empty_like(total)
    held = np.full((len(logits), 2), -1, np.int64)
    wide_rows = np.empty((len(logits), 2, logits.shape[1], right - left), np.float32)
    upsampling = (np.ascontiguousarray(logits), places, *rows, *columns)
    _reduce(*upsampling, inverse, held, wide_rows, largest, classes, lead, total, weighted)
    return largest, classes, lead, total, weighted


def softmax_at(
    maps: Sequence[Floats], windows: Sequence[Window], size: tuple[int, int], index: NDArray[np.int64]
) -> Floats:
    """float32 [n, C]: class probabilities of the pixels ``index`` of an image of ``size``, from the same input."""
    top, left, bottom, right = windows[0]
    logits = np.stack(maps) if len(maps) > 1 else maps[0][None]
    rows, columns = _taps(logits.shape[2], bottom - top), _taps(logits.shape[3], right - left)
    places = np.array([(window[0], window[1]) for window in windows], np.int64)
    probabilities = np.empty((len(index), logits.shape[1]), np.float32)
    _softmax_at(np.ascontiguousarray(logits), places, *rows, *columns, size[1], index, probabilities)
    return probabilities


def _taps(small: int, large: int) -> tuple[NDArray[np.uint32], NDArray[np.uint32], Floats]:
    """The two neighbours of each of ``large`` places among ``small`` ones, and the weight of the second of them.

    Computed in float32 as torch does (half-pixel centres, edges repeated), so that no place gets another neighbour.
    Unsigned, so that no loop asks whether an index counts from the end.
    """
    scale = np.float32(small) / np.float32(large)
    at = np.maximum(scale * (np.arange(large, dtype=np.float32) + np.float32(0.5)) - np.float32(0.5), np.float32(0))
    first = np.minimum(at.astype(np.int32), small - 1)
    second = np.minimum(first + 1, small - 1)
    return first.astype(np.uint32), second.astype(np.uint32), (at - first).astype(np.float32)


@compiled
def _widen(narrow: Any, x0: Any, x1: Any, wx: Any, wide: Any) -> None:
    """One row [C, w] of a window, interpolated along itself to [C, w']."""
    one = np.float32(1)
    for c in range(narrow.shape[0]):
        source, target = narrow[c], wide[c]
        for x in range(target.size):
            target[x] = (one - wx[x]) * source[x0[x]] + wx[x] * source[x1[x]]


@compiled
def _add(upper: Any, lower: Any, first: Any, above: Any, below: Any, times: Any, z: Any, start: Any) -> None:
    """Add to z [C, TILE] from ``start`` on what lies between two widened rows from ``first`` on.

    ``times`` [n] counts the windows that were added before: what no window has reached yet is assigned.
    """
    size, fresh = times.size, True
    for x in range(size):
        fresh = fresh and times[x] == 0
    for c in range(upper.shape[0]):
        # Slices, so that no index can be negative: only then are the loops compiled to vectors.
        top, bottom = upper[c, first : first + size], lower[c, first : first + size]
        target = z[c, start : start + size]
        if fresh:
            for x in range(size):
                target[x] = above * top[x] + below * bottom[x]
        else:
            for x in range(size):
                value = above * top[x] + below * bottom[x]
                target[x] = value if times[x] == 0 else target[x] + value
    for x in range(size):
        times[x] += np.float32(1)


@compiled
def _reduce(
    logits: Any,
    places: Any,
    y0: Any,
    y1: Any,
    wy: Any,
    x0: Any,
    x1: Any,
    wx: Any,
    inverse: Any,
    held: Any,
    wide_rows: Any,
    largest: Any,
    classes: Any,
    lead: Any,
    total: Any,
    weighted: Any,
) -> None:
    """Row by row, and of each row ``TILE`` columns at a time.

    ``wide_rows`` [n, 2, C, w'] keeps the last even and odd row of each window, widened, and ``held`` [n, 2] which they
    are: a row is widened once for all the rows of the result that lie between it and its neighbours.
    """
    windows, count = logits.shape[0], logits.shape[1]
    height, width = largest.shape
    high, wide = y0.size, x0.size
    one, half = np.float32(1), np.float32(0.5)
    # Made in here, where the compiler sees that no two of them overlap: only then are the loops compiled to vectors.
    times, best, second = np.empty(TILE, np.float32), np.empty(TILE, np.float32), np.empty(TILE, np.float32)
    sums, products, who = np.empty(TILE, np.float32), np.empty(TILE, np.float32), np.empty(TILE, np.int32)
    z = np.empty((count, TILE), np.float32)
    for y in range(height):
        for k in range(windows):
            v = y - places[k, 0]
            if 0 <= v < high:
                for row in (y0[v], y1[v]):
                    if held[k, row & 1] != row:
                        held[k, row & 1] = row
                        _widen(logits[k, :, row], x0, x1, wx, wide_rows[k, row & 1])
        for start in range(0, width, TILE):
            size = min(TILE, width - start)
            for x in range(size):
                times[x] = 0
            seen = 0
            for k in range(windows):
                v, left = y - places[k, 0], places[k, 1]
                first, last = max(left, start), min(left + wide, start + size)
                if 0 <= v < high and first < last:
                    seen += 1
                    upper, lower, below = wide_rows[k, y0[v] & 1], wide_rows[k, y1[v] & 1], wy[v]
                    reached = times[first - start : last - start]
                    _add(upper, lower, first - left, one - below, below, reached, z, first - start)
            if seen > 1:
                for c in range(count):
                    for x in range(size):
                        z[c, x] /= times[x]
            for x in range(size):
                best[x] = z[0, x]
                who[x] = 0
            if lead.size:
                for x in range(size):
                    second[x] = -np.inf
                for c in range(1, count):
                    for x in range(size):
                        value = z[c, x]
                        above = value > best[x]
                        runner = best[x] if above else value
                        second[x] = runner if runner > second[x] else second[x]
                        best[x] = value if above else best[x]
                        who[x] = np.int32(c) if above else who[x]
                leads = lead[y, start : start + size]
                for x in range(size):
                    leads[x] = best[x] - second[x]
            else:
                for c in range(1, count):
                    for x in range(size):
                        value = z[c, x]
                        above = value > best[x]
                        best[x] = value if above else best[x]
                        who[x] = np.int32(c) if above else who[x]
            tops, kinds = largest[y, start : start + size], classes[y, start : start + size]
            for x in range(size):
                tops[x] = best[x]
                kinds[x] = np.uint8(who[x])
            for t in range(inverse.size):
                scale = inverse[t]
                for x in range(size):
                    sums[x] = 0
                    products[x] = 0
                for c in range(count):
                    kind = np.int32(c)
                    for x in range(size):
                        d = (z[c, x] - best[x]) * scale
                        n = np.floor(max(d * LOG2E, SMALLEST) + half)
                        r = (d - n * LN2_HIGH) - n * LN2_LOW
                        # exp on [-ln 2 / 2, ln 2 / 2] by its series; the first term left out is 2e-8 of the value
                        e = np.float32(1 / 720) + r * np.float32(1 / 5040)
                        e = np.float32(1 / 24) + r * (np.float32(1 / 120) + r * e)
                        e = one + r * (one + r * (half + r * (np.float32(1 / 6) + r * e)))
                        # 2^n, written through its exponent field
                        e *= np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)
                        e = np.float32(0) if who[x] == kind or d * LOG2E < SMALLEST else e
                        sums[x] += e
                        products[x] += e * d
                totals, weights = total[t, y, start : start + size], weighted[t, y, start : start + size]
                for x in range(size):
                    totals[x] = sums[x]
                    weights[x] = products[x]


@compiled
def _softmax_at(
    logits: Any,
    places: Any,
    y0: Any,
    y1: Any,
    wy: Any,
    x0: Any,
    x1: Any,
    wx: Any,
    width: Any,
    index: Any,
    probabilities: Any,
) -> None:
    count = logits.shape[1]
    one = np.float32(1)
    z = np.empty(count, np.float32)
    for pixel in range(len(index)):
        y, x = index[pixel] // width, index[pixel] % width
        z[:] = 0
        seen = 0
        for k in range(logits.shape[0]):
            v, u = y - places[k, 0], x - places[k, 1]
            if v < 0 or v >= len(y0) or u < 0 or u >= len(x0):
                continue
            seen += 1
            below, after = wy[v], wx[u]
            above, before = one - below, one - after
            for c in range(count):
                upper = before * logits[k, c, y0[v], x0[u]] + after * logits[k, c, y0[v], x1[u]]
                lower = before * logits[k, c, y1[v], x0[u]] + after * logits[k, c, y1[v], x1[u]]
                z[c] += above * upper + below * lower
        if seen > 1:
            for c in range(count):
                z[c] /= np.float32(seen)
        best = z[0]
        for c in range(1, count):
            best = max(best, z[c])
        total = np.float32(0)
        for c in range(count):
            z[c] = np.exp(z[c] - best)
            total += z[c]
        for c in range(count):
            probabilities[pixel, c] = z[c] / total
