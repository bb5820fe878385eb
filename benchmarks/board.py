"""What a board costs: 60 entries over 12 data sets, added, checked and built; the figures are made up.

    python benchmarks/board.py [--out docs/benchmarks.md] [--folder DIR] [--entries 60] [--data-sets 12]

Every entry is a run of one method on one of three networks with five figures on each data set, 1000 replicates of each
and a bootstrap interval, written by ``store`` and added by ``bench board add``. Each step is timed in a process of its
own, CPU time of all of it with imports; files are in the page cache.
"""

from __future__ import annotations

import argparse
import datetime
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from page import machine, publish

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.api import Metric, Value
from bench.board import adding, scaffold
from bench.results import store
from bench.results.store import Cell, CellLabels, Plan, Result

FIGURES: Mapping[str, tuple[Metric, float]] = {
    "auroc": (Metric("AUROC", "area under the ROC curve of all pixels pooled; ties count one half"), 0.75),
    "ap": (Metric("AP", "sum over thresholds of (R_n - R_n-1) P_n"), 0.4),
    "fpr95": (Metric("FPR95", "smallest false positive rate with a true positive rate of at least 0.95", "lower"), 0.3),
    "best_f1": (Metric("best F1", "largest F1 over all thresholds"), 0.5),
    "best_f1_threshold": (Metric("threshold", "the score at which F1 is largest", "neither"), -3.0),
}
ROOT = Path(__file__).resolve().parents[1]
NETWORKS, PEOPLE, REPLICATES, IMAGES = 3, 5, 1000, 100
DAY = datetime.date(2026, 1, 1)


def made(
    method: str, network: str, data_set: str, skill: float, *, version: int = 1, digest: str = "", **params: Any
) -> tuple[Result, dict[str, Any]]:
    """Return a result with its replicates: ``skill`` moves all its figures, the draw of images all of a data set.

    ``version`` is that of its definition, ``digest`` that of its data, ``params`` are those of the method.
    """
    labels = CellLabels("anomaly", network, data_set, method)
    spelled = {axis: {"name": label, "params": {}} for axis, label in labels.by_axis.items()} | {"seed": 0}
    spelled["method"] = {"name": method, "params": params}
    cell = Cell.read(spelled, labels, {})
    skill += float(np.random.default_rng(int(cell.key, 16)).normal(0, 0.02))
    common = np.random.default_rng(sum(data_set.encode())).normal(0, 0.02, REPLICATES)
    own = np.random.default_rng(int(cell.key, 16) % 2**63).normal(0, 0.004, REPLICATES)
    metrics, arrays = {}, {}
    for name, (metric, level) in FIGURES.items():
        if metric.better == "neither":
            metrics[name] = Value(level)
            continue
        value = level + (skill if metric.better == "higher" else -skill)
        draws = np.clip(value + common + own, 0, 1)
        lo, hi = np.percentile(draws, [2.5, 97.5])
        metrics[name], arrays[f"replicates.{name}"] = Value(value, 0.0, float(lo), float(hi)), draws
    about = {axis: {"source": f"made up: {label}"} for axis, label in labels.by_axis.items()}
    return Result(
        *(cell.key, cell, metrics, {name: metric for name, (metric, _) in FIGURES.items()}),
        about=about | {"protocol": {"source": "made up", "version": version, "title": "Anomalies"}},
        images=IMAGES,
        partial=False,
        pixels={"normal": 900_000, "anomaly": 100_000},
        depends={
            "protocol": f"anomaly {version}",
            "dataset": f"00000000 {digest or data_set}",
            "model": network,
            "method": method,
        },
        provenance={"ood_seg_bench": "0.1.0", "created": "2026-01-01T00:00:00+00:00"},
    ), arrays


def write_run(run: Path, results: Sequence[tuple[Result, Mapping[str, Any]]]) -> None:
    """Write the run directory of results with their replicates."""
    for result, arrays in results:
        store.write_result(run, result, arrays)
    keys, cells = zip(*((result.key, result.labels) for result, _ in results), strict=True)
    store.write_plan(run, Plan("made-up", "Made up", "", keys, (), cells), None)


def make(board: Path, entries: int, data_sets: int) -> None:
    """Write a board of that size, which a few people have added to, a week after each other."""
    scaffold.write(board, "Made up to time a board")
    with tempfile.TemporaryDirectory() as folder:
        for person in range(PEOPLE):
            results = []
            for number in range(person, entries, PEOPLE):
                skill = float(np.random.default_rng(number).uniform(-0.15, 0.15))
                names = f"method{number // NETWORKS:02d}", f"network{number % NETWORKS}"
                results += [made(*names, f"data{index:02d}", skill) for index in range(data_sets)]
            run = Path(folder) / f"run{person}"
            write_run(run, results)
            about = adding.About(by=f"Person {person}", paper="https://arxiv.org/abs/2104.14812")
            adding.add(board, run, about, {}, DAY + datetime.timedelta(days=7 * person))


def step(*words: str) -> dict[str, float]:
    """Return CPU and wall seconds and memory of a command."""
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    argv = [sys.executable, "-m", "bench", "board", *words]
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, cwd=ROOT)  # noqa: S603
    after, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - begin
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"cpu": spent, "wall": wall, "memory_mb": after.ru_maxrss / 1024}


def size(folder: Path) -> str:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return f"{len(paths)} files, {sum(path.stat().st_size for path in paths) / 2**20:.1f} MB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--folder", type=Path, help="where the board is made and stays; a temporary one if not given")
    parser.add_argument("--entries", type=int, default=60)
    parser.add_argument("--data-sets", type=int, default=12)
    options = parser.parse_args()
    home = options.folder or Path(tempfile.mkdtemp(prefix="board-"))
    board, site = home / "board", home / "site"
    make(board, options.entries, options.data_sets)
    rows = []
    for name, words in (("check", (str(board),)), ("build", (str(board), "--out", str(site)))):
        spent = step(name, *words)
        made_size = size(board if name == "check" else site)
        seconds = f"{spent['cpu']:.1f} | {spent['wall']:.1f}"
        rows.append(f"| `{name}` | {seconds} | {spent['memory_mb']:.0f} | {made_size} |")
    if options.folder is None:
        shutil.rmtree(home)
    body = (
        f"Written by `benchmarks/board.py` on {datetime.date.today()}: {options.entries} entries over"
        f" {options.data_sets} data sets, made up, with 1000 replicates of four figures each; every command"
        " in a process of its own, imports included. `build` checks first.\n\n"
        f"{machine('numpy', 'jinja2', 'pydantic')}\n\n"
        "| `bench board` | CPU s | wall s | MB at most | what lies there |\n| :--- | ---: | ---: | ---: | :--- |\n"
        + "\n".join(rows)
    )
    publish("A board", body, options.out)


if __name__ == "__main__":
    main()
