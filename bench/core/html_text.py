"""Tables and lines as HTML for notebooks; every word is escaped, so that a label is shown and never obeyed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from bench.core.printable import one_line


def plain(words: str) -> str:
    """Return words on one line as HTML that shows them as they are."""
    return escape(one_line(words))


def lines(words: Iterable[str]) -> list[str]:
    """Return a paragraph for each line of words."""
    return [f"<div>{plain(line)}</div>" for line in words]


def table(heads: Sequence[str], body: Iterable[Sequence[str]], sides: Sequence[str] | None = None) -> str:
    """Return a table of cells that are HTML; ``sides`` are ``left`` or ``right``, of each column."""
    sides = sides or ["left"] * len(heads)
    rows = "".join(f"<tr>{_cells('td', row, sides)}</tr>\n" for row in body)
    return f"<table><thead><tr>{_cells('th', heads, sides)}</tr></thead>\n<tbody>{rows}</tbody></table>"


def _cells(tag: str, row: Sequence[str], sides: Sequence[str]) -> str:
    pairs = zip(row, sides, strict=True)
    return "".join(f'<{tag} style="text-align: {side}">{content}</{tag}>' for content, side in pairs)


def table_of(rows: Sequence[Mapping[str, str]]) -> str:
    """Return a table of plain texts; each row has the same columns, in their order."""
    heads = [plain(name) for name in rows[0]] if rows else []
    return table(heads, [[plain(text) for text in row.values()] for row in rows])
