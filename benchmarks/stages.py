"""Where the CPU time of shipped suites goes, by stage: ``python benchmarks/stages.py [--out docs/benchmarks.md]``.

Each suite runs in a process of its own with an empty cache of kernels, as after an installation.
``--write`` also keeps what ``bench run`` says of these suites before it begins, ``bench/cli/measured.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from page import machine, publish

from bench.cli.ahead import MEASURED
from bench.results.cpu_profile import FILE, STAGES, by_stage
from bench.suite import expansion

ROOT = Path(__file__).parents[1]
SUITES = {"demo": (), "toytown_c": ("--limit", "4")}  # with options; the second stands in for a real grid


def profiled(suite: str, options: tuple[str, ...], folder: Path) -> dict[str, float]:
    """Return CPU seconds of all processes by stage."""
    command = [sys.executable, "-m", "bench", "run", suite, *options, "--profile", "--out", str(folder / "run")]
    environment = os.environ | {"NUMBA_CACHE_DIR": str(folder / "kernels"), "BENCH_HOME": str(folder / "home")}
    subprocess.run(  # noqa: S603 - our own program
        command, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL
    )
    profile = json.loads((folder / "run" / FILE).read_text(encoding="utf-8"))
    return by_stage(profile["stages"])


def size_of(suite: str) -> dict[str, int]:
    """Return how many cells a suite has, and how many images go through a network for them."""
    cells = expansion.load(expansion.locate(suite)).cells
    pairs = {(cell.model, cell.dataset) for cell in cells}
    return {"cells": len(cells), "images": sum(dataset.build().count for _, dataset in pairs)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="page of benchmarks to write the section into")
    parser.add_argument("--write", action="store_true", help="also write bench/cli/measured.json")
    options = parser.parse_args()
    seconds: dict[str, dict[str, float]] = {}
    for suite, more in SUITES.items():
        with tempfile.TemporaryDirectory() as folder:
            seconds[suite] = profiled(suite, more, Path(folder))
    names = [" ".join(("bench run", suite, *more)) for suite, more in SUITES.items()]
    lines = [f"| CPU seconds | {' | '.join(names)} |", f"| :--- |{' ---: |' * len(names)}"]
    for stage, words in STAGES.items():
        if any(stage in of for of in seconds.values()):
            lines.append(f"| {words} | {' | '.join(f'{of.get(stage, 0.0):.1f}' for of in seconds.values())} |")
    totals = {suite: sum(of.values()) for suite, of in seconds.items()}
    lines.append(f"| **all of it** | {' | '.join(f'**{total:.1f}**' for total in totals.values())} |")
    body = "Written by `benchmarks/stages.py`: all processes, user and system time, kernels compiled anew.\n\n"
    publish("Where CPU time goes", body + machine("torch", "numba", "numpy") + "\n\n" + "\n".join(lines), options.out)
    if options.write:
        measured = {"demo": size_of("demo") | {"cpu_seconds": round(totals["demo"], 1)}}
        text = json.dumps({"suites": measured}, indent=1) + "\n"
        (ROOT / "bench" / "cli" / MEASURED).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
