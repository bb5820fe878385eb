"""``Validation_Dataset``: five anomaly sets repacked alike, a copy that many course and paper repositories pass on.

It is not what the publishers distribute, so it has its own name, and its figures stand in rows of their own. What
differs, as far as the evaluation scripts that come with it show (``evalAnomaly.py``): every file is renamed, so frames
cannot be told by name; Static frames of Fishyscapes are JPEG, and the copy does not say which version they are;
RoadAnomaly21 frames are named .png and hold JPEG data. Nobody publishes checksums for it. The misspelt
``RoadObsticle21`` is its own. Those scripts resize images and masks to 512x1024 and drop frames without anomaly; here
that is what ``label_size``, ``keep`` and the ``inference`` of a network ask for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from bench.core.listing import Location
from bench.datasets import archives, road_anomaly
from bench.datasets.frames import ANOMALY, Encoding
from bench.datasets.paired import Repacked
from bench.datasets.sides import Ready

Set = Literal["RoadAnomaly", "RoadAnomaly21", "RoadObsticle21", "FS_LostFound_full", "fs_static"]

_PUBLISHED: Mapping[Set, int] = {  # as many as the sets that they were made from
    "RoadAnomaly": 60,
    "RoadAnomaly21": 10,
    "RoadObsticle21": 30,
    "FS_LostFound_full": 100,
    "fs_static": 30,
}
_INSTEAD: Mapping[Set, str] = {
    "RoadAnomaly": "road_anomaly",
    "RoadAnomaly21": "smiyc: {track: RoadAnomaly21, split: validation}",
    "RoadObsticle21": "smiyc: {track: RoadObstacle21, split: validation}",
    "FS_LostFound_full": "fishyscapes: {set: lost_and_found}",
    "fs_static": "fishyscapes: {set: static, version: 3}",
}
_SPELLINGS: Mapping[Set, tuple[str, ...]] = {
    "RoadObsticle21": ("RoadObstacle21",),
    "FS_LostFound_full": ("LostAndFound", "FS_LostFound", "FS_LostAndFound", "FS_LostAndFound_full"),
    "fs_static": ("Static", "FS_Static_full"),
}
"""Names that people give to the folders of the sets, beside those of the copy."""

LOCATION = Location("validation_dataset")


@dataclass(frozen=True)
class ValidationDataset(Repacked):
    """One set of ``Validation_Dataset/<set>/{images,labels_masks}``, a repacked copy and not an official set.

    Images are PNG, JPEG or WebP; a mask has the stem of its image. Masks hold 0 normal, 1 anomaly, 255 ignored; those
    of ``RoadAnomaly`` 0 and 2. A palette of colours counts by its indices, as the scripts that the copy is made
    for read them.
    """

    name = "validation_dataset"
    source = "repacked by third parties; what differs from the official sets stands in this file and in docs/data.md"

    location = LOCATION

    set: Set

    @property
    def published(self) -> int:
        return _PUBLISHED[self.set]

    @property
    def obtain(self) -> str:
        copy = f"a copy without publisher and checksum; the official set is {_INSTEAD[self.set]}"
        return f"{archives.obtain(self.name)}, {copy}"

    @property
    def ready(self) -> Ready:
        names = (self.set, *_SPELLINGS.get(self.set, ()))
        after = ("", "_labels_semantic", "_labels", "_label", "_mask", "_gt")  # as publishers and programs name masks
        labels = ("labels_masks", "labels", "masks")
        return Ready((names, "images"), (names, labels), mask_after=after, encoding=self._encoding, depth=0)

    @property
    def _encoding(self) -> Encoding:
        return replace(road_anomaly.LABELS if self.set == "RoadAnomaly" else ANOMALY, palette=True)
