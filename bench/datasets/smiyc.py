"""SegmentMeIfYouCan: RoadAnomaly21 and RoadObstacle21, in the layout of the official archives.

Layout, label values, splits and counts: SegmentMeIfYouCan/road-anomaly-benchmark@1c7804e,
road_anomaly_benchmark/datasets/tracks.py. The archives call the tracks AnomalyTrack and ObstacleTrack. Masks of test
frames are not in them: such frames are there to make a submission from, and are refused for evaluation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from bench.core import listing
from bench.core.listing import Location
from bench.datasets import archives, frames, sides
from bench.datasets.frames import Frame
from bench.datasets.masked import Masked
from bench.datasets.sides import Ready, Side

Track = Literal["RoadAnomaly21", "RoadObstacle21"]
Split = Literal["validation", "test", "all", "night", "snowstorm"]
Layout = Literal["official", "renamed"]

_PUBLISHED: Mapping[tuple[Track, Split], int] = {
    ("RoadAnomaly21", "validation"): 10,
    ("RoadAnomaly21", "test"): 100,
    ("RoadAnomaly21", "all"): 110,
    ("RoadObstacle21", "validation"): 30,
    ("RoadObstacle21", "test"): 327,
    ("RoadObstacle21", "night"): 30,
    ("RoadObstacle21", "snowstorm"): 55,
    # What the public archive holds; adynathos/road-anomaly-benchmark#5. A comment in the official code says 452.
    ("RoadObstacle21", "all"): 442,
}
_FOLDERS: Mapping[Track, str] = {"RoadAnomaly21": "dataset_AnomalyTrack", "RoadObstacle21": "dataset_ObstacleTrack"}
_RENAMED: Mapping[Track, str] = {"RoadAnomaly21": "AnomalyTrack", "RoadObstacle21": "ObstacleTrack"}
_MASK = "_labels_semantic"  # _labels_semantic_color lies beside it and is no label
# Scenes are what stands before the first "_" of an id.
_NIGHT = frozenset({"driveway"})
_SNOWSTORM = frozenset({"snowstorm1", "snowstorm2"})
_CLEAR = frozenset({
    "curvy-street", "one-way-street", "gravel", "greyasphalt", "motorway", "paving", "darkasphalt", "darkasphalt2",
})  # fmt: skip
_DROPPED = (19, *range(21, 30))  # numbers of validation frames of RoadObstacle21 that the official code drops
_NOT_VALIDATION = tuple(f"validation_{number}" for number in _DROPPED)

LOCATION = Location("smiyc", ("SegmentMeIfYouCan",))


@dataclass(frozen=True)
class SegmentMeIfYouCan(Masked):
    """Photographs with unusual objects; ``validation`` has public masks: 10 of RoadAnomaly21, 30 of RoadObstacle21.

    Masks hold 0 normal, 1 anomaly, 255 ignored. RoadAnomaly21: JPEG from the web, 2048x1024 and 1280x720 mixed,
    anything that Cityscapes does not name, anywhere. RoadObstacle21: WebP, 1920x1080, any object on the road; what is
    off the road is ignored.

    ``test`` (100 and 327 frames), ``night`` (30) and ``snowstorm`` (55), both of RoadObstacle21, and ``all`` (110 and
    442) have no truth here, whatever masks lie beside them: a figure over absent or dummy masks means nothing. They are
    what a submission is made from; the leaderboards want ``all``.

    ``layout: renamed`` reads the validation frames from AnomalyTrack/ or ObstacleTrack/ with leftImg8bit/val/ and
    gtFine/val/, as FlowEneDet does; the files are the same.

    A group is one object in one scene of RoadObstacle21. Tags there: ``scene``, ``weather`` (clear, night, snowstorm)
    and ``object``; of RoadAnomaly21: ``object``. Validation frames carry none: their names do not tell.
    """

    name = "smiyc"
    source = "Chan et al., SegmentMeIfYouCan: A Benchmark for Anomaly Segmentation, arXiv:2104.14812"

    track: Track
    split: Split
    layout: Layout = "official"

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.track, self.split) not in _PUBLISHED:
            raise ValueError(f"{self.track} has no split {self.split}; that is one of RoadObstacle21")
        if self.layout == "renamed" and self.split != "validation":
            raise ValueError("layout renamed holds validation frames alone")

    @property
    def annotations(self) -> frozenset[str]:
        return frozenset({"anomaly"}) if self.split == "validation" else frozenset()

    @property
    def hidden(self) -> str:
        if self.split == "validation":
            return ""
        return "its masks are kept by the organisers: it is there to make a submission from; evaluate split validation"

    @property
    def published(self) -> int:
        return _PUBLISHED[self.track, self.split]

    @property
    def obtain(self) -> str:
        return archives.obtain(self.name, track=self.track)

    def scan(self) -> Sequence[Frame]:
        home = _FOLDERS[self.track]
        if self.layout == "renamed":
            ready = _ready(self.track)
            if not ready.present(LOCATION):
                official = LOCATION.find(home, "images")
                raise sides.absent(
                    LOCATION.wanted(*ready.images),
                    LOCATION,
                    f"{_RENAMED[self.track]}/leftImg8bit/val/ and gtFine/val/",
                    self.obtain,
                    "the layout official: leave layout out of the suite if that is meant" if official else "",
                )
            return ready.scan(LOCATION, self.count, self.frames, self.obtain)
        folder = LOCATION.find(home, "images")
        if folder is None:
            renamed = _ready(self.track).present(LOCATION)
            raise sides.absent(
                LOCATION.wanted(home, "images"),
                LOCATION,
                f"{home}/",
                self.obtain,
                "the layout renamed: say so in the suite if that is meant" if renamed else "",
            )
        again = "unpack the archive again"
        images = self._wanted(sides.side(listing.tree(folder), again, depth=0))
        if self.split != "validation":
            sides.counted(images.paths, self.count, folder, again)
            return frames.unique([self._frame(name, path) for name, path in images.paths.items()])
        labels = LOCATION.find(home, "labels_masks") or LOCATION.wanted(home, "labels_masks")
        tree = listing.tree(labels, self.obtain)
        masks = self._wanted(sides.side(tree, again, after=(_MASK, ""), ends=listing.MASKS, depth=0, like=images))
        pairs = sides.paired(images, masks, self.frames)
        sides.counted(pairs, self.count, folder, again, _DROPPED if self.track == "RoadObstacle21" else ())
        return frames.unique([replace(self._frame(name, path), mask=mask) for name, (path, mask) in pairs.items()])

    def _wanted(self, side: Side) -> Side:
        """The files of the split."""
        return replace(side, paths={name: path for name, path in side.paths.items() if self._wants(name)})

    def _wants(self, name: str) -> bool:
        """True if an id belongs to the split."""
        scene = name.partition("_")[0]
        validation = name.startswith("validation") if self.track == "RoadAnomaly21" else scene == "validation"
        if self.split == "all":
            return self.track == "RoadAnomaly21" or validation or scene in _CLEAR | _NIGHT | _SNOWSTORM
        if self.split == "validation":
            return validation and not (self.track == "RoadObstacle21" and name.startswith(_NOT_VALIDATION))
        if self.track == "RoadAnomaly21":
            return not validation
        return scene in {"test": _CLEAR, "night": _NIGHT, "snowstorm": _SNOWSTORM}[self.split]

    def _frame(self, name: str, image: Path) -> Frame:
        if name.startswith("validation"):
            return Frame(frames.plain(name), image)
        if self.track == "RoadAnomaly21":
            return Frame(frames.plain(name), image, tags={"object": re.sub(r"[0-9]+$", "", name)})
        scene, *rest = name.split("_")
        weather = "night" if scene in _NIGHT else "snowstorm" if scene in _SNOWSTORM else "clear"
        tags = {"scene": scene, "weather": weather, "object": "_".join(rest[:-1]) or "none"}
        return Frame(frames.plain(name), image, group=name.rpartition("_")[0], tags=tags)


def _ready(track: Track) -> Ready:
    folder = _RENAMED[track]
    return Ready((folder, "leftImg8bit", "val"), (folder, "gtFine", "val"), mask_after=(_MASK, ""))
