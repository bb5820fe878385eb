"""The command line: its commands, and what an error or an interrupt ends with."""

from __future__ import annotations

import errno
import functools
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from bench import __version__
from bench.cli import fit, results, run, score, verify, welcome
from bench.cli.board import board
from bench.cli.commands import HELP, Command, Commands, refusal, show_help
from bench.cli.data import data, describe, init
from bench.cli.fetch import models
from bench.cli.output import echo, encodable, unwritten
from bench.cli.plugins import list_, new
from bench.cli.submit import submit
from bench.core import diagnostics
from bench.core.errors import FULL, OutputClosed, Status, SystemRefused, UsageError, UserError
from bench.core.foreign_code import told

COMPLETE = "_BENCH_COMPLETE"  # in the environment of a command that a shell asks for words

app = typer.Typer(
    help="Evaluate anomaly and misclassification detection in semantic segmentation.",
    epilog="Start with: bench run demo",
    cls=Commands,
    context_settings=HELP,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
RUN, RESULTS, ELSEWHERE = "Run", "Look at results", "Maps made elsewhere, and leaderboards"
BRING, EXTEND, HELPING = "Bring data and networks", "Find and write plug-ins", "Help"
app.command(cls=Command, rich_help_panel=RUN, short_help="Run what is missing, write the report.")(run.run)
app.command(cls=Command, rich_help_panel=RUN, short_help="Find what is wrong before a run.")(run.check)
app.command(rich_help_panel=RUN, short_help="Train a method or a network.")(fit.fit)
app.command(rich_help_panel=RUN, short_help="Compute cells again, and compare.")(verify.verify)
app.command(rich_help_panel=RESULTS, short_help="Print the results of runs.")(results.show)
app.command(cls=results.ReportCommand, rich_help_panel=RESULTS, short_help="Write a page or a file of runs.")(
    results.report
)
app.command(cls=Command, rich_help_panel=RESULTS, short_help="Compare two runs, cell by cell.")(results.compare)
app.command(rich_help_panel=RESULTS, short_help="Put several runs into one.")(results.merge)
app.command(cls=Command, rich_help_panel=ELSEWHERE, short_help="Evaluate maps made elsewhere.")(score.score)
app.command(rich_help_panel=BRING, short_help="Say what a data set or plug-in is.")(describe)
app.command(rich_help_panel=BRING, short_help="Write a suite for your own folder.")(init)
app.command("list", rich_help_panel=EXTEND, short_help="List plug-ins, metrics, suites ...")(list_)
app.add_typer(new, name="new", rich_help_panel=EXTEND, short_help="Write a plug-in to start from.")
app.add_typer(data, name="data", rich_help_panel=BRING, short_help="Fetch data sets, or write them.")
app.add_typer(models, name="models", rich_help_panel=BRING, short_help="Fetch and convert weights.")
app.add_typer(submit, name="submit", rich_help_panel=ELSEWHERE, short_help="Make and check what boards take.")
app.add_typer(board, name="board", rich_help_panel=ELSEWHERE, short_help="Keep a leaderboard and its site.")


@app.command("help", rich_help_panel=HELPING, short_help="Print the help of a command.")
def help_(
    context: typer.Context,
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[COMMAND]...", help="Such as: run, or submit check.")
    ] = None,
) -> None:
    """Print the help of a command, as its --help does."""
    echo(show_help(context, words or []))


@app.command(rich_help_panel=HELPING, short_help="Let a shell complete bench's words.")
def completion(
    shell: Annotated[Literal["bash", "zsh", "fish", "powershell"], typer.Argument(help="Which shell.")],
) -> None:
    """Print a script with which a shell completes commands, options and names of suites at Tab.

    In ~/.bashrc: eval "$(bench completion bash)". In ~/.zshrc, below compinit: eval "$(bench completion zsh)".
    """
    from typer.completion import get_completion_script  # type: ignore[attr-defined]

    echo(get_completion_script(prog_name="bench", complete_var=COMPLETE, shell=shell))


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit status, one of ``Status``; a bug leaves as the exception that it is."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        with suppress(ValueError):  # only the main thread of a program may say what signals do
            signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: what queues send before they kill
        encodable()
        _check(words)
        if COMPLETE in os.environ:
            from typer.completion import completion_init  # type: ignore[attr-defined]

            completion_init()
        elif not words:
            echo(welcome.screen(Path("runs")))
            return Status.DONE
        returned = _commands()(words, prog_name="bench", standalone_mode=False)
    except UserError as error:
        return _ended(error)
    except typer.TyperException as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # the message is the help itself
            return _helped(error)
        _say(f"bench: {refusal(error)}")
        return Status.USER
    except SystemExit as error:
        cause = error.__context__
        if COMPLETE in os.environ and isinstance(error.code, int):  # a shell asked for words, and has them
            return error.code
        if isinstance(cause, OSError) and cause.errno == errno.EPIPE:  # typer leaves so when help is not read
            return _ended(unwritten(cause))
        _say(f"bench: a plug-in ended the command: {told(error)}; it must raise an error instead")
        return Status.USER
    except RuntimeError as error:
        if not isinstance(error.__context__, OSError):  # pathlib says so of a link that leads to itself
            raise
        return _ended(SystemRefused.of(error.__context__))
    except (OSError, MemoryError) as error:
        if isinstance(error, OSError) and error.errno is None:
            raise
        logging.getLogger(__name__).info("the system refused something", exc_info=error)
        if isinstance(error, OSError) and error.errno in {errno.EPIPE, *FULL} and error.filename is None:
            return _ended(unwritten(error))
        return _ended(SystemRefused.of(error))
    except (KeyboardInterrupt, typer.Abort):
        returned = Status.INTERRUPTED
    if returned == Status.INTERRUPTED:  # typer returns it for a Ctrl-C that it caught itself
        _say("bench: interrupted; what was finished is on disk, the same command goes on from there")
    return int(returned or Status.DONE)


@functools.cache
def _commands() -> Callable[..., Any]:
    """The commands as typer runs them, made once: that reads every signature, most of the time of a short command."""
    return typer.main.get_command(app)


def _check(words: Sequence[str]) -> None:
    """Raise UsageError for a word that no file and no name can be."""
    for word in words:
        try:
            os.fsencode(word)
        except UnicodeEncodeError as error:
            raise UsageError(f"{word!r} holds the character U+{ord(word[error.start]):04X}") from None
        if "\0" in word:
            raise UsageError(f"{word!r} holds the character U+0000")


def _helped(error: typer.TyperException) -> Status:
    """Print the help that no words ask for; a reader or a disk may be at its end here, too."""
    try:
        echo(getattr(error, "format_message", error.__str__)())
    except UserError as unread:
        return _ended(unread)
    return Status.DONE


def _ended(error: UserError) -> Status:
    if not isinstance(error, OutputClosed):
        _say(f"bench: {error}")
    return error.status


def _say(line: str) -> None:
    echo(line, err=True)


def _version(asked: bool) -> None:
    if asked:
        echo(f"ood-seg-bench {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    context: typer.Context,
    verbose: Annotated[
        int,
        typer.Option(
            "--verbose", "-v", count=True, show_default=False, help="Log what is decided on the way; twice: in detail."
        ),
    ] = 0,
    version: Annotated[
        bool, typer.Option("--version", "-V", callback=_version, is_eager=True, help="Say which one.")
    ] = False,
) -> None:
    context.call_on_close(diagnostics.attach(("", "info", "debug")[min(verbose, 2)]))
