"""What the segments of a frame cost on a CPU, by how much of it they cover, against array expressions, in one run.

    python benchmarks/segments.py [--out docs/benchmarks.md] [--repeats 5]

One thread. CPU time of this process, the median of the repeats, all ways in turn. The softmax is drawn: 19 smooth
classes on 1024 x 2048; the threshold is the quantile of its entropy that covers the share. ``features`` makes the 75
figures of every segment, from the softmax volume as the source stores it or from logits at a quarter of the resolution
as a network gives them; "array expressions" makes the same figures with bincount over whole channels, and the largest
difference is to those. Peak memory is what ``features`` allocates.
"""

from __future__ import annotations

import argparse
import datetime
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from page import machine, publish

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.api import Context, Prediction
from bench.ops import segments

SIZE, CLASSES = (1024, 2048), 19
SHARES = {"sparse": 0.007, "medium": 0.035, "heavy": 0.2, "the whole image": 1.0}
EIGHT = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]


def drawn(seed: int = 0) -> torch.Tensor:
    """float32 [19, 256, 512] logits of large smooth regions."""
    coarse = torch.from_numpy(np.random.RandomState(seed).standard_normal((CLASSES, 16, 32)).astype(np.float32) * 8)
    wanted = (SIZE[0] // 4, SIZE[1] // 4)
    return torch.nn.functional.interpolate(coarse[None], size=wanted, mode="bicubic", align_corners=False)[0]


def by_arrays(components: NDArray[np.int32], predicted: NDArray[np.uint8], softmax: NDArray[np.float32]) -> Any:
    """The same figures from whole maps: the definitions, one array expression each."""
    number = int(components.max())
    top = np.partition(softmax, -2, axis=0)[-2:]
    heats = {
        "E": -(softmax * np.log(softmax + np.float32(2.0**-23))).sum(axis=0) / np.float32(np.log(CLASSES)),
        "D": 1 - top[1] + top[0],
        "V": 1 - top[1],
    }
    wide, classes = np.pad(components, 1, constant_values=-1), np.pad(predicted, 1)
    edge = np.zeros(components.shape, bool)
    neighbours = np.zeros((number + 1, CLASSES))
    for y, x in EIGHT:
        window = slice(1 + y, 1 + y + SIZE[0]), slice(1 + x, 1 + x + SIZE[1])
        outside = (components > 0) & (wide[window] == 0)
        edge |= outside
        codes = components[outside].astype(np.int64) * CLASSES + classes[window][outside]
        neighbours += np.bincount(codes, minlength=(number + 1) * CLASSES).reshape(number + 1, CLASSES)
    parts = {"": components > 0, "_in": (components > 0) & ~edge, "_bd": edge}
    counts = {part: total(components, chosen, None, number) for part, chosen in parts.items()}
    found = {f"S{part}": values for part, values in counts.items()}
    found["S_rel"], found["S_rel_in"] = (counts[part] / np.maximum(counts["_bd"], 1) for part in ("", "_in"))
    for name, heat in heats.items():
        for part, chosen in parts.items():
            size = np.maximum(counts[part], 1)
            found[f"{name}{part}"] = total(components, chosen, heat, number) / size
            squares = total(components, chosen, heat.astype(np.float64) ** 2, number) / size
            found[f"{name}_var{part}"] = squares - found[f"{name}{part}"] ** 2
        for kind in (name, f"{name}_var"):
            found[f"{kind}_rel"] = found[kind] * found["S_rel"]
            found[f"{kind}_rel_in"] = found[f"{kind}_in"] * found["S_rel_in"]
    rows, columns = np.indices(SIZE)
    for name, places in (("mean_x", rows), ("mean_y", columns)):
        found[name] = total(components, parts[""], places, number) / counts[""]
    shares = neighbours[1:] / np.maximum(neighbours[1:].sum(axis=1, keepdims=True), 1)
    for c in range(CLASSES):
        found[f"cprob{c}"] = total(components, parts[""], softmax[c], number) / counts[""]
        found[f"ndist{c}"] = shares[:, c]
    return found


def total(components: NDArray[np.int32], chosen: NDArray[np.bool_], values: Any, number: int) -> NDArray[np.float64]:
    weights = None if values is None else values[chosen].astype(np.float64)
    return np.bincount(components[chosen], weights, number + 1)[1:].astype(np.float64)


def timed(works: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median CPU milliseconds of each, taken in turn so that a noisy minute hits them all."""
    spent: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeats):
        for name, work in works.items():
            before = time.process_time()
            work()
            spent[name].append((time.process_time() - before) * 1e3)
    return {name: statistics.median(values) for name, values in spent.items()}


def peak(work: Callable[[], Any]) -> float:
    """Megabytes that a call allocates at most, beyond what was there."""
    tracemalloc.start()
    work()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    prediction = Prediction({"logits": drawn()}, SIZE)
    prediction.context = Context(SIZE, fused=True)
    softmax = prediction.logits.softmax(dim=0).numpy()
    entropy = (prediction.entropy() / np.log(CLASSES)).numpy()
    predicted = prediction.argmax.numpy()
    truth = np.zeros(SIZE, np.uint8)
    truth[500:560, 300:420], truth[700:720, 1500:1540] = 1, 1

    def from_logits(index: NDArray[np.int64]) -> NDArray[np.float32]:
        return prediction.softmax_at(torch.from_numpy(index)).numpy()

    from_volume = segments.of_volume(softmax)
    stages = ["threshold and components", "features from the volume", "features from quarter-size logits"]
    stages += ["overlap with the truth", "objects of the truth", "array expressions"]
    head = ["mask", "pixels", "segments", *stages, "largest difference", "peak memory MB"]
    lines = [f"| {' | '.join(head)} |", f"| --- |{' ---: |' * (len(head) - 1)}"]
    for name, share in SHARES.items():
        threshold = np.float32(np.quantile(entropy, 1 - share)) if share < 1 else np.float32(-1)
        components = segments.label(entropy >= threshold)
        works: dict[str, Callable[[], Any]] = {
            stages[0]: lambda t=threshold: segments.label(entropy >= t),
            stages[1]: lambda c=components: segments.features(c, predicted, from_volume, CLASSES),
            stages[2]: lambda c=components: segments.features(c, predicted, from_logits, CLASSES),
            stages[3]: lambda c=components: segments.targets(c, truth),
            stages[4]: lambda c=components: segments.objects(truth, c, predicted, from_logits, CLASSES),
            stages[5]: lambda c=components: by_arrays(c, predicted, softmax),
        }
        results = {stage: work() for stage, work in works.items()}  # the first call compiles
        wanted = results[stages[5]]
        off = max(
            float(np.max(np.abs(values - wanted[figure]) / np.maximum(np.abs(wanted[figure]), 1e-1)))
            for figure, values in results[stages[1]].items()
        )
        memory = max(peak(works[stage]) for stage in stages[1:3])
        cost = timed(works, given.repeats)
        found = [str(int((components > 0).sum())), str(int(components.max()))]
        found += [f"{cost[stage]:.0f}" for stage in stages]
        lines.append(f"| {' | '.join([name, *found, f'{off:.0e}', f'{memory:.1f}'])} |")
    text = [
        f"Written by `benchmarks/segments.py` on {datetime.date.today()}: CPU ms per frame of 1024 x 2048 with 19"
        f" classes, one thread, median of {given.repeats} runs.",
        "",
        machine("torch", "numba", "numpy"),
        "",
        *lines,
        "",
    ]
    publish("Segments", "\n".join(text), given.out)


if __name__ == "__main__":
    main()
