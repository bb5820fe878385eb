"""The tables of a page with what stands around them: definitions, scale, charts, worst images, slices."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.api import Metric, Undefined, Value
from bench.report import grids
from bench.report.grids import GRID, Grid, Place, View
from bench.report.leaderboard import Line, Table
from bench.report.page import data
from bench.report.published import Published
from bench.report.published_rows import Copied, beside
from bench.report.summaries import SummaryTable
from bench.report.text import count, millions, minus, number, percent
from bench.results.store import Run

SHADES = 8  # of the cells of a grid, beside none; grid.css has a class for each
FACTS = (  # of a network and a method, beside the figures: name, title, how to sort
    ("outliers", "OoD data", "lower"),
    ("retrained", "Retrained", "lower"),
    ("backbone", "Backbone", "text"),
    ("parameters", "Parameters", "lower"),
    ("miou", "mIoU", "higher"),
    ("miou_change", "Δ mIoU", "higher"),
)
CHARTS = (("roc", "ROC and precision-recall", "curves"), ("risk", "Risk against coverage", "risk"),
          ("reliability", "Reliability", "reliability"), ("images", "By image", "images"))  # fmt: skip

Fields = list[tuple[str, str]]
WORST = 6  # images that are named below a table


@dataclass(frozen=True)
class Axis:
    """The scale of the interval plots of one table; every row of it shares the scale."""

    low: float
    high: float
    ticks: tuple[float, ...]
    metric: Metric
    width: int = 168
    margin: int = 12

    def x(self, value: float) -> str:
        share = (value - self.low) / (self.high - self.low)
        return f"{self.margin + share * (self.width - 2 * self.margin):.1f}"

    def tick(self, value: float) -> str:
        """Label a tick with no more digits than tell it from the next."""
        return minus(f"{100 * value if percent(self.metric) else value:.6g}")


@dataclass(frozen=True)
class Defined:
    """A metric and where the page defines it."""

    id: str
    name: str
    metric: Metric


@dataclass(frozen=True)
class Defining:
    """The metrics of one version of a protocol."""

    title: str
    label: str
    version: str
    source: str
    metrics: tuple[Defined, ...]


@dataclass(frozen=True)
class WorstImages:
    """The images that are hardest for the row that leads."""

    method: str
    title: str  # of the figure
    images: tuple[Mapping[str, str], ...]  # id, figure as shown, thumbnail or nothing
    undefined: int

    @property
    def pictured(self) -> bool:
        """Whether there is a picture of any of them."""
        return any(image["thumb"] for image in self.images)


@dataclass(frozen=True)
class Slice:
    """The ranking figure by a tag, a class or a size."""

    axis: str
    metric: Metric
    parts: tuple[Mapping[str, Any], ...]  # name and number of images
    rows: tuple[tuple[Line, tuple[Value | Undefined | None, ...]], ...]


@dataclass(frozen=True)
class Sheet:
    """A table with its place on the page."""

    id: str
    table: Table
    columns: tuple[Defined, ...]
    axis: Axis | None
    images: str
    pixels: str
    drawn: Mapping[str, Any]  # the data of its charts
    worst: WorstImages | None
    copied: Copied

    @property
    def charts(self) -> list[tuple[str, str]]:
        """Kind and title of those that there is something to draw for."""
        return [(kind, title) for kind, title, name in CHARTS if any(name in each for each in self.drawn["series"])]

    @property
    def baseline(self) -> str:
        """What rows are held against, in words; empty where nothing was asked for, or none is there."""
        return " or ".join(self.table.baselines)

    @property
    def facts(self) -> list[tuple[str, str, str]]:
        """The columns that tell rows apart; what is the same for all of one network stands above the table."""
        facts = [line.facts for line in self.table.lines]
        several, scored = self.table.model is None, self.table.scored
        there = {
            "outliers": scored or any(each.outliers for each in facts),
            "retrained": several,
            "backbone": several and any(each.backbone for each in facts),
            "parameters": several and any(each.parameters for each in facts),
            "miou": several and scored and any(each.miou for each in facts),
            "miou_change": several and scored and any(each.miou_change for each in facts),
        }
        return [column for column in FACTS if there[column[0]]]

    @property
    def model_facts(self) -> str:
        """What is said of the one network of the table."""
        facts = self.table.lines[0].facts
        said = [facts.backbone] if facts.backbone else []
        said += [f"{millions(facts.parameters)} million parameters"] if facts.parameters else []
        said += [f"mIoU {100 * facts.miou.value:.2f} on {facts.miou_dataset}"] if facts.miou else []
        said += ["retrained"] if facts.retrained else []
        return ", ".join(said)

    @property
    def width(self) -> int:
        """Columns of the table."""
        names = 1 + self.table.scored + (self.table.model is None)
        return names + len(self.columns) + (self.axis is not None) + bool(self.baseline) + len(self.facts)

    @property
    def slices(self) -> list[Slice]:
        first = next(iter(self.table.metrics.items()), None)
        if first is None:
            return []
        axes = dict.fromkeys(axis for line in self.table.lines for axis in line.result.slices)
        return [_slice(self.table.lines, axis, *first) for axis in axes]

    @property
    def certified(self) -> bool:
        """Whether any figure of it is known only within a half-width."""
        values = [figure.value for line in self.table.lines for figure in line.figures]
        return any(isinstance(value, Value) and value.err > 0 for value in values)

    @property
    def leads(self) -> Iterator[tuple[bool, list[Line], bool, str]]:
        """For each group: whether it used outliers, who stands first, whether the lead is clear, and in words."""
        for group in self.table.groups:
            first = [line for line in group.lines if line.rank == 1]
            ranked = sum(line.rank is not None for line in group.lines)
            if first:
                clear = first[0].figures[0].best
                lead = ("clear" if clear else "not clear") if ranked > 1 else "no rival"
                yield group.outliers, first, clear, lead


@dataclass(frozen=True)
class GridSheet:
    """A grid with its place on the page."""

    id: str
    grid: Grid
    protocols: Mapping[tuple[str, str], Defining]

    @property
    def copied(self) -> Copied:
        """What others have published of the grid as a whole and of single corruptions."""
        found: dict[Published, None] = {}
        place = ""
        for result in {result.labels.dataset: result for result in self.grid.results}.values():
            others = beside(result.cell, self.grid.metrics)
            found |= dict.fromkeys(others.entries)
            place = place or others.split
        return Copied(place, self.grid.metrics, tuple(found))

    @property
    def columns(self) -> list[Defined]:
        """The metrics that have a mean, and where the page defines them."""
        metrics = self.protocols[self.grid.protocol, self.grid.version].metrics
        return [defined for defined in metrics if defined.name in self.grid.directed]

    @property
    def view(self) -> View:
        return self.grid.views[self.grid.leading]

    @property
    def others(self) -> list[View]:
        return list(self.grid.views.values())[1:]

    @property
    def over(self) -> list[Place]:
        """What the last row of a table by corruption and severity holds."""
        return [*(Place("severity", severity) for severity in self.grid.severities), GRID]

    @property
    def means(self) -> list[tuple[grids.Line, list[grids.Line]]]:
        """Each row for the leading metric, and for all metrics."""
        views = self.grid.views.values()
        return [(line, [view.of(line.row) for view in views]) for line in self.view.lines]

    @property
    def leads(self) -> Iterator[tuple[bool, list[grids.Line], bool, str]]:
        """As those of a sheet, by the mean over the grid."""
        for outliers in (False, True):
            ranked = [line for line in self.view.lines if line.row.outliers == outliers and line.rank is not None]
            first = [line for line in ranked if line.rank == 1]
            if first:
                clear = GRID in first[0].best
                yield outliers, first, clear, ("clear" if clear else "not clear") if len(ranked) > 1 else "no rival"

    def shade(self, value: float) -> int:
        """From 0 for the best of all cells to SHADES for the worst."""
        return round(SHADES * self.view.standing(value))


@dataclass(frozen=True)
class SummarySheet:
    table: SummaryTable
    protocols: Mapping[tuple[str, str], Defining]

    @property
    def columns(self) -> list[Defined]:
        known = {
            defined.name: defined
            for (label, _), protocol in self.protocols.items()
            for defined in protocol.metrics
            if label == self.table.protocol
        }
        return [known.get(name, Defined("", name, metric)) for name, metric in self.table.metrics.items()]


def defining(tables: Sequence[Table | Grid]) -> dict[tuple[str, str], Defining]:
    found: dict[tuple[str, str], Defining] = {}
    for table in tables:
        if (table.protocol, table.version) not in found:
            stem = f"m{len(found) + 1}"
            metrics = tuple(
                Defined(f"{stem}-{index}", name, metric)
                for index, (name, metric) in enumerate(table.metrics.items(), 1)
            )
            found[table.protocol, table.version] = Defining(
                table.title, table.protocol, table.version, table.source, metrics
            )
    return found


def sheet_of(
    identifier: str,
    run: Run,
    table: Table,
    protocols: Mapping[tuple[str, str], Defining],
    thumbnails: Mapping[str, str],
) -> Sheet:
    drawn = data.board(run, table)
    pixels = {tuple(line.result.pixels.items()) for line in table.lines if not line.result.partial}
    return Sheet(
        identifier,
        table,
        protocols[table.protocol, table.version].metrics,
        _axis(table),
        " or ".join(map(count, table.images)),
        ", ".join(f"{count(each)} {name}" for name, each in pixels.pop()) if len(pixels) == 1 else "",
        drawn,
        _worst(table, drawn, thumbnails),
        beside(table.cell, table.metrics),
    )


def _worst(table: Table, drawn: Mapping[str, Any], thumbnails: Mapping[str, str]) -> WorstImages | None:
    """The hardest images of the row that ranks first, if figures of images are there."""
    by_key = {series["key"]: series for series in drawn["series"] if "images" in series}
    leading = next((line for line in table.lines if line.result.key in by_key), None)
    if leading is None:
        return None
    found = by_key[leading.result.key]["images"]
    metric = table.metrics[found["metric"]["name"]]
    images = tuple(
        {"id": image, "shown": number(value, metric), "thumb": thumbnails.get(image, "")}
        for image, value in list(zip(found["ids"], found["values"], strict=True))[:WORST]
    )
    return WorstImages(by_key[leading.result.key]["name"], metric.title, images, found["undefined"])


def _slice(lines: Sequence[Line], axis: str, name: str, metric: Metric) -> Slice:
    parts: dict[str, int] = {}
    for line in lines:
        for part, content in line.result.slices.get(axis, {}).items():
            parts.setdefault(part, content["images"])
    rows = []
    for line in lines:
        mine = line.result.slices.get(axis, {})
        rows.append((line, tuple(mine[part]["metrics"].get(name) if part in mine else None for part in parts)))
    return Slice(axis, metric, tuple({"name": part, "images": images} for part, images in parts.items()), tuple(rows))


def _axis(table: Table) -> Axis | None:
    """From the lowest to the highest end of an interval of what ranks, with some room and round numbers for ticks."""
    if table.ranking is None:
        return None
    ends: list[float] = []
    for line in table.lines:
        value = line.figures[0].value
        if isinstance(value, Value):
            ends += [end for end in (value.value, value.lo, value.hi) if end is not None]
    if not ends:
        return None
    room = max(0.06 * (max(ends) - min(ends)), 0.002)
    low, high = min(ends) - room, max(ends) + room
    step = next(step for step in _steps() if (high - low) / step < 4)
    ticks = tuple(round(index * step, 10) for index in range(math.ceil(low / step), math.floor(high / step) + 1))
    return Axis(low, high, ticks, table.ranking)


def _steps() -> Iterator[float]:
    exponent = -3
    while True:
        yield from (factor * 10.0**exponent for factor in (1, 2, 5))
        exponent += 1
