"""Runs written in a format that is found by its name: what ``bench report``, ``bench show`` and ``bench.Run`` share."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.api import Format
from bench.core import files
from bench.core.errors import UnknownName, UsageError
from bench.report import document, merge_runs
from bench.report.selection import Choice
from bench.results.store import Run, uncollected
from bench.suite import arguments, registry

TERMINAL = "terminal"  # the format that ``bench show`` prints
Content = str | bytes | Mapping[str, bytes]  # of a file, or of each file of a folder
ELSEWHERE = {  # what stands in place of a table that a format does not have
    "paper": "the HTML page has its own tables",
    "means": "the other formats show means beside the tables",
}


def formats() -> dict[str, type[Format]]:
    """Return the formats that make a file, by name."""
    classes = {name: entry for name, entry in registry.available("format").items() if isinstance(entry, type)}
    return {name: cls for name, cls in classes.items() if issubclass(cls, Format) and cls.suffix}


def format_named(spelled: str, table: str = "all") -> Format:
    """Return the format of a file; UnknownName where there is none, UsageError where it has no such table."""
    known = formats()
    name, params = arguments.named(spelled, "--format")
    if name not in known and (name not in registry.available("format") or name == TERMINAL):
        raise UnknownName("format", name, known, "--format")
    found: Format = registry.build("format", name, params, where="--format")
    if table not in found.tables:
        able = [other for other, cls in known.items() if table in cls.tables]
        listed = " and ".join(filter(None, (", ".join(able[:-1]), *able[-1:])))
        raise UsageError(f"--table {table} is for {listed}; {ELSEWHERE[table]}")
    return found


def write(
    folders: Sequence[str],
    format_: str,
    out: Path | None = None,
    table: str = "all",
    choice: Choice | None = None,
    run: Run | None = None,
) -> Path:
    """Write the runs in one of the formats, ``run`` if they are opened already; return the path of the file."""
    choice = choice or Choice()
    writer = format_named(format_, table)
    run = run or merge_runs.opened(folders, anonymous=choice.anonymous)
    home, named = run.path if len(folders) == 1 else Path(), writer.name if writer.suffix == "/" else "report"
    page = out or home / f"{named}{writer.suffix}"
    content = _rendered(run, writer, table, choice, _command(folders, format_, table, choice))
    contents = (
        {page / name: part for name, part in content.items()} if isinstance(content, Mapping) else {page: content}
    )
    for path, part in contents.items():
        with files.writing(path, "w" if isinstance(part, str) else "wb") as file:
            file.write(part)
    return page


def rendered(run: Run, format_: str, table: str, choice: Choice) -> Content:
    """Return a run as one of the formats has it."""
    return _rendered(run, format_named(format_, table), table, choice)


def printed(run: Run, choice: Choice | None = None, *, styled: bool = False, brief: bool = False) -> str:
    """Return what ``bench show`` prints; ``styled`` with the codes of a terminal, ``brief`` a line for each task."""
    terminal = registry.build("format", TERMINAL, {"styled": styled, "brief": brief}, where="bench show")
    return str(_rendered(run, terminal, "all", choice or Choice()))


def _rendered(run: Run, writer: Format, table: str, choice: Choice, command: str = "") -> Content:
    with uncollected():
        return writer.write(document.build(run, choice, table=table, command=command))


def _command(folders: Sequence[str], format_: str, table: str, choice: Choice) -> str:
    """Return the command that makes the page again."""
    argv = ["bench", "report", *folders, "--format", format_, *(["--table", table] if table != "all" else [])]
    argv += ["--only", ",".join(f"{a}={p}" for a, p in choice.only.items())] if choice.only else []
    argv += ["--metrics", ",".join(choice.metrics)] if choice.metrics else []
    argv += ["--columns", ",".join(choice.columns)] if choice.columns else []
    argv += ["--digits", str(choice.digits)] if choice.digits is not None else []
    if choice.intervals is not None:
        argv.append("--intervals" if choice.intervals else "--no-intervals")
    argv += ["--captions"] if choice.captions else []
    argv += ["--baseline", choice.baseline] if choice.baseline else []
    return shlex.join(argv)
