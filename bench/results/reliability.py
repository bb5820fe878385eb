"""Reliability diagrams: how often pixels are right, by what the method's confidence says.

The protocol ``calibration`` keeps the bins of every image. A misclassification counts every score, and where the score
of its method can be read as a confidence, as that of MSP and FED, its bins are read off the counts when the cell is
finished, and kept in its file: nothing of the method is needed again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.api import Method, Protocol, Undefined
from bench.counts.tally import Counts
from bench.metrics.protocols import calibration
from bench.metrics.protocols.calibration import Calibration, Diagram
from bench.metrics.protocols.pooled import Misclassification
from bench.results import store
from bench.results.polyline import short
from bench.results.store import Result, Run

NAMES = tuple(field.name for field in fields(Diagram))
PREFIX = "reliability."


@dataclass(frozen=True, slots=True)
class Reliability:
    """The share of pixels that are right, by the method's confidence; bins without pixels are left out."""

    confidence: tuple[float, ...]  # mean of each bin
    accuracy: tuple[float, ...]
    pixels: tuple[int, ...]
    edges: tuple[float, ...]  # of all bins, from 0 to 1


def kept(protocol: Protocol, method: Method, counts: Counts) -> Mapping[str, NDArray[Any]]:
    """Return arrays for the file of a cell: exact where the counts are; empty where scores are no confidences."""
    if not isinstance(protocol, Misclassification):
        return {}
    bins = calibration.of_counts(counts, *protocol.sides, method.confidence)
    return {} if isinstance(bins, Undefined) else {f"{PREFIX}{name}": getattr(bins, name) for name in NAMES}


def diagram(run: Run, result: Result) -> Diagram | None:
    """Return the bins of all images together; None where the cell has none, or no pixel."""
    if result.not_applicable:
        return None
    if result.cell.protocol.name == Calibration.name:
        arrays = run.arrays(result, "ids", *(f"row.{name}" for name in calibration.KEPT))
        bins = calibration.of_rows(store.unpack_rows([str(sample) for sample in arrays["ids"]], arrays))
        return None if isinstance(bins, Undefined) else bins
    arrays = run.arrays(result, PREFIX)
    return Diagram(**{name: arrays[f"{PREFIX}{name}"] for name in NAMES}) if arrays else None


def reliability(run: Run, result: Result) -> Reliability | None:
    """Return the reliability diagram of a cell whose scores are confidences, or can be read as such."""
    bins = diagram(run, result)
    if bins is None:
        return None
    filled = bins.pixels > 0
    return Reliability(
        short(bins.confidence[filled] / bins.pixels[filled]),
        short(bins.right[filled] / bins.pixels[filled]),
        tuple(int(count) for count in bins.pixels[filled]),
        short(np.arange(bins.pixels.size + 1) / bins.pixels.size),
    )
