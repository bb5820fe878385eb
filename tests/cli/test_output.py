"""Standard output that is closed, full or of another encoding, and foreign words on it."""

import io
import os
import subprocess
import sys

import pytest
from running import clone

from bench.cli.main import main
from bench.cli.output import echo, encodable


class Failing(io.StringIO):
    """An output that takes nothing."""

    def __init__(self, number):
        super().__init__()
        self.number = number

    def write(self, text):
        raise OSError(self.number, os.strerror(self.number))


COMMANDS = (["list", "methods"], ["list", "published", "--format", "csv"], ["--help"], ["--version"])


@pytest.mark.parametrize("argv", COMMANDS, ids=" ".join)
def test_a_reader_that_is_gone_ends_a_command_without_a_word(argv, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdout", Failing(32))
    assert main(argv) == 141
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("argv", COMMANDS, ids=" ".join)
def test_a_full_disk_behind_the_output_is_one_line(argv, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdout", Failing(28))
    assert main(argv) == 2
    assert capsys.readouterr().err == "bench: standard output cannot be written: No space left on device\n"


def test_a_closed_pipe_and_a_full_device_as_the_shell_has_them():
    script = f"{sys.executable} -m bench list methods"
    env = {**os.environ, "PYTHONPATH": str(clone())}
    for redirection, status, line in (
        ("> /dev/full", 2, b"bench: standard output cannot be written: No space left on device\n"),
        ("| head -c 0; exit ${PIPESTATUS[0]}", 141, b""),
    ):
        done = subprocess.run(
            ["bash", "-c", f"{script} {redirection}"],
            capture_output=True,
            env=env,
            check=False,
        )
        assert (done.returncode, done.stderr) == (status, line)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_other_encodings_show_numbers_for_what_they_have_not(encoding, monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    encodable()
    echo("a \N{EM DASH} b \udcff")
    dash = "\N{EM DASH}" if encoding == "utf-8" else "\\u2014"
    assert stream.buffer.getvalue().decode(encoding).startswith(f"a {dash} b ")


def test_a_foreign_word_in_a_wrong_option_is_not_obeyed(capsys):
    assert main(["list", "--\x1b[31mred"]) == 2
    assert main(["\x1b[31mred"]) == 2
    assert "\x1b" not in capsys.readouterr().err
