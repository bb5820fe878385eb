"""IDD Segmentation: unstructured roads of India, in the layout of the official archive.

Layout, label ids, level-3 ids and train ids of Cityscapes: AutoNUE/public-code, README.md and helpers/anue_labels.py;
counts: arXiv:1811.10200. The archive holds polygons; ``createLabels.py`` of that repository makes label files of them,
and they are drawn here, in memory, where there are none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, Literal

from bench.contract.dataset import CITYSCAPES
from bench.core import label_values
from bench.core.listing import Location
from bench.core.values import IGNORE
from bench.datasets import cityscapes_polygons
from bench.datasets.frames import Encoding
from bench.datasets.labelled_trees import KEPT, LabelFile, LabelledTrees, Pair, encoding

_ = IGNORE
IDS = {
    "road": (0, 0), "parking": (1, _), "drivable fallback": (1, _), "sidewalk": (2, 1), "rail track": (3, _),
    "non-drivable fallback": (3, 9), "person": (4, 11), "animal": (4, _), "rider": (5, 12), "motorcycle": (6, 17),
    "bicycle": (7, 18), "autorickshaw": (8, _), "car": (9, 13), "truck": (10, 14), "bus": (11, 15), "caravan": (12, _),
    "trailer": (12, _), "train": (12, 16), "vehicle fallback": (12, _), "curb": (13, _), "wall": (14, 3),
    "fence": (15, 4), "guard rail": (16, _), "billboard": (17, _), "traffic sign": (18, 7), "traffic light": (19, 6),
    "pole": (20, 5), "polegroup": (20, _), "obs-str-bar-fallback": (21, _), "building": (22, 2), "bridge": (23, _),
    "tunnel": (23, _), "vegetation": (24, 8), "sky": (25, 10), "fallback background": (25, _), "unlabeled": (_, _),
    "ego vehicle": (_, _), "rectification border": (_, _), "out of roi": (_, _), "license plate": (_, _),
}  # fmt: skip
"""The level-3 id and the train id of Cityscapes of each name, in the order of the label ids."""

CLASSES = (
    "road", "drivable fallback", "sidewalk", "non-drivable fallback", "person", "rider", "motorcycle", "bicycle",
    "autorickshaw", "car", "truck", "bus", "vehicle fallback", "curb", "wall", "fence", "guard rail", "billboard",
    "traffic sign", "traffic light", "pole", "obs-str-bar-fallback", "building", "bridge", "vegetation", "sky",
)  # fmt: skip
"""The classes of level 3, each by the name of its largest part."""

_PUBLISHED = {"train": 6993, "val": 981, "test": 2029}
_DRAW = partial(cityscapes_polygons.draw, ids={name: number for number, name in enumerate(IDS)}, owner="IDD")


def _files(level: int, made: str, classes: int) -> Sequence[LabelFile]:
    """The label files of one kind of classes: those that ``createLabels.py`` makes, and what they are made of."""
    by_id = {number: codes[level] for number, codes in enumerate(IDS.values())} | {IGNORE: IGNORE}
    drawn = replace(encoding(f"polygons, {made}", by_id), decode=_DRAW)
    kinds: Mapping[str, Encoding] = {
        f"label{made}": encoding(made, label_values.train_ids(classes)),
        "labelIds": encoding(f"ids, {made}", by_id),
    }
    pngs = [LabelFile((f"_gtFine_{after}",), kind) for after, kind in kinds.items()]
    return (*pngs, LabelFile(("_gtFine_polygons",), drawn, (".json",)))


_LABEL_FILES = {
    "level3": _files(0, "level3Ids", len(CLASSES)),
    "cityscapes": _files(1, "csTrainIds", len(CITYSCAPES)),
}


@dataclass(frozen=True)
class Idd(LabelledTrees):
    """Roads of Hyderabad and Bangalore, 1080x1920 and 720x1280; ``val`` has 981 frames, ``train`` 6993.

    ``classes: level3`` are the 26 that IDD evaluates, ``cityscapes`` the 19 train ids that IDD gives its labels: what
    Cityscapes has no name for is ignored, and "non-drivable fallback" is terrain. Read are the files that
    ``createLabels.py`` makes (``labellevel3Ids``, ``labelcsTrainIds``), files of ids, or the polygons of the archive.
    ``test`` (2029) has no truth here. A group is one drive.

    The counts are those of IDD 20k, part I; the part II that came later lies in the same layout: say ``frames``.
    """

    name = "idd"
    source = "Varma et al., IDD: A Dataset for Exploring Problems of Autonomous Navigation, arXiv:1811.10200"
    location: ClassVar[Location] = Location("idd", ("IDD_Segmentation", "idd20k", "idd20kII"))
    contents: ClassVar[str] = "leftImg8bit/ and gtFine/ of IDD"
    image_after: ClassVar[tuple[str, ...]] = ("_leftImg8bit",)
    by_folder: ClassVar[bool] = True
    by_group: ClassVar[bool] = True

    split: Literal["val", "train", "test"] = "val"
    classes: Literal["level3", "cityscapes"] = "level3"

    @property
    def class_names(self) -> tuple[str, ...]:
        return CLASSES if self.classes == "level3" else CITYSCAPES

    @property
    def annotations(self) -> frozenset[str]:
        return frozenset() if self.hidden else frozenset({"labels"})

    @property
    def hidden(self) -> str:
        return f"{KEPT}; evaluate split val" if self.split == "test" else ""

    @property
    def published(self) -> int:
        return _PUBLISHED[self.split]

    @property
    def pairs(self) -> Sequence[Pair]:
        return (Pair((("leftImg8bit", self.split),), (("gtFine", self.split),)),)

    @property
    def label_files(self) -> Sequence[LabelFile]:
        return _LABEL_FILES[self.classes]
