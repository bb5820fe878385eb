"""COCO's outlier masks as files: what ``bench data coco-proxy`` wrote, and how it lies on disk.

Folder and file names, and 254 for an outlier: robin-chan/meta-ood@8657a5e, preparation/prepare_coco_segmentation.py.
The index is ours: the source lists the folder.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Le

from bench.core import listing
from bench.core.errors import MissingData
from bench.core.files import data, digest
from bench.core.images import read_labels
from bench.core.values import IGNORE, Labels
from bench.datasets import coco, frames, sides
from bench.datasets.coco import ROAD
from bench.datasets.frames import Encoding, Frame

OUTLIER = 254
VALUES = {"ignored": IGNORE, "road": ROAD}  # of what is not annotated
COLUMNS = ("id", "file", "height", "width", "outlier_pixels")
MANIFEST, INDEX = "proxy.json", "index.csv"
SCHEMA = 1


def masks(split: str) -> str:
    """The name of the folder of the masks."""
    return f"ood_seg_{split}"


@dataclass(frozen=True)
class CocoProxy(frames.OnDisk):
    """Photographs of ``coco`` with the outlier masks that ``bench data coco-proxy`` wrote, chosen by their index.

    What is not annotated is what the masks say, ignored or road. ``smallest`` and ``largest`` are shares of an image's
    pixels that are outliers; the source takes every image, those without any outlier among them.
    """

    name = "coco_proxy"
    source = "Lin et al., Microsoft COCO, arXiv:1405.0312; choice of Chan et al., arXiv:2012.06575, section 4"

    smallest: Annotated[float, Ge(0), Le(1)] = 0.0
    largest: Annotated[float, Ge(0), Le(1)] = 1.0

    @property
    def annotations(self) -> frozenset[str]:
        return frozenset({"anomaly"} if self._about["background"] == "ignored" else {"anomaly", "labels"})

    @property
    def published(self) -> int:
        """The number of images in the index within the limits."""
        return len(self._rows)

    @property
    def obtain(self) -> str:
        return "write it: bench data coco-proxy --coco COCO --out FOLDER"

    def scan(self) -> Sequence[Frame]:
        split = self._about["split"]
        photographs, drawn = coco.photographs(split), self._root / masks(split)
        if not self._rows:
            raise MissingData(f"{self._root / INDEX}: no image has outliers on {self.smallest} to {self.largest} of it")
        sides.counted([row["id"] for row in self._rows], self.count, self._root, "say frames otherwise")
        masked = listing.tree(drawn, self.obtain).names()
        pictures = listing.tree(photographs, f"unpack {split}.zip").names()
        for row in self._rows:
            for paths, name, folder in ((masked, f"{row['id']}.png", drawn), (pictures, row["file"], photographs)):
                if name.lower() not in paths:
                    raise MissingData(f"{folder / name} does not exist, but {self._root / INDEX} lists it")
        return [
            Frame(row["id"], pictures[row["file"].lower()], masked[f"{row['id']}.png".lower()], self._encoding)
            for row in self._rows
        ]

    def truth(self, frame: Frame) -> Mapping[str, Labels]:
        assert frame.mask is not None  # noqa: S101 - every frame of ``scan`` has one
        anomaly = frames.read_mask(frame.mask, self._encoding, like=frame.image)
        if "labels" not in self.annotations:
            return {"anomaly": anomaly}
        return {"anomaly": anomaly, "labels": np.where(anomaly == 1, np.uint8(IGNORE), np.uint8(ROAD))}

    def check_frame(self, frame: Frame) -> None:
        """Check header and end of image and mask: there are tens of thousands. Values are checked when read."""
        assert frame.mask is not None  # noqa: S101 - as in ``truth``
        mask_size, image_size = frames.size(frame.mask), frames.size(frame.image)
        if mask_size != image_size:
            raise MissingData(
                f"{frame.mask} is {mask_size[0]}x{mask_size[1]}, its image {frame.image.name} is"
                f" {image_size[0]}x{image_size[1]}; {self.obtain}"
            )
        frames.check_whole(frame.image)
        frames.check_whole(frame.mask, read_labels)

    def digest(self) -> str:
        """16 hex digits of the limits and of the manifest and the index, which are written after the masks."""
        parts = [digest(self._root / name) for name in (MANIFEST, INDEX)]
        return hashlib.sha256(f"{parts} {self.smallest} {self.largest}".encode()).hexdigest()[:16]

    @property
    def _root(self) -> Path:
        return data("coco_proxy")

    @cached_property
    def _about(self) -> Mapping[str, Any]:
        return manifest(self._root)

    @property
    def _encoding(self) -> Encoding:
        background: Literal["ignored", "road"] = self._about["background"]
        value = VALUES[background]
        kept = IGNORE if background == "ignored" else 0
        return Encoding("outliers", {value: kept, OUTLIER: 1}, f"{value} or {OUTLIER}")

    @cached_property
    def _rows(self) -> Sequence[Mapping[str, str]]:
        return [row for row in rows(self._root / INDEX) if self.smallest <= _share(row) <= self.largest]


def _share(row: Mapping[str, str]) -> float:
    return int(row["outlier_pixels"]) / (int(row["height"]) * int(row["width"]))


def manifest(root: Path) -> Mapping[str, Any]:
    """The manifest of a folder of masks. Raise MissingData where it is absent or of another schema."""
    path = root / MANIFEST
    again = "write it: bench data coco-proxy --coco COCO --out FOLDER"
    if not path.is_file():
        raise MissingData(f"{path} does not exist{listing.nearby(path)}; {again}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MissingData(f"{path} cannot be read: {error}; {again}") from None
    if not isinstance(content, dict) or content.get("schema") != SCHEMA or content.get("background") not in VALUES:
        raise MissingData(f"{path} is not of schema {SCHEMA}; {again}")
    return content


def rows(path: Path) -> Iterator[Mapping[str, str]]:
    """Yield the rows of an index, sorted by id. Raise MissingData for other columns."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise MissingData(f"{path} has the columns {reader.fieldnames}, wanted {', '.join(COLUMNS)}")
            yield from reader
    except FileNotFoundError:
        raise MissingData(f"{path} does not exist; run the same bench data coco-proxy again, it goes on") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise MissingData(f"{path} cannot be read as CSV: {error}; write it again by bench data coco-proxy") from None
