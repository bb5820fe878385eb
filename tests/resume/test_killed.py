"""A run that was killed goes on with the same command, wherever it was killed, and comes to the same numbers.

Only the command line is used. The points are the renames by which a step hands over to the next (see ``killing.py``);
``test_every_kind_of_file_has_a_point`` finds those that are written and not in the list.
"""

from __future__ import annotations

import fnmatch
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyarrow import parquet

ROOT = Path(__file__).parents[2]
KILLED = 137

NETWORK = '''
import torch
from torch import nn


def build():
    """Four strided filters and a classifier, seeded."""
    torch.manual_seed(7)
    return nn.Sequential(nn.Conv2d(3, 16, 3, padding=1, stride=4), nn.ReLU(), nn.Conv2d(16, 19, 1))
'''
SUITE = """
title: Killed
protocols:
  - anomaly
  - {segments: {threshold: 0.995, min_predicted: 1}}
  - {components: {min_predicted: 6, min_truth: 4, label: components}}
models:
  - python: {factory: "net.py:build", label: tiny}
datasets:
  - toytown: {split: anomaly, images: 6, height: 32, width: 64, label: town}
methods:
  - entropy: {normalised: true, label: entropy}
  - msp: {fit: {data: {toytown: {split: train, images: 3, height: 32, width: 64}}}, label: fitted}
  - entropy_meta: {threshold: 0.995, label: refined}
bootstrap: 20
summaries:
  - {name: all, protocol: anomaly}
"""
OPTIONS = ("--shard", "3", "--workers", "0", "--gallery", "1")


@dataclass(frozen=True)
class Point:
    """A rename: the ``number``-th of a process to a path like ``pattern``, and on which side of it the process ends."""

    pattern: str
    number: int = 1
    when: str = "before"

    def __str__(self) -> str:
        return f"{self.when} {self.number} {self.pattern.removeprefix('*/')}"


POINTS = (
    Point("*/suite.yaml"),
    Point("*/run.json"),
    Point("*/fitted/*.safetensors"),
    Point("*/spool/*/stamp", 2),
    Point("*/spool/*/scores/*.npy", 2),
    Point("*/spool/*/predictions/*.npy", 2),
    Point("*/work/*/phase1-0000000-*"),
    Point("*/work/*/phase0-0000000-*"),
    Point("*/work/*/phase1-0000003-*", 2),
    Point("*/work/*/phase0-0000003-*"),
    Point("*/work/*/decided.npz"),
    Point("*/segments/*.parquet"),
    Point("*/objects/*.parquet"),
    Point("*/decisions/*.json"),
    Point("*/work/*/phase1-0000003-*", 7),  # of a refined cell
    Point("*/cells/*.npz"),
    Point("*/cells/*.json"),
    Point("*/cells/*.json", 2),
    Point("*/work/*/phase2-0000000-*"),
    Point("*/work/*/phase2-0000003-*", 2),
    Point("*/cells/*.npz", 5),
    Point("*/cells/*.json", 9),
    Point("*/summaries.json"),
    Point("*/gallery/*.webp"),
    Point("*/gallery/*.png", 2),
    Point("*/gallery/*/shot.json"),
    Point("*/gallery/*/index.json"),
    Point("*/report.html"),
)
AFTER = tuple(Point(point.pattern, point.number, "after") for point in POINTS)
# One run that is killed at each of these, each time by the command that goes on from the last: a process for each.
CHAIN = (
    Point("*/fitted/*.safetensors"),
    Point("*/fitted/*.safetensors", 1, "after"),
    Point("*/spool/*/scores/*.npy", 2),
    Point("*/work/*/phase1-0000000-*", 3),
    Point("*/work/*/phase0-0000000-*", 1, "after"),
    Point("*/work/*/phase1-0000003-*", 2, "after"),
    Point("*/work/*/phase0-0000003-*"),
    Point("*/work/*/decided.npz"),
    Point("*/segments/*.parquet"),
    Point("*/decisions/*.json", 1, "after"),
    Point("*/work/*/phase1-0000003-*", 2),  # all that are left are of refined cells
    Point("*/cells/*.npz", 1, "after"),
    Point("*/cells/*.json", 2),
    Point("*/cells/*.json", 3, "after"),
    Point("*/work/*/phase2-0000000-*", 2),
    Point("*/work/*/phase2-0000003-*", 2, "after"),
    Point("*/cells/*.json", 1, "after"),
    Point("*/summaries.json"),
    Point("*/gallery/*/shot.json"),
    Point("*/gallery/*/shot.json", 1, "after"),
    Point("*/gallery/*/index.json"),
    Point("*/report.html"),
)
# What is not computed again once it is there, and of it what is not touched either.
FINISHED = ("home/fitted/*", "run/work/*/phase*", "run/cells/*.json", "run/gallery/**/shot.json")
KEPT = ("home/fitted/*", "run/cells/*.json")


@dataclass
class Folder:
    """A suite beside its network, a home and a run."""

    path: Path
    serve: Callable[..., int]
    logs: list[list[str]] = field(default_factory=list)  # of each process the targets of its renames

    def write(self, suite: str = SUITE, network: str = NETWORK) -> Folder:
        (self.path / "net.py").write_text(network)
        (self.path / "killed.yaml").write_text(suite)
        return self

    def bench(self, kill: Point | None = None, *options: str, more: Mapping[str, str] | None = None) -> int:
        """Run the suite, with ``more`` in its environment; the exit status."""
        log = self.path / f"log{len(self.logs)}"
        log.touch()
        request = {
            "arguments": ["run", str(self.path / "killed.yaml"), "--out", str(self.path / "run"), *OPTIONS, *options],
            "environment": {**environment(self.path), **(more or {})},
            "kill": kill and {"pattern": kill.pattern, "number": kill.number, "when": kill.when},
            "log": str(log),
            "output": str(self.path / "output"),
        }
        status = self.serve(request)
        self.logs.append(log.read_text().splitlines())
        return status

    @property
    def output(self) -> str:
        return (self.path / "output").read_text()[-3000:]

    def files(self, pattern: str) -> dict[Path, tuple[int, int]]:
        """Return inode and time of each file that is like the pattern."""
        return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in self.path.glob(pattern)}

    def content(self) -> dict[str, Any]:
        """All that may not depend on kills, in a form that can be compared."""
        run = self.path / "run"
        contents: dict[str, Any] = {"files": sorted(str(path.relative_to(run)) for path in visible(run))}
        for path in sorted(run.glob("cells/*.json")):
            result = json.loads(path.read_text().replace(str(self.path), ""))
            name = " / ".join(result["labels"].values())
            contents[name] = {
                part: result[part] for part in ("metrics", "pixels", "slices", "tags", "images", "partial")
            }
            contents[name]["fitted"] = result["fitted"]
            with np.load(path.with_suffix(".npz"), allow_pickle=False) as arrays:
                contents[name] |= {
                    key: (arrays[key].dtype.str, arrays[key].shape, arrays[key].tobytes()) for key in arrays.files
                }
        for path in sorted(run.glob("*/*.parquet")):
            contents[str(path.relative_to(run))] = str(parquet.read_table(path).to_pydict())  # a NaN equals none
        for path in [
            run / "summaries.json",
            *sorted(run.glob("decisions/*.json")),
            *sorted(run.glob("gallery/**/*.json")),
        ]:
            contents[str(path.relative_to(run))] = path.read_text().replace(str(self.path), "")
        for path in [*sorted(run.glob("gallery/**/*.png")), *sorted(run.glob("gallery/**/*.webp"))]:
            contents[str(path.relative_to(run))] = path.read_bytes()
        return contents


def visible(run: Path) -> Iterator[Path]:
    """Files of a run, but for what a kill may leave behind: drafts, and maps and shards of cells that are finished."""
    files = (path for path in run.rglob("*") if path.is_file() and not path.name.startswith("."))
    return (path for path in files if path.relative_to(run).parts[0] not in {"spool", "work"})


def environment(folder: Path) -> Mapping[str, str]:
    return {"BENCH_HOME": str(folder / "home"), "BENCH_DATA": str(folder / "data"), "BENCH_PLUGINS": ""}


@pytest.fixture(scope="module")
def serve() -> Iterator[Callable[..., int]]:
    """Run a request in a process of its own; its exit status, negative where a signal ended it."""
    paths = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, str(Path(__file__).with_name("killing.py"))]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=paths, cwd=ROOT
    ) as server:
        assert server.stdin and server.stdout

        def request(content: Mapping[str, Any]) -> int:
            server.stdin.write(json.dumps(content) + "\n")
            server.stdin.flush()
            return int(server.stdout.readline())

        yield request
        server.stdin.close()


@pytest.fixture(scope="module")
def undisturbed(serve: Callable[..., int], tmp_path_factory: pytest.TempPathFactory) -> Folder:
    folder = Folder(tmp_path_factory.mktemp("undisturbed"), serve).write()
    assert folder.bench() == 0, folder.output
    return folder


@pytest.fixture
def folder(serve: Callable[..., int], tmp_path: Path) -> Folder:
    return Folder(tmp_path, serve).write()


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_comes_to_the_same_numbers(undisturbed: Folder, folder: Folder) -> None:
    for point in CHAIN:
        goes_on(folder, point)
    goes_on(folder, None)
    assert_same(folder, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("point", [*POINTS, *AFTER], ids=str)
def test_a_killed_run_goes_on_to_the_same_numbers(point: Point, undisturbed: Folder, folder: Folder) -> None:
    goes_on(folder, point)
    goes_on(folder, None)
    assert_same(folder, undisturbed)


def goes_on(folder: Folder, point: Point | None) -> None:
    """Run on to the point, or to the end, and compute nothing that was finished before."""
    before = {pattern: folder.files(pattern) for pattern in FINISHED}
    counts = {path.with_suffix(".npz") for path in before["run/cells/*.json"]}
    assert folder.bench(point) == (KILLED if point else 0), f"{point}: {folder.output}"
    again = set(folder.logs[-1])
    for pattern, files in before.items():
        assert not again & set(map(str, files)), f"{point}: {pattern} was finished and is computed again"
    assert not again & set(map(str, counts)), f"{point}: counts of a finished cell are written again"
    for pattern in KEPT:
        assert before[pattern].items() <= folder.files(pattern).items(), (
            f"{point}: {pattern} was finished and is replaced"
        )


def assert_same(folder: Folder, other: Folder) -> None:
    """The figures, counts, tables and pictures of two runs, named one by one where they differ."""
    resumed, expected = folder.content(), other.content()
    assert resumed.keys() == expected.keys()
    for name, content in expected.items():
        if isinstance(content, dict):
            assert resumed[name].keys() == content.keys(), name
            assert not [part for part in content if resumed[name][part] != content[part]], name
        else:
            assert resumed[name] == content, name


def test_every_kind_of_file_has_a_point(undisturbed: Folder) -> None:
    """A step that learns to leave another file must be killed there, too."""
    # The interpreter and the compiler keep files of their own, beside the code.
    targets = [target for target in undisturbed.logs[0] if target.startswith(str(undisturbed.path))]
    unseen = [target for target in targets if not any(fnmatch.fnmatch(target, point.pattern) for point in POINTS)]
    assert not unseen
    for point in POINTS:
        assert len([target for target in targets if fnmatch.fnmatch(target, point.pattern)]) >= point.number, point


def test_a_finished_run_is_left_as_it_is(undisturbed: Folder) -> None:
    before = {pattern: undisturbed.files(pattern) for pattern in (*KEPT, "run/gallery/**/*.*")}
    assert undisturbed.bench() == 0, undisturbed.output
    assert before == {pattern: undisturbed.files(pattern) for pattern in before}
    assert not (undisturbed.path / "run" / "work").exists()


def test_what_another_network_left_is_not_gone_on_with(folder: Folder, tmp_path: Path) -> None:
    """Between the kill and the same command the network changed: shards, maps and decisions are of another one.

    A second kill leaves new maps beside old shards: then it is the shards that must be known for what they are.
    """
    assert folder.bench(Point("*/work/*/phase2-0000003-*", 2)) == KILLED, folder.output
    assert len(folder.files("run/work/*/phase*")) > 6 and len(folder.files("run/cells/*.json")) == 6
    other = NETWORK.replace("manual_seed(7)", "manual_seed(1)")
    assert folder.write(network=other).bench(Point("*/work/*/phase1-0000000-*")) == KILLED, folder.output
    assert folder.bench() == 0, folder.output
    (tmp_path / "fresh").mkdir()
    fresh = Folder(tmp_path / "fresh", folder.serve).write(network=other)
    assert fresh.bench() == 0, fresh.output
    assert_same(folder, fresh)


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
def test_counts_that_were_being_folded_are_folded_once(when: str, folder: Folder, tmp_path: Path) -> None:
    """Beyond its budget a cell has its shards written once more, with fewer digits."""
    suite = SUITE.replace("images: 6", "images: 10") + "budget: 65536\n"
    only = ["--only", "method=entropy,protocol=anomaly"]
    folder.write(suite)
    assert folder.bench(Point("*/work/*/phase1-0000000-*", 2, when), *only) == KILLED, folder.output
    assert folder.bench(None, *only) == 0, folder.output
    (tmp_path / "fresh").mkdir()
    fresh = Folder(tmp_path / "fresh", folder.serve).write(suite)
    assert fresh.bench(None, *only) == 0, fresh.output
    assert_same(folder, fresh)


def test_workers_and_then_the_run_are_killed(undisturbed: Folder, folder: Folder) -> None:
    """Two processes compute. One of them ends at a shard, and another takes its place; then the run ends at a cell.

    One process goes on: how many do changes no figure.
    """
    (folder.path / "hook").mkdir()
    killing = Path(__file__).with_name("killing.py")
    (folder.path / "hook" / "sitecustomize.py").write_text(killing.read_text())
    log, once = folder.path / "workers", folder.path / "once"
    worker = {"pattern": "*/work/*/phase1-0000003-*", "number": 2, "when": "before", "once": str(once)}
    paths = os.pathsep.join([str(folder.path / "hook"), str(ROOT)])
    hooked = {"PYTHONPATH": paths, "KILL": json.dumps(worker), "KILL_LOG": str(log)}
    assert folder.bench(Point("*/cells/*.json", 3), "--processes", "2", more=hooked) == KILLED, folder.output
    assert once.exists(), "no worker was killed"
    finished = folder.files("run/cells/*.json")
    assert len(finished) == 2
    shards = folder.files("run/work/*/phase*")
    assert folder.bench() == 0, folder.output
    assert finished.items() <= folder.files("run/cells/*.json").items()
    assert shards and not set(map(str, shards)) & set(folder.logs[-1])
    assert_same(folder, undisturbed)
