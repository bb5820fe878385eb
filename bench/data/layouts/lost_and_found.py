"""Synthetic scenes in the layout of LostAndFound; every fourth frame is one of the training split."""

from __future__ import annotations

from itertools import cycle
from pathlib import Path

import numpy as np
from scipy import ndimage

from bench.contract.dataset import Dataset, Sample
from bench.core.values import IGNORE, Labels
from bench.data.layouts.atomic_writer import Progress, anomaly_of, drawn, save_png, whole
from bench.datasets import oodis
from bench.datasets.lost_and_found import HARMLESS, KNOWN, OBSTACLES

ROAD, ROAD_ID = 0, 7  # train id and label id of Cityscapes
FREE, HAZARD = 1, 2  # label id and train id of the free road; train id of an obstacle
KINDS = (2, 9, 31, 24, 17)  # label ids of obstacles in turn: crate, box, a pole that lies, black dog, pylon
SCENES = ("01_Toytown_Road", "02_Toytown_Square", KNOWN[0])
COLOURS = np.zeros((256, 3), np.uint8)
COLOURS[FREE], COLOURS[list(OBSTACLES)] = (128, 64, 128), (0, 0, 142)


def write(dataset: Dataset, out: Path, *, progress: Progress | None = None) -> None:
    """Write ``leftImg8bit/`` and ``gtCoarse/`` with labelIds, labelTrainIds and the picture of the labels.

    Images carry a gamma chunk, as the official ones do. Normal is the free road; every tenth test frame has no labels;
    every third drive is one that the split ``no_known`` leaves out.
    """
    stems = _Stems()
    kinds = cycle(KINDS)
    tested = 0
    with whole(out, "leftImg8bit", "gtCoarse"):
        for index, sample in drawn(dataset, progress):
            split = "train" if index % 4 == 3 else "test"
            tested += split == "test"
            labels = np.zeros(sample.size, np.uint8)
            kind = next(kinds)
            if split == "train" or tested % 10:
                if sample.labels is not None:
                    labels[sample.labels == ROAD] = FREE
                labels[anomaly_of(sample) == 1] = kind
            scene, stem = stems.of(index, sample)
            save_png(out / "leftImg8bit" / split / scene / f"{stem}_leftImg8bit.png", sample.image(), gamma=1 / 2.2)
            start = str(out / "gtCoarse" / split / scene / f"{stem}_gtCoarse_")
            save_png(Path(f"{start}labelIds.png"), labels)
            save_png(Path(f"{start}labelTrainIds.png"), _train_ids(labels))
            save_png(Path(f"{start}color.png"), COLOURS[labels])


def write_oodis(dataset: Dataset, out: Path, *, progress: Progress | None = None) -> None:
    """Write ``fishyscapes/`` with instance ids and, of LostAndFound, ``lost_and_found/leftImg8bit/``.

    Frames have the names that ``write`` gives them. Each connected part of the mask is an instance; what has no label
    is ignored.
    """
    stems = _Stems()
    with whole(out, "fishyscapes", "lost_and_found"):
        for index, sample in drawn(dataset, progress):
            scene, stem = stems.of(index, sample)
            folder = out / "lost_and_found" / "leftImg8bit" / ("train" if index % 4 == 3 else "test") / scene
            save_png(folder / f"{stem}_leftImg8bit.png", sample.image(), gamma=1 / 2.2)
            parts, _ = ndimage.label(anomaly_of(sample) == 1, np.ones((3, 3), int))
            stored = np.full(sample.size, ROAD_ID, np.uint16)
            stored[anomaly_of(sample) == IGNORE] = oodis.UNEVALUATED[0]
            stored[parts > 0] = oodis.FIRST + parts[parts > 0] - 1
            save_png(out / "fishyscapes" / f"{stem}{oodis.AFTER}.png", stored)


class _Stems:
    """The scene and the name of each frame; a group of samples is a drive."""

    def __init__(self) -> None:
        self._drives: dict[str, int] = {}

    def of(self, index: int, sample: Sample) -> tuple[str, str]:
        drive = self._drives.setdefault(sample.group or sample.id, len(self._drives))
        scene = SCENES[drive % len(SCENES)]
        return scene, f"{scene}_{drive:06}_{10 * index:06}"


def _train_ids(labels: Labels) -> Labels:
    """uint8 [H, W]: 1 free road, 2 obstacle, 0 an obstacle that does no harm, 255 all else."""
    table = np.full(256, IGNORE, np.uint8)
    table[FREE], table[list(OBSTACLES)] = FREE, HAZARD
    table[list(HARMLESS)] = 0
    return table[labels]
