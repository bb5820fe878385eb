"""What pages cost by the number of cells, on a run directory that is made up: no network and no image.

    python benchmarks/report.py [--out docs/benchmarks.md] [--folder DIR] [--cells 1281,10248] [--keep]

The cells are those of a suite of 7 methods on 3 networks under 15 corruptions at 4 severities, and on the data as it
is, by as many protocols as it takes. Every file is written by ``store``: figures with intervals, 1000 replicates of
each metric, figures of 20 images, curves, and counts of 2500 keys, the same in every cell. Each step is timed in a
process of its own, CPU time of all of it with imports; files are in the page cache.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from page import machine, publish

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.api import Undefined, Value
from bench.counts.tally import Tally
from bench.results import curves, store
from bench.results.store import Result
from bench.run import engine
from bench.suite import expansion, registry
from bench.suite.cells import Cell, Suite

PROTOCOLS = ["misclassification", "anomaly", "idm", "fed_anomaly", "fishyscapes", "components", "streethazards"]
PROTOCOLS += ["entropy_max"]
SUITE = """
title: A large grid
note: Made up to time pages. No figure of it means anything.
protocols: [{protocols}]
models:
  - toynet: {{label: one}}
  - toynet: {{label: mirrored, inference: {{flip: true}}}}
  - toynet: {{label: doubled, inference: {{size: [256, 512]}}}}
datasets:
  - toytown: {{split: anomaly, images: 20}}
  - toytown: {{split: anomaly, images: 20, corruptions: {{names: source, severities: [1, 2, 3, 4]}}}}
methods: [msp, maxlogit, energy, entropy, softmax_std, {{energy: {{temperature: 2}}}}, {{maxlogit: {{post: boundary}}}}]
summaries:
  - {{name: Mean over the grid, protocol: "*", corruption: "*"}}
  - {{name: Mean by family, protocol: "*", each: family}}
  - {{name: Mean by severity, protocol: "*", each: severity}}
"""
IMAGES, KEYS, RESAMPLES = 20, 2500, 1000
STEPS = ("html", "md", "show")


def seeded(*words: str) -> np.random.Generator:
    return np.random.default_rng(int.from_bytes(hashlib.sha256(" ".join(words).encode()).digest()[:8], "big"))


def asked(cells: int, folder: Path) -> Suite:
    """The suite with as few protocols as give that many cells; the cells beyond are left out when writing."""
    each = 7 * 3 * 61
    protocols = ", ".join(PROTOCOLS[: -(-cells // each)])
    path = folder / "large.yaml"
    path.write_text(SUITE.format(protocols=protocols))
    return expansion.load(path)


def make(folder: Path, cells: int) -> int:
    """Write the run; returns how many cells it has."""
    folder.mkdir(parents=True, exist_ok=True)
    asked_for = asked(cells, folder)
    store.write_plan(folder, engine.plan_of(asked_for), asked_for.text)
    beside = _counts()
    draws = seeded("images").normal(0, 0.02, RESAMPLES)  # the draw of images moves all cells of a data set alike
    folded = {name.removeprefix("counts."): array for name, array in beside.items() if name.startswith("counts.")}
    drawn: dict[str, dict[str, NDArray[Any]]] = {}  # by protocol: the counts are the same
    for cell in asked_for.cells:
        result, arrays = _cell(cell, draws)
        if cell.protocol.label not in drawn:
            drawn[cell.protocol.label] = curves.kept(cell.protocol.build(), folded, {})
        store.write_result(folder, result, arrays | beside | drawn[cell.protocol.label])
    return len(asked_for.cells)


def _counts() -> dict[str, NDArray[Any]]:
    """Counts of two sides and the rows of the images, the same in every cell: no page reads all of them."""
    rng = seeded("counts")
    tally = Tally(2)
    tally.fold()
    keys = np.sort(rng.choice(1 << 22, KEYS, replace=False) + (1 << 23)).astype(np.uint32)  # of scores from 0 to 2
    counts = rng.integers(1, 1000, KEYS).astype(np.uint32)
    state = {"tally": np.array([2, 2**30, 24, int(counts.sum())]), "ends": np.array([KEYS // 2, KEYS])}
    arrays: dict[str, NDArray[Any]] = {f"counts.{name}": array for name, array in state.items()}
    halves = np.concatenate([np.sort(keys[::2]), np.sort(keys[1::2])])
    arrays |= {"counts.keys": halves, "counts.counts": counts}
    names = [f"toytown_anomaly_{index:06d}" for index in range(IMAGES)]
    rows = {name: {"bins": keys[::10] << 8, "bin_counts": np.ones((KEYS // 10, 2), np.uint32)} for name in names}
    rows = {name: row | {"bin_bits": np.array(16, np.uint8)} for name, row in rows.items()}
    return arrays | store.pack_rows(rows) | {"ids": np.array(names)}


def _cell(cell: Cell, common: NDArray[np.float64]) -> tuple[Result, dict[str, NDArray[Any]]]:
    """A level by method, falling with the severity, and draws around it."""
    protocol = cell.protocol.build()
    labels = cell.labels
    rng = seeded(cell.key)
    quality = seeded(str(labels.method), labels.model).uniform(0.6, 0.95)
    corruption = cell.dataset.corruption
    level = quality - (0.06 * corruption.severity + seeded(corruption.name).uniform(0, 0.1) if corruption else 0)
    metrics: dict[str, Value | Undefined] = {}
    arrays: dict[str, NDArray[Any]] = {}
    for name, metric in protocol.metrics.items():
        value = float(np.clip(1 - level if metric.better == "lower" else level + rng.normal(0, 0.01), 0.01, 0.99))
        if metric.better == "neither":
            metrics[name] = Value(value)
            continue
        drawn = np.clip(value + common + rng.normal(0, 0.005, RESAMPLES), 0, 1)
        low, high = np.percentile(drawn, [2.5, 97.5])
        metrics[name] = Value(value, 0.0, float(low), float(high))
        arrays[f"replicates.{name}"] = drawn
        arrays[f"images.{name}"] = np.clip(value + rng.normal(0, 0.1, IMAGES), 0, 1)
    refs = {axis: ref for axis, ref in cell.refs().items() if ref}
    about: dict[str, dict[str, Any]] = {
        axis: {"source": registry.plugin(ref.kind, ref.name, where=ref.label).source} for axis, ref in refs.items()
    }
    about["protocol"] |= {"version": protocol.version, "title": cell.protocol.label}
    about["method"]["uses_outliers"] = False
    seconds = {"predict": 0.5, "load": 0.6, "score": 0.01 * float(rng.uniform(1, 3)), "count": 0.01, "read": 0.1}
    names = dict.fromkeys(protocol.category_names, 1_000_000)
    provenance = {"ood_seg_bench": "made up", "numerics": {"device": "cpu"}, "command": f"--only cell={cell.key}"}
    result = Result(
        cell.key, cell, metrics, protocol.metrics, about, IMAGES, False, pixels=names,
        depends={"protocol": "made up"}, provenance=provenance, seconds=seconds, memory_mb=512.0,
    )  # fmt: skip
    return result, arrays


def step(folder: Path, name: str) -> dict[str, float]:
    """CPU seconds, wall seconds and peak memory of one command, in a process of its own."""
    arguments = {
        "html": ["report", str(folder), "--format", "html"],
        "md": ["report", str(folder), "--format", "md"],
        "show": ["show", str(folder)],
    }[name]
    script = f"import sys; sys.argv[1:] = {arguments!r}; from bench.cli.main import main; sys.exit(main(sys.argv[1:]))"
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.DEVNULL, cwd=ROOT)  # noqa: S603
    after, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - begin
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"cpu": spent, "wall": wall, "memory_mb": after.ru_maxrss / 1024}


ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--folder", type=Path, help="where the runs are made; a temporary one if not given")
    parser.add_argument("--cells", default="1281,10248", help="sizes, separated by commas")
    parser.add_argument("--keep", action="store_true", help="use what lies in --folder, and leave it there")
    options = parser.parse_args()
    home = options.folder or Path(tempfile.mkdtemp(prefix="report-"))
    rows = []
    for wanted in (int(text) for text in options.cells.split(",")):
        folder = home / str(wanted)
        if not (options.keep and (folder / "run.json").is_file()):
            make(folder, wanted)
        cells = len(json.loads((folder / "run.json").read_text())["keys"])
        for name in STEPS:
            found = step(folder, name)
            size = (folder / f"report.{name}").stat().st_size / 2**20 if name != "show" else None
            page = "" if size is None else f"{size:.1f}"
            rows.append(
                f"| {cells} | `{name}` | {found['cpu']:.1f} | {found['wall']:.1f} | {found['memory_mb']:.0f} | {page} |"
            )
            print(rows[-1], file=sys.stderr)
        if not options.keep:
            shutil.rmtree(folder)
    body = (
        f"Written by `benchmarks/report.py` on {datetime.date.today()}: runs that are made up, every step in a process"
        " of its own, imports included. `html` and `md` are `bench report`, `show` is `bench show`.\n\n"
        f"{machine('numpy', 'jinja2')}\n\n"
        "| cells | step | CPU s | wall s | MB at most | MB page |\n| ---: | :--- | ---: | ---: | ---: | ---: |\n"
        + "\n".join(rows)
    )
    publish("Pages", body, options.out)


if __name__ == "__main__":
    main()
