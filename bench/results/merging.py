"""Several run directories as one: the cells of all, each with its own provenance.

RUN/merged.json      where the cells come from: name, path and keys of each run
RUN/suite.yaml       the suite, where all runs are of the same one
RUN/suites/N.yaml    the suites, where they are of several: none of them gives all cells
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.core import files
from bench.core.errors import CannotWrite, UsageError
from bench.results import differing, operating, run_files, store, summary
from bench.results.store import CellLabels, Plan, Result, Run

LISTED = 5  # cells that a refusal names
BESIDE = ("segments", "objects", "decisions")  # files of cells that refinements leave


def merge(runs: Sequence[Run], out: Path) -> Run:
    """Write one run directory with the cells of ``runs``, in their order, and return it.

    A cell that several have is taken once if the results are equal, the full one before a partial one. Raise UsageError
    for a cell with two results, for a label that means two things, and for a place that is taken.
    """
    if os.path.lexists(out) and not (out.is_dir() and not any(out.iterdir())):
        raise UsageError(f"--out {out} is there already; a merged run is written to a new folder")
    _check_labels(runs)
    chosen: dict[str, tuple[Run, Result]] = {}
    for run in runs:
        for result in run.results:
            if result.key not in chosen or _is_better(result, chosen[result.key][1], (run, chosen[result.key][0])):
                chosen[result.key] = run, result
    labels: dict[str, CellLabels | None] = {}
    for run in runs:
        for index, key in enumerate(run.plan.keys):
            labels.setdefault(key, run.plan.cells[index] if run.plan.cells else None)
    plan = Plan(
        "+".join(dict.fromkeys(run.plan.name for run in runs)),
        " + ".join(dict.fromkeys(run.plan.title or run.plan.name for run in runs)),
        " ".join(dict.fromkeys(run.plan.note for run in runs if run.plan.note)),
        tuple(labels),
        _union(run.plan.summaries for run in runs),
        tuple(label for label in labels.values() if label) if None not in labels.values() else (),
        _union(run.plan.operating_points for run in runs),
        _union(run.plan.claims for run in runs),
        tuple(dict.fromkeys(sentence for run in runs for sentence in run.plan.left_out)),
    )
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name[:100]}.") as draft:
            folder = Path(draft) / "run"
            _write(folder, runs, plan, chosen)
            if out.is_dir():
                out.rmdir()
            folder.rename(out)
    except OSError as error:
        raise files.cannot_write(out, error) from error
    return store.read_run(out)


def _is_better(result: Result, other: Result, runs: tuple[Run, Run]) -> bool:
    """Return True for a full result where the other is partial; UsageError for two that differ."""
    if result.partial != other.partial:
        return other.partial
    same = result.images == other.images and result.metrics == other.metrics and result.depends == other.depends
    if same and result.refused_as(other):
        return False
    reasons = "; ".join(differing.reasons(other, result)) or "their figures alone"
    raise UsageError(
        f"{runs[1].path} and {runs[0].path} have two results of {result.labels} ({result.key}), which differ in"
        f" {reasons}; 'bench report {runs[1].path} {runs[0].path}' shows both side by side"
    )


def _check_labels(runs: Sequence[Run]) -> None:
    """Raise UsageError for a label that stands for two things: tables would mix them."""
    meanings: dict[tuple[str, str], tuple[str, Run]] = {}
    for run in runs:
        for result in run.results:
            for axis, ref in result.cell.refs().items():
                if ref is None:
                    continue
                identity, first = meanings.setdefault((axis, ref.label), (ref.identity, run))
                if identity != ref.identity:
                    raise UsageError(
                        f"{first.path} and {run.path} mean two things by the {axis} {ref.label!r}; give one of them"
                        f" another label in its suite, or show both: 'bench report {first.path} {run.path}'"
                    )


def _union(rules: Iterable[Sequence[Mapping[str, Any]]]) -> tuple[Mapping[str, Any], ...]:
    return tuple({json.dumps(rule, sort_keys=True): rule for some in rules for rule in some}.values())


def _write(folder: Path, runs: Sequence[Run], plan: Plan, chosen: Mapping[str, tuple[Run, Result]]) -> None:
    (folder / "cells").mkdir(parents=True)
    suites = [_suite(run) for run in runs]
    store.write_plan(folder, plan, suites[0])
    if len(set(suites)) > 1:
        (folder / "suite.yaml").unlink()
        for number, text in enumerate(suites, 1):
            with files.writing(folder / "suites" / f"{number}.yaml", "w") as file:
                file.write(text)
    for run in runs:
        keys = [key for key, (owner, _) in chosen.items() if owner is run]
        for key in keys:
            for path in (store.result_path(run.path, key), store.counts_path(run.path, key)):
                run_files.check_inside(path, run.path)
                if not path.is_file():
                    raise run_files.Damaged(path, "is no regular file")
                shutil.copyfile(path, folder / "cells" / path.name, follow_symlinks=True)
            for path in (path for kind in BESIDE for path in (run.path / kind).glob(f"{key}.*")):
                _copy(path, folder / path.relative_to(run.path), run.path)
        for index in sorted((run.path / "gallery").glob("*/*/index.json")):
            target = folder / index.parent.relative_to(run.path)
            if not target.exists():
                for path in sorted(index.parent.rglob("*")):
                    _copy(path, target / path.relative_to(index.parent), run.path)
    sources = [
        {"path": str(run.path), "name": run.plan.name, "keys": [k for k, (owner, _) in chosen.items() if owner is run]}
        for run in runs
    ]
    store.write_json(folder / "merged.json", {"schema": 1, "runs": sources})
    made = store.read_run(folder)
    store.write_json(folder / "summaries.json", summary.compute(made) + operating.compute(made))


def _copy(path: Path, target: Path, run: Path) -> None:
    """Copy a regular file of a run; what a link puts elsewhere is left out."""
    if path.is_file() and path.resolve().is_relative_to(run.resolve()):
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def _suite(run: Run) -> str:
    path = run.path / "suite.yaml"
    try:
        run_files.check_inside(path, run.path)
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise CannotWrite(f"{path} cannot be read: {error}") from None
