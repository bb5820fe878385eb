"""Where a reader's time goes for one frame of a corruption grid, and what handing it over takes.

    python benchmarks/reading.py IMAGE.png LABELIDS.png [--out docs/benchmarks.md]

CPU time, the least of the repeats, of a frame in files of Cityscapes. Handed over is a blank frame of that size, by a
process of a pool: CPU time of both processes for each, without what the same takes for one of a pixel.
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
from typing import Any

import numpy as np
from page import machine, publish

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

SEVERITY = 3


def least(work: Callable[[], Any], repeats: int) -> float:
    """Return milliseconds of CPU time of this thread."""
    taken = []
    for _ in range(repeats):
        before = time.thread_time()
        work()
        taken.append(time.thread_time() - before)
    return min(taken) * 1e3


def corrupting(image: Any, repeats: int) -> list[float]:
    """Return milliseconds of each corruption of the source system that can be had here."""
    from bench import corruptions
    from bench.core.errors import MissingPackage

    taken = []
    for name in corruptions.SOURCE_15:
        try:
            corruptions.corrupt(image, name, SEVERITY, np.random.RandomState(0))  # compiled, its pictures at hand
        except MissingPackage as error:
            print(error, file=sys.stderr)
            continue
        taken.append(
            least(lambda name=name: corruptions.corrupt(image, name, SEVERITY, np.random.RandomState(0)), repeats)
        )
    return taken


def blank(shape: tuple[int, int], folder: Path | None) -> Any:
    """Return a frame, as a process of a pool hands it over."""
    from bench.core import parcels

    return parcels.pack((np.ones((*shape, 3), np.uint8), np.ones(shape, np.uint8)), folder)


def handed_over(shape: tuple[int, int], folder: Path | None, frames: int) -> float:
    """Return milliseconds of CPU time of both processes for a frame that is looked at in the end."""
    from bench.core import child_processes

    def spent() -> float:
        own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
        return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime

    def run(shape: tuple[int, int], count: int) -> float:
        before = spent()
        with child_processes.pool(1) as pool:
            for _ in range(count):
                image, labels = pool.submit(blank, shape, folder).result().open()
                image.sum(dtype=np.uint64), labels.sum(dtype=np.uint64)
        return spent() - before

    return (run(shape, frames) - run((1, 1), frames)) / frames * 1e3


def main() -> None:
    from bench.core import images, label_values, parcels
    from bench.core.scratch_folder import ScratchFolder
    from bench.datasets import frames
    from bench.datasets.kept_masks import KeptMasks

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", type=Path)
    parser.add_argument("labels", type=Path)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--frames", type=int, default=100, help="to hand over")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    encoding = frames.Encoding("labelIds", label_values.label_ids(), "0 to 33 or 255")
    image, stored = images.read_rgb(given.image), images.read_labels(given.labels)
    masks = KeptMasks()

    def kept() -> Any:
        return masks.read(0, lambda: {"labels": frames.read_mask(given.labels, encoding, like=given.image)})

    kept(), kept()
    corrupted = corrupting(image, max(1, given.repeats // 5))
    rows = {
        "decoding the image": least(lambda: images.read_rgb(given.image), given.repeats),
        "decoding its mask": least(lambda: images.read_labels(given.labels, like=given.image), given.repeats),
        "giving values their meaning": least(lambda: frames.meant(stored, encoding, ""), given.repeats),
        "the same mask from the third time on": least(kept, given.repeats),
        f"corrupting, mean of {len(corrupted)} at severity {SEVERITY}": statistics.fmean(corrupted),
        "handing over, through a pipe": handed_over(image.shape[:2], None, given.frames),
    }
    if memory := parcels.folder_in_memory():
        folder = ScratchFolder("bench-reading-", memory)
        rows["handing over, through memory"] = handed_over(image.shape[:2], folder.path, given.frames)
        folder.remove()
    height, width = image.shape[:2]
    text = [
        f"Written by `benchmarks/reading.py` on {datetime.date.today()}: a frame of {height} x {width}, one thread, the"
        f" least of {given.repeats}; handed over is the mean of {given.frames}, both processes.",
        "",
        machine("numpy", "pillow", "numba"),
        "",
        "| work | CPU ms |",
        "| :--- | ---: |",
        *(f"| {work} | {taken:.1f} |" for work, taken in rows.items()),
    ]
    publish("Reading a frame", "\n".join(text), given.out)


if __name__ == "__main__":
    main()
