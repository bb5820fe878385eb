"""What rejecting the most suspicious pixels would bring: risk and coverage.

With N pixels, E of them wrong, accepted from the least suspicious on; tied pixels come in random order, in expectation.

aurc    mean over k = 1 .. N of the share of wrong pixels among the first k
e_aurc  aurc minus that of the perfect ranking, which accepts every wrong pixel last
augrc   area under wrong accepted pixels / N over coverage: (1 - AUROC) a e + e^2 / 2, e = E / N, a = 1 - e
prr     how much of the way from random to perfect rejection: 2 AUROC - 1 for pixels that are right or wrong
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.api import Metric, Undefined, Value
from bench.metrics import ranking
from bench.metrics.ranking import harmonic, held
from bench.metrics.tally import Counts

Floats = NDArray[np.float64]

METRICS: Mapping[str, Metric] = {
    "aurc": Metric("AURC", "mean over coverages of the share of wrong pixels among the accepted ones", "lower"),
    "e_aurc": Metric("E-AURC", "AURC minus the AURC of the perfect ranking with the same errors", "lower"),
    "augrc": Metric(
        "AUGRC", "area under wrong accepted pixels / all pixels, over coverage (arXiv:2407.01032)", "lower"
    ),
    "prr": Metric("PRR", "prediction rejection ratio: 2 AUROC - 1 for pixels, which are right or wrong"),
}


def read(counts: Counts, positives: Sequence[int], negatives: Sequence[int]) -> dict[str, Value | Undefined]:
    """The figures of ``METRICS``; positives are wrong pixels. Certified for 24 bits, as ``ranking.ranking``."""
    found = ranking.ranking(counts, positives, negatives)["auroc"]
    if isinstance(found, Undefined):
        return dict.fromkeys(METRICS, found)
    wrong_column, right_column = counts.column(positives), counts.column(negatives)
    keys = np.unique(np.concatenate([wrong_column.keys, right_column.keys]))
    wrong, right = (column.ranks(keys)[1] for column in (wrong_column, right_column))
    errors, total = int(wrong.sum()), int(wrong.sum() + right.sum())
    wrong_before, before = np.cumsum(wrong) - wrong, np.cumsum(wrong + right) - wrong - right
    tied = _risks(wrong_before, before, wrong, wrong + right) / total
    best = float(perfect(np.array([errors]), np.array([total]))[0])
    share = errors / total
    if counts.bits == 32:
        aurc = Value(tied)
    else:
        aurc = held(tied, *(value / total for value in _extremes(wrong_before, before, wrong, right)))
    spread = share * (1 - share)
    return {
        "aurc": aurc,
        "e_aurc": Value(aurc.value - best, aurc.err),
        "augrc": Value((1 - found.value) * spread + share**2 / 2, found.err * spread),
        "prr": Value(2 * found.value - 1, 2 * found.err),
    }


def _risks(
    wrong_before: NDArray[np.int64], before: NDArray[np.int64], wrong: NDArray[np.int64], pixels: NDArray[np.int64]
) -> float:
    """Sum over the accepted of their risk, wrong pixels evenly among those of their key."""
    rate = np.asarray(wrong / pixels, np.float64)
    return float((wrong + (wrong_before - before * rate) * harmonic(before + 1.0, pixels)).sum())


def _extremes(
    wrong_before: NDArray[np.int64], before: NDArray[np.int64], wrong: NDArray[np.int64], right: NDArray[np.int64]
) -> tuple[float, float]:
    """``_risks`` with the wrong pixels of every key accepted last, and first."""
    low = wrong_before * harmonic(before + 1.0, right) + wrong
    low = low + (wrong_before - before - right) * harmonic(before + right + 1.0, wrong)
    high = wrong + (wrong_before - before) * harmonic(before + 1.0, wrong)
    high = high + (wrong_before + wrong) * harmonic(before + wrong + 1.0, right)
    return float(low.sum()), float(high.sum())


def perfect(errors: NDArray[Any], total: NDArray[Any]) -> Floats:
    """AURC [...] of a ranking that accepts every wrong pixel last."""
    right = (total - errors).astype(np.float64)
    return np.asarray((errors - right * harmonic(right + 1.0, errors)) / total, np.float64)


def binned(positives: Floats, negatives: Floats, figures: Mapping[str, Floats]) -> dict[str, Floats]:
    """The figures of ``METRICS`` [...] for [..., bins] counts in ascending order; a bin has the risk of its end."""
    wrong, seen = np.cumsum(positives, axis=-1), np.cumsum(positives + negatives, axis=-1)
    errors, total = wrong[..., -1], seen[..., -1]
    with np.errstate(invalid="ignore", divide="ignore"):
        risk = np.divide(wrong, seen, out=np.zeros(wrong.shape), where=seen > 0)
        aurc = (risk * (positives + negatives)).sum(axis=-1) / total
        share = errors / total
        best = perfect(errors, total)
    aurc = np.where(np.isnan(figures["auroc"]), np.nan, aurc)
    return {
        "aurc": aurc,
        "e_aurc": aurc - best,
        "augrc": (1 - figures["auroc"]) * share * (1 - share) + share**2 / 2,
        "prr": 2 * figures["auroc"] - 1,
    }
