"""What a GPU makes of a run: forward pass alone, with seven methods under two protocols, and from PNG files to JSON.

    python benchmarks/gpu.py [--out docs/benchmarks.md] [--device auto|cpu|cuda] [--networks NAME ...]
        [--size 1024 2048] [--images 32] [--precisions float32 tf32 bfloat16]

DeepLabV3+ R101 and SegFormer-B2 with random weights: time depends on the architecture alone. Each row is a process of
its own. ``forward`` puts images that are read already through the network and waits for the device. ``scored`` reads,
predicts, scores and counts one shard as ``bench run`` does. ``files`` is ``bench run`` over PNG files in the layout of
Cityscapes, results included: what a further image takes, the difference of two runs divided by that of their images.
At 1024 x 2048 the last is extrapolated to Cityscapes-C, 30,500 images, and compared with 80 hours for the source
system's way of computing that grid. These are an assumption, the round figure that this project set out from: no
publication that we know of says how long it took. They are 9.4 s for each image, through every method's own forward
pass. Everything also runs on a CPU, where no figure means anything for a GPU.
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
import time
from pathlib import Path
from typing import Any

from networks import FIVE, random_weights
from page import machine, publish

HEADING = "On a GPU"
NETWORKS = ("deeplabv3plus_r101_cityscapes", "segformer_b2_cityscapes")
SEVEN: list[Any] = [*FIVE, "gen", {"mc_dropout": {"rate": 0.5}}]
PROTOCOLS = ["misclassification", "miou"]
PRECISIONS: dict[str, dict[str, Any]] = {"float32": {}, "tf32": {"tf32": True}, "bfloat16": {"dtype": "bfloat16"}}
WORKS = ("forward", "scored", "files")
GRID = 30_500  # images of Cityscapes-C: clean, and 15 corruptions at 4 severities
SOURCE_HOURS = 80  # assumed
FULL = (1024, 2048)


def suite_of(given: argparse.Namespace, name: str, precision: str, folder: Path) -> Path:
    """Write the suite of one network, beside its weights and the images."""
    import yaml

    height, _ = given.size
    model: dict[str, Any] = {"checkpoint": str(random_weights(name, folder))}
    if given.size != FULL and name.startswith("segformer"):
        side = min(512, height)
        model["inference"] = {
            "window": [side, side],
            "stride": [3 * side // 4, 3 * side // 4],
        }  # as many as at full size
    suite = {
        "protocols": PROTOCOLS,
        "models": [{name: model}],
        "datasets": [{"cityscapes": {"split": "val", "frames": given.images}}],
        "methods": SEVEN,
        "bootstrap": 0,
        "numerics": {"device": given.device} | PRECISIONS[precision],
    }
    path = folder / f"{name}-{precision}.yaml"
    path.write_text(yaml.safe_dump(suite))
    return path


def work(given: argparse.Namespace, name: str, precision: str, what: str, folder: Path) -> dict[str, Any]:
    """Return seconds of an image, and megabytes at most of the process and of the device."""
    import torch

    from bench.models import numerics
    from bench.suite import expansion

    os.environ["BENCH_DATA"] = str(folder / "data")
    plan = expansion.load(suite_of(given, name, precision, folder))
    how = numerics.resolve(plan.numerics)
    if what == "files":
        seconds = from_files(plan, given.images, folder / f"{name}-{precision}")
    else:
        seconds = of_shard(plan, how, given.images, folder, alone=what == "forward")
    device = torch.cuda.max_memory_allocated() / 2**20 if how.device == "cuda" else 0.0
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, "mb": own, "device_mb": device, "device": how.device_name}


def of_shard(plan: Any, how: Any, images: int, folder: Path, *, alone: bool) -> float:
    """Return seconds of an image of one shard, after two images that are not counted."""
    import torch

    from bench.models import inference
    from bench.run.messages import CellTask, Task
    from bench.run.passes import execute
    from bench.run.worker import Worker

    first, worker = plan.cells[0], Worker()
    network = worker.network(first.model, how)
    wait = torch.cuda.synchronize if how.device == "cuda" else lambda: None
    began = 0.0
    if alone:
        samples = list(worker.loader(first.dataset, 0, images=True).samples(range(images)))
        with torch.no_grad():
            for index, sample in enumerate([*samples[:2], *samples]):
                if index == 2:
                    wait()
                    began = time.perf_counter()
                inference.look(network, sample, how, 0, {})
        wait()
        return (time.perf_counter() - began) / images
    cells = [CellTask(cell.key, cell.protocol, cell.method, None, cell.budget, False, "", None) for cell in plan.cells]
    ids = tuple(first.dataset.build().ids())
    for start, stop in ((0, min(2, images)), (0, images)):
        began = time.perf_counter()
        task = Task(folder, first.model, first.dataset, tuple(cells), start, stop, how, 0, 1, ids=ids[start:stop])
        outcome = execute(task, worker)
        if outcome.failures:
            raise SystemExit(next(iter(outcome.failures.values())).message)
    seconds = (time.perf_counter() - began) / images
    worker.close()
    return seconds


def from_files(plan: Any, images: int, folder: Path) -> float:
    """Return seconds that a further image takes, from its PNG file to the results."""
    from bench.run import engine, progress

    seconds = []
    few = max(1, images // 4)
    for limit in (few, few, images):  # the first compiles
        began = time.perf_counter()
        with progress.shown(False) as reporter:
            options = engine.Options(limit=limit)
            finished = list(engine.run(plan, folder.with_name(f"{folder.name}-{len(seconds)}"), options, reporter))
        seconds.append(time.perf_counter() - began)
        if len(finished) != len(plan.cells):
            raise SystemExit(f"{len(plan.cells) - len(finished)} cells have no figures")
    return max(seconds[2] - seconds[1], 0.0) / (images - few)


def write_images(given: argparse.Namespace, folder: Path) -> None:
    """Draw scenes into PNG files in the layout of Cityscapes."""
    height, width = given.size
    command = [sys.executable, "-m", "bench", "data", "toytown", "--layout", "cityscapes", "--out"]
    command += [
        str(folder / "data" / "cityscapes"),
        "--images",
        str(given.images),
        "--size",
        f"{height}x{width}",
        "--split",
        "val",
    ]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - our own program


def rows_of(given: argparse.Namespace, folder: Path) -> tuple[list[str], str]:
    """Return a line of the table for each network, precision and work, and the name of the device."""
    lines, device = [], "cpu"
    for name in given.networks:
        for precision in given.precisions:
            forward = 0.0
            for what in WORKS:
                command = [sys.executable, __file__, *sys.argv[1:], "--only", name, precision, what, str(folder)]
                done = subprocess.run(command, capture_output=True, text=True)  # noqa: S603 - this file
                if done.returncode:
                    raise SystemExit(done.stderr[-2000:])
                measured = json.loads(done.stdout.splitlines()[-1])
                device, seconds = measured["device"], measured["seconds"]
                forward = forward or seconds
                speed = f"{seconds:.3f} | {1 / max(seconds, 1e-9):.2f} | {seconds / forward:.2f}"
                memory = f"{measured['mb']:.0f} | {measured['device_mb']:.0f}"
                hours = seconds * GRID / 3600
                grid = f"{hours:.1f} h, {SOURCE_HOURS / hours:.1f}x" if what == "files" and given.size == FULL else ""
                lines.append(f"| {name} | {precision} | {what} | {speed} | {memory} | {grid} |")
    return lines, device


def main() -> None:
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=NETWORKS)
    parser.add_argument("--size", nargs=2, type=int)
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--precisions", nargs="+", choices=list(PRECISIONS))
    parser.add_argument("--only", nargs=4, help=argparse.SUPPRESS)  # network, precision, work, folder: of a child
    given = parser.parse_args()
    if given.device == "auto":
        given.device = "cuda" if torch.cuda.is_available() else "cpu"
    given.size = tuple(given.size or (FULL if given.device == "cuda" else (128, 256)))
    usual = PRECISIONS if given.device == "cuda" else ("float32", "bfloat16")  # TF32 is a GPU's
    given.precisions = given.precisions or list(usual)
    if given.only:
        name, precision, what, folder = given.only
        print(json.dumps(work(given, name, precision, what, Path(folder))))
        return
    with tempfile.TemporaryDirectory() as folder:
        write_images(given, Path(folder))
        lines, device = rows_of(given, Path(folder))
    height, width = given.size
    text = [
        f"Written by `benchmarks/gpu.py` on {datetime.date.today()}: {height} x {width}, {given.images} images,"
        f" random weights, {len(SEVEN)} methods under {len(PROTOCOLS)} protocols, on {device}.",
        *(
            ["", "**No GPU was at hand: no figure of one was measured.** The rows show that the script works."]
            if device == "cpu"
            else []
        ),
        "",
        machine("torch", "onedl-mmsegmentation"),
        "",
        "| network | precision | work | s per image | images/s | x forward | MB | MB of the GPU | Cityscapes-C, and"
        f" against {SOURCE_HOURS} h, assumed |",
        "| :--- | :--- | :--- | ---: | ---: | ---: | ---: | ---: | ---: |",
        *lines,
    ]
    publish(HEADING, "\n".join(text), given.out)


if __name__ == "__main__":
    main()
