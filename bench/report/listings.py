"""Slices of cells and differences of runs as tables of plain text."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tabulate import tabulate

from bench.api import Metric
from bench.core.printable import one_line
from bench.report.text import certified, difference, listed, number, of_images
from bench.results.compare import Difference, ImageDifference


def slices(
    rows: Sequence[Mapping[str, Any]], definitions: Mapping[tuple[str, str], Metric], *, markdown: bool = False
) -> str:
    """A table per cell and axis, a part per line and a figure per column, of ``bench.results.records.slices``.

    ``definitions`` are the metrics by label of the protocol and name; rates are in percent.
    """
    tables: dict[tuple[str, str], dict[str, dict[str, str]]] = {}
    for row in rows:
        named = (str(row[axis]) for axis in ("protocol", "model", "dataset", "method") if row[axis])
        cell = one_line(" / ".join(named))
        line = tables.setdefault((cell, row["slice"]), {}).setdefault(row["part"], {"images": str(row["images"])})
        line[row["metric"]] = _sliced(row, definitions.get((row["protocol"], row["metric"]), UNKNOWN))
    style = "github" if markdown else "simple"
    parts = [
        f"{cell}\n\n" + tabulate([{axis: part, **line} for part, line in lines.items()], headers="keys", tablefmt=style)
        for (cell, axis), lines in tables.items()
    ]
    return "\n\n".join(parts)


def _sliced(row: Mapping[str, Any], metric: Metric) -> str:
    if row["value"] is None:
        return f"n/a ({row['reason']})"
    return f"{number(row['value'], metric)} {certified(row['err'], metric)}".rstrip()


UNKNOWN = Metric("", "", "neither", "number")  # one that its cell does not define
UNITS = "Rates in percent, their differences in points of a percent; * marks an interval that excludes 0."


def differences(entries: Sequence[Difference], width: int | None = None, *, every: bool = False) -> str:
    """Return a line per pair of cells and metric, of ``bench.results.compare``. A star marks a clear difference.

    Figures that are equal on both sides are counted unless ``every`` line is asked for. Where one table of all pairs is
    too wide, there is one for each pair; in narrow ones A and B go, their difference stays.
    """
    columns = width or shutil.get_terminal_size((120, 40)).columns
    changed = _shown(entries, every=every)
    if not changed:
        return "\n".join([sides(entries), *below(entries)])
    text = _simple(difference_rows(entries, every=every))
    end = "\n".join(textwrap.fill(line, columns) for line in below(entries, every=every))
    if _fits(text, columns):
        return f"{sides(entries)}\n\n{text}\n\n{end}"
    groups: dict[tuple[str, str, str], list[Difference]] = {}
    reasons: dict[str, int] = {}
    for entry in changed:
        groups.setdefault((entry.cell, entry.first, entry.second), []).append(entry)
        if entry.lo is None and entry.reason:
            reasons.setdefault(one_line(entry.reason), len(reasons) + 1)
    parts = []
    for (cell, first, second), members in groups.items():
        rows = [_difference(entry, reasons) for entry in members]
        text = _simple(rows)
        if not _fits(text, columns):
            text = _simple([{name: word for name, word in row.items() if name not in {"A", "B"}} for row in rows])
        head = one_line(f"{cell}; A: {first}, B: {second}".removeprefix("; "))
        parts.append("\n".join([*textwrap.wrap(head, columns), text]))
    notes = "\n".join(textwrap.fill(f"[{number}] {reason}", columns) for reason, number in reasons.items())
    return "\n\n".join(filter(None, (*parts, notes, end)))


def sides(entries: Sequence[Difference]) -> str:
    """Return what A and B are, on one line."""
    return one_line("; ".join(_pairs(entries)))


def difference_rows(entries: Sequence[Difference], *, every: bool = False) -> list[dict[str, str]]:
    """Return the columns of each difference; figures that are equal on both sides only if ``every`` one is wanted."""
    rows = []
    several = len(_pairs(entries)) > 1
    for entry in _shown(entries, every=every):
        which = {"which": one_line(f"{entry.first} / {entry.second}")} if several else {}
        rows.append({"cell": one_line(entry.cell)} | which | _difference(entry, {}))
    return rows


def below(entries: Sequence[Difference], *, every: bool = False) -> list[str]:
    """Return what is said below the differences: units, and how many figures are not listed."""
    same = len(entries) - len(_shown(entries, every=every))
    if same == len(entries):
        return [f"All {len(entries)} figures are equal in A and B, to the last bit."]
    return [UNITS, *([f"{same} of {len(entries)} figures are equal in A and B; --all prints them."] if same else [])]


def _pairs(entries: Sequence[Difference]) -> list[str]:
    return list(dict.fromkeys(f"A: {entry.first}, B: {entry.second}" for entry in entries))


def _shown(entries: Sequence[Difference], *, every: bool) -> list[Difference]:
    return [entry for entry in entries if every or not entry.equal]


def beside(made_with: Mapping[str, int], lacking: tuple[Sequence[str], Sequence[str]]) -> Iterator[str]:
    """Yield lines on two sides that were compared: what they were made with that differs, and cells without a pair."""
    for words, pairs in made_with.items():
        yield one_line(f"A and B differ in {words}: {pairs} {'pair' if pairs == 1 else 'pairs'} of cells")
    for name, cells in zip("AB", lacking, strict=True):
        if cells:
            yield one_line(f"Only {name} has {len(cells)} {'cell' if len(cells) == 1 else 'cells'}: {listed(cells, 4)}")


def _fits(text: str, columns: int) -> bool:
    return max(map(len, text.splitlines())) <= columns


def _difference(entry: Difference, reasons: Mapping[str, int]) -> dict[str, str]:
    """The columns of a difference; a reason by its number where it has one."""
    metric, ends = entry.definition, (entry.lo, entry.hi)
    lo, hi = (None if end is None else difference(end, metric) for end in ends)
    between = None if lo is None or hi is None else f"[{lo}, {hi}]"
    reason = one_line(entry.reason or "")
    return {
        "metric": one_line(entry.metric),
        **_values(entry),
        "paired 95 %": between or (f"[{reasons[reason]}]" if reason in reasons else reason),
        "": "*" if entry.clear else "",
    }


def _values(entry: Difference | ImageDifference) -> dict[str, str]:
    """Both figures and their difference, rates in percent."""
    metric, change = entry.definition, entry.difference
    values = {
        name: "n/a" if value is None else number(value, metric)
        for name, value in (("A", entry.one), ("B", entry.other))
    }
    return values | {"B - A": "n/a" if change is None else difference(change, metric)}


def _simple(rows: Sequence[Mapping[str, str]]) -> str:
    return tabulate(rows, headers="keys", tablefmt="simple", disable_numparse=True)


def images(entries: Sequence[ImageDifference], top: int) -> str:
    """Return the images that changed most under each pair of cells, as ``bench.results.compare.by_image`` has them."""
    pairs: dict[tuple[str, str, str, str], list[ImageDifference]] = {}
    for entry in entries:
        pairs.setdefault((entry.cell, entry.first, entry.second, entry.metric), []).append(entry)
    parts = []
    for (cell, first, second, metric), members in pairs.items():
        known = [entry for entry in members if entry.difference is not None]
        lines = [
            {
                "image": one_line(entry.image),
                **_values(entry),
                "tags": one_line(", ".join(f"{axis} {tag}" for axis, tag in entry.tags.items())),
            }
            for entry in known[:top]
        ]
        more = len(known) - len(lines)
        counts = (
            [f"{of_images(len(known))} {'has' if len(known) == 1 else 'have'} the figure in both"]
            if known
            else ["no image has the figure in both"]
        )
        counts += [f"{more} more are not listed"] * (more > 0)
        head = one_line(f"{cell}: {metric} by image; A: {first}, B: {second}".removeprefix(": "))
        parts.append("\n\n".join(filter(None, (head, _simple(lines) if lines else "", "; ".join(counts) + "."))))
    return "\n\n".join(parts)
