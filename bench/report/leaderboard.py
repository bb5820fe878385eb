"""The tables that every format shares: who is ranked, in which order, what is best and what has to be said below.

One table per protocol and data set. Partial results are shown and never ranked, methods that were trained with data
that shows anomalies are ranked apart, and nothing is best whose lead could be a matter of which images were drawn.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, TypeVar

from bench.api import Metric, Value
from bench.core.errors import UnknownName
from bench.report.facts import Facts, Networks
from bench.report.figures import (
    HIDDEN,
    LACKING,
    Absence,
    Draws,
    Figure,
    absences,
    change,
    leader,
    numbered,
    ranks,
    reference,
    uses_outliers,
    version,
)
from bench.report.merge_runs import Merged
from bench.report.text import number
from bench.results.store import Cell, Ref, Result, Run
from bench.suite.wrappers import departures

STATES = {  # of networks, in words
    "ordered": "What the network says of an image depends on the images before it; figures are those of one order",
    "per_image": "The network adapts to each image, and forgets it before the next",
}
ANTIALIASED = "Images are resized with antialiasing, as Pillow does"

T = TypeVar("T")


@dataclass(frozen=True)
class Baseline:
    """The methods that rows of the same network are held against.

    Where rows of merged runs bear the names of their runs, ``msp`` means that of each row's own run.
    """

    runs: Mapping[str, str]  # by the label of a method that is meant, the run whose rows it is for; empty for all
    named: Mapping[str, tuple[str, str]]  # see ``Merged.named``

    @classmethod
    def of(cls, run: Run, labels: Iterable[str], pattern: str | None) -> Baseline:
        """Return what a name or a pattern means among these labels: nothing, where none fits."""
        named = run.named if isinstance(run, Merged) else {}
        runs: dict[str, str] = {}
        if pattern is not None:
            labels = list(labels)
            runs = {label: "" for label in labels if label == pattern or fnmatchcase(label, pattern)}
            runs = runs or {label: named[label][1] for label in labels if named.get(label, ("",))[0] == pattern}
        return cls(runs, named)

    def among(self, rows: Mapping[str, T], label: str) -> T | None:
        """Return the row that one of that label is held against: that of its own run, or else the first.

        ``rows`` are those of the same network by label.
        """
        known = [(self.runs[other], row) for other, row in rows.items() if other in self.runs]
        run = self.named.get(label, ("", ""))[1]
        return next(iter([*(row for name, row in known if name and name == run), *(row for _, row in known)]), None)


@dataclass(frozen=True, slots=True)
class Line:
    """A row of a table; without a rank it is partial, or what ranks it is undefined."""

    rank: int | None
    result: Result
    figures: tuple[Figure, ...]  # in the order of the table's metrics
    facts: Facts

    @property
    def method(self) -> str | None:
        return self.result.labels.method

    @property
    def model(self) -> str:
        return self.result.labels.model

    @property
    def reference(self) -> bool:
        """Whether it reproduces published code with its quirks."""
        return reference(self.result)


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that are ranked among themselves."""

    outliers: bool  # whether the methods were trained with data that shows anomalies
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """What one protocol says of one data set."""

    protocol: str
    dataset: str
    cell: Cell  # of its first result
    title: str  # of the protocol
    source: str
    version: str
    metrics: Mapping[str, Metric]
    groups: tuple[Group, ...]
    notes: tuple[str, ...]  # why figures are undefined; Figure.note counts from 1
    absences: tuple[Absence, ...]
    remarks: tuple[str, ...]  # departures from the data set as published, and why nothing is bold
    baselines: tuple[str, ...] = ()  # labels of the methods that rows are held against

    @property
    def lines(self) -> tuple[Line, ...]:
        return tuple(line for group in self.groups for line in group.lines)

    @property
    def scored(self) -> bool:
        """Return True if rows have a method."""
        return any(line.method is not None for line in self.lines)

    @property
    def model(self) -> str | None:
        """The model of all rows, if there is but one and rows are told apart by their methods."""
        models = {line.model for line in self.lines}
        return models.pop() if self.scored and len(models) == 1 else None

    @property
    def images(self) -> tuple[int, ...]:
        """How many images the full rows saw, ascending; of the partial ones only where there is no other."""
        results = [line.result for line in self.lines]
        return tuple(sorted({result.images for result in results if not result.partial} or {r.images for r in results}))

    @property
    def ranking(self) -> Metric | None:
        """What ranks: the first metric, unless neither direction of it is better."""
        first = next(iter(self.metrics.values()), None)
        return first if first and first.better != "neither" else None


def tables(run: Run, results: Sequence[Result] | None = None, *, baseline: str | None = None) -> list[Table]:
    """Return one table per protocol and data set, in the order of the plan; of all results or of those given.

    ``baseline`` names the method that every row of the same network is held against, see ``Baseline``. Raise
    UnknownName where none fits.
    """
    methods = sorted({result.labels.method for result in run.results if result.labels.method})
    against = Baseline.of(run, methods, baseline)
    if baseline is not None and not against.runs:
        raise UnknownName("method", baseline, methods, "--baseline")
    networks = Networks(run)
    shared: dict[tuple[Ref, Ref, Any], list[Result]] = {}
    for result in run.results if results is None else results:
        if result.ranked:
            shared.setdefault((result.cell.protocol, result.cell.dataset, version(result)), []).append(result)
    return [_table(networks, members, against) for members in shared.values()]


def _table(networks: Networks, results: Sequence[Result], against: Baseline) -> Table:
    shown = [result for result in results if not result.not_applicable]
    first = (shown or results)[0]
    about = first.about.get("protocol", {})
    notes: dict[str, int] = {}
    remarks: dict[str, None] = dict.fromkeys(departed(shown))
    groups = []
    by_model: dict[str, dict[str, Result]] = {}
    for result in shown:
        by_model.setdefault(result.labels.model, {}).setdefault(result.labels.method or "", result)
    befores = {result.key: against.among(by_model[result.labels.model], result.labels.method or "") for result in shown}
    for outliers in (False, True):
        members = [result for result in shown if uses_outliers(result) == outliers]
        if members:
            best = _best(networks.run, members, first.definitions, remarks)
            groups.append(Group(outliers, tuple(_lines(networks, members, first.definitions, best, notes, befores))))
    return Table(
        first.labels.protocol,
        first.labels.dataset,
        first.cell,
        str(about.get("title") or first.labels.protocol),
        str(about.get("source", "")),
        str(about.get("version", "")),
        first.definitions,
        tuple(groups),
        tuple(notes),
        absences(results),
        tuple(remarks),
        tuple(dict.fromkeys(label for rows in by_model.values() for label in rows if label in against.runs)),
    )


def departed(results: Sequence[Result]) -> list[str]:
    """Sentences that say where the results' data set and images are not taken as published."""
    words = dict.fromkeys(word for result in results for word in departures.in_words(result.cell.dataset.params))
    sentences = [f"Not the data set as published: {'; '.join(words)}."] if words else []
    if smoothed := _antialiased(results):
        sentences.append(f"{ANTIALIASED}, for {', '.join(smoothed)}.")
    for state, meaning in STATES.items():
        if models := _with_state(results, state):
            sentences.append(f"{meaning}: {', '.join(models)}.")
    return sentences


def _with_state(results: Sequence[Result], state: str) -> list[str]:
    """Return the labels of the networks that images change in this way."""
    return list(
        dict.fromkeys(result.labels.model for result in results if result.about.get("model", {}).get("state") == state)
    )


def departing(results: Sequence[Result]) -> dict[str, list[str]]:
    """Return each way in which data sets and images are not taken as published, with the labels that it holds for."""
    named: dict[str, dict[str, None]] = {}
    for result in results:
        for words in departures.in_words(result.cell.dataset.params):
            named.setdefault(words.capitalize(), {})[result.labels.dataset] = None
    if smoothed := _antialiased(results):
        named[ANTIALIASED] = dict.fromkeys(smoothed)
    for state, meaning in STATES.items():
        if models := _with_state(results, state):
            named[meaning] = dict.fromkeys(models)
    return {words: list(labels) for words, labels in named.items()}


def _antialiased(results: Sequence[Result]) -> list[str]:
    """The labels of the networks whose images are resized as Pillow does it."""
    inferences = {result.labels.model: result.cell.model.params.get("inference") for result in results}
    return [name for name, value in inferences.items() if isinstance(value, dict) and value.get("resize") == "pil"]


def _lines(
    networks: Networks,
    results: Sequence[Result],
    metrics: Mapping[str, Metric],
    best: set[tuple[str, str]],
    notes: dict[str, int],
    befores: Mapping[str, Result | None],
) -> Iterator[Line]:
    """Ranked rows first, then those that cannot be ranked, then the partial ones; ties keep the order of the plan."""
    by_key: dict[str, int] = {}
    for name, metric in list(metrics.items())[:1]:
        by_key = ranks({key: value.value for key, value in _competing(results, name).items()}, metric)
    for result in sorted(results, key=lambda result: (by_key.get(result.key, len(results) + 1), result.partial)):
        before = befores[result.key]
        figures = []
        for name, metric in metrics.items():
            moved = before is not None and before is not result and metric.better != "neither"
            difference = change(networks.run, result, before, name) if before and moved else None
            value = result.metrics.get(name, LACKING)
            figures.append(Figure(metric, value, (result.key, name) in best, change=difference))
        yield Line(by_key.get(result.key), result, numbered(figures, notes), networks.facts(result))


def _competing(results: Sequence[Result], metric: str) -> dict[str, Value]:
    """The values that compete, by key."""
    values = {result.key: result.metrics.get(metric) for result in results if not result.partial}
    return {key: value for key, value in values.items() if isinstance(value, Value)}


def _best(
    run: Run, results: Sequence[Result], metrics: Mapping[str, Metric], remarks: dict[str, None]
) -> set[tuple[str, str]]:
    """Pairs of key and metric that lead; ``remarks`` takes why others do not."""
    by_key = {result.key: result for result in results}
    best = set()
    for name, metric in metrics.items():
        values = _competing(results, name)
        competitors = {key: (by_key[key],) for key in values}
        top, remark = leader(values, competitors, partial(_draws, run, by_key, name), name, metric)
        if top is not None:
            shown = [number(value.value, metric) for key, value in values.items() if key != top]
            if number(values[top].value, metric) in shown:
                remark = HIDDEN
            else:
                best.add((top, name))
        if remark:
            remarks[remark] = None
    return best


def _draws(run: Run, by_key: Mapping[str, Result], metric: str, key: str) -> Draws | None:
    return run.replicates(by_key[key]).get(metric)
