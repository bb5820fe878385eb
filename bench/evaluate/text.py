"""The report of ``bench score`` as JSON and as lines for people; docs/score.md describes both."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from bench.api import Metric, Undefined, Value
from bench.core import html_text
from bench.evaluate.evaluation import Evaluation, Report
from bench.metrics.protocols.definitions import POOLINGS, RULES, Entry, ranges
from bench.suite import parameters

SCHEMA = 2  # raised when a field changes its meaning or goes; a new field may be added
NAMED = 3  # files that a line names


def record(report: Report) -> dict[str, Any]:
    """The JSON."""
    return {
        "schema": SCHEMA,
        "evaluations": [_evaluation(each) for each in report.evaluations],
        "lint": [asdict(finding) for finding in report.lint],
        "notes": list(report.notes),
    }


def _evaluation(each: Evaluation) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "protocol": each.protocol.name,
        "parameters": parameters.values(each.protocol),
        "evaluator": f"{each.protocol.name} {each.protocol.version}",
        "dataset": each.dataset or None,
        "images": each.images,
        "pixels": dict(each.pixels),
        "metrics": {name: asdict(figure) for name, figure in each.figures.items()},
    }
    if each.definitions:
        entry["definitions"] = [
            {
                "metric": RULES[figure_entry.rule].metric,
                "rule": figure_entry.rule,
                "words": RULES[figure_entry.rule].words,
                "pooling": figure_entry.pooling,
                "used_by": figure_entry.used_by,
                **asdict(figure_entry.figure),
            }
            for figure_entry in each.definitions
        ]
    return entry


def lines(report: Report) -> Iterator[str]:
    """For people."""
    for each in report.evaluations:
        yield _heading(each)
        width = max((len(name) for name in each.figures), default=0)
        for name, figure in each.figures.items():
            yield f"  {name:<{width}}  {_figure(figure, each.protocol.metrics.get(name))}"
        yield from _definitions(each.definitions)
    for finding in report.lint:
        some = [*finding.files[:NAMED], *(["..."] if len(finding.files) > NAMED else [])]
        where = f"{finding.dataset}: " if finding.dataset else ""
        yield f"lint: {finding.code}: {where}{finding.text}" + (f" ({', '.join(some)})" if some else "")
    for note in report.notes:
        yield f"note: {note}"


def html(report: Report) -> str:
    """For notebooks: a table for each protocol, then the remarks."""
    parts = []
    for each in report.evaluations:
        parts += [f"<div><b>{html_text.plain(_heading(each))}</b></div>"]
        rows = []
        for name, figure in each.figures.items():
            number, interval = _parts(figure, each.protocol.metrics.get(name))
            rows.append({"metric": name, "figure": number, "95 % interval": interval})
        parts.append(html_text.table_of(rows))
    remarks = [*(f"lint: {finding.code}: {finding.text}" for finding in report.lint), *report.notes]
    return "\n".join([*parts, *html_text.lines(remarks)])


def _heading(each: Evaluation) -> str:
    frames = f" on {each.dataset}" if each.dataset else ""
    pixels = [f"{count} {name} pixels" for name, count in each.pixels.items()]
    return ", ".join([f"{each.protocol.name}{frames}", f"{each.images} images", *pixels])


def _figure(figure: Value | Undefined, metric: Metric | None) -> str:
    return "  ".join(filter(None, _parts(figure, metric)))


def _parts(figure: Value | Undefined, metric: Metric | None) -> tuple[str, str]:
    """Return the figure with six digits, a rate in percent as everywhere, and its interval; or why there is none."""
    if isinstance(figure, Undefined):
        return "n/a", figure.reason
    scale, unit = (100, " %") if metric and metric.in_percent else (1, "")
    certified = f" ± {scale * figure.err:.1e}" if figure.err else ""
    known = figure.lo is not None and figure.hi is not None
    interval = f"[{scale * (figure.lo or 0):.6g}, {scale * (figure.hi or 0):.6g}]" if known else ""
    return f"{scale * figure.value:.6g}{certified}{unit}", interval


def _definitions(entries: tuple[Entry, ...]) -> Iterator[str]:
    """Rules by row and poolings by column, in percent; then the spread, and who publishes which."""
    if not entries:
        return
    table = {(entry.rule, entry.pooling): entry for entry in entries}
    words = {rule: f"{RULES[rule].metric}, {RULES[rule].words}" for rule in RULES}
    width = max(map(len, words.values()))
    yield "  definitions, in percent"
    yield f"    {'':<{width}}  " + "  ".join(POOLINGS.values())
    for rule, text in words.items():
        cells = [f"{_percent(table.get((rule, pooling))):>{len(title)}}" for pooling, title in POOLINGS.items()]
        yield f"    {text:<{width}}  " + "  ".join(cells)
    for metric, (low, high) in ranges(entries).items():
        yield f"    {metric} of these maps: {100 * low:.2f} to {100 * high:.2f}"
    for entry in entries:
        if entry.used_by:
            yield f"    {words[entry.rule]}, {POOLINGS[entry.pooling]}: {entry.used_by}"


def _percent(entry: Entry | None) -> str:
    if entry is None:
        return "-"
    return f"{100 * entry.figure.value:.2f}" if isinstance(entry.figure, Value) else "n/a"
