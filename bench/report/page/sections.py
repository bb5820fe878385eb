"""The tables of a page with what stands around them: definitions, scale, charts, worst images, slices."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

from bench.api import Metric, Undefined, Value
from bench.report import grids
from bench.report.grids import GRID, Grid, Place, View
from bench.report.leaderboard import Line, Table
from bench.report.page import data
from bench.report.published import Published
from bench.report.published_rows import Beside, beside
from bench.report.summaries import SummaryTable
from bench.report.text import count, millions, minus, number, of_images, percent
from bench.results.store import Run

SHADES = 8  # of the cells of a grid, beside none; grid.css has a class for each
WORST = 6  # images that are named below a table
FACTS = (  # of a network and a method, beside the figures: name, title, how to sort
    ("outliers", "OoD data", "lower"),
    ("retrained", "Retrained", "lower"),
    ("backbone", "Backbone", "text"),
    ("parameters", "Parameters", "lower"),
    ("state", "State", "text"),
    ("miou", "mIoU", "higher"),
    ("miou_change", "Δ mIoU", "higher"),
)
CHARTS = (("roc", "ROC and precision-recall", "curves"), ("risk", "Risk against coverage", "risk"),
          ("reliability", "Reliability", "reliability"), ("images", "By image", "images"))  # fmt: skip

Ranked = TypeVar("Ranked", Line, grids.Line)
Lead = tuple[bool, list[Ranked], bool, str]  # whether it used outliers, who stands first, whether that is clear, a word


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


Protocols = Mapping[tuple[str, str], Defining]  # by label and version


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
    run: Run = field(repr=False)
    table: Table
    protocols: Protocols
    thumbnails: Mapping[str, str]  # of its data set, by sample id
    claimed: Collection[str] = ()  # ``Published.place`` of figures that stand beside measured ones elsewhere

    @property
    def columns(self) -> tuple[Defined, ...]:
        return self.protocols[self.table.protocol, self.table.version].metrics

    @property
    def images(self) -> str:
        return of_images(*self.table.images, shown=count)

    @property
    def pixels(self) -> str:
        """Such as ``1 000 anomalous, 9 000 normal``; empty where full rows differ in that."""
        several = {tuple(line.result.pixels.items()) for line in self.table.lines if not line.result.partial}
        return ", ".join(f"{count(each)} {name}" for name, each in several.pop()) if len(several) == 1 else ""

    @cached_property
    def drawn(self) -> Mapping[str, Any]:
        """The data of its charts."""
        return data.board(self.run, self.table)

    @cached_property
    def published(self) -> Beside:
        """Return what others have published on its data set, and nobody claims to have measured here."""
        others = beside(self.table.cell, self.table.metrics)
        return replace(others, entries=tuple(row for row in others.entries if row.place not in self.claimed))

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
        shown = {
            "outliers": scored or any(each.outliers for each in facts),
            "retrained": several,
            "backbone": several and any(each.backbone for each in facts),
            "parameters": several and any(each.parameters for each in facts),
            "state": several and any(each.state for each in facts),
            "miou": several and scored and any(each.miou for each in facts),
            "miou_change": several and scored and any(each.miou_change for each in facts),
        }
        return [column for column in FACTS if shown[column[0]]]

    @property
    def model_facts(self) -> str:
        """Facts of the one network of the table, in words."""
        facts = self.table.lines[0].facts
        words = [facts.backbone] if facts.backbone else []
        words += [f"{millions(facts.parameters)} million parameters"] if facts.parameters else []
        words += [f"state {facts.state.replace('_', ' ')}"] if facts.state else []
        words += [f"mIoU {100 * facts.miou.value:.2f} on {facts.miou_dataset}"] if facts.miou else []
        return ", ".join([*words, *(["retrained"] * facts.retrained)])

    @property
    def width(self) -> int:
        """Columns of the table."""
        names = 1 + self.table.scored + (self.table.model is None)
        return names + len(self.columns) + (self.axis is not None) + bool(self.baseline) + len(self.facts)

    @property
    def slices(self) -> list[Slice]:
        first = next(iter(self.table.metrics.items()), None)
        axes = dict.fromkeys(axis for line in self.table.lines for axis in line.result.slices)
        return [_slice(self.table.lines, axis, *first) for axis in axes] if first else []

    @property
    def certified(self) -> bool:
        """Whether any figure of it is known only within a half-width."""
        values = [figure.value for line in self.table.lines for figure in line.figures]
        return any(isinstance(value, Value) and value.err > 0 for value in values)

    @property
    def leads(self) -> Iterator[Lead[Line]]:
        """Who leads, for each group."""
        return _leads(((g.outliers, g.lines) for g in self.table.groups), lambda line: line.figures[0].best)

    @property
    def worst(self) -> WorstImages | None:
        """The hardest images of the row that ranks first, if figures of images are there."""
        by_key = {series["key"]: series for series in self.drawn["series"] if "images" in series}
        series = next((by_key[line.result.key] for line in self.table.lines if line.result.key in by_key), None)
        if series is None:
            return None
        figures = series["images"]
        metric = self.table.metrics[figures["metric"]["name"]]
        worst = list(zip(figures["ids"], figures["values"], strict=True))[:WORST]
        images = (
            {"id": image, "shown": number(value, metric), "thumb": self.thumbnails.get(image, "")}
            for image, value in worst
        )
        return WorstImages(series["name"], metric.title, tuple(images), figures["undefined"])

    @cached_property
    def axis(self) -> Axis | None:
        """From the lowest to the highest end of an interval of what ranks, with room, and round numbers for ticks."""
        if self.table.ranking is None:
            return None
        values = [line.figures[0].value for line in self.table.lines]
        known = [value for value in values if isinstance(value, Value)]
        ends = [end for value in known for end in (value.value, value.lo, value.hi) if end is not None]
        if not ends:
            return None
        room = max(0.06 * (max(ends) - min(ends)), 0.002)
        low, high = min(ends) - room, max(ends) + room
        step = next(step for step in _steps() if (high - low) / step < 4)
        ticks = (round(index * step, 10) for index in range(math.ceil(low / step), math.floor(high / step) + 1))
        return Axis(low, high, tuple(ticks), self.table.ranking)


@dataclass(frozen=True)
class GridSheet:
    """A grid with its place on the page."""

    id: str
    grid: Grid
    protocols: Protocols

    @cached_property
    def published(self) -> Beside:
        """What others have published of the grid as a whole and of single corruptions."""
        rows: dict[Published, None] = {}
        split = ""
        for result in {result.labels.dataset: result for result in self.grid.results}.values():
            others = beside(result.cell, self.grid.metrics)
            rows |= dict.fromkeys(others.entries)
            split = split or others.split
        return Beside(split, self.grid.metrics, tuple(rows))

    @property
    def columns(self) -> list[Defined]:
        """The metrics that have a mean, and where the page defines them."""
        metrics = self.protocols[self.grid.protocol, self.grid.version].metrics
        return [defined for defined in metrics if defined.name in self.grid.directed]

    @property
    def view(self) -> View:
        return self.grid.views[self.grid.leading]

    @property
    def over(self) -> list[Place]:
        """What the last row of a table by corruption and severity holds."""
        return [*(Place("severity", severity) for severity in self.grid.severities), GRID]

    @property
    def means(self) -> list[tuple[grids.Line, list[grids.Line]]]:
        """Each row for the leading metric, and for all metrics."""
        return [(line, [view.of(line.row) for view in self.grid.views.values()]) for line in self.view.lines]

    @property
    def leads(self) -> Iterator[Lead[grids.Line]]:
        """Who leads by the mean over the grid, those that saw outliers apart."""
        groups = ((saw, [line for line in self.view.lines if line.row.outliers == saw]) for saw in (False, True))
        return _leads(groups, lambda line: GRID in line.best)

    def shade(self, value: float) -> int:
        """From 0 for the best of all cells to SHADES for the worst."""
        return round(SHADES * self.view.standing(value))


@dataclass(frozen=True)
class SummarySheet:
    """A table of figures over several cells with the definitions of its metrics."""

    table: SummaryTable
    protocols: Protocols

    @property
    def columns(self) -> list[Defined]:
        versions = [protocol for protocol in self.protocols.values() if protocol.label == self.table.protocol]
        known = {defined.name: defined for protocol in versions for defined in protocol.metrics}
        return [known.get(name, Defined("", name, metric)) for name, metric in self.table.metrics.items()]


def defining(tables: Sequence[Table | Grid]) -> Protocols:
    """Return where the page defines the metrics of each version of a protocol."""
    protocols: dict[tuple[str, str], Defining] = {}
    for table in tables:
        if (table.protocol, table.version) not in protocols:
            stem = f"m{len(protocols) + 1}"
            named = enumerate(table.metrics.items(), 1)
            metrics = tuple(Defined(f"{stem}-{index}", name, metric) for index, (name, metric) in named)
            defined = Defining(table.title, table.protocol, table.version, table.source, metrics)
            protocols[table.protocol, table.version] = defined
    return protocols


def _leads(groups: Iterable[tuple[bool, Sequence[Ranked]]], clear: Callable[[Ranked], bool]) -> Iterator[Lead[Ranked]]:
    for outliers, lines in groups:
        ranked = [line for line in lines if line.rank is not None]
        if first := [line for line in ranked if line.rank == 1]:
            sure = clear(first[0])
            yield outliers, first, sure, ("clear" if sure else "not clear") if len(ranked) > 1 else "no rival"


def _slice(lines: Sequence[Line], axis: str, name: str, metric: Metric) -> Slice:
    parts: dict[str, int] = {}
    for line in lines:
        for part, content in line.result.slices.get(axis, {}).items():
            parts.setdefault(part, content["images"])
    rows = []
    for line in lines:
        of_axis = line.result.slices.get(axis, {})
        rows.append((line, tuple(of_axis[part]["metrics"].get(name) if part in of_axis else None for part in parts)))
    return Slice(axis, metric, tuple({"name": part, "images": images} for part, images in parts.items()), tuple(rows))


def _steps() -> Iterator[float]:
    exponent = -3
    while True:
        yield from (factor * 10.0**exponent for factor in (1, 2, 5))
        exponent += 1
