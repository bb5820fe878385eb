"""The entries of a board as one run, in which figures of different definitions never share a column.

A column is one definition (protocol, parameters and version), one data set (parameters and digest of images and
labels) and one fidelity: what is computed as published code does, quirks included, stands apart. Whatever suites call
these, the board has one name for each.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.board.entries import Board, Definitions, Version, data_of, protocol_of
from bench.report.figures import reference
from bench.results import store
from bench.results.store import Plan, Ref, Result, Run


@dataclass(frozen=True)
class Entries(Run):
    """The newest figures of all measured entries, by keys of the board: two entries may have measured one cell.

    ``path`` is a word: a site is the same wherever the board lies.
    """

    homes: Mapping[str, Path] = field(default_factory=dict)  # files by key
    origins: Mapping[str, Version] = field(default_factory=dict)  # entries by key

    def home(self, result: Result) -> Path:
        """The file of a result, in the folder of its entry."""
        return self.homes[result.key]


def as_run(board: Board, versions: Sequence[Version]) -> Entries:
    """Return the figures of entries as one run, in the order given."""
    protocols, networks = _Names(), _Names()
    for version in versions:
        for result in version.results:
            known = protocol_of(result)
            protocols.add(result.cell.protocol.label, result.cell.protocol.identity, known.version)
            networks.add(result.cell.model.label, result.cell.model.identity, str(result.depends.get("model", "")))
    results: list[Result] = []
    homes: dict[str, Path] = {}
    origins: dict[str, Version] = {}
    for version in versions:
        for result in version.results:
            key = hashlib.sha256(f"{version.id} {result.key}".encode()).hexdigest()[:16]
            results.append(_placed(result, key, version, board.definitions, protocols, networks))
            homes[key], origins[key] = store.result_path(version.path, result.key), version
    plan = Plan(
        *("board", board.about.title, board.about.note, tuple(result.key for result in results)),
        cells=tuple(result.labels for result in results),
    )
    return Entries(Path("board"), plan, tuple(results), homes=homes, origins=origins)


class _Names:
    """Labels of things that may be called alike and be different."""

    def __init__(self) -> None:
        self._labels: dict[str, str] = {}  # by identity: the label that it had first
        self._meant: dict[str, dict[tuple[str, str], None]] = {}  # by label: what has it

    def add(self, label: str, identity: str, variant: str) -> None:
        first = self._labels.setdefault(identity, label)
        self._meant.setdefault(first, {})[identity, variant] = None

    def label(self, identity: str) -> str:
        return self._labels[identity]

    def several(self, identity: str) -> bool:
        """True where something else has the same label."""
        return len(self._meant[self.label(identity)]) > 1


def _placed(
    result: Result, key: str, version: Version, definitions: Definitions, protocols: _Names, networks: _Names
) -> Result:
    """A result in the column that it belongs to, in the row of its entry."""
    protocol, about = _protocol(result, protocols)
    method = result.cell.method and replace(result.cell.method, label=version.entry.name)
    cell = replace(
        result.cell,
        protocol=protocol,
        dataset=_dataset(result, definitions),
        model=_network(result.cell.model, str(result.depends.get("model", "")), networks),
        method=method,
    )
    return replace(result, key=key, cell=cell, about={**result.about, "protocol": about})


def _protocol(result: Result, protocols: _Names) -> tuple[Ref, Mapping[str, Any]]:
    ref, about = result.cell.protocol, dict(result.about.get("protocol", {}))
    label, title, params = protocols.label(ref.identity), str(about.get("title") or ref.label), dict(ref.params)
    if protocols.several(ref.identity):
        number = protocol_of(result).version or "unknown"
        label, title = f"{label} v{number}", f"{title}, version {number}"
    if reference(result):
        label, title = f"{label}, as published code", f"{title}, as published code"
        params["computed"] = "as published code does"
    return replace(ref, label=label, params=params), about | {"title": title}


def _dataset(result: Result, definitions: Definitions) -> Ref:
    """The data set by its label on the board; its digest is a part of it where it has been on the board with others."""
    ref = result.cell.dataset
    name, params, digest, label = data_of(result)
    known = definitions.data_of(result)
    shown = replace(ref, label=known.label if known else label)
    alike = [each for each in definitions.data if (each.name, each.params) == (name, params)]
    return replace(shown, params={**ref.params, "digest": digest}) if len(alike) > 1 else shown


def _network(ref: Ref, digest: str, networks: _Names) -> Ref:
    label = networks.label(ref.identity)
    if not networks.several(ref.identity):
        return replace(ref, label=label)
    told = hashlib.sha256(f"{ref.identity} {digest}".encode()).hexdigest()[:6]
    return replace(ref, label=f"{label} ({told})")
