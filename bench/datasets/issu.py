"""ISSU: Indian streets with unknown objects, labels of 19 classes and anomalies in one file.

Layout, label values, splits, counts and which folders are in low light: vojirt/benchmark_issu@a7d8a65,
benchmark/datasets/tracks.py and benchmark/datasets/scripts/DOWNLOAD.md. The archive holds labels and lists; its
``compose_ISSU.py`` takes the images from four parts of IDD, its ``convert_idd_data.py`` puts both into one folder,
which is what is read here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from bench.core.label_values import CLASSES
from bench.core.listing import Location
from bench.core.values import IGNORE
from bench.datasets.frames import Encoding, Frame
from bench.datasets.masked import UNKNOWN
from bench.datasets.paired import Paired
from bench.datasets.sides import Ready

Split = Literal["static", "temporal", "all"]
Light = Literal["normal", "low"]

LEGAL = "0..18, 254 or 255"
ANOMALY = Encoding("ISSU", {**{value: value for value in range(CLASSES)}, 254: UNKNOWN, IGNORE: IGNORE}, LEGAL)
"""Train ids of Cityscapes, 254 the anomaly, 255 ignored."""
OBSTACLE = Encoding(
    "ISSU on the road", {0: 0, **dict.fromkeys(range(1, CLASSES), IGNORE), 254: 1, IGNORE: IGNORE}, LEGAL
)
"""The road is normal, 254 the obstacle; all else is ignored."""
_PUBLISHED: Mapping[tuple[Split, Light | None], int] = {
    ("static", None): 980,
    ("temporal", None): 1138,
    ("all", None): 2118,
    ("static", "normal"): 848,
    ("static", "low"): 132,
    ("temporal", "normal"): 868,
    ("temporal", "low"): 270,
    ("all", "normal"): 1716,
    ("all", "low"): 402,
}
_LOW = {  # folders by split; the others are in normal light
    "static": {"rain", "fog", "lowlight"},
    "temporal": {
        *("5", "15", "17", "20", "25", "31", "32", "33", "38", "39", "40", "41", "42", "45", "52", "54", "72", "80"),
        *("83", "85", "88", "91", "93", "94", "96"),
    },
}
_HOME = ("dataset_ISSUTrack", "dataset_IDDTrack")  # the second in older versions of the program

LOCATION = Location("issu", ("ISSU",))


@dataclass(frozen=True)
class Issu(Paired):
    """2118 test frames of IDD: ``static`` 980 single ones, ``temporal`` 1138 of videos.

    ``track: anomaly`` has labels of Cityscapes' 19 classes, all of them normal, and anomalies, which have no label;
    ``track: obstacle`` counts the road as normal and ignores what is beside it. ``light`` takes the frames of one light
    alone, as the official slices do: 132 static and 270 temporal ones are in low light, which is rain, fog and night.

    A group is one folder: a drive, or what the publishers put together. Tags: ``part`` and ``light``.
    """

    name = "issu"
    source = "Laskar et al., A Dataset for Semantic Segmentation in the Presence of Unknowns, arXiv:2503.22309"
    location = LOCATION

    split: Split = "all"
    track: Literal["anomaly", "obstacle"] = "anomaly"
    light: Light | None = None

    @property
    def annotations(self) -> frozenset[str]:
        return frozenset({"labels", "anomaly"} if self.track == "anomaly" else {"anomaly"})

    @property
    def published(self) -> int:
        return _PUBLISHED[self.split, self.light]

    @property
    def ready(self) -> Ready:
        encoding = ANOMALY if self.track == "anomaly" else OBSTACLE
        return Ready((_HOME, "images"), (_HOME, "labels_masks"), encoding=encoding, depth=0, wants=self._wants)

    def described(self, frame: Frame) -> Frame:
        part, folder = _place(frame.id)
        return replace(frame, group=f"{part}_{folder}", tags={"part": part, "light": _light(part, folder)})

    def _wants(self, name: str) -> bool:
        """True if a frame belongs to the split and the light."""
        part, folder = _place(name)
        return part in _LOW and self.split in ("all", part) and self.light in (None, _light(part, folder))


def _place(name: str) -> tuple[str, str]:
    """``static_0_009599`` to its part and its folder."""
    part, _, rest = name.partition("_")
    return part, rest.partition("_")[0]


def _light(part: str, folder: str) -> Light:
    return "low" if folder in _LOW.get(part, ()) else "normal"
