"""Places that cannot be written or read: each command ends in one line, whatever is wrong, and leaves nothing there."""

import os
import pwd
import resource
import subprocess
import sys

import pytest
from running import PATIENCE, clone

from bench.cli.main import main
from bench.core import compiled, files

SUITE = """
protocols: [anomaly]
models: [toynet]
datasets: [{toytown: {split: anomaly, images: 2, height: 32, width: 32}}]
methods: [{energy: {temperature: 2}}]
bootstrap: 2
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a suite and the run of it."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "s.yaml").write_text(SUITE)
    assert main(["run", str(folder / "s.yaml"), "--out", str(folder / "run"), "--workers", "0", "--gallery", "0"]) == 0
    assert main([*TOYTOWN, "--out", str(folder / "own")]) == 0
    return folder


FIT = ["fit", "energy", "--model", "toynet", "--data", "toytown:images=1,height=32,width=32"]
TOYTOWN = ["data", "toytown", "--layout", "cityscapes", "--images", "1", "--size", "32x32"]
SCORE = ["score", "--protocol", "anomaly"]
WRITING = {
    "run": ["run", "{made}/s.yaml", "--workers", "0", "--gallery", "0", "--out", "{place}"],
    "report": ["report", "{made}/run", "--out", "{place}"],
    "report --format csv": ["report", "{made}/run", "--format", "csv", "--out", "{place}"],
    "show --per-image": ["show", "{made}/run", "--per-image", "{place}"],
    "compare --export": ["compare", "{made}/run", "{made}/run", "--export", "{place}.csv"],
    "data toytown": [
        "data",
        "toytown",
        "--layout",
        "cityscapes",
        "--images",
        "1",
        "--size",
        "32x32",
        "--out",
        "{place}",
    ],
    "merge": ["merge", "{made}/run", "{made}/run", "--out", "{place}"],
    "init --out": ["init", "{made}/own", "--out", "{place}"],
    "new": ["new", "method", "mine", "--folder", "{place}"],
    "fit": [
        "fit",
        "energy",
        "--model",
        "toynet",
        "--data",
        "toytown:images=1,height=32,width=32",
        "--out",
        "{place}/x.safetensors",
    ],
    "submit": ["submit", "cityscapes", "--suite", "{made}/s.yaml", "--out", "{place}"],
}
PLACES = {
    "below a file": "file/below",
    "below a link to nowhere": "nowhere/below",
    "below a link to itself": "loop/below",
    "a long name": "x" * 300,
    "a long path": "x/" * 3000 + "x",
    "below a device": "/dev/null/below",
    "where nobody can": "/proc/below",
}
FOLDERS = {"a file": "file", "a link to nowhere": "nowhere", "a link to itself": "loop", "a device": "/dev/null"}
TAKE_FOLDERS = ("run", "merge", "data toytown", "new", "submit")


def some(places, command):
    """A third of the places, another one for the next command; all in the slow tests."""
    first = [*WRITING, *READING].index(command) % 3
    return list(places.values())[first::3]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def refused(argv, folder, capsys):
    before = names(folder)
    status = main(argv)
    lines = capsys.readouterr().err.splitlines()
    assert status == 2, (argv, status, lines)
    assert len(lines[-1]) < 2200
    assert [line for line in lines if line.startswith("bench: ")] == lines[-1:], lines
    assert names(folder) == before
    return lines[-1]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder to stand in, with things that are no folders."""
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "file").write_text("kept")
    (folder / "nowhere").symlink_to(folder / "absent" / "x")
    (folder / "loop").symlink_to("loop")
    monkeypatch.chdir(folder)
    yield folder
    assert (folder / "file").read_text() == "kept"


@pytest.mark.parametrize("command", WRITING)
def test_what_cannot_be_written_is_one_line(command, here, made, capsys):
    for place in some(PLACES, command):
        refused([part.format(made=made, place=place) for part in WRITING[command]], here, capsys)


@pytest.mark.parametrize("command", TAKE_FOLDERS)
def test_a_folder_that_is_none_is_one_line(command, here, made, capsys):
    for place in some(FOLDERS, command):
        refused([part.format(made=made, place=place) for part in WRITING[command]], here, capsys)


READING = {
    "run": ["run", "{place}"],
    "check": ["check", "{place}"],
    "fit": ["fit", "{place}"],
    "describe": ["describe", "{place}"],
    "init": ["init", "{place}"],
    "verify": ["verify", "{place}"],
    "merge a place": ["merge", "{place}", "{place}", "--out", "out"],
    "show": ["show", "{place}"],
    "compare": ["compare", "{place}", "{place}"],
    "report": ["report", "{place}"],
    "score --labels": [*SCORE, "--labels", "{place}", "--scores", "{place}"],
    "score --scores": [
        "score",
        "--protocol",
        "anomaly",
        "--dataset",
        "toytown:images=1,split=anomaly",
        "--scores",
        "{place}",
    ],
    "data coco-proxy": ["data", "coco-proxy", "--coco", "{place}", "--out", "out"],
    "submit": ["submit", "smiyc", "--run", "{place}", "--method", "energy", "--out", "out"],
    "submit check": ["submit", "check", "{place}"],
    "submit dry-run": ["submit", "dry-run", "{place}"],
    "submit entry": ["submit", "entry", "{place}", "--returned", "{place}"],
}


ABSENT = {**PLACES, **FOLDERS, "nothing": "absent", "an empty file": "empty"}


@pytest.mark.parametrize("command", READING)
def test_what_cannot_be_read_is_one_line(command, here, capsys):
    (here / "empty").touch()
    for place in some(ABSENT, command):
        refused([part.format(place=place) for part in READING[command]], here, capsys)


HOMES = {
    "none, of an unknown user": None,
    "empty": "",
    "relative": "home",
    "not there": "/proc/no/home",
    "a file": "file",
    "a device": "/dev/null",
}


@pytest.fixture(params=HOMES)
def without_home(request, here, monkeypatch):
    """A process as a container starts it: no $BENCH_HOME, and a $HOME of no use."""
    for name in ("BENCH_HOME", "HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)

    def unknown(uid):
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    if HOMES[request.param] is not None:
        monkeypatch.setenv("HOME", HOMES[request.param])
    if HOMES[request.param] == "":  # that of the root folder, which this user may be allowed to write to
        monkeypatch.setattr(files, "home", lambda: here / "file" / "home")
    return here


def test_commands_that_need_no_home_work_without_one(without_home, made, capsys):
    for argv in (["list", "datasets"], ["check", f"{made}/s.yaml"], ["show", f"{made}/run"]):
        assert main(argv) == 0, capsys.readouterr().err
    assert main(["describe", "cityscapes"]) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert names(without_home) == ["file", "loop", "nowhere"]
    compiled._cache_folder()


def test_commands_that_need_a_home_say_how_to_name_one(without_home, capsys):
    if os.environ.get("HOME") == "home":  # a folder here is as good as another
        return
    assert "set $BENCH_HOME" in refused(FIT, without_home, capsys)


@pytest.mark.parametrize("folder", ["file", "~nobody-at-all/x", "/dev/null"])
def test_a_home_of_ones_own_that_is_none_is_said(folder, here, monkeypatch, capsys):
    monkeypatch.setenv("BENCH_HOME", folder)
    assert "BENCH_HOME" in refused(FIT, here, capsys)


def few_files():
    resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16))


def test_sixteen_open_files_are_enough_or_said(here, made):
    argv = ["run", f"{made}/s.yaml", "--out", "out", "--workers", "1"]
    done = subprocess.run(
        [sys.executable, "-m", "bench", *argv],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(clone())},
        preexec_fn=few_files,
        timeout=PATIENCE,  # readers that could not start were once waited for without end
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert done.returncode == 0 or "Too many open files" in done.stderr
    assert done.returncode in (0, 2), done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("place", ABSENT)
@pytest.mark.parametrize("command", [*WRITING, *READING])
def test_every_command_and_every_place(command, place, here, made, capsys):
    (here / "empty").touch()
    if command in READING:
        refused([part.format(place=ABSENT[place]) for part in READING[command]], here, capsys)
    elif place in PLACES or (place in FOLDERS and command in TAKE_FOLDERS):
        refused([part.format(made=made, place=ABSENT[place]) for part in WRITING[command]], here, capsys)
