"""Cost of each method for a frame of 1024 x 2048: its peak memory beside the network's outputs, and CPU time.

    python benchmarks/detectors.py [--out docs/methods.md]

One thread, a fork for each method. Outputs are drawn: 19 logits, those of five members, 64 features, heads for
outliers and a hundred queries, at 256 x 512. Memory is the highest resident size while the method scores less that
before it; what all methods share, such as logits at label size, counts with each that asks for it. Needs Linux, which
can forget the highest size.
"""

from __future__ import annotations

import argparse
import datetime
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from page import machine, publish
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.api import Context, Fitting, Method, Prediction, Sample
from bench.fit.flow.detector import FlowDetector
from bench.ops import queries
from bench.suite import registry

SIZE, STRIDE = (1024, 2048), 4
CLASSES, CHANNELS, QUERIES, MEMBERS = 19, 64, 100, 5


def drawn(size: tuple[int, int], seed: int = 0) -> Prediction:
    """Return a prediction of a network with all outputs; a last layer reads the features."""
    generator = torch.Generator().manual_seed(seed)
    rows, cols = size[0] // STRIDE, size[1] // STRIDE
    weight = torch.randn(CLASSES, CHANNELS, generator=torch.Generator().manual_seed(1)) / 4
    features = torch.randn(CHANNELS, rows, cols, generator=generator).relu_()

    def classify(maps: Tensor) -> Tensor:
        return torch.einsum("cd,dhw->chw", weight, maps)

    def forward(images: Tensor) -> Tensor:
        return torch.einsum("cd,ndhw->nchw", weight[:, :3], torch.nn.functional.avg_pool2d(images, STRIDE))

    outputs = {
        "features": features,
        "members": torch.randn(MEMBERS, CLASSES, rows, cols, generator=generator),
        "logits": classify(features),
        "query_logits": 4 * torch.randn(QUERIES, CLASSES + 1, generator=generator),
        "query_masks": 4 * torch.randn(QUERIES, rows, cols, generator=generator),
        **{name: torch.randn(rows, cols, generator=generator) for name in ("void_logit", "ood_logit", "score")},
        "query_negative": torch.randn(QUERIES, generator=generator),
    }
    outputs["class_scores"] = queries.class_scores(outputs["query_logits"], outputs["query_masks"], size)
    image = torch.zeros(3, *size, dtype=torch.uint8)
    seen = Prediction(outputs, size, image=image, again=lambda _: seen, classify=classify, dropout=0.1, forward=forward)
    seen.context = Context(size, fused=True)
    return seen


def stream() -> Iterator[tuple[Prediction, Sample]]:
    """Yield small labelled images to fit on."""
    for number in range(3):
        seen, draws = drawn((256, 512), number + 1), np.random.default_rng(number)
        anomaly = draws.integers(2, size=seen.size).astype(np.uint8)
        other = draws.integers(CLASSES, size=seen.size, dtype=np.uint8)
        labels = np.where(draws.random(seen.size) < 1 / 4, other, seen.argmax.numpy())  # right ones have no calibration
        yield seen, Sample(f"s{number}", seen.size, lambda: None, labels, anomaly)  # type: ignore[arg-type,return-value]


def prepared(name: str) -> tuple[Method, dict[str, np.ndarray]]:
    """Return a method and its state; of flows, which are trained for hours, the one that ships."""
    method: Method = registry.build("method", name, {}, where="benchmarks")
    if isinstance(method, FlowDetector):
        return replace(method, weights=f"toynet_{name}", **{} if name == "fed_u" else {"pooled": 32}), {}
    fitting = method.fitting
    if not isinstance(fitting, Fitting) or not fitting.must:
        return method, {}
    fitter = method if fitting.trainer is None else registry.build("trainer", fitting.trainer, {}, where="benchmarks")
    return method, dict(fitter.fit(stream(), 0))


def resident(kind: str) -> float:
    """Return MiB of this process: VmRSS now, VmHWM at most since it was forgotten."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(kind)) / 1024


def measured(method: Method, state: dict[str, np.ndarray], seen: Prediction) -> tuple[float, float]:
    """Return MiB and CPU seconds of one method, in a fork of this process, whose memory nobody has used before."""
    reader, writer = os.pipe()
    if not os.fork():
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
        before, begun = resident("VmRSS"), time.process_time()
        method.score(seen, state)
        os.write(writer, f"{resident('VmHWM') - before} {time.process_time() - begun}".encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        memory, seconds = map(float, answer.read().split())
    os.wait()
    return max(memory, 0.0), seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    seen, small = drawn(SIZE), drawn((128, 256))
    lines = ["| method | memory, MiB | CPU, s |", "| :--- | ---: | ---: |"]
    for name in registry.available("method"):
        method, state = prepared(name)
        method.score(small, state)  # what is compiled is compiled, what is imported is here
        memory, seconds = measured(method, state, seen)
        lines.append(f"| `{name}` | {memory:.0f} | {seconds:.2f} |")
        print(lines[-1], file=sys.stderr)
    text = [
        f"Written by `benchmarks/detectors.py` on {datetime.date.today()}: a frame of {SIZE[0]} x {SIZE[1]}, {CLASSES}",
        f"classes, {CHANNELS} features, {MEMBERS} members and {QUERIES} queries",
        f"at {SIZE[0] // STRIDE} x {SIZE[1] // STRIDE}, default",
        "parameters, one thread. Memory is beside the outputs of the network, at its peak.",
        "",
        machine("torch", "numba", "numpy"),
        "",
        *lines,
    ]
    publish("What a frame costs", "\n".join(text), given.out)


if __name__ == "__main__":
    main()
