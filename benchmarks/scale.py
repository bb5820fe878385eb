"""What the driver of a large run needs, and how a run gets faster with workers: a cluster simulated on one machine.

    python benchmarks/scale.py [--out docs/benchmarks.md] [--workers 1 2 4 8] [--cells 100 1000 10000]
        [--shards 200 2000 20000] [--images 240] [--sleep 0.5]

Each row is a process of its own, the driver. ``ray.cluster_utils.Cluster`` starts up to four raylets on this host, over
which the workers are spread. The network of the first table sleeps for a stated time per image and computes nothing: so
eight workers make sense on few cores, and what is measured is everything else. Speed is that from the moment on when
every worker has begun its second shard until the last shard is there. What comes before, starting Python and torch in
every worker, is given apart, since here they all start on the same cores. In the tables of the driver the network takes
no time and images are blank.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from page import machine, publish

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

RAYLETS = 4
NETWORK = '''
import os
import time
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn


class Slow(nn.Module):
    """Logits of two classes at an eighth of the resolution, after so many seconds."""

    def __init__(self, seconds):
        super().__init__()
        self.seconds, self.calls = seconds, 0

    def forward(self, pixels):
        self.calls += 1
        if self.calls == SHARD + 1:  # everything is compiled and in memory
            (Path(__file__).parent / "ready" / str(os.getpid())).touch()
        time.sleep(self.seconds)
        small = nn.functional.avg_pool2d(pixels.float(), 8).mean(dim=1, keepdim=True)
        return torch.cat([small / 255, 1 - small / 255] + [torch.zeros_like(small)] * 17, dim=1)


def build():
    return Slow(SECONDS)
'''
DATA = '''
"""Blank images without a file."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.api import Dataset, Positive, Sample


@dataclass(frozen=True)
class Blank(Dataset):
    """As many grey images of 16 x 16 as asked for; every other pixel is of class 0, the others of class 1."""

    name = "blank"
    source = "this benchmark"
    annotations = frozenset({"labels"})

    images: int = 1

    @property
    def count(self) -> int:
        return self.images

    def ids(self) -> Sequence[str]:
        return [f"blank_{place:06d}" for place in range(self.images)]

    def load(self, index: int) -> Sample:
        pixels = np.full((16, 16, 3), index % 200, np.uint8)
        labels = (np.indices((16, 16)).sum(axis=0) % 2).astype(np.uint8)
        return Sample(f"blank_{index:06d}", (16, 16), lambda: pixels, labels=labels)

    def check(self) -> None:
        pass

    def digest(self) -> str:
        return "blank"
'''


class Driver:
    """A reporter that keeps the time, and the memory of this process meanwhile."""

    def __init__(self) -> None:
        self.done: list[tuple[float, int]] = []
        self.memory = [_resident()]
        self._over = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while not self._over.wait(0.1):
            self.memory.append(_resident())

    def begin(self, images: int) -> None:
        self.memory = [_resident()]  # everything is planned

    def stage(self, label: str) -> None:
        pass

    def tell(self, line: str) -> None:
        print(line, file=sys.stderr)

    def advance(self, images: int) -> None:
        self.done.append((time.time(), images))

    def close(self) -> None:
        self._over.set()


def _resident() -> float:
    """Megabytes of this process now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def written(folder: Path, seconds: float, images: int, shard: int, cells: int = 2) -> Path:
    """A suite of so many cells, on blank images and a network that takes so long for each."""
    (folder / "plugins" / "datasets").mkdir(parents=True)
    (folder / "plugins" / "datasets" / "blank.py").write_text(DATA)
    (folder / "ready").mkdir()
    (folder / "net.py").write_text(NETWORK.replace("SECONDS", str(seconds)).replace("SHARD", str(shard)))
    methods = 8  # and mIoU, which needs none: 10 cells for each data set
    sets = [{"blank": {"images": images, "label": "blank"}}]
    asked: list[Any] = ["msp"]
    if cells > 2:
        grid = {"names": "source", "severities": [1, 2, 3, 4, 5]}
        asked = ["msp", "entropy", {"energy": {"sweep": {"temperature": list(range(1, methods))}}}]
        count = -(-cells // (10 * 75))
        sets = [
            {"toytown": {"images": 20 + place, "height": 32, "width": 64, "corruptions": grid}}
            for place in range(count)
        ]
    import yaml

    text = {
        "protocols": ["misclassification", "miou"],
        "models": [{"python": {"factory": "net.py:build", "label": f"sleeps {seconds:g} s"}}],
        "datasets": sets,
        "methods": asked,
        "bootstrap": 20,
    }
    path = folder / "suite.yaml"
    path.write_text(yaml.safe_dump(text, sort_keys=False))
    return path


def planned(folder: Path, given: dict[str, Any]) -> dict[str, Any]:
    """From a suite file to jobs, each with its key and the question answered whether its result is there."""
    from bench.models import numerics
    from bench.run import engine, jobs, preflight
    from bench.suite import expansion, registry

    path = written(folder, 0, 1, 1, given["cells"])
    for kind in registry.HOMES:
        registry.available(kind)
    preflight.check(expansion.load(path).only({"dataset": "*-1"}))  # so that everything is imported
    before, began = _resident(), time.process_time()
    plan = expansion.load(path)
    plan = replace(plan, cells=plan.cells[: given["cells"]])
    checked = preflight.check(plan)
    engine.plan_of(plan)
    how = numerics.resolve(plan.numerics)
    planned = [jobs.job_of(cell, checked, how, folder / "run") for cell in plan.cells]
    stale = [job for job in planned if not jobs.is_fresh(folder / "run", job, None)]
    assert len(stale) == given["cells"]  # noqa: S101 - else another plan was timed
    return {"cpu": time.process_time() - began, "memory": _resident() - before}


def run(folder: Path, given: dict[str, Any]) -> dict[str, Any]:
    """A run on so many workers, from the first raylet to the last result."""
    from ray.cluster_utils import Cluster

    from bench.run import engine
    from bench.suite import expansion

    path = written(folder, given["sleep"], given["images"], given["shard"])
    count = given["workers"]
    nodes = min(RAYLETS, count)
    cluster = Cluster()
    cluster.add_node(num_cpus=0, include_dashboard=False)
    for place in range(nodes):
        cluster.add_node(num_cpus=count // nodes + (place < count % nodes))
    cluster.wait_for_nodes()
    driver = Driver()
    options = engine.Options(
        executor="ray", address=cluster.address, processes=count, workers=0, shard=given["shard"], command="benchmark"
    )
    began, spent = time.time(), time.process_time()
    try:
        results = list(engine.run(expansion.load(path), folder / "run", options, driver))
    finally:
        took, spent = time.time() - began, time.process_time() - spent
        driver.close()
        cluster.shutdown()
    assert {result.images for result in results} == {given["images"]}  # noqa: S101 - else it measured something else
    ready = sorted(path.stat().st_mtime for path in (folder / "ready").iterdir())[-1]
    after = [(when, images) for when, images in driver.done if when > ready]
    memory = sorted(driver.memory)
    return {
        "raylets": nodes,
        "whole": took,
        "begun": ready - began,
        "rate": sum(images for _, images in after) / (after[-1][0] - ready) if after else 0.0,
        "cpu": spent,
        "before": driver.memory[0],
        "typical": memory[len(memory) // 2],
        "peak": memory[-1],
        "peak ever": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10,
    }


WORKS = {"planned": planned, "run": run}


def measured(what: str, **given: Any) -> dict[str, Any]:
    """One row, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        env = os.environ | {"BENCH_PLUGINS": str(Path(folder, "plugins")), "BENCH_HOME": str(Path(folder, "home"))}
        env |= {"RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": str(ROOT)}
        Path(folder, "work").mkdir()
        argv = [sys.executable, __file__, "--row", json.dumps([what, given, folder])]
        done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)  # noqa: S603 - this very file
        if done.returncode:
            sys.exit(f"{what} {given}: {done.stderr[-2000:]}")
        row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        print(what, given, {name: round(value, 2) for name, value in row.items()}, file=sys.stderr)
        return row


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(head)} |", f"|{' ---: |' * len(head)}", *(f"| {' | '.join(row)} |" for row in rows), ""]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2, 4, 8])
    parser.add_argument("--cells", type=int, nargs="*", default=[100, 1000, 10000])
    parser.add_argument("--shards", type=int, nargs="*", default=[200, 2000, 20000])
    parser.add_argument("--images", type=int, default=240)
    parser.add_argument("--sleep", type=float, default=0.5)
    parser.add_argument("--row", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.row:
        what, how, folder = json.loads(given.row)
        print(json.dumps(WORKS[what](Path(folder), how)))
        return
    speeds = []
    for workers in given.workers:
        row = measured("run", workers=workers, sleep=given.sleep, images=given.images, shard=4)
        ideal = workers / given.sleep
        numbers = [row["whole"], row["begun"], row["rate"], ideal]
        texts = [f"{number:.1f}" for number in numbers]
        cost = [f"{row['cpu']:.1f}", f"{row['peak']:.0f}"]
        speeds.append([str(workers), str(row["raylets"]), *texts, f"{100 * row['rate'] / ideal:.0f} %", *cost])
    cells = []
    for count in given.cells:
        row = measured("planned", cells=count)
        cells.append([f"{count:,}", f"{row['cpu']:.2f}", f"{row['memory']:.1f}"])
    shards = []
    for count in given.shards:
        row = measured("run", workers=2, sleep=0, images=count, shard=1)
        texts = [f"{row['whole']:.0f}", f"{row['cpu']:.1f}", f"{1e3 * row['cpu'] / count:.2f}"]
        shards.append([f"{count:,}", *texts, *(f"{row[name]:.0f}" for name in ("before", "typical", "peak"))])
    head = ["workers", "raylets", "whole run s", "all at work after s", "then images/s", "ideal", "efficiency"]
    text = [
        f"Written by `benchmarks/scale.py` on {datetime.date.today()}: a simulated cluster, all of it on this machine.",
        "",
        machine("ray", "torch"),
        "",
        f"A network that sleeps for {given.sleep:g} s per image and computes nothing, {given.images} images in shards"
        " of 4. Ideal is the number of workers over that time.",
        "",
        *table([*head, "driver CPU s", "driver MB at most"], speeds),
        "Planning: from the suite file to jobs with their keys, each looked up on disk. Importing is left out.",
        "",
        *table(["cells", "CPU s", "MB more than before"], cells),
        "Shards of one blank image, a network that takes no time, 2 workers. The driver's memory as it begins with the"
        " first shard, in the median of ten times a second, and at most.",
        "",
        *table(
            ["shards", "whole run s", "driver CPU s", "CPU ms per shard", "MB, begin", "MB, median", "MB, most"], shards
        ),
    ]
    publish("A simulated cluster", "\n".join(text), given.out)


if __name__ == "__main__":
    main()
