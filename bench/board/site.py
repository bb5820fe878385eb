"""The site of a board: the views of a run's page as a page each, for all entries, and what can be downloaded.

Equal entries give equal bytes: dates are those of the entries. Every page is whole by itself, works without a script,
and loads nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment
from markupsafe import Markup

from bench.board import check, claimed, downloads, entries
from bench.board.columns import Entries, as_run
from bench.board.entries import Board, Fault, Version
from bench.core import files
from bench.core.errors import UsageError
from bench.core.values import Metric, Value
from bench.report import leaderboard, published
from bench.report.document import Document
from bench.report.figures import uses_outliers
from bench.report.matrix import Block
from bench.report.page import data, templates
from bench.report.page.provenance import facts_of, shared_by
from bench.report.page.sections import GridSheet, Sheet, defining
from bench.report.page.views import Addresses, Card, LeaderBoard, cards, sheets_of_blocks
from bench.report.published import Published
from bench.report.published_rows import Beside
from bench.report.text import count, number
from bench.results.store import Result

LATEST = 8  # entries that the first page names as added last
OVER_TIME = 8  # versions of a history
MARKER = "board.json"  # what a folder has that is a site of this program
NAVIGATION = (
    ("index.html", "Leaderboard"),
    ("data/index.html", "Data sets"),
    ("methods/index.html", "Methods"),
    ("entries/index.html", "Entries"),
    ("definitions.html", "Definitions"),
    ("downloads.html", "Downloads"),
)


class Faulty(UsageError):
    """A board that is not built; ``faults`` are why."""

    def __init__(self, path: Path, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__(f"{path}: {len(faults)} fault{'s' * (len(faults) != 1)}; nothing was built")


def build(path: Path, out: Path, today: date) -> int:
    """Write the site of a board into ``out``, in place of one that is there; return the number of its files.

    Raise Faulty for a board with any fault, and UsageError for a folder that holds something else; nothing is
    written then, and never half of it.
    """
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / MARKER).is_file())):
        raise UsageError(f"{out} is there and is no site of a board; choose a folder that is new with --out")
    board = entries.read(path)
    if faults := check.faults(board, today):
        raise Faulty(path, faults)
    contents = pages(board)
    with files.whole_folder(out) as folder:
        for name, content in sorted(contents.items()):
            home = folder / name
            home.parent.mkdir(parents=True, exist_ok=True)
            home.write_text(content, encoding="utf-8", newline="\n")
    return len(contents)


def pages(board: Board) -> dict[str, str]:
    """Return the content of every file of the site by its path."""
    return _Site(board).files()


@dataclass(frozen=True)
class _Sheet(Sheet):
    """A table of entries: what is claimed of its data set stands beside it; nothing is drawn, for want of counts."""

    claims: tuple[Published, ...] = ()

    @cached_property
    def drawn(self) -> Mapping[str, Any]:
        """Nothing: entries have figures alone."""
        return {"series": []}

    @cached_property
    def published(self) -> Beside:
        """The claimed figures of its data set, those of other definitions marked."""
        dataset = self.table.cell.dataset.spelled()
        measured = published.place_of(dataset)
        rows = published.beside(self.table.cell.protocol.name, dataset, self.claims)
        return Beside(measured.split if measured else "", self.table.metrics, tuple(rows))


class ClaimedRows(NamedTuple):
    """Claimed figures in the columns of the leaderboard."""

    blocks: tuple[Block, ...]
    rows: list[tuple[Version, list[Published | None]]]


class OverTime(NamedTuple):
    """The figures that rank, by version of an entry."""

    versions: list[Version]  # the newest first
    rows: list[tuple[str, str, list[str]]]  # title of a figure, what it is of, and its text in each version

    @property
    def noted(self) -> bool:
        """True where any version has a note."""
        return any(version.entry.note for version in self.versions)


class _Paths:
    """Addresses of pages, no two alike, also where capitals are the same as small letters."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def free(self, folder: str, label: str) -> str:
        stem = re.sub(r"[^a-z0-9._]+", "-", label.lower()).strip("-.")[:80] or "unnamed"
        path, number_of = f"{folder}/{stem}.html", 1
        while path in self._taken or path == f"{folder}/index.html":
            number_of += 1
            path = f"{folder}/{stem}-{number_of}.html"
        self._taken.add(path)
        return path


class _Site:
    """The parts that pages of a board share, computed once."""

    def __init__(self, board: Board) -> None:
        self.board = board
        self.measured = [version for version in board.newest if version.entry.kind == "measured"]
        self.claims = [version for version in board.newest if version.entry.kind == "claimed"]
        self.run: Entries = as_run(board, self.measured)
        self.document = Document(self.run)
        claimed_rows = tuple(row for version in self.claims for row in version.figures)
        protocols = defining([*self.document.tables, *self.document.grids])
        self.protocols = list(protocols.values())
        self.sheets = [
            _Sheet(f"t{index}", self.run, table, protocols, {}, claims=claimed_rows)
            for index, table in enumerate(self.document.tables, 1)
        ]
        self.grids = [GridSheet(f"g{index}", grid, protocols) for index, grid in enumerate(self.document.grids, 1)]
        paths = _Paths()
        self.entry_at = {version.id: paths.free("entries", version.id) for version in board.newest}
        labels = dict.fromkeys(
            [*(sheet.table.dataset for sheet in self.sheets), *(each.grid.dataset for each in self.grids)]
        )
        self.data_at = {label: paths.free("data", label) for label in labels}
        methods = dict.fromkeys(method for result in self.run.results if (method := result.labels.method))
        by_id = {sheet.id: f"{self.data_at[sheet.table.dataset]}#{sheet.id}" for sheet in self.sheets}
        by_id |= {each.id: f"{self.data_at[each.grid.dataset]}#{each.id}" for each in self.grids}
        places = Addresses(by_id, {name: paths.free("methods", name) for name in methods}, {}, (), {})
        inside = {result.key for grid in self.document.grids for result in grid.results}
        metrics = {table.protocol: table.metrics for table in self.document.tables}
        spent = data.cost(self.run, metrics, inside)
        self.cards: list[Card] = cards(self.sheets, self.grids, places, spent)
        self.method_at = {card.method: card.path for card in self.cards}
        matrix = self.document.matrix
        sheets = sheets_of_blocks(matrix, self.sheets, self.grids)
        self.matrix = LeaderBoard(matrix, tuple(by_id[sheet.id] for sheet in sheets), self.method_at)
        self.environment: Environment = templates.environment()
        self.style, self.script = (
            templates.style(),
            f"(() => {{\n'use strict';\n{templates.template('page.js')}}})();\n",
        )

    def files(self) -> dict[str, str]:
        contents = downloads.files(self.board, self.run, self.entry_at)
        contents["index.html"] = self._index()
        contents["data/index.html"] = self._data_sets()
        for label, path in self.data_at.items():
            contents[path] = self._data_set(label, path)
        contents["methods/index.html"] = self._page(
            "site_list.html", "methods/index.html", "Methods", what="methods", cards=self.cards
        )
        for card in self.cards:
            members = [version for version in self.measured if version.entry.name == card.method]
            contents[card.path] = self._page(
                "site_method.html", card.path, card.method, "methods/index.html", each=card, members=members
            )
        contents["entries/index.html"] = self._page(
            "site_list.html", "entries/index.html", "Entries", what="entries", history=self._histories()
        )
        for version in self.board.newest:
            contents[self.entry_at[version.id]] = self._entry(version)
        contents["definitions.html"] = self._page(
            *("site_definitions.html", "definitions.html", "Definitions"),
            protocols=self.protocols,
            departures=leaderboard.departing(self.run.results),
        )
        contents["downloads.html"] = self._page(
            *("site_list.html", "downloads.html", "Downloads"), what="files", listed=downloads.listed(list(contents))
        )
        return contents

    def _page(self, template: str, path: str, name: str = "", under: str = "", **content: Any) -> str:
        """A page at its path; links of it lead from there."""
        to = _linking(path)
        page = self.environment.get_template(template).render(
            about=self.board.about,
            name=name,
            under=under or path,
            navigation=NAVIGATION,
            to=to,
            cell_at=lambda result: to(self.entry_at[self.run.origins[result.key].id]),
            defined_at=lambda identifier: to(f"definitions.html#{identifier}"),
            charted=False,
            entry_at=self.entry_at,
            entries=self.board.newest,
            matrix=self.matrix if self.matrix.matrix.blocks else None,
            printed=claimed.printed,
            some_saw=any(map(uses_outliers, self.run.results)),
            some_claimed=bool(self.claims),
            style=Markup(self.style),  # noqa: S704 - files of this package
            script=Markup(self.script),  # noqa: S704
            style_hash=templates.policy_hash(self.style),
            script_hash=templates.policy_hash(self.script),
            **content,
        )
        return page.lstrip()

    def _index(self) -> str:
        newest = sorted(self.board.newest, key=lambda version: version.order, reverse=True)
        return self._page(
            "site_index.html", "index.html", origin=self._origin(), claimed=self._claimed(), latest=newest[:LATEST]
        )

    def _origin(self) -> str:
        """One sentence: how many entries of what, and when the last one came."""
        methods, networks = len(self.method_at), len({result.labels.model for result in self.run.results})
        words = [_counted(len(self.measured), "measured entry", "measured entries")]
        words += [_counted(len(self.claims), "claimed one", "claimed ones")] * bool(self.claims)
        words += [_counted(methods, "method", "methods"), _counted(networks, "network", "networks")]
        words += [_counted(len(self.data_at), "data set", "data sets")]
        last = max((version.entry.added for version in self.board.versions), default="")
        return ", ".join(words) + (f"; the last was added on {last}." if last else ".")

    def _claimed(self) -> ClaimedRows:
        blocks = self.matrix.matrix.blocks
        firsts = [self._first(block) for block in blocks]
        rows = []
        for version in self.claims:
            figures: list[Published | None] = []
            for block, result in zip(blocks, firsts, strict=True):
                answers = {} if block.grid or result is None else _by_metric(result, version.figures)
                figures += [answers.get(name) for name in block.metrics]
            if any(figures):
                rows.append((version, figures))
        return ClaimedRows(blocks, rows)

    def _first(self, block: Block) -> Result | None:
        """A result of a column of the leaderboard."""
        here = (block.protocol, block.dataset)
        same = (each for each in self.run.results if (each.labels.protocol, each.labels.dataset) == here)
        return next(same, None)

    def _data_sets(self) -> str:
        leaders = list(self.matrix.leaders) if self.matrix.matrix.blocks else []
        listed = [
            (label, path, [leader for leader in leaders if leader[1].partition("#")[0] == path])
            for label, path in self.data_at.items()
        ]
        return self._page("site_list.html", "data/index.html", "Data sets", what="data", listed=listed)

    def _data_set(self, label: str, path: str) -> str:
        of_data = [each for each in self.board.definitions.data if each.label == label]
        params = ", ".join(
            f"{name} {value}" for each in of_data for name, value in each.params.items() if value is not None
        )
        words = [f"{each.name}{f' ({params})' if params else ''}, digest {each.digest}" for each in of_data]
        return self._page(
            *("site_data.html", path, label, "data/index.html"),
            of_data=words,
            sheets=[sheet for sheet in self.sheets if sheet.table.dataset == label],
            grids=[each for each in self.grids if each.grid.dataset == label],
        )

    def _histories(self) -> dict[str, tuple[Version, ...]]:
        return {version.id: self.board.history(version.id) for version in self.board.newest}

    def _entry(self, version: Version) -> str:
        path = self.entry_at[version.id]
        results = [result for result in self.run.results if self.run.origins[result.key] is version]
        rows = [(result, self.data_at.get(result.labels.dataset, ""), _defined(result)) for result in results]
        compared = {each.claimed: each for each in claimed.compared(self.board, version)}
        measured = {row: compared[same] for row in version.figures if (same := _same(row, compared)) is not None}
        return self._page(
            *("site_entry.html", path, version.entry.title, "entries/index.html"),
            version=version,
            method_at=self.method_at.get(version.entry.name, ""),
            rows=rows,
            measured=measured,
            over_time=_over_time(self.board.history(version.id)),
            provenance=_provenance(self.run, results),
            data_at=f"{path.removesuffix('.html')}.json",
        )


def _linking(path: str) -> Callable[[str], str]:
    """Return what makes an address that leads from a page to a path of the site."""
    up = "../" * path.count("/")
    return lambda target: f"{up}{target}"


def _counted(amount: int, singular: str, plural: str) -> str:
    return f"{count(amount)} {singular if amount == 1 else plural}"


def _by_metric(result: Result, rows: Sequence[Published]) -> dict[str, Published]:
    return {row.metric: row for row in reversed(claimed.of_column(result, rows))}


def _defined(result: Result) -> list[tuple[Metric, Value]]:
    figures = ((result.definitions[name], figure) for name, figure in result.metrics.items())
    return [(metric, figure) for metric, figure in figures if isinstance(figure, Value)]


def _same(row: Published, compared: Mapping[Published, Any]) -> Published | None:
    """The row as it stands in the columns of the protocol that it was compared in."""
    return next((each for each in compared if (each.place, each.value) == (row.place, row.value)), None)


def _provenance(run: Entries, results: Sequence[Result]) -> list[tuple[str, str]]:
    """Return the settings that all figures of an entry were made with."""
    if not results:
        return []
    shared = shared_by(results)
    entry = Entries(run.path, run.plan, tuple(results))
    facts = [fact for fact in facts_of(entry, shared) if fact[0] in ("Images", "Computed")]
    return [*facts, *sorted(shared.items())]


def _over_time(versions: Sequence[Version]) -> OverTime:
    """The figure that ranks on each data set, by version; of many versions the newest."""
    rows: dict[tuple[str, ...], tuple[str, str]] = {}
    newest = list(reversed(versions))[:OVER_TIME]
    shown: list[dict[tuple[str, ...], str]] = []
    for version in newest:
        figures: dict[tuple[str, ...], str] = {}
        for result in version.results:
            name, metric = next(iter(result.definitions.items()))
            key = (result.labels.protocol, result.labels.dataset, name)
            rows.setdefault(key, (metric.title, f"{result.labels.protocol}, {result.labels.dataset}"))
            value = result.metrics.get(name)
            figures[key] = number(value.value, metric) if isinstance(value, Value) else "–"
        for row in version.figures:
            claimed_key = (row.protocol, row.dataset, row.split, row.metric)
            rows.setdefault(claimed_key, (row.title, f"{row.dataset} {row.split}"))
            figures[claimed_key] = claimed.printed(row)
        shown.append(figures)
    listed = [(*words, [figures.get(key, "–") for figures in shown]) for key, words in rows.items()]
    return OverTime(newest, listed)
