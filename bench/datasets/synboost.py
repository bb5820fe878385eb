"""SynBoost's packing of three sets, which PEBAL, ATTA and others evaluate on: ``original/`` beside ``labels/``.

Layout: giandbt/synboost, image_dissimilarity/configs/test and data/cityscapes_dataset.py; the folders of the archive as
later repositories read them. It is not what the publishers distribute, so it has a name of its own, and its figures
stand in rows of their own. Nobody says which version of Fishyscapes Static it holds, and nobody publishes a checksum.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from bench.core.listing import Location
from bench.datasets.paired import Repacked
from bench.datasets.sides import Ready

Set = Literal["fs_static", "fs_lost_and_found", "road_anomaly"]

_PUBLISHED: Mapping[Set, int] = {"fs_static": 30, "fs_lost_and_found": 100, "road_anomaly": 60}
_SPELLINGS: Mapping[Set, tuple[str, ...]] = {
    "fs_static": ("Static",),
    "fs_lost_and_found": ("LostAndFound", "fs_lost_found"),
    "road_anomaly": (),
}
"""Names that copies give to the folders, beside those of the archive."""
_ARCHIVE = "final_dataset"  # the folder in data_processed.tar that holds them

LOCATION = Location("synboost", ("data_processed",))


@dataclass(frozen=True)
class SynBoost(Repacked):
    """One of the three sets of ``data_processed.tar``, as many frames as the sets that they were made from.

    Masks hold 0 normal, 1 anomaly, 255 ignored. Images of Fishyscapes are PNG, those of RoadAnomaly JPEG. What else
    lies in the folders (``semantic``, ``synthesis``, ``entropy`` and the like) belongs to SynBoost and is passed over.
    """

    name = "synboost"
    source = (
        "Di Biase et al., Pixel-wise Anomaly Detection in Complex Driving Scenes, arXiv:2103.05445; giandbt/synboost"
    )
    location = LOCATION

    set: Set

    @property
    def published(self) -> int:
        return _PUBLISHED[self.set]

    @property
    def ready(self) -> Ready:
        names = (self.set, *_SPELLINGS[self.set])
        inside = self.location.find(_ARCHIVE, names, "original") or not self.location.find(names, "original")
        head = (_ARCHIVE, names) if inside else (names,)
        return Ready((*head, "original"), (*head, "labels"), depth=0)
