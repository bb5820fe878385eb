"""Results as GitHub Markdown, to be pasted into an issue, a README or a draft."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tabulate import tabulate

from bench.api import Metric, Undefined, Value
from bench.reports import grids, leaderboard
from bench.reports.grids import CLEAN, GRID, Grid, Place, View
from bench.reports.leaderboard import Figure, Group, Line, Summary, SummaryTable, Table
from bench.store import Run
from bench.summary import Mean

ARROWS = {"higher": " ↑", "lower": " ↓", "neither": ""}


def render(run: Run, summaries: Sequence[Mapping[str, Any]]) -> str:
    """Write the whole run: title, note, one table per protocol and data set, footnotes, figures over several cells."""
    return "\n\n".join(_parts(run, summaries)) + "\n"


def _parts(run: Run, summaries: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield f"# {escape(run.plan.title or run.plan.name)}"
    if run.plan.note:
        yield f"> **{escape(run.plan.note)}**"
    if run.missing:
        yield f"{len(run.results)} of {len(run.plan.keys)} cells. The others have not been computed yet."
    found = grids.grids(run)
    tables = leaderboard.tables(run, grids.apart(run, found))
    if not tables and not found:
        yield "No results yet."
        return
    yield (
        "Rates in percent; ↑ higher and ↓ lower is better; in brackets the 95 % interval of the bootstrap over images. "
        "Bold is the best of its column and group, where its paired difference to every other row excludes 0."
    )
    for table in tables:
        yield f"## {escape(table.title)}: {escape(table.dataset)}"
        yield from _table(table)
    for grid in found:
        yield f"## {escape(grid.title)}: {escape(grid.name)}"
        yield from _corrupted(grid)
    left, parts = grids.remaining(run, found, summaries)
    for summary_table in leaderboard.summary_tables(run, left, parts):
        yield f"## {escape(summary_table.name)}: {escape(summary_table.protocol)}"
        yield _summaries(summary_table)
        yield from _notes(summary_table.notes)
    yield "## Definitions"
    yield from _definitions([*tables, *found])


def escape(text: str) -> str:
    """One line that renders as the text it is: no markup, no HTML, no second cell."""
    line = " ".join(text.split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    line = re.sub(r"([\\`*\[\]|~$#])", r"\\\1", line)
    return re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", line)  # inside a word it is no emphasis


def _table(table: Table) -> Iterator[str]:
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
        yield _group(table, group)
    yield from _notes(table.notes)
    for absence in table.absences:
        yield f"Not applicable: {escape(', '.join(absence.pairs))}: {escape(absence.reason)}"
    yield from table.remarks


def _group(table: Table, group: Group) -> str:
    names = _names(table.scored, table.model is None)
    rows = [
        ["–" if line.rank is None else line.rank, *_name(table, line), *map(_figure, line.figures)]
        for line in group.lines
    ]
    return _grid(["#", *names], table.metrics, rows)


def _corrupted(grid: Grid) -> Iterator[str]:
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
        yield from _view(grid, view)
        yield from _cells(grid, view)
        if len(grid.directed) > 1:
            yield "**Mean over the grid, every metric**"
            yield _every_metric(grid)
        for name in list(grid.directed)[1:]:
            yield from _folded(escape(grid.directed[name].title), _view(grid, grid.view(name)))
    for absence in grid.absences:
        yield f"Not applicable: {escape(', '.join(absence.pairs))}: {escape(absence.reason)}"
    yield (
        f"The tables of the {len(grid.datasets)} data sets one by one are left out: `bench report RUN` writes a page "
        "with them, and `bench show RUN --format json` prints every figure."
    )


def _view(grid: Grid, view: View) -> Iterator[str]:
    ranks = [["–" if line.rank is None else line.rank] * view.ranked for line in view.lines]
    rows = [
        [*rank, _row(line, view), *(_mean(line, place, view, interval=place in (CLEAN, GRID)) for place in grid.places)]
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
            [name, family, *(_mean(line, Place("corruption", name), view, interval=False) for line in view.lines)]
            for family, names in grid.families.items()
            for name in names
        ]
        yield _pipes(["Corruption", "Family"], [_row(line, view) for line in view.lines], rows)


def _cells(grid: Grid, view: View) -> Iterator[str]:
    for index, line in enumerate(view.lines):
        over = [(name, Place("corruption", name)) for name in grid.corruptions]
        rows: list[list[Any]] = [
            [
                name,
                *(_cell(line, (name, severity), view) for severity in grid.severities),
                _mean(line, place, view, interval=False, best=False),
            ]
            for name, place in over
        ]
        severities = [Place("severity", severity) for severity in grid.severities]
        means = [_mean(line, place, view, interval=False, best=False) for place in (*severities, GRID)]
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


def _every_metric(grid: Grid) -> str:
    views = [grid.view(name) for name in grid.directed]
    rows = []
    for line in views[0].lines:
        same = [next(other for other in view.lines if other.row is line.row) for view in views]
        figures = [_mean(other, GRID, view, interval=True) for other, view in zip(same, views, strict=True)]
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


def _mean(line: grids.Line, place: Place, view: View, *, interval: bool, best: bool = True) -> str:
    mean: Mean = line.means[place]
    if mean.value is None:
        return f"{mean.cells} of {mean.of}"
    shown = leaderboard.number(mean.value, view.metric)
    between = leaderboard.interval(mean.lo, mean.hi, view.metric) if interval else ""
    parts = [f"**{shown}**" if best and place in line.best else shown, leaderboard.certified(mean.err, view.metric)]
    return " ".join(part for part in (*parts, f"({between})" if between else "") if part)


def _cell(line: grids.Line, spot: grids.Spot, view: View) -> str:
    figure, mark = line.figure(spot), line.mark(spot)
    return leaderboard.number(figure.value, view.metric) + mark if isinstance(figure, Value) else mark


def _names(scored: bool, models: bool) -> list[str]:
    return ["Method"] * scored + ["Model"] * models


def _name(table: Table, line: Line) -> Iterator[str]:
    partial = f" (partial, {line.result.images} images)" if line.result.partial else ""
    names = [escape(line.method)] if line.method is not None else [""] * table.scored
    names += [escape(line.model)] * (table.model is None)
    yield names[0] + partial
    yield from names[1:]


def _figure(figure: Figure) -> str:
    value, metric = figure.value, figure.metric
    if isinstance(value, Undefined):
        return f"n/a<sup>{figure.note}</sup>"
    shown = leaderboard.number(value.value, metric)
    between = leaderboard.interval(value.lo, value.hi, metric)
    parts = [f"**{shown}**" if figure.best else shown, leaderboard.certified(value.err, metric)]
    return " ".join(part for part in (*parts, f"({between})" if between else "") if part)


def _summaries(table: SummaryTable) -> str:
    rows = [
        [
            *([escape(line.part)] * table.parted),
            *([escape(line.method or "")] * table.scored),
            escape(line.model),
            line.cells,
            *(
                _summary(table, summary, metric)
                for summary, metric in zip(line.summaries, table.metrics.values(), strict=True)
            ),
        ]
        for line in table.lines
    ]
    return _grid([*(["Of"] * table.parted), *_names(table.scored, True), "Cells"], table.metrics, rows)


def _summary(table: SummaryTable, summary: Summary | None, metric: Metric) -> str:
    if summary is None or summary.value is None:
        return f"n/a<sup>{table.note(summary)}</sup>"
    between = leaderboard.interval(summary.lo, summary.hi, metric)
    return leaderboard.number(summary.value, metric) + (f" ({between})" if between else "")


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
