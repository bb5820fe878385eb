"""``bench data fetch``, ``bench models fetch`` and ``convert``, ``bench check --fetch``: parse, call, print."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.commands import Commands
from bench.cli.output import echo, number
from bench.core.errors import UsageError

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from bench.data.fetch import Options
    from bench.suite.cells import Suite

models = typer.Typer(cls=Commands, help="Fetch and convert published weights.", no_args_is_help=True)

EVERY = 30.0  # seconds between two lines where there is no terminal

Accept = Annotated[bool, typer.Option("--accept", help="Keep to the terms that are printed; asked for once.")]
Urls = Annotated[
    list[str] | None,
    typer.Option("--url", metavar="FILE=URL", help="Another address of a file: http, https or file. Repeatable."),
]


def fetch(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME...", help="Data sets; with --list all, without a name.")
    ] = None,
    part: Annotated[
        list[str] | None, typer.Option("--part", help="A file, or a value such as static, train. Repeatable.")
    ] = None,
    version: Annotated[int | None, typer.Option(min=1, help="Of Fishyscapes Static.")] = None,
    to: Annotated[Path | None, typer.Option(metavar="DIR", help="In place of $BENCH_DATA; a folder for each.")] = None,
    accept: Accept = False,
    list_: Annotated[
        bool, typer.Option("--list", help="Say what is there, what is missing and what it would cost; fetch nothing.")
    ] = False,
    url: Urls = None,
) -> None:
    """Fetch published archives: resumed, verified, unpacked whole or not at all, and checked.

    Terms are printed first, and nothing is fetched until --accept says that they are kept. Kill it at any time: the
    same command goes on. $BENCH_MIRROR names addresses that are tried before the published ones, as ADDRESS/NAME/FILE.
    """
    from bench.core import files
    from bench.data import fetch as fetching
    from bench.datasets import archives

    if not (names or list_):
        raise UsageError("name a data set, such as fishyscapes; bench data fetch --list prints all")
    options = _options(accept, url)
    sources = [archives.of(name) for name in names or archives.sources()]
    with files.rooted(to) if to else nullcontext():
        for source in sources:
            selected = fetching.chosen(source, part or (), version)
            plan = fetching.plan(source, selected, files.data(source.name))
            if list_ and names:
                echo("\n".join(fetching.listed(plan)))
            elif list_:
                state = f"{plan.cost} to download" if plan.missing else "complete"
                echo(f"{source.name:<20}{number(len(plan.items), 'file'):>8}, {state}")
            else:
                with shown() as told:
                    fetching.fetch(plan, options, told)
                    fetching.check(source, selected, told)
    if to and not list_:
        echo(f"set BENCH_DATA={to}, or say in data.yaml where each lies, for commands that read it")


def fetch_missing(suite: Suite, *, accept: bool, urls: Sequence[str] | None) -> None:
    """Fetch the data that a suite lacks and that the table of archives has."""
    from bench.core import files
    from bench.core.errors import MissingData
    from bench.data import fetch as fetching
    from bench.datasets import archives

    options = _options(accept, urls)
    refs = {ref.plain: None for cell in suite.cells for ref in (cell.dataset, cell.method and cell.method.fit) if ref}
    for ref in refs:
        if ref.name not in archives.sources():
            continue
        try:
            ref.build().ids()
        except MissingData:
            for source, selected in fetching.needed(ref.name, ref.arguments):
                with shown() as told:
                    fetching.fetch(fetching.plan(source, selected, files.data(source.name)), options, told)


@models.command("fetch")
def fetch_models(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME...", help="Published weights; with --list all, without a name.")
    ] = None,
    accept: Accept = False,
    list_: Annotated[bool, typer.Option("--list", help="Say what is there and what is missing.")] = False,
    url: Urls = None,
) -> None:
    """Fetch published weights into the folder checkpoints of $BENCH_HOME: resumed, and verified as far as is published.

    A suite names them by their file there, and networks of mmsegmentation by their own name.
    """
    from bench.data import fetch as fetching
    from bench.suite import checkpoints

    if not (names or list_):
        raise UsageError("name a checkpoint, such as deeplabv3plus_r101_cityscapes; --list prints all")
    options, root = _options(accept, url), checkpoints.root()
    for source in [checkpoints.of(name) for name in names or checkpoints.sources()]:
        plan = fetching.plan(source, source.files, root)
        if list_ and names:
            echo("\n".join(fetching.listed(plan)))
        elif list_:
            echo(f"{source.name:<32}{f'{plan.cost} to download' if plan.missing else 'complete'}")
        else:
            with shown() as told:
                fetching.fetch(plan, options, told)


@models.command("convert")
def convert(
    weights: Annotated[Path, typer.Argument(help="Of Mask2Former, from detectron2: a file, a zip or a folder.")],
    to: Annotated[Path, typer.Option(metavar="DIR", help="A new folder, for the model transformers.")],
    part: Annotated[
        str, typer.Option(metavar="NAME", help="An entry of the file, or what names begin with, such as teacher.")
    ] = "",
) -> None:
    """Write a checkpoint of detectron2's Mask2Former as a folder that transformers reads.

    The size of the network is read off its tensors. Classes are the 19 of Cityscapes where there are 19 or, before the
    last, 20; others have numbers for names. What transformers has no class for is refused, and runs as it is by the
    model mask2former_detectron2.
    """
    from importlib.util import find_spec

    from bench.core.errors import CannotWrite, MissingPackage
    from bench.models.huggingface import INSTALL

    if find_spec("transformers") is None:
        raise MissingPackage(f"models convert: transformers is not installed; {INSTALL}")
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise CannotWrite(f"{to} is there already; name a new folder by --to")
    from bench.core.weights import read_state_dict
    from bench.models.detectron2 import names, network

    state = names.own(read_state_dict(weights, part=part), weights)
    echo(network.write(state, weights, network.classes_of(state, weights), to))


def _options(accept: bool, urls: Sequence[str] | None) -> Options:
    from bench.data.fetch import Options
    from bench.data.fetch_sources import Wanted

    named = dict(_named(text) for text in urls or ())
    return Options(accept, Wanted(named, _ask if sys.stdin is not None and sys.stdin.isatty() else None))


def _named(text: str) -> tuple[str, str]:
    name, equals, address = text.partition("=")
    if not (name and equals and address):
        raise UsageError(f"--url is {text!r}, wanted FILE=URL such as gtCoarse.zip=file:///mnt/mirror/gtCoarse.zip")
    return name, address


def _ask(question: str, hidden: bool) -> str:
    return str(typer.prompt(question, hide_input=hidden, err=True))


@contextmanager
def shown() -> Iterator[Shown]:
    """A bar of bytes on a terminal, else a line now and then."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"), BarColumn(bar_width=None), DownloadColumn(), TransferSpeedColumn(),
        TimeRemainingColumn(),
    )  # fmt: skip
    off = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=off, redirect_stdout=False) as bar:
        yield Shown(bar)


class Shown:
    """The lines of a fetch, on standard output and error."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._task: TaskID | None = None
        self._label = ""
        self._spoke = time.monotonic()

    def line(self, text: str) -> None:
        """Print a line that stays."""
        self._clear()
        self._bar.stop()  # a line that rich prints for us would be folded
        echo(text)
        self._bar.start()

    def begin(self, label: str) -> None:
        """Begin a bar."""
        self._clear()
        self._label = label

    def at(self, done: int, total: int | None) -> None:
        """Move the bar, or say how far it is where there is no terminal."""
        from rich.markup import escape

        if self._task is None:
            self._task = self._bar.add_task(escape(self._label), total=total)
        self._bar.update(self._task, completed=done, total=total)
        now = time.monotonic()
        if not self._bar.console.is_terminal and now - self._spoke >= EVERY:
            self._spoke = now
            echo(f"{self._label}: {done} of {total or 'so many'} bytes", err=True)

    def _clear(self) -> None:
        if self._task is not None:
            self._bar.remove_task(self._task)
            self._task = None
