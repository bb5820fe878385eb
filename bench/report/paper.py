"""The table of a paper, free of any format: methods down, data sets across, a few metrics of each.

Figures, what is best and what cannot be compared are those of ``bench.report.leaderboard`` and, for the mean over a
grid of corruptions, of ``bench.report.grids``: a row that is ranked apart there has its mark here.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from bench.api import Metric, Undefined, Value
from bench.report import grids
from bench.report.facts import Facts, Networks
from bench.report.figures import Change, Figure, absent_cells, numbered, paired, reference
from bench.report.grids import GRID, Grid
from bench.report.leaderboard import Baseline, Table
from bench.report.selection import Choice
from bench.report.text import of_images
from bench.results.resampled import between
from bench.results.store import CellLabels, Result, Run

Pair = tuple[str, str]  # model and method

MOST = 3  # metrics of a protocol, unless they are chosen
PENDING = "no result yet"
OUTLIERS = "trained with data that shows anomalies; compared among themselves"
REFERENCE = "as the published code computes it, known defects included"
NOT_ASKED = "not asked for on this data set"


@dataclass(frozen=True, slots=True)
class Block:
    """A group of columns: what one protocol says of one data set."""

    dataset: str
    protocol: str  # title; empty where the data set has but one block
    metrics: Mapping[str, Metric]
    about: str  # images, or the size of the grid that the figures are means over


@dataclass(frozen=True, slots=True)
class Row:
    """A method, on the model of its section."""

    method: str
    outliers: bool
    reference: bool
    facts: Facts | None
    result: Result | None  # of the first block that has one
    figures: tuple[Figure, ...]  # of all blocks, one after the other


@dataclass(frozen=True, slots=True)
class Section:
    """The rows of one model."""

    model: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Paper:
    """The whole table."""

    blocks: tuple[Block, ...]
    sections: tuple[Section, ...]
    notes: tuple[str, ...]  # why figures are undefined; Figure.note counts from 1
    remarks: tuple[str, ...]  # why nothing is bold
    definitions: tuple[tuple[str, str, Mapping[str, Metric]], ...]  # of each protocol: title, source, metrics

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Of every column of figures."""
        return tuple(metric for block in self.blocks for metric in block.metrics.values())

    @property
    def rows(self) -> tuple[Row, ...]:
        return tuple(row for section in self.sections for row in section.rows)


def pivot(run: Run, tables: Sequence[Table], grids_: Sequence[Grid], choice: Choice) -> Paper:
    """Return methods by data sets. Protocols without methods have no column; mIoU is a fact of a network."""
    missing = [labels for _, labels in absent_cells(run) if labels and labels.method]
    parts = [_of_table(run, table, choice, missing) for table in tables if table.scored or table.absences]
    parts += _of_grids([grid for grid in grids_ if grid.scored], choice, missing)
    parts = [part for part in parts if part.metrics and (part.entries or part.absent)]
    facts = Networks(run).of_rows(run.results)
    notes: dict[str, int] = {}
    sections = [
        Section(model, tuple(_row(parts, (model, method), facts, notes) for method in _ordered(parts, model, methods)))
        for model, methods in _rows(run, parts).items()
    ]
    datasets = [part.dataset for part in parts]
    blocks = [
        Block(part.dataset, part.title if datasets.count(part.dataset) > 1 else "", part.metrics, part.about)
        for part in parts
    ]
    definitions = {(part.title, part.source): part.metrics for part in reversed(parts)}
    return Paper(
        tuple(blocks),
        tuple(sections),
        tuple(notes),
        tuple(dict.fromkeys(remark for part in parts for remark in part.remarks)),
        tuple((title, source, metrics) for (title, source), metrics in reversed(definitions.items())),
    )


@dataclass(frozen=True)
class _Entry:
    """What a block has of a row."""

    figures: Sequence[Figure]
    result: Result | None
    rank: int | None
    outliers: bool


@dataclass(frozen=True)
class _Part:
    """A block before rows are known."""

    dataset: str
    title: str
    source: str
    about: str
    metrics: Mapping[str, Metric]
    entries: Mapping[Pair, _Entry]
    absent: Mapping[Pair, str]  # why there is no figure
    remarks: tuple[str, ...]


def _of_table(run: Run, table: Table, choice: Choice, missing: Sequence[CellLabels]) -> _Part:
    metrics = _kept(table.metrics, choice)
    entries = {}
    for line in table.lines:
        if line.method is not None:
            partial = line.result.images if line.result.partial else 0
            figures = [
                replace(figure, partial=partial if isinstance(figure.value, Value) else 0)
                for name, figure in zip(table.metrics, line.figures, strict=True)
                if name in metrics
            ]
            entries[line.model, line.method] = _Entry(figures, line.result, line.rank, line.facts.outliers)
    here = (table.protocol, table.dataset)
    absent = unanswered(result for result in run.results if (result.labels.protocol, result.labels.dataset) == here)
    absent |= pending(missing, table.protocol, [table.dataset], {*entries, *absent})
    about = of_images(*table.images) if table.lines else ""
    return _Part(table.dataset, table.title, table.source, about, metrics, entries, absent, table.remarks)


def _of_grids(scored: Sequence[Grid], choice: Choice, missing: Sequence[CellLabels]) -> Iterator[_Part]:
    """One for all models of a grid: means over it."""
    alike: dict[tuple[str, str, str], list[Grid]] = {}
    for grid in scored:
        alike.setdefault((grid.protocol, grid.name, grid.version), []).append(grid)
    for members in alike.values():
        first = members[0]
        metrics = _kept(first.directed, choice)
        entries: dict[Pair, _Entry] = {}
        absent: dict[Pair, str] = {}
        for grid in members:
            against = Baseline.of(grid.run, (row.name for row in grid.rows), choice.baseline)
            for row in grid.rows:
                lines = [grid.views[name].of(row) for name in metrics]
                befores = [against.among(grid.views[name].by_name, row.name) for name in metrics]
                figures = list(map(grid_mean, lines, befores, metrics.values()))
                result = next(filter(None, row.cells.values()), None)
                rank = grid.views[grid.leading].of(row).rank
                entries[str(grid.model), row.name] = _Entry(figures, result, rank, row.outliers)
            absent |= unanswered(grid.results)
            absent |= pending(missing, grid.protocol, list(grid.datasets), {*entries, *absent})
        remarks = (f"In {first.name} rows are compared with those of the same model.",) if len(members) > 1 else ()
        about = f"mean over {first.size}"
        yield _Part(first.name, first.title, first.source, about, metrics, entries, absent, remarks)


def unanswered(results: Iterable[Result]) -> dict[Pair, str]:
    """Why methods cannot be evaluated, by model and method."""
    return {
        (result.labels.model, result.labels.method): result.not_applicable
        for result in results
        if result.not_applicable and result.labels.method
    }


def pending(
    missing: Iterable[CellLabels], protocol: str, datasets: Sequence[str], known: Container[Pair]
) -> dict[Pair, str]:
    """Pairs that the plan has and no result knows of."""
    return {
        (labels.model, labels.on("method")): PENDING
        for labels in missing
        if labels.protocol == protocol
        and labels.dataset in datasets
        and (labels.model, labels.on("method")) not in known
    }


def grid_mean(line: grids.Line, before: grids.Line | None, metric: Metric) -> Figure:
    """Return the mean over a grid, with its difference to that of another row."""
    mean = line.means[GRID]
    if mean.value is None:
        return Figure(metric, Undefined(mean.reason or "no reason given"))
    moved = _moved(line, before) if before and before is not line else None
    return Figure(metric, Value(mean.value, mean.err, mean.lo, mean.hi), GRID in line.best, change=moved)


def _moved(line: grids.Line, before: grids.Line) -> Change | None:
    """The difference of two means over a grid, paired where every cell is."""
    mean, other = line.means[GRID], before.means[GRID]
    if mean.value is None or other.value is None:
        return None
    cells, others = line.row.cells, before.row.cells
    alike = cells.keys() == others.keys() and all(
        (result := cells[spot]) and (second := others[spot]) and paired(result, second, line.metric) for spot in cells
    )
    ends = between(mean.draws, other.draws) if alike else (None, None)
    return Change.of(Value(mean.value, mean.err), Value(other.value, other.err), ends)


def _kept(metrics: Mapping[str, Metric], choice: Choice) -> dict[str, Metric]:
    """Those chosen, or the first few with a better direction."""
    if choice.metrics:
        return dict(metrics)
    directed = [name for name, metric in metrics.items() if metric.better != "neither"]
    return {name: metrics[name] for name in directed[:MOST]}


def _rows(run: Run, parts: Sequence[_Part]) -> dict[str, list[str]]:
    """Methods by model, in the order of the plan."""
    named = {pair for part in parts for pair in (*part.entries, *part.absent)}
    rows: dict[str, list[str]] = {}
    known = (*run.plan.cells, *(result.labels for result in run.results))
    for model, method in dict.fromkeys((labels.model, labels.on("method")) for labels in known):
        if (model, method) in named:
            rows.setdefault(model, []).append(method)
    return rows


def _ordered(parts: Sequence[_Part], model: str, methods: Sequence[str]) -> list[str]:
    """By rank in the first block in which a row has one, those that saw anomalies last; else as planned."""

    def position(method: str) -> tuple[bool, float]:
        entries = [part.entries[model, method] for part in parts if (model, method) in part.entries]
        rank = next((float(entry.rank) for entry in entries if entry.rank is not None), float("inf"))
        return any(entry.outliers for entry in entries), rank

    return sorted(methods, key=position)


def _row(
    parts: Sequence[_Part], pair: Pair, facts: Mapping[tuple[str, str | None], Facts], notes: dict[str, int]
) -> Row:
    figures: list[Figure] = []
    for part in parts:
        reason = Undefined(part.absent.get(pair, NOT_ASKED))
        absent = [Figure(metric, reason) for metric in part.metrics.values()]
        figures += numbered(part.entries[pair].figures if pair in part.entries else absent, notes)
    entries = [part.entries[pair] for part in parts if pair in part.entries]
    results = [entry.result for entry in entries if entry.result]
    outliers = any(entry.outliers for entry in entries)
    first = results[0] if results else None
    return Row(pair[1], outliers, any(map(reference, results)), facts.get(pair), first, tuple(figures))
