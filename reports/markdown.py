"""Results as GitHub Markdown, to be pasted into an issue, a README or a draft."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from tabulate import tabulate

from bench.api import Format, Metric, Undefined, Value
from bench.report import grids, leaderboard, paper
from bench.report import text as shown
from bench.report.document import Document
from bench.report.grids import CLEAN, GRID, Grid, Place, View
from bench.report.leaderboard import Figure, Group, Line, Summary, SummaryTable, Table
from bench.report.paper import Column, Paper
from bench.report.selection import Choice
from bench.report.text import Style
from bench.report.words import line as one_line
from bench.results.store import Run
from bench.results.summary import Mean

ARROWS = {"higher": " ↑", "lower": " ↓", "neither": ""}
READING = "Rates in percent; ↑ higher and ↓ lower is better"
BOLD = "Bold is the best of its column and group, where its paired difference to every other row excludes 0."


@dataclass(frozen=True)
class Markdown(Format):
    """Every table with footnotes and definitions; or one, methods by data sets."""

    name: ClassVar[str] = "md"
    source: ClassVar[str] = "https://github.github.com/gfm"
    suffix: ClassVar[str] = ".md"
    tables: ClassVar[frozenset[str]] = frozenset({"all", "paper"})

    def write(self, document: Document) -> str:
        parts = _paper(document.paper, document.choice) if document.table == "paper" else _parts(document)
        return "\n\n".join([*_head_lines(document.run), *parts]) + "\n"


def _head_lines(run: Run) -> Iterator[str]:
    yield f"# {escape(run.plan.title or run.plan.name)}"
    if run.plan.note:
        yield f"> **{escape(run.plan.note)}**"
    if run.missing:
        yield f"{len(run.results)} of {len(run.plan.keys)} cells. The others have not been computed yet."
    yield from map(escape, shown.about(run))


def _parts(document: Document) -> Iterator[str]:
    run, choice, tables, found = document.run, document.choice, document.tables, document.grids
    style = Style.of(choice, intervals=True)
    if not tables and not found:
        yield "No results yet."
        return
    between = "in brackets the 95 % interval of the bootstrap over images. " if style.intervals else ""
    yield f"{READING}; {between}{BOLD}"
    if choice.baseline:
        yield escape(shown.baseline(choice.baseline))
    pending = shown.pending(run)
    for table in tables:
        yield f"## {escape(table.title)}: {escape(table.dataset)}"
        missing = pending.get((table.protocol, table.dataset), "")
        yield from _table(table, style, paper.columns(choice.columns), missing)
    for grid in found:
        yield f"## {escape(grid.title)}: {escape(grid.name)}"
        yield from _corrupted(grid, style)
    for summary_table in document.summaries:
        yield f"## {escape(summary_table.name)}: {escape(summary_table.protocol)}"
        yield _summaries(summary_table, style)
        yield from _notes(summary_table.notes)
    yield "## Definitions"
    yield from _definitions([*tables, *found])


def escape(text: str) -> str:
    """One line that renders as the text it is: no markup, no HTML, no second cell."""
    line = one_line(text)
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    line = re.sub(r"([\\`*\[\]|~$#])", r"\\\1", line)
    return re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", line)  # inside a word it is no emphasis


def _table(table: Table, style: Style, extra: Mapping[str, Column], missing: str) -> Iterator[str]:
    if table.lines:
        about = [f"{' or '.join(map(str, table.images))} images"]
        if table.model:
            about.append(f"model {escape(table.model)}")
        if table.ranking:
            about.append(f"ranked by {escape(table.ranking.title)}")
        yield ", ".join(about) + "."
    for group in table.groups:
        if len(table.groups) > 1 or group.outliers:
            trained = "Trained with outlier data" if group.outliers else "Trained without outlier data"
            yield f"**{trained}**"
        yield _group(table, group, style, extra)
    yield from _notes(table.notes)
    if any(paper.reference(line.result) for line in table.lines):
        yield f"Reference: {paper.REFERENCE}."
    if missing:
        yield f"No result yet: {escape(missing)}."
    for absence in table.absences:
        yield f"Not applicable: {escape(', '.join(absence.pairs))}: {escape(absence.reason)}"
    yield from table.remarks


def _group(table: Table, group: Group, style: Style, extra: Mapping[str, Column]) -> str:
    names = ["#", *_names(table.scored, table.model is None), *(escape(column.title) for column in extra.values())]
    moved = [any(line.figures[place].change for line in table.lines) for place, _ in enumerate(table.metrics)]
    rows = [
        [
            "–" if line.rank is None else line.rank,
            *_name(table, line),
            *(escape(column.text(line.facts, line.result)) or "–" for column in extra.values()),
            *_figures(line.figures, moved, style),
        ]
        for line in group.lines
    ]
    heads = [
        head
        for metric, changed in zip(table.metrics.values(), moved, strict=True)
        for head in (_head(metric), *(["Δ"] * changed))
    ]
    return _pipes(names, heads, rows)


def _figures(figures: Sequence[Figure], moved: Sequence[bool], style: Style) -> Iterator[str]:
    """The figures of a row, each followed by its change where the column has one."""
    for figure, changed in zip(figures, moved, strict=True):
        yield _figure(figure, style)
        if changed:
            yield escape(style.change(figure.change, figure.metric))


def _paper(table: Paper, choice: Choice) -> Iterator[str]:
    if not table.rows:
        yield "No results yet."
        return
    style, extra = Style.of(choice, intervals=False), paper.columns(choice.columns)
    moved = [any(row.figures[place].change for row in table.rows) for place, _ in enumerate(table.metrics)]
    named = [f"{block.dataset}, {block.protocol}" if block.protocol else block.dataset for block in table.blocks]
    changed = iter(moved)
    heads = [
        head
        for block, name in zip(table.blocks, named, strict=True)
        for metric in block.metrics.values()
        for head in (f"{escape(name)}<br>{_head(metric)}", *(["Δ"] * next(changed)))
    ]
    several = len(table.sections) > 1
    names = ["Model"] * several + ["Method", *(escape(column.title) for column in extra.values())]
    rows = []
    for section in table.sections:
        for row in section.rows:
            marks = [mark for mark, on in (("outlier data", row.outliers), ("reference", row.reference)) if on]
            said = [escape(column.text(row.facts, row.result)) if row.facts else "" for column in extra.values()]
            cells = list(_figures(row.figures, moved, style))
            for place, images in enumerate(row.partial):
                if images:
                    column = place + sum(moved[:place])
                    cells[column] += f" (partial, {images} images)"
            name = escape(row.method) + (f" ({', '.join(marks)})" if marks else "")
            rows.append([*([escape(section.model)] * several), name, *(one or "–" for one in said), *cells])
    yield f"{READING}. {BOLD}"
    if choice.baseline:
        yield escape(shown.baseline(choice.baseline))
    yield _pipes(names, heads, rows)
    yield from _notes(table.notes)
    if any(row.outliers for row in table.rows):
        yield f"Outlier data: {paper.OUTLIERS}."
    if any(row.reference for row in table.rows):
        yield f"Reference: {paper.REFERENCE}."
    about = [f"{escape(name)}: {escape(block.about)}" for block, name in zip(table.blocks, named, strict=True)]
    yield "; ".join(about) + "."
    yield from map(escape, table.remarks)
    yield "## Definitions"
    for title, source, metrics in table.definitions:
        lines = [
            f"- {escape(metric.title)} ({escape(name)}): {escape(metric.definition)}"
            for name, metric in metrics.items()
        ]
        yield f"**{escape(title)}**. {escape(source)}".rstrip() + "\n\n" + "\n".join(lines)


def _corrupted(grid: Grid, style: Style) -> Iterator[str]:
    """The overview, each corruption, each cell; the same for the other metrics, folded away."""
    about = [grid.size]
    if grid.model:
        about.append(f"model {escape(grid.model)}")
    if grid.rows:
        about.append(f"by {escape(grid.directed[grid.leading].title)}")
    yield ", ".join(about) + "."
    if grid.rows:
        yield (
            "Means are unweighted over the cells: of a severity over its corruptions, of a family over its corruptions "
            "and severities. A mean that lacks a cell is no figure but says how many are there."
        )
        view = grid.view(grid.leading)
        yield from _view(grid, view, style)
        yield from _cells(grid, view, style)
        if len(grid.directed) > 1:
            yield "**Mean over the grid, every metric**"
            yield _every_metric(grid, style)
        for name in list(grid.directed)[1:]:
            yield from _folded(escape(grid.directed[name].title), _view(grid, grid.view(name), style))
    for absence in grid.absences:
        yield f"Not applicable: {escape(', '.join(absence.pairs))}: {escape(absence.reason)}"
    yield (
        f"The tables of the {len(grid.datasets)} data sets one by one are left out: `bench report RUN` writes a page "
        "with them, and `bench show RUN --format json` prints every figure."
    )


def _view(grid: Grid, view: View, style: Style) -> Iterator[str]:
    ranks = [["–" if line.rank is None else line.rank] * view.ranked for line in view.lines]
    rows = [
        [
            *rank,
            _row(line, view),
            *(_mean(line, place, view, style, interval=place in (CLEAN, GRID)) for place in grid.places),
        ]
        for rank, line in zip(ranks, view.lines, strict=True)
    ]
    names = ["#"] * view.ranked + [_kind(grid)]
    yield f"**{escape(view.metric.title)}**, means"
    yield _pipes(names, [_over(place, view.metric) for place in grid.places], rows)
    if view.incomplete:
        yield f"No mean: {escape('; '.join(view.incomplete))}"
    if len(view.lines) > 1 and len(grid.corruptions) > 1:
        yield f"**{escape(view.metric.title)} by corruption**, means over the severities; bold is the best of its row"
        rows = [
            [
                name,
                family,
                *(_mean(line, Place("corruption", name), view, style, interval=False) for line in view.lines),
            ]
            for family, names in grid.families.items()
            for name in names
        ]
        yield _pipes(["Corruption", "Family"], [_row(line, view) for line in view.lines], rows)


def _cells(grid: Grid, view: View, style: Style) -> Iterator[str]:
    for index, line in enumerate(view.lines):
        over = [(name, Place("corruption", name)) for name in grid.corruptions]
        rows: list[list[Any]] = [
            [
                name,
                *(_cell(line, (name, severity), view, style) for severity in grid.severities),
                _mean(line, place, view, style, interval=False, best=False),
            ]
            for name, place in over
        ]
        severities = [Place("severity", severity) for severity in grid.severities]
        means = [_mean(line, place, view, style, interval=False, best=False) for place in (*severities, GRID)]
        rows.append(["mean", *means])
        text = _pipes(["Corruption"], [*(f"severity {each}" for each in grid.severities), "mean"], rows)
        title = f"{escape(line.row.name)}: {escape(view.metric.title)} by corruption and severity"
        if index:
            yield from _folded(title, [text])
        else:
            yield f"**{title}**"
            yield text
    marks = {mark: said for line in view.lines for mark, said in line.marks.items()}
    if marks:
        yield "; ".join(f"{mark} {said}" for mark, said in marks.items()) + "."


def _folded(title: str, parts: Iterable[str]) -> Iterator[str]:
    yield f"<details><summary>{title}</summary>"
    yield from parts
    yield "</details>"


def _every_metric(grid: Grid, style: Style) -> str:
    views = [grid.view(name) for name in grid.directed]
    rows = []
    for line in views[0].lines:
        same = [next(other for other in view.lines if other.row is line.row) for view in views]
        figures = [_mean(other, GRID, view, style, interval=True) for other, view in zip(same, views, strict=True)]
        rows.append([_row(line, views[0]), *figures])
    return _grid([_kind(grid)], grid.directed, rows)


def _kind(grid: Grid) -> str:
    return "Method" if grid.scored else "Model"


def _row(line: grids.Line, view: View) -> str:
    mixed = len({other.row.outliers for other in view.lines}) > 1
    return escape(line.row.name) + (" (outlier data)" if line.row.outliers and mixed else "")


def _over(place: Place, metric: Metric) -> str:
    return escape(place.title) + ((" %" if leaderboard.percent(metric) else "") + ARROWS[metric.better]) * (
        place == GRID
    )


def _mean(line: grids.Line, place: Place, view: View, style: Style, *, interval: bool, best: bool = True) -> str:
    mean: Mean = line.means[place]
    if mean.value is None:
        return f"{mean.cells} of {mean.of}"
    value = Value(mean.value, mean.err, mean.lo if interval else None, mean.hi if interval else None)
    return _figure(Figure(view.metric, value, best and place in line.best), style)


def _cell(line: grids.Line, spot: grids.Spot, view: View, style: Style) -> str:
    figure, mark = line.figure(spot), line.mark(spot)
    return style.number(figure.value, view.metric) + mark if isinstance(figure, Value) else mark


def _names(scored: bool, models: bool) -> list[str]:
    return ["Method"] * scored + ["Model"] * models


def _name(table: Table, line: Line) -> Iterator[str]:
    marks = [f"partial, {line.result.images} images"] * line.result.partial + ["reference"] * paper.reference(
        line.result
    )
    names = [escape(line.method)] if line.method is not None else [""] * table.scored
    names += [escape(line.model)] * (table.model is None)
    yield names[0] + (f" ({', '.join(marks)})" if marks else "")
    yield from names[1:]


def _figure(figure: Figure, style: Style) -> str:
    value, metric = figure.value, figure.metric
    if isinstance(value, Undefined):
        return f"n/a<sup>{figure.note}</sup>"
    number, between = style.number(value.value, metric), style.interval(value, metric)
    parts = [f"**{number}**" if figure.best else number, leaderboard.certified(value.err, metric)]
    return " ".join(part for part in (*parts, f"({between})" if between else "") if part)


def _summaries(table: SummaryTable, style: Style) -> str:
    rows = [
        [
            *([escape(line.part)] * table.parted),
            *([escape(line.method or "")] * table.scored),
            escape(line.model),
            line.cells,
            *(
                _summary(table, summary, metric, style)
                for summary, metric in zip(line.summaries, table.metrics.values(), strict=True)
            ),
        ]
        for line in table.lines
    ]
    return _grid([*(["Of"] * table.parted), *_names(table.scored, True), "Cells"], table.metrics, rows)


def _summary(table: SummaryTable, summary: Summary | None, metric: Metric, style: Style) -> str:
    if summary is None or summary.value is None:
        return f"n/a<sup>{table.note(summary)}</sup>"
    return _figure(Figure(metric, Value(summary.value, 0.0, summary.lo, summary.hi)), style)


def _grid(names: list[str], metrics: Mapping[str, Metric], rows: list[list[Any]]) -> str:
    return _pipes(names, [_head(metric) for metric in metrics.values()], rows)


def _pipes(names: list[str], figures: list[str], rows: list[list[Any]]) -> str:
    heads = [*names, *figures]
    sides = ["right" if name == "#" else "left" for name in names] + ["right"] * len(figures)
    text: str = tabulate(rows, headers=heads, tablefmt="pipe", colalign=sides, disable_numparse=True)
    return text


def _head(metric: Metric) -> str:
    return escape(metric.title) + (" %" if leaderboard.percent(metric) else "") + ARROWS[metric.better]


def _notes(reasons: Sequence[str]) -> Iterator[str]:
    if reasons:
        yield "  \n".join(f"<sup>{number}</sup> {escape(reason)}" for number, reason in enumerate(reasons, 1))


def _definitions(tables: Sequence[Table | Grid]) -> Iterator[str]:
    seen = set()
    for table in tables:
        if (table.protocol, table.version) not in seen:
            seen.add((table.protocol, table.version))
            known = [escape(table.protocol)] * (table.protocol != table.title)
            known += [f"version {escape(table.version)}"] * bool(table.version)
            named = f"**{escape(table.title)}**" + (f" ({', '.join(known)})" if known else "")
            lines = [f"{named}. {escape(table.source)}".rstrip()]
            lines += [
                f"- {escape(metric.title)} ({escape(name)}): {escape(metric.definition)}"
                for name, metric in table.metrics.items()
            ]
            yield lines[0] + "\n\n" + "\n".join(lines[1:])
