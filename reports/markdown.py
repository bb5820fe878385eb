"""Results as GitHub Markdown, to be pasted into an issue, a README or a draft."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tabulate import tabulate

from bench.api import Metric, Undefined
from bench.reports import leaderboard
from bench.reports.leaderboard import Figure, Group, Line, Summary, SummaryTable, Table
from bench.store import Run

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
    tables = leaderboard.tables(run)
    if not tables:
        yield "No results yet."
        return
    yield (
        "Rates in percent; ↑ higher and ↓ lower is better; in brackets the 95 % interval of the bootstrap over images. "
        "Bold is the best of its column and group, where its paired difference to every other row excludes 0."
    )
    for table in tables:
        yield f"## {escape(table.title)}: {escape(table.dataset)}"
        yield from _table(table)
    for summary_table in leaderboard.summary_tables(run, summaries):
        yield f"## {escape(summary_table.name)}: {escape(summary_table.protocol)}"
        yield _summaries(summary_table)
        yield from _notes(summary_table.notes)
    yield "## Definitions"
    yield from _definitions(tables)


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
    scored = any(line.method is not None for line in table.lines)
    rows = [
        [
            *([escape(line.method or "")] * scored),
            escape(line.model),
            line.cells,
            *(
                _summary(table, summary, metric)
                for summary, metric in zip(line.summaries, table.metrics.values(), strict=True)
            ),
        ]
        for line in table.lines
    ]
    return _grid([*_names(scored, True), "Cells"], table.metrics, rows)


def _summary(table: SummaryTable, summary: Summary | None, metric: Metric) -> str:
    if summary is None or summary.value is None:
        return f"n/a<sup>{table.note(summary)}</sup>"
    between = leaderboard.interval(summary.lo, summary.hi, metric)
    return leaderboard.number(summary.value, metric) + (f" ({between})" if between else "")


def _grid(names: list[str], metrics: Mapping[str, Metric], rows: list[list[Any]]) -> str:
    heads = [*names, *map(_head, metrics.values())]
    sides = ["right" if name == "#" else "left" for name in names] + ["right"] * len(metrics)
    text: str = tabulate(rows, headers=heads, tablefmt="pipe", colalign=sides, disable_numparse=True)
    return text


def _head(metric: Metric) -> str:
    return escape(metric.title) + (" %" if leaderboard.percent(metric) else "") + ARROWS[metric.better]


def _notes(reasons: Sequence[str]) -> Iterator[str]:
    if reasons:
        yield "  \n".join(f"<sup>{number}</sup> {escape(reason)}" for number, reason in enumerate(reasons, 1))


def _definitions(tables: Sequence[Table]) -> Iterator[str]:
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
