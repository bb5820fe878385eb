"""How time and memory grow with the size of images and with their number: a table, and a plot of it.

    python benchmarks/growth.py [--out docs/benchmarks.md]

Each point is a process of its own, on one thread: quarter-size logits of 19 classes become the entropy at label size in
one compiled pass, and ``bench.Metric`` counts it. CPU seconds of these two alone, after one image that compiles; memory
is the largest resident set of the process, intervals included, beyond what it has before the first image. Further
points keep what images leave for intervals, without the images, and resample it: so there may be thousands. The figure
is written beside the page, ``growth.svg``, and wants matplotlib (extra ``figures``).
"""

from __future__ import annotations

import argparse
import datetime
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from page import machine, publish

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

CLASSES, DRAWN, RESAMPLES = 19, 4, 1000
NUMBER, SIDE = 16, 512  # of the images while their size grows, and their height while their number does
HEIGHTS, NUMBERS = (256, 512, 1024, 2048), (16, 64, 256, 1024)
ROWS, BINS, DRAWS = (500, 1000, 2000, 4000), 8000, 128  # images without pixels, bins of each, and their resamples
FIGURE = "growth.svg"
Point = dict[str, float]


def measure(height: int, number: int) -> Point:
    """Return CPU seconds and MB for images of ``height`` x twice that, in this process."""
    import torch

    import bench
    from bench.api import Context, Prediction

    torch.set_num_threads(1)
    size = (height, 2 * height)
    dice = np.random.default_rng(0)
    logits = [
        torch.from_numpy(dice.normal(0, 4, (CLASSES, height // 4, height // 2)).astype(np.float32))
        for _ in range(DRAWN)
    ]
    masks = [(dice.random(size) < 0.02).astype(np.uint8) for _ in range(DRAWN)]

    def judge(metric: bench.Metric, index: int, part: slice = slice(None)) -> None:
        prediction = Prediction({"logits": logits[index % DRAWN]}, size)
        prediction.context = Context(size, fused=True, asked=dict.fromkeys(["top", 1.0]))
        metric.update(prediction.entropy().numpy()[part], masks[index % DRAWN][part], id=str(index))

    warm = bench.Metric("anomaly", budget=1, resamples=0)
    judge(warm, 0, slice(0, 64))
    warm.compute()
    metric = bench.Metric("anomaly", budget=1, resamples=0)
    before = peak()
    start = time.process_time()
    for index in range(number):
        judge(metric, index)
    metric.compute()
    seconds = time.process_time() - start
    metric.resamples = RESAMPLES  # intervals hold most
    metric.compute()
    return {"seconds": seconds, "mb": peak() - before}


def resampled(number: int) -> Point:
    """Return MB for the rows of so many images, and with what resampling them takes, in this process."""
    from bench.core.kept_rows import KeptRows
    from bench.metrics import bootstrap

    dice = np.random.default_rng(0)
    keys = np.unique(dice.integers(0, 1 << 16, 12000)).astype(np.uint32) << np.uint32(16)
    kept, before = KeptRows(), peak()
    for index in range(number):
        bins = np.sort(dice.choice(keys, BINS, replace=False))
        counts = dice.integers(0, 99, (BINS, 2)).astype(np.uint32)
        kept[f"{index:06}"] = {"bins": bins, "bin_counts": counts, "bin_bits": np.array(16, np.uint8)}
    rows, of_rows = kept.sealed(), peak() - before
    weights = next(bootstrap.blocks(0, list(rows), DRAWS, None, DRAWS))
    bootstrap.replicate_ranking(weights, rows, [1], [0])
    return {"rows": of_rows, "mb": peak() - before}


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def apart(*values: int) -> Point:
    """Return ``measure`` of height and number, or ``resampled`` of a number, in a process of its own."""
    argv = [sys.executable, __file__, "--point", *map(str, values)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)  # noqa: S603 - ourselves
    if done.returncode:
        raise SystemExit(done.stderr)
    point: Point = json.loads(done.stdout.splitlines()[-1])
    return point


def pixels(height: int, number: int) -> float:
    """Return millions of pixels."""
    return number * 2 * height**2 / 1e6


def draw(larger: dict[int, Point], more: dict[int, Point], rows: dict[int, Point], path: Path) -> None:
    """Write the figure: seconds by pixels, and memory by images, with and without pixels."""
    import matplotlib as mpl
    from matplotlib import pyplot as plt

    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "growth", "font.size": 9}):
        figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
        sizes = [pixels(height, NUMBER) for height in larger]
        numbers = [pixels(SIDE, number) for number in more]
        rate = more[NUMBERS[-1]]["seconds"] / numbers[-1]
        ends = np.array([min(sizes), max(sizes)])
        left.plot(ends, rate * ends, color="0.7", linewidth=1, label="in proportion")
        left.plot(sizes, [point["seconds"] for point in larger.values()], "o-", label=f"{NUMBER} larger images")
        left.plot(numbers, [point["seconds"] for point in more.values()], "s--", label=f"more of {SIDE} x {2 * SIDE}")
        left.set(xscale="log", yscale="log", xlabel="megapixels in all", ylabel="CPU seconds")
        left.legend(frameon=False)
        counted = f"counted, {SIDE} x {2 * SIDE}"
        right.plot(list(more), [point["mb"] for point in more.values()], "s--", color="C1", label=counted)
        right.plot(list(rows), [point["mb"] for point in rows.values()], "^-", color="C2", label="rows resampled")
        right.plot(list(rows), [point["rows"] for point in rows.values()], "v-", color="C3", label="rows alone")
        right.set(xlabel="images", ylabel="MB beyond the start", xlim=(0, None))
        right.set_ylim(0, 2 * max(point["mb"] for point in rows.values()))
        right.legend(frameon=False)
        figure.savefig(path, metadata={"Date": None})
        plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--point", nargs="+", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.point:
        print(json.dumps(measure(*options.point) if len(options.point) > 1 else resampled(*options.point)))
        return
    larger = {height: apart(height, NUMBER) for height in HEIGHTS}
    more = {number: apart(SIDE, number) for number in NUMBERS}
    rows = {number: apart(number) for number in ROWS}
    lines = ["| images | of | megapixels | CPU s | CPU ms per megapixel | MB beyond the start |"]
    lines.append("| ---: | :--- | ---: | ---: | ---: | ---: |")
    points = [(height, NUMBER, point) for height, point in larger.items()]
    points += [(SIDE, number, point) for number, point in more.items()]
    for height, number, point in points:
        millions = pixels(height, number)
        lines.append(
            f"| {number} | {height} x {2 * height} | {millions:.0f} | {point['seconds']:.2f} |"
            f" {1000 * point['seconds'] / millions:.1f} | {point['mb']:.0f} |"
        )
    text = [
        f"Written by `benchmarks/growth.py` on {datetime.date.today()}: entropy of 19 classes from quarter-size logits,"
        " counted by `bench.Metric` in 24 bits, one thread, each row a process of its own. Memory includes intervals"
        f" from {RESAMPLES} resamples, time does not.",
        "",
        machine("torch", "numba", "numpy"),
        "",
        *lines,
        "",
        "What a row has beside its pixels is the start of a metric, which small images show. Beyond 32 MB, as a map of"
        " 2048 x 4096 has, glibc takes fresh pages of memory for each array (mallopt(3)); with"
        " `MALLOC_MMAP_THRESHOLD_=2000000000 MALLOC_TRIM_THRESHOLD_=8000000000` such maps cost as much per pixel as"
        " smaller ones, and more memory. The bins that the bootstrap resamples, some 0.1 MB per image, lie in a file"
        " beyond 16 MB. What it computes with is bounded, too, and reached after some hundred images: 8 KB of weights"
        " for each image, 32 MB at most, and counts of 8 to 64 MB at a time.",
    ]
    text += ["", f"Rows of {BINS} bins, without the images that left them, and {DRAWS} resamples of them:", ""]
    text += ["| images | MB of rows | MB with resamples |", "| ---: | ---: | ---: |"]
    text += [f"| {number} | {point['rows']:.0f} | {point['mb']:.0f} |" for number, point in rows.items()]
    if options.out:
        draw(larger, more, rows, options.out.with_name(FIGURE))
        text += ["", f"![CPU seconds by megapixels, and memory by images]({FIGURE})"]
    publish("Growth", "\n".join(text), options.out)


if __name__ == "__main__":
    main()
