"""What tables say of a row beside its figures: facts of its method and its network."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from bench.api import Value
from bench.core.errors import UnknownName
from bench.report.figures import Change, change, uses_outliers
from bench.report.text import billions, millions
from bench.results import costs
from bench.results.costs import Cost
from bench.results.store import Ref, Result, Run


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a row."""

    outliers: bool  # whether method or network was trained with data that shows anomalies
    retrained: bool  # whether the network was trained further for this task
    backbone: str  # empty if nobody said
    parameters: int | None  # of the network
    multiply_adds: int | None  # of the network, for the first image of a data set: of this one, or of any
    state: str  # of the network, where images change it: per_image or ordered
    cost: Cost | None  # of network and method
    miou: Value | None  # of the network, where the run has it: on the same data set, or else on the first that it has
    miou_dataset: str  # label of that data set
    miou_change: Change | None  # to the network that it was trained from, where the run has that too


@dataclass(frozen=True, slots=True)
class Fact:
    """A column of ``--columns``; its text is empty where nothing is known."""

    title: str
    text: Callable[[Facts, Result | None], str]


COLUMNS: Mapping[str, Fact] = {
    "ood": Fact("OoD data", lambda facts, _: "yes" if facts.outliers else "no"),
    "retrained": Fact("Retrained", lambda facts, _: "yes" if facts.retrained else "no"),
    "backbone": Fact("Backbone", lambda facts, _: facts.backbone),
    "parameters": Fact(
        "Parameters", lambda facts, _: "" if facts.parameters is None else f"{millions(facts.parameters)} M"
    ),
    "multiply_adds": Fact(
        "Multiply-adds", lambda facts, _: "" if facts.multiply_adds is None else f"{billions(facts.multiply_adds)} G"
    ),
    "network_ms": Fact("Network, ms", lambda facts, _: _spent(facts, "forward")),
    "method_ms": Fact("Method, ms", lambda facts, _: _spent(facts, "own")),
    "memory_mb": Fact("Memory, MB", lambda facts, _: _spent(facts, "memory_mb")),
    "state": Fact("State", lambda facts, _: facts.state.replace("_", " ")),
    "miou": Fact("mIoU", lambda facts, _: f"{100 * facts.miou.value:.2f}" if facts.miou else ""),
    "miou_change": Fact("mIoU change", lambda facts, _: _points(facts.miou_change)),
    "images": Fact("Images", lambda _, result: str(result.images) if result else ""),
    "seed": Fact("Seed", lambda _, result: str(result.cell.seed) if result else ""),
}


def _spent(facts: Facts, part: Literal["forward", "own", "memory_mb"]) -> str:
    value: float | None = getattr(facts.cost, part, None)
    return "" if value is None else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def _points(change: Change | None) -> str:
    if change is None:
        return ""
    ends = "" if change.lo is None or change.hi is None else f" ({100 * change.lo:+.2f} to {100 * change.hi:+.2f})"
    return f"{100 * change.value:+.2f}{ends}"


def columns(names: Sequence[str]) -> dict[str, Fact]:
    """Return the columns asked for; raise UnknownName for one that there is not."""
    for name in names:
        if name not in COLUMNS:
            raise UnknownName("column", name, COLUMNS, "--columns")
    return {name: COLUMNS[name] for name in names}


class Networks:
    """What a run says of its networks, looked up once."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._about: dict[Ref, dict[str, Any]] = {}
        self._costs: dict[tuple[str, str, str], Cost] | None = None  # by network, method and data set
        self._miou: dict[Ref, dict[Ref, Result]] = {}  # by model and data set, in the order of the plan
        for result in (*run.results, *run.aside):
            model = result.cell.model
            about = {name: value for name, value in result.about.get("model", {}).items() if value}
            self._about.setdefault(model, {}).update(about)
            if result.cell.protocol.name == "miou" and isinstance(result.metrics.get("miou"), Value):
                self._miou.setdefault(model, {}).setdefault(result.cell.dataset, result)

    def of_rows(self, results: Iterable[Result]) -> dict[tuple[str, str | None], Facts]:
        """Return the facts of the first result of each model and method."""
        facts: dict[tuple[str, str | None], Facts] = {}
        for result in results:
            pair = result.labels.model, result.labels.method
            if pair not in facts and not result.not_applicable:
                facts[pair] = self.facts(result)
        return facts

    def facts(self, result: Result) -> Facts:
        """Return what is known of the row of a result."""
        model, dataset = result.cell.model, result.cell.dataset
        about, by_dataset = self._about[model], self._miou.get(model, {})
        classified = by_dataset.get(dataset) or next(iter(by_dataset.values()), None)
        miou = classified.metrics["miou"] if classified else None
        parents = about.get("parents") or {}
        facts = Facts(
            outliers=uses_outliers(result),
            retrained=bool(parents),
            backbone=str(about.get("backbone", "")),
            parameters=about.get("parameters"),
            multiply_adds=_whole(result.about.get("model", {}).get("multiply_adds") or about.get("multiply_adds")),
            state=str(about.get("state", "")),
            cost=self._cost(result),
            miou=miou if isinstance(miou, Value) else None,
            miou_dataset=classified.labels.dataset if classified else "",
            miou_change=None,
        )
        before = self._before(parents["model"], classified) if classified and parents.get("model") else None
        if classified is None or before is None:
            return facts
        return replace(facts, miou_change=change(self.run, classified, before, "miou"))

    def _cost(self, result: Result) -> Cost | None:
        if self._costs is None:
            every = (*costs.cost(self.run), *costs.of_networks(self.run))
            self._costs = {(each.model, each.method, each.dataset): each for each in every}
        labels = result.labels
        return self._costs.get((labels.model, labels.on("method"), labels.dataset))

    def _before(self, parent: Any, classified: Result) -> Result | None:
        """The mIoU, on the same data set, of the network that another was trained from; seen the same way."""
        origin = _network(parent), classified.cell.model.params.get("inference")
        for by_dataset in self._miou.values():
            result = by_dataset.get(classified.cell.dataset)
            model = result.cell.model if result else None
            if model and (_network(model.spelled()), model.params.get("inference")) == origin:
                return result
        return None


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and value > 0 else None


def _network(model: Any) -> str:
    """Name and parameters of a network, however it is looked through."""
    params = {name: value for name, value in model["params"].items() if name != "inference"}
    return json.dumps([model["name"], params], sort_keys=True)
