"""Tables as columns and groups of rows, free of any markup: what Markdown, LaTeX and the terminal write alike.

A cell is what its column says: of a ``rank`` a number, a str (a mean of ranks) or None, of a ``name`` a Name, of a
``fact`` or a ``text`` a str (an empty fact is not known), of a ``figure``, ``mean`` or ``change`` a Figure, or in its
place a Lacking or a Marked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from bench.api import Metric, Value
from bench.report import grids
from bench.report.claims import KINDS, Claims
from bench.report.facts import COLUMNS, Fact
from bench.report.figures import Figure
from bench.report.grids import CLEAN, GRID, Grid, Place, View
from bench.report.leaderboard import Table
from bench.report.matrix import Matrix
from bench.report.paper import Paper
from bench.report.summaries import SummaryTable
from bench.report.text import Style, of_images


class Name(NamedTuple):
    """What a row is called, and what has to be said beside it."""

    text: str
    outliers: bool = False  # whether it was trained with data that shows anomalies
    partial: int = 0  # how many images it saw, where the data was cut
    reference: bool = False  # whether it is computed as the published code does

    def marks(self, *, outliers: bool) -> list[str]:
        """Return what stands in parentheses behind the name; ``outliers`` says whether such data is named."""
        marks = ["outlier data"] * (outliers and self.outliers)
        marks += [f"partial, {of_images(self.partial)}"] * bool(self.partial)
        return marks + ["reference"] * self.reference


class Lacking(NamedTuple):
    """A mean without a value: how many of its cells are there."""

    cells: int
    of: int

    def text(self, _: Style) -> str:
        return f"{self.cells} of {self.of}"


class Marked(NamedTuple):
    """A cell of a grid: its value if there is one, and a mark of ``grids``."""

    metric: Metric
    value: Value | None
    mark: str

    def text(self, style: Style) -> str:
        return (style.number(self.value.value, self.metric) if self.value else "") + self.mark


@dataclass(frozen=True, slots=True)
class Column:
    """One column."""

    kind: Literal["rank", "name", "fact", "text", "figure", "mean", "change"]
    title: str
    metric: Metric | None = None  # whose unit and direction stand in the head
    short: str = ""  # the title where there is little room
    outliers: bool = False  # of a column that stands for a row of a grid
    block: int = 0  # of the table of a paper and of the matrix: which of its blocks it belongs to

    @property
    def numeric(self) -> bool:
        """Whether it is aligned to the right."""
        return self.kind in {"rank", "figure", "mean", "change"}


class Group(NamedTuple):
    """Rows that belong together."""

    title: str
    rows: Sequence[Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Tabular:
    """A table on its way to a format."""

    columns: Sequence[Column]
    groups: Sequence[Group]

    @property
    def rows(self) -> list[Sequence[Any]]:
        """The rows of all groups."""
        return [row for group in self.groups for row in group.rows]

    def without(self, title: str) -> Tabular:
        """Return the table without the columns of that title."""
        keep = [index for index, column in enumerate(self.columns) if column.title != title]
        groups = [Group(group.title, [[row[index] for index in keep] for row in group.rows]) for group in self.groups]
        return Tabular([self.columns[index] for index in keep], groups)


RANK, CHANGE = Column("rank", "#"), "\N{GREEK CAPITAL LETTER DELTA}"
MIOU = COLUMNS["miou"]
WITH, WITHOUT = "Trained with outlier data", "Trained without outlier data"


def board(table: Table, facts: Mapping[str, Fact]) -> Tabular:
    """Return the table of one data set; a group has a title where some rows were trained with outlier data."""
    moved = _moved([line.figures for line in table.lines], len(table.metrics))
    columns = [RANK, *_names(table.scored, model=table.model is None)]
    columns += [Column("fact", fact.title) for fact in facts.values()]
    columns += _figure_columns(table.metrics.values(), moved)
    groups = []
    for group in table.groups:
        rows = []
        for line in group.lines:
            marks = line.result.images if line.result.partial else 0, line.reference
            names = [line.method or ""] * table.scored + [line.model] * (table.model is None)
            first, *others = names
            row: list[Any] = [line.rank, Name(first, group.outliers, *marks), *map(Name, others)]
            row += [fact.text(line.facts, line.result) for fact in facts.values()]
            rows.append([*row, *_figures(line.figures, moved)])
        apart = len(table.groups) > 1 or group.outliers
        groups.append(Group((WITH if group.outliers else WITHOUT) if apart else "", rows))
    return Tabular(columns, groups)


def paper(table: Paper, facts: Mapping[str, Fact]) -> Tabular:
    """Return methods by data sets, in a group for each model."""
    moved = _moved([row.figures for row in table.rows], len(table.metrics))
    columns = [Column("name", "Method"), *(Column("fact", fact.title) for fact in facts.values())]
    start = 0
    for number, block in enumerate(table.blocks):
        end = start + len(block.metrics)
        columns += _figure_columns(block.metrics.values(), moved[start:end], number)
        start = end
    groups = [
        Group(
            section.model,
            [
                [
                    Name(row.method, row.outliers, 0, row.reference),
                    *(fact.text(row.facts, row.result) if row.facts else "" for fact in facts.values()),
                    *_figures(row.figures, moved),
                ]
                for row in section.rows
            ],
        )
        for section in table.sections
    ]
    return Tabular(columns, groups)


def matrix(table: Matrix, *, short: bool = False) -> Tabular:
    """Return the leaderboard at a glance: by mean rank, with a block of figures for each task and data set.

    ``short`` ranks say ``1/3`` instead of ``(1 of 3)``.
    """
    columns = [Column("rank", "Mean rank", short="rank"), *_names(table.scored, model=True)]
    columns += [Column("fact", MIOU.title)] * table.miou
    for number, block in enumerate(table.blocks):
        columns += _figure_columns(block.metrics.values(), block=number)
    groups = []
    for group in table.groups:
        rows: list[Sequence[Any]] = []
        for line in group.lines:
            names = [Name(line.method, group.outliers, 0, line.reference)] * table.scored + [Name(line.model)]
            about = [MIOU.text(line.facts, None) if line.facts else ""] * table.miou
            rank = line.rank and (line.rank.short if short else line.rank.text)
            rows.append([rank, *names, *about, *line.figures])
        apart = len(table.groups) > 1 or group.outliers
        groups.append(Group((WITH if group.outliers else WITHOUT) if apart else "", rows))
    return Tabular(columns, groups)


def summary(table: SummaryTable) -> Tabular:
    """Return figures over several cells."""
    columns = [Column("text", "Of")] * table.parted + [*_names(table.scored, model=True), Column("text", "Cells")]
    rows = []
    for line in table.lines:
        row: list[Any] = [line.part] * table.parted + [Name(line.method or "", line.outliers)] * table.scored
        rows.append([*row, Name(line.model), line.cells, *line.figures])
    return Tabular([*columns, *_figure_columns(table.metrics.values())], [Group("", rows)])


def claims(claims: Claims) -> Tabular:
    """Return published figures, those measured and their differences below each other; a group for each claim."""
    columns = [Column("text", "Data set"), Column("text", ""), *_figure_columns(claims.columns)]
    groups = [
        Group(
            f"{group.method} on {group.model}",
            [[row.dataset if kind == KINDS[0] else "", kind, *row.texts(kind)] for row in group.rows for kind in KINDS],
        )
        for group in claims.groups
    ]
    return Tabular(columns, groups)


def overview(grid: Grid, view: View) -> Tabular:
    """Return the means of one metric: of the grid, clean, by severity and by family."""
    columns = [RANK] * view.ranked + [_row_column(grid)]
    for place in grid.places:
        short = f"sev {place.of}" if place.kind == "severity" else place.title
        columns.append(Column("mean", place.title, view.metric if place == GRID else None, short))
    rows: list[Sequence[Any]] = []
    for line in view.lines:
        means = (mean(line, place, view, interval=place in (CLEAN, GRID)) for place in grid.places)
        rows.append([*([line.rank] * view.ranked), _row_name(line), *means])
    return Tabular(columns, [Group("", rows)])


def by_corruption(grid: Grid, view: View) -> Tabular | None:
    """Return means over the severities, rows as columns; None where there are not several of both."""
    if len(view.lines) < 2 or len(grid.corruptions) < 2:
        return None
    columns = [Column("text", "Corruption"), Column("text", "Family")]
    columns += [Column("figure", line.row.name, outliers=line.row.outliers) for line in view.lines]
    rows = [
        [name, family, *(mean(line, Place("corruption", name), view) for line in view.lines)]
        for family, names in grid.families.items()
        for name in names
    ]
    return Tabular(columns, [Group("", rows)])


def cells(grid: Grid, view: View, line: grids.Line) -> Tabular:
    """Return every cell of a row with the means beside them: a group for each family, and one of the means below."""
    columns = [Column("text", "Corruption")]
    columns += [Column("figure", f"severity {severity}", short=str(severity)) for severity in grid.severities]
    columns.append(Column("figure", "mean"))
    groups = []
    for family, names in grid.families.items():
        rows: list[Sequence[Any]] = []
        for name in names:
            spots = (marked(line, (name, severity), view) for severity in grid.severities)
            rows.append([name, *spots, mean(line, Place("corruption", name), view, best=False)])
        groups.append(Group(family, rows))
    places = [*(Place("severity", severity) for severity in grid.severities), GRID]
    means = [mean(line, place, view, best=False) for place in places]
    return Tabular(columns, [*groups, Group("", [["mean", *means]])])


def every_metric(grid: Grid) -> Tabular | None:
    """Return the means over the grid of every metric; None where there is but one."""
    views = list(grid.views.values())
    if len(views) < 2:
        return None
    rows: list[Sequence[Any]] = []
    for line in views[0].lines:
        means = (mean(view.of(line.row), GRID, view, interval=True) for view in views)
        rows.append([_row_name(line), *means])
    return Tabular([_row_column(grid), *_figure_columns(grid.directed.values())], [Group("", rows)])


def mean(line: grids.Line, place: Place, view: View, *, interval: bool = False, best: bool = True) -> Figure | Lacking:
    """Return a mean of a grid, without its interval unless it is to be shown."""
    value = line.means[place]
    if value.value is None:
        return Lacking(value.cells, value.of)
    ends = (value.lo, value.hi) if interval else (None, None)
    return Figure(view.metric, Value(value.value, value.err, *ends), best and place in line.best)


def marked(line: grids.Line, spot: grids.Spot, view: View) -> Marked:
    """Return a cell of a grid."""
    figure = line.figure(spot)
    return Marked(view.metric, figure if isinstance(figure, Value) else None, line.mark(spot))


def _row_column(grid: Grid) -> Column:
    return Column("name", "Method" if grid.scored else "Model")


def _row_name(line: grids.Line) -> Name:
    return Name(line.row.name, line.row.outliers)


def _names(scored: bool, *, model: bool) -> list[Column]:
    return [Column("name", "Method")] * scored + [Column("name", "Model")] * model


def _figure_columns(metrics: Any, moved: Sequence[bool] = (), block: int = 0) -> Iterator[Column]:
    """A column for each metric, followed by one of changes where ``moved`` says so."""
    for index, metric in enumerate(metrics):
        yield Column("figure", metric.title, metric, block=block)
        if moved and moved[index]:
            yield Column("change", CHANGE, block=block)


def _moved(rows: Sequence[Sequence[Figure]], metrics: int) -> list[bool]:
    """By metric, whether any row has a change."""
    return [any(figures[index].change for figures in rows) for index in range(metrics)]


def _figures(figures: Sequence[Figure], moved: Sequence[bool]) -> Iterator[Figure]:
    for figure, changed in zip(figures, moved, strict=True):
        yield from [figure] * (1 + changed)
