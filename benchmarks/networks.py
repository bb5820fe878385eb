"""What six methods and two protocols cost beside the forward pass, for the networks that ship as entries.

    python benchmarks/networks.py [--out docs/benchmarks.md] [--networks NAME ...] [--size 1024 2048] [--images 3]
        [--device auto|cpu|cuda] [--dtype float32|bfloat16|float16] [--tf32]

Weights are random: time depends on the architecture alone. Images are synthetic. Each row is a process of its own:
``forward`` calls the network on the views of every image and waits for the device; the others run a whole shard as
``bench run`` does, from decoded images to counts. Six methods are MSP, MaxLogit, energy, entropy, SML with given
statistics and MC dropout with 32 passes; the five leave out the last. Without a GPU the size is 512 x 1024, one thread.
"""

from __future__ import annotations

import argparse
import datetime
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from page import machine, publish

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

NETWORKS = ("deeplabv3plus_r101_cityscapes", "segformer_b2_cityscapes", "segformer_b5_cityscapes")
FIVE: list[Any] = ["msp", "maxlogit", "energy", "entropy", {"sml": {"statistics": "segformer_b2"}}]
WORKS = {"forward": None, "five methods": FIVE, "six methods": [*FIVE, {"mc_dropout": {"rate": 0.5}}]}


def random_weights(name: str, folder: Path) -> Path:
    """Save the network as its config initialises it, in the layout of the published files."""
    import torch

    from bench.models import mmseg_network
    from bench.suite import registry

    path = folder / f"{name}.pth"
    if not path.is_file():
        torch.manual_seed(0)
        config = mmseg_network.config_file(registry.plugin("model", name, where="").config_name, name)
        module = mmseg_network.build(mmseg_network.read_config(config, name), config.name, name)
        torch.save({"state_dict": module.state_dict(), "meta": {}}, path)
    return path


def work(given: argparse.Namespace, name: str, what: str, folder: Path) -> dict[str, Any]:
    """Seconds per image, on the clock and of the processor, after one image that is not counted."""
    import torch
    import yaml

    from bench.models import inference, numerics
    from bench.run.messages import CellTask, Task
    from bench.run.passes import execute
    from bench.run.worker import Worker
    from bench.suite import expansion

    height, width = given.size
    model: dict[str, Any] = {"checkpoint": str(random_weights(name, folder))}
    if (height, width) == (512, 1024) and name.startswith("segformer"):
        model["inference"] = {"window": [512, 512], "stride": [384, 384]}  # three windows, as at full size
    toytown = {"split": "anomaly", "images": given.images + 1, "height": height, "width": width}
    text = {
        "protocols": ["misclassification", "anomaly"],
        "models": [{name: model}],
        "datasets": [{"toytown": toytown}],
        "methods": WORKS[what] or ["msp"],
        "numerics": {"device": given.device, "dtype": given.dtype, "tf32": given.tf32},
    }
    path = folder / f"{name}-{what.replace(' ', '-')}.yaml"
    path.write_text(yaml.safe_dump(text))
    plan = expansion.load(path)
    how = numerics.resolve(plan.numerics)
    numerics.apply(how)
    cells = [CellTask(cell.key, cell.protocol, cell.method, None, cell.budget, False, "", None) for cell in plan.cells]
    first = plan.cells[0]
    worker = Worker()
    segmentor = worker.network(first.model, how)
    wait = torch.cuda.synchronize if how.device == "cuda" else lambda: None
    spent, began = 0.0, 0.0
    if what == "forward":
        samples = list(worker.loader(first.dataset, 0, images=True).samples(range(given.images + 1)))
        for index, sample in enumerate(samples):
            if index == 1:
                wait()
                spent, began = time.process_time(), time.perf_counter()
            with torch.no_grad():
                for view in inference.views(sample, segmentor.model.inference, how.device):
                    with inference.precision(how):
                        segmentor.predict([view])
        wait()
    else:
        for start, stop in ((0, 1), (1, given.images + 1)):
            if start == 1:
                spent, began = time.process_time(), time.perf_counter()
            task = Task(folder, first.model, first.dataset, tuple(cells), start, stop, how, 0, 1, ahead=(1, 2))
            execute(task, worker)
        worker.close()
    return {
        "wall": (time.perf_counter() - began) / given.images,
        "cpu": (time.process_time() - spent) / given.images,
        "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "device": how.device_name,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=NETWORKS)
    parser.add_argument("--size", nargs=2, type=int)
    parser.add_argument("--images", type=int, default=3)
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16", "float16"))
    parser.add_argument("--tf32", action="store_true")
    parser.add_argument("--only", nargs=3, help=argparse.SUPPRESS)  # network, work, folder: what a child does
    given = parser.parse_args()
    import torch

    if given.device == "auto":
        given.device = "cuda" if torch.cuda.is_available() else "cpu"
    given.size = given.size or ((1024, 2048) if given.device == "cuda" else (512, 1024))
    if given.only:
        print(json.dumps(work(given, given.only[0], given.only[1], Path(given.only[2]))))
        return
    rows, device = [], "cpu"
    with tempfile.TemporaryDirectory() as folder:
        for name in given.networks:
            forward = None
            for what in WORKS:
                command = [sys.executable, __file__, *sys.argv[1:], "--only", name, what, folder]
                done = subprocess.run(command, capture_output=True, text=True)  # noqa: S603 - this file
                if done.returncode:
                    raise SystemExit(done.stderr[-2000:])
                found = json.loads(done.stdout.splitlines()[-1])
                device = found["device"]
                forward = forward or found
                cost = f"{found['wall']:.3f} | {1 / found['wall']:.2f} | {found['cpu']:.2f}"
                ratios = f"{found['wall'] / forward['wall']:.2f} | {found['cpu'] / forward['cpu']:.2f}"
                rows.append(f"| {name} | {what} | {cost} | {ratios} | {found['mb']:.0f} |")
    height, width = given.size
    gpu = [] if device != "cpu" else ["", "On a GPU: not measured."]
    text = [
        f"Written by `benchmarks/networks.py` on {datetime.date.today()}: {height} x {width}, {given.images} images"
        f" after one that is not counted, {given.dtype}{', TF32' if given.tf32 else ''}, {device}.",
        "",
        machine("torch", "onedl-mmsegmentation"),
        "",
        "| network | work | s per image | images/s | CPU s | x forward | x forward (CPU) | peak MB |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        *rows,
        *gpu,
        "",
    ]
    publish(f"Networks at {height} x {width}", "\n".join(text), given.out)


if __name__ == "__main__":
    main()
