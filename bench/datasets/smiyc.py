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

from bench.core.errors import MissingData
from bench.core.files import data
from bench.datasets import frames
from bench.datasets.frames import Frame, Ready
from bench.datasets.masked import Masked

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
_IMAGES: Mapping[Track, str] = {"RoadAnomaly21": ".jpg", "RoadObstacle21": ".webp"}
_MASK = "_labels_semantic.png"  # _labels_semantic_color.png lies beside it and is no label
_ARCHIVES: Mapping[Track, str] = {
    "RoadAnomaly21": "dataset_AnomalyTrack.zip (50 MB, md5 231bf79ed58924bcd33d9cbe22e61076) is record 5270237",
    "RoadObstacle21": "dataset_ObstacleTrack.zip (198 MB, md5 895fb36d18765482cc291f69e63d6da6) is record 5281633",
}
# Scenes are what stands before the first "_" of an id.
_NIGHT = frozenset({"driveway"})
_SNOWSTORM = frozenset({"snowstorm1", "snowstorm2"})
_CLEAR = frozenset({
    "curvy-street", "one-way-street", "gravel", "greyasphalt", "motorway", "paving", "darkasphalt", "darkasphalt2",
})  # fmt: skip
_NOT_VALIDATION = tuple(f"validation_{number}" for number in (19, *range(21, 30)))  # the official code drops these


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
        return (
            f"{_ARCHIVES[self.track]} of zenodo.org, the page is https://segmentmeifyoucan.com/datasets: unpack it into"
            f" smiyc/, so that smiyc/{_FOLDERS[self.track]}/images/ is there"
        )

    def scan(self) -> Sequence[Frame]:
        root = data("smiyc")
        if self.layout == "renamed":
            if not root.is_dir():
                raise frames.absent(root, f"{_RENAMED[self.track]}/", self.obtain)
            return self._renamed(root)
        folder = frames.one_of((root / _FOLDERS[self.track], data(_FOLDERS[self.track])))
        if folder is None:
            if not root.is_dir():
                raise frames.absent(root, f"{_FOLDERS[self.track]}/", self.obtain)
            hint = f"; {root} holds the layout renamed: say so in the suite if that is meant"
            held = hint if _ready(self.track).present(root) else ""
            raise MissingData(f"{root / _FOLDERS[self.track]} does not exist{held}; {self.obtain}")
        end, again = _IMAGES[self.track], "unpack the archive again"
        pictures, labels = folder / "images", folder / "labels_masks"
        every = frames.listed(pictures, f"*{end}", after=end, missing=self.obtain)
        images = {name: path for name, path in every.items() if self._wants(name)}
        if self.split != "validation":
            frames.counted(images, self.count, pictures, again)
            return frames.unique([self._frame(name, path) for name, path in images.items()])
        every = frames.listed(labels, f"*{_MASK}", after=_MASK, missing=self.obtain)
        masks = {name: path for name, path in every.items() if self._wants(name)}
        frames.paired(
            images,
            masks,
            mask_of=lambda name: labels / f"{name}{_MASK}",
            image_of=lambda name: pictures / f"{name}{end}",
            masks_again=again,
            images_again=again,
        )
        frames.counted(images, self.count, pictures, again)
        return frames.unique([replace(self._frame(name, path), mask=masks[name]) for name, path in images.items()])

    def _renamed(self, root: Path) -> Sequence[Frame]:
        ready = _ready(self.track)
        if not ready.present(root):
            official = (root / _FOLDERS[self.track]).is_dir()
            held = (
                f"; {root} holds the layout official: leave layout out of the suite if that is meant"
                if official
                else ""
            )
            raise MissingData(f"{root / ready.images} and {root / ready.masks} match nothing{held}; {self.obtain}")
        return ready.scan(root, self.count, self.obtain)

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
    folder, end = _RENAMED[track], _IMAGES[track]
    return Ready(f"{folder}/leftImg8bit/val/**/*{end}", f"{folder}/gtFine/val/**/*{_MASK}", (end,), _MASK)
