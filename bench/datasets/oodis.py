"""OoDIS, anomalous instances: the labels of its public frames, which are frames of LostAndFound.

File names and the way in which values are read: kumuji/anomaly-benchmark-suite@b2d5a82, scoring_program/evaluate.py and
evaluation/, which is Cityscapes': ids from 26000 on are instances of the one class, ids that Cityscapes leaves out of
its evaluation are ignored, 26 is a group that nobody parted. No public source says how many frames there are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.contract.dataset import Sample
from bench.core import files, images, label_values, listing
from bench.core.errors import MissingData
from bench.core.listing import Location
from bench.core.values import IGNORE, Labels
from bench.datasets import archives, lost_and_found, sides
from bench.datasets.frames import Encoding, Frame, OnDisk
from bench.datasets.overlays import BaseImages

GROUP, FIRST, LAST = 26, 26000, 26999  # of a group that nobody parted, and of instances
UNEVALUATED = (0, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18, 29, 30)  # mcordts/cityscapesScripts, helpers/labels.py
CLASSES = 34  # label ids of Cityscapes
AFTER = "_gtCoarse_instanceIds"

LOCATION = Location("oodis", ("OoDIS", "fs_lost_found_instance"))


def instances_of(path: Path) -> NDArray[np.int32]:
    """Return int32 [H, W] of a file: 0 none, -1 ignored, else an instance. Raise MissingData for any other value."""
    try:
        stored = images.numbers(path).astype(np.int64)
    except images.Undecodable as error:
        raise MissingData(f"{path} {error}") from None
    legal = (stored >= 0) & (stored < CLASSES) | (stored >= FIRST) & (stored <= LAST)
    if not legal.all():
        row, column = divmod(int(np.argmin(legal)), stored.shape[1])
        raise MissingData(
            f"{path} holds the value {stored[row, column]} at row {row}, column {column}, wanted label ids of"
            f" Cityscapes below {CLASSES} and instances from {FIRST} to {LAST}"
        )
    ignored = np.isin(stored, (*UNEVALUATED, GROUP))
    return np.where(stored >= FIRST, stored - FIRST + 1, np.where(ignored, -1, 0)).astype(np.int32)


def _mask(path: Path) -> Labels:
    """Return uint8 [H, W]: 0 normal, 1 any instance, 255 ignored."""
    instances = instances_of(path)
    return np.where(instances > 0, np.uint8(1), np.where(instances < 0, np.uint8(IGNORE), np.uint8(0)))


INSTANCES = Encoding("instance ids", label_values.ANOMALY, "instance ids", decode=_mask)


@dataclass(frozen=True)
class Oodis(OnDisk):
    """Obstacles of LostAndFound, labelled one by one; the instances of the other two sets are the organisers'.

    The images are those of LostAndFound. There must be as many frames as there are, since nobody has published their
    number; say ``frames`` to fix it. A group is one drive, the tag ``scene`` the place.
    """

    name = "oodis"
    source = "Nekrasov et al., OoDIS: Anomaly Instance Segmentation Benchmark, arXiv:2406.11835"

    @property
    def annotations(self) -> frozenset[str]:
        return frozenset({"anomaly", "instances"})

    @property
    def published(self) -> int:
        return len(self._frames)

    @property
    def obtain(self) -> str:
        return archives.obtain(self.name)

    def scan(self) -> Sequence[Frame]:
        root = LOCATION.root
        masks = listing.tree(root).ids(after=AFTER, ends=listing.MASKS) if root.is_dir() else {}
        if not masks:
            raise sides.absent(LOCATION.wanted("fishyscapes"), LOCATION, f"files *{AFTER}.png", self.obtain)
        base = BaseImages(
            LOCATION,
            lost_and_found.LOCATION,
            [("leftImg8bit", split) for split in ("train", "test")],
            "_leftImg8bit",
            archive="leftImg8bit.zip of LostAndFound",
            use="is its label",
        )
        scanned = []
        for name, mask in sorted(masks.items()):
            scene = name.rsplit("_", 2)[0]
            image = base.image(name, mask, scene)
            scanned.append(Frame(name, image, mask, INSTANCES, name.rpartition("_")[0], {"scene": scene}))
        sides.counted(scanned, len(scanned) if self.frames is None else self.frames, root, "unpack the archive again")
        return scanned

    def truth(self, frame: Frame) -> Mapping[str, Labels]:
        assert frame.mask is not None  # noqa: S101 - every frame that is listed has one
        return {"anomaly": frame.encoding.stored(frame.mask, frame.image)}

    def load(self, index: int) -> Sample:
        frame = self._frames[index]
        assert frame.mask is not None  # noqa: S101
        return replace(super().load(index), instances=instances_of(frame.mask))

    def digest(self) -> str:
        """Return 16 hex digits of the above, and of the numbers of the instances."""
        masks = [files.digest(frame.mask) for frame in self._frames if frame.mask is not None]
        return hashlib.sha256(" ".join([super().digest(), *masks]).encode()).hexdigest()[:16]
