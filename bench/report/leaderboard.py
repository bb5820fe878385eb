"""The tables that every format shares: who is ranked, in which order, what is best and what has to be said below.

One table per protocol and data set. Partial results are shown and never ranked, methods that were trained with data
that shows anomalies are ranked apart, and nothing is best whose lead could be a matter of which images were drawn.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from fnmatch import fnmatchcase
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from bench.api import Metric, Undefined, Value
from bench.core.errors import MissingData, UnknownName
from bench.results.store import Result, Run
from bench.results.summary import between, beyond

Replicates = Mapping[str, NDArray[np.float64]]
T = TypeVar("T")

_RUN = re.compile(r" \([^()]*\)$")

CLOSE = "No figure is bold in a column where the paired 95 % interval of its difference to another row contains 0."
HIDDEN = "No figure is bold in a column where the lead is clear but smaller than the digits that are shown."
UNPAIRED = "No figure is bold in a column where some row has no bootstrap that could be compared image by image."


@dataclass(frozen=True, slots=True)
class Change:
    """A difference to the same figure elsewhere, this one minus that, with its paired 95 % interval if there is one."""

    value: float
    lo: float | None
    hi: float | None
    clear: bool  # whether the interval excludes 0 by more than the certified errors

    @classmethod
    def of(cls, value: float, err: float, ends: tuple[float | None, float | None]) -> Change:
        """From a difference, its certified half-width and the ends of its interval."""
        lo, hi = ends
        return cls(value, lo, hi, lo is not None and hi is not None and (lo > err or hi < -err))


@dataclass(frozen=True, slots=True)
class Facts:
    """What a table says of a row beside its figures."""

    outliers: bool  # whether method or network was trained with data that shows anomalies
    retrained: bool  # whether the network was trained further for this task
    backbone: str  # empty if nobody said
    parameters: int | None  # of the network
    miou: Value | None  # of the network, where the run has it: on the same data set, or else on the first that it has
    miou_dataset: str  # label of that data set
    miou_change: Change | None  # to the network that it was trained from, where the run has that too


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure in its column."""

    metric: Metric
    value: Value | Undefined
    best: bool = False
    note: int | None = None  # number of the footnote, from 1
    change: Change | None = None  # to the baseline of the same network


@dataclass(frozen=True, slots=True)
class Line:
    """A row of a table; without a rank it is partial, or what ranks it is undefined."""

    rank: int | None
    result: Result
    figures: tuple[Figure, ...]  # in the order of the table's metrics
    facts: Facts

    @property
    def method(self) -> str | None:
        return self.result.labels.get("method")

    @property
    def model(self) -> str:
        return self.result.labels["model"]

    @property
    def reference(self) -> bool:
        """Whether it reproduces published code with its quirks."""
        method = self.result.cell.get("method") or {}
        return (method.get("params") or {}).get("fidelity") == "reference"


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that are ranked among themselves."""

    outliers: bool  # whether the methods were trained with data that shows anomalies
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Absence:
    """Why some pairs of model and method cannot be evaluated."""

    reason: str
    pairs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """What one protocol says of one data set."""

    protocol: str
    dataset: str
    cell: Mapping[str, Any]  # coordinates of its first result, as in ``Result.cell``
    title: str  # of the protocol
    source: str
    version: str
    metrics: Mapping[str, Metric]
    groups: tuple[Group, ...]
    notes: tuple[str, ...]  # why figures are undefined; Figure.note counts from 1
    absences: tuple[Absence, ...]
    remarks: tuple[str, ...]  # why nothing is bold
    baselines: tuple[str, ...] = ()  # labels of the methods that rows are held against

    @property
    def lines(self) -> tuple[Line, ...]:
        return tuple(line for group in self.groups for line in group.lines)

    @property
    def scored(self) -> bool:
        """Whether rows have a method."""
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


@dataclass(frozen=True, slots=True)
class Summary:
    """A figure over several cells, as summaries.json holds it."""

    name: str
    protocol: str
    model: str
    method: str | None
    metric: str
    value: float | None
    lo: float | None
    hi: float | None
    cells: int
    of: int
    reason: str | None
    defined: Metric  # by the entry itself, where no protocol of the run has such a figure


@dataclass(frozen=True, slots=True)
class SummaryLine:
    """A row of figures over several cells."""

    model: str
    method: str | None
    outliers: bool
    summaries: tuple[Summary | None, ...]  # in the order of the table's metrics
    part: str = ""  # what the mean is over, in a table of several

    @property
    def cells(self) -> str:
        """How many cells went into the row, such as ``3 of 4``; the fewest, where its figures differ in that."""
        counts = [(summary.cells, summary.of) for summary in self.summaries if summary]
        return "{} of {}".format(*min(counts))

    @property
    def complete(self) -> bool:
        return all(summary.cells == summary.of for summary in self.summaries if summary)


@dataclass(frozen=True, slots=True)
class SummaryTable:
    """What one summary says of one protocol; sorted by its first metric, the incomplete rows last, and never ranked.

    Summaries of corrupted data sets that differ in one word, such as the family, share a table: a part for each.
    """

    name: str
    protocol: str
    metrics: Mapping[str, Metric]
    lines: tuple[SummaryLine, ...]
    notes: tuple[str, ...]  # why figures are undefined
    own: tuple[Metric, ...]  # those that no protocol of the run defines

    @property
    def parted(self) -> bool:
        """Whether its rows are of several summaries."""
        return any(line.part for line in self.lines)

    @property
    def scored(self) -> bool:
        """Whether rows have a method."""
        return any(line.method is not None for line in self.lines)

    def note(self, summary: Summary | None) -> int | None:
        """Find the number of a figure's footnote, from 1."""
        reason = _reason(summary)
        return None if reason is None else self.notes.index(reason) + 1


def percent(metric: Metric) -> bool:
    """Whether a figure is a rate with a direction; thresholds and counts are shown as they are."""
    return metric.unit == "rate" and metric.better != "neither"


def number(value: float, metric: Metric, digits: int | None = None) -> str:
    """Print a rate in percent, anything else as it is; ``digits`` after the point, two unless given."""
    after = 2 if digits is None else digits
    return f"{100 * value:.{after}f}" if percent(metric) else f"{value:.{after + 2}g}"


def difference(moved: Change, metric: Metric, digits: int | None = None) -> str:
    """Print a change with its sign; of a rate in points of a percent."""
    return ("" if moved.value < 0 else "+") + number(moved.value + 0.0, metric, digits)  # no "-0"


def interval(lo: float | None, hi: float | None, metric: Metric, digits: int | None = None) -> str:
    """Print the 95 % interval; empty where none was made."""
    if lo is None or hi is None:
        return ""
    between = "\N{EN DASH}" if percent(metric) else " to "
    return f"{number(lo, metric, digits)}{between}{number(hi, metric, digits)}"


def certified(err: float, metric: Metric) -> str:
    """Print how exactly the figure itself is known, never rounded to less than it is; empty if exactly."""
    if not err > 0:
        return ""
    scaled = 100 * err if percent(metric) else err
    step = 10.0 ** np.floor(np.log10(scaled))
    rounded = float(f"{np.ceil(scaled / step - 1e-9) * step:.1g}")
    return f"\N{PLUS-MINUS SIGN} {np.format_float_positional(rounded, trim='-')}"


def tables(run: Run, results: Sequence[Result] | None = None, *, baseline: str | None = None) -> list[Table]:
    """One table per protocol and data set, in the order of the plan; of all results or of those given.

    ``baseline`` names the method that every row of the same network is held against, see ``meant``. Where several fit,
    a row is held against that of its own run, or else the first.
    """
    against: dict[str, str] = {}
    if baseline is not None:
        methods = sorted({result.labels["method"] for result in run.results if "method" in result.labels})
        against = meant(methods, baseline)
        if not against:
            raise UnknownName("method", baseline, methods, "--baseline")
    books = _Books(run)
    shared: dict[str, list[Result]] = {}
    for result in run.results if results is None else results:
        if not result.ranked:
            continue
        version = result.about.get("protocol", {}).get("version")
        what = json.dumps([result.cell["protocol"], result.cell["dataset"], version], sort_keys=True)
        shared.setdefault(what, []).append(result)
    return [_table(books, members, against) for members in shared.values()]


def summary_tables(
    run: Run, summaries: Sequence[Mapping[str, Any]], parts: Mapping[tuple[str, str], tuple[str, str]] | None = None
) -> list[SummaryTable]:
    """One table per summary and protocol, in the order given.

    ``parts`` says which summaries share a table: for a name and a protocol the name of the table and that of the part.
    """
    shared: dict[tuple[str, str], dict[str, list[Summary]]] = {}
    for entry in summaries:
        summary = _summary(entry)
        name, part = (parts or {}).get((summary.name, summary.protocol), (summary.name, ""))
        shared.setdefault((name, summary.protocol), {}).setdefault(part, []).append(summary)
    return [_summary_table(run, name, protocol, found) for (name, protocol), found in shared.items()]


def uses_outliers(result: Result) -> bool:
    """Whether the method or the network was trained with data that shows anomalies."""
    about = result.about
    return bool(about.get("method", {}).get("uses_outliers") or about.get("model", {}).get("uses_outliers"))


def facts(run: Run, results: Iterable[Result]) -> dict[tuple[str, str | None], Facts]:
    """What tables say of rows beside their figures, by model and method; of the first result of each."""
    books = _Books(run)
    found: dict[tuple[str, str | None], Facts] = {}
    for result in results:
        pair = result.labels["model"], result.labels.get("method")
        if pair not in found and not result.not_applicable:
            found[pair] = books.facts(result)
    return found


class _Books:
    """What a run says of its networks, looked up once."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._networks: dict[str, dict[str, Any]] = {}
        self._miou: dict[str, dict[str, Result]] = {}  # by model and data set, in the order of the plan
        self._words: dict[str, str] = {}  # what results spell, by how Python does; sorting keys takes long
        for result in (*run.results, *run.aside):
            model = self._spelled(result, "model")
            said = {name: value for name, value in result.about.get("model", {}).items() if value}
            self._networks.setdefault(model, {}).update(said)
            if result.cell["protocol"]["name"] == "miou" and isinstance(result.metrics.get("miou"), Value):
                self._miou.setdefault(model, {}).setdefault(self._spelled(result, "dataset"), result)

    def _spelled(self, result: Result, axis: str) -> str:
        entry = result.cell.get(axis)
        words = repr(entry)
        if words not in self._words:
            self._words[words] = json.dumps(entry, sort_keys=True)
        return self._words[words]

    def facts(self, result: Result) -> Facts:
        model, dataset = self._spelled(result, "model"), self._spelled(result, "dataset")
        said, classified = self._networks[model], self._miou.get(model, {})
        mine = classified.get(dataset) or next(iter(classified.values()), None)
        value = mine.metrics["miou"] if mine else None
        parents = said.get("parents") or {}
        known = Facts(
            outliers=uses_outliers(result),
            retrained=bool(parents),
            backbone=str(said.get("backbone", "")),
            parameters=said.get("parameters"),
            miou=value if isinstance(value, Value) else None,
            miou_dataset=mine.labels["dataset"] if mine else "",
            miou_change=None,
        )
        before = self._before(parents.get("model"), mine) if mine and parents else None
        return replace(known, miou_change=change(self.run, mine, before, "miou")) if mine and before else known

    def _before(self, parent: Any, mine: Result) -> Result | None:
        """The mIoU, on the same data set, of the network that another was trained from; seen the same way."""
        wanted = _network(parent), mine.cell["model"]["params"].get("inference")
        for classified in self._miou.values():
            found = classified.get(self._spelled(mine, "dataset"))
            model = found.cell["model"] if found else None
            if model and (_network(model), model["params"].get("inference")) == wanted:
                return found
        return None


def _network(model: Any) -> str:
    """Name and parameters of a network, however it is looked through."""
    params = {name: value for name, value in model["params"].items() if name != "inference"}
    return json.dumps([model["name"], params], sort_keys=True)


def change(run: Run, one: Result, before: Result, metric: str) -> Change | None:
    """The figure of ``one`` minus that of ``before``; None unless both are defined."""
    a, b = one.metrics.get(metric), before.metrics.get(metric)
    if not isinstance(a, Value) or not isinstance(b, Value):
        return None
    pair = (one, before) if paired(one, before, metric) else ()
    drawn = [run.replicates(result).get(metric) for result in pair] or [None, None]
    return Change.of(a.value - b.value, a.err + b.err, between(*drawn))


def _table(books: _Books, results: Sequence[Result], against: Mapping[str, str]) -> Table:
    run = books.run
    shown = [result for result in results if not result.not_applicable]
    first = (shown or results)[0]
    about = first.about.get("protocol", {})
    notes: dict[str, int] = {}
    remarks: dict[str, None] = {}
    groups = []
    baselines = _baselines(shown, against)
    for outliers in (False, True):
        members = [result for result in shown if uses_outliers(result) == outliers]
        if members:
            best = _best(run, members, first.definitions, remarks)
            lines = _lines(books, members, first.definitions, best, notes, baselines)
            groups.append(Group(outliers, tuple(lines)))
    return Table(
        first.labels["protocol"],
        first.labels["dataset"],
        first.cell,
        str(about.get("title") or first.labels["protocol"]),
        str(about.get("source", "")),
        str(about.get("version", "")),
        first.definitions,
        tuple(groups),
        tuple(notes),
        tuple(_absences(results)),
        tuple(remarks),
        tuple(dict.fromkeys(before.labels["method"] for there in baselines.values() for _, before in there)),
    )


def meant(labels: Sequence[str], pattern: str) -> dict[str, str]:
    """The labels that a name or a pattern means; where none fits, those that merged runs have their own name behind.

    By label what that name looks like: empty, or such as `` (monday)``.
    """
    found = {label: "" for label in labels if label == pattern or fnmatchcase(label, pattern)}
    return found or {label: label.removeprefix(pattern) for label in labels if _RUN.sub("", label) == pattern}


def _baselines(results: Sequence[Result], against: Mapping[str, str]) -> dict[str, list[tuple[str, Result]]]:
    """What the rows of each model are held against, by the model's label; each with the name of its run."""
    found: dict[str, list[tuple[str, Result]]] = {}
    for result in results:
        label = result.labels.get("method", "")
        if label in against:
            found.setdefault(result.labels["model"], []).append((against[label], result))
    return found


def baseline_of(label: str, there: Sequence[tuple[str, T]]) -> T | None:
    """What a row of that label is held against, of what ``meant`` found: that of its own run, or else the first."""
    named = _RUN.search(label)
    own = [before for name, before in there if name and named and name == named[0]]
    return next(iter([*own, *(before for _, before in there)]), None)


def _lines(
    books: _Books,
    results: Sequence[Result],
    metrics: Mapping[str, Metric],
    best: set[tuple[str, str]],
    notes: dict[str, int],
    baselines: Mapping[str, Sequence[tuple[str, Result]]],
) -> Iterable[Line]:
    """Ranked rows first, then those that cannot be ranked, then the partial ones; ties keep the order of the plan."""
    ranks = _ranks(results, next(iter(metrics.items()), None))
    order = sorted(results, key=lambda result: (ranks.get(result.key, len(results) + 1), result.partial))
    for result in order:
        figures = []
        against = baseline_of(result.labels.get("method", ""), baselines.get(result.labels["model"], ()))
        for name, metric in metrics.items():
            value = result.metrics.get(name, Undefined("this result holds no such figure"))
            note = notes.setdefault(value.reason, len(notes) + 1) if isinstance(value, Undefined) else None
            moved = against is not None and against is not result and metric.better != "neither"
            difference = change(books.run, result, against, name) if against and moved else None
            figures.append(Figure(metric, value, (result.key, name) in best, note, difference))
        yield Line(ranks.get(result.key), result, tuple(figures), books.facts(result))


def _ranks(results: Sequence[Result], ranking: tuple[str, Metric] | None) -> dict[str, int]:
    """By key, from 1; equal values share a rank and the next one is skipped."""
    if ranking is None or ranking[1].better == "neither":
        return {}
    values = {key: gain(value.value, ranking[1]) for key, value in _defined(results, ranking[0]).items()}
    return {key: 1 + sum(other > value for other in values.values()) for key, value in values.items()}


def _defined(results: Sequence[Result], metric: str) -> dict[str, Value]:
    """Keep the values that compete, by key."""
    found = {result.key: result.metrics.get(metric) for result in results if not result.partial}
    return {key: value for key, value in found.items() if isinstance(value, Value)}


def gain(value: float, metric: Metric) -> float:
    """The figure with the sign that makes more of it better."""
    return -value if metric.better == "lower" else value


def _best(
    run: Run, results: Sequence[Result], metrics: Mapping[str, Metric], remarks: dict[str, None]
) -> set[tuple[str, str]]:
    """Pairs of key and metric whose lead over every other row lies outside the paired interval."""
    by_key = {result.key: result for result in results}
    replicates: dict[str, Replicates] = {}
    best = set()
    for name, metric in metrics.items():
        values = _defined(results, name)
        if metric.better == "neither" or len(values) < 2:
            continue
        top = max(values, key=lambda key: gain(values[key].value, metric))
        pairs = [(by_key[top], by_key[key]) for key in values if key != top]
        if not all(paired(one, other, name) for one, other in pairs):
            remarks[UNPAIRED] = None
            continue
        for key in values.keys() - replicates.keys():
            replicates[key] = run.replicates(by_key[key])
        clear = [_leads(values, replicates, top, other.key, name, metric) for _, other in pairs]
        if None in clear:
            remarks[UNPAIRED] = None
        elif all(clear) and _alike(values[top], (values[other.key] for _, other in pairs), metric):
            remarks[HIDDEN] = None
        elif all(clear):
            best.add((top, name))
        else:
            remarks[CLOSE] = None
    return best


def _alike(top: Value, others: Iterable[Value], metric: Metric) -> bool:
    """Whether another figure is printed with the same digits."""
    return number(top.value, metric) in (number(other.value, metric) for other in others)


def paired(one: Result, other: Result, metric: str) -> bool:
    """Whether the n-th replicate of both is the same draw of the same images."""
    for result in (one, other):
        figure = result.metrics[metric]
        if not isinstance(figure, Value) or figure.lo is None:
            return False
    # The digest of a data set stands for the ids of its images, also where the two are of different runs.
    same = one.images == other.images and one.depends.get("dataset") == other.depends.get("dataset")
    cell, others = one.cell, other.cell
    return same and cell.get("seed") == others.get("seed") and cell.get("resample") == others.get("resample")


def _leads(
    values: Mapping[str, Value], replicates: Mapping[str, Replicates], one: str, other: str, name: str, metric: Metric
) -> bool | None:
    """Whether the lead of ``one`` is real beyond the certified errors; None if the two cannot be compared."""
    a, b = replicates[one].get(name), replicates[other].get(name)
    if a is None or b is None or a.shape != b.shape:
        return None
    return leads(a, b, metric, values[one].err + values[other].err)


def leads(a: NDArray[np.float64], b: NDArray[np.float64], metric: Metric, err: float) -> bool | None:
    """Whether the replicates ``a`` are better than ``b`` by more than ``err``; None if no resample has both."""
    lead = a - b if metric.better == "higher" else b - a
    return beyond(lead, err)  # a resample without a single positive has no figure


def _absences(results: Sequence[Result]) -> Iterable[Absence]:
    reasons: dict[str, list[str]] = {}
    for result in results:
        if result.not_applicable:
            reasons.setdefault(result.not_applicable, []).append(pair(result))
    for reason, pairs in reasons.items():
        yield Absence(reason, tuple(pairs))


def pair(result: Result) -> str:
    """Name what a row stands for: its method on its model."""
    method, model = result.labels.get("method"), result.labels["model"]
    return f"{method} on {model}" if method else model


def _summary(entry: Mapping[str, Any]) -> Summary:
    try:
        given = {field.name: entry[field.name] for field in fields(Summary) if field.name not in {"method", "defined"}}
        definition = str(entry.get("definition") or "no result defines it yet")
        defined = Metric(str(entry.get("title") or entry["metric"]), definition, entry.get("better", "higher"))
        return Summary(**given, method=entry.get("method"), defined=defined)
    except (KeyError, TypeError) as error:
        raise MissingData(f"summaries.json: {entry!r} is not a summary of this program: {error}") from None


def _summary_table(run: Run, name: str, protocol: str, parts: Mapping[str, Sequence[Summary]]) -> SummaryTable:
    known: dict[str, Metric] = {}
    outliers = set()
    for result in run.results:
        if result.labels["protocol"] == protocol:
            known |= result.definitions
        if uses_outliers(result):
            outliers.add(result.labels.get("method"))
    summaries = [summary for members in parts.values() for summary in members]
    asked = {summary.metric for summary in summaries}
    metrics = {metric: known[metric] for metric in known if metric in asked}
    for summary in summaries:
        metrics.setdefault(summary.metric, summary.defined)
    own = tuple(metrics[metric] for metric in metrics if metric not in known)
    lines: list[SummaryLine] = []
    for part, members in parts.items():
        rows: dict[tuple[str, str | None], dict[str, Summary]] = {}
        for summary in members:
            rows.setdefault((summary.model, summary.method), {})[summary.metric] = summary
        made = [
            SummaryLine(model, method, method in outliers, tuple(found.get(metric) for metric in metrics), part)
            for (model, method), found in rows.items()
        ]
        ranking = next(iter(metrics.values()))
        lines += sorted(made, key=lambda line: _worth(line, ranking))
    reasons = dict.fromkeys(reason for line in lines for reason in map(_reason, line.summaries) if reason is not None)
    return SummaryTable(name, protocol, metrics, tuple(lines), tuple(reasons), own)


def _worth(line: SummaryLine, ranking: Metric) -> tuple[bool, float]:
    first = line.summaries[0]
    if first is None or first.value is None:
        return True, np.inf
    return not line.complete, 0.0 if ranking.better == "neither" else -gain(first.value, ranking)


def _reason(summary: Summary | None) -> str | None:
    """Why there is no value; None if there is one."""
    if summary is None:
        return "not asked for"
    return (summary.reason or "no reason given") if summary.value is None else None
