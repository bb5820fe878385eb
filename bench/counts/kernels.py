"""The loops over pixels, compiled. Imported by ``counting`` alone, when something is counted: numba takes a second.

Scores arrive as the bits of float32, so that no kernel depends on how a compiler treats NaN, infinity or rounding.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.core.compiled import compiled

BLOCK = 1 << 11  # pixels whose places in a table are computed before any of them is counted
ALIKE = 16  # neighbours that are looked at together: most often they are of one category
SKIPPED = 64  # keys that are passed over at once where the last of them is still too small
FEW = 32  # keys that are sorted by insertion
MANY = 1 << 15  # keys beyond which it is faster to go through all values that they may have


@compiled
def _key(bits: Any) -> Any:
    """``keys.order_key`` of one value, uint32 throughout: NumPy's rules would make it int64."""
    if bits == np.uint32(0x80000000):  # -0.0 equals 0.0
        return bits
    sign = np.uint32(np.int32(bits) >> np.int32(31))
    return np.uint32(bits ^ (sign | np.uint32(0x80000000)))


@compiled
def count_pages(
    bits: NDArray[np.uint32],
    categories: NDArray[np.uint8],
    directory: NDArray[np.int32],
    pool: NDArray[Any],
    used: int,
    start: int,
) -> tuple[int, int]:
    """Count the leading 24 bits from pixel ``start`` on; stops where a page is wanted and the pool has none left.

    bits [n], categories [n]; directory [K, 4096]: the page of pool [pages, 4096] for the leading 12 bits, -1 for none.
    Returns the pixel to go on with and the pages used.
    """
    page_of, counts = directory.reshape(-1), pool.reshape(-1)
    for index in range(start, bits.size):
        category = categories[index]
        if category == 255:
            continue
        key = _key(bits[index])
        leading = (np.uint32(category) << np.uint32(12)) | (key >> np.uint32(20))
        page = page_of[leading]
        if page < 0:
            if used == pool.shape[0]:
                return index, used
            page = np.int32(used)
            page_of[leading] = page
            used += 1
        counts[(np.int64(page) << 12) | np.int64((key >> np.uint32(8)) & np.uint32(0xFFF))] += 1
    return bits.size, used


@compiled
def count_dense(bits: NDArray[np.uint32], categories: NDArray[np.uint8], pool: NDArray[Any]) -> None:
    """Add the leading 24 bits to pool [K * 4096, 4096] that holds every page in order."""
    counts = pool.reshape(-1)
    cells = np.empty(BLOCK, np.uint32)
    for start in range(0, bits.size, BLOCK):
        here, owners = bits[start : start + BLOCK], categories[start : start + BLOCK]
        for index in range(here.size):  # no branch and no table: compiled to vectors
            cells[index] = (np.uint32(owners[index]) << np.uint32(24)) | (_key(here[index]) >> np.uint32(8))
        for index in range(here.size):
            if owners[index] != 255:
                counts[cells[index]] += 1


@compiled
def count_bins(bits: NDArray[np.uint32], categories: NDArray[np.uint8], table: NDArray[np.uint32]) -> None:
    """Add to table [K, 65536] the leading 16 bits."""
    counts = table.reshape(-1)
    cells = np.empty(BLOCK, np.uint32)
    for start in range(0, bits.size, BLOCK):
        here, owners = bits[start : start + BLOCK], categories[start : start + BLOCK]
        for index in range(here.size):
            cells[index] = (np.uint32(owners[index]) << np.uint32(16)) | (_key(here[index]) >> np.uint32(16))
        for index in range(here.size):
            if owners[index] != 255:
                counts[cells[index]] += 1


@compiled
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
        owners, differs = categories[start : start + ALIKE], np.uint8(0)
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
def count_leading(keys: NDArray[np.uint32], table: NDArray[np.int64]) -> None:
    """Add to table [65536] the leading 16 bits."""
    for index in range(keys.size):
        table[keys[index] >> np.uint32(16)] += 1


@compiled
def place(keys: NDArray[np.uint32], starts: NDArray[np.int64], out: NDArray[np.uint32]) -> None:
    """Write each key to out[starts[its leading 16 bits]:], moving that start along."""
    for index in range(keys.size):
        key = keys[index]
        leading = key >> np.uint32(16)
        out[starts[leading]] = key
        starts[leading] += 1


@compiled
def sort_trailing(keys: NDArray[np.uint32], ends: NDArray[np.int64]) -> None:
    """Sort keys that are in order of their leading 16 bits; those of leading bits b end at ends[b].

    Whatever they are it takes no more memory than a few hundred KB: few keys are inserted, more go through two passes
    over 8 bits each, and very many are counted and written anew.
    """
    spare = np.empty(MANY, np.uint32)
    low, high = np.empty(256, np.int64), np.empty(256, np.int64)
    counts = np.zeros(1 << 16, np.uint32)
    byte = np.uint32(0xFF)
    start = 0
    for leading in range(ends.size):
        end = ends[leading]
        bucket = keys[start:end]
        start = end
        if bucket.size <= FEW:
            for index in range(1, bucket.size):
                key, place = bucket[index], index
                while place > 0 and bucket[place - 1] > key:
                    bucket[place] = bucket[place - 1]
                    place -= 1
                bucket[place] = key
        elif bucket.size <= MANY:
            low[:] = 0
            high[:] = 0
            for key in bucket:
                low[key & byte] += 1
                high[(key >> np.uint32(8)) & byte] += 1
            below, lower = 0, 0
            for digit in range(256):
                below, low[digit] = below + low[digit], below
                lower, high[digit] = lower + high[digit], lower
            for key in bucket:
                digit = key & byte
                spare[low[digit]] = key
                low[digit] += 1
            for key in spare[: bucket.size]:
                digit = (key >> np.uint32(8)) & byte
                bucket[high[digit]] = key
                high[digit] += 1
        else:
            for key in bucket:
                counts[key & np.uint32(0xFFFF)] += 1
            place, last = 0, bucket.size - 4
            for trailing in range(counts.size):
                times = counts[trailing]
                counts[trailing] = 0
                key = (np.uint32(leading) << np.uint32(16)) | np.uint32(trailing)
                if place > last:
                    bucket[place : place + times] = key
                else:  # four of them, however many there are: what is too much is written over by the next
                    for index in range(place, place + 4):
                        bucket[index] = key
                    if times > 4:
                        bucket[place + 4 : place + times] = key
                place += times


@compiled
def count_labels(values: NDArray[np.uint8]) -> NDArray[np.int64]:
    """[256]: how often each value occurs. Four tables, because equal neighbours would wait for each other in one."""
    table = np.zeros((4, 256), np.int64)
    whole = values.size // 4 * 4
    for index in range(0, whole, 4):
        table[0, values[index]] += 1
        table[1, values[index + 1]] += 1
        table[2, values[index + 2]] += 1
        table[3, values[index + 3]] += 1
    for index in range(whole, values.size):
        table[0, values[index]] += 1
    total = np.zeros(256, np.int64)
    for value in range(256):
        total[value] = table[0, value] + table[1, value] + table[2, value] + table[3, value]
    return total


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
    """Write to out [R, 5] ``counting.rank_bins`` of counts [R, bins]: the same operations in the same order."""
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
            best = max(best, 2 * true / (true + false + total_p))
            if alarms < 0 and 20 * true >= 19 * total_p:
                alarms = false - m * (1 - min((0.95 * total_p - true + q) / q, 1.0))
        if total_p == 0 or total_n == 0:
            out[index] = np.nan
        else:
            out[index, 0] = area / (total_p * total_n)
            out[index, 1] = precise / total_p
            out[index, 2] = alarms / total_n
            out[index, 3] = best
            out[index, 4] = risk / (total_p + total_n)
