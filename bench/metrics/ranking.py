"""AUROC, AP, FPR95 and best F1 over pooled pixels, from counts: exact, or bounded whatever the order inside a key.

auroc               probability that a positive ranks above a negative; ties count one half
ap                  sum over thresholds of (R_n - R_{n-1}) P_n, as scikit-learn's average_precision_score
fpr95               FPR at the first threshold, from the top, with TPR >= 0.95; compared in integers, 20 TP >= 19 P
best_f1             largest 2 TP / (2 TP + FP + FN) over all thresholds
best_f1_threshold   the largest score with that F1; score >= threshold is positive
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.core.values import Metric, Undefined, Value
from bench.counts.runs import AnyKeys
from bench.counts.tally import Column, Counts

Floats = NDArray[np.float64]

NO_PIXELS = Undefined("no pixels")
NO_POSITIVES = Undefined("no positive pixels")
NO_NEGATIVES = Undefined("no negative pixels")

PIECE = 1 << 20
BLOCK = 1 << 13  # numbers that an expression takes at a time
# From here on what the series adds to log(y / x) beyond 1 / x^2 is below 1 / (30 x^4) of it: no float64 feels it.
FAR = 1 << 13
ROUNDING = 1e-12  # added to every certified half-width: what float64 sums can be off by

METRICS: Mapping[str, Metric] = {
    "auroc": Metric("AUROC", "area under the ROC curve over pooled pixels; ties count one half"),
    "ap": Metric("AP", "sum of (R_n - R_{n-1}) P_n over the thresholds of pooled pixels; no interpolation"),
    "fpr95": Metric("FPR95", "false positive rate at the first threshold with true positive rate >= 0.95", "lower"),
    "best_f1": Metric("best F1", "largest F1 over all thresholds, pooled pixels"),
    "best_f1_threshold": Metric("threshold", "the largest score with the best F1; >= is positive", "neither"),
}
RESAMPLED = ("auroc", "ap", "fpr95", "best_f1")  # a threshold on 16 bits says nothing about its spread


@dataclass(frozen=True, slots=True, eq=False)
class Steps:
    """The ranking from the top down, at the keys that hold a positive. No figure here depends on the others."""

    keys: AnyKeys  # [n], descending
    positives: NDArray[np.int64]  # [n], at the key
    negatives: NDArray[np.int64]  # [n], at the key
    above: NDArray[np.int64]  # [n], negatives at all larger keys
    total_positives: int
    total_negatives: int


def steps(counts: Counts, positives: Sequence[int], negatives: Sequence[int]) -> Steps:
    """``positives`` and ``negatives`` name categories; the others are left out."""
    return _steps(counts.column(positives), counts.column(negatives))


def _steps(positives: Column, negatives: Column) -> Steps:
    keys, at = positives.distinct()
    below, equal = negatives.ranks(keys)
    total = negatives.total
    return Steps(keys[::-1], at[::-1], equal[::-1], (total - below - equal)[::-1], int(at.sum()), total)


def undefined(positives: int, negatives: int) -> Undefined | None:
    """Why a ranking has no figures, if it has none."""
    if not positives and not negatives:
        return NO_PIXELS
    return NO_POSITIVES if not positives else NO_NEGATIVES if not negatives else None


def ranking(counts: Counts, positives: Sequence[int], negatives: Sequence[int]) -> dict[str, Value | Undefined]:
    """The figures of ``METRICS``: exact for whole scores; for 24 bits ``value`` +- ``err`` holds the exact one.

    A certified value is the middle of its bounds. They hold for every order of the pixels that share a key, and for
    every way in which they may be tied.
    """
    above, below = counts.column(positives), counts.column(negatives)
    if reason := undefined(above.total, below.total):
        return dict.fromkeys(METRICS, reason)
    if counts.exact:
        return _exact(above, below, counts)
    ranked = _steps(above, below)
    settled = _settled(ranked, counts.near, positives, negatives) if counts.near else {}
    return {**_certified(ranked, counts), **settled}


def undecided(counts: Counts, positives: Sequence[int], negatives: Sequence[int]) -> tuple[float, float] | None:
    """The span of scores, ends included, whose exact counts would settle the best F1; None where nothing is open."""
    ranked = steps(counts, positives, negatives)
    if counts.exact or counts.near or undefined(ranked.total_positives, ranked.total_negatives):
        return None
    rivals = ranked.keys[_rivals(ranked)]
    return float(counts.lowest(rivals[-1])), float(counts.highest(rivals[0]))


def _rivals(ranked: Steps) -> NDArray[np.intp]:
    """Which of the keys may hold the best threshold."""
    true, false = np.cumsum(ranked.positives), ranked.above + ranked.negatives
    known = 2 * true / (true + false + ranked.total_positives)
    return np.flatnonzero(2 * true / (true + ranked.above + ranked.total_positives) >= known.max())


def _settled(
    ranked: Steps, near: Counts, positives: Sequence[int], negatives: Sequence[int]
) -> dict[str, Value | Undefined]:
    """The best F1 and its threshold, exactly, from every pixel of the span of ``undecided``."""
    first = _rivals(ranked)[0]
    inside = steps(near, positives, negatives)
    true = int(ranked.positives[:first].sum()) + np.cumsum(inside.positives)
    false = int(ranked.above[first]) + inside.above + inside.negatives
    f1 = 2 * true / (true + false + ranked.total_positives)
    best = int(np.argmax(f1))
    return {"best_f1": Value(float(f1[best])), "best_f1_threshold": threshold(near.lowest(inside.keys[best]))}


def area(ranked: Steps) -> float:
    """AUROC; ties count one half."""
    below = ranked.total_negatives - ranked.above - ranked.negatives
    won = (ranked.positives * (below + ranked.negatives / 2)).sum()
    return float(won / ranked.total_positives / ranked.total_negatives)


def average_precision(ranked: Steps) -> float:
    """The step sum."""
    true = np.cumsum(ranked.positives)
    precision = true / (true + ranked.above + ranked.negatives)
    return float((ranked.positives * precision).sum() / ranked.total_positives)


def _exact(positives: Column, negatives: Column, counts: Counts) -> dict[str, Value | Undefined]:
    """From the top down, some keys at a time: an exact tally has up to 2^28 of them."""
    total_p, total_n = positives.total, negatives.total
    before, won, precision, fpr95 = 0, 0.0, 0.0, -1.0
    best, key = -1.0, positives.keys[:1]
    for piece in _from_the_top(positives):
        ranked = _steps(piece, negatives)
        true, false = before + np.cumsum(ranked.positives), ranked.above + ranked.negatives
        won += float((ranked.positives * (total_n - false + ranked.negatives / 2)).sum())
        precision += float((ranked.positives * (true / (true + false))).sum())
        if fpr95 < 0 and 20 * true[-1] >= 19 * total_p:
            fpr95 = float(false[_first_95(true, total_p)] / total_n)
        f1 = 2 * true / (true + false + total_p)
        top = int(np.argmax(f1))
        if f1[top] > best:
            best, key = float(f1[top]), ranked.keys[top : top + 1]
        before = int(true[-1])
    return {
        "auroc": Value(won / total_p / total_n),
        "ap": Value(precision / total_p),
        "fpr95": Value(fpr95),
        "best_f1": Value(best),
        "best_f1_threshold": threshold(counts.lowest(key)[0]),
    }


def _from_the_top(column: Column) -> Iterator[Column]:
    """An exact column in pieces of about ``PIECE`` pixels, largest keys first; equal keys stay together."""
    starts = np.unique(np.searchsorted(column.keys, column.keys[::PIECE], "left"))
    for start, end in zip(starts[::-1], [column.keys.size, *starts[:0:-1]], strict=True):
        yield Column(column.keys[start:end], None)


def _certified(ranked: Steps, counts: Counts) -> dict[str, Value | Undefined]:
    total_p, total_n = ranked.total_positives, ranked.total_negatives
    q, n, above = ranked.positives, ranked.negatives, ranked.above
    true = np.cumsum(q)
    earlier, false = true - q, above + n
    area = float((q * (total_n - false)).sum()) / total_p / total_n
    tied = float((q * n).sum()) / total_p / total_n

    last = q - false * harmonic(earlier + false + 1.0, q)  # every negative of the key before its positives, none tied
    tops = q * (true / (true + above))  # its positives first, all tied

    first = _first_95(true, total_p)
    f1 = 2 * true / (true + false + total_p)
    most = 2 * true / (true + above + total_p)
    best = int(np.argmax(f1))
    rivals = ranked.keys[_rivals(ranked)]
    return {
        "auroc": between(area, area + tied),
        "ap": between(float(last.sum()) / total_p, float(tops.sum()) / total_p),
        "fpr95": between(above[first] / total_n, false[first] / total_n),
        "best_f1": between(float(f1[best]), float(most.max())),
        "best_f1_threshold": threshold(
            counts.lowest(ranked.keys[best]), counts.lowest(rivals[-1]), counts.highest(rivals[0])
        ),
    }


def harmonic(start: NDArray[Any], terms: NDArray[Any]) -> Floats:
    """Sum of 1 / (start + i) for i = 0 .. terms - 1, [...]; start > 0 need not be whole.

    digamma(start + terms) - digamma(start) loses its digits where start is 1e9 and terms is 1. Here the logarithm of
    the quotient is taken at once, and what is left of the asymptotic series is small; below 20 it is shifted.
    """
    starts, counts = (np.asarray(values, np.float64).reshape(-1) for values in (start, terms))
    total = np.empty(starts.size)
    for begin in range(0, starts.size, BLOCK):
        part = slice(begin, begin + BLOCK)
        total[part] = _harmonic(starts[part], counts[part])
    return total.reshape(np.shape(start))


def _harmonic(start: Floats, terms: Floats) -> Floats:
    """``harmonic`` [n] of so few that they stay in the cache."""
    x = np.where(start < 20, start + 20, start)
    y = x + terms
    total: Floats = np.log1p(terms / x) + (1 / x - 1 / y) / 2 + (1 / x**2 - 1 / y**2) / 12
    if x.min(initial=FAR) >= FAR:
        return total
    total = total - (1 / x**4 - 1 / y**4) / 120
    total += (1 / x**6 - 1 / y**6) / 252
    small = np.flatnonzero(start < 20)
    for shift in range(20):
        total[small] += 1 / (start[small] + shift) - 1 / (start[small] + terms[small] + shift)
    return total


def binned_ranking(positives: Floats, negatives: Floats) -> dict[str, Floats]:
    """The figures of ``RESAMPLED``, and ``aurc``, for counts [..., bins] in ascending order of the scores; [...] each.

    NaN where undefined. Good for differences between resamples, not for figures: see ``counting.rank_bins``.
    """
    from bench.counts import counting

    shape = positives.shape
    figures = counting.rank_bins(positives.reshape(-1, shape[-1]), negatives.reshape(-1, shape[-1]))
    return {name: figures[:, column].reshape(shape[:-1]) for column, name in enumerate((*RESAMPLED, "aurc"))}


def _first_95(true: NDArray[np.int64], total: int) -> int:
    return int(np.argmax(20 * true >= 19 * total))


def between(low: float, high: float) -> Value:
    """The middle of a certified interval: no other value has a smaller half-width."""
    return held((low + high) / 2, low, high)


def held(value: float, low: float, high: float) -> Value:
    value = min(max(value, low), high)
    return Value(float(value), float(max(value - low, high - value)) + ROUNDING)


def threshold(best: Any, *ends: Any) -> Value | Undefined:
    value = float(best)
    if not all(np.isfinite([value, *ends])):
        return Undefined("the threshold is infinite")
    return Value(value, max((abs(value - float(end)) for end in ends), default=0.0))
