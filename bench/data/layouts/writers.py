"""Data sets on disk, as their publishers lay them out: so that readers can be tried without a download."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from bench.contract.dataset import Dataset
from bench.core.errors import CannotWrite, UnknownName, UserError
from bench.core.files import cannot_write
from bench.data.layouts import bravo, coco, fishyscapes, hf, lost_and_found, repacked, smiyc, trees
from bench.data.layouts.atomic_writer import Progress, drawn, save_png, whole
from bench.datasets.cityscapes import LABEL_IDS

Writer = Callable[..., None]  # of a data set, a folder and progress

UNLABELLED = 0  # the label id of what is none of the 34 other things, cityscapesScripts labels.py


@dataclass(frozen=True)
class Layout:
    """The writer of one family's layout on disk."""

    write: Writer
    split: Literal["train", "val", "anomaly"] = "anomaly"  # the scenes of toytown that it holds


def find(name: str) -> Layout:
    """Return the layout of that name."""
    if name not in LAYOUTS:
        raise UnknownName("layout", name, LAYOUTS, "--layout")
    return LAYOUTS[name]


def write(layout: str, dataset: Dataset, out: Path, *, progress: Progress | None = None) -> None:
    """Write a whole data set into ``out``, the folder of that family. What an interrupted call has written is removed.

    Every layout but that of Cityscapes may be written beside others of its family, but never over what is there.
    """
    chosen = find(layout)
    if chosen.split == "anomaly" and "anomaly" not in dataset.annotations:
        raise UserError(f"{dataset.name}: the layout {layout} holds anomalies; choose split anomaly")
    chosen.write(dataset, out, progress=progress)


def write_cityscapes(dataset: Dataset, out: Path, *, progress: Progress | None = None) -> None:
    """Write ``leftImg8bit/`` and ``gtFine/`` with labelIds and labelTrainIds; 255 becomes the label id "unlabeled".

    The city is the data set's name, the sequence numbers its groups, and the frame is the place among its ids. Layout:
    mcordts/cityscapesScripts, README.md.
    """
    if "labels" not in dataset.annotations or "anomaly" in dataset.annotations:
        raise UserError(
            f"{dataset.name}: the layout of Cityscapes holds labels and no anomalies; choose split train or val"
        )
    split = getattr(dataset, "split", "val")
    city = dataset.name.replace("_", "-")
    to_label_ids = np.full(256, UNLABELLED, np.uint8)
    to_label_ids[: len(LABEL_IDS)] = LABEL_IDS
    sequences: dict[str, int] = {}
    _refuse_unless_empty(out)
    with whole(out, "leftImg8bit", "gtFine"):
        for index, sample in drawn(dataset, progress):
            if sample.labels is None:
                raise UserError(f"{dataset.name}: {sample.id} has no labels")
            sequence = sequences.setdefault(sample.group or sample.id, len(sequences))
            stem = f"{city}_{sequence:06}_{index:06}"
            save_png(out / "leftImg8bit" / split / city / f"{stem}_leftImg8bit.png", sample.image())
            labels = out / "gtFine" / split / city
            save_png(labels / f"{stem}_gtFine_labelIds.png", to_label_ids[sample.labels])
            save_png(labels / f"{stem}_gtFine_labelTrainIds.png", sample.labels)


LAYOUTS: Mapping[str, Layout] = {
    "cityscapes": Layout(write_cityscapes, "val"),
    "fishyscapes": Layout(fishyscapes.write_lost_and_found),
    "fishyscapes_fishy_laf": Layout(fishyscapes.write_fishy_laf),
    "fishyscapes_static": Layout(fishyscapes.write_static),
    "fishyscapes_renamed": Layout(fishyscapes.write_renamed),
    "fishyscapes_original_labels": Layout(fishyscapes.write_original_labels),
    "fishyscapes_side_by_side": Layout(fishyscapes.write_side_by_side),
    "smiyc_anomaly": Layout(smiyc.write_anomaly),
    "smiyc_obstacle": Layout(smiyc.write_obstacle),
    "smiyc_renamed": Layout(smiyc.write_renamed),
    "road_anomaly": Layout(repacked.write_road_anomaly),
    "road_anomaly_original_labels": Layout(repacked.write_road_anomaly_original_labels),
    "road_obstacles": Layout(repacked.write_road_obstacles),
    "ade_ood": Layout(repacked.write_ade_ood),
    "issu": Layout(repacked.write_issu),
    "poc": Layout(fishyscapes.write_poc),
    "hf": Layout(hf.write),
    "synboost": Layout(repacked.write_synboost),
    "lost_and_found": Layout(lost_and_found.write),
    "oodis": Layout(lost_and_found.write_oodis),
    "bravo": Layout(bravo.write),
    "coco": Layout(coco.write),
    "coco_outliers": Layout(coco.write_outliers, "train"),
    "validation_dataset": Layout(repacked.write_validation_dataset),
    **{
        name: Layout(partial(trees.write, tree), "anomaly" if name in trees.WITH_ANOMALIES else "val")
        for name, tree in trees.TREES.items()
    },
}


def _refuse_unless_empty(out: Path) -> None:
    try:
        if out.exists() and any(out.iterdir()):
            raise CannotWrite(f"{out} is not empty; name a new folder, or remove what is there")
    except OSError as error:
        raise cannot_write(out, error) from error
