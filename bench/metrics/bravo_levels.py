"""Confidence in 65,536 levels, and what BRAVO reads off how many pixels lie at each: rankings and calibration.

Level q holds the confidences from q / 65536 up to (q + 1) / 65536, and 1 in the last one; it stands for
(q + 0.5) / 65536. The leading 24 bits of a confidence, all that a folded tally keeps, already decide its level.

auroc   trapezoid rule; a level is one tie
auprc   sum over levels of (R_n - R_{n-1}) P_n; no interpolation
fpr95   FPR at the first level, from the top, with TPR >= 0.95
ece     sum over 15 bins of levels of the bin's share times |mean confidence - accuracy|

Source: valeoai/bravo_challenge@d54005d, the server's toolkit. Shares are rounded to float32, as NumPy 1.26 does there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bench.core.values import Scores, Undefined, Value
from bench.counts.keys import order_key
from bench.counts.tally import Column, Counts
from bench.metrics import ranking

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LEVELS = 1 << 16
ECE_BINS = 15
LIMITS: Ints = np.round(np.arange(ECE_BINS + 1) * LEVELS / ECE_BINS).astype(
    np.int64
)  # bin i: LIMITS[i] <= q < the next


def levels(confidence: Scores) -> Ints:
    """float32 [n] in [0, 1] to int64 [n]: floor(65536 c), at most 65535. The product is exact in float32."""
    return np.minimum((confidence * np.float32(LEVELS)).astype(np.int64), LEVELS - 1)


def _bins() -> NDArray[np.uint16]:
    """Ascending by level, with 8 significant bits of the distance to the nearer end: networks are mostly sure."""
    up = np.arange(LEVELS // 2, dtype=np.float32).view(np.uint32) >> 16
    return np.concatenate([up, LEVELS - 1 - up[::-1]]).astype(np.uint16)


BINS = _bins()  # uint16 [65536]: level to bin; what the bootstrap resamples


def at_levels(counts: Counts) -> list[Column]:
    """One column per category, keyed by level. ``counts`` of 24 or 32 bits, of confidences in [0, 1]."""
    starts = order_key(np.arange(LEVELS, dtype=np.float32) / np.float32(LEVELS)) >> np.uint32(32 - counts.bits)
    columns = []
    for column in counts.columns:
        first = np.append(np.searchsorted(column.keys, starts), column.keys.size)
        pixels = np.diff(first if column.counts is None else np.append(0, np.cumsum(column.counts))[first])
        levels = np.flatnonzero(pixels)
        columns.append(Column(levels.astype(np.uint32), pixels[levels]))
    return columns


def doubt(columns: list[Column]) -> list[Column]:
    """The columns by 65535 - key: the least sure pixels on top."""
    return [
        Column((LEVELS - 1 - column.keys)[::-1].astype(np.uint32), column.distinct()[1][::-1]) for column in columns
    ]


def ranked(positives: Column, negatives: Column, *, exact: bool) -> dict[str, Value]:
    """auroc, auprc, fpr95 from counts by level, or (not ``exact``) by bin, where pixels of one bin may be in any order.

    Both sides must have pixels.
    """
    counts = Counts(24 if exact else 16, [positives, negatives])
    if not exact:
        bounded = ranking.ranking(counts, [0], [1])
        names = {"auroc": "auroc", "auprc": "ap", "fpr95": "fpr95"}
        return {name: figure for name, key in names.items() if isinstance(figure := bounded[key], Value)}
    steps = ranking.steps(counts, [0], [1])
    first = int(np.argmax(20 * np.cumsum(steps.positives) >= 19 * steps.total_positives))
    return {
        "auroc": Value(ranking.area(steps)),
        "auprc": Value(ranking.average_precision(steps)),
        "fpr95": Value(float((steps.above + steps.negatives)[first] / steps.total_negatives)),
    }


def fpr95(positives: Floats, negatives: Floats) -> Floats:
    """[R] of counts [R, bins], ascending; NaN where a side has no pixel.

    A bin is one tie: where networks are sure it is one level, of which many pixels may well have the same confidence.
    """
    true = np.cumsum(positives[:, ::-1], axis=1)
    total = negatives.sum(axis=1)
    first = np.argmax(20 * true >= 19 * true[:, -1:], axis=1)
    below = np.where(np.arange(negatives.shape[1]) < (negatives.shape[1] - 1 - first)[:, None], negatives, 0).sum(
        axis=1
    )
    defined = (total > 0) & (true[:, -1] > 0)
    rate = np.divide(total - below, total, out=np.full(total.shape, np.nan), where=defined)
    return np.asarray(rate, np.float64)


def reliability(level: Ints, wrong: NDArray[np.bool_]) -> Ints:
    """int64 [15, 3] from levels [n] and errors [n]: pixels, right ones and the sum of the levels, by bin."""
    bins = np.searchsorted(LIMITS, level, "right") - 1
    sums = np.bincount(bins, level, ECE_BINS).astype(np.int64)  # whole numbers below 2^53
    pixels, right = (np.bincount(chosen, minlength=ECE_BINS) for chosen in (bins, bins[~wrong]))
    return np.stack([pixels, right, sums], axis=1)


def ece(sums: Ints | Floats) -> Floats:
    """[...] from ``reliability`` [..., 15, 3]; NaN without a pixel."""
    pixels, right, level = np.moveaxis(np.asarray(sums, np.float64), -1, 0)
    total = pixels.sum(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        gap = abs((level + pixels / 2) / LEVELS / pixels - right / pixels)
        share = (pixels.astype(np.float32) / total.astype(np.float32)).astype(np.float64)
        error = (share * np.where(pixels > 0, gap, 0)).sum(axis=-1) / share.sum(axis=-1)
    return np.asarray(error, np.float64)


def undefined(positives: Column, negatives: Column, *, lacking: tuple[str, str]) -> Undefined | None:
    """Why two sides have no ranking, if they have none; ``lacking`` names the two kinds of pixels."""
    if not positives.total and not negatives.total:
        return ranking.NO_PIXELS
    return next(
        (
            Undefined(f"no {kind} pixels")
            for kind, side in zip(lacking, (positives, negatives), strict=True)
            if not side.total
        ),
        None,
    )
