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
from bench.counts.tally import Counts
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
from bench.results.store import Result, Run

__all__ = ["POOLINGS", "RULES", "Entry", "Panel", "Rule", "panel", "ranges"]

Kind = Literal["anomaly", "misclassification"]

WHOLE: Mapping[str, Kind] = {Definitions.name: "anomaly", MisclassificationDefinitions.name: "misclassification"}
# Protocols whose counts are those of the maps, or of what a board stores of them; the first one found is read.
COUNTED = ("anomaly", "misclassification", "fishyscapes", "fed_anomaly", "idm", "smiyc_anomaly", "smiyc_obstacle")
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
        """Whether there is every pooling."""
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
    found: dict[tuple[Kind, str, str, str], list[Result]] = {}
    for result in run.results:
        kind = _kind(result)
        if kind and not result.not_applicable:
            labels = result.labels
            found.setdefault((kind, labels.dataset, labels.model, labels.on("method")), []).append(result)
    return [
        Panel(dataset, model, method, kind, used, tuple(_lacking(used)), run)
        for (kind, dataset, model, method), used in ((where, _used(results)) for where, results in found.items())
    ]


def _kind(result: Result) -> Kind | None:
    if _is_whole(result):
        return WHOLE[result.cell.protocol.name]
    if result.cell.protocol.name not in COUNTED or result.cell.dataset.corruption:
        return None
    first = next(iter(result.pixels), None)
    return None if first is None else "misclassification" if first.endswith("correct") else "anomaly"


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
    there = {"scaled"} if any(map(_scaled, used)) else set()
    for result in used:
        there |= set() if _scaled(result) else set(READ) if _is_whole(result) else {"pooled"}
    yield from (pooling for pooling in POOLINGS if pooling not in there)


def _counted(run: Run, result: Result) -> Mapping[str, Value | Undefined]:
    """The rules that need a ranking, over all pixels; a figure of the result itself is more exact than its counts."""
    kept = {name.removeprefix("counts."): values for name, values in run.arrays(result, "counts.").items()}
    found = of_counts(Counts.from_arrays(kept), *_sides(list(result.pixels)))
    if result.cell.protocol.name in ALIKE:
        found |= {rule: result.metrics[name] for rule, name in SAME.items() if name in result.metrics}
    return {f"{rule} pooled": figure for rule, figure in found.items()}


def _sides(categories: Sequence[str]) -> tuple[list[int], list[int]]:
    """Parts of the truth that are counted apart included: ``anomaly of 10 to 99 px``, ``road, wrong``."""
    high = [index for index, name in enumerate(categories) if name.startswith("anomaly") or name.endswith("wrong")]
    return high, [index for index in range(len(categories)) if index not in high]
