"""The compiled loop of ``ranked_pair``."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.core.compiled import compiled


@compiled
def accepted(
    first: NDArray[Any], second: NDArray[Any], bad_before: int, all_before: int, out: NDArray[np.float64]
) -> int:
    """Write ``ranked_pair.Accepted`` of two ascending runs to out [4, n]; return how many keys there are."""
    own, other, size = 0, 0, 0
    while own < first.size or other < second.size:
        if own < first.size and (other == second.size or first[own] <= second[other]):
            key = first[own]
        else:
            key = second[other]
        bad, good = own, other
        while own < first.size and first[own] == key:
            own += 1
        while other < second.size and second[other] == key:
            other += 1
        out[2, size] = bad_before + bad
        out[3, size] = all_before + bad + good
        out[0, size] = own - bad
        out[1, size] = other - good
        size += 1
    return size
