"""BibTeX entries of what plug-ins are made after.

A plug-in says in its ``source`` what it is made after. Entries are found by the arXiv numbers in there and, for what
has none, by the names in the field ``called`` of ``references.bib``, separated by ";". That file stands
in ``reports``, one's own as ``references.bib`` under a path in $BENCH_PLUGINS. It is read as hostile input and more
strictly than BibTeX does: ``@type{key,`` on a line, fields ``name = {...},`` with balanced braces, in ASCII, and ``}``
on a line.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

from bench.core.errors import BadPublished

NEEDED: Mapping[str, frozenset[str]] = {
    "article": frozenset({"author", "title", "journal", "year"}),
    "inproceedings": frozenset({"author", "title", "booktitle", "year"}),
    "misc": frozenset({"author", "title", "year"}),
}
KNOWN = frozenset().union(*NEEDED.values()) | {
    *("volume", "number", "pages", "publisher", "doi", "url", "note", "eprint", "archiveprefix", "called"),
}
ARXIV = re.compile(r"arXiv:([0-9]{4}\.[0-9]{4,5})")


@dataclass(frozen=True)
class Entry:
    """One work, its fields as they stand in the file, line breaks made spaces."""

    kind: str
    key: str
    fields: Mapping[str, str]

    def __str__(self) -> str:
        """As BibTeX takes it, without what is for us alone."""
        lines = [f"  {name} = {{{value}}}," for name, value in self.fields.items() if name != "called"]
        return "\n".join([f"@{self.kind}{{{self.key},", *lines, "}"])


@cache
def _read(paths: tuple[Path, ...]) -> Mapping[str, Entry]:
    by_key: dict[str, Entry] = {}
    for path in paths:
        for entry in parse(path.read_bytes(), path):
            if entry.key in by_key:
                raise BadPublished(f"{path}: the key {entry.key} stands there twice, or in two files")
            by_key[entry.key] = entry
    return by_key


def entries() -> Mapping[str, Entry]:
    """Every entry there is by key; BadPublished for a file that is not as described above."""
    paths = [Path(str(resources.files("bench.reports")))]
    paths += [Path(folder) for folder in filter(None, os.environ.get("BENCH_PLUGINS", "").split(os.pathsep))]
    return _read(tuple(path / "references.bib" for path in paths if (path / "references.bib").is_file()))


def parse(content: bytes, path: Path) -> list[Entry]:
    """The entries of one file."""
    try:
        text = content.decode("ascii").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise BadPublished(f"{path}:{line}: not ASCII; write letters as BibTeX does, such as {{\\'c}}") from None
    parsed, line = [], 1
    for block in text.split("\n\n"):
        if block.strip():
            parsed.append(_entry(block.strip("\n"), f"{path}:{line + len(block) - len(block.lstrip(chr(10)))}"))
        line += block.count("\n") + 2
    return parsed


def _entry(block: str, where: str) -> Entry:
    head = re.match(r"@([a-z]+)\{([a-z][a-z0-9_-]*),\n", block)
    if not head or not block.endswith("\n}"):
        raise BadPublished(f"{where}: wanted an entry '@type{{key,' ... '}}' and an empty line behind it")
    kind, key = head.groups()
    if kind not in NEEDED:
        raise BadPublished(f"{where}: {key} is of type {kind}, wanted {' or '.join(NEEDED)}")
    fields: dict[str, str] = {}
    rest = block[head.end() : -1]
    while rest:
        name = re.match(r"  ([a-z]+) = \{", rest)
        end = _closing(rest, name.end()) if name else 0
        if not name or rest[end : end + 2] != ",\n" or name[1] not in KNOWN or name[1] in fields:
            raise BadPublished(
                f"{where}: {key}: {rest[:40]!r} is no 'name = {{...}},' of {', '.join(sorted(KNOWN))}, each once"
            )
        fields[name[1]] = " ".join(rest[name.end() : end - 1].split())
        rest = rest[end + 2 :]
    if absent := sorted(NEEDED[kind] - {name for name, value in fields.items() if value}):
        raise BadPublished(f"{where}: {key} has no {', '.join(absent)}")
    return Entry(kind, key, fields)


def _closing(text: str, start: int) -> int:
    """The index after the brace that closes the one opened before ``start``; 0 if none does."""
    depth = 1
    for index in range(start, len(text)):
        if text[index] in "{}" and text[index - 1] != "\\":
            depth += 1 if text[index] == "{" else -1
        if depth == 0:
            return index + 1
    return 0


def of(source: str) -> list[Entry]:
    """The entries that the ``source`` of a plug-in names, in the order of their keys."""
    numbers = set(ARXIV.findall(source))

    def named(entry: Entry) -> bool:
        called = [name.strip() for name in entry.fields.get("called", "").split(";")]
        return entry.fields.get("eprint") in numbers or any(name and name in source for name in called)

    return [entry for _, entry in sorted(entries().items()) if named(entry)]


def render(sources: Iterable[tuple[str, str]]) -> str:
    """A file for BibTeX of the works behind (name, source) pairs; what names no work is listed at its end.

    BibTeX passes over what stands between entries, as long as no "@" is in it.
    """
    cited: dict[str, list[str]] = {}
    silent: list[str] = []
    unknown: list[str] = []
    for name, source in sources:
        works = of(source)
        for entry in works:
            cited.setdefault(entry.key, []).append(name)
        absent = sorted(set(ARXIV.findall(source)) - {entry.fields.get("eprint") for entry in works})
        unknown += [f"% {name}: arXiv:{number} is in no references.bib" for number in absent]
        if not works and not absent:
            silent.append(name)
    blocks = [f"% {', '.join(names)}\n{entries()[key]}" for key, names in sorted(cited.items())]
    last = [*unknown, *([f"% without a published source: {', '.join(silent)}"] if silent else [])]
    return "\n\n".join([*blocks, *(["\n".join(last)] if last else [])])
