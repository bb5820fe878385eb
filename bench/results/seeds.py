"""The spread of figures between networks that differ in the seed of their training alone."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from typing import Any

from bench.api import Value
from bench.core.errors import BadSuite
from bench.results.store import Result

OWN = ("seed", "key", "about")  # of the parents of a network: what two seeds do not share


def spread(results: Sequence[Result]) -> list[dict[str, Any]]:
    """One record per protocol, recipe, data set, method and metric: mean, standard deviation and the values by seed.

    The deviation is that of a sample (n - 1). Networks that say nothing of their training are left out, and figures
    that not every seed has a value of; results of a part of the data are kept apart.
    """
    groups: dict[tuple[Any, ...], dict[int, Result]] = {}
    for result in results:
        parents = result.about.get("model", {}).get("parents")
        if not parents or "seed" not in parents or result.not_applicable:
            continue
        shared = {name: value for name, value in parents.items() if name not in OWN}
        cell = result.cell
        group = json.dumps(shared, sort_keys=True), cell.protocol, cell.dataset, cell.method, result.images
        groups.setdefault(group, {})[parents["seed"]] = result
    rows = [row for seeds in groups.values() if len(seeds) > 1 for row in _rows(seeds)]
    if not rows:
        raise BadSuite(
            "no two networks of this run differ in their seed alone; bench fit entropy_max --seeds 0,1,2 makes such"
            " networks, each is an entry of the suite's models"
        )
    return rows


def _rows(seeds: dict[int, Result]) -> list[dict[str, Any]]:
    first = seeds[min(seeds)]
    rows = []
    for name in first.metrics:
        figures = {seed: figure for seed in sorted(seeds) if isinstance(figure := seeds[seed].metrics.get(name), Value)}
        if len(figures) == len(seeds):
            values = {seed: figure.value for seed, figure in figures.items()}
            rows.append(
                {
                    "protocol": first.labels.protocol,
                    "dataset": first.labels.dataset,
                    "model": _recipe(first),
                    "method": first.labels.method or "",
                    "metric": name,
                    "mean": statistics.fmean(values.values()),
                    "std": statistics.stdev(values.values()),
                    "seeds": values,
                    "partial": first.partial,
                }
            )
    return rows


def _recipe(result: Result) -> str:
    """Return the words for what all of the networks are."""
    parents = result.about["model"]["parents"]
    names = (parents.get("model") or {}).get("name"), parents.get("by", {}).get("trainer")
    return ", ".join(filter(None, names))


def lines(rows: Sequence[dict[str, Any]]) -> str:
    """A table; figures as they are."""
    from tabulate import tabulate

    shown = [
        {
            **{name: row[name] for name in ("protocol", "dataset", "model", "method", "metric")},
            "mean": f"{row['mean']:.4f}",
            "std": f"{row['std']:.4f}",
            "by seed": ", ".join(f"{seed}: {value:.4f}" for seed, value in row["seeds"].items())
            + (" (part of the data)" if row["partial"] else ""),
        }
        for row in rows
    ]
    return tabulate(shown, headers="keys", disable_numparse=True)
