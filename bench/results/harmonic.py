"""The harmonic means of BRAVO over its nine subsets, as a rule of summaries: ``rule: bravo_index``.

The data sets of the suite carry the names of the subsets as labels. A mean has no value while one of its subsets has no
full result, or a figure of it is undefined: the source has NaN there, or ends with an error.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.api import Undefined, Value
from bench.metrics import bravo_index
from bench.results import resampled
from bench.results.store import Result, Run

RULE = "bravo_index"
TITLES: Mapping[str, tuple[str, str]] = {
    "bravo_index": ("BRAVO index", "harmonic mean of the semantic and the OOD one"),
    "semantic_hmean": ("semantic", "harmonic mean of the six semantic figures of eight subsets, 1 - ECE and 1 - FPR95"),
    "ood_hmean": ("OOD", "harmonic mean of the three OOD figures of SMIYC and synobjs, 1 - FPR95"),
    **{f"{subset}_hmean": (subset, "harmonic mean of all figures of the subset") for subset in bravo_index.SUBSETS},
}
"""Title and definition of each mean, in the order of the table."""
ABSENT = Undefined("no full result")
TWICE = Undefined("several results: name the protocols of one kind in the summary's protocol")
UNJUDGED = Undefined("not judged; its protocol says another judged:")


def entries(run: Run, rule: Mapping[str, Any], covered: Collection[str]) -> Iterator[dict[str, Any]]:
    """Yield one entry for each mean, model and method, shaped as those of ``summary.compute``."""
    rows: dict[tuple[str, str | None], dict[str, list[Result]]] = {}
    for result in run.results:
        names = {result.labels.protocol, result.cell.protocol.name}
        of_rule = result.cell.protocol.name == "bravo" and any(fnmatchcase(name, rule["protocol"]) for name in names)
        if of_rule and result.labels.dataset in covered:
            rows.setdefault(result.labels.row, {}).setdefault(result.labels.dataset, []).append(result)
    for (model, method), results in rows.items():
        usable = [subset for subset in bravo_index.SUBSETS if _is_full(results.get(subset, ()))]
        base = {"name": rule["name"], "protocol": rule["protocol"], "model": model, "method": method}
        base |= {"cells": len(usable), "of": len(bravo_index.SUBSETS), "better": "higher"}
        figures = bravo_index.bravo_index({name: _figures(name, results.get(name, ())) for name in bravo_index.SUBSETS})
        draws = _draws(run, {name: results[name][0] for name in usable})
        for name, (title, definition) in TITLES.items():
            entry = base | {"metric": name, "title": title, "definition": definition}
            figure = figures[name]
            if isinstance(figure, Undefined):
                yield entry | {"value": None, "lo": None, "hi": None, "reason": figure.reason}
            else:
                low, high = resampled.limits(draws[name]) if name in draws else (None, None)
                yield entry | {"value": figure.value, "lo": low, "hi": high, "reason": None}


def _is_full(results: Sequence[Result]) -> bool:
    return len(results) == 1 and not results[0].partial and not results[0].not_applicable


def _figures(subset: str, results: Sequence[Result]) -> dict[str, Value | Undefined]:
    """Return the figures of a subset that count, each with a value or a reason."""
    names = bravo_index.FIGURES[bravo_index.SUBSETS[subset]]
    if len(results) > 1:
        return dict.fromkeys(names, TWICE)
    if not results or results[0].partial:
        return dict.fromkeys(names, ABSENT)
    known = {name: results[0].metrics.get(name, ABSENT) for name in names}
    return {name: UNJUDGED if figure == bravo_index.NOT_JUDGED else figure for name, figure in known.items()}


def _draws(run: Run, results: Mapping[str, Result]) -> dict[str, NDArray[np.float64]]:
    """Return the means in each resample, [R]; none unless all nine subsets have as many."""
    spread = {
        subset: {name: run.replicates(result).get(name) for name in bravo_index.FIGURES[bravo_index.SUBSETS[subset]]}
        for subset, result in results.items()
    }
    every = [draws for each in spread.values() for draws in each.values()]
    shapes = {draws.shape for draws in every if draws is not None}
    if results.keys() != bravo_index.SUBSETS.keys() or any(draws is None for draws in every) or len(shapes) != 1:
        return {}
    known = {
        subset: {name: draws for name, draws in each.items() if draws is not None} for subset, each in spread.items()
    }
    return bravo_index.means(known)
