"""The leaderboard at a glance: methods down, tasks and data sets across, the figures that papers print of each.

Ranks, marks and mean ranks are those of the figures that are shown here, among the rows of all networks; methods that
were trained with data that shows anomalies are compared among themselves. A grid of corruptions is its mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bench.api import Metric, Undefined, Value
from bench.report import grids
from bench.report.facts import Facts, Networks
from bench.report.figures import Draws, Figure, absent_cells, level, numbered, ranks, reference
from bench.report.grids import GRID, Grid
from bench.report.leaderboard import Table
from bench.report.paper import NOT_ASKED, grid_mean, pending, unanswered
from bench.report.selection import Choice
from bench.report.text import number, of_images
from bench.results.store import CellLabels, Result, Run

Row = tuple[str, str]  # model and method; the method is empty where a protocol has none

LEADING = (  # the figures that papers print: the first of these that a protocol has all of
    ("auroc", "aurc"),
    ("ap", "fpr95", "mean_f1"),
    ("ap", "fpr95"),
    ("siou", "ppv", "mean_f1"),
    ("miou",),
)
FALLBACK = 2  # figures of any other protocol: its first ones
TITLE = "Leaderboard"
MEAN_RANK = (
    "The mean rank is over the tasks that rank more than half of the rows of a group, by the first figure of each; "
    "rows that lack one of them stand below."
)


@dataclass(frozen=True, slots=True)
class Block:
    """A group of columns: what one protocol says of one data set, or of the mean over a grid of corruptions."""

    protocol: str  # label
    title: str  # of the protocol
    version: str  # of the protocol
    dataset: str
    about: str  # how many images, or the size of the grid
    metrics: Mapping[str, Metric]  # the first one ranks
    grid: bool  # whether the figures are means over a grid of corruptions

    @property
    def name(self) -> str:
        """Such as ``anomaly, RoadAnomaly21``."""
        return f"{self.title}, {self.dataset}"


@dataclass(frozen=True, slots=True)
class MeanRank:
    """The mean of the ranks of a row, and over how many of the blocks that count it is."""

    value: float
    blocks: int
    of: int

    @property
    def complete(self) -> bool:
        return self.blocks == self.of

    @property
    def text(self) -> str:
        """Such as ``2.3``, or ``2.0 (1 of 3)`` where the row is not ranked in all of them."""
        return f"{self.value:.1f}" + ("" if self.complete else f" ({self.blocks} of {self.of})")

    @property
    def short(self) -> str:
        """Such as ``2.3``, or ``2.0 1/3``."""
        return f"{self.value:.1f}" + ("" if self.complete else f" {self.blocks}/{self.of}")


@dataclass(frozen=True, slots=True)
class Line:
    """A method on a network, or a network where no protocol has methods."""

    model: str
    method: str
    reference: bool  # whether it is computed as the published code does
    facts: Facts | None
    rank: MeanRank | None
    ranks: tuple[int | None, ...]  # by block
    figures: tuple[Figure, ...]  # of all blocks, one after the other
    results: tuple[Result | None, ...]  # by block: of a grid that of one of its cells

    @property
    def name(self) -> str:
        """Such as ``energy on toynet``."""
        return f"{self.method} on {self.model}" if self.method else self.model


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that are compared among themselves, by mean rank."""

    outliers: bool  # whether they were trained with data that shows anomalies
    lines: tuple[Line, ...]
    counted: tuple[int, ...]  # the blocks that the mean rank is over

    def leading(self, block: int) -> list[Line]:
        """Return the rows of rank 1 in a block."""
        return [line for line in self.lines if line.ranks[block] == 1]


@dataclass(frozen=True, slots=True)
class Leader:
    """Who stands first in a block, among those that were trained with outlier data or among the others."""

    outliers: bool
    names: tuple[str, ...]  # several where they tie
    figure: Figure
    lead: str  # ``clear``, ``not clear`` or ``no rival``


@dataclass(frozen=True, slots=True)
class Matrix:
    """The whole leaderboard."""

    blocks: tuple[Block, ...]
    groups: tuple[Group, ...]
    notes: tuple[str, ...]  # why figures are undefined; Figure.note counts from 1
    remarks: tuple[str, ...]  # why nothing is marked

    @property
    def lines(self) -> tuple[Line, ...]:
        return tuple(line for group in self.groups for line in group.lines)

    @property
    def scored(self) -> bool:
        """Return True if rows have a method."""
        return any(line.method for line in self.lines)

    @property
    def miou(self) -> bool:
        """Return True if the mIoU of a network stands beside its methods."""
        return self.scored and any(line.facts and line.facts.miou for line in self.lines)

    @property
    def several(self) -> bool:
        """Return True if it says more than the table of a single task and data set."""
        return len(self.blocks) > 1

    @property
    def models(self) -> tuple[str, ...]:
        """The networks of its rows."""
        return tuple(dict.fromkeys(line.model for line in self.lines))

    def start(self, block: int) -> int:
        """Return where the figures of a block begin in those of a row."""
        return sum(len(each.metrics) for each in self.blocks[:block])

    def lead(self, group: Group, block: int) -> str:
        """Return whether who stands first in a block does so for sure: ``clear``, ``not clear`` or ``no rival``."""
        if sum(rank is not None for rank in (line.ranks[block] for line in group.lines)) < 2:
            return "no rival"
        first = group.leading(block)
        return "clear" if first and first[0].figures[self.start(block)].best else "not clear"

    def leaders(self, block: int) -> list[Leader]:
        """Return who stands first in a block, in each group that ranks rows there."""
        first = [(group, group.leading(block)) for group in self.groups]
        at = self.start(block)
        return [
            Leader(group.outliers, tuple(line.name for line in lines), lines[0].figures[at], self.lead(group, block))
            for group, lines in first
            if lines
        ]


def leaderboard(run: Run, tables: Sequence[Table], grids_: Sequence[Grid], choice: Choice) -> Matrix:
    """Return the matrix of a run; networks have rows of their own only where no protocol has methods."""
    scored = any(table.scored for table in tables) or any(grid.scored for grid in grids_)
    missing = [labels for _, labels in absent_cells(run) if labels]
    columns = [_of_table(run, table, choice, missing) for table in tables if table.scored == scored and table.lines]
    columns += _of_grids(run, [grid for grid in grids_ if grid.scored == scored], choice, missing)
    columns = [column for column in columns if column.block.metrics]
    facts = Networks(run).of_rows(run.results)
    rows = dict.fromkeys(row for column in columns for row in (*column.entries, *column.absent))
    outliers = {row for column in columns for row, entry in column.entries.items() if entry.outliers}
    notes: dict[str, int] = {}
    remarks: dict[str, None] = {}
    groups = []
    for apart in (False, True):
        members = [row for row in rows if (row in outliers) == apart]
        if members:
            groups.append(_group(apart, members, columns, facts, notes, remarks))
    return Matrix(tuple(column.block for column in columns), tuple(groups), tuple(notes), tuple(remarks))


@dataclass(frozen=True)
class _Entry:
    """The figures of a row in a column group."""

    figures: Mapping[str, Figure]  # by metric
    results: Sequence[Result]  # that the figures are of, or means over
    draws: Callable[[str], Draws | None]  # resamples by metric
    competes: bool  # False of a row of which only some images were seen
    outliers: bool


@dataclass(frozen=True)
class _Column:
    """A block with its entries."""

    block: Block
    entries: Mapping[Row, _Entry]
    absent: Mapping[Row, str]  # why there is no figure
    unfinished: bool  # whether a mean lacks cells, so that nothing leads yet


def _leading(metrics: Mapping[str, Metric], choice: Choice) -> dict[str, Metric]:
    """Those that papers print, or all that were chosen."""
    directed = {name: metric for name, metric in metrics.items() if metric.better != "neither"}
    if choice.metrics:
        return directed
    names = next((names for names in LEADING if set(names) <= directed.keys()), tuple(directed)[:FALLBACK])
    return {name: directed[name] for name in names}


def _of_table(run: Run, table: Table, choice: Choice, missing: Sequence[CellLabels]) -> _Column:
    metrics = _leading(table.metrics, choice)
    entries: dict[Row, _Entry] = {}
    for line in table.lines:
        figures = dict(zip(table.metrics, line.figures, strict=True))
        partial = line.result.images if line.result.partial else 0
        entries[line.model, line.method or ""] = _Entry(
            {name: Figure(metrics[name], figures[name].value, partial=partial) for name in metrics},
            [line.result],
            run.replicates(line.result).get,
            not line.result.partial,
            line.facts.outliers,
        )
    here = (table.protocol, table.dataset)
    absent = unanswered(result for result in run.results if (result.labels.protocol, result.labels.dataset) == here)
    absent |= pending(missing, table.protocol, [table.dataset], {*entries, *absent})
    about = of_images(*table.images)
    return _Column(
        Block(table.protocol, table.title, table.version, table.dataset, about, metrics, False), entries, absent, False
    )


def _of_grids(run: Run, grids_: Sequence[Grid], choice: Choice, missing: Sequence[CellLabels]) -> Iterator[_Column]:
    """One for all networks of a grid."""
    alike: dict[tuple[str, str, str], list[Grid]] = {}
    for grid in grids_:
        alike.setdefault((grid.protocol, grid.name, grid.version), []).append(grid)
    for members in alike.values():
        first = members[0]
        metrics = _leading(first.directed, choice)
        entries: dict[Row, _Entry] = {}
        absent: dict[Row, str] = {}
        unfinished = False
        for grid in members:
            for row in grid.rows:
                lines = {name: grid.views[name].of(row) for name in metrics}
                unfinished |= any(line.means[GRID].unfinished for line in lines.values())
                entries[(grid.model, row.name) if grid.model is not None else (row.name, "")] = _Entry(
                    {name: grid_mean(line, None, metrics[name]) for name, line in lines.items()},
                    row.at(GRID),
                    _draws_of(lines),
                    True,
                    row.outliers,
                )
            absent |= unanswered(grid.results)
            absent |= pending(missing, grid.protocol, list(grid.datasets), {*entries, *absent})
        block = Block(first.protocol, first.title, first.version, first.name, f"mean over {first.size}", metrics, True)
        yield _Column(block, entries, absent, unfinished)


def _draws_of(lines: Mapping[str, grids.Line]) -> Callable[[str], Draws | None]:
    return lambda name: lines[name].means[GRID].draws


def _group(
    outliers: bool,
    members: Sequence[Row],
    columns: Sequence[_Column],
    facts: Mapping[tuple[str, str | None], Facts],
    notes: dict[str, int],
    remarks: dict[str, None],
) -> Group:
    by_column = [_ranked(column, members) for column in columns]
    most = max(len(ranked) for ranked in by_column)
    counted = tuple(index for index, ranked in enumerate(by_column) if most > 1 and 2 * len(ranked) > most)
    marked = [_marked(column, members, remarks) for column in columns]
    lines = []
    for row in members:
        figures: list[Figure] = []
        for column, marks in zip(columns, marked, strict=True):
            reason = Undefined(column.absent.get(row, NOT_ASKED))
            entry = column.entries.get(row)
            for name, metric in column.block.metrics.items():
                first, near = marks[name]
                figure = entry.figures[name] if entry else Figure(metric, reason)
                figures += numbered([replace(figure, best=row == first, level=row in near)], notes)
        known = [by_column[index][row] for index in counted if row in by_column[index]]
        rank = MeanRank(float(np.mean(known)), len(known), len(counted)) if known else None
        entries = [column.entries.get(row) for column in columns]
        results = tuple(entry.results[0] if entry and entry.results else None for entry in entries)
        copied = any(reference(result) for result in results if result)
        of_row = facts.get((row[0], row[1] or None))
        lines.append(
            Line(*row, copied, of_row, rank, tuple(each.get(row) for each in by_column), tuple(figures), results)
        )
    return Group(outliers, tuple(sorted(lines, key=_order)), counted)


def _order(line: Line) -> tuple[bool, int, float]:
    """Those with all ranks first, by their mean; then those with fewer."""
    rank = line.rank
    return (True, 0, 0.0) if rank is None else (not rank.complete, -rank.blocks, rank.value)


def _values(column: _Column, members: Sequence[Row], name: str) -> dict[Row, Value]:
    """The rows that compete in a column."""
    entries = {row: column.entries[row] for row in members if row in column.entries and column.entries[row].competes}
    figures = {row: entry.figures[name].value for row, entry in entries.items()}
    return {row: value for row, value in figures.items() if isinstance(value, Value)}


def _ranked(column: _Column, members: Sequence[Row]) -> dict[Row, int]:
    """The ranks by the first figure of a block."""
    name, metric = next(iter(column.block.metrics.items()))
    return ranks({row: value.value for row, value in _values(column, members, name).items()}, metric)


def _marked(
    column: _Column, members: Sequence[Row], remarks: dict[str, None]
) -> dict[str, tuple[Row | None, frozenset[Row]]]:
    """By metric the row that leads clearly, also in the digits shown, and those not clearly behind the first."""
    marks: dict[str, tuple[Row | None, frozenset[Row]]] = {}
    for name, metric in column.block.metrics.items():
        values = {} if column.unfinished else _values(column, members, name)
        results = {row: column.entries[row].results for row in values}
        draws = {row: column.entries[row].draws(name) for row in values}
        near, remark = level(values, results, draws.get, name, metric)
        if remark:
            remarks[remark] = None
        shown = [number(value.value, metric) for value in values.values()]
        alone = next(iter(near)) if len(near) == 1 else None
        clear = alone if alone and shown.count(number(values[alone].value, metric)) == 1 else None
        marks[name] = clear, near
    return marks
