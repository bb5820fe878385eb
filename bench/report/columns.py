"""Rows of typed columns as CSV and as Parquet.

Numbers keep full precision; what is unknown is empty in CSV and null in Parquet. Words come from suites and from runs
of others: in CSV, one that a spreadsheet would take for a formula begins with an apostrophe; Parquet has it as it is.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.core.printable import one_line

if TYPE_CHECKING:
    import pyarrow as pa

Types = Mapping[str, type]  # of the columns, in order: str, float, int or bool
Row = Mapping[str, Any]  # a value for each column, and maybe for others

IMAGES: Types = {
    **{name: str for name in ("cell", "first", "second", "metric", "better", "image")},
    **{name: float for name in ("one", "other", "difference")},
    "tags": str,
}
DIFFERENCES: Types = {
    **{name: str for name in ("cell", "first", "second", "metric", "better")},
    **{name: float for name in ("one", "other", "difference", "err", "lo", "hi")},
    "clear": bool,
    "reason": str,
}
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # how words begin that a spreadsheet takes for a formula


def to_csv(types: Types, rows: Iterable[Row]) -> str:
    """Return UTF-8 text: a header, commas, quotes where needed, lines that end in a line feed."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([_plain(name) for name in types])
    writer.writerows([_plain(row[name]) for name in types] for row in rows)
    return out.getvalue()


def _plain(value: Any) -> Any:
    """A value as CSV has it: shortest digits that read back as the same number, words that are no formula."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, str) and value.lstrip().startswith(FORMULA):
        return f"'{value}"
    return value


def to_parquet(types: Types, rows: Iterable[Row]) -> bytes:
    """Return a file with columns of strings, float64, int64 and booleans."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds: dict[type, pa.DataType] = {str: pa.string(), float: pa.float64(), int: pa.int64(), bool: pa.bool_()}
    content = list(rows)
    arrays = {name: pa.array([_as(row[name], kind) for row in content], kinds[kind]) for name, kind in types.items()}
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(arrays), sink, compression="zstd")
    written: bytes = sink.getvalue().to_pybytes()
    return written


def _as(value: Any, kind: type) -> Any:
    """A value of its column's type; null for what a file of others has there instead."""
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    large = isinstance(value, int) and abs(value) >= 2**63
    return value if type(value) is kind and not large else None


def typed(types: Types, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of these columns, words on one line; None for what is not there."""
    known = {name: values.get(name) for name in types}
    return {
        name: one_line(str(value)) if types[name] is str and value is not None else value
        for name, value in known.items()
    }


def differences(entries: Sequence[Any], types: Types) -> list[dict[str, Any]]:
    """Return a row for each of ``bench.results.compare``: an image (``IMAGES``) or a figure (``DIFFERENCES``)."""
    rows = []
    for entry in entries:
        values = {name: getattr(entry, name) for name in types}
        if "tags" in values:
            values["tags"] = "; ".join(f"{axis}={tag}" for axis, tag in values["tags"].items())
        rows.append(typed(types, values))
    return rows
