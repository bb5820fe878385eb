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

from bench.core.kept_rows import SealedRows
from bench.core.values import Rows, Value
from bench.counts.bins import Binned, common_bins
from bench.metrics.ranking import RESAMPLED, binned_ranking

Floats = NDArray[np.float64]

FEWEST = 0.9  # share of the resamples that must have a figure for an interval to be given
CELLS = 1 << 20  # numbers of one array of resampled counts held at a time
DRAWN = 1 << 18  # numbers that are drawn at a time


def weights(seed: int, ids: Sequence[str], replicates: int, groups: Sequence[str] | None = None) -> Floats:
    """[R, n]: how often each image, in the order of ``ids``, is in each resample.

    They depend on the seed and the set of ids alone: every method and protocol on the same images has the same ones, so
    that a paired difference is a subtraction. Images of one group (``""`` is none) are drawn together.
    """
    return next(blocks(seed, ids, replicates, groups, replicates))


def blocks(seed: int, ids: Sequence[str], replicates: int, groups: Sequence[str] | None, size: int) -> Iterator[Floats]:
    """Yield ``weights`` by ``size`` resamples at a time, one or more."""
    if len(set(ids)) != len(ids):
        raise ValueError("an id occurs twice")
    named = [group or f"\0{image}" for image, group in zip(ids, groups or [""] * len(ids), strict=True)]
    units = {unit: index for index, unit in enumerate(sorted(set(named)))}
    owners = [units[unit] for unit in named]
    text = "\0".join([str(seed), *sorted(ids)]).encode()
    # Raw integers of a bit generator are frozen, the distributions of numpy.random.Generator are not.
    dice = np.random.PCG64(int.from_bytes(hashlib.sha256(text).digest(), "big"))
    some = max(1, DRAWN // max(len(units), 1))
    for begin in range(0, max(replicates, 1), max(size, 1)):
        block = np.empty((min(size, replicates - begin), len(ids)))
        for start in range(0, len(block), some):
            part = block[start : start + some]
            raw = dice.random_raw(len(part) * len(units))
            drawn = ((raw >> np.uint64(32)) * np.uint64(len(units)) >> np.uint64(32)).astype(np.int64)
            flat = drawn.reshape(len(part), -1) + np.arange(len(part))[:, None] * len(units)
            times = np.bincount(flat.reshape(-1), minlength=len(part) * len(units)).reshape(len(part), len(units))
            part[:] = times[:, owners]
        yield block


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
    known = rows.derived if isinstance(rows, SealedRows) else {}
    key = "replicate_ranking", tuple(positives), tuple(negatives)
    blocks: _Blocks = known.get(key) or _Blocks(common_bins(rows)[1], (list(positives), list(negatives)))
    if blocks.few:
        known[key] = blocks
    chunk = max(1, CELLS // (2 * blocks.used.size))
    parts: list[dict[str, Floats]] = []
    for start in range(0, len(weights), chunk):
        above, below = blocks.resampled(weights[start : start + chunk])
        ranked = binned_ranking(above, below)
        figures = {name: ranked[name] for name in RESAMPLED}
        parts.append({**figures, **(more(above, below, ranked) if more else {})})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


class _Blocks:
    """Counts [images, bins] of two sides, some images at a time: kept if few, made again for each use if not."""

    def __init__(self, images: Binned, sides: tuple[list[int], list[int]]) -> None:
        self.used = images.used()
        self.few = len(images) * self.used.size <= 4 * CELLS
        self._images, self._sides = images, sides
        size = max(1, CELLS // (2 * self.used.size))
        self._parts = [slice(start, start + size) for start in range(0, len(images), size)]
        self._kept = [self._made(part) for part in self._parts] if self.few else None

    def resampled(self, weights: Floats) -> Floats:
        """Counts [2, R, bins]. Whole numbers below 2^53: the products are exact in any order."""
        total = np.zeros((2, len(weights), self.used.size))
        for number, part in enumerate(self._parts):
            if (some := weights[:, part]).any():
                total += some @ (self._made(part) if self._kept is None else self._kept[number])
        return total

    def _made(self, part: slice) -> Floats:
        chosen = self._images[part]
        dense = np.zeros((2, len(chosen), self.used.size))
        for index, (bins, counts) in enumerate(chosen):
            at = np.searchsorted(self.used, bins)
            for side, categories in zip(dense, self._sides, strict=True):
                side[index, at] = (
                    counts[:, categories[0]] if len(categories) == 1 else counts[:, categories].sum(axis=1)
                )
        return dense
