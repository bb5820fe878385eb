"""Cityscapes, the finely annotated frames, in the layout of the official archives.

Layout, label ids and train ids: mcordts/cityscapesScripts, README.md and cityscapesscripts/helpers/labels.py.
``gtFine_trainvaltest.zip`` holds ``*_labelIds.png``; ``*_labelTrainIds.png`` is made from the polygons by that
repository's ``createTrainIdLabelImgs.py``, or here, in memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.core.files import data
from bench.datasets import frames, label_values
from bench.datasets.frames import Encoding, Frame
from bench.datasets.label_values import LABEL_IDS as LABEL_IDS
from bench.datasets.masked import Masked

Kind = Literal["labelIds", "labelTrainIds"]

ENCODINGS: Mapping[Kind, Encoding] = {
    "labelIds": Encoding("labelIds", label_values.label_ids(), "0..33 or 255"),
    "labelTrainIds": Encoding("labelTrainIds", label_values.train_ids(), "0..18 or 255"),
}
_OFFICIAL = {"train": 2975, "val": 500, "test": 1525}


@dataclass(frozen=True)
class Cityscapes(Masked):
    """Street scenes of German and Swiss cities; ``train`` has 2975 frames and ``val`` 500, all 1024x2048.

    ``test`` (1525) has no truth here: its published labels are empty. It is what a submission is made from.

    ``labels`` says which files are read: ``labelTrainIds`` as they are, or ``labelIds`` mapped in memory. None takes
    the former if every frame has one. ``values`` says what the files hold if it is not what they are named after:
    ``train_ids``, ``label_ids``, ``from_1`` (classes counted from 1, 0 is void), or such as ``{19: ignore}``. A group
    is one recorded sequence of one city.
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
        return (
            "leftImg8bit_trainvaltest.zip (11 GB) and gtFine_trainvaltest.zip (241 MB) are on"
            " https://www.cityscapes-dataset.com/downloads/ after registration"
        )

    def scan(self) -> Sequence[Frame]:
        root = data("cityscapes")
        if not root.is_dir():
            raise frames.absent(root, "leftImg8bit/ and gtFine/ of Cityscapes", self.obtain)
        pictures, labels = root / "leftImg8bit" / self.split, root / "gtFine" / self.split
        images = _files(pictures, "leftImg8bit")
        if self.split == "test":
            frames.counted(images, self.count, pictures, "unpack leftImg8bit_trainvaltest.zip again")
            return [Frame(name, path, group=sequence(name)) for name, path in images.items()]
        by_kind: Mapping[Kind, Mapping[str, Path]] = {kind: _files(labels, f"gtFine_{kind}") for kind in ENCODINGS}
        kind = self.labels
        if kind is None:
            trains = by_kind["labelTrainIds"]
            complete = bool(trains) and (images.keys() <= trains.keys() or not by_kind["labelIds"])
            kind = "labelTrainIds" if complete else "labelIds"
        chosen = by_kind[kind]
        frames.paired(
            images,
            chosen,
            mask_of=lambda name: labels / _city(name) / f"{name}_gtFine_{kind}.png",
            image_of=lambda name: pictures / _city(name) / f"{name}_leftImg8bit.png",
            masks_again="unpack gtFine_trainvaltest.zip again",
            images_again="unpack leftImg8bit_trainvaltest.zip again",
        )
        frames.counted(images, self.count, pictures, "unpack the archives again")
        return [Frame(name, images[name], chosen[name], ENCODINGS[kind], sequence(name)) for name in images]

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


def _city(name: str) -> str:
    return name.rsplit("_", 2)[0]


def _files(folder: Path, kind: str) -> Mapping[str, Path]:
    """``<city>_<sequence>_<frame>`` to the file of that kind, sorted by id."""
    again = "unpack the Cityscapes archives so that it does"
    return frames.listed(folder, f"*/*_{kind}.png", after=f"_{kind}.png", missing=again)
