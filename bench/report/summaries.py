"""Tables of figures over several cells: means, and operating points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from bench.api import Metric, Undefined, Value
from bench.core.errors import MissingData
from bench.report.figures import Figure, gain, uses_outliers
from bench.results.store import Run


@dataclass(frozen=True, slots=True)
class Summary:
    """A figure over several cells, as summaries.json holds it."""

    name: str
    protocol: str
    model: str
    method: str | None
    metric: str
    value: float | None
    lo: float | None
    hi: float | None
    cells: int
    of: int
    reason: str | None
    defined: Metric  # by the entry itself, where no protocol of the run has such a figure


@dataclass(frozen=True, slots=True)
class SummaryLine:
    """A row of figures over several cells."""

    model: str
    method: str | None
    outliers: bool
    summaries: tuple[Summary | None, ...]  # in the order of the table's metrics
    figures: tuple[Figure, ...]  # the same as tables have them
    part: str = ""  # what the mean is over, in a table of several

    @property
    def cells(self) -> str:
        """How many cells went into the row, such as ``3 of 4``; the fewest, where its figures differ in that."""
        return "{} of {}".format(*min((summary.cells, summary.of) for summary in self.summaries if summary))

    @property
    def complete(self) -> bool:
        return all(summary.cells == summary.of for summary in self.summaries if summary)


@dataclass(frozen=True, slots=True)
class SummaryTable:
    """What one summary says of one protocol; sorted by its first metric, the incomplete rows last, and never ranked.

    Summaries of corrupted data sets that differ in one word, such as the family, share a table: a part for each.
    """

    name: str
    protocol: str
    metrics: Mapping[str, Metric]
    lines: tuple[SummaryLine, ...]
    notes: tuple[str, ...]  # why figures are undefined; Figure.note counts from 1
    own: tuple[Metric, ...]  # those that no protocol of the run defines

    @property
    def parted(self) -> bool:
        """Whether its rows are of several summaries."""
        return any(line.part for line in self.lines)

    @property
    def scored(self) -> bool:
        """Whether rows have a method."""
        return any(line.method is not None for line in self.lines)


def tables(
    run: Run, summaries: Sequence[Mapping[str, Any]], parts: Mapping[tuple[str, str], tuple[str, str]] | None = None
) -> list[SummaryTable]:
    """Return one table per summary and protocol, in the order given.

    ``parts`` says which summaries share a table: for a name and a protocol the name of the table and that of the part.
    Raise MissingData for an entry that is no summary.
    """
    shared: dict[tuple[str, str], dict[str, list[Summary]]] = {}
    for entry in summaries:
        summary = _summary(entry)
        name, part = (parts or {}).get((summary.name, summary.protocol), (summary.name, ""))
        shared.setdefault((name, summary.protocol), {}).setdefault(part, []).append(summary)
    outliers = {result.labels.method for result in run.results if uses_outliers(result)}
    return [_table(run, name, protocol, by_part, outliers) for (name, protocol), by_part in shared.items()]


def _summary(entry: Mapping[str, Any]) -> Summary:
    try:
        values = {field.name: entry[field.name] for field in fields(Summary) if field.name not in {"method", "defined"}}
        definition = str(entry.get("definition") or "no result defines it yet")
        defined = Metric(str(entry.get("title") or entry["metric"]), definition, entry.get("better", "higher"))
        return Summary(**values, method=entry.get("method"), defined=defined)
    except (KeyError, TypeError) as error:
        raise MissingData(f"summaries.json: {entry!r} is not a summary of this program: {error}") from None


def _table(
    run: Run, name: str, protocol: str, by_part: Mapping[str, Sequence[Summary]], outliers: set[str | None]
) -> SummaryTable:
    known: dict[str, Metric] = {}
    for result in run.results:
        if result.labels.protocol == protocol:
            known |= result.definitions
    summaries = [summary for members in by_part.values() for summary in members]
    asked = {summary.metric for summary in summaries}
    metrics = {metric: known[metric] for metric in known if metric in asked}
    for summary in summaries:
        metrics.setdefault(summary.metric, summary.defined)
    lines: list[SummaryLine] = []
    for part, members in by_part.items():
        rows: dict[tuple[str, str | None], dict[str, Summary]] = {}
        for summary in members:
            rows.setdefault((summary.model, summary.method), {})[summary.metric] = summary
        of_part = []
        for (model, method), by_metric in rows.items():
            ordered = tuple(by_metric.get(metric) for metric in metrics)
            figures = tuple(map(_figure, ordered, metrics.values()))
            of_part.append(SummaryLine(model, method, method in outliers, ordered, figures, part))
        lines += sorted(of_part, key=lambda line: _worth(line, next(iter(metrics.values()))))
    notes: dict[str, int] = {}
    lines = [replace(line, figures=tuple(_noted(figure, notes) for figure in line.figures)) for line in lines]
    own = tuple(metrics[metric] for metric in metrics if metric not in known)
    return SummaryTable(name, protocol, metrics, tuple(lines), tuple(notes), own)


def _worth(line: SummaryLine, ranking: Metric) -> tuple[bool, float]:
    value = line.figures[0].value
    if isinstance(value, Undefined):
        return True, np.inf
    return not line.complete, 0.0 if ranking.better == "neither" else -gain(value.value, ranking)


def _figure(summary: Summary | None, metric: Metric) -> Figure:
    if summary is None:
        return Figure(metric, Undefined("not asked for"))
    if summary.value is None:
        return Figure(metric, Undefined(summary.reason or "no reason given"))
    return Figure(metric, Value(summary.value, 0.0, summary.lo, summary.hi))


def _noted(figure: Figure, notes: dict[str, int]) -> Figure:
    if isinstance(figure.value, Value):
        return figure
    return replace(figure, note=notes.setdefault(figure.value.reason, len(notes) + 1))
