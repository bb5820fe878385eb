"""What the scores of a frame cost on a CPU: from quarter-resolution logits, ours against torch, in one run.

    python benchmarks/scoring.py [--out docs/benchmarks.md] [--repeats 7]

One thread. CPU time of this process, the median of the repeats, ours and torch's in turn. The logits are drawn: 19
classes at 256 x 512 for a frame of 1024 x 2048, and three windows of 1024 x 1024 as the sliding window of the source
system cuts them. The reference computes each of the four scores and the class map the way a method on its own does:
upsample, then one expression over the whole volume.
"""

from __future__ import annotations

import argparse
import datetime
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from page import machine, publish
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.api import Context, Prediction
from bench.ops import dense
from bench.ops.tiles import Tiles, average

SIZE = (1024, 2048)
WINDOWS = [(0, 0, 1024, 1024), (0, 768, 1024, 1792), (0, 1024, 1024, 2048)]


def drawn(height: int, width: int, seed: int) -> Tensor:
    return torch.from_numpy((np.random.RandomState(seed).standard_normal((19, height, width)) * 4).astype(np.float32))


def separately(upsampled: Callable[[], Tensor]) -> list[Tensor]:
    """Each score on its own, from the logits on, as separate methods compute them."""
    return [
        1 - upsampled().softmax(dim=0).max(dim=0).values,
        -upsampled().max(dim=0).values,
        -upsampled().logsumexp(dim=0),
        entropy(upsampled()),
        upsampled().argmax(dim=0),
    ]


def upsampled_once(upsampled: Callable[[], Tensor]) -> list[Tensor]:
    """Each score on its own, all from the same logits at full size."""
    logits = upsampled()
    return separately(lambda: logits)


def entropy(logits: Tensor) -> Tensor:
    logs = logits.log_softmax(dim=0)
    return -(logs.exp() * logs).sum(dim=0)


def together(prediction: Prediction) -> list[Tensor]:
    """The same from the primitives, as the shipped methods read them."""
    return [
        prediction.other_mass(),
        -prediction.max_logit,
        -prediction.logsumexp(),
        prediction.entropy(),
        prediction.argmax,
    ]


def ours(outputs: dict[str, Tensor] | Tiles, *, fused: bool) -> list[Tensor]:
    prediction = Prediction(outputs, SIZE)
    prediction.context = Context(SIZE, fused=fused, asked=dict.fromkeys(["top", 1.0]) if fused else {})
    return together(prediction)


def timed(works: dict[str, Callable[[], list[Tensor]]], repeats: int) -> dict[str, float]:
    """Median CPU milliseconds of each, taken in turn so that a noisy minute hits them all."""
    spent: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeats):
        for name, work in works.items():
            before = time.process_time()
            work()
            spent[name].append((time.process_time() - before) * 1e3)
    return {name: statistics.median(values) for name, values in spent.items()}


def table(title: str, works: dict[str, Callable[[], list[Tensor]]], repeats: int) -> str:
    results = {name: work() for name, work in works.items()}  # the first call compiles
    reference = results["torch, each score on its own"]
    cost = timed(works, repeats)
    best = cost["ours, one compiled pass"]
    lines = [f"### {title}", "", "| how | CPU ms per frame | x ours | largest difference | classes that differ |"]
    lines += ["| --- | ---: | ---: | ---: | ---: |"]
    for name, scores in results.items():
        off = max(float((one - other).abs().max()) for one, other in zip(scores[:4], reference[:4], strict=True))
        wrong = int((scores[4].long() != reference[4].long()).sum())
        lines.append(f"| {name} | {cost[name]:.1f} | {cost[name] / best:.1f} | {off:.1e} | {wrong} |")
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--repeats", type=int, default=7)
    given = parser.parse_args()
    torch.set_num_threads(1)
    logits = drawn(256, 512, 0)
    parts = [{"logits": drawn(256, 256, seed)} for seed in range(3)]

    def upsampled() -> Tensor:
        return dense.resize(logits, SIZE)

    def averaged() -> Tensor:
        return average(WINDOWS, [part["logits"] for part in parts], SIZE)

    whole = {
        "ours, one compiled pass": lambda: ours({"logits": logits}, fused=True),
        "ours, torch path (numerics.scoring: torch)": lambda: ours({"logits": logits}, fused=False),
        "torch, each score on its own": lambda: separately(upsampled),
        "torch, upsampled once": lambda: upsampled_once(upsampled),
    }
    windowed = {
        "ours, one compiled pass": lambda: ours(Tiles(WINDOWS, parts, SIZE), fused=True),
        "ours, torch path (numerics.scoring: torch)": lambda: ours(Tiles(WINDOWS, parts, SIZE), fused=False),
        "torch, each score on its own": lambda: separately(averaged),
        "torch, upsampled once": lambda: upsampled_once(averaged),
    }
    text = [
        f"Written by `benchmarks/scoring.py` on {datetime.date.today()}: one thread, median of {given.repeats} runs.",
        "",
        f"{machine('torch', 'numba', 'numpy')} {torch.backends.cpu.get_cpu_capability()}.",
        "",
        table("Four scores and the class map, whole image", whole, given.repeats),
        table("The same from three overlapping windows", windowed, given.repeats),
        f"Peak memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB.",
        "",
    ]
    publish("Scores of the logits", "\n".join(text), given.out)


if __name__ == "__main__":
    main()
