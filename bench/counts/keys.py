"""Scores as keys of 32 bits in the same order, and sets of such keys."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bench.counts.runs import Keys


def order_key(score: NDArray[np.float32]) -> Keys:
    """Map float32 to uint32 so that a < b exactly where key(a) < key(b); -0.0 equals 0.0, infinities are the ends."""
    bits = (score + np.float32(0)).view(np.uint32)  # + 0 turns -0.0 into 0.0
    return bits ^ ((bits.view(np.int32) >> 31).view(np.uint32) | np.uint32(0x80000000))


def key_value(keys: Keys) -> NDArray[np.float32]:
    """The scores that have these keys of 32 bits."""
    negative = ((~keys).view(np.int32) >> 31).view(np.uint32)
    return (keys ^ (negative | np.uint32(0x80000000))).view(np.float32)


def union(parts: Sequence[Keys]) -> Keys:
    """Every key of the parts once, ascending. Sorting is several times faster here than the hashing of numpy.unique."""
    joint = np.concatenate([*parts, np.empty(0, np.uint32)])
    joint.sort()
    first = np.ones(joint.size, bool)
    np.not_equal(joint[1:], joint[:-1], out=first[1:])
    return joint[first]
