"""Fishyscapes, the two validation sets that are public: Lost & Found and Static.

Layout, label values, versions and the way in which Static images are made: hermannsblum/bdl-benchmark,
bdlb/fishyscapes/fishyscapes_tfds.py; of dataset_FishyLAF: SegmentMeIfYouCan/road-anomaly-benchmark@1c7804e,
road_anomaly_benchmark/datasets. Counts: fishyscapes.com/dataset. The archives hold labels and overlays alone; the
images are those of LostAndFound and of Cityscapes val. The archives are flat, so the folder that each is unpacked into
carries its name.
"""

from __future__ import annotations

import hashlib
import re
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.core import listing, packed
from bench.core.errors import MissingData
from bench.core.images import read_rgb
from bench.core.listing import Location
from bench.datasets import archives, cityscapes, lost_and_found, sides
from bench.datasets.frames import Frame
from bench.datasets.masked import Masked
from bench.datasets.overlays import BaseImages, read_overlay
from bench.datasets.sides import Ready

Set = Literal["lost_and_found", "static"]
Layout = Literal["official", "fishy_laf", "renamed", "original_labels", "side_by_side"]
Version = Literal[1, 2, 3]

SIZE = (1024, 2048)  # of every published frame: bdlb declares this shape
_PUBLISHED: Mapping[Set, int] = {"lost_and_found": 100, "static": 30}
_SAYS: Mapping[Layout, str] = {
    "official": "the archives as they are, images from LostAndFound and Cityscapes",
    "fishy_laf": "dataset_FishyLAF/, as the evaluator of SegmentMeIfYouCan reads Lost & Found",
    "renamed": "files renamed after Cityscapes, FsValLF/ and FsValV3Static/, as FlowEneDet reads them",
    "original_labels": "LostAndFound/ and Static/ with original/ and labels/, as SynBoost packed them",
    "side_by_side": "LostAndFound/ and Static/ with X.jpg beside X.png, as Meta-OoD reads them",
}
_MADE = ("official", "fishy_laf")  # layouts whose images are those of other data sets
_FISHY_LAF = ("dataset_FishyLAF", "labels", "val")
_FISHY_LABELS = "_fishy-labels"
_SPLITS = ("train", "test")  # of LostAndFound
_FOLDERS: Mapping[Set, str] = {"lost_and_found": "LostAndFound", "static": "Static"}

LOCATION = Location("fishyscapes")


@dataclass(frozen=True)
class Fishyscapes(Masked):
    """Objects that Cityscapes does not name; ``lost_and_found`` has 100 frames and ``static`` 30, all 1024x2048.

    Masks hold 0 normal, 1 anomaly, 255 ignored. Frame 0079 of Lost & Found has no anomaly.

    Static has three versions, and the suite says which: 1 (March 2019), 2 (June 2019, better blending), 3 (January
    2020, also objects of Cityscapes pasted as negatives, so that some frames have no anomaly). Its images are made here
    as the official code makes them: clip(Cityscapes image + overlay, 0, 255).

    ``layout`` names copies in use; each is another data set to a suite. ``fishy_laf``: dataset_FishyLAF/labels/val/ of
    SegmentMeIfYouCan, the masks of Lost & Found under the names of its frames; images from LostAndFound.
    ``renamed``: FsValLF/ and FsValV3Static/ with the file names of Cityscapes, images ready. ``original_labels``:
    LostAndFound/ and Static/ with original/*.png and labels/*.png. ``side_by_side``: the same folders with X.jpg and
    X.png anywhere below. The last two do not say which version of Static they hold, and the last has compressed images:
    their figures are not those of the official files.

    A group is a recorded sequence. Tags: ``scene`` and the ``split`` of LostAndFound; ``city``.
    """

    name = "fishyscapes"
    source = "Blum et al., The Fishyscapes Benchmark, arXiv:1904.03215; hermannsblum/bdl-benchmark, bdlb/fishyscapes"

    set: Set
    version: Version | None = None
    layout: Layout = "official"

    def __post_init__(self) -> None:
        super().__post_init__()
        stated = self.set == "static" and self.layout in ("official", "renamed")
        if stated and self.version is None:
            raise ValueError("Static has three versions; say version: 1, 2 or 3 (3 is the one in use since 2020)")
        if self.version is not None and not stated:
            whose = (
                "Lost & Found has one version" if self.set == "lost_and_found" else f"{self.layout} does not say its"
            )
            raise ValueError(f"{whose}; leave version out")
        if self.set == "static" and self.layout == "fishy_laf":
            raise ValueError("dataset_FishyLAF/ holds Lost & Found alone; say set: lost_and_found")

    @property
    def annotations(self) -> frozenset[str]:
        return frozenset({"anomaly"})

    @property
    def published(self) -> int:
        return _PUBLISHED[self.set]

    @property
    def obtain(self) -> str:
        text = archives.obtain(self.name, set=self.set, version=self.version)
        return text if self.layout == "official" else f"this copy has no official page; for layout: official, {text}"

    def scan(self) -> Sequence[Frame]:
        contents = f"Fishyscapes in the layout {self.layout}"
        if self.layout not in _MADE:
            ready = _ready(self.set, self.version, self.layout)
            if not ready.present(LOCATION):
                raise sides.absent(LOCATION.wanted(*ready.images), LOCATION, contents, self.obtain, self._instead())
            return [self._named(frame) for frame in ready.scan(LOCATION, self.count, self.frames, self.obtain)]
        official = self.layout == "official"
        chain, after = ((self._folder,), "_labels") if official else (_FISHY_LAF, _FISHY_LABELS)
        folder = LOCATION.find(*chain)
        if folder is None:
            raise sides.absent(LOCATION.wanted(*chain), LOCATION, contents, self.obtain, self._instead())
        tree, again = listing.tree(folder), f"unpack {self._folder}.zip again" if official else "copy it again"
        masks = sides.side(tree, again, after=(after,), ends=listing.MASKS, depth=0)
        if self.set == "static":
            overlays = sides.side(tree, again, after=("_rgb",), ends=(".npz",), depth=0)
            pairs = sides.paired(overlays, masks, self.frames)
            sides.counted(pairs, self.count, folder, again)
            base = BaseImages(
                LOCATION,
                cityscapes.LOCATION,
                (("leftImg8bit", "val"),),
                "_leftImg8bit",
                archive="leftImg8bit_trainvaltest.zip of Cityscapes",
                use="is to be laid over it",
            )
            made = [
                Frame(name, _image(base, name, mask), mask, overlay=overlay) for name, (overlay, mask) in pairs.items()
            ]
        else:
            for name, path in tree.ids(after=after, ends=tuple(listing.LOSSY), depth=0).items():
                if name not in masks.paths:
                    mask = path.with_suffix(".png")
                    raise MissingData(f"{mask} does not exist{listing.lossy(mask)}")
            sides.counted(masks.paths, self.count, folder, again)
            base = BaseImages(
                LOCATION,
                lost_and_found.LOCATION,
                [("leftImg8bit", split) for split in _SPLITS],
                "_leftImg8bit",
                archive="leftImg8bit.zip of LostAndFound",
                use="is its label",
            )
            made = [Frame(name, _image(base, name, mask), mask) for name, mask in masks.paths.items()]
        return [self._named(frame) for frame in made]

    def decode(self, frame: Frame) -> NDArray[np.uint8]:
        image = read_rgb(frame.image)
        if frame.overlay is None:
            return image
        overlay = _overlay(frame.overlay, (image.shape[0], image.shape[1]))
        blended: NDArray[np.uint8] = np.clip(image + overlay, 0, 255).astype(np.uint8)
        return blended

    def check_set(self, scanned: Sequence[Frame]) -> None:
        """Hold the masks against the archive that they came from, if it was kept beside their folder."""
        if self.layout == "official":
            _check_archive(self._archive, scanned)

    def check_frame(self, frame: Frame) -> None:
        super().check_frame(frame)
        anomaly = self.truth(frame)["anomaly"]
        if self.frames is None and self.layout in _MADE and anomaly.shape != SIZE:
            raise MissingData(
                f"{frame.mask} is {anomaly.shape[0]}x{anomaly.shape[1]}, wanted {SIZE[0]}x{SIZE[1]} as published; is"
                f" this a resized copy?"
            )
        if self.version in (1, 2) and not (anomaly == 1).any() and not self._archive.is_file():
            raise MissingData(
                f"{frame.mask} holds no anomaly, which is known of version 3 of Static alone; is this version 3? then"
                f" unpack it into fs_val_v3/ and say version: 3; if not, keep {self._archive}: its checksums decide"
            )
        if frame.overlay is not None:
            _overlay(frame.overlay, (anomaly.shape[0], anomaly.shape[1]))

    @property
    def _folder(self) -> str:
        """The folder that holds the official archive's files; the archive is named after it."""
        return "fishyscapes_lostandfound" if self.set == "lost_and_found" else f"fs_val_v{self.version}"

    @property
    def _archive(self) -> Path:
        """The path of the archive, which may not have been kept."""
        return LOCATION.root / f"{self._folder}.zip"

    def _instead(self) -> str:
        """Name the other layouts and versions that are there and the words that ask for them; empty without any."""
        held = [f"layout: {other}, {_SAYS[other]}" for other in _SAYS if self._holds(other)]
        if self.set == "static":
            held += [f"version: {number}" for number in (1, 2, 3) if LOCATION.find(f"fs_val_v{number}")]
        if not held:
            return ""
        return f"{' and '.join(f'({text})' for text in held)}: say so in the suite if that is meant"

    def _holds(self, layout: Layout) -> bool:
        if layout == self.layout:
            return False
        if layout == "fishy_laf":
            return self.set == "lost_and_found" and LOCATION.find(*_FISHY_LAF) is not None
        if layout == "official":
            names = (
                ["fishyscapes_lostandfound"] if self.set == "lost_and_found" else [f"fs_val_v{n}" for n in (1, 2, 3)]
            )
            return any(LOCATION.find(name) for name in names)
        return any(_ready(self.set, version, layout).present(LOCATION) for version in (3, 2, 1))

    def _named(self, frame: Frame) -> Frame:
        """Return the frame with its sequence and its location, as far as its name tells."""
        base = _base(frame.id)
        if base is None:
            return frame
        location = base.rsplit("_", 2)[0]
        if self.set == "static":
            tags = {"city": location}
        else:
            split = next((part.lower() for part in reversed(frame.image.parts) if part.lower() in _SPLITS), "")
            tags = {"scene": location} | ({"split": split} if self.layout in _MADE else {})
        return replace(frame, group=cityscapes.sequence(base), tags=tags)


def _ready(which: Set, version: Version | None, layout: Layout) -> Ready:
    """The folders and names of the images and masks of a copy in use."""
    if layout == "renamed":
        folder = "FsValLF" if which == "lost_and_found" else f"FsValV{version}Static"
        return Ready(
            (folder, "leftImg8bit", "val"),
            (folder, "gtFine", "val"),
            ("_leftImg8bit",),
            ("_gtFine_labelTrainIds",),
        )
    folder = _FOLDERS[which]
    if layout == "original_labels":
        return Ready((folder, "original"), (folder, "labels"), depth=0)
    return Ready((folder,), (folder,), image_ends=(".jpg", ".jpeg"))


def _base(name: str) -> str | None:
    """``0000_04_Maurener_Weg_8_000000_000030`` to its frame of LostAndFound or Cityscapes, or None."""
    match = re.fullmatch(r"(?:[0-9]{4}_)?(.+_[0-9]{6}_[0-9]{6})", name)
    return match[1] if match else None


def _image(images: BaseImages, name: str, mask: Path) -> Path:
    """The image of one mask, whose frame has that id. Raise MissingData without one."""
    base = _base(name)
    if base is None:
        source = images.archive.partition(" of ")[2]
        raise MissingData(f"{mask} is named after no frame of {source}; wanted DDDD_<frame>_labels.png")
    return images.image(base, mask, base.rsplit("_", 2)[0])


def _overlay(path: Path, size: tuple[int, int]) -> NDArray[np.int64]:
    """int64 [H, W, 3]: the summand of an image of that size."""
    overlay = read_overlay(path, size, "rgb", ("int", "uint", "float"), "Fishyscapes Static")
    return overlay.astype(np.int64)


def _check_archive(archive: Path, scanned: Sequence[Frame]) -> None:
    """Raise MissingData if it is another file than the published one, or if a mask is not the one that it holds."""
    if not archive.is_file():
        return
    published = archives.of(Fishyscapes.name).file(archive.name)
    with archive.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if sha256 != published.sha256:
        raise MissingData(
            f"{archive} has sha256 {sha256}, wanted {published.sha256}; download it again from {published.address}"
        )
    with zipfile.ZipFile(archive) as packed:
        sums = {Path(info.filename).name: info.CRC for info in packed.infolist()}
    for frame in scanned:
        if frame.mask is not None and sums.get(frame.mask.name) != _crc32(frame.mask):
            raise MissingData(f"{frame.mask} is not what {archive.name} holds under this name; unpack it again")


def _crc32(path: Path) -> int:
    with packed.opened(path) as file:
        return zlib.crc32(file.read())
