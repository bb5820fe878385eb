"""Counting pixels: with the compiled loops where numba is installed, with NumPy otherwise; the results are equal."""

from __future__ import annotations

from itertools import pairwise
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.core.values import IGNORE
from bench.counts.keys import order_key

kernels: ModuleType | None
try:
    from bench.counts import kernels
except ImportError:
    kernels = None


FEW = 6  # categories
NO_PAGES = np.empty(0, np.int32)
PIECE = 1 << 18  # pixels whose comparisons stay in the cache


def count_labels(values: NDArray[np.uint8]) -> NDArray[np.int64]:
    """int64 [256]: how often each value occurs."""
    if kernels is not None:
        table = np.zeros((4, 256), np.int64)
        kernels.count_labels(_writable(values), table)
        counts: NDArray[np.int64] = table.sum(axis=0)
        return counts
    return np.bincount(values, minlength=256)


def totals(categories: NDArray[np.uint8], n_categories: int) -> NDArray[np.int64] | None:
    """int64 [K]: the pixels of each category of [n]; None where one of them is of another, 255 aside."""
    if n_categories > FEW:
        counts = count_labels(categories)
        known, ignored = counts[:n_categories], counts[IGNORE]
    else:  # some comparisons, by the processor's vectors, are faster than a table
        known, ignored = np.zeros(n_categories, np.int64), 0
        for start in range(0, categories.size, PIECE):
            here = categories[start : start + PIECE]
            known += [np.count_nonzero(here == category) for category in range(n_categories)]
            ignored += np.count_nonzero(here == IGNORE)
    return known if known.sum() + ignored == categories.size else None


def count_pairs(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.int64]:
    """int64 [256, 256]: how often each pair of values occurs at one place."""
    if kernels is not None:
        table = np.zeros((256, 256), np.int64)
        kernels.count_pairs(_writable(first), _writable(second), table)
        return table
    return np.bincount(first.astype(np.uint16) << 8 | second, minlength=1 << 16).reshape(256, 256)


def count_bins(bits: NDArray[np.uint32], categories: NDArray[np.uint8], n_categories: int) -> NDArray[np.uint32]:
    """uint32 [K, 65536]: the leading 16 bits of the keys by category."""
    if kernels is not None:
        table = np.zeros((n_categories, 1 << 16), np.uint32)
        _count_leading_bits(kernels, 16, bits, categories, NO_PAGES, table)
        return table
    valid = categories != IGNORE
    cells = categories[valid].astype(np.int64) << 16 | _keys(bits[valid]) >> np.uint32(16)
    return np.bincount(cells, minlength=n_categories << 16).astype(np.uint32).reshape(n_categories, -1)


def split_keys(
    bits: NDArray[np.uint32], categories: NDArray[np.uint8], known: NDArray[np.int64]
) -> list[NDArray[np.uint32]]:
    """The keys of each category, in the order of the pixels; ``known`` [K]: ``totals``."""
    if kernels is not None:
        starts = np.concatenate([[0], np.cumsum(known)])
        ends = np.full(256, starts[-1], np.int64)
        ends[: known.size] = starts[:-1]
        out = np.empty(int(starts[-1]) + 1, np.uint32)
        kernels.split_keys(bits, categories, ends, out)
        return [out[a:b] for a, b in pairwise(starts)]
    keys = _keys(bits)
    return [keys[categories == category] for category in range(known.size)]


def count_pages(
    bits: NDArray[np.uint32],
    categories: NDArray[np.uint8],
    directory: NDArray[np.int32],
    pool: NDArray[Any],
    used: int,
) -> tuple[NDArray[Any], int]:
    """Add the leading 24 bits to the pages of ``pool``, which grows as needed; the pool and the pages used.

    directory int32 [K, 4096]: the page of pool [pages, 4096] for a key's leading 12 bits, -1 for none.
    """
    if kernels is not None:
        pages = NO_PAGES
        if used < directory.size:  # else every page is there, in order
            table = np.zeros(directory.size, np.uint32)
            _count_leading_bits(kernels, 20, bits, categories, NO_PAGES, table)
            pages = directory.reshape(-1)
            used = _open(np.flatnonzero(table), pages, used)
            pool = grown(pool, used)
        _count_leading_bits(kernels, 8, bits, categories, pages, pool)
        return pool, used
    valid = categories != IGNORE
    return add_keys(_keys(bits[valid]) >> np.uint32(8), categories[valid], None, directory, pool, used)


def add_keys(
    keys: NDArray[np.uint32],
    categories: NDArray[np.uint8],
    counts: NDArray[Any] | None,
    directory: NDArray[np.int32],
    pool: NDArray[Any],
    used: int,
) -> tuple[NDArray[Any], int]:
    """``count_pages`` for keys of 24 bits that are there already, [n], each ``counts`` [n] times (None: once)."""
    pages = categories.astype(np.int64) << 12 | keys >> np.uint32(12)
    flat = directory.reshape(-1)
    used = _open(np.unique(pages), flat, used)
    pool = grown(pool, used)
    cells = flat[pages].astype(np.int64) << 12 | keys & np.uint32(0xFFF)
    np.add.at(pool.reshape(-1), cells, pool.dtype.type(1) if counts is None else counts.astype(pool.dtype))
    return pool, used


def _open(wanted: NDArray[np.int64], pages: NDArray[np.int32], used: int) -> int:
    """Give those of the wanted pages a place that have none yet; return how many are used then."""
    absent = wanted[pages[wanted] < 0]
    pages[absent] = np.arange(used, used + absent.size)
    return used + absent.size


def _count_leading_bits(
    compiled: ModuleType,
    shift: int,
    bits: NDArray[np.uint32],
    categories: NDArray[np.uint8],
    pages: NDArray[np.int32],
    counts: NDArray[Any],
) -> None:
    cells = np.empty(compiled.BLOCK, np.uint32)
    key_shift, owner_shift = np.uint32(shift), np.uint32(32 - shift)
    compiled.count_leading_bits(bits, categories, key_shift, owner_shift, pages, cells, counts.reshape(-1))


def _writable(values: NDArray[Any]) -> NDArray[Any]:
    """The values, or a copy: for arrays that cannot be written the loops would be compiled again."""
    return np.require(values, requirements=["C", "W"])


def grown(pool: NDArray[Any], pages: int) -> NDArray[Any]:
    """The pool with room for so many pages, and a quarter more if it must grow."""
    if pages <= len(pool):
        return pool
    larger = np.zeros((max(pages, len(pool) + len(pool) // 4), 1 << 12), pool.dtype)
    larger[: len(pool)] = pool
    return larger


def ranks_among(keys: NDArray[Any], among: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For ascending keys [n]: how many of the ascending ``among`` are smaller, and how many equal."""
    if kernels is not None:
        below, at = np.empty(keys.size, np.int64), np.empty(keys.size, np.int64)
        kernels.ranks_among(_writable(keys), _writable(among), below, at)
        return below, at
    below = np.searchsorted(among, keys, "left").astype(np.int64)
    return below, np.searchsorted(among, keys, "right") - below


def rank_bins(positives: NDArray[np.float64], negatives: NDArray[np.float64]) -> NDArray[np.float64]:
    """[R, 5]: AUROC, AP, FPR95, best F1 and AURC of whole counts [R, bins] in ascending order of the scores.

    A bin is one tie, but for FPR95, which is interpolated in its bin, and AURC, where it has the risk of its end. NaN
    where a side has no pixel.
    """
    if kernels is not None:
        out = np.full((len(positives), 5), np.nan)
        kernels.rank_bins(_writable(positives), _writable(negatives), out)
        return out
    p, n = positives[:, ::-1], negatives[:, ::-1]
    true, false = np.cumsum(p, axis=1), np.cumsum(n, axis=1)
    total_p, total_n = true[:, -1:], false[:, -1:]
    above = true + false
    with np.errstate(invalid="ignore", divide="ignore"):
        remaining = total_p + total_n - (true - p) - (false - n)
        # cumsum adds in order, as a loop does; sum does not
        area = np.cumsum(p * (total_n - false + n / 2), axis=1)[:, -1:] / (total_p * total_n)
        precise = np.cumsum(p * (true / np.where(above > 0, above, 1)), axis=1)[:, -1:] / total_p
        risk = (total_p - (true - p)) / np.where(remaining > 0, remaining, 1) * (p + n)
        best = (2 * true / (above + total_p)).max(axis=1, keepdims=True)
        first = np.argmax((20 * true >= 19 * total_p) & (p > 0), axis=1)[:, None]
        q, m, hits, alarms = (np.take_along_axis(values, first, 1) for values in (p, n, true, false))
        alarms = (alarms - m * (1 - np.minimum((0.95 * total_p - hits + q) / q, 1))) / total_n
        figures = [area, precise, alarms, best, np.cumsum(risk, axis=1)[:, -1:] / (total_p + total_n)]
    return np.where((total_p == 0) | (total_n == 0), np.nan, np.concatenate(figures, axis=1))


def _keys(bits: NDArray[np.uint32]) -> NDArray[np.uint32]:
    return order_key(bits.view(np.float32))
