"""Where a run may write: a folder of its own, on whatever file system."""

import errno
import fcntl
import logging

import pytest
from running import Silent, metrics, run

from bench.cli.main import main
from bench.core import locks
from bench.core.errors import CannotWrite, RunInUse, UsageError
from bench.results import store
from bench.run import engine
from bench.suite import expansion

ONLY = {"method": "msp", "protocol": "anomaly"}


def listed(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "mine", ["suite.yaml", "report.html", "notes.txt", "cells/a.csv", "run.json", ".hidden", "spool/a.npy", "gallery/x"]
)
def test_a_folder_with_files_of_others_is_refused_before_anything_is_written(mine, tiny, tmp_path, capsys, monkeypatch):
    folder = tmp_path / "thesis"
    (folder / mine).parent.mkdir(parents=True)
    (folder / mine).write_text("{}")
    before = listed(folder)
    for out in (str(folder), "."):
        monkeypatch.chdir(folder)
        assert main(["run", str(tiny), "--out", out, "--only", "method=msp,protocol=anomaly", "--workers", "0"]) == 2
        said = capsys.readouterr().err.strip().splitlines()[-1]
        assert "is no run directory and holds" in said and mine.split("/")[0] in said and "--out" in said
    assert listed(folder) == before


def test_the_folder_of_the_suite_itself_is_refused(tiny, monkeypatch):
    monkeypatch.chdir(tiny.parent)
    before = listed(tiny.parent)
    with pytest.raises(UsageError, match=r"holds .*tiny.yaml"):
        run(tiny, tiny.parent, only=ONLY)
    assert listed(tiny.parent) == before


def test_what_a_killed_run_left_is_its_own(tiny, tmp_path):
    folder = tmp_path / "run"
    suite = expansion.load(tiny).only(ONLY)
    for left in (".lock", ".run.json.abc.part", "work/key/phase1-0-1.npz", "suite.yaml"):
        (folder / left).parent.mkdir(parents=True, exist_ok=True)
        (folder / left).write_text(suite.text if left == "suite.yaml" else "")
    assert len(list(engine.run(suite, folder, engine.Options(workers=0), Silent()))) == 1
    (folder / "notes.txt").write_text("a note beside a run")
    (folder / "run.json").write_text("{damaged")
    assert list(engine.run(suite, folder, engine.Options(workers=0), Silent())) == []
    assert (folder / "notes.txt").read_text() == "a note beside a run"


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_said_and_does_not_end_a_run(code, tiny, tmp_path, monkeypatch, caplog):
    def flock(*_):
        raise OSError(code, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with caplog.at_level(logging.WARNING, logger="bench"):
        run(tiny, tmp_path / "run", only=ONLY, workers=0)
    assert len(metrics(tmp_path / "run")) == 1
    assert "this file system has no locks" in caplog.text


def test_a_lock_that_is_held_or_cannot_be_made(tmp_path):
    with store.owned(tmp_path / "run"), pytest.raises(RunInUse), store.owned(tmp_path / "run"):
        pass
    with locks.locked(tmp_path / "a"), pytest.raises(locks.Taken), locks.locked(tmp_path / "a"):
        pass
    with locks.locked(tmp_path / "a", wait=True):  # it was let go
        pass
    (tmp_path / "file").touch()
    with pytest.raises(CannotWrite), store.owned(tmp_path / "file"):
        pass
