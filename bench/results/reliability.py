"""Reliability diagrams: how often pixels are right, by what the method's confidence says.

The protocol ``calibration`` keeps the bins of every image. A misclassification counts every score, and where the score
of its method can be read as a confidence, as that of MSP and FED, its bins are read off the counts when the cell is
finished, and kept in its file: nothing of the method is needed again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from numpy.typing import NDArray

from bench.api import Method, Protocol, Undefined
from bench.counts.tally import Counts
from bench.metrics.protocols import calibration
from bench.metrics.protocols.calibration import Calibration, Diagram
from bench.metrics.protocols.pooled import Misclassification
from bench.results import store
from bench.results.store import Result, Run

NAMES = tuple(field.name for field in fields(Diagram))
PREFIX = "reliability."


def kept(protocol: Protocol, method: Method, counts: Counts) -> Mapping[str, NDArray[Any]]:
    """Arrays for the file of a cell: exact where the counts are; empty where scores cannot be read as a confidence."""
    if not isinstance(protocol, Misclassification):
        return {}
    found = calibration.of_counts(counts, *protocol.sides, method.confidence)
    return {} if isinstance(found, Undefined) else {f"{PREFIX}{name}": getattr(found, name) for name in NAMES}


def diagram(run: Run, result: Result) -> Diagram | None:
    """The bins of all images together; None where the cell has none, or no pixel."""
    if result.not_applicable:
        return None
    if result.cell.protocol.name == Calibration.name:
        arrays = run.arrays(result, "ids", *(f"row.{name}" for name in calibration.KEPT))
        found = calibration.of_rows(store.unpack_rows([str(sample) for sample in arrays["ids"]], arrays))
        return None if isinstance(found, Undefined) else found
    arrays = run.arrays(result, PREFIX)
    return Diagram(**{name: arrays[f"{PREFIX}{name}"] for name in NAMES}) if arrays else None
