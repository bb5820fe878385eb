"""Scores as keys in the same order, 32 bits of float32 and 64 of float64, and sets of such keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.counts.runs import Keys, WideKeys


def order_key(score: NDArray[np.float32]) -> Keys:
    """Map float32 to uint32 so that a < b exactly where key(a) < key(b); -0.0 equals 0.0, infinities are the ends."""
    bits = (score + np.float32(0)).view(np.uint32)  # + 0 turns -0.0 into 0.0
    return bits ^ ((bits.view(np.int32) >> 31).view(np.uint32) | np.uint32(0x80000000))


def wide_key(score: NDArray[np.float64]) -> WideKeys:
    """``order_key`` of float64, as uint64."""
    bits = (score + np.float64(0)).view(np.uint64)
    return bits ^ ((bits.view(np.int64) >> 63).view(np.uint64) | np.uint64(1 << 63))


def wide_value(keys: WideKeys) -> NDArray[np.float64]:
    """The scores that have these keys of 64 bits."""
    negative = ((~keys).view(np.int64) >> 63).view(np.uint64)
    return (keys ^ (negative | np.uint64(1 << 63))).view(np.float64)


def widened(keys: Keys) -> WideKeys:
    """The keys of 64 bits of the scores that have these keys of 32."""
    return wide_key(key_value(keys).astype(np.float64))


def narrowed(values: NDArray[Any]) -> NDArray[Any]:
    """Numbers as float32 if it holds them all, else as float64, with NaN as it is; ValueError if that does not."""
    if values.dtype.kind in "ui":
        largest = max(abs(int(values.min(initial=0))), abs(int(values.max(initial=0))))
        if largest > 1 << 53:
            raise ValueError(f"whole numbers up to {largest}, beyond the 2^53 up to which float64 tells all apart")
        return np.ascontiguousarray(values, np.float32 if largest <= 1 << 24 else np.float64)
    with np.errstate(over="ignore"):
        for dtype in (np.float32, np.float64):
            narrow: NDArray[Any] = np.ascontiguousarray(values, dtype)
            if values.dtype.itemsize <= narrow.itemsize or ((narrow == values) | (values != values)).all():
                return narrow
    raise ValueError(f"numbers of {values.dtype} that float64 does not hold")


def lost_order(values: NDArray[Any]) -> float:
    """The share of pairs of float64 values that float32 makes equal; of some thousands of them where they are many."""
    some = values.reshape(-1)[:: 1 + values.size // (1 << 16)]
    with np.errstate(over="ignore"):
        tied, before = (np.unique(side, return_counts=True)[1] for side in (some.astype(np.float32), some))
    pairs = max(some.size * (some.size - 1), 1)
    return float(((tied * (tied - 1)).sum() - (before * (before - 1)).sum()) / pairs)


def rounded_down(score: NDArray[np.float64]) -> NDArray[np.float32]:
    """The largest float32 that is not above each score: the order stays, but for new ties."""
    with np.errstate(over="ignore"):
        near = score.astype(np.float32)
    return np.where(near > score, np.nextafter(near, np.float32(-np.inf)), near)


def rounded_up(score: NDArray[np.float64]) -> NDArray[np.float32]:
    """The smallest float32 that is not below each score."""
    return -rounded_down(-score)


def at_or_above(score: NDArray[Any], threshold: float) -> NDArray[np.bool_]:
    """Where float32 or float64 scores are at least a threshold that float32 need not hold."""
    edge = rounded_up(np.array(threshold, np.float64)) if score.dtype == np.float32 else np.float64(threshold)
    return np.asarray(score >= edge)


def key_value(keys: Keys) -> NDArray[np.float32]:
    """The scores that have these keys of 32 bits."""
    negative = ((~keys).view(np.int32) >> 31).view(np.uint32)
    return (keys ^ (negative | np.uint32(0x80000000))).view(np.float32)


def union(parts: Sequence[Any]) -> Any:
    """Every key of the parts once, ascending. Sorting is several times faster here than the hashing of numpy.unique."""
    from bench.counts import sorting

    joint = sorting.merged(parts)
    first = np.ones(joint.size, bool)
    np.not_equal(joint[1:], joint[:-1], out=first[1:])
    return joint[first]
