"""Slices of cells and differences of runs as tables of plain text."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from tabulate import tabulate

from bench.report.text import line as one_line


def slices(rows: Sequence[Mapping[str, Any]], *, markdown: bool = False) -> str:
    """A table per cell and axis, a part per line and a figure per column, of ``bench.results.records.slices``."""
    tables: dict[tuple[str, str], dict[str, dict[str, str]]] = {}
    for row in rows:
        named = (str(row[axis]) for axis in ("protocol", "model", "dataset", "method") if row[axis])
        cell = one_line(" / ".join(named))
        line = tables.setdefault((cell, row["slice"]), {}).setdefault(row["part"], {"images": str(row["images"])})
        line[row["metric"]] = _sliced(row)
    style = "github" if markdown else "simple"
    parts = [
        f"{cell}\n\n" + tabulate([{axis: part, **line} for part, line in lines.items()], headers="keys", tablefmt=style)
        for (cell, axis), lines in tables.items()
    ]
    return "\n\n".join(parts)


def _sliced(row: Mapping[str, Any]) -> str:
    if row["value"] is None:
        return f"n/a ({row['reason']})"
    return f"{row['value']:.4f}" + (f" ± {row['err']:.1g}" if row["err"] >= 5e-5 else "")


def differences(found: Sequence[Any], width: int | None = None) -> str:
    """A line per pair of cells and metric, of ``bench.results.compare``. A star marks a clear difference.

    Where one table of all pairs is too wide, there is one for each pair; in narrow ones A and B go, their difference
    stays.
    """
    columns = width or shutil.get_terminal_size((120, 40)).columns
    pairs = dict.fromkeys(f"A: {one.first}, B: {one.second}" for one in found)
    shared = [
        {"cell": one_line(one.cell)} | ({"which": one_line(f"{one.first} / {one.second}")} if len(pairs) > 1 else {})
        for one in found
    ]
    text = _simple([start | _difference(one, {}) for start, one in zip(shared, found, strict=True)])
    if max(map(len, text.splitlines())) <= columns:
        return f"{one_line('; '.join(pairs))}\n\n{text}"
    groups: dict[tuple[str, ...], list[Any]] = {}
    for one in found:
        groups.setdefault((one.cell, one.first, one.second), []).append(one)
    reasons: dict[str, int] = {}
    for one in found:
        if one.lo is None and one.reason:
            reasons.setdefault(one_line(one.reason), len(reasons) + 1)
    parts = []
    for (cell, first, second), members in groups.items():
        rows = [_difference(one, reasons) for one in members]
        text = _simple(rows)
        if max(map(len, text.splitlines())) > columns:
            text = _simple([{name: said for name, said in row.items() if name not in {"A", "B"}} for row in rows])
        head = one_line(f"{cell}; A: {first}, B: {second}".removeprefix("; "))
        parts.append("\n".join([*textwrap.wrap(head, columns), text]))
    notes = [textwrap.fill(f"[{number}] {reason}", columns) for reason, number in reasons.items()]
    return "\n\n".join([*parts, *(["\n".join(notes)] if notes else [])])


def _difference(one: Any, reasons: Mapping[str, int]) -> dict[str, str]:
    """The columns of a difference; a reason by its number where it has one."""
    between = None if one.lo is None or one.hi is None else f"[{one.lo:+.4f}, {one.hi:+.4f}]"
    reason = one_line(one.reason or "")
    return {
        "metric": one_line(one.metric),
        "A": "n/a" if one.one is None else f"{one.one:.4f}",
        "B": "n/a" if one.other is None else f"{one.other:.4f}",
        "B - A": "n/a" if one.difference is None else f"{one.difference:+.4f}",
        "paired 95 %": between or (f"[{reasons[reason]}]" if reason in reasons else reason),
        "": "*" if one.clear else "",
    }


def _simple(rows: Sequence[Mapping[str, str]]) -> str:
    text: str = tabulate(rows, headers="keys", tablefmt="simple", disable_numparse=True)
    return text


def images(found: Sequence[Any], top: int) -> str:
    """The images that changed most under each pair of cells, as ``bench.results.compare.by_image`` has them."""
    pairs: dict[tuple[str, ...], list[Any]] = {}
    for one in found:
        pairs.setdefault((one.cell, one.first, one.second, one.metric), []).append(one)
    parts = []
    for (cell, first, second, metric), members in pairs.items():
        known = [one for one in members if one.difference is not None]
        lines = [
            {
                "image": one_line(one.image),
                "A": f"{one.one:.4f}",
                "B": f"{one.other:.4f}",
                "B - A": f"{one.difference:+.4f}",
                "tags": one_line(", ".join(f"{axis} {tag}" for axis, tag in one.tags.items())),
            }
            for one in known[:top]
        ]
        more = len(known) - len(lines)
        counts = [f"{len(known)} images have the figure in both"] if known else ["no image has the figure in both"]
        counts += [f"{more} more are not listed"] * (more > 0)
        head = one_line(f"{cell}: {metric} by image; A: {first}, B: {second}".removeprefix(": "))
        body = _simple(lines) if lines else ""
        parts.append("\n\n".join(filter(None, (head, body, "; ".join(counts) + "."))))
    return "\n\n".join(parts)
