"""A run and a comparison as HTML below a cell of a notebook: the tables of the page, without its script and charts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from bench.api import Undefined
from bench.core import html_text
from bench.core.html_text import lines, plain
from bench.report import layout, listings
from bench.report.document import Document
from bench.report.figures import Figure
from bench.report.grids import Grid
from bench.report.layout import Column, Lacking, Marked, Name, Tabular
from bench.report.leaderboard import Table
from bench.report.text import ARROWS, Style, certified, percent
from bench.results.compare import Difference


def run_html(document: Document) -> str:
    """Return the tables of a run, and what is missing of it."""
    return "\n".join(_parts(document))


def differences_html(entries: Sequence[Difference], remarks: Sequence[str]) -> str:
    """Return a line per figure that differs between two runs, then remarks on the two."""
    rows = listings.difference_rows(entries)
    table = [html_text.table_of(rows)] if rows else []
    return "\n".join([*lines([listings.sides(entries)]), *table, *lines([*listings.below(entries), *remarks])])


def _parts(document: Document) -> Iterator[str]:
    run, style = document.run, Style.of(document.choice, intervals=True)
    for table in document.tables:
        yield from _table(table, style, document.pending.get((table.protocol, table.dataset), ""))
    for grid in document.grids:
        yield from _grid(grid, style)
    for points in filter(lambda table: table.own, document.summaries):  # operating points; means stand in pages
        yield _heading(f"{points.name}: {points.protocol}")
        yield _html(layout.summary(points), style)
        yield from _notes(points.notes)
    if not document.tables and not document.grids:
        yield from lines(["No results yet."])
    if run.missing:
        yield from lines([f"{len(run.results)} of {len(run.plan.keys)} cells are finished."])
    failed = [f"failed: {cause}" for cause in document.failures]
    yield from lines([*failed, *filter(None, (document.baseline, *document.remarks, run.plan.note))])


def _table(table: Table, style: Style, missing: str) -> Iterator[str]:
    yield _heading(f"{table.title} on {table.dataset}" + (f", {table.model}" if table.model else ""))
    if table.lines:
        tabular = layout.board(table, {})
        for group in tabular.groups:
            yield from [f"<div><b>{plain(group.title)}</b></div>"] if group.title else []
            yield _html(tabular, style, group.rows)
    yield from _notes(table.notes)
    yield from lines([*([f"no result yet: {missing}"] if missing else []), *table.remarks])
    # Where no row is left, the reason is the data set's and the pairs add nothing.
    pairs = [f" ({', '.join(absence.pairs)})" if table.lines else "" for absence in table.absences]
    absent = zip(table.absences, pairs, strict=True)
    yield from lines([f"n/a: {absence.reason}{named}" for absence, named in absent])


def _grid(grid: Grid, style: Style) -> Iterator[str]:
    yield _heading(f"{grid.title} on {grid.name}" + (f", {grid.model}" if grid.model else ""))
    yield from lines([f"{grid.size}; means over the cells"])
    if grid.rows:
        view = grid.views[grid.leading]
        yield f"<div><b>{plain(view.metric.title)}</b></div>"
        yield _html(layout.overview(grid, view), style, outliers=view.mixed)
        yield from lines([f"no mean: {reason}" for reason in view.incomplete])
        if every := layout.every_metric(grid):
            yield "<div><b>every metric</b></div>"
            yield _html(every, style, outliers=view.mixed)


def _html(
    tabular: Tabular, style: Style, rows: Sequence[Sequence[Any]] | None = None, *, outliers: bool = False
) -> str:
    """Return all rows, or those given; ``outliers`` says whether rows that saw such data are marked."""
    columns = tabular.columns
    body = [
        [_cell(column, content, style, outliers=outliers) for column, content in zip(columns, row, strict=True)]
        for row in (tabular.rows if rows is None else rows)
    ]
    sides = ["right" if column.numeric else "left" for column in columns]
    return html_text.table([_title(column) for column in columns], body, sides)


def _title(column: Column) -> str:
    metric = column.metric
    return plain(column.title) + ((" %" if percent(metric) else "") + ARROWS[metric.better] if metric else "")


def _cell(column: Column, content: Any, style: Style, *, outliers: bool) -> str:
    if isinstance(content, Name):
        marks = content.marks(outliers=outliers)
        return plain(content.text) + (f" <small>({', '.join(marks)})</small>" if marks else "")
    if isinstance(content, Lacking | Marked):
        return content.text(style)
    if isinstance(content, Figure):
        change = column.kind == "change"
        return plain(style.change(content.change, content.metric)) if change else _figure(content, style)
    return "" if content is None else plain(str(content))


def _figure(figure: Figure, style: Style) -> str:
    value, metric = figure.value, figure.metric
    if isinstance(value, Undefined):
        return f"n/a<sup>{figure.note}</sup>"
    number, between = style.number(value.value, metric), style.interval(value, metric)
    parts = [f"<b>{number}</b>" if figure.best else number, certified(value.err, metric)]
    return " ".join(filter(None, parts)) + (f"<br><small>{between}</small>" if between else "")


def _heading(words: str) -> str:
    return f"<h4>{plain(words)}</h4>"


def _notes(reasons: Sequence[str]) -> list[str]:
    return [f"<div><sup>{number}</sup> {plain(reason)}</div>" for number, reason in enumerate(reasons, 1)]
