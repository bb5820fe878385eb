"""The views of a page: where each thing stands, the leaderboard with its bars, and a card for each method."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from bench.api import Metric, Value
from bench.report.figures import Figure, reference, uses_outliers
from bench.report.grids import GRID
from bench.report.matrix import Block, Leader, Line, Matrix
from bench.report.page.galleries import Album
from bench.report.page.sections import GridSheet, Sheet
from bench.report.text import number, percent
from bench.results.store import Result, Run

BARS = 40  # steps of a bar; style.css has a class for each
HARDEST = 3  # images that a card names of each table


@dataclass(frozen=True)
class Tab:
    """A view beside others of the same data set."""

    title: str
    path: str


@dataclass(frozen=True)
class Addresses:
    """Where each view stands: paths after the ``#`` of the page's address."""

    by_id: Mapping[str, str]  # of tables and grids
    methods: Mapping[str, str]
    tabs: Mapping[str, Sequence[Tab]]  # by data set
    galleries: Sequence[tuple[str, Sequence[tuple[int, Album]]]]  # paths, and the numbered albums of a data set
    shots: Mapping[tuple[str, str, str], str]  # of single images, by data set, model and sample


class _Paths:
    """Labels as far as an address can have them, and no address twice."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def free(self, folder: str, label: str) -> str:
        stem = re.sub(r"[^A-Za-z0-9.+_-]+", "-", label).strip("-") or "unnamed"
        path, count = f"{folder}/{stem}", 1
        while path in self._taken:
            count += 1
            path = f"{folder}/{stem}-{count}"
        self._taken.add(path)
        return path


def addresses(
    sheets: Sequence[Sheet], grid_sheets: Sequence[GridSheet], albums: Sequence[Album], run: Run
) -> Addresses:
    """Return an address for every table, grid, gallery and method."""
    paths = _Paths()
    labels = [*(sheet.table.dataset for sheet in sheets), *(album.dataset for album in albums)]
    folders = {label: paths.free("/data", label) for label in dict.fromkeys(labels)}
    by_id: dict[str, str] = {}
    tabs: dict[str, list[Tab]] = {label: [] for label in folders}
    for sheet in sheets:
        by_id[sheet.id] = paths.free(folders[sheet.table.dataset], sheet.table.protocol)
        tabs[sheet.table.dataset].append(Tab(sheet.table.title, by_id[sheet.id]))
    numbered: dict[str, list[tuple[int, Album]]] = {}
    for index, album in enumerate(albums, 1):
        numbered.setdefault(album.dataset, []).append((index, album))
    galleries: list[tuple[str, list[tuple[int, Album]]]] = []
    shots: dict[tuple[str, str, str], str] = {}
    for label, members in numbered.items():
        galleries.append((paths.free(folders[label], "images"), members))
        tabs[label].append(Tab("images", galleries[-1][0]))
        for _, album in members:
            for shot in album.shots:
                shots[label, album.model, shot.sample] = paths.free(galleries[-1][0], shot.sample)
    for each in grid_sheets:
        by_id[each.id] = paths.free(
            "/grid", " ".join(filter(None, (each.grid.protocol, each.grid.name, each.grid.model)))
        )
    names = dict.fromkeys(method for result in run.results if (method := result.labels.method))
    return Addresses(by_id, {name: paths.free("/method", name) for name in names}, tabs, galleries, shots)


@dataclass(frozen=True)
class LeaderBoard:
    """The leaderboard with its links and bars."""

    matrix: Matrix
    paths: tuple[str, ...]  # the view of each block
    methods: Mapping[str, str]  # the view of each method

    @property
    def width(self) -> int:
        """Columns of the table."""
        names = 2 + self.matrix.scored + self.matrix.miou
        return names + sum(len(block.metrics) for block in self.matrix.blocks)

    @property
    def leaders(self) -> Iterator[tuple[Block, str, list[Leader]]]:
        """Each block with its view and who stands first in it."""
        for index, block in enumerate(self.matrix.blocks):
            yield block, self.paths[index], self.matrix.leaders(index)

    def cells(self, line: Line) -> Iterator[tuple[int, Figure, int, Result | None]]:
        """Return block, figure, length of its bar in steps and result of each cell of a row."""
        for index, figure in self._blocked(line):
            grid = self.matrix.blocks[index].grid
            yield index, figure, self._bar(index, figure), None if grid else line.results[index]

    @cached_property
    def _largest(self) -> Mapping[tuple[int, str], float]:
        """The largest value of each column, by block and title."""
        largest: dict[tuple[int, str], float] = {}
        for line in self.matrix.lines:
            for index, figure in self._blocked(line):
                if isinstance(figure.value, Value):
                    key = index, figure.metric.title
                    largest[key] = max(figure.value.value, largest.get(key, 0.0))
        return largest

    def _blocked(self, line: Line) -> Iterator[tuple[int, Figure]]:
        """The figures of a row with their blocks."""
        blocks = (index for index, block in enumerate(self.matrix.blocks) for _ in block.metrics)
        return zip(blocks, line.figures, strict=True)

    def _bar(self, block: int, figure: Figure) -> int:
        """Rates from 0 to the largest of the column; nothing for what is no rate."""
        if not isinstance(figure.value, Value) or not percent(figure.metric):
            return 0
        most = self._largest[block, figure.metric.title]
        return max(0, round(BARS * figure.value.value / most)) if most > 0 else 0


@dataclass(frozen=True)
class Hard:
    """An image that is hard for a method."""

    sample: str
    shown: str  # its figure
    path: str  # of its pictures; empty where there are none


@dataclass(frozen=True)
class Standing:
    """The figures of a method on one network, task and data set, for its card."""

    title: str
    dataset: str
    path: str
    model: str
    rank: int | None
    of: int  # how many are ranked with it
    figures: tuple[tuple[Metric, Value], ...]
    ms: float | None  # of the processor per image: network and method
    result: Result | None
    hardest: tuple[Hard, ...]
    hardest_by: str


@dataclass(frozen=True)
class Card:
    """A method: where it is from, its parameters, and how it does on every task."""

    method: str
    path: str
    source: str
    formula: str  # in words; empty where results do not say it
    outliers: bool
    reference: bool
    parameters: str  # as JSON; empty where it has none
    standings: tuple[Standing, ...]


def cards(
    sheets: Sequence[Sheet],
    grid_sheets: Sequence[GridSheet],
    places: Addresses,
    cost: Iterable[Mapping[str, Any]],
) -> list[Card]:
    """Return a card for each method that has figures; ``cost`` is what the chart of it draws."""
    spent = {(each["protocol"], each["dataset"], each["model"], each["method"]): each["ms"] for each in cost}
    standings: dict[str, list[Standing]] = {}
    firsts: dict[str, Result] = {}
    for method, result, standing in (*_of_tables(sheets, places, spent), *_of_grids(grid_sheets, places)):
        standings.setdefault(method, []).append(standing)
        if result:
            firsts.setdefault(method, result)
    return [_card(name, path, firsts[name], standings[name]) for name, path in places.methods.items() if name in firsts]


def _of_tables(
    sheets: Sequence[Sheet], places: Addresses, spent: Mapping[tuple[str, str, str, str], float | None]
) -> Iterator[tuple[str, Result, Standing]]:
    for sheet in sheets:
        table = sheet.table
        images = {series["key"]: series["images"] for series in sheet.drawn["series"] if "images" in series}
        for group in table.groups:
            ranked = sum(line.rank is not None for line in group.lines)
            for line in group.lines:
                if line.method is None:
                    continue
                shots = {
                    sample: path for (*at, sample), path in places.shots.items() if at == [table.dataset, line.model]
                }
                hard, by = _hardest(images.get(line.result.key), table.metrics, shots)
                figures = tuple((each.metric, each.value) for each in line.figures if isinstance(each.value, Value))
                ms = spent.get((table.protocol, table.dataset, line.model, line.method))
                where = table.title, table.dataset, places.by_id[sheet.id], line.model
                standing = Standing(*where, line.rank, ranked, figures, ms, line.result, hard, by)
                yield line.method, line.result, standing


def _of_grids(grid_sheets: Sequence[GridSheet], places: Addresses) -> Iterator[tuple[str, Result | None, Standing]]:
    for sheet in grid_sheets:
        grid = sheet.grid
        if not grid.scored or not grid.rows:
            continue
        for line in sheet.view.lines:
            alike = [other for other in sheet.view.lines if other.row.outliers == line.row.outliers]
            ranked = sum(other.rank is not None for other in alike)
            means = ((view.metric, view.of(line.row).means[GRID]) for view in grid.views.values())
            figures = tuple((metric, Value(m.value, m.err, m.lo, m.hi)) for metric, m in means if m.value is not None)
            where = grid.title, grid.name, places.by_id[sheet.id], str(grid.model)
            standing = Standing(*where, line.rank, ranked, figures, None, None, (), "")
            yield line.row.name, next(iter(line.row.at(GRID)), None), standing


def _card(name: str, path: str, first: Result, standings: Sequence[Standing]) -> Card:
    about = first.about.get("method", {})
    source, formula = (str(about.get(word, "")) for word in ("source", "formula"))
    params = first.cell.method.params if first.cell.method else {}
    words = json.dumps(params) if params else ""
    return Card(name, path, source, formula, uses_outliers(first), reference(first), words, tuple(standings))


def _hardest(
    images: Mapping[str, Any] | None, metrics: Mapping[str, Metric], shots: Mapping[str, str]
) -> tuple[tuple[Hard, ...], str]:
    """The images that are hardest for a row, and the title of their figure."""
    if images is None:
        return (), ""
    metric = metrics[images["metric"]["name"]]
    worst = list(zip(images["ids"], images["values"], strict=True))[:HARDEST]
    return tuple(Hard(image, number(value, metric), shots.get(image, "")) for image, value in worst), metric.title


def sheets_of_blocks(
    matrix: Matrix, sheets: Sequence[Sheet], grid_sheets: Sequence[GridSheet]
) -> Iterator[Sheet | GridSheet]:
    """Yield the table of each column group of the leaderboard; of a grid that of its first network."""
    for block in matrix.blocks:
        if block.grid:
            names = ((each, each.grid.protocol, each.grid.name) for each in grid_sheets)
            yield next(each for each, *name in names if name == [block.protocol, block.dataset])
        else:
            tables = ((each, each.table.protocol, each.table.dataset, each.table.version) for each in sheets)
            yield next(each for each, *name in tables if name == [block.protocol, block.dataset, block.version])
