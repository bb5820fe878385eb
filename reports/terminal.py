"""Results as tables for a terminal of any width."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as Drawn
from rich.text import Text

from bench.api import Format, Undefined, Value
from bench.core.printable import one_line
from bench.report import layout, matrix
from bench.report.claims import CLAIMS, Claims
from bench.report.document import Document
from bench.report.figures import Figure
from bench.report.grids import Grid
from bench.report.layout import Column, Lacking, Marked, Name, Tabular
from bench.report.leaderboard import Table, departed
from bench.report.matrix import Leader, Matrix
from bench.report.summaries import SummaryTable
from bench.report.text import Style, certified, percent

NARROW = "{} columns are too few for {} of some tables; bench show --format md has them."
SAW = "† saw anomalies"
LEVEL = "* leads clearly; ~ is first or not clearly worse: the paired 95 % interval of the difference contains 0."
TIED = 3  # names of rows that share the first rank, at most
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
    brief: bool = False  # who stands first in each task, instead of tables

    def write(self, document: Document) -> str:
        columns = self.width or shutil.get_terminal_size((120, 40)).columns
        console = Console(
            file=io.StringIO(),
            width=columns,
            force_terminal=self.styled,
            force_jupyter=False,  # in a notebook it would show what it writes instead of writing it
            highlight=False,
        )
        if self.brief:
            _leaders(console, document)
        else:
            _tables(console, document)
        assert isinstance(console.file, io.StringIO)  # noqa: S101 - set three lines above
        return console.file.getvalue().rstrip("\n")


def _tables(console: Console, document: Document) -> None:
    style = Style.of(document.choice, intervals=True)
    if document.matrix.several:
        _matrix(console, document.matrix, style)
    _claims(console, document.claims, style)
    lacking: dict[str, None] = {}
    for table in document.tables:
        drawn = _table(console, table, style, document.pending.get((table.protocol, table.dataset), ""))
        lacking |= dict.fromkeys(_left_out(table, drawn))
    for grid in document.grids:
        _grid(console, grid, style)
    for points in document.summaries:
        if points.own:  # operating points; means stand in pages
            _points(console, points, style)
    _notes(console, document, NARROW.format(console.width, " and ".join(lacking)) if lacking else "")


def _leaders(console: Console, document: Document) -> None:
    """Print the best of each task in a line, and what is to be known of all of them."""
    style = Style.of(document.choice, intervals=False)
    for index, block in enumerate(document.matrix.blocks):
        first = "; ".join(_leader(each, style) for each in document.matrix.leaders(index))
        console.print(_text(f"{block.title} on {block.dataset}, {block.about}: {first or 'nothing is ranked'}"))
    for reason in dict.fromkeys(absence.reason for table in document.tables for absence in table.absences):
        console.print(_text(f"n/a: {reason}"))
    for sentence in document.claims.sentences:
        console.print(_text(sentence))
    _notes(console, document)


def _leader(leader: Leader, style: Style) -> str:
    """Such as ``energy on toynet, AP 66.10 %, clear lead``."""
    names, rest = leader.names[:TIED], len(leader.names) - TIED
    who = ", ".join(names) + (f" and {rest} more" if rest > 0 else "")
    value, metric = leader.figure.value, leader.figure.metric
    shown = style.number(value.value, metric) if isinstance(value, Value) else "n/a"
    unit, lead = " %" * percent(metric), "clear lead" if leader.lead == "clear" else leader.lead
    return f"{'with outlier data ' * leader.outliers}{who}, {metric.title} {shown}{unit}, {lead}"


def _notes(console: Console, document: Document, narrow: str = "") -> None:
    """Print what is missing, why, and what was left out of all tables."""
    run = document.run
    if run.missing:
        console.print(f"{len(run.results)} of {len(run.plan.keys)} cells are finished; the same 'bench run' goes on.")
    for cause in document.failures:
        console.print(_text(f"failed: {cause}"))
    for sentence in filter(None, (narrow, document.baseline, *document.remarks, run.plan.note)):
        console.print(_text(sentence))


def _text(words: str, style: str = "") -> Text:
    """On one line, whatever the words contain; the console folds it."""
    return Text(one_line(words), style=style)


def _matrix(console: Console, table: Matrix, style: Style) -> None:
    """Every figure of each task where all fit beside each other, else the one that ranks."""
    tabular, bare = layout.matrix(table, short=True), replace(style, intervals=False)
    columns = [replace(each, short=f"T{each.block + 1}") if each.metric else each for each in tabular.columns]
    first = len(columns) - len(table.lines[0].figures)
    ranking = {first + table.start(block) for block in range(len(table.blocks))}
    drawn = _fitting(replace(tabular, columns=columns), console.width, bare)
    if len(drawn) > 1:
        keep = [index for index in range(len(columns)) if index < first or index in ranking]
        groups = [
            group._replace(rows=[[row[index] for index in keep] for row in group.rows]) for group in tabular.groups
        ]
        drawn = _fitting(Tabular([columns[index] for index in keep], groups), console.width, bare)
    console.print(_text(matrix.TITLE))
    for part in drawn:
        console.print(part)
    for number, block in enumerate(table.blocks, 1):
        console.print(_text(f"T{number} {block.name}: {block.about}"))
    console.print(_text(f"{matrix.MEAN_RANK} {LEVEL}"))
    for remark in table.remarks:
        console.print(_text(remark))
    console.print()


def _table(console: Console, table: Table, style: Style, missing: str) -> list[Drawn]:
    """Print a table with what is to be known of it; return what was drawn."""
    console.print(_text(f"{table.title} on {table.dataset}" + (f", {table.model}" if table.model else "")))
    drawn = _fitting(layout.board(table, {}), console.width, style) if table.lines else []
    for part in drawn:
        console.print(part)
    if within := _within(table):
        console.print(_text(f"figures are certified to within {within}"))
    for number, note in enumerate(table.notes, 1):
        console.print(_text(f"[{number}] {note}"))
    for sentence in departed([row.result for row in table.lines]):
        console.print(_text(sentence))
    if missing:
        console.print(_text(f"no result yet: {missing}"))
    for absence in table.absences:
        # Where no row is left, the reason is the data set's and the pairs add nothing.
        console.print(_text(f"n/a: {absence.reason}" + (f" ({', '.join(absence.pairs)})" if table.lines else "")))
    console.print()
    return drawn


def _claims(console: Console, claims: Claims, style: Style) -> None:
    tabular = layout.claims(claims)
    for group, claim in zip(tabular.groups, claims.groups, strict=True):
        console.print(_text(f"{CLAIMS}: {group.title}"))
        console.print(_text(f"claimed by {claim.source} as {claim.called}"))
        _print_columns(console, *_columns(replace(tabular, groups=[group]), style, outliers=False))
    for sentence in claims.sentences:
        console.print(_text(sentence))
    if claims.groups:
        console.print()


def _points(console: Console, table: SummaryTable, style: Style) -> None:
    console.print(_text(f"{table.name}: {table.protocol}"))
    for drawn in _fitting(layout.summary(table), console.width, style):
        console.print(drawn)
    for number, note in enumerate(table.notes, 1):
        console.print(_text(f"[{number}] {note}"))
    console.print()


def _left_out(table: Table, drawn: Sequence[Drawn]) -> Iterator[str]:
    """Yield what there was no room for: intervals, and figures that have no better and worse."""
    if not drawn:
        return
    values = [figure.value for row in table.lines for figure in row.figures]
    if any(isinstance(value, Value) and value.lo is not None for value in values) and drawn[0].padding[3] == 0:
        yield "the 95 % intervals"
    heads = {str(column.header) for each in drawn for column in each.columns}
    yield from (metric.title for metric in table.metrics.values() if metric.title not in heads)


def _within(table: Table) -> str:
    """The widest certified half-width of a table's rates; empty if all are exact."""
    known = [
        (figure.value.err, figure.metric)
        for row in table.lines
        for figure in row.figures
        if isinstance(figure.value, Value) and percent(figure.metric)
    ]
    return certified(*max(known, key=lambda pair: pair[0])) if known else ""


def _fitting(tabular: Tabular, width: int, style: Style) -> list[Drawn]:
    """As few tables as fit.

    First the intervals go, then words become marks and names are folded, then figures go that have no better and
    worse, and at last columns go on below.
    """
    every = [index for index, column in enumerate(tabular.columns) if column.kind == "figure"]
    bare = replace(style, intervals=False)
    for shown in (style, bare):
        drawn = _board(tabular, every, shown)
        if _wide(drawn) <= width:
            return [drawn]
    names = {longest: _wide(_board(tabular, [], bare, longest, terse=True)) for longest in NAMES}
    each = {index: _wide(_board(tabular, [index], bare, terse=True)) - names[None] for index in every}
    directed = [index for index in every if not _neither(tabular.columns[index])] or every
    splits = [_split(figures, each, width - names[longest]) for figures in (every, directed) for longest in NAMES]
    parts = min(splits, key=len)  # the first of those: with most figures, and names as long as possible
    fewest = []
    for part in parts:
        room = width - sum(each[index] for index in part)
        longest = next((longest for longest in NAMES if names[longest] <= room), NAMES[-1])
        fewest.append(_board(tabular, part, bare, longest, terse=True))
    return fewest


def _wide(drawn: Drawn) -> int:
    """Columns of a terminal that a table takes if nothing is folded."""
    return Console(width=10_000).measure(drawn).maximum


def _split(figures: Sequence[int], widths: Mapping[int, int], room: int) -> list[list[int]]:
    """Return figures by table: as many beside each other as there is room for, and at least one."""
    parts: list[list[int]] = []
    left = 0
    for index in figures:
        if not parts or widths[index] > left:
            parts.append([])
            left = room
        parts[-1].append(index)
        left -= widths[index]
    return parts


def _neither(column: Column) -> bool:
    return column.metric is not None and column.metric.better == "neither"


def _board(
    tabular: Tabular, figures: Sequence[int], style: Style, longest: int | None = None, *, terse: bool = False
) -> Drawn:
    """A table of some figures by column; names take no more than ``longest`` columns, and ``terse`` ones have marks."""
    drawn = Drawn(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1) if style.intervals else (0, 1, 0, 0))
    names = [index for index, column in enumerate(tabular.columns) if column.kind == "name"]
    first = tabular.columns[0]  # figures over several cells have no rank, but what they are of where that differs
    led = first.kind != "name"
    if led:
        drawn.add_column(first.short or first.title.lower(), justify="right" if first.numeric else "left")
    drawn.add_column(tabular.columns[names[0]].title.lower(), overflow="fold", max_width=longest)
    saw = any(row[names[0]].outliers for row in tabular.rows if isinstance(row[names[0]], Name))
    drawn.caption, drawn.caption_justify = (SAW, "left") if terse and saw else (None, "left")
    for index in figures:
        drawn.add_column(_head(tabular.columns[index]), justify="right", overflow="fold")
    for row in tabular.rows:
        name = row[names[0]]._replace(text=" on ".join(filter(None, (row[index].text for index in names))))
        drawn.add_row(
            *[_content(row[0], style)] * led,
            _content(name, style, terse=terse),
            *(_content(row[index], style) for index in figures),
        )
    return drawn


def _head(column: Column) -> Text:
    """The title of a figure, in the matrix below the number of its task."""
    return Text("\n").join(_text(part) for part in (column.short, column.title) if part)


def _content(content: Any, style: Style, *, outliers: bool = True, terse: bool = False) -> Text:
    """A cell as a terminal shows it; ``outliers`` says whether rows that saw such data are marked."""
    if isinstance(content, Name):
        saw = outliers and content.outliers
        marks = ["partial"] * bool(content.partial) + ["saw anomalies"] * (saw and not terse)
        marks += ["reference"] * content.reference
        return _text(content.text + " †" * (saw and terse) + (f" ({', '.join(marks)})" if marks else ""))
    if isinstance(content, Lacking):
        return Text(f"{content.cells}/{content.of}", style="dim")
    if isinstance(content, Marked):
        return Text(content.text(style))
    if isinstance(content, Figure):
        return _figure(content, style)
    return _text("" if content is None else str(content))


def _figure(figure: Figure, style: Style) -> Text:
    value, metric = figure.value, figure.metric
    if isinstance(value, Undefined):  # why, the table of the task says
        return Text("– " if figure.level is not None else f"n/a [{figure.note}]")
    text = Text(style.number(value.value, metric), style="bold" if figure.best else "")
    if figure.level is not None:
        text.append("*" if figure.best else "~" if figure.level else " ")
    if between := style.interval(value, metric):
        text.append(f"\n{between}", style="dim")
    if changed := replace(style, intervals=False).change(figure.change, metric):
        text.append(f"\nΔ {changed}", style="dim")
    return text


def _grid(console: Console, grid: Grid, style: Style) -> None:
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


def _views(console: Console, grid: Grid, style: Style) -> None:
    view, bare = grid.views[grid.leading], replace(style, intervals=False)
    title = view.metric.title

    def show(heading: str, tabular: Tabular, *, intervals: bool = False) -> None:
        console.print()
        console.print(_text(heading))
        names, figures = _columns(tabular, bare, outliers=view.mixed)
        of_grid = [row[len(names)] for row in tabular.rows]
        if intervals and any(isinstance(mean, Figure) and _between(mean, style) for mean in of_grid):
            figures.insert(1, ("95 %", [Text(_between(mean, style), style="dim") for mean in of_grid]))
        _print_columns(console, names, figures)

    show(f"{title}, means over the cells", layout.overview(grid, view), intervals=True)
    for reason in view.incomplete:
        console.print(_text(f"no mean: {reason}"))
    if by_corruption := layout.by_corruption(grid, view):
        show(f"{title}, means over the severities", by_corruption.without("Family"))
    first = view.lines[0]
    cells = layout.cells(grid, view, first).without("mean")
    show(f"{title} of {first.row.name} by severity", replace(cells, groups=cells.groups[:-1]))
    if first.marks:
        console.print(Text("; ".join(f"{mark} {meaning}" for mark, meaning in first.marks.items())))
    if every := layout.every_metric(grid):
        show("means over the grid, every metric", every)


def _between(mean: Any, style: Style) -> str:
    """The interval of a mean, also where none is shown beside figures."""
    if not isinstance(mean, Figure) or not isinstance(mean.value, Value):
        return ""
    return replace(style, intervals=True).interval(mean.value, mean.metric)


Cells = tuple[str, list[Text]]  # of a column: its title, and what stands below


def _columns(tabular: Tabular, style: Style, *, outliers: bool) -> tuple[list[Cells], list[Cells]]:
    """The columns of names and those of figures."""
    names: list[Cells] = []
    figures: list[Cells] = []
    for index, column in enumerate(tabular.columns):
        cells = [_content(row[index], style, outliers=outliers) for row in tabular.rows]
        if column.kind in {"figure", "mean"}:
            title = (column.short or column.title) + " (saw anomalies)" * (outliers and column.outliers)
            figures.append((title, cells))
        else:
            names.append((column.title.lower(), cells))
    return names, figures


def _print_columns(console: Console, names: Sequence[Cells], figures: Sequence[Cells]) -> None:
    """As few tables side after side as the width takes, each with the names; a column too wide stands alone."""
    endless = Console(width=10_000)
    rest = list(figures)
    while rest:
        for taken in range(len(rest), 0, -1):
            drawn = Drawn(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
            for title, _ in names:
                drawn.add_column(title, justify="right" if title == "#" else "left", overflow="fold")
            for title, _ in rest[:taken]:
                drawn.add_column(_text(title), justify="right", overflow="fold")
            for row in range(len(names[0][1])):
                drawn.add_row(*(cells[row] for _, cells in (*names, *rest[:taken])))
            if endless.measure(drawn).maximum <= console.width:
                break
        console.print(drawn)
        rest = rest[taken:]
