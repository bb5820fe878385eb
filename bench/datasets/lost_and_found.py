"""LostAndFound: small obstacles on the road ahead, in the layout of the official archives.

Layout, label ids and train ids: the data set's own table, as robin-chan/meta-ood@8657a5e,
src/dataset/lost_and_found.py carries it. Counts, the frames without labels and the frames with known objects:
SegmentMeIfYouCan/road-anomaly-benchmark@1c7804e, road_anomaly_benchmark/datasets/tracks.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.core import label_values, listing
from bench.core.errors import MissingData
from bench.core.listing import Location, Tree
from bench.core.values import IGNORE
from bench.datasets import archives, frames, sides
from bench.datasets.frames import Encoding, Frame
from bench.datasets.masked import Masked
from bench.datasets.sides import Side

Kind = Literal["labelIds", "labelTrainIds"]

OBSTACLES = range(2, 44)
HARMLESS = (31, 33, 34, 36, 37, 38, 39)
"""Label ids that the train ids of the data set count as no hazard: poles that lie, timber, wheel caps and the like."""

_IDS: Mapping[int, int] = dict.fromkeys((0, IGNORE), IGNORE) | {1: 0}
LABEL_IDS = Encoding("labelIds", {**_IDS, **dict.fromkeys(OBSTACLES, 1)}, "0..43 or 255")
TRAIN_IDS = Encoding("labelTrainIds", {0: IGNORE, 1: 0, 2: 1, IGNORE: IGNORE}, "0, 1, 2 or 255")
TRAIN_IDS_FROM_LABEL_IDS = Encoding(
    "labelTrainIds made of labelIds", {**LABEL_IDS.meaning, **dict.fromkeys(HARMLESS, IGNORE)}, "0..43 or 255"
)

PUBLISHED = {"train": 1036, "train_valid": 1030, "test": 1203, "test_valid": 1186, "no_known": 1043}
UNLABELLED: Mapping[str, Sequence[int]] = {
    "train": (44, 67, 88, 109, 131, 614),
    "test": (17, 37, 55, 72, 91, 110, 129, 153, 174, 197, 218, 353, 490, 618, 686, 792, 793),
}
"""Places, in the sorted list of all frames, of those whose labels are 0 throughout."""
KNOWN = (
    "15_Rechbergstr_Deckenpfronn",  # children
    "01_Hanns_Klemm_Str_45_000006",  # bicycles, here and below
    "01_Hanns_Klemm_Str_45_000007",
    "10_Schlossberg_9_000004",
)
"""Beginnings of the ids of frames whose obstacles belong to classes of Cityscapes."""

LOCATION = Location("lost_and_found", ("dataset_LostAndFound",))
_ID = re.compile(r"\d{2}_.+_\d{6}_\d{6}")


@dataclass(frozen=True)
class LostAndFound(Masked):
    """Obstacles on roads and yards of thirteen places; normal is the free road alone, all else beside it is ignored.

    ``train_valid`` and ``test_valid`` leave out the frames without any label; ``no_known`` is ``test_valid`` without
    bicycles and children, LostAndFound-testNoKnown of SegmentMeIfYouCan. **There are two conventions** of what an
    obstacle is, and figures of one do not compare with figures of the other: ``labels: labelIds`` counts every object,
    as SegmentMeIfYouCan does; ``labels: labelTrainIds`` ignores the seven kinds in ``HARMLESS``, as Meta-OoD does.
    Where no ``*_labelTrainIds.png`` is there they are made of the label ids in memory. ``values: label_ids`` reads
    files that are named after train ids and hold label ids. A group is one drive, the tag ``scene`` the place.
    """

    name = "lost_and_found"
    source = "Pinggera et al., Lost and Found: Detecting Small Road Hazards for Self-Driving Vehicles, arXiv:1609.04653"

    split: Literal["train", "train_valid", "test", "test_valid", "no_known"] = "test"
    labels: Kind = "labelIds"

    @property
    def annotations(self) -> frozenset[str]:
        return frozenset({"anomaly"})

    @property
    def published(self) -> int:
        return PUBLISHED[self.split]

    @property
    def obtain(self) -> str:
        return archives.obtain(self.name)

    def scan(self) -> Sequence[Frame]:
        images, labels, encoding = self._listed()
        left_out = set(self._unlabelled(images, labels, encoding)) if self.split not in ("train", "test") else set()
        kept = [name for name in images if name not in left_out]
        if self.split == "no_known":
            kept = [name for name in kept if not name.startswith(KNOWN)]
        sides.counted(kept, self.count, self._pictures, "unpack leftImg8bit.zip and gtCoarse.zip again")
        return [
            Frame(name, images[name], labels[name], encoding, _drive(name), {"scene": _scene(name)}) for name in kept
        ]

    def check_set(self, scanned: Sequence[Frame]) -> None:
        if self.frames is None and self.split not in ("train", "test"):
            images, labels, encoding = self._listed()
            for name in self._unlabelled(images, labels, encoding):
                if not _says_nothing(labels[name], self.revalued(encoding)):
                    raise MissingData(
                        f"{labels[name]} has labels, but the frame at its place in the official list has none; is a"
                        f" file missing or added before it? unpack gtCoarse.zip again"
                    )

    @property
    def conventions(self) -> Mapping[str, label_values.Meaning]:
        from_ids = LABEL_IDS if self.labels == "labelIds" else TRAIN_IDS_FROM_LABEL_IDS
        return {"train_ids": TRAIN_IDS.meaning, "label_ids": from_ids.meaning}

    def doubt(self, scanned: Sequence[Frame], masks: Sequence[label_values.Counts]) -> str:
        trains = self.values is None and any(frame.encoding is TRAIN_IDS for frame in scanned)
        obstacles = [counts for counts in masks if counts[2:IGNORE].any()]
        ids = label_values.fit(masks, LABEL_IDS.meaning) and label_values.most(obstacles, beyond=TRAIN_IDS.meaning)
        if trains and ids:
            return f"they fit label ids: say {label_values.in_suite('label_ids')}"
        return super().doubt(scanned, masks)

    def _listed(self) -> tuple[Mapping[str, Path], Mapping[str, Path], Encoding]:
        """Images and labels of the whole folder by id, and the encoding of the labels."""
        images = sides.side(self._tree("leftImg8bit"), "unpack leftImg8bit.zip again", after=("_leftImg8bit",), depth=1)
        for name, path in images.paths.items():
            if not _ID.fullmatch(name):
                raise MissingData(f"{path}: wanted NN_Scene_DDDDDD_DDDDDD_leftImg8bit as its name")
        tree = self._tree("gtCoarse")

        def of(kind: Kind) -> Side:
            after = (f"_gtCoarse_{kind}",)
            return sides.side(tree, "unpack gtCoarse.zip again", after=after, ends=listing.MASKS, depth=1)

        labels, encoding = of(self.labels), LABEL_IDS if self.labels == "labelIds" else TRAIN_IDS
        if not labels.paths and self.labels == "labelTrainIds":
            labels, encoding = of("labelIds"), TRAIN_IDS_FROM_LABEL_IDS
        pairs = sides.paired(images, labels)
        return (
            {name: image for name, (image, _) in pairs.items()},
            {name: mask for name, (_, mask) in pairs.items()},
            encoding,
        )

    def _tree(self, folder: str) -> Tree:
        path = LOCATION.find(folder, self._folder)
        if path is None:
            raise sides.absent(
                LOCATION.wanted(folder, self._folder),
                LOCATION,
                "leftImg8bit/ and gtCoarse/ of LostAndFound",
                self.obtain,
            )
        return listing.tree(path)

    def _unlabelled(self, images: Mapping[str, Path], labels: Mapping[str, Path], encoding: Encoding) -> Sequence[str]:
        """The ids whose labels are all ignored: by their official places, or in a smaller set by looking."""
        names = sorted(images)
        if self.frames is None:
            whole = PUBLISHED[self._folder]
            sides.counted(names, whole, self._pictures, "places in the official list need all of them")
            return [names[position] for position in UNLABELLED[self._folder]]
        return [name for name in names if _says_nothing(labels[name], self.revalued(encoding))]

    @property
    def _folder(self) -> str:
        return "train" if self.split.startswith("train") else "test"

    @property
    def _pictures(self) -> Path:
        return LOCATION.find("leftImg8bit", self._folder) or LOCATION.wanted("leftImg8bit", self._folder)


def _says_nothing(path: Path, encoding: Encoding) -> bool:
    """True if every pixel of a label file is ignored."""
    return bool((frames.read_mask(path, encoding) == IGNORE).all())


def _scene(name: str) -> str:
    """``NN_Scene`` of ``NN_Scene_DDDDDD_DDDDDD``."""
    return name.rsplit("_", 2)[0]


def _drive(name: str) -> str:
    return name.rpartition("_")[0]
