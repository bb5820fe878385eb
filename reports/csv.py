"""Results as one row per number, for a spreadsheet, a data frame or a plotting script: CSV and Parquet.

Numbers are numbers at full precision, rates from 0 to 1; what is unknown is empty.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, ClassVar

from bench.api import Format, Metric, Value
from bench.core.errors import UnknownName
from bench.core.printable import one_line
from bench.corruptions import FAMILIES
from bench.report import columns, facts, paper
from bench.report.columns import Types, typed
from bench.report.document import Document
from bench.report.figures import LACKING, uses_outliers, version
from bench.report.merge_runs import Merged
from bench.report.selection import Choice
from bench.results.store import CellLabels, Ref, Result, Run, uncorrupted

# Name and type of each column, in order; docs/report.md says what they mean.
COLUMNS: Types = {
    **{name: str for name in ("run", "suite", "protocol", "version", "model", "dataset", "split", "corruption")},
    "severity": int,
    **{name: str for name in ("family", "method", "metric", "title", "unit", "better", "status")},
    **{name: float for name in ("value", "err", "lo", "hi")},
    "reason": str,
    "images": int,
    **{name: bool for name in ("partial", "outliers", "retrained")},
    "backbone": str,
    **{name: int for name in ("parameters", "seed")},
    "resample": str,
    "bootstrap": int,
    **{name: str for name in ("numerics", "provenance", "key")},
}
# Of networks and methods, where ``--columns`` asks for them: times differ from run to run.
COSTS: Types = {
    "multiply_adds": int,
    "state": str,
    **{name: float for name in ("network_ms", "method_ms", "memory_mb")},
}
SUMMARIES: Types = {
    **{name: str for name in ("suite", "name", "protocol", "model", "method", "metric", "title", "better")},
    **{name: float for name in ("value", "err", "lo", "hi")},
    **{name: int for name in ("cells", "of")},
    **{name: str for name in ("reason", "dataset", "corruption")},  # a data set only of operating points
    "severity": int,
}
MEASURED, UNDEFINED, NOT_APPLICABLE, MISSING = "measured", "undefined", "not applicable", "missing"

Record = dict[str, Any]


@dataclass(frozen=True)
class Csv(Format):
    """Comma-separated values: UTF-8, a header, quotes where needed."""

    name: ClassVar[str] = "csv"
    source: ClassVar[str] = "RFC 4180, the common format of CSV files"
    suffix: ClassVar[str] = ".csv"
    tables: ClassVar[frozenset[str]] = frozenset({"all", "paper", "means"})

    def write(self, document: Document) -> str | bytes:
        return columns.to_csv(*content(document))


@dataclass(frozen=True)
class Parquet(Format):
    """The same with typed columns: strings, float64, int64, booleans; null where a value is unknown."""

    name: ClassVar[str] = "parquet"
    source: ClassVar[str] = "https://parquet.apache.org"
    suffix: ClassVar[str] = ".parquet"
    tables: ClassVar[frozenset[str]] = Csv.tables

    def write(self, document: Document) -> str | bytes:
        return columns.to_parquet(*content(document))


def content(document: Document) -> tuple[Types, Iterable[Record]]:
    """Return the columns with their types, and the rows: of every number, of the means, or of the paper's table."""
    if document.table == "means":
        return SUMMARIES, _summaries(document.run, document.means)
    if document.table == "paper":
        return _pivoted(document.paper)
    known = {**COLUMNS, **COSTS}
    for name in document.choice.columns:
        if name not in known:
            raise UnknownName("column", name, known, "--columns")
    return {name: known[name] for name in document.choice.columns or COLUMNS}, rows(document.run, document.choice)


def rows(run: Run, choice: Choice) -> Iterator[Record]:
    """Yield one for each cell and metric, in the order of the plan; one for a cell without a result."""
    empty: Record = dict.fromkeys({**COLUMNS, **COSTS})
    networks = facts.Networks(run)
    by_key = {result.key: result for result in run.results}
    datasets: dict[str, Ref] = {}  # by label
    for result in (*run.results, *run.aside):
        datasets.setdefault(result.labels.dataset, result.cell.dataset)
    for key, labels in zip_longest(run.plan.keys, run.plan.cells):
        result_ = by_key.get(key)
        if result_ is None:
            yield empty | _missing(run, key, labels, datasets)
            continue
        base = empty | _base(run, result_, anonymous=choice.anonymous) | _costs(networks, result_)
        for name, metric in result_.definitions.items():
            yield base | _figure(result_, name, metric)


def provenance(result: Result) -> str:
    """Return 16 hex digits of what decides a figure and of the versions that made it; no path, time or command."""
    versions = {name: value for name, value in result.provenance.items() if name not in {"created", "command"}}
    text = json.dumps([dict(result.depends), versions], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _base(run: Run, result: Result, *, anonymous: bool) -> Record:
    model = result.about.get("model", {})
    folder = "" if anonymous else run.path.resolve().name
    return {
        "run": _text(run.names(result) if isinstance(run, Merged) else folder),
        "suite": one_line(run.plan.name),
        "protocol": one_line(result.labels.protocol),
        "version": _text(version(result)),
        "model": one_line(result.labels.model),
        **_dataset(result.labels.dataset, result.cell.dataset),
        "method": _text(result.labels.method),
        "images": result.images,
        "partial": result.partial,
        "outliers": uses_outliers(result),
        "retrained": bool(model.get("parents")),
        "backbone": _text(model.get("backbone")),
        "parameters": model.get("parameters"),
        "seed": result.cell.recorded("seed"),
        "resample": _text(result.cell.recorded("resample")),
        "bootstrap": result.cell.recorded("bootstrap"),
        "numerics": _text(result.depends.get("numerics")),
        "provenance": provenance(result),
        "key": run.home(result).stem,
    }


def _costs(networks: facts.Networks, result: Result) -> Record:
    known = networks.facts(result)
    spent = known.cost
    return {
        "multiply_adds": known.multiply_adds,
        "state": _text(known.state),
        "network_ms": spent and spent.forward,
        "method_ms": spent and spent.own,
        "memory_mb": spent and spent.memory_mb,
    }


def _missing(run: Run, key: str, labels: CellLabels | None, datasets: Mapping[str, Ref]) -> Record:
    label = labels.dataset if labels else ""
    return {
        "suite": one_line(run.plan.name),
        **{axis: _text(labels and labels.on(axis)) for axis in ("protocol", "model", "method")},
        **_dataset(label, datasets.get(label)),
        "status": MISSING,
        "reason": paper.PENDING,
        "key": key,
    }


def _dataset(label: str, dataset: Ref | None) -> Record:
    """Coordinates of a data set, by its label alone where no result spells it."""
    corruption = dataset.corruption if dataset else uncorrupted(label)[1]
    return {
        "dataset": _text(label),
        "split": _text(dataset and dataset.params.get("split")),
        "corruption": _text(corruption and corruption.name),
        "severity": corruption and corruption.severity,
        "family": FAMILIES.get(corruption.name) if corruption else None,
    }


def _figure(result: Result, name: str, metric: Metric) -> Record:
    value = result.metrics.get(name, LACKING)
    about: Record = {
        "metric": one_line(name),
        "title": one_line(metric.title),
        "unit": metric.unit,
        "better": metric.better,
    }
    if isinstance(value, Value):
        return about | {"status": MEASURED, "value": value.value, "err": value.err, "lo": value.lo, "hi": value.hi}
    status = NOT_APPLICABLE if result.not_applicable else UNDEFINED
    return about | {"status": status, "reason": one_line(result.not_applicable or value.reason)}


def _summaries(run: Run, entries: Iterable[Mapping[str, Any]]) -> Iterator[Record]:
    defined = {
        (result.labels.protocol, name): metric for result in run.results for name, metric in result.definitions.items()
    }
    for entry in entries:
        metric = defined.get((str(entry.get("protocol")), str(entry.get("metric"))))
        known = {"title": metric.title, "better": metric.better} if metric else {}
        fields = {name: value for name, value in entry.items() if value is not None}
        yield typed(SUMMARIES, {"suite": run.plan.name} | known | fields)


def _pivoted(table: paper.Paper) -> tuple[Types, Iterable[Record]]:
    """Methods down, data sets across: ``data set / protocol / metric``, figures alone."""
    types: dict[str, type] = {"model": str, "method": str, "outliers": bool}
    names = []
    for block in table.blocks:
        for metric in block.metrics.values():
            head = " / ".join(one_line(part) for part in (block.dataset, block.protocol, metric.title) if part)
            # Two versions of a protocol share their words.
            names.append(head if head not in types else f"{head} ({len(types) - 2})")
            types[names[-1]] = float
    body = []
    for section in table.sections:
        for row in section.rows:
            figures = [figure.value.value if isinstance(figure.value, Value) else None for figure in row.figures]
            first = {"model": one_line(section.model), "method": one_line(row.method), "outliers": row.outliers}
            body.append(first | dict(zip(names, figures, strict=True)))
    return types, body


def _text(value: Any) -> str | None:
    return None if value is None or value == "" else one_line(str(value))
