"""What a run costs beside its network: throughput with one that sleeps, as part of the network's own.

    python benchmarks/pipeline.py [--sleep 0.5] [--images 48] [--size 256 512] [--processes 1 2 4]
        [--out docs/benchmarks.md]

Each process has a network whose forward pass sleeps. It notes when each pass begins; from the first pass of the second
shard to the last, a process that never keeps its network waiting begins one after each sleep. That is 1. Images are
drawn by readers, scored by two methods and counted under two protocols, shards are written, all as in ``bench run``.
"""

from __future__ import annotations

import argparse
import datetime
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml
from page import machine, publish

ROOT = Path(__file__).resolve().parents[1]
HEADING = "The network alone and in a run"
SHARD = 8

NETWORK = """
import os
import time
from pathlib import Path

import torch
from torch import nn


class Sleeping(nn.Module):
    def forward(self, pixels):
        with Path(__file__).with_name(f"begun.{os.getpid()}").open("a") as file:
            file.write(f"{time.monotonic()}\\n")
        time.sleep(SLEEP)
        height, width = pixels.shape[-2:]
        logits = torch.linspace(-3, 3, 19).view(1, 19, 1, 1).repeat(1, 1, height // 4, width // 4)
        logits[0, 3] += pixels[0, 0, ::4, ::4]
        return logits


def build():
    return Sleeping()
"""


def begun(given: argparse.Namespace, processes: int, folder: Path) -> list[list[float]]:
    """Return when each forward pass of each process began, in seconds."""
    height, width = given.size
    toytown = {"split": "anomaly", "images": given.images * processes, "height": height, "width": width}
    suite = {
        "protocols": ["misclassification", "anomaly"],
        "models": [{"python": {"factory": "net.py:build", "label": "sleeping"}}],
        "datasets": [{"toytown": toytown}],
        "methods": ["msp", "maxlogit"],
        "bootstrap": 0,
    }
    (folder / "suite.yaml").write_text(yaml.safe_dump(suite))
    (folder / "net.py").write_text(NETWORK.replace("SLEEP", str(given.sleep)))
    command = [sys.executable, "-m", "bench", "run", str(folder / "suite.yaml"), "--out", str(folder / "run")]
    command += ["--processes", str(processes), "--shard", str(SHARD), "--gallery", "0"]
    environment = os.environ | {"BENCH_HOME": str(folder / "home"), "PYTHONPATH": str(ROOT)}
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - our own program
    return [[float(line) for line in path.read_text().split()] for path in sorted(folder.glob("begun.*"))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sleep", type=float, default=0.5, help="seconds of a forward pass")
    parser.add_argument("--images", type=int, default=48, help="of each process")
    parser.add_argument("--size", nargs=2, type=int, default=(256, 512))
    parser.add_argument("--processes", nargs="+", type=int, default=(1, 2, 4))
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    lines = ["| processes | images per second | the network alone | share |", "| ---: | ---: | ---: | ---: |"]
    for processes in given.processes:
        with tempfile.TemporaryDirectory() as folder:
            times = begun(given, processes, Path(folder))
        steady = [own[SHARD:] for own in times if len(own) > SHARD + 1]
        rate = sum((len(own) - 1) / (own[-1] - own[0]) for own in steady)
        alone = len(steady) / given.sleep
        lines.append(f"| {processes} | {rate:.2f} | {alone:.2f} | {rate / alone:.3f} |")
    height, width = given.size
    load = os.getloadavg()[0]
    text = [
        f"Written by `benchmarks/pipeline.py` on {datetime.date.today()}: a network that sleeps for {given.sleep} s and"
        f" computes nothing, {given.images} images of {height} x {width} for each process, shards of {SHARD}, two"
        f" methods under two protocols. The load of the machine was {load:.0f} in the end, with what others did on it.",
        "",
        machine("torch", "numba", "numpy"),
        "",
        *lines,
    ]
    publish(HEADING, "\n".join(text), given.out)


if __name__ == "__main__":
    main()
