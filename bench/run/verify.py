"""Results computed once more elsewhere, and held to those that a run has: figure by figure."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from bench.api import Undefined, Value
from bench.contract.progress import Reporter
from bench.core.errors import CellsFailed, UsageError
from bench.results import differing, store
from bench.results.store import Result, Run
from bench.run import engine
from bench.run.engine import Options
from bench.suite.cells import Suite

NEAR = 1e-6  # of a rate: how far apart figures of other numerics may lie
Figure = Value | Undefined | None


@dataclass(frozen=True)
class Verdict:
    """A figure of a cell as the run has it, and as it was computed again."""

    cell: str
    key: str
    metric: str
    before: Figure
    after: Figure
    outcome: Literal["equal", "near", "other", "failed"]
    words: str  # why it may be another one, or why there is none; empty for equal ones


def verify(run: Run, suite: Suite, keys: Sequence[str], options: Options, reporter: Reporter) -> Iterator[Verdict]:
    """Compute cells of a run again in a temporary folder; nothing in the run is changed.

    ``suite`` is the run's own. Figures are equal to the last bit, or near (to 1e-6, where only the numerics differ), or
    others. What was fitted is taken from this machine where it is there.
    """
    results = {result.key: result for result in run.results}
    planned = {cell.key for cell in suite.cells}
    for key in keys:
        if key not in results:
            raise UsageError(
                f"{run.path}: no finished cell has the key {key!r}; 'bench show {run.path} --format json' lists them"
            )
        if key not in planned:
            raise UsageError(f"{run.path / 'suite.yaml'} has no cell {key}: the run was made from another suite")
    by_images: dict[int | None, list[str]] = {}
    for key in keys:
        by_images.setdefault(results[key].images if results[key].partial else None, []).append(key)
    for limit, some in by_images.items():
        cells = tuple(cell for cell in suite.cells if cell.key in some)
        with tempfile.TemporaryDirectory(prefix="bench-verify-") as folder:
            failed = ""
            try:
                for _ in engine.run(replace(suite, cells=cells), Path(folder), replace(options, limit=limit), reporter):
                    pass
            except CellsFailed as error:  # the others were computed
                failed = str(error).splitlines()[-1].strip() if error.args else "it failed"
            again = {result.key: result for result in store.read_run(Path(folder)).results}
            reasons = _failures(Path(folder))
        for key in some:
            yield from _verdicts(results[key], again.get(key), reasons.get(key, failed))


def _failures(folder: Path) -> Mapping[str, str]:
    """Why cells have no figures, by key."""
    path = folder / "failures.json"
    return {entry["key"]: entry["message"] for entry in store.read_json(path)} if path.is_file() else {}


def _verdicts(before: Result, after: Result | None, failure: str) -> Iterator[Verdict]:
    words = "" if after is None else "; ".join(differing.reasons(before, after))
    for name, figure in before.metrics.items():
        again = after.metrics.get(name) if after else None
        outcome: Literal["equal", "near", "other", "failed"] = "other"
        if after is None:
            outcome = "failed"
        elif figure == again or (isinstance(figure, Undefined) and isinstance(again, Undefined)):
            outcome = "equal"
        elif words.startswith("numerics") and ";" not in words and _is_near(figure, again):
            outcome = "near"
        why = (
            failure
            if outcome == "failed"
            else ""
            if outcome == "equal"
            else words or "made with the same code and data"
        )
        yield Verdict(str(before.labels), before.key, name, figure, again, outcome, why)


def _is_near(figure: Figure, again: Figure) -> bool:
    if not isinstance(figure, Value) or not isinstance(again, Value):
        return False
    return abs(figure.value - again.value) <= NEAR * max(1.0, abs(figure.value))
