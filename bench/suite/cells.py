"""The coordinates of numbers as values: of cells that a suite asks for, and of results that were read back."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cache, cached_property
from typing import Any, NamedTuple

from pydantic import ValidationError

from bench.api import Presented
from bench.core.errors import UnknownName, UsageError
from bench.suite import registry
from bench.suite.kinds import Kind
from bench.suite.schema import ClaimRule, NumericsRule, PointRule, SummaryRule
from bench.suite.wrappers import corrupted
from bench.suite.wrappers.corrupted import Corruption, Order

AXES: tuple[Kind, ...] = ("protocol", "model", "dataset", "method")


def ordered(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy with all keys in order, those of mappings inside included: in keys and on disk they are sorted."""
    return {name: _ordered(params[name]) for name in sorted(params)}


def _ordered(value: Any) -> Any:
    if isinstance(value, Mapping):
        return ordered(value)
    return [_ordered(entry) for entry in value] if isinstance(value, list | tuple) else value


class CellLabels(NamedTuple):
    """The coordinates of a cell for people; ``method`` is None where the protocol reads the class map alone."""

    protocol: str
    model: str
    dataset: str
    method: str | None = None

    @property
    def by_axis(self) -> dict[str, str]:
        """The labels that are there, by axis and in its order."""
        return {axis: label for axis, label in zip(AXES, self, strict=True) if label is not None}

    @property
    def row(self) -> tuple[str, str | None]:
        """Network and method: what a line of a table stands for."""
        return self.model, self.method

    def on(self, axis: str) -> str:
        """The label on one axis; empty where there is none."""
        return (self[AXES.index(axis)] or "") if axis in AXES else ""

    def __str__(self) -> str:
        return " / ".join(self.by_axis.values())


@cache
def _corruptions() -> dict[str, Corruption]:
    """Every corruption by its label."""
    orders: tuple[Order, ...] = ("rgb", "bgr")
    spots = itertools.product(corrupted.NAMES, corrupted.SEVERITIES, orders)
    return {corruption.label: corruption for corruption in itertools.starmap(Corruption, spots)}


def uncorrupted(label: str) -> tuple[str, Corruption | None]:
    """Return the label of a data set without its corruption, and that, seed 0; a label of another form as it is."""
    base, _, last = label.rpartition("+")
    corruption = _corruptions().get(last) if base else None
    return (base, corruption) if corruption else (label, None)


@dataclass(frozen=True, eq=False)
class Ref:
    """A plug-in by name with all its parameters resolved; two are equal iff they mean the same."""

    kind: Kind
    name: str
    params: Mapping[str, Any]  # every parameter as JSON has it, files by name, and ``digests`` of what they hold
    label: str  # for people: the name and the parameters that are not the default
    arguments: Mapping[str, Any]  # the same with files by absolute path: what the plug-in is built from
    fit: Ref | None = None  # the data set that a method is fitted on
    training: Mapping[str, Any] = field(default_factory=dict)  # every parameter of a method's trainer, if it has any
    only_for: Mapping[Kind, tuple[str, ...]] = field(default_factory=dict)  # see ``expansion.CHOOSES``
    class_map: Mapping[str, str] | None = None  # what classes of a data set are called; None: as the network calls them
    origin: str = ""  # of a network: where the files that it names are published
    obtain: str = ""  # the same with the place to put them, of files that are absent
    optional: bool = False  # of a data set: its cells are left out where nothing of it is there

    @classmethod
    def read(cls, kind: Kind, spelled: Mapping[str, Any], label: str) -> Ref:
        """Return what ``spelled`` describes; raise ValueError, KeyError or TypeError where it is no such thing."""
        name, params, training = spelled["name"], spelled["params"], spelled.get("training", {})
        if not (isinstance(name, str) and isinstance(params, dict) and isinstance(training, dict)):
            raise ValueError(f"{kind} is {spelled!r}, wanted a name and its params")
        data = spelled.get("fit")
        fit = None if data is None else cls.read("dataset", data, str(data["name"]))
        return cls(kind, name, params, label, params, fit, training)

    def build(self) -> Any:
        """Return a fresh instance."""
        return registry.build(self.kind, self.name, self.arguments, where=self.label)

    @cached_property
    def corruption(self) -> Corruption | None:
        """The corruption of the images of a data set; None where they are not, or not in a way that is known here."""
        try:
            return Corruption(**self.params["corruption"])
        except (KeyError, TypeError, ValidationError):
            return None

    @cached_property
    def plain(self) -> Ref:
        """The same data set with its images as they are."""
        if "corruption" not in self.params:
            return self
        params, arguments = (
            {name: value for name, value in known.items() if name != "corruption"}
            for known in (self.params, self.arguments)
        )
        label = self.label.removesuffix(f"+{self.corruption.label}") if self.corruption else self.label
        return replace(self, params=params, arguments=arguments, label=label)

    def spelled(self) -> dict[str, Any]:
        """The part of a cell's identity that this is."""
        fit = {"fit": self.fit.spelled()} if self.fit else {}
        training = {"training": self.training} if self.training else {}
        return {"name": self.name, "params": self.params} | fit | training

    @cached_property
    def identity(self) -> str:
        """JSON of all that tells it from others of its kind, keys in order."""
        return json.dumps(self.spelled(), sort_keys=True)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return isinstance(other, Ref) and self.kind == other.kind and self.identity == other.identity

    def __hash__(self) -> int:
        return hash(self.identity)


@dataclass(frozen=True)
class Cell:
    """One number-producing coordinate of a suite: the unit of work, resume and citation."""

    protocol: Ref
    model: Ref
    dataset: Ref
    method: Ref | None  # None where the protocol reads the class map alone
    seed: int = 0
    budget: int = 2**30
    bootstrap: int = 1000
    resample: str = "images"
    absent: frozenset[str] = field(default=frozenset(), compare=False)  # settings that its file is older than

    @classmethod
    def read(cls, spelled: Mapping[str, Any], labels: CellLabels, known: dict[tuple[str, str], Ref]) -> Cell:
        """Return what ``spelled`` describes; raise ValueError, KeyError or TypeError where it is no such thing.

        ``known`` holds what was read before, by axis and label: cells of one run share their coordinates.
        """
        refs: dict[str, Ref] = {}
        for axis in AXES:
            if axis == "method" and spelled.get(axis) is None:
                continue
            entry, label = spelled[axis], labels.on(axis)
            ref = known.get((axis, label))
            if ref is None or ref.spelled() != entry:
                ref = known[axis, label] = Ref.read(axis, entry, label)
            refs[axis] = ref
        settings = {name: spelled[name] for name in SETTINGS if name in spelled}
        for name, value in settings.items():
            if not isinstance(value, str if name == "resample" else int):
                raise ValueError(f"{name} is {value!r}")
        return cls(
            refs["protocol"],
            refs["model"],
            refs["dataset"],
            refs.get("method"),
            **settings,
            absent=frozenset(SETTINGS) - settings.keys(),
        )

    def spelled(self) -> dict[str, Any]:
        """Everything that the key is made of."""
        refs = {axis: ref.spelled() if ref else None for axis, ref in self.refs().items()}
        return refs | {name: getattr(self, name) for name in SETTINGS if name not in self.absent}

    def recorded(self, name: str) -> Any:
        """Return one of ``SETTINGS`` as its file has it; None where the file is older than the setting."""
        return None if name in self.absent else getattr(self, name)

    def refs(self) -> dict[Kind, Ref | None]:
        """The coordinates by axis."""
        return {"protocol": self.protocol, "model": self.model, "dataset": self.dataset, "method": self.method}

    @cached_property
    def labels(self) -> CellLabels:
        """The coordinates for people."""
        method = self.method.label if self.method else None
        return CellLabels(self.protocol.label, self.model.label, self.dataset.label, method)

    def relabelled(self, labels: CellLabels) -> Cell:
        """Return the same cell by other labels."""
        if labels == self.labels:
            return self
        return replace(
            self,
            protocol=replace(self.protocol, label=labels.protocol),
            model=replace(self.model, label=labels.model),
            dataset=replace(self.dataset, label=labels.dataset),
            method=self.method and replace(self.method, label=labels.method or ""),
        )

    @cached_property
    def key(self) -> str:
        """16 hex digits of the cell's content; two cells share a key iff they are equal."""
        return hashlib.sha256(json.dumps(self.spelled(), sort_keys=True).encode()).hexdigest()[:16]

    def __str__(self) -> str:
        return str(self.labels)


SETTINGS = ("seed", "budget", "bootstrap", "resample")  # what a key is made of beside the coordinates


@dataclass(frozen=True)
class Suite:
    """A name, the cells it expands to, and what is said about all of them."""

    name: str
    cells: tuple[Cell, ...]  # to run now
    planned: tuple[Cell, ...]  # all of the suite
    title: str
    note: str
    numerics: NumericsRule
    summaries: tuple[SummaryRule, ...]
    operating_points: tuple[PointRule, ...]
    text: str  # a suite file that gives the same cells from any folder
    remarks: tuple[str, ...] = ()  # on what the file says and nothing comes of
    claims: tuple[ClaimRule, ...] = ()
    left_out: tuple[str, ...] = ()  # sentences on cells that are not run for want of optional data

    def summaries_asked(self) -> Iterator[dict[str, Any]]:
        """Each summary with the labels of its data sets: rules spelled out, in their order."""
        planned = dict.fromkeys(cell.protocol for cell in self.planned)
        kinds = {ref.label: registry.plugin("protocol", ref.name, where=self.name) for ref in planned}
        ranked = [label for label, kind in kinds.items() if not issubclass(kind, Presented) or kind.ranked]
        datasets = list(dict.fromkeys(cell.dataset for cell in self.planned))
        for rule in self.summaries:
            matching = [ref for ref in datasets if rule.matches(ref.label, ref.corruption)]
            groups = {"": matching}
            if rule.each:
                groups = {}
                for ref in matching:
                    if ref.corruption:
                        groups.setdefault(f": {rule.value_of(ref.corruption)}", []).append(ref)
            protocols = ranked if rule.protocol == "*" and rule.rule == "mean" else [rule.protocol]
            kind = {} if rule.rule == "mean" else {"rule": rule.rule}
            for protocol, (suffix, refs) in itertools.product(protocols, groups.items()):
                labels = [ref.label for ref in refs]
                yield {"name": rule.name + suffix, "protocol": protocol, "datasets": labels, **kind}

    def only(self, patterns: Mapping[str, str]) -> Suite:
        """Keep the cells whose coordinates match; a pattern is compared with the name and with the label."""
        known: dict[str, Kind] = {axis: axis for axis in AXES}
        for axis in patterns:
            if axis != "cell" and axis not in known:
                raise UnknownName("axis", axis, (*AXES, "cell"), "--only")
        chosen = {known[axis]: pattern for axis, pattern in patterns.items() if axis != "cell"}

        def is_meant(cell: Cell) -> bool:
            refs = cell.refs()
            return fnmatchcase(cell.key, patterns.get("cell", "*")) and all(
                (ref := refs[axis]) is None or _matches(ref, pattern) for axis, pattern in chosen.items()
            )

        cells = tuple(cell for cell in self.cells if is_meant(cell))
        # A cell without a method stays whatever is asked of methods, but a pattern that matches nothing is a typo.
        idle = [axis for axis in chosen if not any(cell.refs()[axis] for cell in cells)]
        if not cells or idle:
            unmatched = ", ".join(f"{axis}={patterns[axis]}" for axis in idle or patterns)
            raise UsageError(f"{self.name}: no cell matches --only {unmatched}")
        return replace(self, cells=cells)


def _matches(ref: Ref, pattern: str) -> bool:
    return fnmatchcase(ref.name, pattern) or ref.label == pattern or fnmatchcase(ref.label, pattern)
