"""A run as one page that opens offline for years: no script, style, font or image from elsewhere.

Labels, titles and notes are hostile input: everything is escaped, and the page's own policy lets nothing run or load
but the style and the script that came with it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from bench.api import Metric, Undefined, Value
from bench.reports import grids, leaderboard
from bench.reports.grids import CLEAN, GRID, Grid, Place, View
from bench.reports.leaderboard import Line, SummaryTable, Table
from bench.store import Result, Run

LISTED = 200  # missing cells that are named; the page has to stay small
SHADES = 8  # of the cells of a grid, beside none; grid.css has a class for each

Fields = list[tuple[str, str]]


def render(run: Run, summaries: Sequence[Mapping[str, Any]]) -> str:
    """Write the whole page. Links to results are relative to the run directory."""
    found = grids.grids(run)
    tables = leaderboard.tables(run, grids.apart(run, found))
    protocols = _protocols([*tables, *found])
    shared = _shared(run.results)
    style, script = _template("style.css") + (_template("grid.css") if found else ""), _template("page.js")
    left, parts = grids.remaining(run, found, summaries)
    inside = [result for grid in found for result in grid.results]
    gridded = {result.key for result in inside}
    cells = [_cell(result, shared) for result in run.results]
    environment = Environment(
        loader=FunctionLoader(_template),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"figure": _minus, "count": _count, "breakable": _breakable, "percent": leaderboard.percent}
    environment.globals |= {"certified": leaderboard.certified, "interval": leaderboard.interval}
    environment.globals |= {"number": leaderboard.number, "CLEAN": CLEAN, "GRID": GRID, "Place": Place}
    environment.tests["undefined_figure"] = lambda value: isinstance(value, Undefined)
    return (
        environment.get_template("page.html")
        .render(
            plan=run.plan,
            results=run.results,
            sheets=[_sheet(f"t{index}", table, protocols) for index, table in enumerate(tables, 1)],
            grids=[GridSheet(f"g{index}", grid, protocols) for index, grid in enumerate(found, 1)],
            gridded=[
                _sheet(f"c{index}", table, protocols) for index, table in enumerate(leaderboard.tables(run, inside), 1)
            ],
            summaries=[_SummarySheet(table, protocols) for table in leaderboard.summary_tables(run, left, parts)],
            protocols=list(protocols.values()),
            methods=_sources(run.results, {result.key: grid.name for grid in found for result in grid.results}),
            cost=_cost(run.results),
            fitted=_fitted(run.results),
            facts=_facts(run, shared),
            shared=sorted(shared.items()),
            cells=[cell for cell in cells if cell.result.key not in gridded],
            gridded_cells=[cell for cell in cells if cell.result.key in gridded],
            missing=_missing(run),
            missing_count=run.missing,
            style=Markup(style),  # noqa: S704 - a file of this package
            script=Markup(script),  # noqa: S704
            style_hash=_policy_hash(style),
            script_hash=_policy_hash(script),
        )
        .lstrip()
    )


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
        return _minus(f"{value if self.metric.better == 'neither' else 100 * value:.6g}")


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
class Sheet:
    """A table with its place on the page."""

    id: str
    table: Table
    columns: tuple[Defined, ...]
    axis: Axis | None
    images: str
    pixels: str

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
    def columns(self) -> list[Defined]:
        """The metrics that have a mean, and where the page defines them."""
        metrics = self.protocols[self.grid.protocol, self.grid.version].metrics
        return [defined for defined in metrics if defined.name in self.grid.directed]

    @property
    def view(self) -> View:
        return self.grid.view(self.grid.leading)

    @property
    def others(self) -> list[View]:
        return [self.grid.view(name) for name in list(self.grid.directed)[1:]]

    @property
    def over(self) -> list[Place]:
        """What the last row of a table by corruption and severity holds."""
        return [*(Place("severity", severity) for severity in self.grid.severities), GRID]

    @property
    def means(self) -> list[tuple[grids.Line, list[grids.Line]]]:
        """Each row for the leading metric, and for all metrics."""
        views = [self.view, *self.others]
        by_row = [{line.row: line for line in view.lines} for view in views]
        return [(line, [lines[line.row] for lines in by_row]) for line in self.view.lines]

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
class _SummarySheet:
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


@dataclass(frozen=True)
class CellView:
    """What is said of one cell below the tables."""

    result: Result
    name: str
    link: str
    fields: Fields


def _template(name: str) -> str:
    return resources.files("bench.reports").joinpath("templates", name).read_text(encoding="utf-8")


def _policy_hash(content: str) -> str:
    """As a Content-Security-Policy spells it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


def _minus(text: str) -> str:
    return text.replace("-", "\N{MINUS SIGN}")


def _breakable(label: str) -> Markup:
    """Let a narrow column break a label after a bracket, a comma or an underscore."""
    return Markup("<wbr>").join(re.split(r"(?<=[\[,_=/])", label))


def _count(value: int) -> str:
    return f"{value:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def _protocols(tables: Sequence[Table | Grid]) -> dict[tuple[str, str], Defining]:
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


def _sheet(identifier: str, table: Table, protocols: Mapping[tuple[str, str], Defining]) -> Sheet:
    pixels = {tuple(line.result.pixels.items()) for line in table.lines if not line.result.partial}
    return Sheet(
        identifier,
        table,
        protocols[table.protocol, table.version].metrics,
        _axis(table),
        " or ".join(map(_count, table.images)),
        ", ".join(f"{_count(count)} {name}" for name, count in pixels.pop()) if len(pixels) == 1 else "",
    )


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


def _sources(results: Iterable[Result], grids_by_key: Mapping[str, str]) -> list[tuple[str, Fields]]:
    """Where models, data sets and methods come from, by axis and label; the data sets of a grid are one."""
    found: dict[str, dict[str, str]] = {"Methods": {}, "Models": {}, "Data sets": {}}
    for result in results:
        for title, axis in zip(found, ("method", "model", "dataset"), strict=True):
            if source := result.about.get(axis, {}).get("source"):
                label = grids_by_key.get(result.key) if axis == "dataset" else None
                found[title][label or result.labels[axis]] = str(source)
    return [(title, list(entries.items())) for title, entries in found.items() if entries]


@dataclass(frozen=True)
class Cost:
    """Time per image and memory, by cell."""

    stages: tuple[str, ...]
    rows: tuple[tuple[CellView, tuple[float | None, ...]], ...]  # milliseconds per image, by stage


def _cost(results: Iterable[Result]) -> Cost:
    timed = [result for result in results if result.seconds and result.images and not result.not_applicable]
    stages = tuple(dict.fromkeys(stage for result in timed for stage in result.seconds))
    rows = []
    for result in timed:
        spent = [result.seconds.get(stage) for stage in stages]
        rows.append((_cell(result, {}), tuple(None if each is None else 1000 * each / result.images for each in spent)))
    return Cost(stages, tuple(rows))


def _fitted(results: Iterable[Result]) -> list[tuple[list[str], Fields]]:
    """Each thing that was fitted, once, and who used it."""
    found: dict[str, tuple[list[str], Fields]] = {}
    for result in results:
        if result.fitted:
            users, _ = found.setdefault(json.dumps(result.fitted, sort_keys=True), ([], _flat(result.fitted)))
            if leaderboard.pair(result) not in users:
                users.append(leaderboard.pair(result))
    return list(found.values())


def _facts(run: Run, shared: Mapping[str, str]) -> Fields:
    images: dict[str, int] = {}
    for result in run.results:
        if not result.not_applicable:
            label = result.labels["dataset"]
            images[label] = max(result.images, images.get(label, 0))
    facts = [("Images", _images(images))] if images else []
    facts.append(("Cells", f"{len(run.results)} of {len(run.plan.keys)}" if run.missing else str(len(run.results))))
    made = sorted(str(result.provenance["created"]) for result in run.results if result.provenance.get("created"))
    if made:
        facts.append(("Computed", _span(_moment(made[0]), _moment(made[-1]))))
    known = {"numerics.device": "Device", "ood_seg_bench": "ood-seg-bench", "commit": "Commit"}
    return facts + [(title, shared[name][:12]) for name, title in known.items() if shared.get(name)]


def _images(by_dataset: Mapping[str, int]) -> str:
    counts = sorted(set(by_dataset.values()))
    if len(by_dataset) == 1 or (len(counts) > 1 and len(by_dataset) <= 4):
        return ", ".join(f"{_count(count)} of {label}" for label, count in by_dataset.items())
    if len(counts) == 1:
        return f"{_count(counts[0])} in each of {len(by_dataset)} data sets"
    return f"{_count(counts[0])} to {_count(counts[-1])} in each of {len(by_dataset)} data sets"


def _span(first: str, last: str) -> str:
    if first == last:
        return first
    if first.endswith(" UTC") and last.endswith(" UTC"):
        first, last = first.removesuffix(" UTC"), last.removeprefix(first[:11])
    return f"{first} to {last}"


def _moment(text: str) -> str:
    """Minutes are enough for a reader; what is no date stays as it is."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    zone = " UTC" if moment.tzinfo else ""
    return f"{moment.astimezone(UTC) if zone else moment:%Y-%m-%d %H:%M}{zone}"


def _shared(results: Sequence[Result]) -> dict[str, str]:
    """Say once what the provenance of all results has in common."""
    every = [dict(_flat(result.provenance)) for result in results]
    first = every[0] if every else {}
    return {
        name: text
        for name, text in first.items()
        if name != "command" and all(other.get(name) == text for other in every)
    }


def _cell(result: Result, shared: Mapping[str, str]) -> CellView:
    axes = {axis: entry for axis, entry in result.cell.items() if isinstance(entry, Mapping) and entry.get("params")}
    fields = [("not applicable", result.not_applicable)] if result.not_applicable else []
    fields += [(name, text) for name, text in _flat(result.provenance) if name not in shared]
    fields += [(f"{axis} {entry['name']}", json.dumps(entry["params"])) for axis, entry in axes.items()]
    fields += [(f"{name} pixels", _count(count)) for name, count in result.pixels.items()]
    fields += [(f"depends on {name}", str(digest)) for name, digest in result.depends.items()]
    return CellView(result, leaderboard.pair(result), f"cells/{quote(result.key, safe='')}.json", fields)


def _missing(run: Run) -> list[str]:
    """Name the cells without a result; by key where the plan has no words for them."""
    there = {result.key for result in run.results}
    words = {
        key: " / ".join(map(str, labels.values())) for key, labels in zip(run.plan.keys, run.plan.cells, strict=False)
    }
    return [words.get(key) or key for key in run.plan.keys if key not in there][:LISTED]


def _flat(entries: Mapping[str, Any], prefix: str = "") -> Fields:
    """Nested mappings as dotted names; what is empty is left out."""
    fields: Fields = []
    for name, value in entries.items():
        if isinstance(value, Mapping):
            fields += _flat(value, f"{prefix}{name}.")
        elif value is not None and value != "":
            fields.append((f"{prefix}{name}", value if isinstance(value, str) else json.dumps(value)))
    return fields
