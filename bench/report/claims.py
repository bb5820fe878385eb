"""Published figures beside those that were measured of the same thing, with their difference.

Tables of published figures never match methods or networks by name. A suite may: its ``claims`` say that a method on a
network is the one that somebody published. Data sets and definitions are matched as everywhere (``published.beside``),
so that a figure is held against one that was made alike, and where there is none, the difference says why.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Any

from bench.api import Metric, Undefined, Value
from bench.core.errors import BadPublished, UnknownName
from bench.report import published
from bench.report.merge_runs import Merged
from bench.report.published import Published
from bench.report.published_rows import MARKS
from bench.report.published_text import AXES
from bench.report.text import certified, listed
from bench.results.store import Result, Run

CLAIMS = "Claimed and measured"  # the heading
KINDS = ("claimed", "measured", "difference")  # the rows of each data set
_BEST = ("yes", "unknown", "no")  # of ``Published.same_definition``, the nearest first


@dataclass(frozen=True)
class Compared:
    """One published figure and the measured one."""

    claimed: str  # as published, rates in percent
    measured: str  # with as many digits; n/a where it is undefined
    difference: str  # of these two; empty where there is no figure
    mark: str  # "≠" where it was made otherwise, "?" where nobody knows
    note: str  # why
    key: str  # of the measured cell
    metric: str  # of that cell's protocol

    @property
    def compared(self) -> bool:
        """Return True if both answer the same question, so that they should be equal."""
        return not self.mark and bool(self.difference)

    @property
    def equal(self) -> bool:
        """Return True if no digit that was published differs."""
        return bool(self.difference) and Decimal(self.difference) == 0


@dataclass(frozen=True)
class ClaimedRow:
    """The figures of one data set."""

    dataset: str
    figures: tuple[Compared | None, ...]  # in the order of the columns

    def texts(self, kind: str) -> list[str]:
        """Return what stands in the row of that kind, for each column; a mark stands behind the difference."""
        shown = []
        for figure in self.figures:
            text = getattr(figure, kind) if figure else ""
            mark = f" {figure.mark}" if figure and figure.mark and kind == "difference" else ""
            shown.append((text or "\N{EN DASH}") + mark)
        return shown


@dataclass(frozen=True)
class ClaimedGroup:
    """The figures that one source gives of one method on one network."""

    model: str
    method: str
    called: str  # how the source calls it
    source: str
    paper: str  # https address; empty where there is none
    rows: tuple[ClaimedRow, ...]


@dataclass(frozen=True)
class Claims:
    """Everything that a run claims to make again."""

    columns: tuple[Metric, ...] = ()
    groups: tuple[ClaimedGroup, ...] = ()
    sentences: tuple[str, ...] = ()  # what came of it, and what has to be known of single figures
    places: frozenset[str] = field(default=frozenset(), repr=False)  # ``Published.place`` of each figure

    def records(self) -> list[dict[str, Any]]:
        """Return one flat record for each figure, for JSON."""
        return [
            {"model": group.model, "method": group.method, "dataset": row.dataset, "source": group.source}
            | {"title": metric.title}
            | asdict(figure)
            for group in self.groups
            for row in group.rows
            for metric, figure in zip(self.columns, row.figures, strict=True)
            if figure is not None
        ]


def chosen(rule: Mapping[str, Any]) -> list[Published]:
    """Return the published figures that a claim names. Raise UnknownName for a column, BadPublished for none."""
    patterns = rule["published"]
    for axis in patterns:
        if axis not in AXES:
            raise UnknownName("column", axis, AXES, "claims: published")
    rows = [row for row in published.load() if _meant(row, patterns)]
    if not rows:
        asked = ", ".join(f"{axis}: {glob}" for axis, glob in patterns.items())
        raise BadPublished(f"claims: no published figure has {asked}; 'bench list published' shows which there are")
    return rows


def of_run(run: Run) -> Claims:
    """Return the claims of the plan that were measured; without any groups where there are none."""
    columns: dict[str, Metric] = {}
    matched: list[tuple[Mapping[str, Any], dict[str, dict[str, tuple[Published, Result]]]]] = []
    places: set[str] = set()
    absent: dict[str, str] = {}
    for rule in run.plan.claims:
        try:
            asked = {row.place: row for row in chosen(rule) if not row.repeats}
        except BadPublished:
            continue  # what was in $BENCH_PLUGINS when it ran is no longer
        by_dataset = _matched(run, rule)
        taken = {row.place for rows in by_dataset.values() for row, _ in rows.values()}
        places |= taken
        absent |= {place: row.dataset for place, row in asked.items() if place not in taken}
        for rows in by_dataset.values():
            for row, result in rows.values():
                metric = result.definitions[row.metric]
                columns.setdefault(metric.title, metric)
        matched.append((rule, by_dataset))
    groups = tuple(_group(rule, by_dataset, list(columns)) for rule, by_dataset in matched if by_dataset)
    sentences = (*_verdict(groups), *_notes(groups, list(columns)), *_unmeasured(absent, groups))
    return Claims(tuple(columns.values()), groups, sentences, frozenset(places))


def _meant(row: Published, patterns: Mapping[str, str]) -> bool:
    return all(fnmatchcase(getattr(row, axis), glob) for axis, glob in patterns.items())


def _matched(run: Run, rule: Mapping[str, Any]) -> dict[str, dict[str, tuple[Published, Result]]]:
    """By data set and published figure, the result that was made most alike, and the figure in its columns."""
    named = run.named if isinstance(run, Merged) else {}
    matched: dict[str, dict[str, tuple[Published, Result]]] = {}
    for result in run.results:
        model, method = (named.get(label or "", (label,))[0] for label in result.labels.row)
        place = published.place_of(result.cell.dataset.spelled())
        if (model, method) != (rule["model"], rule["method"]) or place is None or result.not_applicable:
            continue
        for row in published.beside(result.cell.protocol.name, result.cell.dataset.spelled()):
            if row.split != place.split or row.metric not in result.definitions or not _meant(row, rule["published"]):
                continue
            rows = matched.setdefault(result.labels.dataset, {})
            known = rows.get(row.place)
            if known is None or _BEST.index(row.same_definition) < _BEST.index(known[0].same_definition):
                rows[row.place] = row, result
    return matched


def _group(
    rule: Mapping[str, Any], by_dataset: Mapping[str, Mapping[str, tuple[Published, Result]]], titles: Sequence[str]
) -> ClaimedGroup:
    rows = []
    for dataset, figures in by_dataset.items():
        by_title: dict[str, Compared] = {}
        for row, result in figures.values():
            by_title.setdefault(result.definitions[row.metric].title, _compared(row, result, rule["weights"]))
        rows.append(ClaimedRow(dataset, tuple(by_title.get(title) for title in titles)))
    first = next(row for figures in by_dataset.values() for row, _ in figures.values())
    called = ", ".join(filter(None, (first.method, first.variant, first.backbone)))
    return ClaimedGroup(rule["model"], rule["method"], called, first.source, first.paper, tuple(rows))


def _compared(row: Published, result: Result, weights: str) -> Compared:
    scale = 100 if row.unit == "rate" else 1
    claimed = f"{row.value * scale:.{row.digits}f}"
    value = result.metrics.get(row.metric, Undefined("not computed"))
    notes = [row.note] if MARKS[row.same_definition] else []
    held = result.cell.model.params.get("digests", {})
    if weights and weights not in held.values():
        notes.append(f"made from other weights than those published ({weights})")
    if result.partial:
        notes.append(f"partial: {result.images} images")
    mark = MARKS[row.same_definition] or (MARKS["no"] if notes else "")
    if not isinstance(value, Value):
        return Compared(claimed, "n/a", "", mark, "; ".join([*notes, value.reason]), result.key, row.metric)
    measured = f"{value.value * scale:.{row.digits}f}"
    difference = Decimal(measured) - Decimal(claimed)
    metric = result.definitions[row.metric]
    exact = 2 * value.err * scale < 10.0**-row.digits
    shown = measured if exact else f"{measured} {certified(value.err, metric)}"
    signed = f"{difference:+.{row.digits}f}" if difference else f"{abs(difference):.{row.digits}f}"
    return Compared(claimed, shown, signed, mark, "; ".join(notes), result.key, row.metric)


def _each(groups: Iterable[ClaimedGroup]) -> Iterator[tuple[str, int, Compared]]:
    """Yield the name of its row, its column and each figure."""
    for group in groups:
        for row in group.rows:
            for column, figure in enumerate(row.figures):
                if figure is not None:
                    yield f"{group.model} on {row.dataset}", column, figure


def _verdict(groups: Sequence[ClaimedGroup]) -> Iterator[str]:
    """The number of figures that were met, of those that should be."""
    figures = [(row, figure) for row, _, figure in _each(groups) if figure.compared]
    if not figures:
        return
    equal = sum(figure.equal for _, figure in figures)
    verdict = f"{equal} of {len(figures)} figures that were made alike are equal in every published digit"
    row, largest = max(figures, key=lambda pair: abs(Decimal(pair[1].difference)))
    if equal == len(figures):
        yield f"{verdict}."
    else:
        yield f"{verdict}; the largest difference is {largest.difference}, {row}."


def _notes(groups: Sequence[ClaimedGroup], titles: Sequence[str]) -> Iterator[str]:
    """Why figures are marked, once each."""
    notes: dict[tuple[str, str], dict[str, None]] = {}
    for row, column, figure in _each(groups):
        if figure.note:
            notes.setdefault((figure.mark, figure.note), {})[f"{titles[column]} of {row}"] = None
    for (mark, note), names in notes.items():
        yield f"{mark} {listed(list(names), 4)}: {note}".strip()


def _unmeasured(absent: Mapping[str, str], groups: Sequence[ClaimedGroup]) -> Iterator[str]:
    """The published figures that no cell has, by ``Published.place``: how many, and on which data sets."""
    if absent and groups:
        figures = "1 figure" if len(absent) == 1 else f"{len(absent)} figures"
        yield f"Published, and not measured here: {figures} on {listed(list(dict.fromkeys(absent.values())))}."
