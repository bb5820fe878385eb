"""``bench list`` and ``bench new``: parse, call, print. Heavy modules are imported late."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from bench.core.errors import UnknownName, UsageError
from bench.suite import arguments

new = typer.Typer(help="Write a plug-in to start from.", no_args_is_help=True)

PLUGINS = ("methods", "models", "datasets", "protocols", "trainers", "formats")
KINDS = (*PLUGINS, "corruptions", "suites", "leaderboards", "published")


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
    """List plug-ins, corruptions, shipped suites, leaderboards and published figures."""
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
        for name, text in rows:
            typer.echo(f"{name:<{width}}  {text}")


def _listing(kind: str) -> Sequence[tuple[str, str]]:
    if kind == "suites":
        from bench.suite.expansion import shipped

        return [(name, _first_comment(path)) for name, path in shipped().items()]
    if kind == "leaderboards":
        from bench.submit import boards

        known: Sequence[tuple[str, str]] = boards.listing()
        return known
    if kind == "corruptions":
        from bench import corruptions

        return list(corruptions.FAMILIES.items())
    from bench.suite import registry

    singular: Any = kind.removesuffix("s")
    return [(name, _about(entry)) for name, entry in registry.available(singular).items()]


def _list_published(only: str, format_: str) -> None:
    from bench.report import published, published_text

    rows = published_text.chosen(published.load(), arguments.patterns(only) if only else {})
    if format_ == "json":
        typer.echo(json.dumps(published_text.records(rows), indent=1, ensure_ascii=False))
    elif format_ == "csv":
        typer.echo(published_text.table(rows), nl=False)
    else:
        typer.echo("\n".join(published_text.lines(rows, shutil.get_terminal_size((100, 40)).columns)))


def _list_bibtex(kind: str) -> None:
    from bench.report import bibliography
    from bench.suite import registry

    singular: Any = kind.removesuffix("s")
    usable = [(name, entry) for name, entry in registry.available(singular).items() if not hasattr(entry, "reason")]
    typer.echo(bibliography.render((name, entry.source) for name, entry in usable))


def _about(entry: Any) -> str:
    if hasattr(entry, "reason"):
        return f"cannot be used: {entry.reason}"
    return next(iter(str(entry.__doc__ or "").strip().splitlines()), "says nothing of itself")


def _first_comment(path: Path) -> str:
    return path.read_text(encoding="utf-8").splitlines()[0].lstrip("# ")


@new.command("method")
def new_method(
    name: Annotated[str, typer.Argument(help="Lower case, such as my_score.")],
    folder: Annotated[
        Path | None, typer.Option(help="Where to write it. Default: methods/ of a clone, else $BENCH_PLUGINS.")
    ] = None,
) -> None:
    """Write methods/NAME.py, a method that runs, to change into yours."""
    from bench.suite import scaffold

    typer.echo(str(scaffold.write_method(name, folder)))
