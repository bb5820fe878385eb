"""What others have published, as rows of tables of their own beside what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.api import Metric
from bench.report import published
from bench.report.published import Published
from bench.results.store import Cell

MARKS = {"yes": "", "no": "\N{NOT EQUAL TO}", "unknown": "?"}


@dataclass(frozen=True)
class PublishedFigure:
    """A figure of a paper or a board as it is printed."""

    value: float
    shown: str
    mark: str  # "≠" where it is defined otherwise, "?" where nobody knows
    definition: str  # and what is different in it
    spread: str


@dataclass(frozen=True)
class PublishedRow:
    """What one source says of one method."""

    method: str
    variant: str
    backbone: str
    ood_data: str
    retraining: str
    source: str
    paper: str  # https address; empty where there is none
    date: str
    figures: tuple[PublishedFigure | None, ...]


@dataclass(frozen=True)
class Beside:
    """What others have published on a data set: figures of different splits never share a table."""

    split: str  # of the data set that was measured
    metrics: Mapping[str, Metric]  # of the table beside which it stands
    entries: tuple[Published, ...]

    @property
    def rows(self) -> dict[str, list[PublishedRow]]:
        """Rows by split, that of the measured data set first."""
        by_split: dict[str, list[PublishedRow]] = {}
        for entry in published.entries(self.entries):
            first = entry[0]
            over = {"": "", "*": "mean over the grid"}.get(first.corruption, first.corruption)
            variant = ", ".join(filter(None, (first.variant, over)))
            figures = tuple(_figure(entry, name) for name in self._names(first.split))
            network = (first.backbone, first.ood_data, first.retraining)
            row = PublishedRow(first.method, variant, *network, first.source, first.paper, first.date, figures)
            by_split.setdefault(first.split, []).append(row)
        return by_split

    def _names(self, split: str) -> list[str]:
        names = {row.metric for row in self.entries if row.split == split}
        return [*(name for name in self.metrics if name in names), *sorted(names - self.metrics.keys())]

    def columns(self, split: str) -> list[Mapping[str, str]]:
        """Title, unit and direction of each metric that has figures of that split."""
        columns: list[Mapping[str, str]] = []
        for name in self._names(split):
            row = next(row for row in self.entries if row.metric == name and row.split == split)
            metric = self.metrics.get(name)
            better = metric.better if metric else "neither"
            arrow = {"higher": "\N{UPWARDS ARROW}", "lower": "\N{DOWNWARDS ARROW}", "neither": ""}[better]
            unit = ("% " if row.unit == "rate" else "") + arrow
            columns.append({"title": metric.title if metric else row.title, "better": better, "unit": unit})
        return columns

    def notes(self, split: str) -> list[str]:
        """How figures differ from ours, once each."""
        notes: dict[tuple[str, str], dict[str, None]] = {}
        for row in self.entries:
            if row.split == split and row.same_definition != "yes" and row.note:
                name = self.metrics[row.metric].title if row.metric in self.metrics else row.title
                notes.setdefault((MARKS[row.same_definition], row.note), {})[name] = None
        return [f"{mark} {', '.join(names)}: {note}" for (mark, note), names in notes.items()]


def beside(cell: Cell, metrics: Mapping[str, Metric]) -> Beside:
    """Return what others have published on the data set of a cell, in the columns of its protocol."""
    dataset = cell.dataset.spelled()
    measured = published.place_of(dataset)
    return Beside(measured.split if measured else "", metrics, tuple(published.beside(cell.protocol.name, dataset)))


def _figure(rows: Sequence[Published], name: str) -> PublishedFigure | None:
    row = next((row for row in rows if row.metric == name), None)
    if row is None:
        return None
    scale = 100 if row.unit == "rate" else 1
    spread = "" if row.spread is None else f"{scale * row.spread:.{row.digits}f}"
    definition = " ".join(filter(None, (row.title + ":", row.definition + ".", row.note)))
    return PublishedFigure(
        row.value, f"{scale * row.value:.{row.digits}f}", MARKS[row.same_definition], definition, spread
    )
