"""Two columns of counts as one ranking, from the smallest key on: what is accepted before and at each key."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.counts.keys import union
from bench.counts.tally import Column

Floats = NDArray[np.float64]

try:
    from bench.counts import pair_kernels as kernels
except ImportError:  # numba is not installed
    kernels = None  # type: ignore[assignment]


class Accepted(NamedTuple):
    """Whole numbers as float64 [n], by ascending key."""

    bad: Floats  # pixels of the first column at the key
    good: Floats  # of the second
    bad_before: Floats  # of the first column below the key
    all_before: Floats  # of both


def accepted(first: Column, second: Column, bad_before: int = 0, all_before: int = 0) -> Accepted:
    """Return the ranking of two columns, where so many pixels lie below their smallest key."""
    if first.counts is None and second.counts is None and kernels is not None:
        out = np.empty((4, first.keys.size + second.keys.size))
        size = kernels.accepted(first.keys, second.keys, bad_before, all_before, out)
        return Accepted(*out[:, :size])
    keys = union([first.distinct()[0], second.distinct()[0]])
    bad, good = (column.ranks(keys)[1].astype(np.float64) for column in (first, second))
    both = bad + good  # below 2^53, so that every sum is exact
    return Accepted(bad, good, bad_before + np.cumsum(bad) - bad, all_before + np.cumsum(both) - both)
