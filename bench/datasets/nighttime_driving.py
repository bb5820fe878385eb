"""Nighttime Driving, its 50 labelled frames, in the layout of the official archive.

Layout: open-mmlab/mmsegmentation, docs, dataset_prepare.md, and configs/_base_/datasets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from bench.core.listing import Location
from bench.datasets.cityscapes import ENCODINGS
from bench.datasets.labelled_trees import LabelFile, LabelledTrees, Pair


@dataclass(frozen=True)
class NighttimeDriving(LabelledTrees):
    """50 frames of Zurich at night, 1080x1920, coarsely labelled with the classes of Cityscapes."""

    name = "nighttime_driving"
    source = "Dai and Van Gool, Dark Model Adaptation: from Daytime to Nighttime, arXiv:1810.02575"
    location: ClassVar[Location] = Location("nighttime_driving", ("NighttimeDrivingTest",))
    contents: ClassVar[str] = "leftImg8bit/ and gtCoarse_daytime_trainvaltest/"
    image_after: ClassVar[tuple[str, ...]] = ("_leftImg8bit",)

    @property
    def annotations(self) -> frozenset[str]:
        return frozenset({"labels"})

    @property
    def published(self) -> int:
        return 50

    @property
    def pairs(self) -> Sequence[Pair]:
        images, labels = ("leftImg8bit", "test", "night"), ("gtCoarse_daytime_trainvaltest", "test", "night")
        return (Pair((("NighttimeDrivingTest", *images), images), (("NighttimeDrivingTest", *labels), labels)),)

    @property
    def label_files(self) -> Sequence[LabelFile]:
        return [LabelFile((f"_gtCoarse_{kind}",), ENCODINGS[kind]) for kind in ("labelTrainIds", "labelIds")]
