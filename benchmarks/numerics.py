"""What each choice of ``numerics`` costs and changes.

    python benchmarks/numerics.py [--images 24] [--out docs/benchmarks.md]

ToyNet, three methods, two protocols, one suite for each choice, all in this process. The largest difference of a figure
is taken over all cells and figures that are rates; ``float32`` on the same machine is what it is a difference to.
"""

from __future__ import annotations

import argparse
import datetime
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml
from page import machine, publish

sys.path[0] = str(Path(__file__).resolve().parents[1])  # torch.compile would import the profile.py beside this file

HEADING = "Numerics"
CHOICES: dict[str, dict[str, Any]] = {
    "float32": {},
    "batch: 4": {"batch": 4},
    "channels_last: true": {"channels_last": True},
    "compile: true": {"compile": True},
    "dtype: bfloat16": {"dtype": "bfloat16"},
    "scoring: torch": {"scoring": "torch"},
}
ON_GPU: dict[str, dict[str, Any]] = {
    "tf32: true": {"tf32": True},
    "dtype: float16": {"dtype": "float16"},
    "graphs: true": {"graphs": True},
}


def figures(choice: dict[str, Any], images: int, device: str, folder: Path) -> tuple[float, dict[str, float]]:
    """Return CPU milliseconds of the network per image, and every rate by cell and name."""
    from bench.api import Value
    from bench.run import engine, progress
    from bench.suite import expansion, registry

    path = folder / "numerics.yaml"
    suite = {
        "protocols": ["misclassification", "anomaly"],
        "models": ["toynet"],
        "datasets": [{"toytown": {"split": "anomaly", "images": images}}],
        "methods": ["msp", "maxlogit", "entropy"],
        "bootstrap": 0,
        "numerics": {"device": device} | choice,
    }
    path.write_text(yaml.safe_dump(suite))
    with progress.shown(False) as reporter:
        results = list(engine.run(expansion.load(path), folder / "run", engine.Options(workers=0), reporter))
    rates = {}
    for result in results:
        metrics = registry.plugin("protocol", result.cell.protocol.name, where=HEADING).metrics
        for name, figure in result.metrics.items():
            if isinstance(figure, Value) and name in metrics and metrics[name].in_percent:
                rates[f"{result.labels} {name}"] = figure.value
    return 1000 * results[0].seconds["predict"] / images, rates


def main() -> None:
    import torch

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    choices = CHOICES | (ON_GPU if device == "cuda" else {})
    lines = ["| numerics | network, CPU ms per image | largest difference of a rate |", "| :--- | ---: | ---: |"]
    exact: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        figures({}, 2, device, Path(folder))  # what is done once
    for name, choice in choices.items():
        with tempfile.TemporaryDirectory() as folder:
            cost, rates = figures(choice, given.images, device, Path(folder))
        exact = exact or rates
        off = max(abs(rates[key] - exact[key]) for key in exact)
        lines.append(f"| `{name}` | {cost:.1f} | {off:.1e} |")
    lacking = ", ".join(f"`{name}`" for name in ON_GPU)
    unmeasured = [] if device == "cuda" else ["", f"On a GPU, and there {lacking}: not measured."]
    text = [
        f"Written by `benchmarks/numerics.py` on {datetime.date.today()}: ToyNet on {given.images} scenes of Toytown,"
        f" three methods under two protocols, {device}, one thread. What `compile` takes once is in its row.",
        "",
        machine("torch", "numba", "numpy"),
        "",
        *lines,
        *unmeasured,
    ]
    publish(HEADING, "\n".join(text), given.out)


if __name__ == "__main__":
    main()
