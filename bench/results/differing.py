"""The differences in the making of two results, in words: settings, parameters, code, data and arithmetic."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from bench.results.store import Ref, Result
from bench.suite.cells import AXES

SETTINGS = ("seed", "bootstrap", "resample")  # of a cell: what is drawn
NUMERICS = "numerics{}: figures agree to about 1e-6, not to the last bit"
PARTS = {
    "dataset": "the data",
    "metrics": "the counting",
    "fitted": "what was fitted",
    "model": "the model's code or weights",
}
UNPAIRED = "intervals of differences between them are not paired"


def reasons(result: Result, other: Result, axes: Collection[str] = AXES, hidden: Collection[str] = ()) -> Iterator[str]:
    """Yield what differs, with that of ``result`` first.

    Parameters are those of the coordinates on ``axes``; ``hidden`` are what they depend on that is meant to differ.
    """
    for name in SETTINGS:
        if (drawn := result.cell.recorded(name)) != (other_drawn := other.cell.recorded(name)):
            yield f"{name} ({drawn} and {other_drawn}): {UNPAIRED}"
    refs, others = result.cell.refs(), other.cell.refs()
    for axis in AXES:
        if axis in axes and refs[axis] != others[axis]:
            listed = ", ".join(f"{name} {a} and {b}" for name, a, b in _parameters(refs[axis], others[axis]))
            yield f"parameters of the {axis} ({listed})"
    for name in sorted(result.depends.keys() | other.depends.keys()):
        ours, theirs = result.depends.get(name), other.depends.get(name)
        # Of two methods or networks one may read shared code that the other does not.
        if ours == theirs or name in hidden or (None in (ours, theirs) and {"method", "model"} & {*hidden}):
            continue
        if name == "numerics":
            changed = [
                f"{key} {a} and {b}"
                for key, a, b in _changed(*(of.provenance.get("numerics") or {} for of in (result, other)))
            ]
            yield NUMERICS.format(f" ({', '.join(changed)})" if changed else "")
        else:
            yield PARTS.get(name, f"the {name}'s code")


def _parameters(ref: Ref | None, other: Ref | None) -> Iterator[tuple[str, str, str]]:
    """Yield each parameter by a dotted name, with both values as JSON has them."""
    ours, theirs = (_flat(of.spelled()) if of else {} for of in (ref, other))
    for name in ours | theirs:
        if ours.get(name) != theirs.get(name):
            a, b = ("absent" if name not in of else json.dumps(of[name]) for of in (ours, theirs))
            yield name.removeprefix("params."), a, b


def _flat(entries: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in entries.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


def _changed(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for name in {**ours, **theirs}:
        if ours.get(name) != theirs.get(name):
            yield name, ours.get(name), theirs.get(name)
