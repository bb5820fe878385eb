"""Pixels counted by category and score: all that rankings need, and the same whatever the order.

A score becomes an order-preserving key. The leading 32 bits of it are the score itself (exact), 24 bits bound every
figure to within 5e-5 (certified), and 16 bits per image resample (bootstrap). Each is a fold of the one before.

Scores are float32. Those that float32 cannot tell apart come as float64 (``keys.narrowed``); from the first such map on
a tally keeps keys of 64 bits, exact at twice the memory, and folds them to the 24 bits of what they round down to.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.core.values import Labels, Scores
from bench.counts.keys import (
    key_value,
    order_key,
    rounded_down,
    rounded_up,
    union,
    wide_key,
    wide_value,
    widened,
)
from bench.counts.runs import AnyKeys, Runs

BUDGET = 2**30  # bytes
CROWDED = 128  # keys of one image below which 16 bits tell too little of its ranking
WIDEST = 2**32  # pixels that a table of uint32 surely holds
DENSE = 4  # categories


class Column(NamedTuple):
    """The pixels of one category, by key."""

    keys: Any  # AnyKeys, ascending; distinct if there are counts
    counts: NDArray[np.int64] | None  # None: every key once, and as often as it occurs

    @property
    def total(self) -> int:
        return self.keys.size if self.counts is None else int(self.counts.sum())

    def distinct(self) -> tuple[Any, NDArray[np.int64]]:
        """Keys ascending without repetition, and how often each occurs."""
        if self.counts is not None:
            return self.keys, self.counts
        first = np.flatnonzero(np.concatenate([[self.keys.size > 0], self.keys[1:] != self.keys[:-1]]))
        return self.keys[first], np.diff(np.append(first, self.keys.size))

    def ranks(self, keys: AnyKeys) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """For ascending, distinct keys [n]: how many pixels of this column are below each, and how many at it."""
        from bench.counts import counting

        if self.counts is None:
            first, last = np.searchsorted(self.keys, keys[:1], "left"), np.searchsorted(self.keys, keys[-1:], "right")
            start, end = (int(position[0]) if position.size else 0 for position in (first, last))
            below, at = counting.ranks_among(keys, self.keys[start:end])
            return below + start, at
        up_to = np.concatenate([[0], np.cumsum(self.counts)])
        below, at = counting.ranks_among(keys, self.keys)
        return up_to[below], up_to[below + at] - up_to[below]


class Counts:
    """Counts by key and category, ``bits`` leading bits of each key, right aligned.

    64 bits are whole float64 scores, 32 whole float32 ones; fewer are of float32, to which scores were ``rounded`` down
    if they were float64. ``near``, if there is one, is exact: all pixels of a span of scores that was looked at again.
    """

    def __init__(
        self, bits: int, columns: Sequence[Column], *, rounded: bool = False, near: Counts | None = None
    ) -> None:
        self.bits = bits
        self.columns = tuple(columns)
        self.rounded = rounded
        self.near = near
        self._joined: dict[tuple[int, ...], Column] = {}

    @property
    def exact(self) -> bool:
        """Every key is one score."""
        return self.bits >= 32

    @cached_property
    def keys(self) -> Any:
        """AnyKeys [n], ascending: every key that occurs."""
        return union([column.distinct()[0] for column in self.columns])

    @property
    def pixels(self) -> int:
        """The number of counted pixels."""
        return sum(column.total for column in self.columns)

    def counts(self) -> Counts:
        """Itself: protocols were given the tally before, and asked it for its counts."""
        message = "Protocol.read and Protocol.breakdown are given the counts, no longer the tally: drop '.counts()'"
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        return self

    @cached_property
    def table(self) -> NDArray[np.int64]:
        """int64 [n, K]. Large for an exact tally: prefer ``column`` where one or two groups are all that is needed."""
        table = np.zeros((self.keys.size, len(self.columns)), np.int64)
        for category, column in enumerate(self.columns):
            keys, counts = column.distinct()
            table[np.searchsorted(self.keys, keys), category] = counts
        return table

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Counts:
        """Return what ``Tally.arrays`` holds, without a tally to add to: the arrays are used as they are."""
        bits, ends = int(arrays["tally"][2]), [int(end) for end in arrays["ends"]]
        columns = []
        for start, end in pairwise([0, *ends]):
            keys = arrays["keys"][start:end]
            columns.append(Column(keys, None if bits >= 32 else arrays["counts"][start:end].astype(np.int64)))
        return cls(bits, columns, rounded=arrays["tally"].size > 4)

    def column(self, categories: Sequence[int]) -> Column:
        """Several categories as one; kept, since the figures of one cell ask for the same ones again and again."""
        if len(categories) == 1:
            return self.columns[categories[0]]
        key = tuple(categories)
        if key not in self._joined:
            self._joined[key] = self._join(key)
        return self._joined[key]

    def _join(self, categories: Sequence[int]) -> Column:
        chosen = [self.columns[category] for category in categories]
        if self.exact:
            from bench.counts import sorting

            return Column(sorting.merged([column.keys for column in chosen]), None)
        keys = np.concatenate([column.keys for column in chosen] or [np.empty(0, np.uint32)])
        unique, index = np.unique(keys, return_inverse=True)
        counts = np.zeros(unique.size, np.int64)
        np.add.at(counts, index, np.concatenate([column.distinct()[1] for column in chosen] or [counts]))
        return Column(unique, counts)

    def lowest(self, keys: AnyKeys) -> NDArray[Any]:
        """The smallest score that has each key: what is not below it has this key or a larger one.

        float32, or float64 for 64 bits.
        """
        if self.bits == 64:
            return wide_value(np.asarray(keys, np.uint64))
        shifted = np.asarray(keys, np.uint32) << np.uint32(32 - self.bits)
        return key_value(np.maximum(shifted, np.uint32(0x007FFFFF)))  # below -infinity there are only NaNs

    def highest(self, keys: AnyKeys) -> NDArray[Any]:
        """The largest score that has each key; of rounded ones the next float32, which none of them reaches."""
        if self.bits == 64:
            return wide_value(np.asarray(keys, np.uint64))
        shift = np.uint32(32 - self.bits)
        filled = np.asarray(keys, np.uint32) << shift | np.uint32((1 << int(shift)) - 1)
        highest = key_value(np.minimum(filled, np.uint32(0xFF800000)))  # above infinity there are only NaNs
        with np.errstate(over="ignore"):
            return np.nextafter(highest, np.float32(np.inf)) if self.rounded else highest

    def first_at(self, threshold: float) -> tuple[AnyKeys, bool]:
        """The key [1] of the smallest score >= threshold, and whether every score of that key is."""
        value = np.array([threshold], np.float64)
        if self.bits == 64:
            return wide_key(value), True
        near = rounded_down(value) if self.rounded else rounded_up(value)
        key = order_key(near) >> np.uint32(32 - self.bits)
        return key, threshold <= float(self.lowest(key)[0])

    def last_at(self, threshold: float) -> tuple[AnyKeys, bool]:
        """The key [1] of the largest score <= threshold, and whether every score of that key is."""
        value = np.array([threshold], np.float64)
        if self.bits == 64:
            return wide_key(value), True
        return order_key(rounded_down(value)) >> np.uint32(32 - self.bits), self.bits == 32


class Keyed:
    """The pixels of one image, ready to be counted."""

    def __init__(self, score: NDArray[Any], categories: NDArray[np.uint8], totals: NDArray[np.int64]) -> None:
        self.score = score  # float32 or float64 [n]
        self.categories = categories  # uint8 [n]
        self.totals = totals  # int64 [K]: the pixels of each category
        self.n_categories = totals.size
        self.pixels = int(totals.sum())  # that are not ignored

    @property
    def wide(self) -> bool:
        """The scores are float64."""
        return self.score.dtype == np.float64

    @cached_property
    def bits(self) -> NDArray[np.uint32]:
        """uint32 [n]: float32 scores as they lie in memory, float64 ones rounded down."""
        return (rounded_down(self.score) if self.wide else self.score).view(np.uint32)

    def split(self) -> list[Any]:
        """The keys by category, unsorted: of 32 bits, or of 64 where the scores are wide."""
        from bench.counts import counting

        if self.wide:
            keys = wide_key(self.score)
            return [keys[self.categories == category] for category in range(self.n_categories)]
        return counting.split_keys(self.bits, self.categories, self.totals)

    def bins(self) -> dict[str, NDArray[Any]]:
        """Return fields of a row: what the bootstrap resamples.

        ``bins`` uint32 [n], ascending: the keys that occur, all but the leading bits 0; ``bin_counts`` uint32 [n, K];
        ``bin_bits`` uint8 []: 16, unless the scores of the image crowd into fewer than ``CROWDED`` of such keys, as
        those just below 1 do: then 20 or 24. Wide scores that crowd even so have uint64 ``bins``, of 32 to 64 bits.
        """
        return self._binned

    @cached_property
    def _binned(self) -> dict[str, NDArray[Any]]:
        from bench.counts import counting

        table = counting.count_bins(self.bits, self.categories, self.n_categories)
        used = np.flatnonzero(table.any(axis=0))
        if used.size >= CROWDED or not used.size:
            return _bins(used.astype(np.uint32) << np.uint32(16), table[:, used].T, 16)
        columns = self.split()
        joined = np.concatenate(columns)
        for bits in (20, 24, 32, 40, 48, 56, 64) if self.wide else (20, 24):
            shift = joined.dtype.type(8 * joined.itemsize - bits)
            keys, index = np.unique(joined >> shift, return_inverse=True)
            if keys.size >= CROWDED:
                break
        owners = np.repeat(np.arange(len(columns)), [column.size for column in columns])
        joint = np.bincount(index * len(columns) + owners, minlength=keys.size * len(columns))
        return _bins(keys << shift, joint.reshape(keys.size, -1), bits)


def key_pixels(score: Scores, categories: Labels, n_categories: int) -> Keyed:
    """Score float32 or float64 [H, W], categories uint8 [H, W] below K, 255 ignored.

    Nothing is copied that is contiguous and can be written.
    """
    if score.shape != categories.shape or score.dtype not in (np.float32, np.float64) or categories.dtype != np.uint8:
        raise ValueError(
            f"score is {score.dtype} {score.shape}, categories {categories.dtype} {categories.shape}; "
            "wanted float32 or float64, and uint8, of one shape"
        )
    # What counts was compiled for arrays that can be written, and would be again for those that cannot.
    score = score if score.flags.writeable else score.copy()
    categories = categories if categories.flags.writeable else categories.copy()
    from bench.counts import counting

    flat = np.ascontiguousarray(categories).reshape(-1)
    totals = counting.totals(flat, n_categories)
    if totals is None:
        largest = int((flat + np.uint8(1)).max()) - 1  # 255, ignored, becomes 0
        raise ValueError(f"a pixel of category {largest}; there are {n_categories}")
    return Keyed(np.ascontiguousarray(score).reshape(-1), flat, totals)


def _bins(keys: AnyKeys, counts: NDArray[Any], bits: int) -> dict[str, NDArray[Any]]:
    return {
        "bins": keys,
        "bin_counts": np.ascontiguousarray(counts, np.uint32),
        "bin_bits": np.array(bits, np.uint8),
    }


class Tally:
    """Counts of (category, key) over any number of images: a commutative monoid.

    Exact (every score of every valid pixel, 4 bytes each, 8 if one is wide) while the pixels fit ``budget`` bytes,
    counts of the leading 24 bits beyond. Pixels only grow under ``add`` and ``merge``, so the final state is a function
    of the set of pixels alone: neither order nor batches nor shards can change a number.
    """

    def __init__(self, categories: int, budget: int = BUDGET) -> None:
        if not 1 <= categories <= 64:
            raise ValueError(f"{categories} categories; wanted 1 to 64")
        self.categories = categories
        self.budget = budget  # bytes
        self.pixels = 0  # valid ones
        self.wide = False  # a map was float64
        self._runs: Runs | None = Runs(categories)  # None once folded
        self._directory: NDArray[np.int32] = np.empty((0, 0), np.int32)
        self._pool: NDArray[Any] = np.empty((0, 0), np.uint32)
        self._used = 0

    @property
    def exact(self) -> bool:
        return self._runs is not None

    @property
    def bits(self) -> int:
        """32, or 64 of wide scores, if exact; 24 if certified."""
        return (64 if self.wide else 32) if self.exact else 24

    def add(self, pixels: Keyed) -> None:
        """Count one image."""
        from bench.counts import counting

        if pixels.n_categories != self.categories:
            raise ValueError(f"pixels of {pixels.n_categories} categories for a tally of {self.categories}")
        self._make_room(pixels.pixels, wide=pixels.wide)
        if self._runs is not None:
            for category, keys in enumerate(pixels.split()):
                self._runs.append(category, self._as_wide(keys))
        else:
            self._pool, self._used = counting.count_pages(
                pixels.bits, pixels.categories, self._directory, self._pool, self._used
            )

    def merge(self, other: Tally) -> None:
        """Add what another tally has counted; it stays as it is."""
        if (self.categories, self.budget) != (other.categories, other.budget):
            raise ValueError("tallies of different categories or budgets do not add")
        self._make_room(other.pixels, wide=other.wide)
        if other._runs is None:
            self.fold()
        for category in range(self.categories):
            if other._runs is None:
                self._add_column(category, other._paged(category))
                continue
            for piece in other._runs.pieces(category):
                if self._runs is None:
                    self._add_column(category, _folded(piece))
                else:
                    self._runs.append(category, self._as_wide(piece.copy()))

    def copy(self) -> Tally:
        """Another tally of the same pixels."""
        copy = Tally(self.categories, self.budget)
        copy.merge(self)
        return copy

    def fold(self) -> None:
        """Keep the leading 24 bits only, whatever the budget allows."""
        if self._runs is None:
            return
        runs, self._runs = self._runs, None
        # Few categories have all their pages, of which what is never counted is never touched; many share a pool.
        every = self.categories << 12
        self._used = every if self.categories <= DENSE else 0
        pages = np.arange(every, dtype=np.int32) if self._used else np.full(every, -1, np.int32)
        self._directory = pages.reshape(self.categories, 1 << 12)
        self._pool = np.zeros((self._used or 64, 1 << 12), np.uint32 if self.pixels < WIDEST else np.uint64)
        for category in range(self.categories):
            for piece in runs.pieces(category):
                self._add_column(category, _folded(piece))

    def between(self, low: float, high: float, budget: int) -> Tally | None:
        """Another tally of the pixels with low <= score <= high; None where they are too many, or known in part."""
        if self._runs is None:
            return None
        part = Tally(self.categories, budget)
        ends = np.array([low, high])
        first, last = wide_key(ends) if self.wide else order_key(ends.astype(np.float32))
        for category in range(self.categories):
            for piece in self._runs.pieces(category):
                keys = piece[(piece >= first) & (piece <= last)]
                part._make_room(keys.size, wide=self.wide)
                if part._runs is None:
                    return None
                part._runs.append(category, keys)
        return part

    def counts(self) -> Counts:
        """Return what has been counted. The arrays are the tally's own: read only, and until the next ``add``."""
        return Counts(self.bits, self._columns(), rounded=self.wide and not self.exact)

    def arrays(self, *, ascending: bool = True) -> dict[str, NDArray[Any]]:
        """The state for an .npz file: equal states give equal arrays.

        Without ``ascending`` exact keys come as they were counted: for a part that is sorted with others later.
        """
        state = [self.categories, self.budget, self.bits, self.pixels]
        columns = self._columns() if ascending or self._runs is None else self._counted(self._runs)
        return _arrays(columns, [*state, 1] if self.wide else state)

    def _counted(self, runs: Runs) -> list[Column]:
        none = np.empty(0, runs.dtype)
        return [Column(np.concatenate([none, *runs.pieces(category)]), None) for category in range(self.categories)]

    def folded_arrays(self) -> dict[str, NDArray[Any]]:
        """``arrays`` of the tally folded to 24 bits; the tally stays as it is."""
        if self._runs is None:
            return self.arrays()
        state = [self.categories, self.budget, 24, self.pixels]
        whole = [self._runs.whole(category) for category in range(self.categories)]  # ascending: no page is needed
        columns = [Column(*Column(_leading(keys), None).distinct()) for keys in whole]
        return _arrays(columns, [*state, 1] if self.wide else state)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Tally:
        """The inverse of ``arrays``."""
        categories, budget, bits, pixels, *wide = (int(value) for value in arrays["tally"])
        tally = cls(categories, budget)
        if bits == 24:
            tally.fold()
        tally._make_room(pixels, wide=bool(wide))
        ends = arrays["ends"]
        for category, (start, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
            keys = arrays["keys"][start:end]
            if tally._runs is None:
                tally._add_column(category, Column(keys, arrays["counts"][start:end].astype(np.int64)))
            else:
                tally._runs.append(category, keys)
        return tally

    def _make_room(self, pixels: int, *, wide: bool) -> None:
        self.pixels += pixels
        if wide and not self.wide:
            self._widen()
        if self.exact and self.pixels * (8 if self.wide else 4) > self.budget:
            self.fold()
        if not self.exact and self.pixels >= WIDEST and self._pool.dtype == np.uint32:
            self._pool = self._pool.astype(np.uint64)

    def _widen(self) -> None:
        """Keep keys of 64 bits from here on."""
        self.wide = True
        if self._runs is None:
            return
        runs, self._runs = self._runs, Runs(self.categories, np.uint64)
        for category in range(self.categories):
            for piece in runs.pieces(category):
                self._runs.append(category, widened(piece))

    def _as_wide(self, keys: AnyKeys) -> AnyKeys:
        return widened(keys) if self.wide and keys.dtype == np.uint32 else keys

    def _add_column(self, category: int, column: Column) -> None:
        from bench.counts import counting

        categories = np.full(column.keys.size, category, np.uint8)
        self._pool, self._used = counting.add_keys(
            column.keys, categories, column.counts, self._directory, self._pool, self._used
        )

    def _columns(self) -> list[Column]:
        if self._runs is None:
            return [self._paged(category) for category in range(self.categories)]
        return [Column(self._runs.whole(category), None) for category in range(self.categories)]

    def _paged(self, category: int) -> Column:
        if self.categories <= DENSE:
            leading = np.flatnonzero(self._pool[category << 12 : (category + 1) << 12].max(axis=1))
        else:
            leading = np.flatnonzero(self._directory[category] >= 0)
        counts = self._pool[self._directory[category, leading]].reshape(-1)
        cells = np.flatnonzero(counts != 0)
        keys = leading.astype(np.uint32)[cells >> 12] << np.uint32(12) | cells.astype(np.uint32) & np.uint32(0xFFF)
        return Column(keys, counts[cells].astype(np.int64))


def _leading(keys: AnyKeys) -> AnyKeys:
    """The leading 24 bits of each, of 64 bits those of the float32 below; ascending where the keys are."""
    if keys.dtype == np.uint64:
        keys = order_key(rounded_down(wide_value(keys)))
    return keys >> np.uint32(8)


def _folded(keys: AnyKeys) -> Column:
    from bench.counts import sorting

    return Column(*Column(sorting.merged([_leading(keys)]), None).distinct())


def _arrays(columns: Sequence[Column], state: Sequence[int]) -> dict[str, NDArray[Any]]:
    """``state``: categories, budget, bits, pixels, and a 1 where scores were wide."""
    counts = [column.counts for column in columns if column.counts is not None]
    joint = np.concatenate(counts) if counts else np.empty(0, np.int64)
    return {
        "tally": np.array(state, np.int64),
        "ends": np.cumsum([column.keys.size for column in columns]).astype(np.int64),
        "keys": np.concatenate([column.keys for column in columns]),
        "counts": joint.astype(np.uint32 if joint.max(initial=0) < WIDEST else np.uint64),
    }
