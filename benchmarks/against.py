"""Cost of the host's dearest steps here and in another clone of this repository, in turn: two sides of a change.

    python benchmarks/against.py CLONE [--repeats 5] [--images 10] [--demo] [--out docs/benchmarks.md]

Each measurement is a process of its own, of one side after the other; CPU time, the least of the repeats, since other
work on a machine only adds to it. The work is what ``metrics.py`` and ``scoring.py`` of each clone do. ``--demo`` adds
``bench run demo`` with an empty cache of kernels, once on either side, all processes.
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
from pathlib import Path

from metrics import draw
from page import machine, publish

HERE = Path(__file__).resolve().parents[1]
SCORING = """
import json, time
import torch
import scoring
torch.set_num_threads(1)
logits = {"logits": scoring.drawn(256, 512, 0)}
scoring.ours(logits, fused=True)
start = time.process_time()
for _ in range(3):
    scoring.ours(logits, fused=True)
print(json.dumps({"cpu": (time.process_time() - start) / 3}))
"""
STEPS = {  # by the name of an evaluator of metrics.py, None for the scores
    "exact counting and figures of a map": "ours, exact",
    "certified counting and figures of a map": "ours, certified (24 bits)",
    "components of a map": "ours, components",
    "four scores and the class map of a frame": None,
}


def seconds(clone: Path, evaluator: str | None, maps: Path, images: int) -> float:
    """Return CPU seconds of one step in one clone, per map or frame."""
    command = [sys.executable, "-c", SCORING]
    if evaluator is not None:
        command = [sys.executable, str(clone / "benchmarks" / "metrics.py"), "--one", evaluator, "--folder", str(maps)]
        command += ["--images", str(images), "--scores", "q", "--truths", "anomaly"]
    places = os.pathsep.join([str(clone), str(clone / "benchmarks")])
    done = subprocess.run(  # noqa: S603 - our own programs
        command, cwd=clone, env=os.environ | {"PYTHONPATH": places}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    spent: float = json.loads(done.stdout.splitlines()[-1])["cpu"]
    return spent / (images if evaluator is not None else 1)


def demo(clone: Path) -> float:
    """Return CPU seconds of the demo in one clone."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as folder:
        own = {"PYTHONPATH": str(clone), "NUMBA_CACHE_DIR": f"{folder}/kernels", "BENCH_HOME": f"{folder}/home"}
        subprocess.run(  # noqa: S603 - our own program
            [sys.executable, "-m", "bench", "run", "demo", "--out", f"{folder}/run"],
            cwd=clone,
            env=os.environ | own,
            check=True,
            stdout=subprocess.DEVNULL,
        )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clone", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--images", type=int, default=10)
    parser.add_argument("--demo", action="store_true")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    clone: Path = options.clone.resolve()
    lines = ["| step | before | after | before / after |", "| :--- | ---: | ---: | ---: |"]
    with tempfile.TemporaryDirectory() as folder:
        maps = Path(folder)
        draw(maps, options.images)
        for step, evaluator in STEPS.items():
            pairs = [
                [seconds(side, evaluator, maps, options.images) for side in (clone, HERE)]
                for _ in range(options.repeats)
            ]
            before, after = (1e3 * min(side) for side in zip(*pairs, strict=True))
            lines.append(f"| {step} | {before:.1f} ms | {after:.1f} ms | {before / after:.1f} |")
    if options.demo:
        before, after = demo(clone), demo(HERE)
        lines.append(f"| `bench run demo` | {before:.0f} s | {after:.0f} s | {before / after:.1f} |")
    commits = [
        subprocess.run(  # noqa: S603
            ["git", "-C", str(side), "rev-parse", "--short", "HEAD"],  # noqa: S607
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for side in (clone, HERE)
    ]
    text = [
        f"Written by `benchmarks/against.py` on {datetime.date.today()}: commit {commits[0]} and commit {commits[1]} in"
        f" turn, CPU time, the least of {options.repeats}; {options.images} maps of 1024 x 2048 in one process.",
        "",
        machine("torch", "numba", "numpy"),
        "",
        *lines,
    ]
    publish("Before and after", "\n".join(text), options.out)


if __name__ == "__main__":
    main()
