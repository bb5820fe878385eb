"""The leading bits of the keys of each image, as rows keep them: what the bootstrap resamples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from bench.core.kept_rows import described
from bench.core.values import Row, Rows
from bench.counts.keys import order_key, rounded_down, rounded_up, union, wide_key, wide_value, widened
from bench.counts.runs import AnyKeys, Keys
from bench.counts.tally import Column, Counts

SOME = 64  # images whose keys are in memory at once


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


class Binned(Sequence[tuple[Any, NDArray[np.uint32]]]):
    """The keys and counts of each image, folded to bits that all of them have: made when they are asked for."""

    def __init__(self, rows: Sequence[Row], bits: int, dtype: type[np.uint32 | np.uint64]) -> None:
        self._rows, self._bits, self._dtype = rows, bits, dtype
        width = 8 * np.dtype(dtype).itemsize
        self._mask = dtype((1 << width) - (1 << (width - bits)))

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> tuple[Any, NDArray[np.uint32]]: ...

    @overload
    def __getitem__(self, index: slice) -> Binned: ...

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return Binned(self._rows[index], self._bits, self._dtype)
        row = self._rows[index]
        keys = row["bins"]
        if keys.dtype == self._dtype and int(row["bin_bits"]) == self._bits:  # as they were made
            return keys, row["bin_counts"]
        return _joined((keys if keys.dtype == self._dtype else _widened(keys)) & self._mask, row["bin_counts"])

    def used(self) -> Any:
        """Return every key that occurs, and 0, ascending."""
        used: Any = np.zeros(1, np.uint32)
        for start in range(0, len(self), SOME):
            used = union([used, *(keys for keys, _ in self[start : start + SOME])])
        return used


def common_bins(rows: Rows) -> tuple[int, Binned]:
    """The bits that every image has, and the keys and counts of each image folded to them, low bits 0.

    The keys are uint32, or uint64 for all images where they are for one: bins of 32 bits then stay as wide as they are.
    """
    known = [(row, *described(row, "bins")) for row in rows.values()]
    wide = any(dtype == np.uint64 for _, _, dtype in known)
    dtype, least = (np.uint64, 64) if wide else (np.uint32, 16)
    bits = min((int(row["bin_bits"]) for row, shape, own in known if shape[0] and own == dtype), default=least)
    return bits, Binned(list(rows.values()), bits, dtype)


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
    if described(row, "bins")[1] != np.uint64:
        return row
    keys = order_key(rounded_down(wide_value(row["bins"]))) & np.uint32(0xFFFFFF00)
    keys, counts = _joined(keys, row["bin_counts"])
    return {"bins": keys, "bin_counts": counts, "bin_bits": np.array(24, np.uint8)}


def binned_counts(rows: Rows, categories: int) -> Counts:
    """The counts of all images together, from the leading bits that every one of them has kept."""
    narrowed = {sample: _narrowed(row) for sample, row in rows.items()}
    rounded = any(narrowed[sample] is not row for sample, row in rows.items())
    bits, images = common_bins(narrowed)
    used = images.used()
    table = np.zeros((used.size, categories), np.int64)
    for keys, counts in images:
        table[np.searchsorted(used, keys)] += counts
    shifted = used >> np.uint32(32 - bits)
    return Counts(bits, [Column(shifted[column > 0], column[column > 0]) for column in table.T], rounded=rounded)
