"""Synthetic scenes in the layouts of SegmentMeIfYouCan; every fourth frame is a test frame, without a mask."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.contract.dataset import Dataset, Sample
from bench.core.values import IGNORE, Labels
from bench.data.layouts.atomic_writer import Progress, anomaly_of, drawn, save_jpeg, save_png, save_webp, whole

ROAD = 0  # train id
SCENES = ("gravel", "curvy-street", "snowstorm1", "driveway")
COLOURS = np.zeros((256, 3), np.uint8)
COLOURS[[1, IGNORE]] = (255, 102, 0), (96, 96, 96)


def write_anomaly(dataset: Dataset, out: Path, *, progress: Progress | None = None) -> None:
    """Write ``dataset_AnomalyTrack/``: JPEG, every other frame cropped, because sizes are mixed there."""
    home = out / "dataset_AnomalyTrack"
    with whole(out, home.name):
        numbers = count()
        for index, sample in drawn(dataset, progress):
            image, mask = _cropped(sample, index)
            if index % 4 == 3:
                save_jpeg(home / "images" / f"cow{index // 4:04}.jpg", image)
                continue
            name = f"validation{next(numbers):04}"
            save_jpeg(home / "images" / f"{name}.jpg", image)
            _save_mask(home / "labels_masks", name, mask)


def write_obstacle(dataset: Dataset, out: Path, *, progress: Progress | None = None) -> None:
    """Write ``dataset_ObstacleTrack/``: WebP; what is neither road nor anomaly is ignored."""
    home = out / "dataset_ObstacleTrack"
    with whole(out, home.name):
        # The numbers 19 and 21 to 29 belong to frames that the official validation split leaves out.
        numbers = (number for number in count(1) if number != 19 and not 21 <= number <= 29)
        for index, sample in drawn(dataset, progress):
            if index % 4 == 3:
                scene = SCENES[index // 4 % len(SCENES)]
                save_webp(home / "images" / f"{scene}_ball_{index // 4}.webp", sample.image())
                continue
            name = f"validation_{next(numbers)}"
            save_webp(home / "images" / f"{name}.webp", sample.image())
            _save_mask(home / "labels_masks", name, _on_road(sample))


def write_renamed(dataset: Dataset, out: Path, *, progress: Progress | None = None) -> None:
    """Write ``AnomalyTrack/`` and ``ObstacleTrack/`` with the folders of Cityscapes, validation frames alone."""
    with whole(out, "AnomalyTrack", "ObstacleTrack"):
        for index, sample in drawn(dataset, progress):
            home = out / "AnomalyTrack"
            save_jpeg(home / "leftImg8bit" / "val" / f"validation{index:04}.jpg", sample.image())
            save_png(home / "gtFine" / "val" / f"validation{index:04}_labels_semantic.png", anomaly_of(sample))
            home = out / "ObstacleTrack"
            save_webp(home / "leftImg8bit" / "val" / f"validation_{index}.webp", sample.image())
            save_png(home / "gtFine" / "val" / f"validation_{index}_labels_semantic.png", _on_road(sample))


def _cropped(sample: Sample, index: int) -> tuple[NDArray[np.uint8], Labels]:
    kept = sample.size[1] * 3 // 4 if index % 2 else sample.size[1]
    return np.ascontiguousarray(sample.image()[:, :kept]), np.ascontiguousarray(anomaly_of(sample)[:, :kept])


def _on_road(sample: Sample) -> Labels:
    """uint8 [H, W]: the anomaly mask, with all that is neither road nor anomaly ignored."""
    mask = anomaly_of(sample).copy()
    if sample.labels is not None:
        mask[(mask == 0) & (sample.labels != ROAD)] = IGNORE
    return mask


def _save_mask(folder: Path, name: str, mask: Labels) -> None:
    """A mask, and the picture of it that lies beside each in the official archives."""
    save_png(folder / f"{name}_labels_semantic.png", mask)
    save_png(folder / f"{name}_labels_semantic_color.png", COLOURS[mask])
