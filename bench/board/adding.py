"""Entries written from runs and from tables of published figures; nothing is computed again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from bench.board import entries
from bench.board.entries import (
    DEFINITIONS,
    ENTRIES,
    ENTRY,
    Board,
    Definitions,
    Entry,
    KnownData,
    data_of,
    entry_id,
    protocol_of,
)
from bench.core import files
from bench.core.errors import MissingData, UsageError
from bench.report import published, published_text, selection
from bench.report.anonymous import anonymous
from bench.report.published import Published
from bench.report.selection import Choice
from bench.results import store
from bench.results.run_files import REPLICATES
from bench.results.store import Plan, Result


@dataclass(frozen=True)
class About:
    """The facts that a command states of every entry it adds."""

    by: str = ""
    anonymous: bool = False
    name: str = ""  # of the method; that of the run or the table where it is empty
    paper: str = ""
    code: str = ""
    checkpoint: str = ""
    note: str = ""
    of: str = ""  # of claimed figures: the measured entry
    differs: str = ""

    def entry(self, kind: str, name: str, network: str, day: date, **more: Any) -> Entry:
        """Return the entry of a method on a network; UsageError for words or addresses that no entry has."""
        stated = {each: getattr(self, each) for each in ("by", "paper", "code", "checkpoint", "note")}
        try:
            return Entry.model_validate(
                {"schema": entries.SCHEMA, "kind": kind, "name": name, "network": network, "added": day.isoformat()}
                | stated
                | {"anonymous": self.anonymous}
                | more
            )
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            option = f"--{first['loc'][0]}" if first["loc"] and first["loc"][0] in stated else str(first["loc"][0])
            problem = str(first["msg"]).removeprefix("Value error, ")
            raise UsageError(f"{option} is {first['input']!r}: {problem[:1].lower()}{problem[1:]}") from None


def add(path: Path, source: Path, about: About, only: Mapping[str, str], day: date) -> list[str]:
    """Add the entries of a run directory, or of a table of published figures; return their addresses, id and day.

    Raise UsageError or MissingData for what the board cannot take; then nothing was written.
    """
    board = entries.read(path)
    if about.anonymous == bool(about.by):
        raise UsageError("say who adds this with --by NAME, or --anonymous; one of the two")
    if source.suffix == ".csv":
        drafts = _claimed(board, source, about, only, day)
    else:
        if about.of or about.differs:
            raise UsageError("--of and --differs are for published figures; those of a run are measured")
        drafts = _measured(source, about, only, day)
    last = entry_id(drafts[-1].entry.name, drafts[-1].entry.network)
    drafts = [draft for draft in drafts if not _is_there(board, draft)]
    if not drafts:
        raise UsageError(f"{last} stands on the board with these figures since {board.history(last)[-1].entry.added}")
    definitions = _with_definitions(board, [result for draft in drafts for result in draft.results])
    addresses = [_address(board, draft, day) for draft in drafts]
    if definitions != board.definitions:
        store.write_json(path / DEFINITIONS, definitions.model_dump(mode="json", by_alias=True))
    for draft, address in zip(drafts, addresses, strict=True):
        _write(path / ENTRIES / address, draft)
    return addresses


@dataclass(frozen=True)
class _Draft:
    """An entry that is still to be written."""

    entry: Entry
    results: tuple[Result, ...] = ()
    replicates: Mapping[str, Mapping[str, NDArray[np.float64]]] | None = None  # by key and metric
    title: str = ""


def _measured(source: Path, about: About, only: Mapping[str, str], day: date) -> list[_Draft]:
    run = selection.select(store.read_run(source), Choice(only=only))
    if partial := next((result for result in run.results if result.partial), None):
        raise UsageError(f"{source}: {partial.labels} saw {partial.images} images alone; run it without --limit first")
    shown = anonymous(run) if about.anonymous else run
    rows: dict[tuple[str, str | None], list[Result]] = {}
    for result in shown.results:
        if result.ranked:
            rows.setdefault(result.labels.row, []).append(result)
    if not rows:
        raise MissingData(f"{source} holds no figures; 'bench show {source}' says what is there")
    _one(about, [method for _, method in rows if method], "--only method=NAME")
    drafts = []
    for (model, method), results in rows.items():
        entry = about.entry("measured", (about.name or method) if method else model, model, day)
        draws = {result.key: run.replicates(result) for result in results}
        drafts.append(_Draft(entry, tuple(map(_slim, results)), draws, shown.plan.title or shown.plan.name))
    return drafts


def _slim(result: Result) -> Result:
    """The result without what no page of a board shows: parts of the truth, tags of images."""
    return replace(result, slices={}, tags={})


def _claimed(board: Board, source: Path, about: About, only: Mapping[str, str], day: date) -> list[_Draft]:
    rows = published_text.chosen(published.read(source), only)
    if about.of and about.of not in {each.id for each in board.newest if each.entry.kind == "measured"}:
        raise UsageError(f"--of {about.of}: the board has no such measured entry")
    lines: dict[tuple[str, str, str], list[Published]] = {}
    for row in rows:
        called = f"{row.method}, {row.variant}" if row.variant else row.method
        lines.setdefault((called, row.backbone, row.source), []).append(row)
    if not lines:
        raise MissingData(f"{source} holds no figures")
    _one(about, [called for called, _, _ in lines], "--only method=NAME")
    drafts = []
    for (called, backbone, _), members in lines.items():
        paper = about.paper or next((row.paper for row in members if row.paper), "")
        figures = [{name: text for name, text in _text(row).items() if text} for row in members]
        more = {"figures": tuple(figures), "of": about.of, "differs": about.differs, "paper": paper}
        drafts.append(_Draft(about.entry("claimed", about.name or called, backbone or "unknown network", day, **more)))
    return drafts


def _text(row: Published) -> dict[str, str]:
    """The row as its table has it, rates in percent."""
    return published_text.spelled(row)


def _one(about: About, names: Sequence[str], advice: str) -> None:
    """A name, a claim and a checkpoint are those of one entry."""
    if len(names) > 1 and (about.name or about.of or about.checkpoint):
        options = " and ".join(f"--{name}" for name in ("name", "of", "checkpoint") if getattr(about, name))
        raise UsageError(
            f"{options}: there are {len(names)} entries, such as {', '.join(names[:3])}; choose with {advice}"
        )


def _with_definitions(board: Board, results: Sequence[Result]) -> Definitions:
    """The definitions of the board with those that it did not have; UsageError for another version or digest."""
    known = board.definitions
    for result in results:
        protocol = protocol_of(result)
        if not known.knows_protocol(result):
            same = [
                each.version for each in known.protocols if (each.name, each.params) == (protocol.name, protocol.params)
            ]
            if same:
                raise UsageError(
                    f"{result.labels}: made by version {protocol.version} of {protocol.name}, and the board has"
                    f" {' and '.join(same)}; run it again, or add the version to {board.path / DEFINITIONS}"
                )
            known = known.model_copy(update={"protocols": (*known.protocols, protocol)})
        if known.data_of(result) is None:
            name, params, digest, label = data_of(result)
            digests = [each.digest for each in known.data if (each.name, each.params) == (name, params)]
            if digests:
                raise UsageError(
                    f"{result.labels}: its data has the digest {digest}, and the board has {' and '.join(digests)};"
                    f" compare the files, or add the digest to {board.path / DEFINITIONS} with a label of its own"
                )
            labels = {each.label for each in known.data}
            free = label if label not in labels else f"{label} ({digest[:6]})"
            added = KnownData(label=free, name=name, params=params, digest=digest)
            known = known.model_copy(update={"data": (*known.data, added)})
    return known


def _address(board: Board, draft: _Draft, day: date) -> str:
    """Return the address of a new entry: its id and a folder for the day, numbered from the second of a day on."""
    name = entry_id(draft.entry.name, draft.entry.network)
    before = board.history(name)
    if before and before[-1].entry.title.lower() != draft.entry.title.lower():
        raise UsageError(f"{name} is {before[-1].entry.title!r} on this board; give this one another name with --name")
    if before and before[-1].entry.kind != draft.entry.kind:
        raise UsageError(f"{name} is {before[-1].entry.kind} on this board; give the other one a name with --name")
    if before and before[-1].entry.added > day.isoformat():
        raise UsageError(f"{name} has a version of {before[-1].entry.added}, later than {day}")
    same = sum(version.entry.added == day.isoformat() for version in before)
    return f"{name}/{day}" + (f".{same + 1}" if same else "")


def _is_there(board: Board, draft: _Draft) -> bool:
    """Return True if the newest version of the entry has these figures."""
    before = board.history(entry_id(draft.entry.name, draft.entry.network))
    if not before:
        return False
    figures = [{result.key: result.metrics for result in side} for side in (before[-1].results, draft.results)]
    return figures[0] == figures[1] and before[-1].entry.figures == draft.entry.figures


def _write(path: Path, draft: _Draft) -> None:
    """Write the folder of an entry whole, by rename."""
    with files.whole_folder(path) as folder:
        content = draft.entry.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        store.write_json(folder / ENTRY, {"schema": entries.SCHEMA} | content)
        if draft.entry.kind == "claimed":
            return
        plan = Plan(
            *(draft.entry.title, draft.title, "", tuple(result.key for result in draft.results)),
            cells=tuple(result.labels for result in draft.results),
        )
        store.write_plan(folder, plan, None)
        for result in draft.results:
            draws = (draft.replicates or {}).get(result.key, {})
            arrays = {f"{REPLICATES}{name}": np.asarray(values) for name, values in draws.items()}
            store.write_result(folder, result, arrays)
