"""Cityscapes, the finely annotated frames, in the layout of the official archives.

Layout, label ids and train ids: mcordts/cityscapesScripts, README.md and cityscapesscripts/helpers/labels.py.
``gtFine_trainvaltest.zip`` holds ``*_labelIds.png``; ``*_labelTrainIds.png`` is made from the polygons by that
repository's ``createTrainIdLabelImgs.py``, or here, in memory. Files of BDD-Anomaly in this layout, and others without
the endings of these names, are read where ``labels`` says what they hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from bench.core import label_values, listing
from bench.core.errors import MissingData
from bench.core.label_values import LABEL_IDS as LABEL_IDS
from bench.core.listing import Location, Tree
from bench.datasets import archives, cityscapes_polygons, frames, sides
from bench.datasets.frames import Encoding, Frame
from bench.datasets.masked import Masked
from bench.datasets.sides import Side

Kind = Literal["labelIds", "labelTrainIds", "polygons"]

ENCODINGS: Mapping[Kind, Encoding] = {  # in the order in which they are looked for
    "labelTrainIds": Encoding("labelTrainIds", label_values.train_ids(), "0..18 or 255"),
    "labelIds": Encoding("labelIds", label_values.label_ids(), "0..33 or 255"),
    "polygons": Encoding("polygons", label_values.label_ids(), "0..33", decode=cityscapes_polygons.draw),
}
_AFTER: Mapping[Kind, tuple[str, ...]] = {  # the id in a file name; BDD100K names train ids as the last one does
    "labelTrainIds": ("_gtFine_labelTrainIds", "_labelTrainIds", "_train_id"),
    "labelIds": ("_gtFine_labelIds", "_labelIds"),
    "polygons": ("_gtFine_polygons", "_polygons"),
}
_AGAIN = ("unpack leftImg8bit_trainvaltest.zip", "unpack gtFine_trainvaltest.zip")
_OFFICIAL = {"train": 2975, "val": 500, "test": 1525}

LOCATION = Location("cityscapes")


@dataclass(frozen=True)
class Cityscapes(Masked):
    """Street scenes of German and Swiss cities; ``train`` has 2975 frames and ``val`` 500, all 1024x2048.

    ``test`` (1525) has no truth here: its published labels are empty. It is what a submission is made from.

    ``labels`` says which files are read: ``labelTrainIds`` as they are, ``labelIds`` mapped in memory, or ``polygons``
    drawn in memory. None takes the first of these that every frame has. ``values`` says what the files hold if it is
    not what they are named after: ``train_ids``, ``label_ids``, ``from_1`` (classes counted from 1, 0 is void), or such
    as ``{19: ignore}``. A group is one recorded sequence of one city.
    """

    name = "cityscapes"
    source = "Cordts et al., The Cityscapes Dataset for Semantic Urban Scene Understanding, arXiv:1604.01685"

    split: Literal["train", "val", "test"] = "val"
    labels: Kind | None = None

    @property
    def annotations(self) -> frozenset[str]:
        return frozenset() if self.split == "test" else frozenset({"labels"})

    @property
    def conventions(self) -> Mapping[str, label_values.Meaning]:
        return label_values.conventions()

    @property
    def hidden(self) -> str:
        if self.split != "test":
            return ""
        return "its labels are kept by the organisers: it is there to make a submission from; evaluate split val"

    @property
    def published(self) -> int:
        return _OFFICIAL[self.split]

    @property
    def obtain(self) -> str:
        return archives.obtain(self.name)

    def scan(self) -> Sequence[Frame]:
        pictures = self._tree("leftImg8bit")
        images = sides.side(pictures, f"{_AGAIN[0]} again", after=("_leftImg8bit", ""), depth=1)
        if self.split == "test":
            sides.counted(images.paths, self.count, pictures.folder, images.again)
            return [Frame(frames.plain(name), path, group=sequence(name)) for name, path in images.paths.items()]
        masks, encoding = self._masks(images)
        pairs = sides.paired(images, masks, self.frames)
        sides.counted(pairs, self.count, pictures.folder, "unpack the archives again")
        return frames.unique(
            [Frame(frames.plain(name), *pair, encoding, sequence(name)) for name, pair in pairs.items()]
        )

    def _tree(self, folder: str) -> Tree:
        path = LOCATION.find(folder, self.split)
        if path is None:
            raise sides.absent(
                LOCATION.wanted(folder, self.split), LOCATION, "leftImg8bit/ and gtFine/ of Cityscapes", self.obtain
            )
        return listing.tree(path)

    def _masks(self, images: Side) -> tuple[Side, Encoding]:
        """The labels as ``labels`` asks for them, or the kind of which every image has one, and their encoding."""
        tree = self._tree("gtFine")

        def of(kind: Kind) -> Side:
            ends = (".json",) if kind == "polygons" else listing.MASKS
            return sides.side(tree, f"{_AGAIN[1]} again", after=_AFTER[kind], ends=ends, depth=1, like=images)

        kinds = [self.labels] if self.labels else list(ENCODINGS)
        by_kind = {kind: of(kind) for kind in kinds}
        there = {kind: each for kind, each in by_kind.items() if each.paths.keys() & images.paths.keys()}
        whole = [kind for kind, each in there.items() if images.paths.keys() <= each.paths.keys()]
        if there:
            kind = next(iter([*whole, *(kind for kind in there if kind != "labelTrainIds"), *there]))
            return there[kind], ENCODINGS[kind]
        unnamed = sides.side(tree, f"{_AGAIN[1]} again", ends=listing.MASKS, depth=1)
        if alike := sorted(unnamed.paths.keys() & images.paths.keys()):
            if self.labels is None or self.labels == "polygons":
                raise MissingData(
                    f"{unnamed.paths[alike[0]]} does not say in its name which labels it holds; say labels:"
                    f" labelTrainIds (0..18 or 255) or labels: labelIds (0..33 or 255) in the suite"
                )
            return unnamed, ENCODINGS[self.labels]
        kind = self.labels or "labelIds"
        return by_kind[kind], ENCODINGS[kind]

    def doubt(self, scanned: Sequence[Frame], masks: Sequence[label_values.Counts]) -> str:
        doubt = super().doubt(scanned, masks)
        paths = [frame.mask for frame in scanned if frame.mask]
        beside = [path.with_name(path.name.replace("_labelTrainIds", "_labelIds")) for path in paths]
        trains = all(path.name.endswith("_labelTrainIds.png") for path in paths)
        if doubt and trains and all(path.is_file() for path in beside):
            return f"{doubt}; the files of label ids beside them are read with labels: labelIds"
        return doubt


def sequence(name: str) -> str:
    """The recorded sequence that ``<city>_<sequence>_<frame>`` belongs to."""
    return name.rpartition("_")[0]
