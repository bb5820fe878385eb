"""BRAVO: images under shift and with unknown objects, in the tree of the official archives.

Layout, names and values: valeoai/bravo_challenge@d54005d. The organisers keep the labels and the masks of invalid
pixels, so images alone are there to make a submission from; where somebody has rebuilt the truth, it lies beside them
under the names of the organisers' own archive.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np

from bench.core import images, listing
from bench.core.errors import MissingData
from bench.core.listing import Location
from bench.core.values import Labels
from bench.datasets import archives, frames, sides
from bench.datasets.cityscapes import ENCODINGS
from bench.datasets.frames import Frame, OnDisk

Subset = Literal[
    "ACDCfog", "ACDCrain", "ACDCnight", "ACDCsnow", "synrain", "SMIYC", "synobjs", "synflare", "outofcontext"
]

LOCATION = Location("bravo")


@dataclass(frozen=True)
class Names:
    """The endings of the files of one split, behind the name that they share."""

    image: str
    labels: str
    invalid: str  # a mask that is not 0 where a pixel is invalid
    published: int | None = None  # images; None where nobody says
    prediction: str = "_pred.png"  # of a submission before it is encoded
    confidence: str = "_conf.png"


_SYNTHETIC = ("_leftImg8bit.png", "_gt_labelTrainIds.png", "_gt_invIds.png")
_SHIFTED = ("_leftImg8bit_pred.png", "_leftImg8bit_conf.png")
SPLITS: Mapping[str, Names] = {
    "ACDC": Names(
        "_rgb_anon.png",
        "_gt_labelTrainIds.png",
        "_gt_invIds.png",
        None,
        "_rgb_anon_pred.png",
        "_rgb_anon_conf.png",
    ),
    "SMIYC": Names(".jpg", "_labels_semantic_fake.png", "_labels_semantic.png"),
    "outofcontext": Names(*_SYNTHETIC, 329, *_SHIFTED),
    "synobjs": Names(".png", "_gt.png", "_mask.png", 656),
    "synflare": Names(*_SYNTHETIC, 308, *_SHIFTED),
    "synrain": Names(*_SYNTHETIC, 500, *_SHIFTED),
}
"""The folders ``bravo_<split>/`` by name."""


def split_of(subset: str) -> str:
    """Return the split whose folder holds a subset: the four conditions of ACDC are one."""
    return "ACDC" if subset.startswith("ACDC") else subset


@dataclass(frozen=True)
class Bravo(OnDisk):
    """Street scenes under shift: one of nine subsets, real and synthetic, with unknown objects in two of them.

    ``labels`` are the 19 classes of Cityscapes; in the anomaly mask 1 is a pixel that is invalid: an unknown object, or
    what a flare or a drop of rain hides. Subsets: fog, rain, night and snow of ACDC, ``SMIYC`` (objects on roads), and
    made of Cityscapes val ``synrain``, ``synobjs`` (objects painted in), ``synflare`` and ``outofcontext``.

    ``labels: hidden`` reads the images alone, which a submission is made from; ``labels: present`` reads the labels and
    masks that lie beside them. Only ``synrain``, ``synobjs``, ``synflare`` and ``outofcontext`` have a published number
    of images. A group is a drive or a city, the tag ``folder`` the folder of an image.
    """

    name = "bravo"
    source = "Vu et al., The BRAVO Semantic Segmentation Challenge Results in UNCV2024, arXiv:2409.15107"

    subset: Subset
    labels: Literal["hidden", "present"] = "hidden"

    @property
    def annotations(self) -> frozenset[str]:
        return frozenset({"labels", "anomaly"}) if self.labels == "present" else frozenset()

    @property
    def hidden(self) -> str:
        if self.labels == "present":
            return ""
        return (
            "its labels are kept by the organisers: it is there to make a submission from; say labels: present where"
            " labels and masks lie beside the images"
        )

    @property
    def published(self) -> int:
        published = self._names.published
        return len(self._images()) if published is None else published

    @property
    def obtain(self) -> str:
        return archives.obtain(self.name)

    @property
    def bases(self) -> Mapping[str, str]:
        """Id to the name in the official archives, such as bravo_synobjs/polar bear/4."""
        return {
            frame.id: frame.image.relative_to(self.root).as_posix().removesuffix(self._names.image)
            for frame in self._frames
        }

    @property
    def root(self) -> Path:
        """The folder that holds those of the splits."""
        return self._folder.parent

    def scan(self) -> Sequence[Frame]:
        names, images_ = self._names, self._images()
        sides.counted(images_, self.count, self._folder, "unpack the archive again")
        scanned = []
        for path in images_:
            base = path.relative_to(self._folder).as_posix().removesuffix(names.image)
            folder = PurePosixPath(base).parent.name
            frame = Frame(
                frames.plain(base.replace("/", "_")), path, group=folder, tags={"folder": folder} if folder else {}
            )
            scanned.append(frame if self.labels == "hidden" else self._labelled(frame))
        return frames.unique(scanned)

    def truth(self, frame: Frame) -> Mapping[str, Labels]:
        if frame.mask is None or frame.invalid is None:
            return {}
        invalid = images.read_labels(frame.invalid, like=frame.image)
        return {
            "labels": frames.read_mask(frame.mask, frame.encoding, like=frame.image),
            "anomaly": (invalid != 0).astype(np.uint8),
        }

    def _labelled(self, frame: Frame) -> Frame:
        """Return a frame with the files of its truth, which lie beside its image."""
        labels, invalid = (
            frame.image.with_name(frame.image.name.removesuffix(self._names.image) + ending)
            for ending in (self._names.labels, self._names.invalid)
        )
        for path in (labels, invalid):
            if not path.exists():
                raise MissingData(
                    f"{path} does not exist, but its image {frame.image} does; say labels: hidden where images alone"
                    " are there"
                )
        return replace(frame, mask=labels, invalid=invalid, encoding=ENCODINGS["labelTrainIds"])

    def _images(self) -> Sequence[Path]:
        """The images of the subset below its folder, in the order of their names."""
        names = self._names
        beside = (names.labels, names.invalid, names.prediction, names.confidence)
        paths = (path for level in listing.tree(self._folder).levels for path in level)
        listed = [path for path in paths if path.name.endswith(names.image) and not path.name.endswith(beside)]
        condition = self.subset.removeprefix("ACDC")
        if split_of(self.subset) == "ACDC":
            listed = [path for path in listed if condition in path.relative_to(self._folder).parts]
        return sorted(listed)

    @property
    def _names(self) -> Names:
        return SPLITS[split_of(self.subset)]

    @property
    def _folder(self) -> Path:
        name = f"bravo_{split_of(self.subset)}"
        folder = LOCATION.find(name)
        if folder is None:
            raise sides.absent(LOCATION.wanted(name), LOCATION, f"{name}/", self.obtain)
        return folder
