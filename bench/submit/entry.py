"""What a packaged method does: a folder of images in, a folder of NumPy files out. Runs inside the container."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from bench.api import IGNORE, Sample
from bench.core.errors import BadPlugin, MissingData, UserError
from bench.core.images import read_rgb
from bench.datasets.frames import size
from bench.models import numerics
from bench.models.command import ENDINGS
from bench.run import score_maps
from bench.run.worker import Worker
from bench.suite.expansion import make_ref
from bench.suite.schema import NumericsRule

TOGETHER = 16  # images that a network which wants to see some together is shown
CLASSES = 20  # the board takes train ids below this


def main(package: Path, images: Path, out: Path) -> int:
    """Exit status: 0 done, 2 if the input or the package is not what it must be."""
    try:
        count, seconds = run(package, images, out)
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(f"{count} images, {seconds / max(count, 1):.3f} seconds each\n")
    return 0


def run(package: Path, images: Path, out: Path) -> tuple[int, float]:
    """Write both files for every ``*.png``; how many images there were, and the seconds of all."""
    paths = sorted(images.glob("*.png"))
    if not paths:
        raise MissingData(f"{images} holds no *.png")
    chosen = choice(package)
    worker = Worker()
    began = time.perf_counter()
    for start in range(0, len(paths), TOGETHER):
        for sample, score, labels in score_maps.each(chosen, _samples(paths[start : start + TOGETHER]), worker):
            if score is None or labels is None:
                raise BadPlugin(f"{sample.id}: the network gives no class map, which the board asks for")
            labels = np.where(labels == IGNORE, CLASSES - 1, labels).astype(np.uint8)  # the board's own void
            for name, array in (("score", score.astype(np.float32)), ("labels", labels)):
                with (out / f"{sample.id}_{ENDINGS[name]}.npy").open("wb") as file:
                    np.save(file, array, allow_pickle=False)
    return len(paths), time.perf_counter() - began


def choice(package: Path) -> score_maps.Choice:
    """The network and the method of a package."""
    path = package / "method.json"
    raw = json.loads(path.read_text(encoding="utf-8"))
    refs = [
        make_ref(kind, raw[kind]["name"], raw[kind]["given"] | {"label": raw[kind]["label"]}, path, raw["seed"])
        for kind in ("model", "method")
    ]
    resolved = numerics.resolve(NumericsRule(**raw["numerics"]))
    return score_maps.Choice(refs[0], refs[1], raw["fitted"], resolved, raw["seed"], {})


def _samples(paths: list[Path]) -> Iterator[Sample]:
    for path in paths:
        yield Sample(path.stem, size(path), partial(read_rgb, path))
