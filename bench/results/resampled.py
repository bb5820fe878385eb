"""Intervals of resampled figures: percentiles of draws, of their differences, and on which side of a bound they lie."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

ENDS = (2.5, 97.5)  # percent of the draws


def limits(draws: NDArray[np.float64]) -> tuple[float | None, float | None]:
    """The 2.5 and 97.5 percentiles of resamples [R], those without a figure (NaN) left out; None where none has one."""
    known = draws if np.isfinite(draws).all() else draws[~np.isnan(draws)]
    if not np.isfinite(known).any():
        return None, None
    low, high = percentiles(known, ENDS)
    return low, high


def between(a: NDArray[np.float64] | None, b: NDArray[np.float64] | None) -> tuple[float | None, float | None]:
    """The 95 % interval of ``a - b``, draws [R] of the same resamples; None where there is nothing to pair."""
    if a is None or b is None or a.shape != b.shape:
        return None, None
    spread = a - b
    return limits(spread[np.isfinite(spread)])


def beyond(draws: NDArray[np.float64], least: float) -> bool | None:
    """Return True if the 2.5 percentile of the finite draws [R] is above ``least``; None where none is finite."""
    finite = np.isfinite(draws)
    known = draws if finite.all() else draws[finite]
    if not known.size:
        return None
    below = int((known.size - 1) * (ENDS[0] / 100))  # the percentile lies between this one and the next, ascending
    few = int(np.count_nonzero(known <= least))
    if few <= below or few > below + 1:
        return few <= below
    return percentiles(known, ENDS[:1])[0] > least


def percentiles(values: NDArray[np.float64], levels: Sequence[float]) -> list[float]:
    """``numpy.percentile`` of values [n] without NaN, n > 0, to the last bit; pages ask for a hundred thousand."""
    last = values.size - 1
    places = [last * (level / 100) for level in levels]
    below = [min(int(position), last) for position in places]
    ordered = np.partition(values, sorted({*below, *(min(position + 1, last) for position in below)}))
    at_levels = []
    for position, first in zip(places, below, strict=True):
        low, high = float(ordered[first]), float(ordered[min(first + 1, last)])
        share = position - first
        between = high - low
        at_levels.append(high - between * (1 - share) if share >= 0.5 else low + between * share)
    return at_levels
