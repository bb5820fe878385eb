"""Road Obstacles 0.0.3: obstacles put on roads, in the layout of the official archive.

Layout and label values: hermannsblum/fishyscapes, bdlb/fishyscapes/road_obstacles_tfds.py. ``splits.json`` names the
frames of every split, ``frames/X.webp`` is one of them and ``frames/X.labels/labels_semantic.png`` its mask. How many
frames there are is published nowhere else, so the list says it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.core.errors import UnknownName
from bench.core.listing import Location
from bench.core.values import IGNORE
from bench.datasets import archives, sides
from bench.datasets.frames import Encoding, Frame
from bench.datasets.masked import Masked
from bench.datasets.road_anomaly import AGAIN, file_names, listed_frames, read_list

LABELS = Encoding("Road Obstacles", {0: IGNORE, 1: 0, 2: 1, IGNORE: IGNORE}, "0, 1, 2 or 255")
"""0 background, which is ignored; 1 road, normal; 2 obstacle; 255 ignored."""

LOCATION = Location("road_obstacles", ("RoadObstacles", "dataset_RoadObstacle"))


@dataclass(frozen=True)
class RoadObstacles(Masked):
    """Photographs of 2000x1500 with obstacles on many kinds of road; normal is the road alone.

    Masks hold 0 background, ignored, 1 road, 2 obstacle and 255, ignored. ``split`` is a name of the archive's
    ``splits.json``; ``full`` is what the loader of the Fishyscapes authors tests on. The list itself says how many
    frames there must be. RoadObstacle21 of SegmentMeIfYouCan is a later set, and its frames have other names.
    """

    name = "road_obstacles"
    source = "Lis et al., Detecting Road Obstacles by Erasing Them, arXiv:2012.13633"

    split: str = "full"

    @property
    def annotations(self) -> frozenset[str]:
        return frozenset({"anomaly"})

    @property
    def published(self) -> int:
        """The length of the archive's own list: nobody has published another number."""
        return len(self._frames)

    @property
    def obtain(self) -> str:
        return archives.obtain(self.name)

    def scan(self) -> Sequence[Frame]:
        home = "dataset_RoadObstacle"
        folder = LOCATION.find(home, "frames") or LOCATION.find("frames")
        if folder is None:
            raise sides.absent(LOCATION.wanted(home, "frames"), LOCATION, f"{home}/", self.obtain)
        listed = folder.parent / "splits.json"
        splits = read_list(listed)
        if not isinstance(splits, dict) or self.split not in splits:
            known = [name for name in splits if isinstance(name, str)] if isinstance(splits, dict) else []
            raise UnknownName("split", self.split, known, str(listed))
        names = file_names(splits[self.split], listed, ".webp")
        count = len(names) if self.frames is None else self.frames
        return listed_frames(folder, names, listed, LABELS, count, self.frames, AGAIN)
