"""Results as tables for a terminal of any width."""

from __future__ import annotations

import io
import shutil
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text
from tabulate import tabulate

from bench.api import Undefined, Value
from bench.report import grids, leaderboard, paper
from bench.report import text as shown
from bench.report.grids import GRID, Place, View
from bench.report.leaderboard import Figure, Line, Table
from bench.report.selection import Choice
from bench.report.text import Style
from bench.report.words import line as one_line
from bench.results.store import Run
from bench.results.summary import Mean

NAMES = (None, 32, 24, 18, 14)  # columns that names may take, in narrow terminals the fewer


def render(run: Run, width: int | None = None, choice: Choice | None = None, *, styled: bool = False) -> str:
    """One table per protocol and data set; figures of rates in percent, intervals where there is room.

    A grid of corruptions is an overview, a table by corruption and that of the first method by severity. What is best
    is bold if ``styled``: with the codes that a terminal understands, and a file does not.
    """
    choice = choice or Choice()
    style = Style.of(choice, intervals=True)
    columns = width or shutil.get_terminal_size((120, 40)).columns
    console = Console(file=io.StringIO(), width=columns, force_terminal=styled, highlight=False)
    found, missing = grids.grids(run), shown.pending(run)
    for table in leaderboard.tables(run, grids.apart(run, found), baseline=choice.baseline):
        _print(console, table, style, missing.get((table.protocol, table.dataset), ""))
    for grid in found:
        _corrupted(console, grid, style)
    if run.missing:
        console.print(f"{len(run.results)} of {len(run.plan.keys)} cells are finished; the same 'bench run' goes on.")
    if choice.baseline:
        console.print(_text(shown.baseline(choice.baseline)))
    for said in (*shown.about(run), *([run.plan.note] if run.plan.note else [])):
        console.print(_text(said))
    assert isinstance(console.file, io.StringIO)  # noqa: S101 - set three lines above
    return console.file.getvalue().rstrip("\n")


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


def slices(rows: Sequence[Mapping[str, Any]], *, markdown: bool = False) -> str:
    """A table per cell and axis, a part per line and a figure per column, of ``bench.results.records.slices``."""
    tables: dict[tuple[str, str], dict[str, dict[str, str]]] = {}
    for row in rows:
        named = (str(row[axis]) for axis in ("protocol", "model", "dataset", "method") if row[axis])
        cell = one_line(" / ".join(named))
        line = tables.setdefault((cell, row["slice"]), {}).setdefault(row["part"], {"images": str(row["images"])})
        line[row["metric"]] = _sliced(row)
    style = "github" if markdown else "simple"
    parts = [
        f"{cell}\n\n" + tabulate([{axis: part, **line} for part, line in lines.items()], headers="keys", tablefmt=style)
        for (cell, axis), lines in tables.items()
    ]
    return "\n\n".join(parts)


def _sliced(row: Mapping[str, Any]) -> str:
    if row["value"] is None:
        return f"n/a ({row['reason']})"
    return f"{row['value']:.4f}" + (f" ± {row['err']:.1g}" if row["err"] >= 5e-5 else "")


def differences(found: Sequence[Any], width: int | None = None) -> str:
    """A line per pair of cells and metric, of ``bench.results.compare``. A star marks a clear difference.

    Where one table of all pairs is too wide, there is one for each pair; in narrow ones A and B go, their difference
    stays.
    """
    columns = width or shutil.get_terminal_size((120, 40)).columns
    pairs = dict.fromkeys(f"A: {one.first}, B: {one.second}" for one in found)
    shared = [
        {"cell": one_line(one.cell)} | ({"which": one_line(f"{one.first} / {one.second}")} if len(pairs) > 1 else {})
        for one in found
    ]
    text = _simple([start | _difference(one, {}) for start, one in zip(shared, found, strict=True)])
    if max(map(len, text.splitlines())) <= columns:
        return f"{one_line('; '.join(pairs))}\n\n{text}"
    groups: dict[tuple[str, ...], list[Any]] = {}
    for one in found:
        groups.setdefault((one.cell, one.first, one.second), []).append(one)
    reasons: dict[str, int] = {}
    for one in found:
        if one.lo is None and one.reason:
            reasons.setdefault(one_line(one.reason), len(reasons) + 1)
    parts = []
    for (cell, first, second), members in groups.items():
        rows = [_difference(one, reasons) for one in members]
        text = _simple(rows)
        if max(map(len, text.splitlines())) > columns:
            text = _simple([{name: said for name, said in row.items() if name not in {"A", "B"}} for row in rows])
        head = one_line(f"{cell}; A: {first}, B: {second}".removeprefix("; "))
        parts.append("\n".join([*textwrap.wrap(head, columns), text]))
    notes = [textwrap.fill(f"[{number}] {reason}", columns) for reason, number in reasons.items()]
    return "\n\n".join([*parts, *(["\n".join(notes)] if notes else [])])


def _difference(one: Any, reasons: Mapping[str, int]) -> dict[str, str]:
    """The columns of a difference; a reason by its number where it has one."""
    between = None if one.lo is None or one.hi is None else f"[{one.lo:+.4f}, {one.hi:+.4f}]"
    reason = one_line(one.reason or "")
    return {
        "metric": one_line(one.metric),
        "A": "n/a" if one.one is None else f"{one.one:.4f}",
        "B": "n/a" if one.other is None else f"{one.other:.4f}",
        "B - A": "n/a" if one.difference is None else f"{one.difference:+.4f}",
        "paired 95 %": between or (f"[{reasons[reason]}]" if reason in reasons else reason),
        "": "*" if one.clear else "",
    }


def _simple(rows: Sequence[Mapping[str, str]]) -> str:
    text: str = tabulate(rows, headers="keys", tablefmt="simple", disable_numparse=True)
    return text


def images(found: Sequence[Any], top: int) -> str:
    """The images that changed most under each pair of cells, as ``bench.results.compare.by_image`` has them."""
    pairs: dict[tuple[str, ...], list[Any]] = {}
    for one in found:
        pairs.setdefault((one.cell, one.first, one.second, one.metric), []).append(one)
    parts = []
    for (cell, first, second, metric), members in pairs.items():
        known = [one for one in members if one.difference is not None]
        lines = [
            {
                "image": one_line(one.image),
                "A": f"{one.one:.4f}",
                "B": f"{one.other:.4f}",
                "B - A": f"{one.difference:+.4f}",
                "tags": one_line(", ".join(f"{axis} {tag}" for axis, tag in one.tags.items())),
            }
            for one in known[:top]
        ]
        more = len(known) - len(lines)
        counts = [f"{len(known)} images have the figure in both"] if known else ["no image has the figure in both"]
        counts += [f"{more} more are not listed"] * (more > 0)
        head = one_line(f"{cell}: {metric} by image; A: {first}, B: {second}".removeprefix(": "))
        body = _simple(lines) if lines else ""
        parts.append("\n\n".join(filter(None, (head, body, "; ".join(counts) + "."))))
    return "\n\n".join(parts)
