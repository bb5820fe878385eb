"""Synthetic scenes in layouts whose images lie ready beside their masks, publishers' own and repacked ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from bench.contract.dataset import Dataset
from bench.core.values import IGNORE, Labels
from bench.data.layouts.atomic_writer import (
    Progress,
    anomaly_of,
    drawn,
    save_bytes,
    save_jpeg,
    save_png,
    save_webp,
    whole,
)

ANOMALY_ID = 2  # of the masks of RoadAnomaly and Road Obstacles
ISSU_ID = 254  # of an anomaly in the masks of ISSU
ISSU_FOLDERS = ("static_0", "temporal_0", "static_fog", "temporal_17")
ROAD = 0  # train id
ROAD_ID = 1  # of the masks of Road Obstacles
_SAVES = {
    "RoadAnomaly": (".jpg", save_jpeg),
    "RoadAnomaly21": (".png", save_png),
    "RoadObsticle21": (".webp", save_webp),
    "FS_LostFound_full": (".png", save_png),
    "fs_static": (".jpg", save_jpeg),
}
_SYNBOOST = {
    "fs_static": (".png", save_png),
    "fs_lost_and_found": (".png", save_png),
    "road_anomaly": (".jpg", save_jpeg),
}


def write_road_anomaly(dataset: Dataset, out: Path, *, progress: Progress | None = None) -> None:
    """Write ``RoadAnomaly_jpg/``: ``frame_list.json``, ``frames/X.jpg`` and ``frames/X.labels/labels_semantic.png``."""
    home = out / "RoadAnomaly_jpg"
    with whole(out, home.name):
        names = []
        for index, sample in drawn(dataset, progress):
            stem = f"toytown{index:02}_{sample.tags.get('anomaly', 'thing').replace(' ', '_')}"
            save_jpeg(home / "frames" / f"{stem}.jpg", sample.image())
            save_png(home / "frames" / f"{stem}.labels" / "labels_semantic.png", _zero_or_two(anomaly_of(sample)))
            names.append(f"{stem}.jpg")
        save_bytes(home / "frame_list.json", json.dumps(names).encode())


def write_road_anomaly_original_labels(dataset: Dataset, out: Path, *, progress: Progress | None = None) -> None:
    """Write ``original/X.jpg`` and ``labels/X.png``."""
    with whole(out, "original", "labels"):
        for index, sample in drawn(dataset, progress):
            save_jpeg(out / "original" / f"{index}.jpg", sample.image())
            save_png(out / "labels" / f"{index}.png", anomaly_of(sample))


def write_road_obstacles(dataset: Dataset, out: Path, *, progress: Progress | None = None) -> None:
    """Write ``dataset_RoadObstacle/``: ``splits.json``, ``frames/X.webp`` and two label files for each.

    What is neither road nor obstacle is background. The split ``few`` holds every other frame.
    """
    home = out / "dataset_RoadObstacle"
    with whole(out, home.name):
        names = []
        for index, sample in drawn(dataset, progress):
            name = f"toytown_{index:03}"
            mask = anomaly_of(sample)
            road = np.zeros(mask.shape, np.bool_) if sample.labels is None else sample.labels == ROAD
            stored = np.where(road & (mask == 0), np.uint8(ROAD_ID), np.uint8(0))
            stored[mask == 1], stored[mask == IGNORE] = ANOMALY_ID, IGNORE
            save_webp(home / "frames" / f"{name}.webp", sample.image())
            save_png(home / "frames" / f"{name}.labels" / "labels_semantic.png", stored)
            save_png(home / "frames" / f"{name}.labels" / "labels_instance.png", np.where(mask == 1, mask, np.uint8(0)))
            names.append(name)
        save_bytes(home / "splits.json", json.dumps({"full": names, "few": names[::2]}).encode())


def write_ade_ood(dataset: Dataset, out: Path, *, progress: Progress | None = None) -> None:
    """Write ``images/X.jpg`` and ``annotations/X_mask.png``."""
    with whole(out, "images", "annotations"):
        for index, sample in drawn(dataset, progress):
            save_jpeg(out / "images" / f"toytown_{index:08}.jpg", sample.image())
            save_png(out / "annotations" / f"toytown_{index:08}_mask.png", anomaly_of(sample))


def write_issu(dataset: Dataset, out: Path, *, progress: Progress | None = None) -> None:
    """Write ``dataset_ISSUTrack/``: every other frame is of a video, and two of four in low light."""
    home = out / "dataset_ISSUTrack"
    with whole(out, home.name):
        for index, sample in drawn(dataset, progress):
            mask = anomaly_of(sample)
            labels = np.zeros(mask.shape, np.uint8) if sample.labels is None else sample.labels
            stored = np.where(mask == 1, np.uint8(ISSU_ID), np.where(mask == IGNORE, mask, labels))
            name = f"{ISSU_FOLDERS[index % 4]}_{index:06}.png"
            save_png(home / "images" / name, sample.image())
            save_png(home / "labels_masks" / name, stored)


def write_synboost(dataset: Dataset, out: Path, *, progress: Progress | None = None) -> None:
    """Write ``final_dataset/`` with the three sets, the same scenes in each, and what SynBoost keeps beside them."""
    home = out / "final_dataset"
    with whole(out, home.name):
        for index, sample in drawn(dataset, progress):
            for folder, (end, save) in _SYNBOOST.items():
                save(home / folder / "original" / f"toytown_{index}{end}", sample.image())
                save_png(home / folder / "labels" / f"toytown_{index}.png", anomaly_of(sample))
                save_png(home / folder / "synthesis" / f"toytown_{index}.png", sample.image()[:, ::-1].copy())


def write_validation_dataset(dataset: Dataset, out: Path, *, progress: Progress | None = None) -> None:
    """Write the five sets, each with ``images/`` and ``labels_masks/`` and the same scenes."""
    with whole(out, *_SAVES):
        for index, sample in drawn(dataset, progress):
            for folder, (end, save) in _SAVES.items():
                mask = anomaly_of(sample)
                save(out / folder / "images" / f"{index}{end}", sample.image())
                stored = _zero_or_two(mask) if folder == "RoadAnomaly" else mask
                save_png(out / folder / "labels_masks" / f"{index}.png", stored)


def _zero_or_two(mask: Labels) -> Labels:
    """uint8 [H, W]: 0 normal, 2 anomaly; what was ignored is normal, because nothing is ignored there."""
    return np.where(mask == 1, np.uint8(ANOMALY_ID), np.uint8(0))
