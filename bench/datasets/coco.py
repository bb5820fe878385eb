"""COCO as a source of things that a street scene does not show, for methods that train with outliers.

Which images, categories and sizes are taken: robin-chan/meta-ood@8657a5e, preparation/prepare_coco_segmentation.py and
src/dataset/coco.py. Layout: ``annotations/`` and ``train2017/`` side by side, as the archives of cocodataset.org
unpack. The masks are drawn from the official annotation file; none are stored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge

from bench.core import listing
from bench.core.errors import MissingData
from bench.core.files import digest
from bench.core.listing import Location
from bench.core.values import IGNORE, Labels
from bench.datasets import archives, frames, sides
from bench.datasets.coco_annotations import Index, index
from bench.datasets.frames import Frame

IN_CITYSCAPES = ("person", "bicycle", "car", "motorcycle", "bus", "truck", "traffic light", "stop sign")
"""Categories of COCO that Cityscapes has too, as Meta-OoD lists them. It leaves ``train`` in."""

ROAD = 0  # train id
_LISTED = {"train2017": 118287, "val2017": 5000}

LOCATION = Location("coco", ("coco2017", "MSCOCO"), archives=False)


@dataclass(frozen=True)
class Coco(frames.OnDisk):
    """Photographs without any of the excluded categories; whatever is annotated in them is an anomaly, value 1.

    An image is left out if it has one annotation of a category in ``exclude``, crowds among them, or a side shorter
    than ``minimum``. What is not annotated is ``ignored``; ``background: road`` gives it the label of road besides,
    which is what Meta-OoD trains with and no property of these pictures. Grey and CMYK files are converted to RGB.
    """

    name = "coco"
    source = "Lin et al., Microsoft COCO, arXiv:1405.0312; choice of Chan et al., arXiv:2012.06575, section 4"

    split: Literal["train2017", "val2017"] = "train2017"
    exclude: tuple[str, ...] = IN_CITYSCAPES
    minimum: Annotated[int, Ge(1)] = 480  # pixels of the shorter side
    background: Literal["ignored", "road"] = "ignored"

    @property
    def annotations(self) -> frozenset[str]:
        return frozenset({"anomaly"} if self.background == "ignored" else {"anomaly", "labels"})

    @property
    def published(self) -> int:
        """The number of images chosen from the annotation file."""
        return len(self._index.ids)

    @property
    def obtain(self) -> str:
        return archives.obtain(self.name, split=self.split)

    def scan(self) -> Sequence[Frame]:
        folder = photographs(self.split)
        paths = listing.tree(folder, f"unpack {self.split}.zip beside annotations/").names()
        if not len(self._index.ids):
            raise MissingData(
                f"{self._annotations}: no image is left that has no excluded category and at least {self.minimum}"
                f" pixels on both sides; say minimum or exclude otherwise"
            )
        listed = int(self._index.listed[0])
        if self.frames is None and listed != _LISTED[self.split]:
            raise MissingData(
                f"{self._annotations} lists {listed} images, wanted {_LISTED[self.split]}; unpack"
                f" annotations_trainval2017.zip again, or say frames: {len(self._index.ids)} in the suite if that is"
                f" all there should be"
            )
        for name in self._index.names.tolist():
            if name.lower() not in paths:
                raise MissingData(
                    f"{folder / name} does not exist, but {self._annotations.name} lists it; unpack {self.split}.zip"
                    f" again"
                )
        sides.counted(self._index.ids.tolist(), self.count, folder, f"unpack {self.split}.zip again")
        pairs = zip(self._index.ids.tolist(), self._index.names.tolist(), strict=True)
        return [Frame(f"{number:012}", paths[name.lower()]) for number, name in pairs]

    def truth(self, frame: Frame) -> Mapping[str, Labels]:
        self._check_size(frame)
        mask = self._index.mask(self._at(frame))
        if self.background == "ignored":
            return {"anomaly": np.where(mask, np.uint8(1), np.uint8(IGNORE))}
        return {"anomaly": mask.astype(np.uint8), "labels": np.where(mask, np.uint8(IGNORE), np.uint8(ROAD))}

    def check_frame(self, frame: Frame) -> None:
        """Check header and end of the image; its annotations were checked when their file was read."""
        self._check_size(frame)
        frames.check_whole(frame.image)

    def digest(self) -> str:
        """16 hex digits of the annotation file's bytes, the choice, and the id and size in bytes of every image."""
        whole = hashlib.sha256(f"{digest(self._annotations)} {self.background}\n".encode())
        for frame in self._frames:
            whole.update(f"{frame.id} {frame.image.stat().st_size}\n".encode())
        return whole.hexdigest()[:16]

    def _check_size(self, frame: Frame) -> None:
        actual, stated = frames.size(frame.image), tuple(self._index.sizes[self._at(frame)].tolist())
        if actual != stated:
            raise MissingData(
                f"{frame.image} is {actual[0]}x{actual[1]}, {self._annotations.name} says {stated[0]}x{stated[1]};"
                f" unpack {self.split}.zip again"
            )

    def _at(self, frame: Frame) -> int:
        """The row of a frame in the index."""
        return int(np.searchsorted(self._index.ids, int(frame.id)))

    @property
    def _root(self) -> Path:
        return unpacked(self.split)

    @property
    def _annotations(self) -> Path:
        folder = listing.inside(self._root, "annotations") or self._root / "annotations"
        return folder / f"instances_{self.split}.json"

    @cached_property
    def _index(self) -> Index:
        return index(self._annotations, self.exclude, self.minimum)


def unpacked(split: str, root: Path | None = None) -> Path:
    """The folder with ``annotations/``: ``root``, without it that of the data set, or ``2017`` inside as the source."""
    annotations = listing.inside(root, "annotations") if root else LOCATION.find("annotations")
    if annotations is not None:
        return annotations.parent
    obtain = archives.obtain(Coco.name, split=split)
    if root:
        path = root / "annotations"
        raise MissingData(f"{path} does not exist, nor below 2017/{listing.nearby(path)}; {obtain}")
    contents = f"annotations/ and {split}/ of COCO 2017"
    raise sides.absent(LOCATION.wanted("annotations"), LOCATION, contents, obtain)


def photographs(split: str) -> Path:
    """The folder of the images, which may not exist."""
    root = unpacked(split)
    return listing.inside(root, split) or root / split
