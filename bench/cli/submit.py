"""``bench submit``: parse, call, print. Heavy modules are imported by the command that needs them.

Each leaderboard is a command of its own, made of the parameters that its class declares. Leaderboards are looked for
when somebody asks for one, so that the rest of the command line starts without them.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, fields
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import typer
from typer.core import TyperCommand

from bench.cli.commands import Commands, epilog
from bench.cli.output import echo
from bench.core.errors import BadPlugin, Status, UsageError, UserError

if TYPE_CHECKING:
    from bench.api import Board, Masks

Run = Annotated[Path | None, typer.Option(help="A run directory: its suite, and its figures as the claim.")]
SuiteName = Annotated[str | None, typer.Option(metavar="SUITE", help="Instead of --run: a suite, without a claim.")]
Method = Annotated[str, typer.Option(metavar="NAME", help="The method, by its name or its label.")]
Model = Annotated[str | None, typer.Option(metavar="NAME", help="The network, where there are several.")]
Out = Annotated[Path, typer.Option(help="A folder for the archive, the card and the record.")]
Name = Annotated[str | None, typer.Option(help="What the method is called on the board. Default: its name here.")]
Paper = Annotated[str, typer.Option(metavar="URL", help="For the card.")]
Code = Annotated[str, typer.Option(metavar="URL", help="For the card.")]
OodData = Annotated[
    bool | None, typer.Option("--ood-data/--no-ood-data", help="Trained with any data beyond Cityscapes.")
]
Retraining = Annotated[
    bool | None, typer.Option("--retraining/--no-retraining", help="The segmentation network was trained for it.")
]
FramesOption = Annotated[
    str, typer.Option(metavar="SET=N,...", help="How many frames a set has, where not as published.")
]
BoardName = Annotated[str | None, typer.Option(help="Default: by what the archive holds.")]
LabelsOption = Annotated[Path | None, typer.Option(help="Folder of masks kept elsewhere: 0, 1, 255.")]
Pair = Annotated[str, typer.Option(metavar="PATTERN", help="How its files are named.")]
Asked = Annotated[
    str, typer.Option("--sets", metavar="SET,...", help="The sets of smiyc that must be there. Default: both tracks.")
]
Public = Annotated[bool, typer.Option("--public-log", help="Print nothing about any single frame or file.")]


class Boards(Commands):
    """One command for each leaderboard, then those of this file."""

    def list_commands(self, ctx: Any) -> list[str]:
        from bench.submit import boards

        return [*boards.available(), *super().list_commands(ctx)]

    def get_command(self, ctx: Any, cmd_name: str) -> TyperCommand | None:
        own = super().get_command(ctx, cmd_name)
        if isinstance(own, TyperCommand) and cmd_name not in ON_ARCHIVES:
            return own
        made = _command(cmd_name, *_choosing(ON_ARCHIVES[cmd_name])) if own else _command_of_board(cmd_name)
        if made:
            made.epilog = epilog(["submit", cmd_name])
            if not any(parameter.name == "method" for parameter in made.params):  # a board of class maps
                made.epilog = made.epilog.replace(" --method energy", "")
        return made


submit = typer.Typer(cls=Boards, help="Make and check what leaderboards take.", no_args_is_help=True)


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
        _, verdict, opened = commands.check(archive, board, _frames(frames), _masks(labels, pair), _listed(sets))
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

    claimant = commands.Claimant(run, method, model)
    with _silent(public_log):
        outcome = commands.dry_run(
            archive, board, _frames(frames), claimant, _masks(labels, pair), timeout, limit, _listed(sets)
        )
    _print(list(outcome.verdict.lines(public=public_log)))
    _print([*outcome.lines, *map(str, outcome.compared)])
    if not outcome.passed:
        echo("the dry run failed")
        raise typer.Exit(Status.USER)
    echo("the dry run passed")


ON_ARCHIVES: Mapping[str, Callable[..., None]] = {"check": check, "dry-run": dry_run}


@submit.command()
def entry(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder of a submission to smiyc.")],
    returned: Annotated[Path, typer.Option(help="JSON of the scores that the server returned, by its own keys.")],
) -> None:
    """Write leaderboard_entry.json, with the board's exact keys, from the scores that its server returned."""
    from bench.submit import commands

    echo(commands.make_entry(out, returned))


def _command(
    name: str, call: Callable[..., None], options: Sequence[inspect.Parameter], *, strict: bool = True
) -> TyperCommand:
    """A command that calls ``call`` with these options; its docstring is the help.

    ``strict`` False takes any other option as well and passes it over.
    """

    def callback(**values: Any) -> None:
        call(**values)

    vars(callback)["__signature__"] = inspect.Signature(options)
    callback.__annotations__, callback.__doc__ = {}, call.__doc__
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    settings = {"ignore_unknown_options": not strict, "allow_extra_args": not strict}
    app.command(name, context_settings=settings)(callback)
    command = typer.main.get_command(app)
    assert isinstance(command, TyperCommand)  # noqa: S101 - an app of one command is that command
    return command


def _option(name: str, hint: Any, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)


def _choosing(call: Callable[..., None]) -> tuple[Callable[..., None], list[inspect.Parameter]]:
    """The options of a command whose ``board`` is one of those that there are."""
    from bench.submit import boards

    names: Any = tuple(boards.usable())
    options = inspect.signature(call, eval_str=True).parameters
    choice: Any = Annotated[Literal[names] | None, *options["board"].annotation.__metadata__]
    return call, [
        option.replace(annotation=choice if name == "board" else option.annotation, kind=option.KEYWORD_ONLY)
        for name, option in options.items()
    ]


def _command_of_board(name: str) -> TyperCommand | None:
    """The command that makes what one leaderboard takes; None where there is none of that name.

    Where the leaderboard cannot be used the command says why, so that the help of the others can be printed.
    """
    from bench.submit import boards
    from bench.suite.registry import Unavailable

    board = boards.available().get(name)
    if board is None:
        return None
    reason = board.reason if isinstance(board, Unavailable) else ""
    if not isinstance(board, Unavailable):
        try:
            return _command(name, _making(board), _options_of(board))
        except BadPlugin as error:
            reason = str(error)

    def refuse() -> None:
        raise BadPlugin(f"bench submit: board {name!r} cannot be used: {reason}")

    refuse.__doc__ = "Cannot be used."
    return _command(name, refuse, [], strict=False)


def _making(board: type[Board]) -> Callable[..., None]:
    """What the command of a leaderboard does, with the leaderboard's help."""

    def call(**values: Any) -> None:
        _make(board, values)

    call.__doc__ = inspect.getdoc(board)
    return call


def _options_of(board: type[Board]) -> list[inspect.Parameter]:
    """The options of a leaderboard: those of every one that is like it, and its own. Raise BadPlugin for its own."""
    own = [_option_of(board, name, hint) for name, hint in _declared(board).items()]
    before = [_option("method", Method)] if board.scored else []
    before += [_option("out", Out), _option("run", Run, None)]
    before += [] if board.needs_run else [_option("suite", SuiteName, None)]
    before += [_option("model", Model, None), _option("name", Name, None)]
    after = [_option("paper", Paper, ""), _option("code", Code, "")]
    after += [_option("ood_data", OodData, None), _option("retraining", Retraining, None)] if board.scored else []
    if twice := {option.name for option in own} & {option.name for option in before + after}:
        raise BadPlugin(f"its parameter {min(twice)!r} is an option of every board; choose another name")
    return [*before, *own, *after]


def _declared(board: type[Board]) -> dict[str, Any]:
    """The type of each parameter, as its class declares it."""
    hints = get_type_hints(board, include_extras=True)
    return {field.name: hints[field.name] for field in fields(board)}


def _option_of(board: type[Board], name: str, hint: Any) -> inspect.Parameter:
    """A parameter of a board as an option: lists and mappings are typed as text, everything else is itself."""
    from annotated_types import Ge, Le

    from bench.api import Option

    kind, *marks = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    declared = next((mark for mark in marks if isinstance(mark, Option)), Option())
    lowest: Any = next((mark.ge for mark in marks if isinstance(mark, Ge)), None)
    highest: Any = next((mark.le for mark in marks if isinstance(mark, Le)), None)
    flags = (f"--{declared.flag}",) if declared.flag else ()
    option = typer.Option(*flags, help=declared.help or None, metavar=declared.metavar or None, min=lowest, max=highest)
    (field,) = (field for field in fields(board) if field.name == name)
    default: Any = field.default if field.default_factory is MISSING else field.default_factory()
    if _is_list(kind) or _is_counts(kind):
        kind, default = str, ",".join(default) if default is not MISSING else default
    elif not all(part in (str, int, float, bool, NoneType) for part in _alternatives(kind)):
        raise BadPlugin(f"its parameter {name!r} is of a type that no option can have: {kind}")
    return _option(name, Annotated[kind, option], inspect.Parameter.empty if default is MISSING else default)


def _alternatives(kind: Any) -> list[Any]:
    """The types that a value may have."""
    if get_origin(kind) is Literal:
        return [type(value) for value in get_args(kind)]
    if get_origin(kind) in (Union, UnionType):
        return [inner for part in get_args(kind) for inner in _alternatives(part)]
    return [kind]


def _is_list(kind: Any) -> bool:
    return bool(kind == tuple[str, ...])


def _is_counts(kind: Any) -> bool:
    return bool(kind == Mapping[str, int])


def _make(board: type[Board], values: Mapping[str, Any]) -> None:
    """Read the options of one leaderboard, make what it takes, and say what is left to do."""
    from rich.console import Console

    from bench.run.progress import Bar
    from bench.submit import commands
    from bench.submit.card import Stated
    from bench.submit.submission import Source
    from bench.suite import registry

    params = {}
    for name, hint in _declared(board).items():
        kind = get_args(hint)[0] if get_origin(hint) is Annotated else hint
        text = values[name]
        params[name] = list(_listed(text)) if _is_list(kind) else _frames(text) if _is_counts(kind) else text
    named, method, model = values["name"], values.get("method"), values["model"]
    title = commands.plain_name(str(named or method)) if board.scored else None
    built = registry.build("board", board.name, params, where=f"bench submit {board.name}")
    source = Source(values["run"], values.get("suite"), method, model)
    title = title or commands.plain_name(named or model or source.suite.cells[0].model.name)
    stated = Stated(title, values["paper"], values["code"], values.get("ood_data"), values.get("retraining"))
    with Bar(Console(stderr=True)) as bar:
        lines = commands.make(built, source, values["out"], stated, bar)
    _print(lines)


def _print(lines: list[str]) -> None:
    for line in lines:
        echo(line)


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _frames(text: str) -> dict[str, int]:
    """``SET=N,...`` as a mapping."""
    counts: dict[str, int] = {}
    for part in filter(None, text.split(",")):
        name, _, number = part.partition("=")
        if not re.fullmatch(r"[1-9][0-9]{0,8}", number):
            raise UsageError(f"--frames: {part!r} must be SET=N, such as AnomalyTrack-all=110")
        if name.strip() in counts:
            raise UsageError(f"--frames names {name.strip()!r} twice")
        counts[name.strip()] = int(number)
    return counts


def _masks(folder: Path | None, pattern: str) -> Masks | None:
    from bench.api import Masks

    return None if folder is None else Masks(folder, pattern)


@contextmanager
def _silent(public: bool) -> Iterator[None]:
    """In a public log an error says what kind it is, and nothing of the frame that it happened at."""
    try:
        yield
    except UserError as error:
        if not public:
            raise
        from bench.submit import commands

        echo(commands.silenced(error))
        raise typer.Exit(Status.USER) from None
