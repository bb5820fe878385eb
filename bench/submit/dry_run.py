"""Figures evaluated again, held against those that a run or a record claims."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from bench.api import Compared, Undefined, Value
from bench.core.errors import UsageError
from bench.results.store import Run

EXACT = 1e-9  # two ways to the same maps

Figures = Mapping[str, Value | Undefined]


def compared(where: str, figures: Figures, claimed: Figures, tolerance: float) -> list[Compared]:
    """Each figure that has a value, beside the one that is claimed."""
    lines = []
    for name, figure in figures.items():
        if isinstance(figure, Value):
            claim = claimed.get(name)
            value = claim.value if isinstance(claim, Value) else None
            lines.append(Compared(where, name, figure.value, value, tolerance))
    return lines


def claimed_by(run: Run | None) -> Callable[[str, Sequence[str]], Figures]:
    """A look-up of the run's figures under a protocol on exactly the frames of some ids; empty where it has none."""

    def claimed(protocol: str, ids: Sequence[str]) -> Figures:
        for result in run.results if run else ():
            fits = result.cell.protocol.name == protocol and not result.not_applicable
            if run and fits and run.sample_ids(result) == sorted(ids):
                return result.metrics
        return {}

    return claimed


def of_method(run: Run, model: str | None, method: str | None) -> Run:
    """A run with the results of one method on one network alone. Raise UsageError if the names leave several."""
    asked = {axis: name for axis, name in (("model", model), ("method", method)) if name}
    kept = [
        result for result in run.results if all(result.labels.on(axis) in ("", name) for axis, name in asked.items())
    ]
    for axis in ("model", "method"):
        labels = sorted({result.labels.on(axis) for result in kept} - {""})
        if len(labels) > 1:
            raise UsageError(f"{run.path} has {len(labels)} {axis}s: {', '.join(labels)}; name one with --{axis}")
    return replace(run, results=tuple(kept))
