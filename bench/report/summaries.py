"""Tables of figures over several cells: means, and operating points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np

from bench.api import Metric, Undefined, Value
from bench.core.errors import MissingData
from bench.report.figures import Figure, gain, numbered, uses_outliers
from bench.results.store import Run

Entry = Mapping[str, Any]  # a figure over several cells, as summaries.json holds it
FIELDS = ("name", "protocol", "model", "metric", "value", "lo", "hi", "cells", "of", "reason")  # that each has


@dataclass(frozen=True, slots=True)
class SummaryLine:
    """A row of figures over several cells."""

    model: str
    method: str | None
    outliers: bool
    figures: tuple[Figure, ...]  # in the order of the table's metrics
    counts: tuple[int, int]  # how many cells went into the row, and of how many; the fewest, where its figures differ
    part: str = ""  # what the mean is over, in a table of several

    @property
    def cells(self) -> str:
        """Such as ``3 of 4``."""
        return "{} of {}".format(*self.counts)

    @property
    def complete(self) -> bool:
        return self.counts[0] == self.counts[1]


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
    run: Run, entries: Sequence[Entry], parts: Mapping[tuple[str, str], tuple[str, str]] | None = None
) -> list[SummaryTable]:
    """Return one table per summary and protocol, in the order given.

    ``parts`` says which summaries share a table: for a name and a protocol the name of the table and that of the part.
    Raise MissingData for an entry that is no summary.
    """
    shared: dict[tuple[str, str], dict[str, list[Entry]]] = {}
    for entry in entries:
        if lacking := [name for name in FIELDS if name not in entry]:
            raise MissingData(f"summaries.json: {entry!r} is not a summary of this program: {lacking[0]!r}")
        name, part = (parts or {}).get((entry["name"], entry["protocol"]), (entry["name"], ""))
        shared.setdefault((name, entry["protocol"]), {}).setdefault(part, []).append(entry)
    outliers = {result.labels.method for result in run.results if uses_outliers(result)}
    return [_table(run, name, protocol, by_part, outliers) for (name, protocol), by_part in shared.items()]


def _table(
    run: Run, name: str, protocol: str, by_part: Mapping[str, Sequence[Entry]], outliers: set[str | None]
) -> SummaryTable:
    known: dict[str, Metric] = {}
    for result in run.results:
        if result.labels.protocol == protocol:
            known |= result.definitions
    asked: dict[str, Entry] = {}
    for entry in chain.from_iterable(by_part.values()):
        asked.setdefault(entry["metric"], entry)
    metrics = {metric: known[metric] for metric in known if metric in asked}
    metrics |= {metric: _defined(entry) for metric, entry in asked.items() if metric not in known}
    lines: list[SummaryLine] = []
    for part, entries in by_part.items():
        rows: dict[tuple[str, str | None], dict[str, Entry]] = {}
        for entry in entries:
            rows.setdefault((entry["model"], entry.get("method")), {})[entry["metric"]] = entry
        of_part = [
            SummaryLine(
                model,
                method,
                method in outliers,
                tuple(_figure(by_metric.get(metric), definition) for metric, definition in metrics.items()),
                min((entry["cells"], entry["of"]) for entry in by_metric.values()),
                part,
            )
            for (model, method), by_metric in rows.items()
        ]
        lines += sorted(of_part, key=_worth)
    notes: dict[str, int] = {}
    lines = [replace(line, figures=numbered(line.figures, notes)) for line in lines]
    own = tuple(metrics[metric] for metric in metrics if metric not in known)
    return SummaryTable(name, protocol, metrics, tuple(lines), tuple(notes), own)


def _defined(entry: Entry) -> Metric:
    """The metric as the entry itself defines it, where no protocol of the run has such a figure."""
    definition = str(entry.get("definition") or "no result defines it yet")
    return Metric(str(entry.get("title") or entry["metric"]), definition, entry.get("better", "higher"))


def _figure(entry: Entry | None, metric: Metric) -> Figure:
    if entry is None:
        return Figure(metric, Undefined("not asked for"))
    if entry["value"] is None:
        return Figure(metric, Undefined(entry["reason"] or "no reason given"))
    return Figure(metric, Value(entry["value"], 0.0, entry["lo"], entry["hi"]))


def _worth(line: SummaryLine) -> tuple[bool, float]:
    first = line.figures[0]
    if isinstance(first.value, Undefined):
        return True, np.inf
    return not line.complete, 0.0 if first.metric.better == "neither" else -gain(first.value.value, first.metric)
