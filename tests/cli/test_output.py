"""Standard output that is closed, full or of another encoding, and foreign words on it."""

import io
import os
import subprocess
import sys

import pytest
from running import clone

from bench.cli import plugins
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
    script = f"{sys.executable} -m bench list suites"  # without torch
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


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(24, "Too many open files"), "Too many open files; raise the number with 'ulimit -n 4096'"),
        (OSError(36, "File name too long", "x" * 300), "File name too long; choose a shorter one"),
        (PermissionError(13, "Permission denied", "/etc/x"), "/etc/x: Permission denied"),
        (
            MemoryError("Unable to allocate 9 TiB"),
            "not enough memory for this (Unable to allocate 9 TiB); ask for less",
        ),
    ],
)
def test_what_the_system_refuses_is_one_line(error, said, monkeypatch, capsys):
    def refuse(kind):
        raise error

    monkeypatch.setattr(plugins, "_listing", refuse)
    assert main(["list", "methods"]) == 2
    line = capsys.readouterr().err
    assert line.startswith("bench: ") and said in line and line.count("\n") == 1
    assert len(line) < 400


def test_an_error_that_no_system_made_is_a_bug(monkeypatch):
    def fail(kind):
        raise OSError("no number")

    monkeypatch.setattr(plugins, "_listing", fail)
    with pytest.raises(OSError, match="no number"):
        main(["list", "methods"])


def test_a_log_that_takes_no_more_ends_no_run(tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stderr", Failing(28))
    argv = ["run", str(tiny), "--out", str(tmp_path / "run"), "--workers", "0", "--limit", "1", "--gallery", "0"]
    assert main([*argv, "--only", "protocol=anomaly,method=msp"]) == 0
    assert main(["list", "nosuch"]) == 2
    assert "report: " in capsys.readouterr().out


@pytest.mark.parametrize("frames", ["a=\N{SUPERSCRIPT TWO}", "a=" + "9" * 5000, "a=0", "a", "a=1,a=2"])
def test_numbers_of_frames_are_numbers_each_once(frames, capsys):
    assert main(["submit", "check", "nosuch.zip", "--frames", frames]) == 2
    assert capsys.readouterr().err.startswith("bench: --frames")
