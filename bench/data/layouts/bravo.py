"""Synthetic scenes in the layout of BRAVO: images with labels and masks of invalid pixels, the nine subsets in turn."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np

from bench.contract.dataset import Dataset, Sample
from bench.core.errors import UserError
from bench.core.values import IGNORE, Labels
from bench.data.layouts.atomic_writer import Progress, anomaly_of, drawn, save_jpeg, save_png, whole
from bench.datasets.bravo import SPLITS, Subset, split_of

SUBSETS: tuple[Subset, ...] = get_args(Subset)
ROAD = 0  # train id: the label of a pixel below an unknown object
INVALID = 255  # any value but 0


def write(dataset: Dataset, out: Path, *, progress: Progress | None = None) -> None:
    """Write ``bravo_<split>/``: each scene into the next of the nine subsets.

    Images of SMIYC are JPEG, and so another image than the scene by a little.
    """
    with whole(out, *(f"bravo_{split}" for split in SPLITS)):
        for index, sample in drawn(dataset, progress):
            subset = SUBSETS[index % len(SUBSETS)]
            names = SPLITS[split_of(subset)]
            base = str(out / f"bravo_{split_of(subset)}" / _base(subset, index))
            save = save_jpeg if names.image == ".jpg" else save_png
            save(Path(base + names.image), sample.image())
            save_png(Path(base + names.labels), _labels(sample))
            save_png(Path(base + names.invalid), np.where(anomaly_of(sample) == 1, INVALID, 0).astype(np.uint8))


def _base(subset: Subset, index: int) -> str:
    """Return the name of a scene within its split, as the official ones are made."""
    if subset == "SMIYC":
        return f"RoadAnomaly21/images/validation{index:04}"
    if subset == "synobjs":
        return f"polar bear/{index}"
    if condition := subset.removeprefix("ACDC") if subset.startswith("ACDC") else "":
        return f"{condition}/test/GOPR0001/GOPR0001_frame_{index:06}"
    return f"toytown/toytown_000000_{index:06}"


def _labels(sample: Sample) -> Labels:
    """uint8 [H, W]: train ids; below an object a class, because a pixel without label counts nowhere."""
    if sample.labels is None:
        raise UserError(f"{sample.id} has no labels; choose scenes with labels and anomalies")
    labels = sample.labels.copy()
    labels[(labels == IGNORE) & (anomaly_of(sample) == 1)] = ROAD
    return labels
