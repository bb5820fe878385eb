"""The table of a paper, free of any format: methods down, data sets across, a few metrics of each.

Figures, what is best and what cannot be compared are those of ``bench.report.leaderboard`` and, for the mean over a
grid of corruptions, of ``bench.report.grids``: a row that is ranked apart there has its mark here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.api import Metric, Undefined, Value
from bench.core.errors import UnknownName
from bench.report import grids, leaderboard
from bench.report import text as shown
from bench.report.grids import GRID, Grid
from bench.report.leaderboard import Change, Facts, Figure, Table
from bench.report.selection import Choice
from bench.results.store import Result, Run
from bench.results.summary import between

MOST = 3  # metrics of a protocol, unless they are chosen
PENDING = "no result yet"
OUTLIERS = "trained with data that shows anomalies; compared among themselves"
REFERENCE = "as the published code computes it, known defects included"
NOT_ASKED = "not asked for on this data set"


@dataclass(frozen=True, slots=True)
class Column:
    """What a table can say of a row beside its figures."""

    title: str
    text: Callable[[Facts, Result | None], str]


COLUMNS: Mapping[str, Column] = {
    "ood": Column("OoD data", lambda facts, _: _yes(facts.outliers)),
    "retrained": Column("Retrained", lambda facts, _: _yes(facts.retrained)),
    "backbone": Column("Backbone", lambda facts, _: facts.backbone),
    "parameters": Column("Parameters", lambda facts, _: _millions(facts.parameters)),
    "miou": Column("mIoU", lambda facts, _: f"{100 * facts.miou.value:.2f}" if facts.miou else ""),
    "miou_change": Column("mIoU change", lambda facts, _: _points(facts.miou_change)),
    "images": Column("Images", lambda _, result: str(result.images) if result else ""),
    "seed": Column("Seed", lambda _, result: str(result.cell.get("seed", "")) if result else ""),
}


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
    partial: tuple[int, ...]  # by figure, how many images it is of if the result is partial, else 0


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


def columns(names: Sequence[str]) -> dict[str, Column]:
    """The columns asked for; raises UnknownName for one that there is not."""
    for name in names:
        if name not in COLUMNS:
            raise UnknownName("column", name, COLUMNS, "--columns")
    return {name: COLUMNS[name] for name in names}


def pivot(run: Run, choice: Choice | None = None) -> Paper:
    """Methods by data sets. Protocols without methods have no column; mIoU is a fact of a network."""
    choice = choice or Choice()
    found = grids.grids(run)
    tables = leaderboard.tables(run, grids.apart(run, found), baseline=choice.baseline)
    facts = leaderboard.facts(run, run.results)
    parts = [
        *(_Part.of_table(run, table, choice) for table in tables if table.scored or table.absences),
        *_grid_parts([grid for grid in found if grid.scored], choice),
    ]
    parts = [part for part in parts if part.metrics and (part.cells or part.absent)]
    rows = _rows(run, parts)
    notes: dict[str, int] = {}
    sections = [
        Section(model, tuple(_row(parts, model, method, facts, notes) for method in _ordered(parts, model, methods)))
        for model, methods in rows.items()
    ]
    titles = [(part.dataset, part.title) for part in parts]
    alone = {dataset for dataset, _ in titles if sum(other == dataset for other, _ in titles) == 1}
    blocks = [Block(p.dataset, "" if p.dataset in alone else p.title, p.metrics, p.about) for p in parts]
    definitions = {(part.title, part.source): part.metrics for part in reversed(parts)}
    return Paper(
        tuple(blocks),
        tuple(sections),
        tuple(notes),
        tuple(dict.fromkeys(remark for part in parts for remark in part.remarks)),
        tuple((title, source, metrics) for (title, source), metrics in reversed(definitions.items())),
    )


Pair = tuple[str, str]  # model and method


@dataclass(frozen=True)
class _Part:
    """A block before rows are known."""

    dataset: str
    title: str
    source: str
    about: str
    metrics: dict[str, Metric]
    cells: dict[Pair, tuple[tuple[Figure, ...], Result | None]]
    absent: dict[Pair, str]  # why there is no figure
    ranks: dict[Pair, int]
    outliers: frozenset[Pair]
    remarks: tuple[str, ...]

    @classmethod
    def of_table(cls, run: Run, table: Table, choice: Choice) -> _Part:
        kept = _kept(table.metrics, choice)
        places = [place for place, name in enumerate(table.metrics) if name in kept]
        lines = {(line.model, line.method): line for line in table.lines if line.method is not None}
        absent = {
            (result.labels["model"], result.labels["method"]): result.not_applicable
            for result in run.results
            if result.not_applicable
            and "method" in result.labels
            and (result.labels["protocol"], result.labels["dataset"]) == (table.protocol, table.dataset)
        }
        return cls(
            table.dataset,
            table.title,
            table.source,
            f"{' or '.join(map(str, table.images))} images" if table.lines else "",
            kept,
            {pair: (tuple(line.figures[place] for place in places), line.result) for pair, line in lines.items()},
            absent | _pending(run, table.protocol, [table.dataset], {*lines, *absent}),
            {pair: line.rank for pair, line in lines.items() if line.rank is not None},
            frozenset(pair for pair, line in lines.items() if line.facts.outliers),
            table.remarks,
        )


def _grid_parts(found: Sequence[Grid], choice: Choice) -> Iterator[_Part]:
    """One for all models of a grid: means over it."""
    alike: dict[tuple[str, str, str], list[Grid]] = {}
    for grid in found:
        alike.setdefault((grid.protocol, grid.name, grid.version), []).append(grid)
    for members in alike.values():
        first = members[0]
        kept = _kept(first.directed, choice)
        cells: dict[Pair, tuple[tuple[Figure, ...], Result | None]] = {}
        absent: dict[Pair, str] = {}
        ranks: dict[Pair, int] = {}
        outliers: set[Pair] = set()
        for grid in members:
            views = [grid.view(name) for name in kept]
            for row in grid.rows:
                pair = (str(grid.model), row.name)
                lines = [next(line for line in view.lines if line.row is row) for view in views]
                there = [result for result in row.cells.values() if result]
                befores = [_baseline(view, row.name, choice.baseline) for view in views]
                figures = tuple(map(_mean, lines, befores, kept.values()))
                cells[pair] = (figures, there[0] if there else None)
                leading = next(line for line in grid.view(grid.leading).lines if line.row is row)
                if leading.rank is not None:
                    ranks[pair] = leading.rank
                if row.outliers:
                    outliers.add(pair)
            for absence in grid.absences:
                for name in absence.pairs:
                    absent[str(grid.model), name.removesuffix(f" on {grid.model}")] = absence.reason
            absent |= _pending(grid.run, grid.protocol, list(grid.datasets), {*cells, *absent})
        about = f"mean over {first.size}"
        alone = (f"In {first.name} rows are compared with those of the same model.",) if len(members) > 1 else ()
        rows = (cells, absent, ranks, frozenset(outliers))
        yield _Part(first.name, first.title, first.source, about, kept, *rows, alone)


def _mean(line: grids.Line, before: grids.Line | None, metric: Metric) -> Figure:
    mean = line.means[GRID]
    if mean.value is None:
        return Figure(metric, Undefined(mean.reason or "no reason given"))
    moved = _moved(line, before, metric) if before and before is not line else None
    return Figure(metric, Value(mean.value, mean.err, mean.lo, mean.hi), GRID in line.best, change=moved)


def _baseline(view: grids.View, name: str, pattern: str | None) -> grids.Line | None:
    """The row that another is held against."""
    against = leaderboard.meant([line.row.name for line in view.lines], pattern) if pattern is not None else {}
    there = [(against[line.row.name], line) for line in view.lines if line.row.name in against]
    return leaderboard.baseline_of(name, there)


def _moved(line: grids.Line, before: grids.Line, metric: Metric) -> Change | None:
    """The difference of two means over a grid, paired where every cell is."""
    a, b = line.means[GRID], before.means[GRID]
    if a.value is None or b.value is None:
        return None
    mine, theirs = line.row.cells, before.row.cells
    alike = mine.keys() == theirs.keys() and all(
        (one := mine[spot]) and (two := theirs[spot]) and leaderboard.paired(one, two, line.metric) for spot in mine
    )
    ends = between(a.draws, b.draws) if alike else (None, None)
    return Change.of(a.value - b.value, a.err + b.err, ends)


def _kept(metrics: Mapping[str, Metric], choice: Choice) -> dict[str, Metric]:
    """Those chosen, or the first few with a better direction."""
    if choice.metrics:
        return dict(metrics)
    directed = [name for name, metric in metrics.items() if metric.better != "neither"]
    return {name: metrics[name] for name in directed[:MOST]}


def _pending(run: Run, protocol: str, datasets: Sequence[str], known: Iterable[Pair]) -> dict[Pair, str]:
    """Pairs that the plan has and no result knows of."""
    if not run.missing:
        return {}
    there = {
        (r.labels["protocol"], r.labels["dataset"], r.labels["model"], r.labels.get("method")) for r in run.results
    }
    found = set(known)
    return {
        (cell["model"], cell["method"]): PENDING
        for cell in run.plan.cells
        if cell["protocol"] == protocol
        and cell["dataset"] in datasets
        and "method" in cell
        and (cell["model"], cell["method"]) not in found
        and (protocol, cell["dataset"], cell["model"], cell["method"]) not in there
    }


def _rows(run: Run, parts: Sequence[_Part]) -> dict[str, list[str]]:
    """Methods by model, in the order of the plan."""
    named = {pair for part in parts for pair in (*part.cells, *part.absent)}
    planned = ((cell["model"], cell.get("method", "")) for cell in run.plan.cells)
    known = ((result.labels["model"], result.labels.get("method", "")) for result in run.results)
    rows: dict[str, list[str]] = {}
    for model, method in dict.fromkeys((*planned, *known)):
        if (model, method) in named:
            rows.setdefault(model, []).append(method)
    return rows


def _ordered(parts: Sequence[_Part], model: str, methods: Sequence[str]) -> list[str]:
    """By rank in the first block in which a row has one, those that saw anomalies last; else as planned."""

    def place(method: str) -> tuple[bool, float]:
        pair = (model, method)
        rank = next((float(part.ranks[pair]) for part in parts if pair in part.ranks), float("inf"))
        return any(pair in part.outliers for part in parts), rank

    return sorted(methods, key=place)


def _row(
    parts: Sequence[_Part],
    model: str,
    method: str,
    facts: Mapping[tuple[str, str | None], Facts],
    notes: dict[str, int],
) -> Row:
    pair = (model, method)
    figures: list[Figure] = []
    partial: list[int] = []
    results: list[Result] = []
    for part in parts:
        if pair in part.cells:
            mine, result = part.cells[pair]
        else:
            reason = Undefined(part.absent.get(pair, NOT_ASKED))
            mine, result = tuple(Figure(metric, reason) for metric in part.metrics.values()), None
        for figure in mine:
            value = figure.value
            note = notes.setdefault(value.reason, len(notes) + 1) if isinstance(value, Undefined) else None
            figures.append(Figure(figure.metric, value, figure.best, note, figure.change))
            partial.append(result.images if result and result.partial and isinstance(value, Value) else 0)
        if result:
            results.append(result)
    return Row(
        method,
        any(pair in part.outliers for part in parts),
        any(reference(result) for result in results),
        facts.get(pair),
        results[0] if results else None,
        tuple(figures),
        tuple(partial),
    )


def reference(result: Result) -> bool:
    """Whether the figures are those of the published code, quirks included."""
    params = (result.cell.get("method") or {}).get("params", {})
    return bool(params.get("fidelity") == "reference")


def _yes(said: bool) -> str:
    return "yes" if said else "no"


def _millions(count: int | None) -> str:
    return "" if count is None else f"{shown.millions(count)} M"


def _points(moved: Change | None) -> str:
    if moved is None:
        return ""
    between = "" if moved.lo is None or moved.hi is None else f" ({100 * moved.lo:+.2f} to {100 * moved.hi:+.2f})"
    return f"{100 * moved.value:+.2f}{between}"
