"""Percentile intervals over images: what another sample of images of the same size could have shown.

Percentile bootstrap, Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13. Images (or whole groups
of them) are drawn with replacement; the figure is computed from 16-bit counts of each and shifted so that the undrawn
set gives the exact figure, which leaves the ends wrong by a few thousandths of the interval's width.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from bench.core.values import Rows, Value
from bench.counts.bins import common_bins
from bench.counts.keys import union
from bench.metrics.ranking import RESAMPLED, binned_ranking

Floats = NDArray[np.float64]

FEWEST = 0.9  # share of the resamples that must have a figure for an interval to be given
CELLS = 1 << 20  # numbers of one array of resampled counts held at a time


def weights(seed: int, ids: Sequence[str], replicates: int, groups: Sequence[str] | None = None) -> Floats:
    """[R, n]: how often each image, in the order of ``ids``, is in each resample.

    They depend on the seed and the set of ids alone: every method and protocol on the same images has the same ones, so
    that a paired difference is a subtraction. Images of one group (``""`` is none) are drawn together.
    """
    if len(set(ids)) != len(ids):
        raise ValueError("an id occurs twice")
    named = [group or f"\0{image}" for image, group in zip(ids, groups or [""] * len(ids), strict=True)]
    units = {unit: index for index, unit in enumerate(sorted(set(named)))}
    text = "\0".join([str(seed), *sorted(ids)]).encode()
    # Raw integers of a bit generator are frozen, the distributions of numpy.random.Generator are not.
    raw = np.random.PCG64(int.from_bytes(hashlib.sha256(text).digest(), "big")).random_raw(replicates * len(units))
    drawn = ((raw >> np.uint64(32)) * np.uint64(len(units)) >> np.uint64(32)).astype(np.int64)
    flat = drawn.reshape(replicates, -1) + np.arange(replicates)[:, None] * len(units)
    times = np.bincount(flat.reshape(-1), minlength=replicates * len(units)).reshape(replicates, len(units))
    return times[:, [units[unit] for unit in named]].astype(np.float64)


def interval(
    point: Value, replicates: Floats, binned_point: float, limits: tuple[float, float] = (0.0, 1.0)
) -> tuple[float | None, float | None, Floats]:
    """The 2.5 and 97.5 percentiles and the replicates [R], shifted by what the binned point misses the exact one.

    ``binned_point`` is ``Protocol.bootstrap`` with weights of 1. Nothing is shifted beyond ``limits``. A resample
    without a figure (no anomaly in it) is NaN and left out; where more than a tenth are, there is no interval.
    """
    shifted = np.clip(replicates + (point.value - binned_point), *limits)
    defined = shifted[np.isfinite(shifted)]
    if not np.isfinite(binned_point) or defined.size == 0 or defined.size < FEWEST * shifted.size:
        return None, None, shifted
    low, high = np.percentile(defined, [2.5, 97.5])
    return float(low), float(high), shifted


def replicate_ranking(
    weights: Floats,
    rows: Rows,
    positives: Sequence[int],
    negatives: Sequence[int],
    more: Callable[[Floats, Floats, Mapping[str, Floats]], dict[str, Floats]] | None = None,
) -> dict[str, Floats]:
    """``binned_ranking`` of every resample, [R] each, from the rows' ``bins`` and ``bin_counts``.

    ``more`` adds figures, from the counts [r, bins] of both sides and the figures [r] there are.

    Memory is bounded by ``CELLS``, whatever the number of images and resamples.
    """
    images = common_bins(rows)[1]
    used = union([np.zeros(1, np.uint32), *(keys for keys, _ in images)])
    chunk = max(1, CELLS // used.size)
    sides = [_Blocks(images, used, side) for side in (positives, negatives)]
    parts: list[dict[str, Floats]] = []
    for start in range(0, len(weights), chunk):
        above, below = (side.resampled(weights[start : start + chunk]) for side in sides)
        ranked = binned_ranking(above, below)
        figures = {name: ranked[name] for name in RESAMPLED}
        parts.append({**figures, **(more(above, below, ranked) if more else {})})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


class _Blocks:
    """Counts [images, bins] of one side, some images at a time: kept if few, made again for each use if not."""

    def __init__(
        self,
        images: Sequence[tuple[NDArray[np.uint32], NDArray[np.uint32]]],
        used: NDArray[np.uint32],
        side: Sequence[int],
    ) -> None:
        self._images, self._used, self._side = images, used, list(side)
        self._kept = list(self._made()) if len(images) * used.size <= 4 * CELLS else None

    def resampled(self, weights: Floats) -> Floats:
        """Counts [R, bins]. Whole numbers below 2^53: the products are exact in any order."""
        total = np.zeros((len(weights), self._used.size))
        for some, dense in self._made() if self._kept is None else self._kept:
            total += weights[:, some] @ dense
        return total

    def _made(self) -> Iterator[tuple[slice, Floats]]:
        size = max(1, CELLS // self._used.size)
        for start in range(0, len(self._images), size):
            chosen = self._images[start : start + size]
            dense = np.zeros((len(chosen), self._used.size))
            for row, (bins, counts) in zip(dense, chosen, strict=True):
                row[np.searchsorted(self._used, bins)] = counts[:, self._side].sum(axis=1)
            yield slice(start, start + size), dense
