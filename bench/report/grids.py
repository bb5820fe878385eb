"""A grid of corruptions and severities as every format shows it: means, who leads in them, and each cell.

A mean is unweighted, over the cells of the plan, by ``bench.results.summary``. It has no value while one is missing,
partial or undefined. Rows are ranked by the mean over the grid, and a mean is best only where the paired interval of
its difference to every other row excludes 0, as in ``bench.report.leaderboard``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import zip_longest
from typing import Any, NamedTuple

from bench.api import Metric, Undefined, Value
from bench.report.figures import LACKING, Absence, absences, gain, leader, ranks, uses_outliers, version
from bench.results import summary
from bench.results.store import CellLabels, Ref, Result, Run, uncorrupted
from bench.results.summary import Mean
from bench.suite.wrappers.corrupted import FAMILIES

Spot = tuple[str, int]  # corruption and severity
Entry = Mapping[str, Any]  # a figure over several cells, as summaries.json holds it


class Place(NamedTuple):
    """What a mean is over; ``of`` is the corruption, the family or the severity, and empty for the other two."""

    kind: str  # clean, severity, family, corruption or grid
    of: str | int = ""

    @property
    def title(self) -> str:
        return {"severity": f"severity {self.of}", "grid": "mean"}.get(self.kind, str(self.of or self.kind))


PENDING, PARTIAL, NONE = "\N{HORIZONTAL ELLIPSIS}", "*", "n/a"
CLEAN, GRID = Place("clean"), Place("grid")


@dataclass(frozen=True, eq=False)
class Row:
    """A method, or a model where the protocol has no methods, and its results."""

    name: str
    outliers: bool  # whether the method was trained with data that shows anomalies
    cells: Mapping[Spot, Result | None]  # those of the plan; None where there is no result yet
    clean: Result | None

    def at(self, place: Place) -> list[Result]:
        """The results that a mean is over; those that are there."""
        if place == CLEAN:
            return [self.clean] if self.clean else []
        return [result for spot in self._spots.get(place, ()) if (result := self.cells[spot])]

    def asked(self, place: Place) -> int:
        """How many cells the plan has for a mean."""
        return 1 if place == CLEAN else len(self._spots.get(place, ()))

    @cached_property
    def _spots(self) -> Mapping[Place, Sequence[Spot]]:
        """The cells of each mean."""
        spots: dict[Place, list[Spot]] = {}
        for spot in self.cells:
            for place in means_of(spot):
                spots.setdefault(place, []).append(spot)
        return spots


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """A row for one metric. Without a rank its mean over the grid has no value, or the metric does not rank."""

    rank: int | None
    row: Row
    metric: str
    means: Mapping[Place, Mean]
    best: frozenset[Place]  # where it leads every other row that it is ranked with

    def figure(self, spot: Spot) -> Value | Undefined | None:
        """The figure of a cell; None where there is no result yet."""
        result = self.row.cells.get(spot)
        if result is None:
            return None
        if result.not_applicable:
            return Undefined(result.not_applicable)
        return result.metrics.get(self.metric, LACKING)

    def mark(self, spot: Spot) -> str:
        """What stands beside a figure, or instead of it; empty for a plain figure and a cell that is not asked for."""
        if spot not in self.row.cells:
            return ""
        figure, result = self.figure(spot), self.row.cells[spot]
        if figure is None or result is None:
            return PENDING
        if isinstance(figure, Undefined):
            return NONE
        return PARTIAL if result.partial else ""

    @property
    def marks(self) -> dict[str, str]:
        """Each mark of its cells, and what it means."""
        meanings = {PENDING: "has no result yet", PARTIAL: "saw only some of the images", NONE: "is undefined"}
        shown = {self.mark(spot) for spot in self.row.cells}
        return {mark: meaning for mark, meaning in meanings.items() if mark in shown}


@dataclass(frozen=True, eq=False)
class View:
    """What a grid says of one metric."""

    name: str
    metric: Metric
    lines: tuple[Line, ...]  # ranked ones first; those trained with outlier data last

    @cached_property
    def incomplete(self) -> tuple[str, ...]:
        """Why means have no value."""
        means = [line.means[GRID] for line in self.lines]
        return tuple(dict.fromkeys(mean.reason for mean in means if mean.reason and not mean.unfinished))

    def standing(self, value: float) -> float:
        """Where a figure stands between the best of all cells, 0, and the worst, 1; 0 where all are equal."""
        best, worst = self._ends or (0.0, 0.0)
        return 0.0 if best == worst else (best - gain(value, self.metric)) / (best - worst)

    @property
    def ends(self) -> tuple[float, float] | None:
        """The best and the worst figure of all cells; None where no cell has one."""
        return None if self._ends is None else (gain(self._ends[0], self.metric), gain(self._ends[1], self.metric))

    @cached_property
    def _ends(self) -> tuple[float, float] | None:
        figures = (line.figure(spot) for line in self.lines for spot in line.row.cells)
        gains = [gain(figure.value, self.metric) for figure in figures if isinstance(figure, Value)]
        return (max(gains), min(gains)) if gains else None

    @property
    def ranked(self) -> bool:
        return any(line.rank is not None for line in self.lines)

    @property
    def mixed(self) -> bool:
        """Whether some rows were trained with data that shows anomalies, and some without."""
        return len({line.row.outliers for line in self.lines}) > 1

    def of(self, row: Row) -> Line:
        """The line of a row."""
        return self.by_name[row.name]

    @cached_property
    def by_name(self) -> Mapping[str, Line]:
        """The lines by the names of their rows."""
        return {line.row.name: line for line in self.lines}


@dataclass(frozen=True, eq=False)
class Grid:
    """One protocol, model and data set under several corruptions."""

    run: Run
    protocol: str
    title: str  # of the protocol
    source: str
    version: str
    model: str | None  # None where rows are models
    dataset: str  # label of the data set as it is
    order: str  # rgb; or bgr: corrupted with the channels in OpenCV's order
    metrics: Mapping[str, Metric]
    rows: tuple[Row, ...]  # in the order of the plan
    absences: tuple[Absence, ...]
    results: tuple[Result, ...]  # of the corrupted data sets, those that cannot be evaluated included
    datasets: Mapping[str, Spot]  # corrupted data sets by label

    @property
    def scored(self) -> bool:
        """Whether rows are methods."""
        return self.model is not None

    @cached_property
    def families(self) -> dict[str, tuple[str, ...]]:
        """Corruptions by family, in the library's order."""
        present = {name for name, _ in self.datasets.values()}
        families: dict[str, tuple[str, ...]] = {}
        for name, family in FAMILIES.items():
            if name in present:
                families[family] = (*families.get(family, ()), name)
        return families

    @cached_property
    def corruptions(self) -> tuple[str, ...]:
        return tuple(name for names in self.families.values() for name in names)

    @cached_property
    def severities(self) -> tuple[int, ...]:
        return tuple(sorted({severity for _, severity in self.datasets.values()}))

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """The columns of an overview: what ranks, clean, severities, families."""
        labels = (*self.run.plan.cells, *(result.labels for result in self.run.results))
        clean = any(
            cell.dataset == self.dataset and cell.protocol == self.protocol and self.model in (None, cell.model)
            for cell in labels
        )
        several = [places for places in (self._severities, self._families) if len(places) > 1]  # a lone one is the grid
        return (GRID, *[CLEAN] * clean, *(place for places in several for place in places))

    @property
    def _severities(self) -> list[Place]:
        return [Place("severity", severity) for severity in self.severities]

    @property
    def _families(self) -> list[Place]:
        return [Place("family", family) for family in self.families]

    @property
    def name(self) -> str:
        """Such as ``toytown, corrupted``."""
        return f"{self.dataset}, corrupted" + (" (channels in BGR order)" if self.order == "bgr" else "")

    @property
    def size(self) -> str:
        """Such as ``15 corruptions at 4 severities, 60 data sets``."""
        names, severities = len(self.corruptions), len(self.severities)
        kinds = f"{names} corruption{'s' * (names != 1)} at {severities} severit{'y' if severities == 1 else 'ies'}"
        return f"{kinds}, {len(self.datasets)} data sets"

    @cached_property
    def every_place(self) -> tuple[Place, ...]:
        """What there is a mean over."""
        corruptions = (Place("corruption", name) for name in self.corruptions)
        return (CLEAN, *self._severities, *self._families, *corruptions, GRID)

    @property
    def directed(self) -> dict[str, Metric]:
        """The metrics that have a mean: those with a better direction."""
        return {name: metric for name, metric in self.metrics.items() if metric.better != "neither"}

    @property
    def leading(self) -> str:
        """The metric that is shown first: the one that ranks, or else the first with a direction."""
        return next(iter(self.directed))

    @cached_property
    def views(self) -> Mapping[str, View]:
        """Every mean of each metric that has a better direction."""
        return {name: self._view(name, metric) for name, metric in self.directed.items()}

    def _view(self, name: str, metric: Metric) -> View:
        means = {
            row.name: {
                place: summary.mean(self.run, row.at(place), name, row.asked(place)) for place in self.every_place
            }
            for row in self.rows
        }
        by_name: dict[str, int] = {}
        best: dict[str, set[Place]] = {row.name: set() for row in self.rows}
        for outliers in (False, True):
            members = [row for row in self.rows if row.outliers == outliers]
            if next(iter(self.metrics)) == name:
                values = {row.name: means[row.name][GRID].value for row in members}
                by_name |= ranks({row: value for row, value in values.items() if value is not None}, metric)
            for place in self.every_place:
                top = _leader(members, {row.name: means[row.name][place] for row in members}, place, name, metric)
                if top is not None:
                    best[top].add(place)

        def order(row: Row) -> tuple[Any, ...]:
            value = means[row.name][GRID].value
            return row.outliers, value is None, 0.0 if value is None else -gain(value, metric)

        lines = (
            Line(by_name.get(row.name), row, name, means[row.name], frozenset(best[row.name]))
            for row in sorted(self.rows, key=order)
        )
        return View(name, metric, tuple(lines))


def _leader(rows: Sequence[Row], means: Mapping[str, Mean], place: Place, name: str, metric: Metric) -> str | None:
    """The row that leads in a mean; none while one is unfinished."""
    if any(mean.unfinished for mean in means.values()):
        return None
    values = {row: Value(mean.value, mean.err) for row, mean in means.items() if mean.value is not None}
    results = {row.name: row.at(place) for row in rows}
    return leader(values, results, lambda row: means[row].draws, name, metric)[0]


def means_of(spot: Spot) -> tuple[Place, ...]:
    """Return the means that a cell goes into."""
    name, severity = spot
    return GRID, Place("severity", severity), Place("corruption", name), Place("family", FAMILIES[name])


def apart(run: Run, grids_: Sequence[Grid]) -> list[Result]:
    """Return the results that are no part of a grid."""
    inside = {result.key for grid in grids_ for result in grid.results}
    return [result for result in run.results if result.key not in inside]


def remaining(
    run: Run, grids_: Sequence[Grid], entries: Sequence[Entry]
) -> tuple[list[Entry], dict[tuple[str, str], tuple[str, str]]]:
    """Return the summaries that no grid shows, and which of them share a table, for ``summaries.tables``.

    A grid shows the means over itself, a severity, a family and a corruption. What else is asked of corrupted data
    sets comes once for every member of a list: ``NAME: X``, or ``NAME, on X`` for the operating points.
    """
    shown = {(grid.protocol, grid.model, labels) for grid in grids_ for labels in _covered(grid)}
    corrupted = [(grid.protocol, label) for grid in grids_ for label in grid.datasets]
    covered = {(rule["name"], rule["protocol"]): rule.get("datasets", ()) for rule in run.plan.summaries}
    points = {
        (f"{rule['name']}, on {label}", protocol): (f"{rule['name']}, on corrupted data sets", label)
        for rule in run.plan.operating_points
        for protocol, label in corrupted
    }
    kept: list[Entry] = []
    parts: dict[tuple[str, str], tuple[str, str]] = {}
    for entry in entries:
        name, protocol = key = str(entry.get("name")), str(entry.get("protocol"))
        datasets = covered.get(key, ())
        if shown & {(protocol, model, frozenset(datasets)) for model in (None, entry.get("model"))}:
            continue
        kept.append(entry)
        if datasets and ": " in name and {(protocol, label) for label in datasets} <= set(corrupted):
            head, _, part = name.rpartition(": ")
            parts[key] = (head, part)
        if key in points:
            parts[key] = points[key]
    return kept, parts


def _covered(grid: Grid) -> set[frozenset[str]]:
    """The data sets of each mean that a grid's view shows."""
    by_place: dict[Place, set[str]] = {}
    for label, spot in grid.datasets.items():
        for place in means_of(spot):
            by_place.setdefault(place, set()).add(label)
    return set(map(frozenset, by_place.values()))


def grids(run: Run) -> list[Grid]:
    """Return each grid in the order of the plan. A data set under a single corruption is none: it has its table."""
    refs: dict[str, Ref] = {}  # data sets by label
    for result in run.results:
        refs.setdefault(result.labels.dataset, result.cell.dataset)
    by_key = {result.key: result for result in run.results}
    scored = {result.labels.protocol: result.labels.method for result in run.results if result.ranked}
    plans: dict[tuple[_Name, str | None], _Plan] = {}
    for key, planned in zip_longest(run.plan.keys, run.plan.cells):
        cell = by_key.get(key)
        labels = cell.labels if cell else planned
        if labels is None or labels.protocol not in scored:
            continue
        dataset = cell.cell.dataset if cell else refs.get(labels.dataset)
        base, corruption = (dataset.plain.label, dataset.corruption) if dataset else uncorrupted(labels.dataset)
        if corruption is None or corruption.name not in FAMILIES:
            continue
        name = _Name(labels.protocol, labels.model if scored[labels.protocol] else None, base, corruption.order)
        plain = dataset.plain.identity if dataset else None
        # A cell without any sibling to ask for its parameters belongs to the first grid of that name.
        alike = [plan for plan in plans.values() if plan.name == name and len({plain, plan.plain, None}) < 3]
        plan = alike[0] if alike else plans.setdefault((name, plain), _Plan(name, plain))
        plan.plain = plan.plain or plain
        plan.cells.append((labels, (corruption.name, corruption.severity), cell))
    return [grid for plan in plans.values() for grid in plan.grids(run)]


class _Name(NamedTuple):
    """What the cells of a grid have in common."""

    protocol: str
    model: str | None  # None where rows are models
    dataset: str
    order: str


@dataclass(eq=False)
class _Plan:
    """The cells of a grid that the plan has, with their results."""

    name: _Name
    plain: str | None  # what the data set is without its corruptions; None while no result says so
    cells: list[tuple[CellLabels, Spot, Result | None]] = field(default_factory=list)

    def grids(self, run: Run) -> Iterator[Grid]:
        """One for each version of the protocol: two versions never share a mean."""
        datasets = {labels.dataset: spot for labels, spot, _ in self.cells}
        if len(datasets) < 2:
            return
        versions: dict[Any, list[Result]] = {}
        for _, _, result in self.cells:
            if result:
                versions.setdefault(version(result), []).append(result)
        for number, results in versions.items():
            first = next((result for result in results if not result.not_applicable), results[0])
            if all(metric.better == "neither" for metric in first.definitions.values()):
                continue  # nothing has a mean
            about, rows = first.about.get("protocol", {}), tuple(self._rows(run, results, number))
            title, source = str(about.get("title") or self.name.protocol), str(about.get("source", ""))
            head = (self.name.protocol, title, source, str(number or ""), *self.name[1:], first.definitions)
            yield Grid(run, *head, rows, absences(results), tuple(results), datasets)

    def _rows(self, run: Run, results: Sequence[Result], number: Any) -> Iterator[Row]:
        protocol, model, dataset, _ = self.name
        keys = {result.key for result in results}
        axis = "method" if model else "model"
        rows: dict[str, dict[Spot, Result | None]] = {}
        for labels, spot, result in self.cells:
            rows.setdefault(labels.on(axis), {})[spot] = result if result and result.key in keys else None
        plain = [
            result
            for result in run.results
            if (result.labels.dataset, result.labels.protocol) == (dataset, protocol)
            and model in (None, result.labels.model)
            and version(result) == number
            and result.cell.dataset.corruption is None
            and result.cell.dataset.plain.identity == self.plain
        ]
        for name, cells in rows.items():
            finished = [result for result in cells.values() if result]
            if not finished or not all(result.not_applicable for result in finished):
                clean = next((result for result in plain if result.labels.on(axis) == name), None)
                yield Row(name, any(map(uses_outliers, finished)), cells, clean)
