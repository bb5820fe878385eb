"""Help that is asked for in the ways people ask, with examples that can be typed."""

import re
import shlex
import subprocess
from pathlib import Path

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


def test_help_of_all_commands_stands_where_a_pager_reads_it(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for argv in (["help"], ["-h"]):
        assert main(argv) == 0
        assert capsys.readouterr().out.strip() == text.strip()
    assert "..." not in text.replace("ARGS]...", "").replace("suites ...", "")  # no description is cut
    assert text.strip().endswith("bench run demo")


def test_no_words_at_all_print_five_commands_and_what_to_do_next(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def said():
        assert main([]) == 0
        return capsys.readouterr().out.splitlines()

    lines = said()
    commands = [line.split()[1] for line in lines if line.startswith("  bench ")]
    assert len(commands) == 5 and set(commands) <= {words[0] for words, *_ in COMMANDS.values()}
    assert len(lines) <= 12 and max(map(len, lines)) <= 80 and "Next: bench run demo" in lines
    run = Path("runs/thesis")
    run.mkdir(parents=True)
    for name, advice in (
        ("run.json", "bench show runs/thesis"),
        ("suite.yaml", "bench run runs/thesis/suite.yaml --out runs/thesis"),
        ("report.html", "open runs/thesis/report.html, or bench show runs/thesis"),
    ):
        (run / name).touch()
        assert f"Next: {advice}" in said()


def test_help_lists_commands_and_options_in_groups(capsys):
    assert main(["--help"]) == 0
    groups = re.findall(r"^(\S.*):$", capsys.readouterr().out, re.M)
    assert groups[0] == "Options" and len(groups) >= 6 and "Commands" not in groups
    assert main(["run", "--help"]) == 0
    parts = re.split(r"^(\S.*):$", capsys.readouterr().out, flags=re.M)
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    assert "--gpus-per-worker" in sections["On a Ray cluster"] and "--only" in sections["What is computed"]
    every = re.findall(r"^  (--[a-z-]+)", "".join(sections.values()), re.M)
    known = {option for each in COMMANDS["run"][1].params for option in each.opts}
    assert set(every) == known - {"suites"} and len(every) == len(set(every)), "each option once"


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("bench sho", ["show"]),
        ("bench run dem", ["demo"]),
        ("bench run demo --keep", ["--keep-maps"]),
        ("bench run toytown_sm", ["toytown_smiyc"]),
        ("bench run nosuchsuite", []),
    ],
)
def test_a_shell_completes_commands_options_and_suites(words, completed, monkeypatch, capsys):
    for name, value in (("_BENCH_COMPLETE", "complete_bash"), ("COMP_WORDS", words)):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))
    assert main([]) == 0
    printed = capsys.readouterr()
    assert (printed.out.split(), printed.err) == (completed, "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_a_script_for_each_shell_asks_the_program_for_words(shell, capsys):
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "_BENCH_COMPLETE" in script and f"complete_{shell}" in script
    if shell == "bash":
        done = subprocess.run(
            ["bash", "-c", f"{script}\ncomplete -p bench"], capture_output=True, text=True, check=True
        )
        assert done.stdout.strip().endswith("bench")


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
