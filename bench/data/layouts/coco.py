"""Synthetic scenes as COCO: images, and one file of annotations with polygons and run lengths."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from bench.contract.dataset import Dataset, Sample
from bench.core.errors import UserError
from bench.data.layouts.atomic_writer import Progress, anomaly_of, drawn, save_bytes, save_jpeg, whole
from bench.datasets.coco_masks import Bools
from bench.datasets.toytown.outliers import ToytownOutliers
from bench.datasets.toytown.scenes import Toytown

CATEGORIES = {
    "person": 1, "bicycle": 2, "car": 3, "motorcycle": 4, "bus": 6, "truck": 8, "boat": 9, "traffic light": 10,
    "stop sign": 13, "elephant": 22, "kite": 38, "couch": 63,
}  # fmt: skip
"""Names and numbers as in the official files; those that toytown has something of."""

OF_KIND = {"sofa": "couch", "boat": "boat", "beast": "elephant"}  # of toytown's anomalies; the others fly as kites
OF_CLASS = {11: "person", 13: "car", 14: "truck", 15: "bus", 17: "motorcycle", 18: "bicycle"}  # by train id


def write(dataset: Dataset, out: Path, *, progress: Progress | None = None) -> None:
    """Write ``train2017/`` and ``annotations/instances_train2017.json``.

    Anomalies are annotated by polygons in every other frame and by the run lengths of a crowd in the others. Cars and
    people are annotated in every fourth frame alone, or the choice of images that shows none of them would be empty:
    toytown has no street without. Every fifth image is grey.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []

    def annotate(image: int, category: str, mask: Bools, *, crowd: bool) -> None:
        if mask.any():
            number = len(annotations) + 1
            about = {"id": number, "image_id": image, "category_id": CATEGORIES[category], "iscrowd": int(crowd)}
            drawn_as = {"counts": _runs(mask), "size": list(mask.shape)} if crowd else _boxes(mask)
            annotations.append(about | {"segmentation": drawn_as, "area": int(mask.sum())})

    with whole(out, "train2017", "annotations"):
        for index, sample in drawn(dataset, progress):
            number = 9 + 16 * index
            name = f"{number:012}.jpg"
            picture = sample.image()
            save_jpeg(out / "train2017" / name, picture[:, :, 1] if index % 5 == 4 else picture)
            images.insert(0, {"id": number, "file_name": name, "height": sample.size[0], "width": sample.size[1]})
            category = OF_KIND.get(sample.tags.get("anomaly", ""), "kite")
            annotate(number, category, anomaly_of(sample) == 1, crowd=index % 2 == 1)
            if index % 4 == 3:
                for known, mask in _known(sample).items():
                    annotate(number, known, mask, crowd=False)
        names = [{"id": number, "name": name} for name, number in CATEGORIES.items()]
        content = {"info": {"year": 2017}, "images": images, "annotations": annotations, "categories": names}
        save_bytes(out / "annotations" / "instances_train2017.json", json.dumps(content).encode())


def write_outliers(dataset: Dataset, out: Path, *, progress: Progress | None = None) -> None:
    """The same of streets in which things lie that no anomaly of toytown resembles."""
    if not isinstance(dataset, Toytown):
        raise UserError(f"{dataset.name}: the layout coco_outliers is drawn for toytown alone")
    streets = ToytownOutliers(dataset.count, dataset.height, dataset.width, dataset.seed)
    write(streets, out, progress=progress)


def _known(sample: Sample) -> dict[str, Bools]:
    """Bool [H, W] by category: the categories that Cityscapes has too."""
    return {} if sample.labels is None else {name: sample.labels == label for label, name in OF_CLASS.items()}


def _boxes(mask: Bools) -> list[list[int]]:
    """A polygon around each run of pixels in a row: together exactly the mask."""
    edges = np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    starts, stops = np.argwhere(edges == 1).tolist(), np.argwhere(edges == -1).tolist()
    return [
        [left, row, right, row, right, row + 1, left, row + 1]
        for (row, left), (_, right) in zip(starts, stops, strict=True)
    ]


def _runs(mask: Bools) -> list[int]:
    """Lengths of alternating runs down the columns, the first of them outside."""
    flat = mask.T.ravel()
    changes = np.flatnonzero(np.diff(flat)) + 1
    lengths: list[int] = np.diff([0, *changes.tolist(), flat.size]).tolist()
    return [0, *lengths] if flat[0] else lengths
