"""Help that is asked for in the ways people ask, with examples that can be typed."""

import shlex

import pytest
import typer

from bench.cli.commands import epilog
from bench.cli.main import app, main


def all_commands(command=None, context=None, words=()):
    """Every command by its words, with the context that its help is made in."""
    command = command or typer.main.get_command(app)
    context = context or command.make_context("bench", [], resilient_parsing=True)
    for name in command.list_commands(context):
        inner = command.get_command(context, name)
        own = type(context)(inner, info_name=name, parent=context)
        if hasattr(inner, "list_commands"):
            yield from all_commands(inner, own, (*words, name))
        else:
            yield (*words, name), inner, own


COMMANDS = {" ".join(words): (words, command, context) for words, command, context in all_commands()}


@pytest.mark.parametrize("name", COMMANDS)
def test_each_help_ends_with_examples_that_can_be_typed(name, capsys):
    words, command, _ = COMMANDS[name]
    assert main([*words, "--help"]) == 0
    text = capsys.readouterr().out
    assert len(max(text.splitlines(), key=len)) <= 100
    lines = [line.strip() for line in text.partition("Examples:")[2].splitlines() if line.strip()]
    assert lines
    for line in lines:
        argv = shlex.split(line)
        assert argv[: len(words) + 1] == ["bench", *words]
        command.make_context(name, argv[len(words) + 1 :])  # raises for an option or a value that it does not take


@pytest.mark.parametrize("name", ["run", "submit check", "new method", "submit"])
def test_help_is_a_command_and_a_short_option_too(name, capsys):
    words = name.split()
    assert main([*words, "--help"]) == 0
    text = capsys.readouterr().out
    for argv in (["help", *words], [*words, "-h"]):
        assert main(argv) == 0
        assert capsys.readouterr().out == text


def test_no_words_at_all_print_the_help_where_a_pager_reads_it(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for argv in ([], ["help"], ["-h"]):
        assert main(argv) == 0
        assert capsys.readouterr().out.strip() == text.strip()
    assert "..." not in text.replace("ARGS]...", "").replace("suites ...", "")  # no description is cut
    assert text.strip().endswith("bench run demo")


def test_the_version_has_a_short_option(capsys):
    assert main(["-V"]) == main(["--version"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == second


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["run", "demo", "--ouut", "x"], "No such option: --ouut. Did you mean '--out'? Try 'bench run --help'."),
        (["run", "demo", "--nosuch"], "No such option: --nosuch. Try 'bench run --help'."),
        (["run", "demo", "--workers", "x"], "Invalid value for '--workers': wanted a valid integer."),
        (["run", "demo", "--workers", "9" * 30], "Invalid value for '--workers': wanted "),
        (["run"], "Missing argument 'SUITE...'. Try 'bench run --help'."),
        (["help", "nope"], "No such command 'nope'."),
    ],
)
def test_wrong_words_are_one_line_with_the_help_that_says_more(argv, line, capsys):
    assert main(argv) == 2
    message = capsys.readouterr().err
    assert message.startswith(f"bench: {line}")
    assert message.count("\n") == 1
    assert "Input should" not in message


def test_a_command_without_examples_would_be_seen():
    assert epilog(["nosuch"]).splitlines() == ["\b", "Examples:"]
