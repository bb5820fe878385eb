"""``bench.Metric("anomaly")`` over 500 maps of 1024 x 2048 as they are made, beside torchmetrics' exact AUROC and AP.

    python benchmarks/metric.py --out docs/benchmarks.md [--images 500] [--peer 30]

Each is a process of its own that imports what it needs. The clock runs in ``update`` and ``compute`` alone, in CPU
seconds; what draws the maps is not in it. Memory is the largest resident set of the process, from its start on,
without the maps that are drawn from, which both hold. torchmetrics keeps every pixel, so that it is measured on as many
maps as fit and extrapolated in proportion: its sorting grows faster, which favours it.
"""

from __future__ import annotations

import argparse
import datetime
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from page import machine, publish

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

SIZE = (1024, 2048)
FIELDS = 6


def images(count: int) -> Iterator[tuple[NDArray[np.float32], NDArray[np.uint8]]]:
    """Yield scores float32 and masks uint8, 2 % anomalies: no two maps alike, and each quickly made."""
    generator = np.random.default_rng(0)
    fields = [generator.normal(size=SIZE).astype(np.float32) for _ in range(FIELDS)]
    for index in range(count):
        mask = np.zeros(SIZE, np.uint8)
        top, left = 13 * index % 700, 37 * index % 1800
        mask[top : top + 200, left : left + 210] = 1
        mask[-51:] = 255
        scores = fields[index % FIELDS] * np.float32(1 + 1e-3 * index) + (mask == 1)
        yield scores.astype(np.float32), mask


def ours(count: int) -> dict[str, float]:
    import bench

    metric = bench.Metric("anomaly")
    metric.update(*(array[:64, :64] for array in next(images(1))), id="warm")
    metric.compute()
    metric.reset()
    seconds = 0.0
    for index, (scores, mask) in enumerate(images(count)):
        start = time.process_time()
        metric.update(scores, mask, id=str(index))
        seconds += time.process_time() - start
    start = time.process_time()
    computed = metric.compute()
    figures = {name: getattr(computed[name], "value", np.nan) for name in ("auroc", "ap")}
    widest = max(getattr(computed[name], "err", np.nan) for name in ("auroc", "ap"))
    return {"seconds": seconds + time.process_time() - start, "err": widest, **figures}


def torchmetrics(count: int) -> dict[str, float]:
    import torch
    from torchmetrics import MetricCollection
    from torchmetrics.classification import BinaryAUROC, BinaryAveragePrecision

    torch.set_num_threads(1)
    parts = {"auroc": BinaryAUROC(ignore_index=255), "ap": BinaryAveragePrecision(ignore_index=255)}
    metric = MetricCollection(parts)
    seconds = 0.0
    for scores, mask in images(count):
        start = time.process_time()
        # Scores outside [0, 1] it would put through a sigmoid, map by map; this keeps their order.
        metric.update(torch.from_numpy(scores) / 64 + 0.5, torch.from_numpy(mask).long())
        seconds += time.process_time() - start
    start = time.process_time()
    figures = {name: float(value) for name, value in metric.compute().items()}
    return {"seconds": seconds + time.process_time() - start, **figures}


def measured(evaluator: str, count: int) -> dict[str, float]:
    """Return CPU seconds, MB and figures of one evaluator in a process of its own."""
    argv = [sys.executable, __file__, "--evaluator", evaluator, "--images", str(count)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)  # noqa: S603 - ourselves
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--peer", type=int, default=30)
    parser.add_argument("--evaluator", choices=["ours", "torchmetrics", "nothing"])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.evaluator:
        if options.evaluator == "nothing":
            for _ in images(FIELDS):
                pass
            found: dict[str, float] = {}
        else:
            found = {"ours": ours, "torchmetrics": torchmetrics}[options.evaluator](options.images)
        print(json.dumps({**found, "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
        return
    held = measured("nothing", 1)["mb"]
    rows = [
        ("bench.Metric", options.images, measured("ours", options.images)),
        ("bench.Metric", options.peer, measured("ours", options.peer)),
        ("torchmetrics, exact", options.peer, measured("torchmetrics", options.peer)),
    ]
    factor = options.images / options.peer
    lines = [
        f"Written by `benchmarks/metric.py` on {datetime.date.today()}: maps of 1024 x 2048, float32, drawn as they are"
        " counted;",
        "each evaluator in a process of its own, once.",
        "",
        machine("numpy", "numba", "torch", "torchmetrics"),
        "",
        f"| evaluator | maps | CPU s | CPU ms per map | MB, process | without {held:.0f} MB of maps | AUROC | AP |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, count, found in rows:
        lines.append(
            f"| {name} | {count} | {found['seconds']:.1f} | {1000 * found['seconds'] / count:.1f} | {found['mb']:.0f} |"
            f" {found['mb'] - held:.0f} | {found['auroc']:.6f} | {found['ap']:.6f} |"
        )
    whole, part, peer = (found for _, _, found in rows)
    faster = factor * peer["seconds"] / whole["seconds"]
    smaller = factor * (peer["mb"] - held) / (whole["mb"] - held)
    lines += [
        f"| torchmetrics, extrapolated | {options.images} | {factor * peer['seconds']:.0f} |"
        f" {1000 * peer['seconds'] / options.peer:.1f} | | {factor * (peer['mb'] - held):.0f} | | |",
        "",
        f"On {options.images} maps `bench.Metric` takes {faster:.0f} times less CPU time, its intervals and FPR95"
        f" included, and {smaller:.0f} times less memory; its figures there are certified to {whole['err']:.1e}, those"
        f" on {options.peer} maps are exact.",
        f"The two agree on {options.peer} maps to {max(abs(part[n] - peer[n]) for n in ('auroc', 'ap')):.0e}, as far as"
        " torchmetrics' float32 goes.",
    ]
    publish("Metric", "\n".join(lines), options.out)


if __name__ == "__main__":
    main()
