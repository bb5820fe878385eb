"""Commands whose help stands in groups and ends with examples, and the lines for what typer refuses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from bench.cli.examples import EXAMPLES
from bench.core.printable import shortened
from bench.core.suggestions import nearest

HELP = {"help_option_names": ["-h", "--help"]}  # of the whole command line: commands inherit it


LINE = 300  # characters of a refusal, whose words may be a file by mistake


class Command(TyperCommand):
    """A command whose help lists its options in the groups that they name as ``rich_help_panel``."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        records = ((_group(each), each.get_help_record(ctx)) for each in self.get_params(ctx))
        _write(formatter, ((title, record) for title, record in records if record))


class Commands(TyperGroup):
    """A group of commands, listed in the groups that they name, each with its examples at the end of its help."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        commands = ((name, self.get_command(ctx, name)) for name in self.list_commands(ctx))
        shown = [(name, command) for name, command in commands if command is not None and not command.hidden]
        wide = max((len(name) for name, _ in shown), default=0)  # texts begin at one column in all groups
        titled = ((getattr(each, "rich_help_panel", None) or "Commands", name, each) for name, each in shown)
        room = formatter.width - 6 - wide
        _write(formatter, ((title, (f"{name:<{wide}}", each.get_short_help_str(room))) for title, name, each in titled))

    def get_command(self, ctx: Any, cmd_name: str) -> TyperCommand | None:
        command: Any = super().get_command(ctx, cmd_name)
        if command is not None and not command.epilog:
            command.epilog = epilog([*ctx.command_path.split()[1:], cmd_name])
        return command  # type: ignore[no-any-return]


def _group(parameter: Any) -> str:
    """Return the title under which the help lists an argument or an option."""
    usual = "Arguments" if parameter.param_type_name == "argument" else "Options"
    return getattr(parameter, "rich_help_panel", None) or usual


def _write(formatter: Any, records: Iterator[tuple[str, tuple[str, str]]]) -> None:
    """Write each record below its title; titles in the order in which they first come."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for title, record in records:
        groups.setdefault(title, []).append(record)
    for title, members in groups.items():
        with formatter.section(title):
            formatter.write_dl(members)


def epilog(words: list[str]) -> str:
    """Return what follows the help of a command, each example on a line of its own."""
    lines = EXAMPLES.get(" ".join(words)) or tuple(
        line.replace("NAME", words[-1]) for line in EXAMPLES.get(" ".join([*words[:-1], "NAME"]), ())
    )
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])


def refusal(error: Any) -> str:
    """Return what was wrong with the words of a command, and where its help is."""
    context = getattr(error, "ctx", None)
    if name := getattr(error, "option_name", "") if hasattr(error, "possibilities") else "":
        parameters = context.command.get_params(context) if context else []
        options = [option for parameter in parameters for option in parameter.opts]
        near = nearest(name, [option for option in options if option.startswith("--")])
        message = f"No such option: {name}" + (f". Did you mean {near!r}?" if near else "")
    else:
        message = error.format_message() if hasattr(error, "format_message") else str(error)
    message = re.sub(r"Input should be (.*?)(, unable to .*)?$", r"wanted \1", message)
    message = shortened(message, LINE)
    ended = message if message.endswith((".", "?")) else f"{message}."
    return f"{ended} Try '{context.command_path if context else 'bench'} --help'."


def show_help(context: typer.Context, words: list[str]) -> str:
    """Return the help of a command by its words, that of all commands for none. An unknown one is typer's error."""
    current: Any = context.find_root()
    for word in words:
        group = current.command
        if not isinstance(group, TyperGroup):
            break
        _, command, _ = group.resolve_command(current, [word])
        current = type(current)(
            command, info_name=word, parent=current, **(command.context_settings if command else {})
        )
    return str(current.get_help())
