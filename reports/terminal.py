"""Results as tables for a terminal of any width."""

from __future__ import annotations

import io
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from bench.api import Format, Undefined, Value
from bench.report import grids, leaderboard, paper
from bench.report import text as shown
from bench.report.document import Document
from bench.report.grids import GRID, Place, View
from bench.report.leaderboard import Figure, Line, Table
from bench.report.text import Style
from bench.report.words import line as one_line
from bench.results.summary import Mean

NAMES = (None, 32, 24, 18, 14)  # columns that names may take, in narrow terminals the fewer


@dataclass(frozen=True)
class Terminal(Format):
    """One table per protocol and data set; figures of rates in percent, intervals where there is room.

    A grid of corruptions is an overview, a table by corruption and that of the first method by severity. What is best
    is bold if ``styled``: with the codes that a terminal understands, and a file does not.
    """

    name: ClassVar[str] = "terminal"
    source: ClassVar[str] = "https://rich.readthedocs.io"
    width: int | None = None  # columns; None for those of the terminal
    styled: bool = False

    def write(self, document: Document) -> str:
        columns = self.width or shutil.get_terminal_size((120, 40)).columns
        console = Console(file=io.StringIO(), width=columns, force_terminal=self.styled, highlight=False)
        _print_all(console, document)
        assert isinstance(console.file, io.StringIO)  # noqa: S101 - set three lines above
        return console.file.getvalue().rstrip("\n")


def _print_all(console: Console, document: Document) -> None:
    run, choice = document.run, document.choice
    style, missing = Style.of(choice, intervals=True), shown.pending(run)
    for table in document.tables:
        _print(console, table, style, missing.get((table.protocol, table.dataset), ""))
    for grid in document.grids:
        _corrupted(console, grid, style)
    if run.missing:
        console.print(f"{len(run.results)} of {len(run.plan.keys)} cells are finished; the same 'bench run' goes on.")
    if choice.baseline:
        console.print(_text(shown.baseline(choice.baseline)))
    for said in (*shown.about(run), *([run.plan.note] if run.plan.note else [])):
        console.print(_text(said))


def _text(words: str, style: str = "") -> Text:
    """On one line, whatever the words contain; the console folds it."""
    return Text(one_line(words), style=style)


def _print(console: Console, table: Table, style: Style, missing: str) -> None:
    console.print(_text(f"{table.title} on {table.dataset}" + (f", {table.model}" if table.model else "")))
    if table.lines:
        for grid in _fitting(table, console.width, style):
            console.print(grid)
    if within := _within(table):
        console.print(_text(f"figures are certified to within {within}"))
    for number, note in enumerate(table.notes, 1):
        console.print(_text(f"[{number}] {note}"))
    if missing:
        console.print(_text(f"no result yet: {missing}"))
    for absence in table.absences:
        # Where no row is left, the reason is the data set's and the pairs add nothing.
        console.print(_text(f"n/a: {absence.reason}" + (f" ({', '.join(absence.pairs)})" if table.lines else "")))
    console.print()


def _within(table: Table) -> str:
    """The widest certified half-width of a table's rates; empty if all are exact."""
    known = [
        (figure.value.err, figure.metric)
        for line in table.lines
        for figure in line.figures
        if isinstance(figure.value, Value) and leaderboard.percent(figure.metric)
    ]
    said: str = leaderboard.certified(*max(known, key=lambda one: one[0])) if known else ""
    return said


def _fitting(table: Table, width: int, style: Style) -> list[Grid]:
    """As few grids as fit: first the intervals go, then names are folded and columns go on below."""
    endless = Console(width=10_000)
    every = list(range(len(table.metrics)))
    bare = replace(style, intervals=False)
    for how in (style, bare):
        grid = _grid(table, every, how)
        if endless.measure(grid).maximum <= width:
            return [grid]
    found: list[Grid] = []
    for longest in NAMES:
        made, left = [], every
        while left:
            for taken in range(len(left), 0, -1):
                grid = _grid(table, left[:taken], bare, longest)
                if endless.measure(grid).maximum <= width:
                    break
            made.append(grid)
            left = left[taken:]
        if not found or len(made) < len(found):
            found = made
    return found


def _grid(table: Table, places: Sequence[int], style: Style, longest: int | None = None) -> Grid:
    """A table of some metrics by place; names take no more than ``longest`` columns."""
    grid = Grid(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1) if style.intervals else (0, 1, 0, 0))
    grid.add_column("#", justify="right")
    grid.add_column("method" if table.scored else "model", overflow="fold", max_width=longest)
    metrics = list(table.metrics.values())
    for place in places:
        grid.add_column(_text(metrics[place].title), justify="right", overflow="fold")
    for group in table.groups:
        for line in group.lines:
            figures = [_figure(line.figures[place], style) for place in places]
            rank = "" if line.rank is None else str(line.rank)
            grid.add_row(rank, _text(_name(line, table, group.outliers)), *figures)
    return grid


def _name(line: Line, table: Table, outliers: bool) -> str:
    name = line.method or line.model
    if line.method and table.model is None:
        name += f" on {line.model}"
    known = (("partial", line.result.partial), ("saw anomalies", outliers), ("reference", paper.reference(line.result)))
    marks = [mark for mark, on in known if on]
    return f"{name} ({', '.join(marks)})" if marks else name


def _figure(figure: Figure, style: Style) -> Text:
    value, metric = figure.value, figure.metric
    if isinstance(value, Undefined):
        return Text(f"n/a [{figure.note}]")
    text = Text(style.number(value.value, metric), style="bold" if figure.best else "")
    if between := style.interval(value, metric):
        text.append(f"\n{between}", style="dim")
    if changed := replace(style, intervals=False).change(figure.change, metric):
        text.append(f"\nΔ {changed}", style="dim")
    return text


def _corrupted(console: Console, grid: grids.Grid, style: Style) -> None:
    console.print(_text(f"{grid.title} on {grid.name}" + (f", {grid.model}" if grid.model else "")))
    console.print(_text(grid.size))
    if grid.rows:
        _views(console, grid, style)
    for absence in grid.absences:
        console.print(_text(f"n/a: {absence.reason}" + (f" ({', '.join(absence.pairs)})" if grid.rows else "")))
    console.print(
        Text("the tables of its data sets one by one: bench report RUN; every figure: bench show --format json")
    )
    console.print()


def _views(console: Console, grid: grids.Grid, style: Style) -> None:
    view = grid.view(grid.leading)
    kind = "method" if grid.scored else "model"
    named = [_row(line, view) for line in view.lines]
    console.print()
    console.print(_text(f"{view.metric.title}, means over the cells"))
    ranks = [("#", ["" if line.rank is None else str(line.rank) for line in view.lines])] if view.ranked else []
    means = [(_short(place), [_mean(line, place, view, style) for line in view.lines]) for place in grid.places]
    if any(line.means[GRID].lo is not None for line in view.lines):
        means.insert(1, ("95 %", [_between(line.means[GRID], view, style) for line in view.lines]))
    _columns(console, [*ranks, (kind, named)], means)
    for reason in view.incomplete:
        console.print(_text(f"no mean: {reason}"))
    rows = [("corruption", list(grid.corruptions))]
    if len(view.lines) > 1 and len(grid.corruptions) > 1:
        console.print()
        console.print(_text(f"{view.metric.title}, means over the severities"))
        over = [Place("corruption", name) for name in grid.corruptions]
        _columns(
            console,
            rows,
            [(_row(line, view), [_mean(line, place, view, style) for place in over]) for line in view.lines],
        )
    if view.lines:
        line = view.lines[0]
        console.print()
        console.print(_text(f"{view.metric.title} of {line.row.name} by severity"))
        cells = [
            (str(each), [_cell(line, (name, each), view, style) for name in grid.corruptions])
            for each in grid.severities
        ]
        _columns(console, rows, cells)
        if line.marks:
            console.print(Text("; ".join(f"{mark} {said}" for mark, said in line.marks.items())))
    if len(grid.directed) > 1:
        console.print()
        console.print(_text("means over the grid, every metric"))
        metrics = []
        for name, metric in grid.directed.items():
            other = grid.view(name)
            by_row = {line.row: line for line in other.lines}
            metrics.append((metric.title, [_mean(by_row[line.row], GRID, other, style) for line in view.lines]))
        _columns(console, [(kind, named)], metrics)


def _columns(
    console: Console, names: Sequence[tuple[str, Sequence[str]]], figures: Sequence[tuple[str, Sequence[Text]]]
) -> None:
    """As few grids side after side as the width takes, each with the names; a column that is too wide stands alone."""
    endless = Console(width=10_000)
    left = list(figures)
    while left:
        for taken in range(len(left), 0, -1):
            grid = Grid(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
            for title, _ in names:
                grid.add_column(title, justify="right" if title == "#" else "left", overflow="fold")
            for title, _ in left[:taken]:
                grid.add_column(_text(title), justify="right", overflow="fold")
            for row in range(len(names[0][1])):
                grid.add_row(*(_text(cells[row]) for _, cells in names), *(cells[row] for _, cells in left[:taken]))
            if endless.measure(grid).maximum <= console.width:
                break
        console.print(grid)
        left = left[taken:]


def _row(line: grids.Line, view: View) -> str:
    mixed = len({other.row.outliers for other in view.lines}) > 1
    return line.row.name + (" (saw anomalies)" if line.row.outliers and mixed else "")


def _mean(line: grids.Line, place: Place, view: View, style: Style) -> Text:
    mean = line.means[place]
    if mean.value is None:
        return Text(f"{mean.cells}/{mean.of}", style="dim")
    return Text(style.number(mean.value, view.metric), style="bold" if place in line.best else "")


def _short(place: Place) -> str:
    return f"sev {place.of}" if place.kind == "severity" else place.title


def _between(mean: Mean, view: View, style: Style) -> Text:
    return Text(leaderboard.interval(mean.lo, mean.hi, view.metric, style.digits), style="dim")


def _cell(line: grids.Line, spot: grids.Spot, view: View, style: Style) -> Text:
    figure, mark = line.figure(spot), line.mark(spot)
    return Text(style.number(figure.value, view.metric) + mark if isinstance(figure, Value) else mark)
