"""Where the files of a suite's entries lie, and which of its data sets are there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from bench.api import Dataset
from bench.core import files
from bench.core.errors import AbsentData, BadSuite, MissingData, UserError
from bench.suite import checkpoints, parameters, registry
from bench.suite.cells import Cell, Ref, Suite


def placed(spelled: str, where: str, beside: Path) -> Path:
    """Return the absolute path of a file that an entry names.

    A relative one is looked for in the folder ``beside``, the suite's, and then in ``checkpoints`` of $BENCH_HOME; that
    of a file which is nowhere is beside the suite. ``where`` is blamed for a home folder that is not known.
    """
    path = files.expanded(spelled, where)
    own = (beside / path).resolve()
    if own.exists() or path.is_absolute():
        return own
    with suppress(MissingData):  # a user without a home keeps no weights there
        kept = (checkpoints.root() / path).resolve()
        if kept.exists():
            return kept
    return own


def content(file: Path) -> str:
    """16 hex digits of a file's content, read once while it does not change: half of all weights are model_best.pth."""
    status = file.stat()
    return _digest_of(str(file), status.st_mtime_ns, status.st_size)


@cache
def _digest_of(file: str, _changed: int, _size: int) -> str:
    return files.digest(Path(file))


def lacks_files(ref: Ref) -> bool:
    """True where an entry names a file that does not exist: what it holds is no part of the key yet."""
    named = parameters.file_fields(registry.plugin(ref.kind, ref.name, where=ref.label))
    return any(ref.arguments[key] is not None and not Path(ref.arguments[key]).is_file() for key in named)


def origin_of(spelled: dict[str, Any], names: frozenset[str], beside: Path, where: str) -> tuple[str, str]:
    """Take ``origin`` out of an entry: where the files that it names are published, as a word for people.

    Return it, and what to do where one of them is absent, as far as that is known. Raise BadSuite for what is no text.
    """
    is_said = "origin" in spelled
    origin = spelled.pop("origin", "")
    if not isinstance(origin, str) or (is_said and not origin):
        raise BadSuite(f"{where}: origin is {origin!r}, wanted text that says where its files are published")
    absent = [
        text
        for name in sorted(names)
        if isinstance(text := spelled.get(name), str) and not placed(text, where, beside).exists()
    ]
    if not absent:
        return origin, ""
    commands = dict.fromkeys(filter(None, map(checkpoints.command, absent)))
    if all(map(checkpoints.command, absent)):
        return origin, f"fetch it: {' and '.join(repr(command) for command in commands)}"
    if not origin:
        return "", ""
    kept = "the folder checkpoints of $BENCH_HOME"
    with suppress(MissingData):
        kept = str(checkpoints.root())
    return origin, f"get {' and '.join(absent)} from {origin}, and put it by that name into {kept}"


def optional(spelled: dict[str, Any], where: str) -> bool:
    """Take ``optional`` out of the entry of a data set. Raise BadSuite where it is neither true nor false."""
    is_optional = spelled.pop("optional", False)
    if not isinstance(is_optional, bool):
        raise BadSuite(f"{where}: optional is {is_optional!r}, wanted true or false")
    return is_optional


def present(suite: Suite) -> Suite:
    """Return the suite without the cells whose optional data is absent; as it is where none would be left."""
    reasons: dict[Ref, str] = {}  # empty for data that is there
    absent: list[str] = []  # the reason of each cell that is left out
    cells: list[Cell] = []
    for cell in suite.cells:
        refs = [ref for ref in (cell.dataset, cell.method and cell.method.fit) if ref and ref.optional]
        for ref in refs:
            if ref not in reasons:
                reasons[ref] = _absence(ref)
        if reason := next(filter(None, map(reasons.get, refs)), ""):
            absent.append(reason)
        else:
            cells.append(cell)
    if not cells or not absent:
        return suite
    return replace(suite, cells=tuple(cells), left_out=tuple(_sentences(Counter(absent))))


def _absence(ref: Ref) -> str:
    """Return why nothing of a data set is there; empty where something is, whatever else is wrong with it."""
    data: Dataset = ref.plain.build()
    while isinstance(inner := getattr(data, "inner", None), Dataset):
        data = inner
    try:
        data.ids()
    except AbsentData as error:
        return str(error)
    except UserError:
        return ""  # it is there, and checks say what is wrong with it
    return ""


def _sentences(absent: Mapping[str, int]) -> Iterator[str]:
    """Yield a sentence for each reason, of which the numbers of cells are given."""
    for reason, count in absent.items():
        yield f"{count} {'cell is' if count == 1 else 'cells are'} left out for want of data: {reason}"
