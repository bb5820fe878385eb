"""The command line: its commands, and what an error or an interrupt ends with."""

from __future__ import annotations

import errno
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from bench import __version__
from bench.cli import fit, results, run, score
from bench.cli.data import data, describe
from bench.cli.output import echo, encodable, unwritten
from bench.cli.plugins import list_, new
from bench.cli.submit import submit
from bench.core import diagnostics
from bench.core.errors import FULL, OutputClosed, Status, UserError
from bench.core.foreign_code import told

app = typer.Typer(
    help="Evaluate anomaly and misclassification detection in semantic segmentation.",
    epilog="Start with: bench run demo",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command()(run.run)
app.command()(run.check)
app.command()(fit.fit)
app.command()(describe)
app.command("list")(list_)
app.command()(results.show)
app.command()(results.compare)
app.command(cls=results.ReportCommand)(results.report)
app.command()(score.score)
app.add_typer(new, name="new")
app.add_typer(data, name="data")
app.add_typer(submit, name="submit")


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit status, one of ``Status``; a bug leaves as the exception that it is."""
    try:
        encodable()
        returned = app(list(sys.argv[1:] if argv is None else argv), prog_name="bench", standalone_mode=False)
    except UserError as error:
        return _ended(error)
    except typer.TyperException as error:
        formatted = getattr(error, "format_message", None)
        message = formatted() if formatted else str(error)
        if type(error).__name__ == "NoArgsIsHelpError":  # the message is the help itself
            _say(message)
        else:
            _say(f"bench: {message} Try 'bench --help'.")
        return Status.USER
    except (OSError, SystemExit) as error:  # of typer, where the help, which it prints itself, is not taken
        cause = error.__context__ if isinstance(error, SystemExit) else error
        if not isinstance(cause, OSError) or cause.errno not in {errno.EPIPE, *FULL} or cause.filename is not None:
            if not isinstance(error, SystemExit):
                raise
            _say(f"bench: a plug-in ended the command: {told(error)}; it must raise an error instead")
            return Status.USER
        return _ended(unwritten(cause))
    except (KeyboardInterrupt, typer.Abort):
        returned = Status.INTERRUPTED
    if returned == Status.INTERRUPTED:  # typer returns it for a Ctrl-C that it caught itself
        _say("bench: interrupted; what was finished is on disk, the same command goes on from there")
    return int(returned or Status.DONE)


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
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which one.")
    ] = False,
) -> None:
    context.call_on_close(diagnostics.attach(("", "info", "debug")[min(verbose, 2)]))
