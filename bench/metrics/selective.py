"""Selective prediction: what rejecting the most suspicious pixels would bring, as risk and coverage.

With N pixels, E of them wrong, accepted from the least suspicious on; tied pixels come in random order, in expectation.

aurc    mean over k = 1 .. N of the share of wrong pixels among the first k
e_aurc  aurc minus that of the perfect ranking, which accepts every wrong pixel last
augrc   area under wrong accepted pixels / N over coverage: (1 - AUROC) a e + e^2 / 2, e = E / N, a = 1 - e
prr     how much of the way from random to perfect rejection: 2 AUROC - 1 for pixels that are right or wrong
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.core.values import Metric, SignedRate, Undefined, Value
from bench.counts.tally import Column, Counts
from bench.metrics import ranking
from bench.metrics.ranking import harmonic, held

Floats = NDArray[np.float64]

PIECE = 1 << 20

METRICS: Mapping[str, Metric] = {
    "aurc": Metric("AURC", "mean over coverages of the share of wrong pixels among the accepted ones", "lower"),
    "e_aurc": Metric("E-AURC", "AURC minus the AURC of the perfect ranking with the same errors", "lower"),
    "augrc": Metric(
        "AUGRC", "area under wrong accepted pixels / all pixels, over coverage (arXiv:2407.01032)", "lower"
    ),
    "prr": SignedRate("PRR", "prediction rejection ratio: 2 AUROC - 1 for pixels, which are right or wrong"),
}


def read(
    counts: Counts, positives: Sequence[int], negatives: Sequence[int], auroc: Value | Undefined | None = None
) -> dict[str, Value | Undefined]:
    """The figures of ``METRICS``; positives are wrong pixels, ``auroc`` theirs if known. Certified for 24 bits."""
    ranked = auroc or ranking.ranking(counts, positives, negatives)["auroc"]
    if isinstance(ranked, Undefined):
        return dict.fromkeys(METRICS, ranked)
    wrong, right = counts.column(positives), counts.column(negatives)
    errors, total = wrong.total, wrong.total + right.total
    risks = [value / total for value in _risks(wrong, right, exact=counts.exact)]
    best = float(perfect(np.array([errors]), np.array([total]))[0])
    share = errors / total
    aurc = Value(risks[0]) if counts.exact else held(*risks)
    spread = share * (1 - share)
    return {
        "aurc": aurc,
        "e_aurc": Value(aurc.value - best, aurc.err),
        "augrc": Value((1 - ranked.value) * spread + share**2 / 2, ranked.err * spread),
        "prr": Value(2 * ranked.value - 1, 2 * ranked.err),
    }


def _risks(wrong: Column, right: Column, *, exact: bool) -> tuple[float, ...]:
    """Sum over the accepted of their risk: wrong pixels evenly among those of their key, and last and first of it.

    The first alone where keys are exact: pixels of one score are tied.
    """
    from bench.counts.ranked_pair import accepted  # numba takes a second

    sums, wrong_before, before = np.zeros(1 if exact else 3), 0, 0
    for some_wrong, some_right in _pieces(wrong, right):
        bad, good, bad_before, all_before = accepted(some_wrong, some_right, wrong_before, before)
        pixels = bad + good
        even = bad + (bad_before - all_before * (bad / pixels)) * harmonic(all_before + 1.0, pixels)
        if exact:
            sums += even.sum()
        else:
            last = bad_before * harmonic(all_before + 1.0, good) + bad
            last = last + (bad_before - all_before - good) * harmonic(all_before + good + 1.0, bad)
            first = bad + (bad_before - all_before) * harmonic(all_before + 1.0, bad)
            first = first + (bad_before + bad) * harmonic(all_before + bad + 1.0, good)
            sums += even.sum(), last.sum(), first.sum()
        wrong_before, before = wrong_before + int(bad.sum()), before + int(pixels.sum())
    return tuple(float(value) for value in sums)


def _pieces(wrong: Column, right: Column) -> Iterator[tuple[Column, Column]]:
    """Both columns between the same keys, ascending, some ``PIECE`` keys at a time: an exact tally has 2^28."""
    edges = np.unique(np.concatenate([wrong.keys[PIECE::PIECE], right.keys[PIECE::PIECE]]))
    cuts = [np.concatenate([[0], np.searchsorted(column.keys, edges), [column.keys.size]]) for column in (wrong, right)]
    for bounds in zip(*(pairwise(cut) for cut in cuts), strict=True):
        first, second = (
            Column(column.keys[start:end], None if column.counts is None else column.counts[start:end])
            for column, (start, end) in zip((wrong, right), bounds, strict=True)
        )
        if first.keys.size or second.keys.size:
            yield first, second


def perfect(errors: NDArray[Any], total: NDArray[Any]) -> Floats:
    """AURC [...] of a ranking that accepts every wrong pixel last."""
    right = (total - errors).astype(np.float64)
    return np.asarray((errors - right * harmonic(right + 1.0, errors)) / total, np.float64)


def binned(positives: Floats, negatives: Floats, figures: Mapping[str, Floats]) -> dict[str, Floats]:
    """The figures of ``METRICS`` [...] for counts [..., bins], from those of ``ranking.binned_ranking``."""
    errors = positives.sum(axis=-1)
    total = errors + negatives.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = errors / total
        best = perfect(errors, total)
    return {
        "aurc": figures["aurc"],
        "e_aurc": figures["aurc"] - best,
        "augrc": (1 - figures["auroc"]) * share * (1 - share) + share**2 / 2,
        "prr": 2 * figures["auroc"] - 1,
    }
