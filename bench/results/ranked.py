"""Thresholds of the counts of a cell from the top down: enough of them for a curve, and all that a rule may choose."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from bench.counts.keys import order_key, union
from bench.counts.runs import Keys
from bench.counts.tally import Column, Counts
from bench.metrics import ranking

Sides = tuple[Sequence[int], Sequence[int]]  # categories that should score high, and low

SPACED = 1e-4  # of the pixels so far: how many lie between two of the thresholds that are looked at


@dataclass(frozen=True, slots=True)
class _Side:
    """The pixels of one side, by key."""

    keys: Keys  # ascending, distinct
    below: NDArray[np.int64]  # [n + 1]: pixels below each key, and all of them

    @property
    def total(self) -> int:
        return int(self.below[-1])

    def at_or_above(self, keys: Keys) -> NDArray[np.int64]:
        return np.asarray(self.total - self.below[np.searchsorted(self.keys, keys)], np.int64)

    def spaced(self, *, top: bool) -> Keys:
        """Keys from one end on between which that many pixels more lie that they are ``SPACED`` of all so far.

        A key that alone holds more comes with the one before it, so that the step at it is exact.
        """
        seen = self.total - self.below[-2::-1] if top else self.below[1:]
        places = np.searchsorted(seen, _targets(self.total))
        places = np.concatenate([places, np.maximum(places - 1, 0)])
        return self.keys[::-1][places] if top else self.keys[places]


@lru_cache(maxsize=64)
def _targets(total: int) -> NDArray[np.int64]:
    """Whole numbers up to ``total``, each at most ``SPACED`` of itself larger than the one before, or by one."""
    singles = int(1 / SPACED)
    many = max(0, math.ceil(math.log(max(total / singles, 1)) / math.log1p(SPACED)))
    rest = (singles * (1 + SPACED) ** np.arange(1, many + 1)).astype(np.int64)
    steps = np.concatenate([np.arange(1, min(singles, total) + 1), rest])
    return np.append(steps[steps < total], total)


@dataclass(frozen=True, slots=True)
class Ranked:
    """Thresholds of a cell from the top down, enough of them for a curve and all that a rule may choose."""

    counts: Counts
    keys: Keys
    hits: NDArray[np.int64]  # positives at or above each
    alarms: NDArray[np.int64]


def ranked(counts: Counts, sides: Sides, *, top: bool = True, also: Keys | None = None) -> Ranked | None:
    """Return thresholds close together at one end, where few pixels decide; ``also`` are keys to have besides."""
    positives, negatives = (_side(counts.column(side)) for side in sides)
    if ranking.undefined(positives.total, negatives.total):
        return None
    parts = [side.spaced(top=top) for side in (positives, negatives)]
    if top:
        parts.append(_for_rules(positives, negatives, union(parts)))
    keys = union(parts if also is None else [*parts, also])[::-1]
    hits, alarms = positives.at_or_above(keys), negatives.at_or_above(keys)
    reached = slice(int(np.count_nonzero(hits + alarms == 0)), None)  # nothing lies above a threshold of others
    return Ranked(counts, keys[reached], hits[reached], alarms[reached])


def _side(column: Column) -> _Side:
    keys, counts = column.distinct()
    return _Side(keys, np.concatenate([[0], np.cumsum(counts)]))


def _for_rules(positives: _Side, negatives: _Side, keys: Keys) -> Keys:
    """Every key that a rule of operating points could choose of all, by what is known at some, ``keys``, ascending."""
    total = positives.total
    tpr95 = np.flatnonzero(20 * (total - positives.below[:-1]) >= 19 * total)[-1:]
    # The smallest key with few enough alarms follows the largest with too many.
    many = np.flatnonzero(20 * (negatives.total - negatives.below[:-1]) > negatives.total)
    first = negatives.keys[many[-1]] + 1 if many.size else np.uint32(0)
    fpr05 = [side.keys[(at := int(np.searchsorted(side.keys, first))) : at + 1] for side in (positives, negatives)]
    # Only a key with a positive can have the best F1; between two keys it is at most that of both their best sides.
    hits, alarms = positives.at_or_above(keys), negatives.at_or_above(keys)
    known = 2 * hits / (hits + alarms + total)
    most = 2 * hits / (hits + np.append(alarms[1:], 0) + total)
    rivals = np.flatnonzero(most >= known.max())
    starts = np.searchsorted(positives.keys, keys[rivals])
    ends = np.searchsorted(positives.keys, np.append(keys, np.uint32(0xFFFFFFFF))[rivals + 1])
    best = [positives.keys[start:end] for start, end in zip(starts, ends, strict=True)]
    return np.concatenate([positives.keys[tpr95], *fpr05, *best])


def key_of(threshold: float, bits: int) -> np.uint32:
    """Return the key that holds a score."""
    key: np.uint32 = order_key(np.array([threshold], np.float32))[0] >> np.uint32(32 - bits)
    return key
