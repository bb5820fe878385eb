"""Results as GitHub Markdown, to be pasted into an issue, a README or a draft."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from tabulate import tabulate

from bench.api import Format, Metric, Undefined
from bench.core.printable import one_line
from bench.report import facts, layout, matrix, paper
from bench.report.claims import CLAIMS, Claims
from bench.report.document import Document
from bench.report.facts import Fact
from bench.report.figures import Absence, Figure
from bench.report.grids import Grid, View
from bench.report.layout import Column, Lacking, Marked, Name, Tabular
from bench.report.leaderboard import Table
from bench.report.matrix import Matrix
from bench.report.text import ARROWS, Style, certified, of_images, percent

READING = "Rates in percent; ↑ higher and ↓ lower is better"
BOLD = "Bold is the best of its column and group, where its paired difference to every other row excludes 0."
LEVEL = "Italics: the first of its column, or not clearly worse than that: the paired interval contains 0."
MEANS = (
    "Means are unweighted over the cells: of a severity over its corruptions, of a family over its corruptions "
    "and severities. A mean that lacks a cell is no figure but says how many are there."
)


@dataclass(frozen=True)
class Markdown(Format):
    """Every table with footnotes and definitions; or one, methods by data sets."""

    name: ClassVar[str] = "md"
    source: ClassVar[str] = "https://github.github.com/gfm"
    suffix: ClassVar[str] = ".md"
    tables: ClassVar[frozenset[str]] = frozenset({"all", "paper"})

    def write(self, document: Document) -> str:
        parts = _paper(document) if document.table == "paper" else _every(document)
        return "\n\n".join([*_head(document), *parts]) + "\n"


def _head(document: Document) -> Iterator[str]:
    run = document.run
    yield f"# {escape(run.plan.title or run.plan.name)}"
    if run.plan.note:
        yield f"> **{escape(run.plan.note)}**"
    if run.missing:
        yield f"{len(run.results)} of {len(run.plan.keys)} cells. The others have not been computed yet."
    yield from (f"Failed: {escape(cause)}" for cause in document.failures)
    yield from map(escape, document.remarks)


def _every(document: Document) -> Iterator[str]:
    style, columns = Style.of(document.choice, intervals=True), facts.columns(document.choice.columns)
    if not document.tables and not document.grids:
        yield "No results yet."
        return
    between = "in brackets the 95 % interval of the bootstrap over images. " if style.intervals else ""
    yield f"{READING}; {between}{BOLD}"
    if document.baseline:
        yield escape(document.baseline)
    if document.matrix.several:
        yield from _matrix(document.matrix, style)
    yield from _claims(document.claims, style)
    for table in document.tables:
        yield f"## {escape(table.title)}: {escape(table.dataset)}"
        yield from _table(table, style, columns, document.pending.get((table.protocol, table.dataset), ""))
    for grid in document.grids:
        yield f"## {escape(grid.title)}: {escape(grid.name)}"
        yield from _grid(grid, style)
    for summary in document.summaries:
        yield f"## {escape(summary.name)}: {escape(summary.protocol)}"
        yield _pipes(layout.summary(summary), style)
        yield from _notes(summary.notes)
    yield "## Definitions"
    yield from _definitions([*document.tables, *document.grids])


def escape(text: str) -> str:
    """Return one line that renders as the text it is: no markup, no HTML, no second cell."""
    plain = one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    plain = re.sub(r"([\\`*\[\]|~$#])", r"\\\1", plain)
    return re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", plain)  # inside a word it is no emphasis


def _matrix(table: Matrix, style: Style) -> Iterator[str]:
    """Every method on every task, without intervals: those stand in the tables below."""
    yield f"## {matrix.TITLE}"
    yield f"{matrix.MEAN_RANK} {LEVEL}"
    tabular, bare = layout.matrix(table), replace(style, intervals=False)
    names = [block.name for block in table.blocks]
    for group in tabular.groups:
        if group.title:
            yield f"**{group.title}**"
        yield _piped(_headed(tabular, names), tabular, group.rows, bare, outliers=False)
    yield "; ".join(f"{escape(block.name)}: {escape(block.about)}" for block in table.blocks) + "."
    yield from _notes(table.notes)
    yield from map(escape, table.remarks)


def _headed(tabular: Tabular, names: Sequence[str]) -> list[str]:
    """The heads of columns of figures, each under the name of its block."""
    return [
        (f"{escape(names[column.block])}<br>" if column.metric else "") + _title(column) for column in tabular.columns
    ]


def _claims(claims: Claims, style: Style) -> Iterator[str]:
    if not claims.groups:
        return
    yield f"## {CLAIMS}"
    tabular = layout.claims(claims)
    for group, claim in zip(tabular.groups, claims.groups, strict=True):
        yield f"**{escape(group.title)}**, claimed by {escape(claim.source)} as {escape(claim.called)}"
        yield _pipes(tabular, style, group.rows)
    yield from map(escape, claims.sentences)


def _table(table: Table, style: Style, columns: Mapping[str, Fact], missing: str) -> Iterator[str]:
    if table.lines:
        about = [of_images(*table.images)]
        if table.model:
            about.append(f"model {escape(table.model)}")
        if table.ranking:
            about.append(f"ranked by {escape(table.ranking.title)}")
        yield ", ".join(about) + "."
    tabular = layout.board(table, columns)
    for group in tabular.groups:
        if group.title:
            yield f"**{group.title}**"
        yield _pipes(tabular, style, group.rows)
    yield from _notes(table.notes)
    if any(row.reference for row in table.lines):
        yield f"Reference: {paper.REFERENCE}."
    if missing:
        yield f"No result yet: {escape(missing)}."
    yield from _absences(table.absences)
    yield from table.remarks


def _paper(document: Document) -> Iterator[str]:
    table, style = document.paper, Style.of(document.choice, intervals=False)
    if not table.rows:
        yield "No results yet."
        return
    tabular = layout.paper(table, facts.columns(document.choice.columns))
    named = [f"{block.dataset}, {block.protocol}" if block.protocol else block.dataset for block in table.blocks]
    heads = _headed(tabular, named)
    rows = [[_text(*cell, style, outliers=True) for cell in _paired(tabular, row)] for row in tabular.rows]
    sides = [_side(column) for column in tabular.columns]
    if len(table.sections) > 1:
        models = [escape(group.title) for group in tabular.groups for _ in group.rows]
        heads, sides = ["Model", *heads], ["left", *sides]
        rows = [[model, *row] for model, row in zip(models, rows, strict=True)]
    yield f"{READING}. {BOLD}"
    if document.baseline:
        yield escape(document.baseline)
    yield tabulate(rows, headers=heads, tablefmt="pipe", colalign=sides, disable_numparse=True)
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
        yield f"**{escape(title)}**. {escape(source)}".rstrip() + "\n\n" + _listed(metrics)


def _grid(grid: Grid, style: Style) -> Iterator[str]:
    """The overview, each corruption, each cell; the same for the other metrics, folded away."""
    about = [grid.size]
    if grid.model:
        about.append(f"model {escape(grid.model)}")
    if grid.rows:
        about.append(f"by {escape(grid.directed[grid.leading].title)}")
    yield ", ".join(about) + "."
    if grid.rows:
        yield MEANS
        leading, *others = grid.views.values()
        yield from _view(grid, leading, style)
        yield from _cells(grid, leading, style)
        if every := layout.every_metric(grid):
            yield "**Mean over the grid, every metric**"
            yield _pipes(every, style, outliers=leading.mixed)
        for view in others:
            yield from _folded(escape(view.metric.title), _view(grid, view, style))
    yield from _absences(grid.absences)
    yield (
        f"The tables of the {len(grid.datasets)} data sets one by one are left out: `bench report RUN` writes a page "
        "with them, and `bench show RUN --format json` prints every figure."
    )


def _view(grid: Grid, view: View, style: Style) -> Iterator[str]:
    yield f"**{escape(view.metric.title)}**, means"
    yield _pipes(layout.overview(grid, view), style, outliers=view.mixed)
    if view.incomplete:
        yield f"No mean: {escape('; '.join(view.incomplete))}"
    if tabular := layout.by_corruption(grid, view):
        yield f"**{escape(view.metric.title)} by corruption**, means over the severities; bold is the best of its row"
        yield _pipes(tabular, style, outliers=view.mixed)


def _cells(grid: Grid, view: View, style: Style) -> Iterator[str]:
    for index, row in enumerate(view.lines):
        tabular = _pipes(layout.cells(grid, view, row), style)
        title = f"{escape(row.row.name)}: {escape(view.metric.title)} by corruption and severity"
        yield from _folded(title, [tabular]) if index else (f"**{title}**", tabular)
    marks = {mark: meaning for row in view.lines for mark, meaning in row.marks.items()}
    if marks:
        yield "; ".join(f"{mark} {meaning}" for mark, meaning in marks.items()) + "."


def _folded(title: str, parts: Iterable[str]) -> Iterator[str]:
    yield f"<details><summary>{title}</summary>"
    yield from parts
    yield "</details>"


def _pipes(
    tabular: Tabular, style: Style, rows: Sequence[Sequence[Any]] | None = None, *, outliers: bool = False
) -> str:
    """A table of all rows or of those given; ``outliers`` says whether rows that saw such data are marked."""
    heads = [_title(column) + " (outlier data)" * (outliers and column.outliers) for column in tabular.columns]
    return _piped(heads, tabular, tabular.rows if rows is None else rows, style, outliers=outliers)


def _piped(
    heads: Sequence[str], tabular: Tabular, rows: Sequence[Sequence[Any]], style: Style, *, outliers: bool
) -> str:
    body = [[_text(*cell, style, outliers=outliers) for cell in _paired(tabular, row)] for row in rows]
    sides = [_side(column) for column in tabular.columns]
    return tabulate(body, headers=heads, tablefmt="pipe", colalign=sides, disable_numparse=True)


def _paired(tabular: Tabular, row: Sequence[Any]) -> Iterator[tuple[Column, Any]]:
    return zip(tabular.columns, row, strict=True)


def _side(column: Column) -> str:
    return "right" if column.numeric else "left"


def _title(column: Column) -> str:
    if column.kind == "rank":
        return column.title
    metric = column.metric
    return escape(column.title) + ((" %" if percent(metric) else "") + ARROWS[metric.better] if metric else "")


def _text(column: Column, content: Any, style: Style, *, outliers: bool) -> str:
    """A cell as Markdown has it."""
    if isinstance(content, Name):
        marks = content.marks(outliers=outliers)
        return escape(content.text) + (f" ({', '.join(marks)})" if marks else "")
    if isinstance(content, Lacking | Marked):
        return content.text(style)
    if isinstance(content, Figure):
        return (
            escape(style.change(content.change, content.metric)) if column.kind == "change" else _figure(content, style)
        )
    return "–" if content is None or (column.kind == "fact" and not content) else escape(str(content))


def _figure(figure: Figure, style: Style) -> str:
    value, metric = figure.value, figure.metric
    if isinstance(value, Undefined):
        return f"n/a<sup>{figure.note}</sup>"
    number, between = style.number(value.value, metric), style.interval(value, metric)
    strong = f"**{number}**" if figure.best else f"*{number}*" if figure.level else number
    parts = [strong, certified(value.err, metric)]
    parts += [f"({between})" if between else "", f"(partial, {of_images(figure.partial)})" if figure.partial else ""]
    return " ".join(filter(None, parts))


def _notes(reasons: Sequence[str]) -> Iterator[str]:
    if reasons:
        yield "  \n".join(f"<sup>{number}</sup> {escape(reason)}" for number, reason in enumerate(reasons, 1))


def _absences(absences: Iterable[Absence]) -> Iterator[str]:
    for absence in absences:
        yield f"Not applicable: {escape(', '.join(absence.pairs))}: {escape(absence.reason)}"


def _definitions(tables: Sequence[Table | Grid]) -> Iterator[str]:
    versions: dict[tuple[str, str], Table | Grid] = {}
    for table in tables:
        versions.setdefault((table.protocol, table.version), table)
    for table in versions.values():
        known = [escape(table.protocol)] * (table.protocol != table.title)
        known += [f"version {escape(table.version)}"] * bool(table.version)
        named = f"**{escape(table.title)}**" + (f" ({', '.join(known)})" if known else "")
        yield f"{named}. {escape(table.source)}".rstrip() + "\n\n" + _listed(table.metrics)


def _listed(metrics: Mapping[str, Metric]) -> str:
    return "\n".join(
        f"- {escape(metric.title)} ({escape(name)}): {escape(metric.definition)}" for name, metric in metrics.items()
    )
