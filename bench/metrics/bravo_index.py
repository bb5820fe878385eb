"""The harmonic means of BRAVO, from the figures of its subsets up to the index that ranks a submission.

Source: valeoai/bravo_challenge@d54005d, since d1e0c07 with 1 - ECE and 1 - FPR95. A mean with a 0 in it is 0.

<subset>_hmean  of all figures of a subset
semantic_hmean  of the semantic figures of all subsets together, 6 of each of 8
ood_hmean       of the out-of-distribution figures of all subsets together, 3 of each of 2
bravo_index     of the two
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.core.values import Undefined, Value

Floats = NDArray[np.float64]
Judged = Literal["semantic", "ood", "both"]

SEMANTIC = ("miou", "ece", "auroc", "auprc_success", "auprc_error", "fpr95")
OOD = ("auroc_ood", "auprc_ood", "fpr95_ood")
REVERSED = frozenset({"ece", "fpr95", "fpr95_ood"})
FIGURES: Mapping[Judged, tuple[str, ...]] = {"semantic": SEMANTIC, "ood": OOD, "both": (*SEMANTIC, *OOD)}
SUBSETS: Mapping[str, Judged] = {
    "ACDCfog": "semantic", "ACDCrain": "semantic", "ACDCnight": "semantic", "ACDCsnow": "semantic",
    "synrain": "semantic", "SMIYC": "ood", "synobjs": "both", "synflare": "semantic", "outofcontext": "semantic",
}  # fmt: skip
"""The nine subsets in the official order, and which figures of each count."""

NOT_JUDGED = Undefined("no part of this subset")


def harmonic_mean(values: Sequence[Floats | float]) -> Floats:
    """[...] of numbers in [0, 1], [...] each; NaN where one of them is, or if there are none."""
    if not values:
        return np.array(np.nan)
    with np.errstate(divide="ignore"):
        return np.asarray(len(values) / sum(1 / np.asarray(value, np.float64) for value in values), np.float64)


def mean_of(figures: Mapping[str, Floats | float]) -> Floats:
    """[...]: harmonic mean of the figures of one subset, by their names; others among them do not count."""
    return harmonic_mean([_upright(name, value) for name, value in figures.items() if name in FIGURES["both"]])


def means(subsets: Mapping[str, Mapping[str, Floats | float]]) -> dict[str, Floats]:
    """All harmonic means of numbers [...], such as points or replicates, NaN where undefined.

    A figure that is not there is left out, as in the source: who ranks must see to it that all ``SUBSETS`` are there.
    """
    harmonic = {f"{subset}_hmean": mean_of(figures) for subset, figures in subsets.items()}
    for group, names in (("semantic", SEMANTIC), ("ood", OOD)):
        pooled = [_upright(name, each[name]) for each in subsets.values() for name in names if name in each]
        harmonic[f"{group}_hmean"] = harmonic_mean(pooled)
    harmonic["bravo_index"] = harmonic_mean([harmonic["semantic_hmean"], harmonic["ood_hmean"]])
    return harmonic


def bravo_index(subsets: Mapping[str, Mapping[str, Value | Undefined]]) -> dict[str, Value | Undefined]:
    """All harmonic means of what ``Bravo.read`` gives for each subset.

    Where the source has NaN, the reason is that of the first figure that is undefined. What is not judged in a subset
    is left out; so is a subset without figures, see ``means``.
    """
    judged = {
        subset: {name: each for name, each in figures.items() if name in FIGURES["both"] and each != NOT_JUDGED}
        for subset, figures in subsets.items()
    }
    harmonic = {f"{subset}_hmean": hmean(figures) for subset, figures in judged.items()}
    points, worst, best = (
        means({subset: _numbers(each, side) for subset, each in judged.items()}) for side in (0, -1, 1)
    )
    why = {"semantic_hmean": _reason(judged, "semantic"), "ood_hmean": _reason(judged, "ood")}
    for name in ("semantic_hmean", "ood_hmean", "bravo_index"):
        reason = why[name] if name in why else why["semantic_hmean"] or why["ood_hmean"]
        harmonic[name] = reason or _held(points[name], worst[name], best[name])
    return harmonic


def hmean(figures: Mapping[str, Value | Undefined]) -> Value | Undefined:
    """The harmonic mean of one subset; undefined if one of its figures is."""
    for figure in figures.values():
        if isinstance(figure, Undefined):
            return figure
    if not figures:
        return Undefined("no figures")
    return _held(*(mean_of(_numbers(figures, side)) for side in (0, -1, 1)))


def _upright(name: str, value: Floats | float) -> Floats | float:
    return 1 - value if name in REVERSED else value


def _numbers(figures: Mapping[str, Value | Undefined], side: int) -> dict[str, Floats | float]:
    """The points (0), or the worst (-1) or best (1) that the certified half-widths allow."""
    return {
        name: float("nan")
        if isinstance(each, Undefined)
        else min(max(each.value + (-side if name in REVERSED else side) * each.err, 0.0), 1.0)
        for name, each in figures.items()
    }


def _reason(
    judged: Mapping[str, Mapping[str, Value | Undefined]], group: Literal["semantic", "ood"]
) -> Undefined | None:
    listed = [(subset, name, each[name]) for subset, each in judged.items() for name in FIGURES[group] if name in each]
    if not listed:
        return Undefined(f"no {group} figures")
    return next(
        (Undefined(f"{subset}: {name}: {each.reason}") for subset, name, each in listed if isinstance(each, Undefined)),
        None,
    )


def _held(point: Floats, low: Floats, high: Floats) -> Value:
    """The mean grows with each of its numbers, so its ends are those of their ends."""
    return Value(float(point), float(max(high - point, point - low)))
