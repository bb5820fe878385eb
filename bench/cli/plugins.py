"""``bench list`` and ``bench new``: parse, call, print. Heavy modules are imported late."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from bench.cli.commands import Commands
from bench.cli.output import echo
from bench.core.errors import UnknownName, UsageError
from bench.suite import arguments
from bench.suite.kinds import HOMES, Kind

MARGIN = 20  # columns that a text has at least beside its name

new = typer.Typer(cls=Commands, help="Write a plug-in to start from.", no_args_is_help=True)

PLUGINS: dict[str, Kind] = {home.plural: kind for kind, home in HOMES.items() if kind != "board"}
KINDS = (*PLUGINS, "metrics", "corruptions", "suites", HOMES["board"].plural, "published")


def list_(
    kind: Annotated[str, typer.Argument(help=f"One of: {', '.join(KINDS)}.")] = "methods",
    bibtex: Annotated[bool, typer.Option("--bibtex", help="Of plug-ins: the works that they are made after.")] = False,
    only: Annotated[
        str, typer.Option(metavar="AXIS=GLOB,...", help="Of published figures: those whose columns match.")
    ] = "",
    format_: Annotated[
        Literal["table", "json", "csv"], typer.Option("--format", help="How to print published figures.")
    ] = "table",
) -> None:
    """List plug-ins, metrics, corruptions, shipped suites, leaderboards and published figures."""
    if kind not in KINDS:
        raise UnknownName("kind", kind, KINDS, "list")
    if bibtex and kind not in PLUGINS:
        raise UsageError(f"--bibtex: {kind} name no source; ask for {', '.join(PLUGINS)}")
    if (only or format_ != "table") and kind != "published":
        raise UsageError(f"--only and --format are for published figures; list {kind} has one form")
    if kind == "published":
        _list_published(only, format_)
    elif bibtex:
        _list_bibtex(kind)
    else:
        rows = _listing(kind)
        width = max((len(name) for name, _ in rows), default=0)
        # A program that reads the lines wants one for each name; a terminal folds them at words.
        columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize
        for name, text in rows:
            folded = textwrap.wrap(text, max(columns - width - 2, MARGIN), break_on_hyphens=False) or [""]
            echo("\n".join(f"{head:<{width}}  {part}" for head, part in zip_longest([name], folded, fillvalue="")))


def _listing(kind: str) -> Sequence[tuple[str, str]]:
    if kind == "suites":
        from bench.suite.expansion import shipped

        return [(name, _first_comment(path)) for name, path in shipped().items()]
    if kind == HOMES["board"].plural:
        from bench.submit import boards

        known: Sequence[tuple[str, str]] = boards.listing()
        return known
    if kind == "metrics":
        return _metrics()
    if kind == "corruptions":
        from bench.suite.wrappers.corrupted import FAMILIES

        return list(FAMILIES.items())
    from bench.suite import registry

    return [(name, _about(entry)) for name, entry in registry.available(PLUGINS[kind]).items()]


def _metrics() -> Sequence[tuple[str, str]]:
    """Each figure with the protocols that give it and what it is there."""
    from bench.api import Protocol
    from bench.suite import registry

    listed: dict[str, dict[str, list[str]]] = {}
    for name, entry in registry.available("protocol").items():
        if isinstance(entry, type) and issubclass(entry, Protocol):
            for metric, meaning in entry.metrics.items():
                listed.setdefault(metric, {}).setdefault(meaning.definition, []).append(name)
    return [
        (metric, f"{definition} ({', '.join(protocols)})")
        for metric, meanings in sorted(listed.items())
        for definition, protocols in meanings.items()
    ]


def _list_published(only: str, format_: str) -> None:
    from bench.report import published, published_text

    rows = published_text.chosen(published.load(), arguments.patterns(only) if only else {})
    if format_ == "json":
        echo(json.dumps(published_text.records(rows), indent=1, ensure_ascii=False))
    elif format_ == "csv":
        echo(published_text.table(rows), nl=False)
    else:
        echo("\n".join(published_text.lines(rows, shutil.get_terminal_size((100, 40)).columns)))


def _list_bibtex(kind: str) -> None:
    from bench.report import bibliography
    from bench.suite import registry

    usable = [
        (name, entry) for name, entry in registry.available(PLUGINS[kind]).items() if not hasattr(entry, "reason")
    ]
    echo(bibliography.render((name, entry.source) for name, entry in usable))


def _about(entry: Any) -> str:
    if hasattr(entry, "reason"):
        return f"cannot be used: {entry.reason}"
    return next(iter(str(entry.__doc__ or "").strip().splitlines()), "says nothing of itself")


def _first_comment(path: Path) -> str:
    return path.read_text(encoding="utf-8").splitlines()[0].lstrip("# ")


def _add_new(kind: Kind) -> None:
    """Add ``bench new KIND``."""

    def write(
        name: Annotated[str, typer.Argument(help="Lower case, such as my_score.")],
        folder: Annotated[
            Path | None, typer.Option(help="Where to write it. Default: that of a clone, else of $BENCH_PLUGINS.")
        ] = None,
    ) -> None:
        from bench.suite import scaffold

        echo(scaffold.write(kind, name, folder))

    new.command(kind, help=f"Write {HOMES[kind].folders[0]}/NAME.py, a {kind} that runs, to change into yours.")(write)


for _kind in HOMES:
    _add_new(_kind)
