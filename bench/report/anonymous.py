"""A run without what tells who made it, for a page that goes to reviewers who must not know.

Paths keep their last part alone. Of the provenance stay versions, device, time to the day and a command without
places; commit and the links to files go. Titles, notes and labels are the author's own words: nothing but paths is
taken out of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import PurePath
from typing import Any, TypeVar

from bench.api import Undefined
from bench.report.merge_runs import Merged
from bench.results.store import Cell, CellLabels, Plan, Result, Run

# Absolute, below a home folder, or upwards; no address on the web, where a colon or a slash comes before.
PATH = re.compile(
    r"(?<![\w:/\\.~-])(?:~\w*|\.{1,2}|[A-Za-z]:)?[/\\](?:[^/\\\s,;'\"\]})]+[/\\])*(?P<last>[^/\\\s,;'\"\]})]*)"
)
KEPT = ("ood_seg_bench", "python", "torch", "numpy", "numba", "scipy", "numerics")  # of the provenance
AnyRun = TypeVar("AnyRun", bound=Run)


def anonymous(run: AnyRun) -> AnyRun:
    """The same run with the same figures; what a format prints of it names nobody."""
    scrubbed = replace(run, plan=_plan(run.plan), results=tuple(map(_result, run.results)))
    if isinstance(scrubbed, Merged):
        return replace(scrubbed, named={_scrubbed(label): _scrubbed(row) for label, row in scrubbed.named.items()})
    return scrubbed


def without_paths(text: str) -> str:
    """``weights /home/me/net.pth`` becomes ``weights net.pth``."""
    return PATH.sub(lambda match: match["last"] or "folder", text)


def _plan(plan: Plan) -> Plan:
    return replace(
        plan,
        title=without_paths(plan.title),
        note=without_paths(plan.note),
        summaries=tuple(map(_scrubbed, plan.summaries)),
        cells=tuple(map(_labels, plan.cells)),
        operating_points=tuple(map(_scrubbed, plan.operating_points)),
        left_out=tuple(map(without_paths, plan.left_out)),
    )


def _result(result: Result) -> Result:
    provenance = {name: result.provenance[name] for name in KEPT if name in result.provenance}
    if created := str(result.provenance.get("created", "")):
        provenance["created"] = created[:10]
    return replace(
        result,
        cell=Cell.read(_scrubbed(result.cell.spelled()), _labels(result.labels), {}),
        metrics={name: _scrubbed(figure) for name, figure in result.metrics.items()},
        about=_scrubbed(result.about),
        not_applicable=without_paths(result.not_applicable),
        provenance=provenance | {"command": f"bench run SUITE --only cell={result.key}"},
        fitted=_scrubbed(result.fitted),
    )


def _labels(labels: CellLabels) -> CellLabels:
    return CellLabels(*map(_scrubbed, labels))


def _scrubbed(value: Any) -> Any:
    if isinstance(value, str):
        return PurePath(value).name if PurePath(value).is_absolute() else without_paths(value)
    if isinstance(value, Undefined):
        return Undefined(without_paths(value.reason))
    if isinstance(value, Mapping):
        return {name: _scrubbed(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_scrubbed, value))
    return value
