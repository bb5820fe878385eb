"""The threshold of the best F1 of pixels, which second phases cut score maps at."""

from __future__ import annotations

from bench.core.values import Undefined, Value
from bench.counts.tally import Counts
from bench.metrics import ranking


def best(counts: Counts) -> Value | Undefined:
    """Return the threshold of the best F1, ``score >= threshold``, with the half-width within which it is known."""
    return ranking.ranking(counts, [1], [0])["best_f1_threshold"]


def exact(counts: Counts) -> Value | Undefined:
    """Return the threshold, if it is known exactly: a neighbour of it may find other objects."""
    threshold = best(counts)
    if isinstance(threshold, Value) and threshold.err:
        needed = (8 if counts.rounded else 4) * counts.pixels
        return Undefined(
            f"the threshold is known to within {threshold.err:.1g} only: scores beyond the budget are kept in 24 bits;"
            f" a budget of {needed} bytes keeps them whole"
        )
    return threshold
