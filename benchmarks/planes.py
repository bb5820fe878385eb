"""What it costs to count score maps on the host by compiled loops, and by torch's operations on a device.

    python benchmarks/planes.py [--device cuda] [--images 4] [--repeats 5] [--out docs/benchmarks.md]

A shard of maps of 1024 x 2048 that are there already, with categories that are there too, becomes a tally and the bins
that the bootstrap resamples. Both planes must give the same counts, or nothing is written. On a GPU the seconds are
those from the first call to the counts on the host; on a CPU those of the processor.
"""

from __future__ import annotations

import argparse
import datetime
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from page import machine, publish

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.counts.plane import HOST, Plane
from bench.counts.tally import Tally, key_pixels
from bench.ops import pixel_counts
from bench.run.device_plane import DEVICE, DevicePixels

HEADING = "Two planes of counting"
SIZE = (1024, 2048)
NAMES = {1 << 40: "exact", 0: "24 bits"}  # by budget


def drawn(kind: str, images: int) -> list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
    """Scores as a maximum logit or an uncertainty has them, or full of ties; one pixel in fifty is anomalous."""
    dice = np.random.default_rng(0)
    made = []
    for _ in range(images):
        score = dice.normal(-9, 3, SIZE) if kind == "maximum logit" else dice.random(SIZE) ** 6
        if kind == "saturated":
            score[dice.random(SIZE) < 0.7] = 0
        truth = (dice.random(SIZE) < 0.02).astype(np.uint8)
        truth[-51:] = 255
        made.append((score.astype(np.float32), truth))
    return made


def count(plane: Plane[Any], pixels: list[Any], budget: int) -> tuple[dict[str, Any], list[Any]]:
    tally = Tally(2, budget)
    rows = plane.count(pixels, tally)
    return tally.arrays(), rows


def milliseconds(work: Callable[[], object], device: str) -> float:
    clock = time.perf_counter if device == "cuda" else time.process_time
    before = clock()
    work()
    return (clock() - before) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    lines = ["| scores | counted | host, ms per map | device, ms per map |", "| :--- | :--- | ---: | ---: |"]
    for kind in ("maximum logit", "uncertainty", "saturated"):
        maps = drawn(kind, given.images)
        tensors = [tuple(torch.from_numpy(array).to(given.device) for array in pair) for pair in maps]

        def on_host(budget: int, maps: list[Any] = maps) -> Any:
            return count(HOST, [key_pixels(*pair, 2) for pair in maps], budget)

        def on_device(budget: int, tensors: list[Any] = tensors) -> Any:
            keyed = [
                DevicePixels(pixel_counts.order_keys(score), truth.reshape(-1), 2, lambda: None)
                for score, truth in tensors
            ]
            return count(DEVICE, keyed, budget)

        for budget, name in NAMES.items():
            (counted, rows), (others, other_rows) = on_host(budget), on_device(budget)
            for ours, theirs in zip([counted, *rows], [others, *other_rows], strict=True):
                if not all(np.array_equal(ours[field], theirs[field]) for field in ours):
                    sys.exit(f"{kind}, {name}: the planes count otherwise")
            spent: dict[str, list[float]] = {"host": [], "device": []}
            for _ in range(given.repeats):
                spent["host"].append(milliseconds(lambda budget=budget: on_host(budget), "cpu"))
                spent["device"].append(milliseconds(lambda budget=budget: on_device(budget), given.device))
            cost = [statistics.median(values) / given.images for values in spent.values()]
            lines.append(f"| {kind} | {name} | {cost[0]:.1f} | {cost[1]:.1f} |")
    where = torch.cuda.get_device_name() if given.device == "cuda" else "cpu, one thread"
    text = [
        f"Written by `benchmarks/planes.py` on {datetime.date.today()}: shards of {given.images} maps of 1024 x 2048,"
        f" categories included, bins of the bootstrap included, median of {given.repeats}. The device is {where}. Both"
        " gave the same counts.",
        "",
        machine("torch", "numba", "numpy"),
        "",
        *lines,
    ]
    publish(HEADING, "\n".join(text), given.out)


if __name__ == "__main__":
    main()
