"""``bench board``: a leaderboard that grows; parse, call, print."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.commands import Commands
from bench.cli.options import Only
from bench.cli.output import echo, number
from bench.core.errors import UsageError
from bench.suite import arguments

if TYPE_CHECKING:
    from bench.board.entries import Fault

board = typer.Typer(
    help="Keep a leaderboard: a folder of entries, checked, and the site that is built of them.",
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode=None,
)
Folder = Annotated[Path, typer.Argument(metavar="[DIR]", help="The folder of the board.")]


@board.command(short_help="Write a board to start from.")
def new(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that is new or empty.")],
    title: Annotated[str, typer.Option(help="Of the board. Default: by the name of the folder.")] = "",
) -> None:
    """Write a board without entries: instructions, and a workflow of GitHub that checks and publishes it."""
    from bench.board import scaffold

    for path in scaffold.write(folder, title):
        echo(folder / path)
    echo(f"'bench board add RUN {folder}' adds the entries of a run")


@board.command(short_help="Add the results of a run.")
def add(
    source: Annotated[
        Path, typer.Argument(metavar="RUN", help="A run directory, or a .csv of published figures: those are claimed.")
    ],
    folder: Folder = Path(),
    only: Only = None,
    name: Annotated[str, typer.Option(help="What the method is called. Default: its label.")] = "",
    by: Annotated[str, typer.Option(metavar="NAME", help="Who adds it.")] = "",
    anonymous: Annotated[
        bool, typer.Option("--anonymous", help="Name nobody, and leave out paths and commits.")
    ] = False,
    paper: Annotated[str, typer.Option(metavar="URL", help="Its paper.")] = "",
    code: Annotated[str, typer.Option(metavar="URL", help="Its code.")] = "",
    checkpoint: Annotated[str, typer.Option(metavar="URL", help="Its weights.")] = "",
    note: Annotated[str, typer.Option(help="What a reader must know.")] = "",
    of: Annotated[str, typer.Option(metavar="ENTRY", help="Claimed figures: the measured entry they are of.")] = "",
    differs: Annotated[str, typer.Option(help="Claimed figures: why they are not those measured.")] = "",
    day: Annotated[str, typer.Option("--date", metavar="DAY", help="When it is added. Default: today.")] = "",
) -> None:
    """Add an entry for each method and network of a run, or a new version of it. Nothing is computed again."""
    from bench.board import adding
    from bench.board.adding import About

    about = About(by, anonymous, name, paper, code, checkpoint, note, of, differs)
    for place in adding.add(folder, source, about, arguments.patterns(only) if only else {}, _day(day)):
        echo(folder / "entries" / place)


@board.command(short_help="Find what is wrong with entries.")
def check(folder: Folder = Path()) -> None:
    """Name what is wrong, a line for each fault by the name of its entry; exit status 2 where there is any."""
    from bench.board import check as checking
    from bench.board import entries

    read = entries.read(folder)
    faults = checking.faults(read, _today())
    _listed(faults)
    if faults:
        raise UsageError(f"{folder}: {number(len(faults), 'fault')}")
    echo(f"{folder}: {len(read.newest)} entries in {number(len(read.versions), 'version')}, no fault")


@board.command(short_help="Build the site of a board.")
def build(
    folder: Folder = Path(),
    out: Annotated[Path, typer.Option(help="Folder of the site; one that is there is replaced whole.")] = Path("site"),
) -> None:
    """Check a board and build its site: static pages, downloads and a feed. Equal entries give equal bytes."""
    from bench.board import site

    try:
        written = site.build(folder, out, _today())
    except site.Faulty as error:
        _listed(error.faults)
        raise
    echo(f"{out}: {number(written, 'file')}; open {out / 'index.html'}")


def _listed(faults: list[Fault] | tuple[Fault, ...]) -> None:
    for fault in faults:
        echo(f"bench: {fault}".replace("\n", " "), err=True)


def _today() -> date:
    return datetime.now(UTC).date()


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text) if text else _today()
    except ValueError:
        raise UsageError(f"--date {text}: wanted a day such as 2026-11-29") from None
