"""Synthetic scenes in the layouts of Fishyscapes; the images lie beside the labels, where the reader looks first."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.contract.dataset import Dataset
from bench.core.label_values import LABEL_IDS
from bench.core.values import IGNORE
from bench.data.layouts.atomic_writer import Progress, anomaly_of, drawn, save_bytes, save_jpeg, save_png, whole

GAMMA = 0.45455  # LostAndFound's PNGs say so; a reader that applies it gets other pixels
CAR = 13  # the train id that negatives of Static are made of
SHIFT = 24  # grey levels by which a negative differs from the scene below it


def write_lost_and_found(dataset: Dataset, out: Path, *, progress: Progress | None = None) -> None:
    """Write ``fishyscapes_lostandfound/`` and, of LostAndFound, ``lost_and_found/leftImg8bit/{train,test}/``."""
    _write_lost_and_found(dataset, out, "fishyscapes_lostandfound", "{index:04}_{base}_labels.png", progress)


def write_fishy_laf(dataset: Dataset, out: Path, *, progress: Progress | None = None) -> None:
    """Write ``dataset_FishyLAF/labels/val/`` of SegmentMeIfYouCan, and the same images of LostAndFound."""
    _write_lost_and_found(dataset, out, "dataset_FishyLAF", "labels/val/{base}_fishy-labels.png", progress)


def _write_lost_and_found(dataset: Dataset, out: Path, home: str, mask: str, progress: Progress | None) -> None:
    """Write masks into ``home`` under names of the form ``mask``, and images where LostAndFound has them."""
    with whole(out, home, "lost_and_found"):
        for index, sample in drawn(dataset, progress):
            location = f"{1 + index // 4:02}_Toytown_Str_{index // 4}"
            base = f"{location}_{index // 2:06}_{index:06}"
            split = "train" if index % 3 else "test"
            image = out / "lost_and_found" / "leftImg8bit" / split / location / f"{base}_leftImg8bit.png"
            save_png(image, sample.image(), gamma=GAMMA)
            save_png(out / home / mask.format(index=index, base=base), anomaly_of(sample))


def write_static(dataset: Dataset, out: Path, *, progress: Progress | None = None) -> None:
    """Write version 3: ``fs_val_v3/`` with masks and overlays and, of Cityscapes, ``cityscapes/leftImg8bit/val/``.

    The scene below an overlay lacks the anomalies; every third overlay also alters the cars, which stay normal.
    """
    with whole(out, "fs_val_v3", "cityscapes"):
        for index, sample in drawn(dataset, progress):
            base = f"toytown_{index // 4:06}_{index:06}"
            anomaly, image = anomaly_of(sample), sample.image()
            below = _without(image, anomaly)
            if index % 3 == 0 and sample.labels is not None:
                below[sample.labels == CAR] ^= SHIFT
            overlay = image.astype(np.int16) - below
            overlay[(overlay != 0) & (image == 255)] += SHIFT  # beyond the end, where the official code clips
            folder = out / "cityscapes" / "leftImg8bit" / "val" / "toytown"
            save_png(folder / f"{base}_leftImg8bit.png", below)
            save_png(out / "fs_val_v3" / f"{index:04}_{base}_labels.png", anomaly)
            save_bytes(out / "fs_val_v3" / f"{index:04}_{base}_rgb.npz", _npz({"rgb": overlay}))


def write_poc(dataset: Dataset, out: Path, *, progress: Progress | None = None) -> None:
    """Write ``POC_CS_VAL/`` and ``POC_ACDC_VAL/`` with masks and differences, and the images below beside them.

    Masks of Cityscapes hold train ids, those of ACDC label ids; the anomaly is another object in every frame.
    """
    to_label_ids = np.zeros(256, np.uint8)
    to_label_ids[list(range(len(LABEL_IDS)))] = LABEL_IDS
    to_label_ids[IGNORE] = IGNORE
    with whole(out, "POC_CS_VAL", "POC_ACDC_VAL", "cityscapes", "acdc"):
        for index, sample in drawn(dataset, progress):
            anomaly, image = anomaly_of(sample), sample.image()
            below = _without(image, anomaly)
            labels = np.zeros(anomaly.shape, np.uint8) if sample.labels is None else sample.labels
            labels = np.where(anomaly == IGNORE, anomaly, labels)
            difference = _npz({"img": image - below})  # modulo 256, as the program that packed them
            painted = f"A-good-photo-of-a-{('dog', 'garbage-bag')[index % 2]}_{index}"
            city = f"toytown_{index // 4:06}_{index:06}"
            folder, name = Path("val", "toytown"), f"{city}_leftImg8bit_{painted}"
            save_png(out / "cityscapes" / "leftImg8bit" / folder / f"{city}_leftImg8bit.png", below)
            save_bytes(out / "POC_CS_VAL" / "leftImg8bit" / folder / f"{name}.npz", difference)
            stored = np.where(anomaly == 1, np.uint8(20 + index % 9), labels)
            save_png(out / "POC_CS_VAL" / "gtFine" / folder / f"{name}.png", stored)
            seen = f"GOPR{index // 4:04}_frame_{index:06}"
            folder, name = (
                Path(("fog", "night")[index % 2], "val", f"GOPR{index // 4:04}"),
                f"{seen}_rgb_anon_{painted}",
            )
            save_png(out / "acdc" / "rgb_anon" / folder / f"{seen}_rgb_anon.png", below)
            home = out / "POC_ACDC_VAL"
            save_bytes(home / "rgb_anon_trainvaltest" / "rgb_anon" / folder / f"{name}.npz", difference)
            stored = np.where(anomaly == 1, np.uint8(100 + index), to_label_ids[labels])
            save_png(home / "gt_trainval" / "gt" / folder / f"{name}.png", stored)


def write_renamed(dataset: Dataset, out: Path, *, progress: Progress | None = None) -> None:
    """Write ``FsValLF/`` and ``FsValV3Static/`` with the file names of Cityscapes."""
    with whole(out, "FsValLF", "FsValV3Static"):
        for index, sample in drawn(dataset, progress):
            for folder in ("FsValLF", "FsValV3Static"):
                stem = f"toytown_{index // 4:06}_{index:06}"
                pictures = out / folder / "leftImg8bit" / "val" / "toytown"
                save_png(pictures / f"{stem}_leftImg8bit.png", sample.image())
                labels = out / folder / "gtFine" / "val" / "toytown"
                save_png(labels / f"{stem}_gtFine_labelTrainIds.png", anomaly_of(sample))


def write_original_labels(dataset: Dataset, out: Path, *, progress: Progress | None = None) -> None:
    """Write ``LostAndFound/`` and ``Static/`` with ``original/*.png`` and ``labels/*.png``."""
    with whole(out, "LostAndFound", "Static"):
        for index, sample in drawn(dataset, progress):
            for folder in ("LostAndFound", "Static"):
                save_png(out / folder / "original" / f"image_{index}.png", sample.image())
                save_png(out / folder / "labels" / f"image_{index}.png", anomaly_of(sample))


def write_side_by_side(dataset: Dataset, out: Path, *, progress: Progress | None = None) -> None:
    """Write ``LostAndFound/`` and ``Static/`` with ``X.jpg`` beside ``X.png``."""
    with whole(out, "LostAndFound", "Static"):
        for index, sample in drawn(dataset, progress):
            for folder in ("LostAndFound", "Static"):
                save_jpeg(out / folder / "frames" / f"{index:04}_toytown.jpg", sample.image())
                save_png(out / folder / "frames" / f"{index:04}_toytown.png", anomaly_of(sample))


def _without(image: NDArray[np.uint8], anomaly: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The scene with its anomalies, and the border around them, painted over with the colour of the rest."""
    below = image.copy()
    hidden = (anomaly == 1) | (anomaly == IGNORE)
    below[hidden] = image[~hidden].mean(axis=0).astype(np.uint8)
    return below


def _npz(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays)  # type: ignore[arg-type]
    return packed.getvalue()
