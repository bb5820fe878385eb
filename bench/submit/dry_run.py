"""Figures evaluated again, held against those that a run or a record claims."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from bench.api import Compared, Protocol, Undefined, Value
from bench.core.errors import UsageError
from bench.results.store import Result, Run
from bench.suite import parameters

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


def claimed_by(run: Run | None) -> Callable[..., Figures]:
    """A look-up of the run's figures under a protocol on exactly the frames of some ids; empty where it has none.

    A protocol itself, in place of its name, is looked for with its parameters. ``pixels``, where they are given, are as
    many as were counted: data sets of the same frames differ in what they ignore.
    """

    def claimed(protocol: str | Protocol, ids: Sequence[str], pixels: int | None = None) -> Figures:
        for result in run.results if run else ():
            same = pixels is None or pixels == sum(result.pixels.values())
            if run and same and _is(result, protocol) and run.sample_ids(result) == sorted(ids):
                return result.metrics
        return {}

    return claimed


def _is(result: Result, protocol: str | Protocol) -> bool:
    """Return True for a result under the protocol."""
    ref = result.cell.protocol
    if result.not_applicable or ref.name != (protocol if isinstance(protocol, str) else protocol.name):
        return False
    return isinstance(protocol, str) or parameters.values(ref.build()) == parameters.values(protocol)


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
