"""Synthetic scenes in the layouts of sets whose images and label files lie in parallel trees."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench.contract.dataset import CITYSCAPES, Dataset, Sample
from bench.core.label_values import LABEL_IDS
from bench.core.values import IGNORE, Labels
from bench.data.layouts.atomic_writer import Progress, drawn, save_bytes, save_jpeg, save_png, whole
from bench.datasets import idd, muad, street_hazards
from bench.datasets.acdc import CONDITIONS

UNLABELLED = 0  # the label id of what is none of the classes, in Cityscapes and WildDash


@dataclass(frozen=True)
class Trees:
    """The files of one frame by their paths, in which ``{n}`` is its number and ``{drive}`` that of its drive.

    ``{condition}`` and ``{split}`` take turns.
    """

    images: Sequence[str]
    labels: Mapping[str, Callable[[Sample, int], Labels]]  # path to what is stored there
    save: Callable[[Path, Any], None] = save_png  # of an image
    more: Mapping[str, Callable[[Dataset], bytes]] = field(default_factory=dict)


def write(trees: Trees, dataset: Dataset, out: Path, *, progress: Progress | None = None) -> None:
    """Write the images and the label files of every scene."""
    paths = [*trees.images, *trees.labels, *trees.more]
    with whole(out, *sorted({path.partition("/")[0] for path in paths})):
        drives: dict[str, int] = {}
        for index, sample in drawn(dataset, progress):
            drive = drives.setdefault(sample.group or sample.id, len(drives))
            words = {"condition": CONDITIONS[index % len(CONDITIONS)], "split": ("val", "train")[index // 2 % 2]}
            for path in trees.images:
                trees.save(out / path.format(n=index, drive=drive, **words), sample.image())
            for path, stored in trees.labels.items():
                save_png(out / path.format(n=index, drive=drive, **words), stored(sample, index))
        for path, content in trees.more.items():
            save_bytes(out / path, content(dataset))


def _stored(values: Mapping[int, int], void: int, anomaly: int | None, sample: Sample, index: int) -> Labels:
    """uint8 [H, W]: the value of each train id, of what has none, and of the anomaly."""
    table = np.full(256, void, np.uint8)
    table[list(values)] = list(values.values())
    assert sample.labels is not None  # noqa: S101 - toytown labels every scene
    stored: Labels = table[sample.labels]
    if anomaly is not None and sample.anomaly is not None:
        stored[sample.anomaly == 1] = anomaly
    return stored


def _table(values: Mapping[int, int], void: int = IGNORE, anomaly: int | None = None) -> Callable[..., Labels]:
    return partial(_stored, values, void, anomaly)


def _with_unknown(sample: Sample, index: int) -> Labels:
    """Train ids in which every other frame has a motorcycle, and the others nothing that BDD-Anomaly does not know."""
    unknown = [CITYSCAPES.index(name) for name in ("train", "motorcycle", "bicycle")]
    stored = _TRAIN_IDS(sample, index)
    stored[np.isin(stored, unknown)] = IGNORE
    if index % 2 == 0:
        anomaly = sample.anomaly == 1 if sample.anomaly is not None else stored == IGNORE
        inside = anomaly if anomaly.any() else stored == stored[stored != IGNORE].max()
        stored[inside] = CITYSCAPES.index("motorcycle")
    return stored


def _invalid(sample: Sample, index: int) -> Labels:
    """uint8 [H, W]: 1 in the lower corner that nobody could label by the image alone."""
    stored = np.zeros(sample.size, np.uint8)
    stored[sample.size[0] * 3 // 4 :, : sample.size[1] // 4] = 1
    return stored


def _panoptic(sample: Sample, index: int) -> Labels:
    """uint8 [H, W, 3]: the number of each segment, 1000 times the label id and 7, in red, green and blue."""
    numbers = _LABEL_IDS(sample, index).astype(np.int64) * 1000
    numbers[numbers > 0] += 7
    return np.stack([numbers % 256, numbers // 256 % 256, numbers // 65536], axis=2).astype(np.uint8)


def _segments(dataset: Dataset) -> bytes:
    """``panoptic.json`` of all frames."""
    entries = []
    for index in range(dataset.count):
        held = np.unique(_LABEL_IDS(dataset.load(index), index)).tolist()
        segments = [{"id": 1000 * value + 7, "category_id": value} for value in held if value]
        entries.append({"file_name": f"xx{index:04}_100000.png", "image_id": index, "segments_info": segments})
    return json.dumps({"images": [], "annotations": entries, "categories": []}).encode()


# What Toytown has becomes what is most like it there.
_HAZARDS = {
    "road": "road", "sidewalk": "sidewalk", "building": "building", "wall": "wall", "fence": "fence", "pole": "pole",
    "traffic light": "other", "traffic sign": "traffic sign", "vegetation": "vegetation", "terrain": "vegetation",
    "sky": "unlabeled", "person": "pedestrian", "rider": "pedestrian", "car": "car", "truck": "car", "bus": "car",
    "train": "car", "motorcycle": "car", "bicycle": "other",
}  # fmt: skip
_STREET_HAZARDS = {CITYSCAPES.index(name): 1 + street_hazards.CLASSES.index(other) for name, other in _HAZARDS.items()}
_LEVEL_3 = {train: level for level, train in idd.IDS.values() if train != IGNORE}
_TRAIN_IDS = _table({train: train for train in range(len(CITYSCAPES))})
_LABEL_IDS = _table(dict(enumerate(LABEL_IDS)), UNLABELLED)
_MUAD = _table({train: train for train in range(len(CITYSCAPES))}, anomaly=muad.UNKNOWN[-1])
_ACDC = "{condition}/val/GOPR{drive:04}/GOPR{drive:04}_frame_{n:06}"
_REF = "{condition}/val_ref/GOPR{drive:04}/GOPR{drive:04}_frame_{n:06}"
_DARK = "val/night/GOPR0356/GOPR0356_frame_{n:06}"
_NIGHT = "test/night/{drive}_{n:04}"
_IDD = "val/{drive}/{n:06}"

TREES: Mapping[str, Trees] = {
    "street_hazards": Trees(
        ["test/images/test/t{drive}/{n}.png"],
        {"test/annotations/test/t{drive}/{n}.png": _table(_STREET_HAZARDS, 1, street_hazards.ANOMALY + 1)},
    ),
    "bdd_anomaly": Trees(
        ["bdd100k/images/10k/{split}/{n:08}-{drive:08}.jpg"],
        {"bdd100k/labels/sem_seg/masks/{split}/{n:08}-{drive:08}.png": _with_unknown},
        save_jpeg,
    ),
    "muad": Trees(["test_ood/leftImg8bit/{n:06}_leftImg8bit.png"], {"test_ood/leftLabel/{n:06}_leftLabel.png": _MUAD}),
    "mini_muad": Trees(["ood/leftImg8bit/{n:06}_leftImg8bit.png"], {"ood/leftLabel/{n:06}_leftLabel.png": _MUAD}),
    "acdc": Trees(
        [f"rgb_anon/{_ACDC}_rgb_anon.png", f"rgb_anon/{_REF}_rgb_ref_anon.png"],
        {
            f"gt/{_ACDC}_gt_labelTrainIds.png": _TRAIN_IDS,
            f"gt/{_ACDC}_gt_invIds.png": _invalid,
            f"gt/{_REF}_gt_ref_labelTrainIds.png": _TRAIN_IDS,
        },
    ),
    "wilddash2": Trees(
        ["wd_public_v2p0/images/xx{n:04}_100000.jpg"],
        {"wd_public_v2p0/panoptic/xx{n:04}_100000.png": _panoptic},
        save_jpeg,
        {"wd_public_v2p0/panoptic.json": _segments},
    ),
    "idd": Trees(
        [f"leftImg8bit/{_IDD}_leftImg8bit.png"],
        {
            f"gtFine/{_IDD}_gtFine_labellevel3Ids.png": _table(_LEVEL_3),
            f"gtFine/{_IDD}_gtFine_labelcsTrainIds.png": _TRAIN_IDS,
        },
    ),
    "dark_zurich": Trees(
        [f"Dark_Zurich_val_anon/rgb_anon/{_DARK}_rgb_anon.png"],
        {
            f"Dark_Zurich_val_anon/gt/{_DARK}_gt_labelTrainIds.png": _TRAIN_IDS,
            f"Dark_Zurich_val_anon/gt/{_DARK}_gt_invIds.png": _invalid,
        },
    ),
    "nighttime_driving": Trees(
        [f"NighttimeDrivingTest/leftImg8bit/{_NIGHT}_leftImg8bit.png"],
        {
            f"NighttimeDrivingTest/gtCoarse_daytime_trainvaltest/{_NIGHT}_gtCoarse_labelTrainIds.png": _TRAIN_IDS,
        },
    ),
}

WITH_ANOMALIES = ("street_hazards", "bdd_anomaly", "muad", "mini_muad")
