"""The cost of cells beside the figures that they give: CPU time and memory, for the charts of a page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bench.api import Value
from bench.results.polyline import rounded
from bench.results.store import CellLabels, Result, Run

FORWARD = "predict"  # the stage that every method of a network shares
OWN = ("score", "segments", "refine")  # the stages that a method adds to it
HARNESS = ("load", "count", "spool", "second")  # reading, corrupting and evaluating


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of one cell per image, beside the figure that ranks it.

    ``forward`` is the network's pass with all that methods share of it, ``own`` what this method adds: scoring, and
    for refinements the segments. A method alone costs their sum. ``harness`` is what evaluating costs: reading,
    corrupting, counting. CPU milliseconds, so a device other than ``cpu`` works unseen.
    """

    protocol: str
    dataset: str
    model: str
    method: str
    forward: float | None
    own: float | None  # None where no cell of the pair has the stage
    harness: float
    stages: Mapping[str, float]  # milliseconds per image by stage, of all cells of the pair
    memory_mb: float | None  # peak of the process until then: an upper bound; the smallest of the pair's cells
    device: str
    metric: str
    figure: float | None
    lo: float | None
    hi: float | None
    partial: bool

    @property
    def total(self) -> float | None:
        """Forward pass and method."""
        return None if self.forward is None or self.own is None else self.forward + self.own


def cost(run: Run) -> list[Cost]:
    """Return one entry per evaluated cell that has a method, in the order of the plan."""
    return _costs(result for result in run.results if result.labels.method)


def of_networks(run: Run) -> list[Cost]:
    """Return one entry per evaluated cell without a method: what its network costs."""
    return _costs(result for result in run.results if not result.labels.method)


def _costs(results: Iterable[Result]) -> list[Cost]:
    pairs: dict[CellLabels, list[Result]] = {}
    for result in results:
        if not result.not_applicable and result.ranked and result.images:
            pairs.setdefault(result.labels._replace(protocol=""), []).append(result)
    return [_cost(result, mates) for mates in pairs.values() for result in mates]


def _cost(result: Result, mates: Sequence[Result]) -> Cost:
    """Scoring is timed in one of the cells that share a map, so a pair's stages are those of all of its cells."""
    stages: dict[str, float] = {}
    for mate in mates:
        for stage, spent in mate.seconds.items():
            stages[stage] = max(stages.get(stage, 0.0), 1000 * spent / mate.images)
    own = [stages[stage] for stage in OWN if stage in stages]
    name, metric = next(iter(result.definitions.items()))
    figure = result.metrics.get(name)
    value = figure if isinstance(figure, Value) and metric.better != "neither" else None
    memory = [mate.memory_mb for mate in mates if mate.memory_mb]
    return Cost(
        result.labels.protocol,
        result.labels.dataset,
        result.labels.model,
        result.labels.on("method"),
        rounded(stages[FORWARD]) if FORWARD in stages else None,
        rounded(sum(own)) if own else None,
        rounded(sum(stages.get(stage, 0.0) for stage in HARNESS)),
        {stage: rounded(spent) for stage, spent in stages.items()},
        min(memory) if memory else None,
        str(result.provenance.get("numerics", {}).get("device", "")),
        name,
        rounded(value.value) if value else None,
        rounded(value.lo) if value and value.lo is not None else None,
        rounded(value.hi) if value and value.hi is not None else None,
        result.partial,
    )
