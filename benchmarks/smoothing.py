"""What boundary suppression with dilated smoothing costs on a CPU, ours against the formulation by morphology.

    python benchmarks/smoothing.py [--out docs/benchmarks.md] [--repeats 5]

One thread. CPU time of this process, the median of the repeats, all ways in turn, on the same maps in the same run: a
score and a class map of 1024 x 2048. The formulation by morphology is that of the source systems, which call kornia:
grey dilation and erosion for the boundaries, a dilation by a diamond for every radius, 3 x 3 convolutions for sums and
counts, and one dilated 7 x 7 convolution. kornia is used if it is installed, with the engine that the source systems
ran on and with the one that it chooses on a CPU today; the same in plain torch is always there. ``--out`` replaces the
section of that file.
"""

from __future__ import annotations

import argparse
import datetime
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from page import machine, publish
from torch import Tensor
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.ops import dense, smoothing

SIZE = (1024, 2048)
HEADING = "Boundary suppression and dilated smoothing"
Dilate = Callable[[Tensor, Tensor], Tensor]


def drawn(cells: tuple[int, int], noise: float) -> tuple[Tensor, Tensor]:
    """Maximum and class of 19 smooth logits, drawn on a coarse grid and at a quarter of the size, and upsampled."""
    dice = np.random.RandomState(0)
    coarse = torch.from_numpy(dice.standard_normal((19, *cells)).astype(np.float32))
    fine = torch.from_numpy(dice.standard_normal((19, SIZE[0] // 4, SIZE[1] // 4)).astype(np.float32))
    return dense.top(dense.resize(5 * dense.resize(coarse, (SIZE[0] // 4, SIZE[1] // 4)) + noise * fine, SIZE))


def by_morphology(score: Tensor, labels: Tensor, dilate: Dilate) -> Tensor:
    """The whole step as the source systems write it; ``dilate`` takes [1, 1, H, W] and a 0/1 kernel."""
    grey = labels[None, None].float()
    cross = torch.tensor([[0.0, 1.0, 0.0], [1.0, 1.0, 1.0], [0.0, 1.0, 0.0]])
    edges = (dilate(grey, cross) != -dilate(-grey, torch.ones(3, 3))).float()
    ones, now = torch.ones(1, 1, 3, 3), score[None, None]
    for radius in (3, 2, 1, 0):
        side = torch.arange(-radius, radius + 1)
        diamond = (side.abs()[:, None] + side.abs() <= radius).float()
        keep = (dilate(edges, diamond) == 0).float()
        total = functional.conv2d(functional.pad(now * keep, (1, 1, 1, 1), mode="replicate"), ones)
        count = functional.conv2d(functional.pad(keep, (1, 1, 1, 1), mode="replicate"), ones)
        mean = torch.where(count == 0, now, total / count)
        now = torch.where(keep == 0, mean, now)
    taps = torch.exp(-0.5 * torch.arange(-3.0, 4.0) ** 2)
    taps /= taps.sum()
    weight = torch.outer(taps, taps)[None, None]
    return functional.conv2d(functional.pad(now, (18, 18, 18, 18), mode="replicate"), weight, dilation=6)[0, 0]


def unfolded(image: Tensor, kernel: Tensor) -> Tensor:
    """Grey dilation as kornia's engine "unfold" does it: every window spelled out, what is outside it pushed down."""
    reach = kernel.shape[0] // 2
    padded = functional.pad(image, (reach,) * 4, value=-1e4)
    windows = padded.unfold(2, kernel.shape[0], 1).unfold(3, kernel.shape[1], 1)
    return (windows + torch.where(kernel > 0, 0.0, -1e4)).amax((4, 5))


def ways() -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    found: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "ours, compiled": lambda score, labels: smoothing.boundary(score, labels, fused=True),
        "ours, torch path": smoothing.boundary,
        "morphology in plain torch, windows unfolded": lambda score, labels: by_morphology(score, labels, unfolded),
    }
    try:
        from kornia import morphology
    except ImportError:
        return found
    for engine in ("unfold", "shift"):

        def dilate(image: Tensor, kernel: Tensor, engine: str = engine) -> Tensor:
            given: Tensor = morphology.dilation(image, kernel, engine=engine)
            return given

        name = f"morphology of kornia, engine {engine}"
        found[name] = lambda score, labels, dilate=dilate: by_morphology(score, labels, dilate)
    return found


def table(title: str, score: Tensor, labels: Tensor, repeats: int) -> str:
    works = ways()
    results = {name: work(score, labels) for name, work in works.items()}  # the first call compiles
    spent: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeats):
        for name, work in works.items():
            before = time.process_time()
            work(score, labels)
            spent[name].append((time.process_time() - before) * 1e3)
    cost = {name: statistics.median(values) for name, values in spent.items()}
    reference = results["morphology in plain torch, windows unfolded"]
    lines = [f"### {title}", "", about(score, labels), ""]
    lines += ["| how | CPU ms per map | x ours | largest difference |", "| --- | ---: | ---: | ---: |"]
    for name, result in results.items():
        off = float((result - reference).abs().max())
        lines.append(f"| {name} | {cost[name]:.1f} | {cost[name] / cost['ours, compiled']:.0f} | {off:.1e} |")
    return "\n".join([*lines, ""])


def about(score: Tensor, labels: Tensor) -> str:
    from bench.ops import suppression

    share = 100 * (suppression.boundary_steps(labels.numpy()) > 0).mean()
    return f"{share:.0f} % of the pixels lie within 3 steps of a boundary; scores go up to {float(score.max()):.0f}."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    text = [
        f"Written by `benchmarks/smoothing.py` on {datetime.date.today()}: one thread, median of {given.repeats} runs.",
        "",
        f"{machine('torch', 'numba', 'numpy', 'kornia')} {torch.backends.cpu.get_cpu_capability()}.",
        "",
        table("A class map of large regions", *drawn((8, 16), 0.0), given.repeats),
        table("A class map of small regions", *drawn((16, 32), 0.6), given.repeats),
    ]
    publish(HEADING, "\n".join(text), given.out)


if __name__ == "__main__":
    main()
