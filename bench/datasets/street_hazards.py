"""StreetHazards: rendered streets with objects that no training image shows, in the layout of the official archives.

Layout, classes and label values: hendrycks/anomaly-seg, README.md and create_dataset.py; counts: arXiv:1911.11132,
section 4. Files hold 1 to 13 for the classes and 14 for the anomaly; the official code subtracts 1
(hendrycks/anomaly-seg#17), so that the anomaly is 13 there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from bench.core import label_values
from bench.core.listing import Location
from bench.core.values import IGNORE
from bench.datasets.labelled_trees import UNLABELLED, LabelFile, LabelledTrees, Pair, encoding

CLASSES = (
    "unlabeled", "building", "fence", "other", "pedestrian", "pole", "road line", "road", "sidewalk", "vegetation",
    "car", "wall", "traffic sign",
)  # fmt: skip
ANOMALY = len(CLASSES)

_PUBLISHED = {"train": 5125, "val": 1031, "test": 1500}
_CLASSES = {value + 1: value for value in range(ANOMALY)}  # by stored value
_LABELS = encoding("StreetHazards", {0: IGNORE} | _CLASSES)
_WITH_ANOMALIES = encoding("StreetHazards", {0: UNLABELLED, ANOMALY + 1: ANOMALY} | _CLASSES)


@dataclass(frozen=True)
class StreetHazards(LabelledTrees):
    """Streets of CARLA, 720x1280; ``test`` has 1500 frames, most with an anomaly, ``train`` 5125 and ``val`` 1031.

    Files hold the 13 classes as 1 to 13, and the anomaly as 14. "unlabeled" is a class there, and its pixels are
    normal; so are pixels of the value 0, which has no class. ``values: train_ids`` reads files from which 1 was
    subtracted already.

    The official figures are means over images: the protocol ``streethazards``; pooled ones are those of ``anomaly``.
    """

    name = "street_hazards"
    source = "Hendrycks et al., Scaling Out-of-Distribution Detection for Real-World Settings, arXiv:1911.11132"
    location: ClassVar[Location] = Location("street_hazards", ("StreetHazards",))
    contents: ClassVar[str] = "test/ or train/ of StreetHazards"
    by_folder: ClassVar[bool] = True

    split: Literal["test", "train", "val"] = "test"

    @property
    def class_names(self) -> tuple[str, ...]:
        return CLASSES

    @property
    def annotations(self) -> frozenset[str]:
        return frozenset({"labels", "anomaly"} if self.split == "test" else {"labels"})

    @property
    def published(self) -> int:
        return _PUBLISHED[self.split]

    @property
    def pairs(self) -> Sequence[Pair]:
        archive = "test" if self.split == "test" else "train"
        inner = {"test": "test", "train": "training", "val": "validation"}[self.split]
        return (Pair(((archive, "images", inner),), ((archive, "annotations", inner),)),)

    @property
    def label_files(self) -> Sequence[LabelFile]:
        return (LabelFile(("",), _WITH_ANOMALIES if self.split == "test" else _LABELS),)

    @property
    def conventions(self) -> Mapping[str, label_values.Meaning]:
        last = {ANOMALY: ANOMALY} if self.split == "test" else {}
        return {
            "train_ids": {**label_values.train_ids(ANOMALY), **last},
            "from_1": self.label_files[0].encoding.meaning,
        }
