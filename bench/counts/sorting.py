"""Keys in ascending order: by compiled passes over their digits where numba is installed, by NumPy otherwise."""

from __future__ import annotations

from collections.abc import Iterable
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

kernels: ModuleType | None
try:
    from bench.counts import kernels
except ImportError:
    kernels = None

SHORT = 1 << 14  # keys that numpy.sort sorts sooner than tables of digits are filled


def merged(parts: Iterable[NDArray[Any]]) -> NDArray[Any]:
    """All keys of the parts, ascending, in an array of their own."""
    arrays = list(parts)
    dtype = np.result_type(np.uint32, *(part.dtype for part in arrays))
    return sorted_keys(arrays, arrays, sum(part.size for part in arrays), dtype)


def sorted_keys(
    look: Iterable[NDArray[Any]], take: Iterable[NDArray[Any]], size: int, dtype: np.dtype[Any]
) -> NDArray[Any]:
    """``size`` keys in ascending order, that ``look`` and then ``take`` yield in parts, neither of which is kept.

    By their digits, most of which are sorted within the cache: numpy.sort takes from 8 to 35 ns per key, as the
    processor's vectors are.
    """
    whole = np.empty(size, dtype)
    if kernels is None or size < SHORT or dtype != np.uint32:
        end = 0
        for part in take:
            whole[end : end + part.size] = part
            end += part.size
        whole.sort()
        return whole
    table = np.zeros(1 << 16, np.int64)
    for part in look:
        kernels.count_words(_writable(part), table)
    ends = np.cumsum(table)
    starts = ends - table
    for part in take:
        kernels.place(_writable(part), starts, whole)
    spare, low, high, counts = (np.zeros(size, np.uint32) for size in (kernels.MANY, 256, 256, 1 << 16))
    kernels.sort_trailing(whole, ends, spare, low, high, counts)
    return whole


def _writable(keys: NDArray[Any]) -> NDArray[Any]:
    """The keys, or a copy: for arrays that cannot be written the loops would be compiled again."""
    return np.require(keys, requirements=["C", "W"])
