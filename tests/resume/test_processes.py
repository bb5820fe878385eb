"""Processes end with the one that started them, whatever ends it, and one that is killed is replaced."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from running import PATIENCE, clone, metrics, run, until

from bench.results import store
from bench.run import shard_files
from bench.suite import registry

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc to see who started whom")

SUITE = """
protocols: [anomaly, misclassification, {components: {min_predicted: 6, min_truth: 4}}]
models:
  - python: {factory: "net.py:build", label: tiny}
datasets:
  - toytown: {split: anomaly, images: 24, height: 64, width: 128}
  - toytown: {split: anomaly, images: 16, height: 64, width: 128, condition: fog, label: fog}
methods: [msp, maxlogit]
bootstrap: 20
"""

DELAYED = """
import time
from torch import nn


class Slow(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = build_fast()

    def forward(self, pixels):
        time.sleep(0.1)
        return self.net(pixels)


def build():
    return Slow()
"""


@pytest.fixture
def suite(tiny):
    path = tiny.with_name("suite.yaml")
    path.write_text(SUITE)
    net = tiny.with_name("net.py")
    net.write_text(net.read_text().replace("def build", "def build_fast") + DELAYED)
    return path


def parents():
    """{pid: pid of its parent} of every process that is alive."""
    table = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            except OSError:
                continue
            if state != "Z":
                table[int(folder.name)] = int(parent)
    return table


def descendants(pid):
    table, below = parents(), {pid}
    while more := {child for child, parent in table.items() if parent in below} - below:
        below |= more
    return below - {pid}


def begin(suite, out, *options):
    words = [sys.executable, "-m", "bench", "run", str(suite), "--out", str(out), "--gallery", "0", *options]
    environment = os.environ | {"PYTHONPATH": str(clone()), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


@pytest.mark.parametrize(
    "number", [signal.SIGKILL, signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_nothing_outlives_a_driver_that_is_ended(suite, tmp_path, number):
    driver = begin(suite, tmp_path / "run", "--processes", "2", "--workers", "1")
    until(lambda: any((tmp_path / "run" / "work").glob("*/*.npz")) or driver.poll() is not None)
    children = descendants(driver.pid)
    assert len(children) >= 2, "workers, and what they start"
    driver.send_signal(number)
    _, told = driver.communicate(timeout=PATIENCE)
    until(lambda: not children & parents().keys())
    if number == signal.SIGKILL:
        assert driver.returncode == -signal.SIGKILL
    else:
        assert driver.returncode == 130
        assert told.splitlines()[-1].startswith("bench: interrupted; what was finished is on disk")
        assert "Traceback" not in told


READER_THAT_DIES = '''
import os
import signal
from dataclasses import dataclass
from pathlib import Path

from bench.api import Dataset
from bench.datasets.toytown.scenes import Toytown


@dataclass(frozen=True)
class Deadly(Toytown):
    """Toytown, whose reader is killed at the third image, ``times`` times."""

    name = "deadly"
    source = "a test"

    marks: str = ""
    times: int = 1

    def load(self, index):
        marks = Path(self.marks)
        if index == 2 and "spawn" in " ".join(__import__("sys").orig_argv) and len(list(marks.iterdir())) < self.times:
            (marks / str(os.getpid())).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().load(index)
'''

DEADLY = """
protocols: [misclassification]
models: [{python: {factory: "net.py:build", label: tiny}}]
datasets: [{deadly: {split: anomaly, images: 6, height: 32, width: 64, marks: MARKS, times: 1}}]
methods: [msp]
bootstrap: 20
"""


def test_a_reader_that_is_killed_is_replaced(tiny, tmp_path, monkeypatch):
    (tmp_path / "plugins" / "datasets").mkdir(parents=True)
    (tmp_path / "plugins" / "datasets" / "deadly.py").write_text(READER_THAT_DIES)
    monkeypatch.setenv("BENCH_PLUGINS", str(tmp_path / "plugins"))
    registry.forget()
    marks = tmp_path / "marks"
    marks.mkdir()
    path = tiny.with_name("deadly.yaml")
    path.write_text(DEADLY.replace("MARKS", str(marks)))
    run(path, tmp_path / "read here", workers=0)
    run(path, tmp_path / "read by others", workers=1)
    assert len(list(marks.iterdir())) == 1, "a reader was killed"
    assert metrics(tmp_path / "read by others") == metrics(tmp_path / "read here")
    registry.forget()


def test_a_finished_run_clears_what_killed_processes_left(tiny, tmp_path):
    out = tmp_path / "run"
    run(tiny, out, workers=0)
    figures, kept = metrics(out), out / "spool" / "net" / "data" / "kept" / "float16"
    left = [shard_files.path_of(out, "0123456789abcdef", 0, 4, 1), out / "cells" / ".1.json.abc.part"]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half")
    store.open_spool(out / "spool" / "net" / "data" / "msp" / "float16", "stamp", keep=False)
    store.open_spool(kept, "stamp", keep=True)
    run(tiny, out, workers=0)
    assert not (out / "work").exists() and not list(out.rglob("*.part"))
    assert [path.parent for path in (out / "spool").rglob("stamp")] == [kept], "maps that were asked for stay"
    assert metrics(out) == figures


@pytest.mark.slow
def test_fifty_kills_at_random_end_with_equal_figures(suite, tmp_path):
    """The driver alone, a worker, a reader or the group, by three signals; the seed says whom and when."""
    draw = random.Random(20261129)
    run(suite, tmp_path / "whole", workers=0)
    kills, turn = 0, 0
    while kills < 50:
        turn += 1
        out = tmp_path / f"run{turn}"
        while True:
            options = draw.choice([("--processes", "2", "--workers", "1"), ("--workers", "2"), ("--workers", "0")])
            driver = begin(suite, out, *options)
            below: set[int] = set()
            end = time.monotonic() + draw.uniform(1, 12)
            while driver.poll() is None and time.monotonic() < end:
                below |= descendants(driver.pid)
                time.sleep(0.05)
            if driver.poll() is None:
                kills += 1
                number = draw.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
                alive = sorted(descendants(driver.pid))
                whom = draw.choice(["driver", "group", "child"])
                if whom == "group":
                    os.killpg(driver.pid, number)
                elif whom == "child" and alive:
                    os.kill(draw.choice(alive), signal.SIGKILL)
                    if kills < 50 and draw.random() < 0.5:
                        driver.send_signal(number)
                else:
                    driver.send_signal(number)
            driver.communicate(timeout=PATIENCE)
            until(lambda below=below: not below & parents().keys())
            if driver.returncode == 0:
                break
        assert metrics(out) == metrics(tmp_path / "whole")
        assert not (out / "work").exists() and not (out / "spool").exists() and not list(out.rglob("*.part"))
