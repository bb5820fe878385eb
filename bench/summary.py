"""Figures over several cells: pure functions of results, invalid while one of their cells is missing or partial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from bench.api import Undefined, Value
from bench.store import Result, Run


def compute(run: Run) -> list[dict[str, Any]]:
    """One entry per summary asked for, model, method and metric; docs/results.md describes the fields."""
    return [entry for rule in run.plan.summaries for entry in _rule(run, rule)]


def _rule(run: Run, rule: Mapping[str, Any]) -> list[dict[str, Any]]:
    groups: dict[tuple[str, str | None], list[Result]] = {}
    for result in run.results:
        labels = result.labels
        named = {labels["protocol"], result.cell["protocol"]["name"]}
        if rule["protocol"] in named and _covers(rule, labels["dataset"]):
            groups.setdefault((labels["model"], labels.get("method")), []).append(result)
    entries = []
    for (model, method), group in groups.items():
        for metric, definition in group[0].definitions.items():
            if definition.better == "neither":
                continue
            base = {
                "name": rule["name"],
                "protocol": rule["protocol"],
                "model": model,
                "method": method,
                "metric": metric,
            }
            entries.append(base | _mean(run, group, metric, _asked(run, group[0], rule)))
    return entries


def _covers(rule: Mapping[str, Any], dataset: str) -> bool:
    """Whether the mean runs over that data set; runs of before corruptions were an axis have a pattern."""
    datasets = rule.get("datasets")
    return fnmatchcase(dataset, rule["dataset"]) if datasets is None else dataset in datasets


def _asked(run: Run, like: Result, rule: Mapping[str, Any]) -> int:
    """How many cells the plan has for this mean, those without a result included."""
    mine = {axis: label for axis, label in like.labels.items() if axis != "dataset"}
    return sum(
        _covers(rule, cell["dataset"]) and mine == {axis: cell[axis] for axis in cell if axis != "dataset"}
        for cell in run.plan.cells
    )


def _mean(run: Run, group: Sequence[Result], metric: str, asked: int) -> dict[str, Any]:
    figures = [result.metrics[metric] for result in group]
    known = [figure for figure in figures if isinstance(figure, Value)]
    usable = [
        result
        for result, figure in zip(group, figures, strict=True)
        if isinstance(figure, Value) and not result.partial
    ]
    counts = {"cells": len(usable), "of": asked}
    empty = {"value": None, "lo": None, "hi": None}
    if len(usable) < asked:
        undefined = next((figure.reason for figure in figures if isinstance(figure, Undefined)), None)
        return empty | counts | {"reason": undefined or f"{len(usable)} of {asked} cells are finished and complete"}
    value = float(np.mean([figure.value for figure in known]))
    spread = [run.replicates(result).get(metric) for result in usable]
    lo = hi = None
    if all(one is not None for one in spread) and len({len(one) for one in spread if one is not None}) == 1:
        # Weights are a function of the seed and the ids: the same images are resampled together, different ones apart.
        mean = np.mean([one for one in spread if one is not None], axis=0)
        lo, hi = (
            (float(end) for end in np.nanpercentile(mean, [2.5, 97.5])) if np.isfinite(mean).any() else (None, None)
        )
    return {"value": value, "lo": lo, "hi": hi} | counts | {"reason": None}
