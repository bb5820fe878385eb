"""Why the numbers of two papers disagree: the maps of a run under every rule and pooling in use, as pages show them.

A run that has the protocol ``definitions`` holds all of it, with the poolings ``scaled`` where it was asked for with
``scaled: true``. Of any other run the counts are enough for the rules over all pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from bench.api import Undefined, Value
from bench.metrics.protocols.definitions import (
    POOLINGS,
    READ,
    RULES,
    Definitions,
    Entry,
    MisclassificationDefinitions,
    Rule,
    entries,
    of_counts,
    ranges,
)
from bench.results import operating
from bench.results.store import Result, Run

__all__ = ["POOLINGS", "RULES", "Entry", "Panel", "Rule", "panel", "ranges"]

Kind = Literal["anomaly", "misclassification"]

WHOLE: Mapping[str, Kind] = {Definitions.name: "anomaly", MisclassificationDefinitions.name: "misclassification"}
# Protocols whose counts are those of the maps, or of what a board stores of them; the first one that is there is read.
COUNTED: Mapping[str, Kind] = {
    "anomaly": "anomaly",
    "misclassification": "misclassification",
    "fishyscapes": "anomaly",
    "fed_anomaly": "anomaly",
    "idm": "misclassification",
    "smiyc_anomaly": "anomaly",
    "smiyc_obstacle": "anomaly",
}
ALIKE = ("anomaly", "misclassification", "fishyscapes")  # those of them that read three of the rules
SAME: Mapping[str, str] = {"fpr95_first": "fpr95", "ap_step": "ap", "auroc": "auroc"}


@dataclass(frozen=True, eq=False)
class Panel:
    """The same maps under every rule and pooling that the run knows of."""

    dataset: str  # labels
    model: str
    method: str
    of: Kind  # what should score high
    results: tuple[Result, ...]  # what it is read off: one, or the maps as they are and scaled by image
    lacks: tuple[str, ...]  # poolings that it cannot tell: empty where the suite asks for both passes
    _run: Run = field(repr=False)

    @property
    def whole(self) -> bool:
        """True where there is every pooling."""
        return not self.lacks

    @property
    def images(self) -> int:
        return self.results[0].images

    @property
    def partial(self) -> bool:
        return any(result.partial for result in self.results)

    @cached_property
    def entries(self) -> tuple[Entry, ...]:
        """By rule and then by pooling; counts are read when asked for, and give certified half-widths."""
        figures: dict[bool, Mapping[str, Value | Undefined]] = {
            _scaled(result): result.metrics if _is_whole(result) else _counted(self._run, result)
            for result in self.results
        }
        return tuple(entries(figures.get(False, {}), figures.get(True)))

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """The smallest and the largest figure by metric, FPR95 and AP and AUROC."""
        return ranges(self.entries)


def panel(run: Run) -> list[Panel]:
    """A panel per kind of truth, data set, model and method, in the order of the plan.

    One that has no ``definitions`` is read off the counts of another protocol, ``COUNTED``, unless its data set is
    corrupted: a grid would have as many panels as cells.
    """
    groups: dict[tuple[Kind, str, str, str], list[Result]] = {}
    for result in run.results:
        kind = _kind(result)
        if kind and not result.not_applicable:
            labels = result.labels
            groups.setdefault((kind, labels.dataset, labels.model, labels.on("method")), []).append(result)
    return [
        Panel(dataset, model, method, kind, used, tuple(_lacking(used)), run)
        for (kind, dataset, model, method), used in ((where, _used(results)) for where, results in groups.items())
    ]


def _kind(result: Result) -> Kind | None:
    if _is_whole(result):
        return WHOLE[result.cell.protocol.name]
    if result.cell.dataset.corruption or not result.pixels:
        return None
    return COUNTED.get(result.cell.protocol.name)


def _is_whole(result: Result) -> bool:
    return result.cell.protocol.name in WHOLE


def _scaled(result: Result) -> bool:
    return _is_whole(result) and bool(result.cell.protocol.params.get("scaled"))


def _used(results: Sequence[Result]) -> tuple[Result, ...]:
    """The maps as they are, by the definitions or else by the first protocol that counted them, and the scaled ones."""
    plain = sorted((result for result in results if not _scaled(result)), key=lambda result: not _is_whole(result))
    return (*plain[:1], *[result for result in results if _scaled(result)][:1])


def _lacking(used: Sequence[Result]) -> Iterator[str]:
    """The poolings that are not there."""
    known = {"scaled"} if any(map(_scaled, used)) else set()
    for result in used:
        known |= set() if _scaled(result) else set(READ) if _is_whole(result) else {"pooled"}
    yield from (pooling for pooling in POOLINGS if pooling not in known)


def _counted(run: Run, result: Result) -> Mapping[str, Value | Undefined]:
    """The rules that need a ranking, over all pixels; a figure of the result itself is more exact than its counts."""
    sides, counts = operating.two_sides(result), operating.counted(run, result)
    figures = of_counts(counts, *sides) if sides and counts else {}
    if result.cell.protocol.name in ALIKE:
        figures |= {rule: result.metrics[name] for rule, name in SAME.items() if name in result.metrics}
    return {f"{rule} pooled": figure for rule, figure in figures.items()}
