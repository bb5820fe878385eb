"""Downloads of a board: CSV, JSON, LaTeX, BibTeX, and a feed of what was added."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from bench.board.claimed import printed
from bench.board.columns import Entries
from bench.board.entries import Board, Version
from bench.core.values import Value
from bench.report import bibliography, columns, writing
from bench.report.selection import Choice
from bench.report.text import number
from bench.results import records

SCHEMA = 1
FED = 100  # entries of a feed
LISTED: columns.Types = {
    **{name: str for name in ("id", "name", "network", "kind", "added", "by", "paper", "code", "checkpoint", "note")},
    "versions": int,
}


def files(board: Board, run: Entries, entry_at: Mapping[str, str]) -> dict[str, str]:
    """Return the content of each file by its path; ``entry_at`` is the page of each entry."""
    every = [_about(board, version) for version in board.newest]
    contents = {
        "board.json": _json({"schema": SCHEMA, "title": board.about.title, "entries": _entries(board, run)}),
        "entries.csv": columns.to_csv(LISTED, every),
        "references.bib": _bibtex(board, run),
        "feed.xml": feed(board, entry_at),
    }
    if run.results:
        for name, format_ in (("figures.csv", "csv"), ("tables.tex", "tex")):
            content = writing.rendered(run, format_, "all", Choice())
            contents[name] = content if isinstance(content, str) else ""
    for entry in _entries(board, run):
        contents[entry_at[entry["id"]].removesuffix(".html") + ".json"] = _json({"schema": SCHEMA} | entry)
    return contents


def _about(board: Board, version: Version) -> dict[str, Any]:
    """The facts of an entry, without its figures."""
    entry = version.entry
    facts = {"id": version.id, "versions": len(board.history(version.id))}
    names = ("name", "network", "kind", "added", "by", "paper", "code", "checkpoint", "note")
    return facts | {name: getattr(entry, name) for name in names}


def _entries(board: Board, run: Entries) -> list[dict[str, Any]]:
    """Every entry with its figures: those that were measured as flat records, claimed ones as they were published."""
    by_entry: dict[str, list[dict[str, Any]]] = {}
    measured = {key: version.id for key, version in run.origins.items()}
    for record in records.records(run.results):
        by_entry.setdefault(measured[record["key"]], []).append(record)
    return [
        _about(board, version)
        | {"figures": by_entry.get(version.id, []), "claimed": [dict(row) for row in version.entry.figures]}
        for version in board.newest
    ]


def _json(content: Any) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _bibtex(board: Board, run: Entries) -> str:
    """Return the works that methods, protocols and data sets are made after, and the papers that entries lead to."""
    sources: dict[str, str] = {}
    for result in run.results:
        for axis, name in (("method", result.labels.method), ("protocol", None), ("dataset", None)):
            if source := result.about.get(axis, {}).get("source"):
                label = name or result.labels.on(axis)
                sources.setdefault(label.replace("@", "(at)"), str(source).replace("@", "(at)"))
    papers = [
        f"% {version.id}: {version.entry.paper.replace('@', '%40')}" for version in board.newest if version.entry.paper
    ]
    return "\n\n".join(filter(None, [bibliography.render(sources.items()), "\n".join(papers)])) + "\n"


def feed(board: Board, entry_at: Mapping[str, str]) -> str:
    """Return an Atom feed (RFC 4287) of what was added, the last first; dates are those of the entries."""
    address = board.about.address.rstrip("/")
    own = uuid.uuid5(uuid.NAMESPACE_URL, address or board.about.title)
    added = sorted(board.versions, key=lambda version: version.order, reverse=True)[:FED]
    updated = added[0].entry.added if added else "1970-01-01"
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>',
        '<feed xmlns="http://www.w3.org/2005/Atom">',
        f"<title>{escape(board.about.title)}</title>",
        f"<id>urn:uuid:{own}</id>",
        f"<updated>{updated}T00:00:00Z</updated>",
        "<author><name>the authors of the entries</name></author>",
    ]
    if address:
        lines += [f'<link rel="self" href={quoteattr(f"{address}/feed.xml")}/>', f"<link href={quoteattr(address)}/>"]
    for version in added:
        page = entry_at[version.id]
        link = f"{address}/{page}" if address else page
        what = "added" if version is board.history(version.id)[0] else "changed"
        lines += [
            "<entry>",
            f"<title>{escape(f'{version.entry.title}: {what}')}</title>",
            f"<id>urn:uuid:{uuid.uuid5(own, version.address)}</id>",
            f"<updated>{version.entry.added}T00:00:00Z</updated>",
            f"<author><name>{escape(version.entry.by or 'anonymous')}</name></author>",
            f"<link href={quoteattr(link)}/>",
            f"<summary>{escape(_summary(version))}</summary>",
            "</entry>",
        ]
    return "\n".join([*lines, "</feed>"]) + "\n"


def _summary(version: Version) -> str:
    """Its first figure on each data set."""
    if version.figures:
        words = [f"{row.title} {printed(row)} on {row.dataset} {row.split}, claimed" for row in version.figures]
    else:
        firsts = ((result, first_figure(result.definitions, result.metrics)) for result in version.results)
        words = [f"{figure} on {result.labels.dataset}" for result, figure in firsts if figure]
    return "; ".join(words[:12]) + (f"; and {len(words) - 12} more" if len(words) > 12 else "")


def first_figure(definitions: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    """Return title and value of the figure that ranks, such as ``AUROC 81.20``; empty where it is undefined."""
    for name, metric in definitions.items():
        value = metrics.get(name)
        return f"{metric.title} {number(value.value, metric)}" if isinstance(value, Value) else ""
    return ""


def listed(paths: Sequence[str]) -> list[tuple[str, str]]:
    """Return the files of the whole board with what each is."""
    words = {
        "board.json": "every entry with its links and figures",
        "entries.csv": "the entries, a row each",
        "figures.csv": "every measured figure with all that it means, a row each",
        "tables.tex": "the tables for LaTeX, with the rules of booktabs",
        "references.bib": "works behind methods, protocols and data sets, for BibTeX",
        "feed.xml": "what was added, as an Atom feed",
    }
    return [(name, text) for name, text in words.items() if name in paths]
