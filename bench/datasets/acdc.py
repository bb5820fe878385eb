"""ACDC and Dark Zurich: streets in fog, rain and snow and at night, in the layout that both share.

Layout: the data sets' own read-me files, as open-mmlab/mmsegmentation, configs/_base_/datasets and
valeoai/bravo_challenge, bravo_toolkit, read them. Counts: arXiv:2104.13395, table 2, and arXiv:2003.11113. In
``*_gt_invIds.png`` 1 marks pixels that could be labelled only with the help of an image of the same place by day.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from os.path import commonpath
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from bench.core import listing
from bench.core.errors import MissingData
from bench.core.listing import Location, Tree
from bench.core.values import IGNORE, Labels
from bench.datasets import frames
from bench.datasets.cityscapes import ENCODINGS
from bench.datasets.frames import Frame
from bench.datasets.labelled_trees import KEPT, LabelFile, LabelledTrees, Pair, encoding

CONDITIONS = ("fog", "night", "rain", "snow")
INVALID = encoding("invIds", {0: 0, 1: 1, IGNORE: 1})

_PUBLISHED: Mapping[str, Mapping[str, int]] = {
    "train": dict.fromkeys(CONDITIONS, 400),
    "val": dict.fromkeys(CONDITIONS, 100) | {"night": 106},
    "test": dict.fromkeys(CONDITIONS, 500),
}


@dataclass(frozen=True)
class _Adverse(LabelledTrees):
    contents: ClassVar[str] = "rgb_anon/ and gt/"
    image_after: ClassVar[tuple[str, ...]] = ("_rgb_anon", "_rgb_ref_anon")
    by_group: ClassVar[bool] = True

    ignore_invalid: bool = False

    @property
    def label_files(self) -> Sequence[LabelFile]:
        return [LabelFile((f"_gt_{kind}",), ENCODINGS[kind]) for kind in ("labelTrainIds", "labelIds")]

    def scan(self) -> Sequence[Frame]:
        """The frames, each with its mask of invalid pixels as the second file where these are ignored."""
        scanned = super().scan()
        masks = [frame.mask for frame in scanned if frame.mask]
        if not self.ignore_invalid or not masks:
            return scanned
        kind = next(text for text in ("_labelTrainIds", "_labelIds") if masks[0].stem.endswith(text))
        tree = listing.tree(Path(commonpath([mask.parent for mask in masks])))
        invalid = tree.ids(after="_invIds", ends=listing.MASKS, folders=True)
        return [
            replace(frame, overlay=_of(mask, kind, invalid, tree)) for frame, mask in zip(scanned, masks, strict=True)
        ]

    def truth(self, frame: Frame) -> Mapping[str, Labels]:
        truth = super().truth(frame)
        if frame.overlay is None or not truth:
            return truth
        with frames.counted_values():  # these values are no labels, so they are not judged with them
            invalid = frames.read_mask(frame.overlay, INVALID, like=frame.image)
        return {"labels": np.where(invalid == 1, np.uint8(IGNORE), truth["labels"])}


def _of(mask: Path, kind: str, invalid: Mapping[str, Path], tree: Tree) -> Path:
    """The mask of invalid pixels beside a label file. Raise MissingData where there is none."""
    stem = mask.stem.removesuffix(kind)
    folders = [part.lower() for part in mask.relative_to(tree.folder).parts[:-1]]
    if path := invalid.get("/".join([*folders, stem])):
        return path
    raise MissingData(f"{mask.with_name(f'{stem}_invIds.png')} does not exist, but ignore_invalid wants it")


@dataclass(frozen=True)
class Acdc(_Adverse):
    """Streets of Switzerland in four adverse conditions, 1080x1920; ``train`` has 1600 frames and ``val`` 406.

    ``condition`` takes one of them: fog, night, rain or snow; it is a tag of every frame. ``test`` (2000) has no truth
    here. ``*_ref`` are as many images of the same places in good weather by day, without labels; ``labelled: true``
    reads those that were published later, as ``*_gt_ref_labelTrainIds.png``. ``ignore_invalid`` ignores the pixels that
    the image alone does not tell, which are labelled all the same. A group is one recorded sequence.
    """

    name = "acdc"
    source = "Sakaridis et al., ACDC: The Adverse Conditions Dataset with Correspondences, arXiv:2104.13395"
    location: ClassVar[Location] = Location("acdc")

    split: Literal["val", "train", "test", "val_ref", "train_ref", "test_ref"] = "val"
    condition: Literal["fog", "night", "rain", "snow"] | None = None
    labelled: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.labelled and not self._reference:
            raise ValueError(f"labelled is said of references alone; split {self.split} is none")

    @property
    def annotations(self) -> frozenset[str]:
        return frozenset() if self.hidden else frozenset({"labels"})

    @property
    def hidden(self) -> str:
        if self.split == "test":
            return f"{KEPT}; evaluate split val"
        return "references have no labels, unless labelled: true" if self._reference and not self.labelled else ""

    @property
    def published(self) -> int:
        counts = _PUBLISHED[self.split.removesuffix("_ref")]
        return counts[self.condition] if self.condition else sum(counts.values())

    @property
    def pairs(self) -> Sequence[Pair]:
        conditions = (self.condition,) if self.condition else CONDITIONS
        trees = {each: (each, self.split) for each in conditions}
        return [Pair((("rgb_anon", *tree),), (("gt", *tree),), {"condition": each}) for each, tree in trees.items()]

    @property
    def label_files(self) -> Sequence[LabelFile]:
        if not self._reference:
            return super().label_files
        return [replace(kind, after=(kind.after[0].replace("_gt_", "_gt_ref_"),)) for kind in super().label_files]

    @property
    def _reference(self) -> bool:
        return self.split.endswith("_ref")


@dataclass(frozen=True)
class DarkZurich(_Adverse):
    """The 50 labelled frames of Dark Zurich-val: one drive at night, 1080x1920.

    ``ignore_invalid`` ignores the pixels that the image alone does not tell, which are labelled all the same.
    """

    name = "dark_zurich"
    source = "Sakaridis et al., Map-Guided Curriculum Domain Adaptation and UIoU, arXiv:2005.14553"
    location: ClassVar[Location] = Location("dark_zurich", ("Dark_Zurich_val_anon",))

    @property
    def annotations(self) -> frozenset[str]:
        return frozenset({"labels"})

    @property
    def published(self) -> int:
        return 50

    @property
    def pairs(self) -> Sequence[Pair]:
        images, labels = ("rgb_anon", "val", "night"), ("gt", "val", "night")
        return (Pair((("Dark_Zurich_val_anon", *images), images), (("Dark_Zurich_val_anon", *labels), labels)),)
