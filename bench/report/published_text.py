"""Published figures as lines for a terminal of any width, as records and as a table that can be read back."""

from __future__ import annotations

import csv
import io
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import fields
from fnmatch import fnmatchcase
from itertools import groupby
from typing import Any

from bench.core.errors import BadPublished, UnknownName
from bench.report.published import COLUMNS, NUMBERS, Published

SCHEMA = 1
AXES = tuple(name for name in COLUMNS if name not in NUMBERS)
MARKS = {"yes": "", "no": "!", "unknown": "?"}
LEGEND = (
    "!  defined otherwise than the figures of the protocol named above it; its note says how",
    "?  not known whether it is defined so; its note says why",
    "notes and every other column: --format csv or json",
)


def chosen(rows: Sequence[Published], patterns: Mapping[str, str]) -> list[Published]:
    """The rows whose columns match every glob, capitals apart; it is an error if there are none."""
    for axis in patterns:
        if axis not in AXES:
            raise UnknownName("column", axis, AXES, "--only")
    kept = [row for row in rows if all(fnmatchcase(getattr(row, axis), glob) for axis, glob in patterns.items())]
    if not kept:
        asked = ", ".join(f"{axis}={glob}" for axis, glob in patterns.items())
        values = sorted({getattr(row, axis) for row in rows for axis in patterns})
        known = (
            f"; there are {', '.join(values[:12])}{' ...' if len(values) > 12 else ''}" if len(patterns) == 1 else ""
        )
        raise BadPublished(f"--only: no published figure has {asked}{known}")
    return kept


def figure(row: Published) -> str:
    """The value with the digits that were published, rates in percent, and what its source prints behind +-."""
    scale = 100 if row.unit == "rate" else 1
    value = f"{row.value * scale:.{row.digits}f}"
    # A spread is rarely printed with as many digits as its value.
    return value if row.spread is None else f"{value} +- {row.spread * scale:g}"


def lines(rows: Sequence[Published], width: int) -> list[str]:
    """By data set and source: one entry per method, variant and network, folded at that width."""
    folded: list[str] = []
    for (dataset, split), of_set in _grouped(rows, "dataset", "split"):
        folded += ["", f"{dataset}, {split}"] if folded else [f"{dataset}, {split}"]
        for (source, date, protocol), of_source in _grouped(of_set, "source", "date", "protocol"):
            folded += _folded(f"{source}{f' ({date})' if date else ''}, as {protocol}", width, 2)
            for words, alike in _grouped([row for row in of_source if row.stated], "definition"):
                folded += _folded(f"{', '.join(dict.fromkeys(row.title for row in alike))}: {words[0]}", width, 4)
            for names, entry in _grouped(of_source, "method", "variant", "backbone"):
                figures = ", ".join(f"{row.title} {_short(row)}{MARKS[row.same_definition]}" for row in entry)
                folded += _folded(f"{', '.join(filter(None, names))}: {figures}{_after(entry)}", width, 6)
    return [*folded, "", *(line for text in LEGEND for line in _folded(text, width, 0))]


def _short(row: Published) -> str:
    """Two decimals at most: boards publish ten."""
    return figure(row) if row.digits <= 2 else f"{row.value * (100 if row.unit == 'rate' else 1):.2f}"


def _after(entry: Sequence[Published]) -> str:
    extra = [word for word, name in (("retrained", "retraining"), ("OoD data", "ood_data")) if _all(entry, name, "yes")]
    repeated = next((row.repeats for row in entry if row.repeats), "")
    words = [*extra, *([f"repeats {repeated}"] if repeated else [])]
    return f" ({', '.join(words)})" if words else ""


def _all(rows: Sequence[Published], name: str, value: str) -> bool:
    return all(getattr(row, name) == value for row in rows)


def _grouped(rows: Sequence[Published], *names: str) -> list[tuple[tuple[str, ...], list[Published]]]:
    """In the order of first appearance."""
    order: dict[tuple[str, ...], int] = {}

    def key(row: Published) -> int:
        return order.setdefault(tuple(str(getattr(row, name)) for name in names), len(order))

    groups = [list(group) for _, group in groupby(sorted(rows, key=key), key=key)]
    return list(zip(order, groups, strict=True))


def _folded(text: str, width: int, indent: int) -> list[str]:
    lead = " " * indent
    return textwrap.wrap(
        text, max(width, indent + 20), initial_indent=lead, subsequent_indent=lead + "  ", break_on_hyphens=False
    )


def records(rows: Sequence[Published]) -> dict[str, Any]:
    """For JSON: rates in [0, 1], everything under its own name; what is not known is "" or null."""
    names = [field.name for field in fields(Published) if field.name != "place"]
    return {"schema": SCHEMA, "published": [{name: getattr(row, name) for name in names} for row in rows]}


def table(rows: Sequence[Published]) -> str:
    """The rows as ``bench.report.published.read`` takes them, rates in percent."""
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(spelled, rows))
    return file.getvalue()


def spelled(row: Published) -> dict[str, str]:
    """Return a row as its table has it, by column; rates in percent."""
    value, _, spread = figure(row).partition(" +- ")
    unit = "percent" if row.unit == "rate" else "count"
    return {name: getattr(row, name) for name in AXES} | {"value": value, "spread": spread, "unit": unit}
