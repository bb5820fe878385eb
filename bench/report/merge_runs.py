"""Several runs as one: equal cells once, what differs side by side with the name of its run, provenance with each.

Two results of one cell are equal if what they depend on and their figures are. Runs whose results for a row agree
wherever they meet, and that drew and computed alike, share the row: so the parts of one suite, computed in several
places, become whole. Otherwise each has a row of its own, and a remark says what tells them apart.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise, zip_longest
from pathlib import Path
from typing import Any

from bench.core.errors import UsageError
from bench.report.text import listed
from bench.results import differing, store
from bench.results.store import CellLabels, Plan, Result, Run, uncorrupted

Scope = tuple[str, str, str, str]  # protocol, model, method, and the first of the data sets that belong together


@dataclass(frozen=True)
class Source:
    """A run that went in, under the name that rows have of it."""

    name: str
    run: Run


@dataclass(frozen=True)
class Difference:
    """Why a row is there more than once."""

    what: str  # in words
    name: str  # protocol, model and method
    rows: frozenset[tuple[str, ...]]  # the same as its rows have them


@dataclass(frozen=True)
class Merged(Run):
    """Several runs. Keys are their cells' own, but for a cell that is there twice: ``home`` has the true one."""

    sources: tuple[Source, ...] = ()
    homes: Mapping[str, Path] = field(default_factory=dict, repr=False)  # by key, the file of the result
    origins: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)  # by key, the runs that have it
    named: Mapping[str, tuple[str, str]] = field(default_factory=dict, repr=False)
    # By the label of a method that bears the name of its run: the label without it, and that name.
    differences: tuple[Difference, ...] = ()

    def home(self, result: Result) -> Path:
        return self.homes[result.key]

    def names(self, result: Result) -> str:
        """The runs that have a result."""
        return ", ".join(self.origins[result.key])

    @property
    def remarks(self) -> tuple[str, ...]:
        """What tells runs apart that have rows of their own, of the rows that are there."""
        rows = {_coordinates(labels) for labels in (*self.plan.cells, *(result.labels for result in self.results))}
        names: dict[str, dict[str, None]] = {}
        for difference in self.differences:
            if rows & difference.rows:
                names.setdefault(difference.what, {})[difference.name] = None
        return tuple(f"{what}: {listed(list(of), 6)}." for what, of in names.items())


def opened(folders: Sequence[str], *, anonymous: bool = False) -> Run:
    """Return one run directory as it is, or several merged; each is ``RUN`` or ``NAME=RUN``.

    A run is called by its folder's name, and by those above it as far as they are needed. ``anonymous`` runs have
    numbers instead. Raise UsageError for a run or a name that is there twice.
    """
    named = [_named(text) for text in folders]
    paths = [path for _, path in named]
    if len({path.resolve() for path in paths}) < len(paths):
        raise UsageError(f"{' '.join(folders)}: the same run directory stands there twice")
    runs = [store.read_run(path) for path in paths]
    if len(runs) == 1:
        return runs[0]
    short = [f"run {number}" for number, _ in enumerate(runs, 1)] if anonymous else _short(paths)
    names = [name or folder for (name, _), folder in zip(named, short, strict=True)]
    if len(set(names)) < len(names):
        raise UsageError(f"{' '.join(folders)}: two runs have the name {max(names, key=names.count)!r}; say NAME=RUN")
    return merge([Source(name, run) for name, run in zip(names, runs, strict=True)])


def _named(text: str) -> tuple[str, Path]:
    name, equals, folder = text.partition("=")
    if equals and name and not Path(text).exists():
        return name, Path(folder)
    return "", Path(text)


def _short(paths: Sequence[Path]) -> list[str]:
    """The fewest last parts of each path that tell it from the others."""
    parts = [path.resolve().parts[1:] for path in paths]
    for count in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-count:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]


def merge(sources: Sequence[Source]) -> Merged:
    """Return the runs as one, in the order given."""
    shelves = [_Shelf(source, renamed) for source, renamed in zip(sources, _renamed(sources), strict=True)]
    rules = _union("summaries", shelves)
    together = _together(shelves, rules)
    scopes: dict[Scope, None] = {}
    for shelf in shelves:
        shelf.sort(together)
        scopes |= dict.fromkeys(shelf.cells)
    made = _Made()
    differences: list[Difference] = []
    for scope in scopes:
        parties = _parties([shelf for shelf in shelves if scope in shelf.cells], scope)
        for party in parties:
            made.take(scope, party, _names(party, scope) if len(parties) > 1 else "")
        for first, other in pairwise(parties):
            name = " / ".join(filter(None, scope[:3]))
            tagged = frozenset(row for party in (first, other) for row in _tags(party, scope))
            differences += [Difference(what, name, tagged) for what in _apart(first, other, scope)]
    for shelf in shelves:
        made.named |= shelf.named
        made.keys += [key for key in shelf.nameless if key not in made.keys]
    plan = Plan(
        "+".join(dict.fromkeys(shelf.run.plan.name for shelf in shelves)),
        " + ".join(dict.fromkeys(shelf.run.plan.title or shelf.run.plan.name for shelf in shelves)),
        " ".join(dict.fromkeys(shelf.run.plan.note for shelf in shelves if shelf.run.plan.note)),
        tuple(made.keys),
        tuple(rules),
        tuple(made.labels),
        tuple(_union("operating_points", shelves)),
        tuple(claim for shelf in shelves for claim in shelf.claims()),
        tuple(dict.fromkeys(sentence for shelf in shelves for sentence in shelf.run.plan.left_out)),
    )
    return Merged(
        sources[0].run.path,
        plan,
        tuple(made.results),
        sources=tuple(sources),
        homes=made.homes,
        origins=made.origins,
        named=made.named,
        differences=tuple(differences),
    )


class _Shelf:
    """A run with labels that mean the same as in the others, its cells sorted by what must stay together."""

    def __init__(self, source: Source, renamed: Mapping[tuple[str, str], str]) -> None:
        self.name, self.run, self._renamed = source.name, source.run, renamed
        self.cells: dict[Scope, dict[str, tuple[CellLabels, str, Result | None]]] = {}
        self.nameless: list[str] = []  # keys of missing cells in a plan of before plans had labels
        by_key = {result.key: result for result in self.run.results}
        self._entries: list[tuple[CellLabels, str, Result | None]] = []
        for key, planned in zip_longest(self.run.plan.keys, self.run.plan.cells):
            result = by_key.get(key)
            labels = result.labels if result else planned
            if labels is None:
                self.nameless.append(key)
            else:
                self._entries.append((self._relabelled(labels), key, result))

    def _relabelled(self, labels: CellLabels) -> CellLabels:
        return CellLabels(**{axis: self.label(axis, label) for axis, label in labels.by_axis.items()})

    def claims(self) -> Iterator[Mapping[str, Any]]:
        """Yield the claims of this run by the labels that it has among the others."""
        for claim in self.run.plan.claims:
            yield {**claim, **{axis: self.label(axis, claim[axis]) for axis in ("model", "method")}}

    def label(self, axis: str, label: str) -> str:
        """What others call it, or with the name of this run where they mean something else by it."""
        base, suffix = _base(label) if axis == "dataset" else (label, "")
        return self._renamed.get((axis, base), base) + suffix

    @property
    def named(self) -> dict[str, tuple[str, str]]:
        """Methods that are called otherwise than others call them: as ``Merged.named``."""
        return {new: (label, self.name) for (axis, label), new in self._renamed.items() if axis == "method"}

    def datasets(self) -> Iterator[tuple[str, str]]:
        """Protocol and data set of every cell."""
        return ((labels.protocol, labels.dataset) for labels, _, _ in self._entries)

    def sort(self, together: Mapping[tuple[str, str], str]) -> None:
        for labels, key, result in self._entries:
            scope = (*_coordinates(labels), together[labels.protocol, labels.dataset])
            self.cells.setdefault(scope, {})[labels.dataset] = (labels, key, result)

    def results(self, scope: Scope) -> dict[str, Result]:
        """Those that are there, by data set."""
        return {dataset: result for dataset, (_, _, result) in self.cells[scope].items() if result}


class _Made:
    """What the merged run is put together from."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.labels: list[CellLabels] = []
        self.results: list[Result] = []
        self.homes: dict[str, Path] = {}
        self.origins: dict[str, tuple[str, ...]] = {}
        self.named: dict[str, tuple[str, str]] = {}

    def take(self, scope: Scope, party: Sequence[_Shelf], name: str) -> None:
        """The cells of runs that agree; their rows carry ``name``, if there are others."""
        cells: dict[str, list[tuple[_Shelf, CellLabels, str, Result | None]]] = {}
        for shelf in party:
            for dataset, entry in shelf.cells[scope].items():
                cells.setdefault(dataset, []).append((shelf, *entry))
        for members in cells.values():
            # A full result before a partial one, any result before none; else the first.
            shelf, labels, key, result = min(members, key=lambda member: _worth(member[3]))
            tagged = _tagged(labels, name)
            if name and labels.method and tagged.method:
                self.named[tagged.method] = (labels.method, name)
            new = key
            if new in self.homes or new in self.keys:
                new = hashlib.sha256(f"{key} of {shelf.name}".encode()).hexdigest()[:16]
            self.keys.append(new)
            self.labels.append(tagged)
            if result:
                self.results.append(replace(result, key=new, cell=result.cell.relabelled(tagged)))
                self.homes[new] = shelf.run.home(result)
                self.origins[new] = tuple(member[0].name for member in members if member[3])


def _worth(result: Result | None) -> int:
    return 2 if result is None else int(result.partial)


def _tagged(labels: CellLabels, name: str) -> CellLabels:
    if not name:
        return labels
    if labels.method:
        return labels._replace(method=f"{labels.method} ({name})")
    return labels._replace(model=f"{labels.model} ({name})")


def _tags(party: Sequence[_Shelf], scope: Scope) -> Iterator[tuple[str, ...]]:
    for shelf in party:
        for labels, _, _ in shelf.cells[scope].values():
            yield _coordinates(_tagged(labels, _names(party, scope)))


def _coordinates(labels: CellLabels) -> tuple[str, str, str]:
    return labels.protocol, labels.model, labels.method or ""


def _base(label: str) -> tuple[str, str]:
    """A data set's label, and what it says of the corruption."""
    base, _ = uncorrupted(label)
    return base, label.removeprefix(base)


def _renamed(sources: Sequence[Source]) -> list[dict[tuple[str, str], str]]:
    """For each run its own words for what others mean something else by: axis and label to a label of its own."""
    meanings: list[dict[tuple[str, str], set[str]]] = []
    for source in sources:
        identities: dict[tuple[str, str], set[str]] = {}
        for result in source.run.results:
            for axis, ref in result.cell.refs().items():
                if ref:
                    identities.setdefault((axis, ref.plain.label), set()).add(ref.plain.identity)
        meanings.append(identities)
    return [
        {
            (axis, label): f"{label} ({source.name})"
            for (axis, label), identities in meant.items()
            if any(identities.isdisjoint(other[axis, label]) for other in meanings if (axis, label) in other)
        }
        for source, meant in zip(sources, meanings, strict=True)
    ]


def _union(what: str, shelves: Sequence[_Shelf]) -> list[Mapping[str, Any]]:
    """The rules of all plans; the same name for something else gets that of its run behind it."""
    rules: dict[str, Mapping[str, Any]] = {}
    meanings: dict[tuple[str, str], str] = {}
    for shelf in shelves:
        for original in getattr(shelf.run.plan, what):
            rule = dict(original)
            if "datasets" in rule:
                rule["datasets"] = [shelf.label("dataset", label) for label in rule["datasets"]]
            if "calibrate" in rule:
                rule["calibrate"] = shelf.label("dataset", rule["calibrate"])
            rule["protocol"] = shelf.label("protocol", rule["protocol"])
            meaning = json.dumps({**rule, "name": ""}, sort_keys=True)
            if meanings.setdefault((rule["name"], rule["protocol"]), meaning) != meaning:
                rule["name"] = f"{rule['name']} ({shelf.name})"
            rules.setdefault(json.dumps(rule, sort_keys=True), rule)
    return list(rules.values())


def _together(shelves: Sequence[_Shelf], rules: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], str]:
    """For a protocol and a data set the first of those that some mean runs over together with it."""
    linked: dict[tuple[str, str], str] = {}
    for shelf in shelves:
        for protocol, dataset in shelf.datasets():
            linked.setdefault((protocol, dataset), _base(dataset)[0])
    for rule in rules:
        covered = set(rule.get("datasets", ()))
        for protocol in {protocol for protocol, _ in linked}:
            heads = {head for (other, dataset), head in linked.items() if other == protocol and dataset in covered}
            if len(heads) > 1:
                first = min(heads)
                linked |= {cell: first for cell, head in linked.items() if cell[0] == protocol and head in heads}
    return linked


def _parties(shelves: Sequence[_Shelf], scope: Scope) -> list[list[_Shelf]]:
    """The runs that agree in a scope, in groups."""
    parties: list[list[_Shelf]] = []
    for shelf in shelves:
        results = shelf.results(scope)
        for party in parties:
            if all(_agree(results, other.results(scope)) for other in party):
                party.append(shelf)
                break
        else:
            parties.append([shelf])
    return parties


def _names(party: Sequence[_Shelf], scope: Scope) -> str:
    """The runs that have results in a scope, or all where none has."""
    return ", ".join([shelf.name for shelf in party if shelf.results(scope)] or [shelf.name for shelf in party])


def _agree(results: Mapping[str, Result], other: Mapping[str, Result]) -> bool:
    settings = [{_settings(r) for r in members.values() if not r.not_applicable} for members in (results, other)]
    if all(settings) and settings[0] != settings[1]:
        return False
    return all(_equal(results[dataset], other[dataset]) for dataset in results.keys() & other.keys())


def _settings(result: Result) -> tuple[Any, ...]:
    return result.depends.get("numerics"), *(result.cell.recorded(name) for name in differing.SETTINGS)


def _equal(result: Result, other: Result) -> bool:
    """Whether two results of a cell are the same, or the one a part of the other."""
    if result.key != other.key or result.depends != other.depends or not result.refused_as(other):
        return False
    return result.partial != other.partial or (result.images == other.images and result.metrics == other.metrics)


def _apart(first: Sequence[_Shelf], other: Sequence[_Shelf], scope: Scope) -> Iterator[str]:
    """In words, what two groups of runs differ in."""
    ours, others = (
        {dataset: result for shelf in reversed(party) for dataset, result in shelf.results(scope).items()}
        for party in (first, other)
    )
    names = " and ".join(_names(party, scope) for party in (first, other))
    shared = [(ours[dataset], others[dataset]) for dataset in ours if dataset in others]
    pairs = shared or [(a, b) for a in list(ours.values())[:1] for b in list(others.values())[:1]]
    reasons = dict.fromkeys(reason for pair in pairs for reason in _differences(*pair, same=bool(shared)))
    yield f"{names} differ in {'; '.join(reasons) or 'their figures alone'}"


def _differences(result: Result, other: Result, *, same: bool) -> Iterator[str]:
    """In words; ``same`` is False for results of two data sets of one mean."""
    yield from differing.reasons(result, other) if same else differing.reasons(result, other, (), ["dataset"])
    if same and result.images != other.images:
        yield f"images ({result.images} and {other.images})"
