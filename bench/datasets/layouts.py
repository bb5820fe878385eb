"""Data sets on disk, as their publishers lay them out: so that readers can be tried without a download."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.api import Dataset
from bench.datasets.cityscapes import LABEL_IDS
from bench.errors import CannotWrite, UnknownName, UserError
from bench.files import cannot_write, writing

Progress = Callable[[int, int], None]  # frames written, frames in all
Writer = Callable[..., None]

UNLABELLED = 0  # the label id of what is none of the 34 other things, cityscapesScripts labels.py


def write(layout: str, dataset: Dataset, out: Path, *, progress: Progress | None = None) -> None:
    """Write a whole data set into an empty or new folder. What an interrupted call has written is removed."""
    if layout not in LAYOUTS:
        raise UnknownName("layout", layout, LAYOUTS, "--layout")
    LAYOUTS[layout](dataset, out, progress=progress)


def write_cityscapes(dataset: Dataset, out: Path, *, progress: Progress | None = None) -> None:
    """Write ``leftImg8bit/`` and ``gtFine/`` with labelIds and labelTrainIds; 255 becomes the label id "unlabeled".

    The city is the data set's name, the sequence numbers its groups, and the frame is the place among its ids. Layout:
    mcordts/cityscapesScripts, README.md.
    """
    if "labels" not in dataset.gives or "anomaly" in dataset.gives:
        raise UserError(
            f"{dataset.name}: the layout of Cityscapes holds labels and no anomalies; choose split train or val"
        )
    split = getattr(dataset, "split", "val")
    city = dataset.name.replace("_", "-")
    to_label_ids = np.full(256, UNLABELLED, np.uint8)
    to_label_ids[: len(LABEL_IDS)] = LABEL_IDS
    sequences: dict[str, int] = {}
    new = not out.exists()
    _refuse_unless_empty(out)
    try:
        for index in range(dataset.count):
            sample = dataset.load(index)
            if sample.labels is None:
                raise UserError(f"{dataset.name}: {sample.id} has no labels")
            sequence = sequences.setdefault(sample.group or sample.id, len(sequences))
            stem = f"{city}_{sequence:06}_{index:06}"
            _save(out / "leftImg8bit" / split / city / f"{stem}_leftImg8bit.png", sample.image())
            labels = out / "gtFine" / split / city
            _save(labels / f"{stem}_gtFine_labelIds.png", to_label_ids[sample.labels])
            _save(labels / f"{stem}_gtFine_labelTrainIds.png", sample.labels)
            if progress:
                progress(index + 1, dataset.count)
    except (
        BaseException
    ):  # also Ctrl-C: half a data set is worse than none, and would be in the way of the next attempt
        for folder in (out,) if new else (out / "leftImg8bit", out / "gtFine"):
            shutil.rmtree(folder, ignore_errors=True)
        raise


LAYOUTS: Mapping[str, Writer] = {"cityscapes": write_cityscapes}


def _refuse_unless_empty(out: Path) -> None:
    try:
        if out.exists() and any(out.iterdir()):
            raise CannotWrite(f"{out} is not empty; name a new folder, or remove what is there")
    except OSError as error:
        raise cannot_write(out, error) from error


def _save(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Write a PNG of uint8 [H, W] or [H, W, 3]."""
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "png")
    with writing(path) as file:
        file.write(encoded.getvalue())
