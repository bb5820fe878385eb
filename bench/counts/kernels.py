"""The loops over pixels, compiled. Imported by ``counting`` alone, when something is counted: numba takes a second.

Scores arrive as the bits of float32, so that no kernel depends on how a compiler treats NaN, infinity or rounding.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.core.compiled import compiled, inner

BLOCK = 1 << 11  # pixels whose places in a table are computed before any of them is counted
ALIKE = 16  # neighbours that are looked at together: most often they are of one category
SKIPPED = 64  # keys that are passed over at once where the last of them is still too small
FEW = 32  # keys that are sorted by insertion
MANY = 1 << 15  # keys beyond which it is faster to go through all values that they may have
# Typed, because a call of numpy.uint32 takes a millisecond to compile.
NEGATIVE_ZERO, LARGEST_SHIFT = np.uint32(0x80000000), np.uint32(31)
BYTE, PAGE, WORD = np.uint32(8), np.uint32(12), np.uint32(16)  # bits
SAME = np.uint8(0)
WITHIN_BYTE, WITHIN_PAGE, WITHIN_WORD = np.uint32(0xFF), np.uint32(0xFFF), np.uint32(0xFFFF)


@inner
def _key(bits: Any) -> Any:
    """``keys.order_key`` of one value, uint32 throughout: numba's rules would make it uint64."""
    return np.uint32(~bits if bits > NEGATIVE_ZERO else bits | NEGATIVE_ZERO)


@compiled
def count_leading_bits(
    bits: NDArray[np.uint32],
    categories: NDArray[np.uint8],
    shift: np.uint32,
    owner_shift: np.uint32,
    pages: NDArray[np.int32],
    cells: NDArray[np.uint32],
    counts: NDArray[Any],
) -> None:
    """Count pixels [n] by the keys without their last ``shift`` bits; category c begins at c << ``owner_shift``.

    Where there are ``pages`` [K << 12], they say which 4096 of the flat ``counts`` stand for the keys of those leading
    bits and the 12 that follow. ``cells`` [BLOCK] is memory to work in.
    """
    shift &= LARGEST_SHIFT  # so that the compiler knows
    owner_shift &= LARGEST_SHIFT
    for start in range(0, bits.size, BLOCK):
        here, owners = bits[start : start + BLOCK], categories[start : start + BLOCK]
        for index in range(here.size):  # no branch and no table: compiled to vectors
            cells[index] = owners[index] << owner_shift | _key(here[index]) >> shift
        if pages.size:
            for index in range(here.size):
                if owners[index] != 255:
                    page = np.uint64(pages[cells[index] >> PAGE])
                    counts[page << PAGE | cells[index] & WITHIN_PAGE] += 1
        else:
            for index in range(here.size):
                if owners[index] != 255:
                    counts[cells[index]] += 1


@inner
def _split_mixed(bits: Any, categories: Any, ends: Any, out: Any, start: int, stop: int) -> None:
    """Write the keys from pixel ``start`` to ``stop``, each where its category ends."""
    for index in range(start, stop):
        category = categories[index]
        end = ends[category]
        out[end] = _key(bits[index])
        ends[category] = end + (category != 255)


@compiled
def split_keys(
    bits: NDArray[np.uint32], categories: NDArray[np.uint8], ends: NDArray[np.int64], out: NDArray[np.uint32]
) -> None:
    """Write the keys of category c to out[ends[c]:], moving ends[c] along.

    ``ends`` [256] has a place for the keys of ignored pixels, all of which are written to it, so that nothing branches
    where neighbours are of several categories. ``ALIKE`` neighbours of one category are written together.
    """
    whole = bits.size // ALIKE * ALIKE
    for start in range(0, whole, ALIKE):
        category = categories[start]
        owners, differs = categories[start : start + ALIKE], SAME
        for index in range(ALIKE):  # no branch and no table: compiled to vectors
            differs |= owners[index] ^ category
        if differs:
            _split_mixed(bits, categories, ends, out, start, start + ALIKE)
        elif category != 255:
            end = ends[category]
            source, target = bits[start : start + ALIKE], out[end : end + ALIKE]
            for index in range(ALIKE):
                target[index] = _key(source[index])
            ends[category] = end + ALIKE
    _split_mixed(bits, categories, ends, out, whole, bits.size)


@compiled
def count_words(keys: NDArray[np.uint32], table: NDArray[np.int64]) -> None:
    """Add to table [65536] the leading 16 bits."""
    for index in range(keys.size):
        table[keys[index] >> WORD] += 1


@compiled
def place(keys: NDArray[np.uint32], starts: NDArray[np.int64], out: NDArray[np.uint32]) -> None:
    """Write each key to out[starts[its leading 16 bits]:], moving that start along."""
    for index in range(keys.size):
        key = keys[index]
        leading = key >> WORD
        out[starts[leading]] = key
        starts[leading] += 1


@compiled
def sort_trailing(
    keys: NDArray[np.uint32],
    ends: NDArray[np.int64],
    spare: NDArray[np.uint32],
    low: NDArray[np.uint32],
    high: NDArray[np.uint32],
    counts: NDArray[np.uint32],
) -> None:
    """Sort keys that are in order of their leading 16 bits; those of leading bits b end at ends[b].

    Few keys are inserted, more go through two passes over 8 bits each, and very many are counted and written anew.
    ``spare`` [MANY], ``low`` and ``high`` [256] and ``counts`` [65536], all 0, are memory to work in: however many keys
    there are, it takes no more.
    """
    start = 0
    for leading in range(ends.size):
        bucket = keys[start : ends[leading]]
        start = ends[leading]
        if bucket.size <= FEW:
            for index in range(1, bucket.size):
                key, place = bucket[index], index
                while place > 0 and bucket[place - 1] > key:
                    bucket[place] = bucket[place - 1]
                    place -= 1
                bucket[place] = key
        elif bucket.size <= MANY:
            for digit in range(256):
                low[digit] = high[digit] = 0
            for index in range(bucket.size):
                key = bucket[index]
                low[key & WITHIN_BYTE] += 1
                high[key >> BYTE & WITHIN_BYTE] += 1
            below, lower = 0, 0
            for digit in range(256):
                times, others = low[digit], high[digit]
                low[digit], high[digit] = below, lower
                below += times
                lower += others
            for index in range(bucket.size):
                key = bucket[index]
                digit = key & WITHIN_BYTE
                spare[low[digit]] = key
                low[digit] += 1
            for index in range(bucket.size):
                key = spare[index]
                digit = key >> BYTE & WITHIN_BYTE
                bucket[high[digit]] = key
                high[digit] += 1
        else:
            for index in range(bucket.size):
                counts[bucket[index] & WITHIN_WORD] += 1
            position, last = 0, bucket.size - 4
            for trailing in range(counts.size):
                end = position + counts[trailing]
                counts[trailing] = 0
                key = leading << WORD | trailing
                if position <= last:  # four, however many there are: what is too much is written over by the next
                    bucket[position] = bucket[position + 1] = bucket[position + 2] = bucket[position + 3] = key
                    position += 4
                while position < end:
                    bucket[position] = key
                    position += 1
                position = end


@compiled
def count_labels(values: NDArray[np.uint8], table: NDArray[np.int64]) -> None:
    """Count to table [4, 256] each value of every fourth: equal neighbours would wait for each other in one row."""
    for index in range(0, values.size - 3, 4):
        table[0, values[index]] += 1
        table[1, values[index + 1]] += 1
        table[2, values[index + 2]] += 1
        table[3, values[index + 3]] += 1
    for index in range(values.size & ~3, values.size):
        table[0, values[index]] += 1


@compiled
def count_pairs(first: NDArray[np.uint8], second: NDArray[np.uint8], table: NDArray[np.int64]) -> None:
    """Add to table [256, 256] each pair of values."""
    for index in range(first.size):
        table[first[index], second[index]] += 1


@compiled
def ranks_among(keys: NDArray[Any], among: NDArray[Any], below: NDArray[np.int64], at: NDArray[np.int64]) -> None:
    """For ascending keys [n]: how many of the ascending ``among`` are smaller, and how many equal."""
    position = 0
    for index in range(keys.size):
        key = keys[index]
        while position + SKIPPED <= among.size and among[position + SKIPPED - 1] < key:
            position += SKIPPED
        while position < among.size and among[position] < key:
            position += 1
        below[index] = position
        while position < among.size and among[position] == key:
            position += 1
        at[index] = position - below[index]


@compiled
def rank_bins(positives: NDArray[np.float64], negatives: NDArray[np.float64], out: NDArray[np.float64]) -> None:
    """Write ``counting.rank_bins`` of counts [R, bins] to out [R, 5] of NaN: the same operations in the same order."""
    for index in range(positives.shape[0]):
        total_p, total_n = 0.0, 0.0  # by a loop: to compile numba's own sum takes two seconds
        for column in range(positives.shape[1]):
            total_p += positives[index, column]
            total_n += negatives[index, column]
        area, precise, best, alarms, risk = 0.0, 0.0, 0.0, -1.0, 0.0
        true, false = 0.0, 0.0
        for column in range(positives.shape[1] - 1, -1, -1):
            q, m = positives[index, column], negatives[index, column]
            if q + m == 0:
                continue
            risk += (total_p - true) / (total_p + total_n - true - false) * (q + m)
            true += q
            false += m
            if q == 0:
                continue
            area += q * (total_n - false + m / 2)
            precise += q * (true / (true + false))
            f1 = 2 * true / (true + false + total_p)
            best = f1 if f1 > best else best
            if alarms < 0 and 20 * true >= 19 * total_p:
                part = (0.95 * total_p - true + q) / q
                alarms = false - m * (1 - (part if part < 1.0 else 1.0))
        if total_p > 0 and total_n > 0:
            out[index, 0] = area / (total_p * total_n)
            out[index, 1] = precise / total_p
            out[index, 2] = alarms / total_n
            out[index, 3] = best
            out[index, 4] = risk / (total_p + total_n)
