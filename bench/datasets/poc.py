"""POC, "Placing Objects in Context": objects painted into Cityscapes and ACDC, made of the publishers' differences.

Layout, label values and the way in which images are made: naver/poc@3acb81a, poc/prepare_datasets.py,
poc/generate_poc_dset.py and RPL/rpl_corocl.code/dataset/validation. The archive holds masks and the difference of each
image to that of Cityscapes or ACDC; its set of IDD is prepared by nobody's program and not read here. The program that
packed ACDC wrote masks below ``rgb_anon_trainvaltest/gt``, the one that unpacks it reads ``gt_trainval/gt``: both are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.core import label_values, listing
from bench.core.errors import MissingData
from bench.core.images import read_rgb
from bench.core.label_values import CLASSES
from bench.core.listing import Location
from bench.core.values import IGNORE
from bench.datasets import archives, cityscapes, frames, sides
from bench.datasets.acdc import Acdc
from bench.datasets.frames import Encoding, Frame
from bench.datasets.masked import UNKNOWN, Masked
from bench.datasets.overlays import BaseImages, read_overlay

Set = Literal["cityscapes", "acdc"]

CITYSCAPES = Encoding(
    "POC on Cityscapes",
    {**dict.fromkeys(range(CLASSES, IGNORE), UNKNOWN), **label_values.train_ids()},
    "0..18, from 19 on for objects, or 255",
)
"""Train ids; every value beyond the classes is an object that Cityscapes does not name."""
ACDC = Encoding(
    "POC on ACDC",
    {**label_values.label_ids(), **dict.fromkeys(range(100, IGNORE), UNKNOWN)},
    "0..33, from 100 on for objects, or 255",
)
"""Label ids of Cityscapes; from 100 on objects that it does not name."""
_PHOTO = re.compile(r"A-good-photo-of-an?-(.+)_[0-9]+")


@dataclass(frozen=True)
class _Layout:
    images: tuple[str, ...]  # folders of the differences
    masks: tuple[tuple[str, ...], ...]  # folders of the masks: the first that is there
    after: str  # between the id of the image below and what was painted into it
    depth: int  # folders between
    encoding: Encoding
    below: Location
    base: tuple[str, ...]  # folders of the images below
    archive: str


_LAYOUTS: Mapping[Set, _Layout] = {
    "cityscapes": _Layout(
        ("POC_CS_VAL", "leftImg8bit", "val"),
        (("POC_CS_VAL", "gtFine", "val"),),
        "_leftImg8bit",
        1,
        CITYSCAPES,
        cityscapes.LOCATION,
        ("leftImg8bit", "val"),
        "leftImg8bit_trainvaltest.zip of Cityscapes",
    ),
    "acdc": _Layout(
        ("POC_ACDC_VAL", "rgb_anon_trainvaltest", "rgb_anon"),
        (("POC_ACDC_VAL", "gt_trainval", "gt"), ("POC_ACDC_VAL", "rgb_anon_trainvaltest", "gt")),
        "_rgb_anon",
        3,
        ACDC,
        Acdc.location,
        ("rgb_anon",),
        "rgb_anon_trainvaltest.zip of ACDC",
    ),
}

LOCATION = Location("poc", ("POC", "POC_Datasets"))


@dataclass(frozen=True)
class Poc(Masked):
    """Objects painted into frames of a validation set, unknown ones and some of known classes; labels and anomalies.

    ``set: acdc`` has 200 frames of ACDC val, whose masks hold label ids, and 100 and more for objects of no class.
    ``set: cityscapes`` has masks of train ids, and any value beyond them for such objects; how many frames it has is
    not published, so all that are there are read. An image is the one below plus the difference, modulo 256, as the
    publishers' program makes it. Every class is normal.

    A group is a recorded sequence. Tags: ``object``, what was painted; ``city`` or ``condition``.
    """

    name = "poc"
    source = "de Jorge et al., Placing Objects in Context via Inpainting, arXiv:2402.16392; naver/poc"

    set: Set

    @property
    def annotations(self) -> frozenset[str]:
        return frozenset({"labels", "anomaly"})

    @property
    def published(self) -> int:
        """200 of ACDC; of Cityscapes as many as there are."""
        return 200 if self.set == "acdc" else len(self._frames)

    @property
    def obtain(self) -> str:
        return archives.obtain(self.name)

    def scan(self) -> Sequence[Frame]:
        layout, again = _LAYOUTS[self.set], "unpack data.zip again"
        folder = LOCATION.find(*layout.images)
        if folder is None:
            wanted = LOCATION.wanted(*layout.images)
            raise sides.absent(wanted, LOCATION, f"{layout.images[0]}/", self.obtain)
        labels = next(filter(None, (LOCATION.find(*chain) for chain in layout.masks)), None)
        overlays = sides.side(listing.tree(folder), again, ends=(".npz",), depth=layout.depth)
        tree = listing.tree(labels or LOCATION.wanted(*layout.masks[0]), again)
        masks = sides.side(tree, again, ends=listing.MASKS, depth=layout.depth, like=overlays)
        pairs = sides.paired(overlays, masks, self.frames)
        if self.frames is not None or self.set == "acdc":
            sides.counted(pairs, self.count, folder, again)
        base = BaseImages(
            LOCATION,
            layout.below,
            (layout.base,),
            layout.after,
            archive=layout.archive,
            use="is of that image",
            depth=layout.depth,
        )
        return frames.unique([self._frame(name, base, layout, *pair, folder) for name, pair in pairs.items()])

    def decode(self, frame: Frame) -> NDArray[np.uint8]:
        image = read_rgb(frame.image)
        made: NDArray[np.uint8] = image + self._difference(frame, (image.shape[0], image.shape[1]))  # modulo 256
        return made

    def check_frame(self, frame: Frame) -> None:
        super().check_frame(frame)
        self._difference(frame, frames.size(frame.image))

    def _difference(self, frame: Frame, size: tuple[int, int]) -> NDArray[np.uint8]:
        """uint8 [H, W, 3]: what is added to the image below."""
        assert frame.overlay is not None  # noqa: S101 - scan paired it
        return read_overlay(frame.overlay, size, "img", ["uint8"], "POC")

    def _frame(self, name: str, base: BaseImages, layout: _Layout, overlay: Path, mask: Path, folder: Path) -> Frame:
        below, between, painted = name.partition(f"{layout.after}_")
        if not between:
            raise MissingData(f"{overlay}: wanted a name such as ID{layout.after}_A-good-photo-of-a-dog_1.npz")
        inside = overlay.parent.relative_to(folder)
        match = _PHOTO.fullmatch(painted)
        tags = {"object": (match[1] if match else painted).replace("-", " ")}
        if self.set == "cityscapes":
            tags["city"] = below.partition("_")[0]
        else:
            tags["condition"] = inside.parts[0].lower() if inside.parts else "unknown"
        frame = Frame(frames.plain(name), base.image(below, mask, str(inside)), mask, layout.encoding, tags=tags)
        return replace(frame, group=below.rpartition("_")[0].removesuffix("_frame"), overlay=overlay)
