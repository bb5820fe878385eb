"""Results as one row per number, for a spreadsheet, a data frame or a plotting script: CSV and Parquet.

Numbers are numbers at full precision, rates from 0 to 1; what is unknown is empty. Words come from suites and from runs
of others: in CSV, one that a spreadsheet would take for a formula begins with an apostrophe; Parquet has it as it is.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from bench.api import Metric, Undefined, Value
from bench.core.errors import UnknownName
from bench.corruptions import FAMILIES
from bench.report import paper
from bench.report.grids import LABEL
from bench.report.merge_runs import Merged
from bench.report.selection import Choice
from bench.report.words import line
from bench.results.store import Result, Run

if TYPE_CHECKING:
    import pyarrow as pa

# Name and type of each column, in order; docs/report.md says what they mean.
COLUMNS: Mapping[str, type] = {
    "run": str,
    "suite": str,
    "protocol": str,
    "version": str,
    "model": str,
    "dataset": str,
    "split": str,
    "corruption": str,
    "severity": int,
    "family": str,
    "method": str,
    "metric": str,
    "title": str,
    "unit": str,
    "better": str,
    "status": str,
    "value": float,
    "err": float,
    "lo": float,
    "hi": float,
    "reason": str,
    "images": int,
    "partial": bool,
    "outliers": bool,
    "retrained": bool,
    "backbone": str,
    "parameters": int,
    "seed": int,
    "resample": str,
    "bootstrap": int,
    "numerics": str,
    "provenance": str,
    "key": str,
}
SUMMARIES: Mapping[str, type] = {
    "suite": str,
    "name": str,
    "protocol": str,
    "model": str,
    "method": str,
    "metric": str,
    "title": str,
    "better": str,
    "value": float,
    "err": float,
    "lo": float,
    "hi": float,
    "cells": int,
    "of": int,
    "reason": str,
}
IMAGES: Mapping[str, type] = {
    "cell": str,
    "first": str,
    "second": str,
    "metric": str,
    "better": str,
    "image": str,
    "one": float,
    "other": float,
    "difference": float,
    "tags": str,
}
DIFFERENCES: Mapping[str, type] = {
    "cell": str,
    "first": str,
    "second": str,
    "metric": str,
    "better": str,
    "one": float,
    "other": float,
    "difference": float,
    "err": float,
    "lo": float,
    "hi": float,
    "clear": bool,
    "reason": str,
}
MEASURED, UNDEFINED, NOT_APPLICABLE, MISSING = "measured", "undefined", "not applicable", "missing"
ACTIVE = ("=", "+", "-", "@", "\t", "\r")  # what makes a spreadsheet take a word for a formula

Record = dict[str, Any]


def csv_text(run: Run, choice: Choice | None = None) -> str:
    """Every number of a run; UTF-8, a header, commas, quotes where needed, lines end in a line feed."""
    choice = choice or Choice()
    names = chosen_columns(choice)
    return _csv(list(names), ([row[name] for name in names] for row in rows(run, choice)))


def parquet(run: Run, choice: Choice | None = None) -> bytes:
    """The same with typed columns: strings, float64, int64, booleans; null where a value is unknown."""
    choice = choice or Choice()
    return _parquet(chosen_columns(choice), list(rows(run, choice)))


def summaries_csv(run: Run, entries: Sequence[Mapping[str, Any]]) -> str:
    """Figures over several cells: means, and operating points."""
    return _csv(list(SUMMARIES), ([row[name] for name in SUMMARIES] for row in _summaries(run, entries)))


def summaries_parquet(run: Run, entries: Sequence[Mapping[str, Any]]) -> bytes:
    """The same with typed columns."""
    return _parquet(SUMMARIES, list(_summaries(run, entries)))


def paper_csv(table: paper.Paper) -> str:
    """Methods down, data sets across: ``data set / protocol / metric``, figures alone, full precision."""
    names, body = _pivoted(table)
    return _csv(names, body)


def paper_parquet(table: paper.Paper) -> bytes:
    """The same with typed columns."""
    names, body = _pivoted(table)
    types: dict[str, type] = {"model": str, "method": str, "outliers": bool}
    types |= dict.fromkeys(names[3:], float)
    return _parquet(types, [dict(zip(names, row, strict=True)) for row in body])


def differences_csv(found: Sequence[Any], types: Mapping[str, type]) -> str:
    """What ``bench.results.compare`` found: one row per image (``IMAGES``) or per cell and metric (``DIFFERENCES``)."""
    return _csv(list(types), (list(_difference(one, types).values()) for one in found))


def differences_parquet(found: Sequence[Any], types: Mapping[str, type]) -> bytes:
    """The same with typed columns."""
    return _parquet(types, [_difference(one, types) for one in found])


def _difference(one: Any, types: Mapping[str, type]) -> Record:
    said = {name: getattr(one, name) for name in types}
    if "tags" in said:
        said["tags"] = "; ".join(f"{axis}={tag}" for axis, tag in said["tags"].items())
    return {name: _typed(value, types[name]) for name, value in said.items()}


def chosen_columns(choice: Choice) -> dict[str, type]:
    """All columns, or those asked for; raises UnknownName."""
    for name in choice.columns:
        if name not in COLUMNS:
            raise UnknownName("column", name, COLUMNS, "--columns")
    return {name: COLUMNS[name] for name in choice.columns or COLUMNS}


def rows(run: Run, choice: Choice | None = None) -> Iterator[Record]:
    """One for each cell and metric, in the order of the plan; one for a cell without a result."""
    anonymous = choice is not None and choice.anonymous
    by_key = {result.key: result for result in run.results}
    known: dict[str, Mapping[str, Any]] = {}
    for result in (*run.results, *run.aside):
        known.setdefault(result.labels["dataset"], result.cell["dataset"])
    for key, labels in zip_longest(run.plan.keys, run.plan.cells):
        found = by_key.get(key)
        if found is None:
            yield _empty() | _missing(run, key, labels or {}, known)
            continue
        base = _empty() | _base(run, found, anonymous=anonymous)
        for name, metric in found.definitions.items():
            yield base | _figure(found, name, metric)


def provenance(result: Result) -> str:
    """16 hex digits of what decides a figure and of the versions that made it; no path, name, time or command."""
    said = {name: value for name, value in result.provenance.items() if name not in {"created", "command"}}
    content = json.dumps([dict(result.depends), said], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _empty() -> Record:
    return dict.fromkeys(COLUMNS)


def _base(run: Run, result: Result, *, anonymous: bool) -> Record:
    model = result.about.get("model", {})
    coordinates = _dataset(result.labels["dataset"], result.cell["dataset"])
    name = run.path.resolve().name
    named = run.names(result) if isinstance(run, Merged) else "" if anonymous else name
    return {
        "run": _text(named),
        "suite": line(run.plan.name),
        "protocol": line(result.labels["protocol"]),
        "version": _text(result.about.get("protocol", {}).get("version")),
        "model": line(result.labels["model"]),
        **coordinates,
        "method": _text(result.labels.get("method")),
        "images": result.images,
        "partial": result.partial,
        "outliers": any(bool(result.about.get(axis, {}).get("uses_outliers")) for axis in ("method", "model")),
        "retrained": bool(model.get("parents")),
        "backbone": _text(model.get("backbone")),
        "parameters": model.get("parameters"),
        "seed": result.cell.get("seed"),
        "resample": _text(result.cell.get("resample")),
        "bootstrap": result.cell.get("bootstrap"),
        "numerics": _text(result.depends.get("numerics")),
        "provenance": provenance(result),
        "key": run.home(result).stem,
    }


def _missing(run: Run, key: str, labels: Mapping[str, str], known: Mapping[str, Mapping[str, Any]]) -> Record:
    label = labels.get("dataset", "")
    return {
        "suite": line(run.plan.name),
        **{axis: _text(labels.get(axis)) for axis in ("protocol", "model", "method")},
        **_dataset(label, known.get(label)),
        "status": MISSING,
        "reason": paper.PENDING,
        "key": key,
    }


def _dataset(label: str, entry: Mapping[str, Any] | None) -> Record:
    """Coordinates of a data set, by its label alone where no result spells it."""
    if entry is None:
        match = LABEL.fullmatch(label)
        how = {"name": match["name"], "severity": int(match["severity"])} if match else {}
        split = None
    else:
        how = entry.get("params", {}).get("corruption") or {}
        split = entry.get("params", {}).get("split")
    return {
        "dataset": _text(label),
        "split": _text(split),
        "corruption": _text(how.get("name")),
        "severity": how.get("severity"),
        "family": FAMILIES.get(str(how.get("name"))),
    }


def _figure(result: Result, name: str, metric: Metric) -> Record:
    value = result.metrics.get(name, Undefined("this result holds no such figure"))
    said: Record = {"metric": line(name), "title": line(metric.title), "unit": metric.unit, "better": metric.better}
    if isinstance(value, Value):
        return said | {"status": MEASURED, "value": value.value, "err": value.err, "lo": value.lo, "hi": value.hi}
    status = NOT_APPLICABLE if result.not_applicable else UNDEFINED
    return said | {"status": status, "reason": line(result.not_applicable or value.reason)}


def _summaries(run: Run, entries: Sequence[Mapping[str, Any]]) -> Iterator[Record]:
    defined = {
        (result.labels["protocol"], name): metric
        for result in run.results
        for name, metric in result.definitions.items()
    }
    for entry in entries:
        metric = defined.get((str(entry.get("protocol")), str(entry.get("metric"))))
        known = {"title": metric.title, "better": metric.better} if metric else {}
        said = (
            {"suite": run.plan.name} | known | {name: entry[name] for name in SUMMARIES if entry.get(name) is not None}
        )
        yield {name: _typed(said.get(name), kind) for name, kind in SUMMARIES.items()}


def _typed(value: Any, kind: type) -> Any:
    return line(str(value)) if kind is str and value is not None else value


def _pivoted(table: paper.Paper) -> tuple[list[str], list[list[Any]]]:
    heads = [
        " / ".join(line(part) for part in (block.dataset, block.protocol, metric.title) if part)
        for block in table.blocks
        for metric in block.metrics.values()
    ]
    names = ["model", "method", "outliers"]
    for head in heads:  # two versions of a protocol share their words
        names.append(head if head not in names else f"{head} ({len(names) - 2})")
    body = [
        [
            line(section.model),
            line(row.method),
            row.outliers,
            *(figure.value.value if isinstance(figure.value, Value) else None for figure in row.figures),
        ]
        for section in table.sections
        for row in section.rows
    ]
    return names, body


def _csv(names: Sequence[str], body: Any) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([_plain(name) for name in names])
    writer.writerows([_plain(value) for value in row] for row in body)
    return out.getvalue()


def _plain(value: Any) -> Any:
    """A value as CSV has it: shortest digits that read back as the same number, words that are no formula."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, str) and value.lstrip().startswith(ACTIVE):
        return f"'{value}"
    return value


def _parquet(types: Mapping[str, type], found: Sequence[Record]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds: dict[type, pa.DataType] = {str: pa.string(), float: pa.float64(), int: pa.int64(), bool: pa.bool_()}
    columns = {name: pa.array([_as(row[name], kind) for row in found], kinds[kind]) for name, kind in types.items()}
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink, compression="zstd")
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _as(value: Any, kind: type) -> Any:
    """A value of its column's type; null for what a file of others has there instead."""
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    large = isinstance(value, int) and abs(value) >= 2**63
    return value if type(value) is kind and not large else None


def _text(value: Any) -> str | None:
    return None if value is None or value == "" else line(str(value))
