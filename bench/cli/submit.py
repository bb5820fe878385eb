"""``bench submit``: parse, call, print. Heavy modules are imported by the command that needs them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bench.core.errors import Status, UsageError, UserError

if TYPE_CHECKING:
    from bench.submit.archive_writer import Progress

submit = typer.Typer(help="Make and check what leaderboards take.", no_args_is_help=True)

Run = Annotated[Path | None, typer.Option(help="A run directory: its suite, and its figures as the claim.")]
SuiteName = Annotated[str | None, typer.Option(metavar="SUITE", help="Instead of --run: a suite, without a claim.")]
Method = Annotated[str, typer.Option(metavar="NAME", help="The method, by its name or its label.")]
Model = Annotated[str | None, typer.Option(metavar="NAME", help="The network, where there are several.")]
Out = Annotated[Path, typer.Option(help="A folder for the archive, the card and the record.")]
Name = Annotated[str | None, typer.Option(help="What the method is called on the board. Default: its name here.")]
FramesOption = Annotated[
    str, typer.Option(metavar="SET=N,...", help="How many frames a set has, where not as published.")
]
Processes = Annotated[int, typer.Option(min=1, help="Processes that each hold the network.")]
Paper = Annotated[str, typer.Option(metavar="URL", help="For the card.")]
Code = Annotated[str, typer.Option(metavar="URL", help="For the card.")]
OodData = Annotated[
    bool | None, typer.Option("--ood-data/--no-ood-data", help="Trained with any data beyond Cityscapes.")
]
Retraining = Annotated[
    bool | None, typer.Option("--retraining/--no-retraining", help="The segmentation network was trained for it.")
]
BoardName = Annotated[
    Literal["smiyc", "fishyscapes", "cityscapes"] | None, typer.Option(help="Default: by what the archive holds.")
]
LabelsOption = Annotated[Path | None, typer.Option(help="Folder of masks kept elsewhere: 0, 1, 255.")]
Pair = Annotated[str, typer.Option(metavar="PATTERN", help="How its files are named.")]
Asked = Annotated[
    str, typer.Option("--sets", metavar="SET,...", help="The sets of smiyc that must be there. Default: both tracks.")
]
Public = Annotated[bool, typer.Option("--public-log", help="Print nothing about any single frame or file.")]


@submit.command()
def smiyc(
    method: Method,
    out: Out,
    run: Run = None,
    suite: SuiteName = None,
    model: Model = None,
    name: Name = None,
    sets: Annotated[str, typer.Option(metavar="SET,...", help="Which sets; LostAndFound-test is a third.")] = (
        "AnomalyTrack-all,ObstacleTrack-all"
    ),
    frames: FramesOption = "",
    root: Annotated[
        Literal["tree", "sets"], typer.Option(help="Root of the zip: anomaly_p/<Method>/..., or the set folders.")
    ] = "tree",
    transform: Annotated[
        str | None, typer.Option(help="identity, logit, -log(1-x) or asinh before float16. Default: the method's own.")
    ] = None,
    processes: Processes = 1,
    paper: Paper = "",
    code: Code = "",
    ood_data: OodData = None,
    retraining: Retraining = None,
) -> None:
    """SegmentMeIfYouCan: a zip of float16 maps. Kill it at any time: the same command goes on."""
    from bench.submissions.smiyc import Request, plain_name, stored
    from bench.submit import commands
    from bench.submit.card import Stated

    title = plain_name(name or method)
    chosen = _listed(sets)
    for one in chosen:
        stored(one)
    source = commands.Source.named(run, suite, method, model)
    request = Request(out, title, "identity", chosen, _frames(frames), root, processes)
    stated = Stated(title, paper, code, ood_data, retraining)
    with _progress("maps") as progress:
        lines = list(commands.make_smiyc(source, request, transform, stated, progress))
    _print(lines)


@submit.command()
def fishyscapes(
    method: Method,
    out: Out,
    run: Run = None,
    model: Model = None,
    name: Name = None,
    claim_set: Annotated[str | None, typer.Option("--set", help="The data set of the claim, by its label.")] = None,
    paper: Paper = "",
    code: Code = "",
    ood_data: OodData = None,
    retraining: Retraining = None,
) -> None:
    """Fishyscapes: a package that runs anywhere, /input to /output, with the claim of a validation run."""
    from bench.submissions.smiyc import plain_name
    from bench.submit import commands
    from bench.submit.card import Stated

    title = plain_name(name or method)
    source = commands.Source.named(run, None, method, model)
    stated = Stated(title, paper, code, ood_data, retraining)
    _print(list(commands.make_fishyscapes(source, out, title, claim_set, stated)))


@submit.command()
def cityscapes(
    out: Out,
    run: Run = None,
    suite: SuiteName = None,
    model: Model = None,
    name: Name = None,
    split: Annotated[Literal["val", "test"], typer.Option(help="Which frames.")] = "test",
    frames: FramesOption = "",
    processes: Processes = 1,
    paper: Paper = "",
    code: Code = "",
) -> None:
    """Cityscapes: a zip of class maps as label ids. Kill it at any time: the same command goes on."""
    from bench.submissions.smiyc import plain_name
    from bench.submit import commands
    from bench.submit.card import Stated

    source = commands.Source.named(run, suite, None, model)
    title = plain_name(name or model or source.suite.cells[0].model.name)
    count = _frames(frames).get(split)
    with _progress("class maps") as progress:
        lines = list(
            commands.make_cityscapes(source, out, title, split, count, processes, Stated(title, paper, code), progress)
        )
    _print(lines)


@submit.command()
def check(
    archive: Annotated[Path, typer.Argument(metavar="ARCHIVE", help="A .zip, the folder it is made of, or a package.")],
    board: BoardName = None,
    frames: FramesOption = "",
    sets: Asked = "",
    labels: LabelsOption = None,
    pair: Pair = "{id}.png",
    public_log: Public = False,
) -> None:
    """Hold an archive, made by anybody, against the rules of its server. Extracts and executes nothing."""
    from bench.submit import commands

    with _silent(public_log):
        verdict, opened = commands.check(archive, board, _frames(frames), labels, pair, _listed(sets))
        opened.close()
    _print(list(verdict.lines(public=public_log)))
    if verdict.failures:
        raise typer.Exit(Status.USER)


@submit.command("dry-run")
def dry_run(
    archive: Annotated[Path, typer.Argument(metavar="ARCHIVE", help="A .zip, or the folder of a package.")],
    board: BoardName = None,
    frames: FramesOption = "",
    sets: Asked = "",
    run: Annotated[Path | None, typer.Option(help="The run whose figures are compared.")] = None,
    method: Annotated[str | None, typer.Option(help="The method in it, where there are several.")] = None,
    model: Model = None,
    labels: LabelsOption = None,
    pair: Pair = "{id}.png",
    public_log: Public = False,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds for the program of a package.")] = 3600.0,
    limit: Annotated[int | None, typer.Option(min=1, help="First N frames of a package's claim; compares nothing.")] = (
        None
    ),
) -> None:
    """Evaluate an archive from its files, or run a package as its server would, and compare with the claim."""
    from bench.submit import commands

    with _silent(public_log):
        trial = commands.dry_run(
            archive, board, _frames(frames), run, method, model, labels, pair, timeout, limit, _listed(sets)
        )
    _print(list(trial.verdict.lines(public=public_log)))
    _print([*trial.lines, *map(str, trial.compared)])
    if not trial.passed:
        typer.echo("the dry run failed")
        raise typer.Exit(Status.USER)
    typer.echo("the dry run passed")


@submit.command()
def entry(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder of a submission to smiyc.")],
    returned: Annotated[Path, typer.Option(help="JSON of the scores that the server returned, by its own keys.")],
) -> None:
    """Write leaderboard_entry.json, with the board's exact keys, from the scores that its server returned."""
    from bench.submit import commands

    typer.echo(str(commands.make_entry(out, returned)))


def _print(lines: list[str]) -> None:
    for line in lines:
        typer.echo(line)


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _frames(text: str) -> dict[str, int]:
    """``SET=N,...`` as a mapping."""
    found: dict[str, int] = {}
    for part in filter(None, text.split(",")):
        name, _, number = part.partition("=")
        if not number.isdigit() or int(number) < 1:
            raise UsageError(f"--frames: {part!r} must be SET=N, such as AnomalyTrack-all=110")
        found[name.strip()] = int(number)
    return found


@contextmanager
def _silent(public: bool) -> Iterator[None]:
    """In a public log an error says what kind it is, and nothing of the frame that it happened at."""
    try:
        yield
    except UserError as error:
        if not public:
            raise
        from bench.submit import commands

        typer.echo(commands.silenced(error))
        raise typer.Exit(Status.USER) from None


@contextmanager
def _progress(label: str) -> Iterator[Progress]:
    from rich.console import Console

    from bench.cli.progress import Bar
    from bench.submit.archive_writer import Progress

    with Bar(Console(stderr=True)) as bar:
        bar.stage(label)
        yield Progress(bar.begin, bar.advance)
