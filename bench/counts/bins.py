"""The leading bits of the keys of each image, as rows keep them: what the bootstrap resamples."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.core.values import Row, Rows
from bench.counts.keys import order_key, rounded_down, rounded_up, union, wide_key, wide_value, widened
from bench.counts.runs import AnyKeys, Keys
from bench.counts.tally import Column, Counts


def first_bin(threshold: float, bins: AnyKeys, bits: int) -> Any:
    """Where the bin of ``bits`` bits begins that holds the smallest score >= threshold; ``bins`` are such bins."""
    key, width = last_bin(threshold, bins, up=True), 8 * bins.itemsize
    return key >> bins.dtype.type(width - bits) << bins.dtype.type(width - bits)


def last_bin(threshold: float, bins: AnyKeys, *, up: bool = False) -> Any:
    """The key of the largest score <= threshold, as wide as those of ``bins``; with ``up`` of the smallest >= it."""
    value = np.array([threshold], np.float64)
    if bins.dtype == np.uint64:
        return wide_key(value)[0]
    return order_key(rounded_up(value) if up else rounded_down(value))[0]


def common_bins(rows: Rows) -> tuple[int, list[tuple[Any, NDArray[np.uint32]]]]:
    """The bits that every image has, and the keys and counts of each image folded to them, low bits 0.

    The keys are uint32, or uint64 for all images where they are for one: bins of 32 bits then stay as wide as they are.
    """
    wide = any(row["bins"].dtype == np.uint64 for row in rows.values())
    dtype, least = (np.uint64, 64) if wide else (np.uint32, 16)
    sized = [row for row in rows.values() if row["bins"].size and row["bins"].dtype == dtype]
    bits = min((int(row["bin_bits"]) for row in sized), default=least)
    mask = dtype((1 << 64) - (1 << (64 - bits)) if wide else (1 << 32) - (1 << (32 - bits)))
    images = [(row["bins"] if row["bins"].dtype == dtype else _widened(row["bins"]), row) for row in rows.values()]
    return bits, [_joined(keys & mask, row["bin_counts"]) for keys, row in images]


def _widened(bins: Keys) -> AnyKeys:
    return widened(np.maximum(bins, np.uint32(0x007FFFFF)))  # below -infinity there are only NaNs


def _joined(keys: Any, counts: NDArray[np.uint32]) -> tuple[Any, NDArray[np.uint32]]:
    """Ascending keys [n] once each, and the sums of their counts [n, K]."""
    first = np.flatnonzero(np.concatenate([[keys.size > 0], keys[1:] != keys[:-1]]))
    if first.size == keys.size:
        return keys, counts
    return keys[first], np.add.reduceat(counts, first, axis=0, dtype=np.uint32)


def _narrowed(row: Row) -> Row:
    """Bins of 64 bits as what they round down to in 24."""
    if row["bins"].dtype != np.uint64:
        return row
    keys = order_key(rounded_down(wide_value(row["bins"]))) & np.uint32(0xFFFFFF00)
    keys, counts = _joined(keys, row["bin_counts"])
    return {"bins": keys, "bin_counts": counts, "bin_bits": np.array(24, np.uint8)}


def binned_counts(rows: Rows, categories: int) -> Counts:
    """The counts of all images together, from the leading bits that every one of them has kept."""
    narrowed = {sample: _narrowed(row) for sample, row in rows.items()}
    rounded = any(narrowed[sample] is not row for sample, row in rows.items())
    bits, images = common_bins(narrowed)
    used = union([keys for keys, _ in images])
    table = np.zeros((used.size, categories), np.int64)
    for keys, counts in images:
        table[np.searchsorted(used, keys)] += counts
    shifted = used >> np.uint32(32 - bits)
    return Counts(bits, [Column(shifted[column > 0], column[column > 0]) for column in table.T], rounded=rounded)
