"""Fishyscapes, the two validation sets that are public: Lost & Found and Static.

Layout, label values, versions and the way in which Static images are made: hermannsblum/bdl-benchmark,
bdlb/fishyscapes/fishyscapes_tfds.py. Counts: fishyscapes.com/dataset. The archives hold labels and overlays alone; the
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
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bench.core import untrusted_arrays
from bench.core.errors import MissingData
from bench.core.files import data
from bench.core.images import read_rgb
from bench.core.untrusted_arrays import Unreadable
from bench.datasets import cityscapes, frames
from bench.datasets.frames import Frame, Ready
from bench.datasets.masked import Masked

Set = Literal["lost_and_found", "static"]
Layout = Literal["official", "renamed", "original_labels", "side_by_side"]
Version = Literal[1, 2, 3]

PAGE = "http://robotics.ethz.ch/~asl-datasets/Fishyscapes/"
SIZE = (1024, 2048)  # of every published frame: bdlb declares this shape
MD5 = {  # of the archives: kkirchheim/pytorch-ood, dataset/img/fishyscapes.py
    "fishyscapes_lostandfound.zip": "0d3bf7c0ec38bd50b84f3d8aaa4b2e26",
    "fs_val_v1.zip": "79fb134419c83f2f20b575955efa9d20",
    "fs_val_v2.zip": "5088c63497927200d935c41d54b1cb23",
    "fs_val_v3.zip": "0dc11db9e57088c5bb18de4c55a53f3a",
}
_PUBLISHED: Mapping[Set, int] = {"lost_and_found": 100, "static": 30}
_SAYS: Mapping[Layout, str] = {
    "official": "the archives as they are, images from LostAndFound and Cityscapes",
    "renamed": "files renamed after Cityscapes, FsValLF/ and FsValV3Static/, as FlowEneDet reads them",
    "original_labels": "LostAndFound/ and Static/ with original/ and labels/, as SynBoost packed them",
    "side_by_side": "LostAndFound/ and Static/ with X.jpg beside X.png, as Meta-OoD reads them",
}
_FOLDERS: Mapping[Set, str] = {"lost_and_found": "LostAndFound", "static": "Static"}


@dataclass(frozen=True)
class Fishyscapes(Masked):
    """Objects that Cityscapes does not name; ``lost_and_found`` has 100 frames and ``static`` 30, all 1024x2048.

    Masks hold 0 normal, 1 anomaly, 255 ignored. Frame 0079 of Lost & Found has no anomaly.

    Static has three versions, and the suite says which: 1 (March 2019), 2 (June 2019, better blending), 3 (January
    2020, also objects of Cityscapes pasted as negatives, so that some frames have no anomaly). Its images are made here
    as the official code makes them: clip(Cityscapes image + overlay, 0, 255).

    ``layout`` names copies in use; each is another data set to a suite. ``renamed``: FsValLF/ and FsValV3Static/ with
    the file names of Cityscapes, images ready. ``original_labels``: LostAndFound/ and Static/ with original/*.png and
    labels/*.png. ``side_by_side``: the same folders with X.jpg and X.png anywhere below. The last two do not say which
    version of Static they hold, and the last has compressed images: their figures are not those of the official files.

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

    @property
    def annotations(self) -> frozenset[str]:
        return frozenset({"anomaly"})

    @property
    def published(self) -> int:
        return _PUBLISHED[self.set]

    @property
    def obtain(self) -> str:
        if self.layout != "official":
            return f"this copy has no official page; the archives of layout: official are on {PAGE}"
        archive = f"{self._folder}.zip"
        size = "729335 bytes, " if self.set == "lost_and_found" else ""
        base = (
            "the images are in leftImg8bit.zip of LostAndFound (5802953400 bytes, sha256"
            " 307f66002023ab597d309963b94990f5b9a8e5735ee729c3292647a66e9f2b18), to lie in lost_and_found/"
            if self.set == "lost_and_found"
            else "the images are those of Cityscapes val, to lie in cityscapes/"
        )
        return f"{archive} ({size}md5 {MD5[archive]}) is on {PAGE}: unpack it into {self._folder}/; {base}"

    def scan(self) -> Sequence[Frame]:
        root = data("fishyscapes")
        if not root.is_dir():
            raise frames.absent(root, f"Fishyscapes in the layout {self.layout}", self.obtain)
        if self.layout != "official":
            ready = _ready(self.set, self.version, self.layout)
            if not ready.present(root):
                raise MissingData(
                    f"{root / ready.images} and {root / ready.masks} match nothing{self._instead(root)}; {self.obtain}"
                )
            return [self._named(frame) for frame in ready.scan(root, self.count, self.obtain)]
        folder = root / self._folder
        if not folder.is_dir():
            raise MissingData(f"{folder} does not exist{self._instead(root)}; {self.obtain}")
        masks = frames.listed(folder, "*_labels.png", after="_labels.png", missing=self.obtain)
        overlays = self._overlays(folder, masks) if self.set == "static" else {}
        frames.counted(masks, self.count, folder, f"unpack {self._folder}.zip again")
        if self.set == "static":
            home = _home(root, "cityscapes")
            made = [Frame(name, _cityscapes(home, path), path, overlay=overlays[name]) for name, path in masks.items()]
        else:
            home = _home(root, "lost_and_found")
            made = [Frame(name, _lost_and_found(home, path), path) for name, path in masks.items()]
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
        if self.frames is None and self.layout == "official" and anomaly.shape != SIZE:
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
        return data("fishyscapes") / f"{self._folder}.zip"

    def _instead(self, root: Path) -> str:
        """Name the other layouts and versions below ``root`` and the words that ask for them; empty without any."""
        held = [f"layout: {other}, {_SAYS[other]}" for other in _SAYS if self._holds(root, other)]
        if self.set == "static":
            held += [f"version: {number}" for number in (1, 2, 3) if (root / f"fs_val_v{number}").is_dir()]
        if not held:
            return ""
        return f"; {root} holds {' and '.join(f'({text})' for text in held)}: say so in the suite if that is meant"

    def _holds(self, root: Path, layout: Layout) -> bool:
        if layout == self.layout:
            return False
        if layout == "official":
            pattern = "fishyscapes_lostandfound" if self.set == "lost_and_found" else "fs_val_v[123]"
            return any(root.glob(pattern))
        return any(_ready(self.set, version, layout).present(root) for version in (3, 2, 1))

    def _overlays(self, folder: Path, masks: Mapping[str, Path]) -> Mapping[str, Path]:
        """Id to overlay on Cityscapes, one for each mask. Raise MissingData for a mask or an overlay alone."""
        overlays = frames.listed(folder, "*_rgb.npz", after="_rgb.npz")
        frames.paired(
            overlays,
            masks,
            mask_of=lambda name: folder / f"{name}_labels.png",
            image_of=lambda name: folder / f"{name}_rgb.npz",
            masks_again=f"unpack {self._folder}.zip again",
            images_again=f"unpack {self._folder}.zip again",
        )
        return overlays

    def _named(self, frame: Frame) -> Frame:
        """Return the frame with its sequence and its location, as far as its name tells."""
        base = _base(frame.id)
        if base is None:
            return frame
        location = base.rsplit("_", 2)[0]
        if self.set == "static":
            tags = {"city": location}
        else:
            split = frame.image.parent.parent.name
            tags = {"scene": location} | ({"split": split} if self.layout == "official" else {})
        return replace(frame, group=cityscapes.sequence(base), tags=tags)


def _ready(which: Set, version: Version | None, layout: Layout) -> Ready:
    """The globs of the images and masks of a copy in use."""
    if layout == "renamed":
        folder = "FsValLF" if which == "lost_and_found" else f"FsValV{version}Static"
        return Ready(
            f"{folder}/leftImg8bit/val/**/*_leftImg8bit.png",
            f"{folder}/gtFine/val/**/*_gtFine_labelTrainIds.png",
            ("_leftImg8bit.png",),
            "_gtFine_labelTrainIds.png",
        )
    folder = _FOLDERS[which]
    if layout == "original_labels":
        return Ready(f"{folder}/original/*.png", f"{folder}/labels/*.png")
    return Ready(f"{folder}/**/*.jpg", f"{folder}/**/*.png", (".jpg",))


def _base(name: str) -> str | None:
    """``0000_04_Maurener_Weg_8_000000_000030`` to its frame of LostAndFound or Cityscapes, or None."""
    match = re.fullmatch(r"(?:[0-9]{4}_)?(.+_[0-9]{6}_[0-9]{6})", name)
    return match[1] if match else None


def _home(root: Path, name: str) -> Path:
    """The folder of the images: beside the labels, or that of their own data set."""
    return root / name if (root / name / "leftImg8bit").is_dir() else data(name)


def _lost_and_found(home: Path, mask: Path) -> Path:
    """The image of one mask: PNG, WebP or JPEG, as SegmentMeIfYouCan looks for it. Raise MissingData without one."""
    base = _base(mask.name.removesuffix("_labels.png"))
    if base is None:
        raise MissingData(f"{mask} is named after no frame of LostAndFound; wanted DDDD_<frame>_labels.png")
    folder = base.rsplit("_", 2)[0]
    candidates = [
        home / "leftImg8bit" / split / folder / f"{base}_leftImg8bit.{end}"
        for split in ("train", "test")
        for end in ("png", "webp", "jpg")
    ]
    for path in candidates:
        if path.is_file():
            return path
    raise MissingData(
        f"{candidates[0]} does not exist, nor below test/, but its label {mask} does; unpack leftImg8bit.zip of"
        f" LostAndFound into {home}"
    )


def _cityscapes(home: Path, mask: Path) -> Path:
    """The Cityscapes image under one overlay. Raise MissingData if it does not exist."""
    base = _base(mask.name.removesuffix("_labels.png"))
    if base is None:
        raise MissingData(f"{mask} is named after no frame of Cityscapes; wanted DDDD_<frame>_labels.png")
    path = home / "leftImg8bit" / "val" / base.rsplit("_", 2)[0] / f"{base}_leftImg8bit.png"
    if not path.is_file():
        raise MissingData(
            f"{path} does not exist, but {mask} is to be laid over it; unpack leftImg8bit_trainvaltest.zip of"
            f" Cityscapes into {home}"
        )
    return path


def _overlay(path: Path, size: tuple[int, int]) -> NDArray[np.int64]:
    """int64 [H, W, 3]: the summand of an image of that size. Its shape is read before memory is taken for it."""
    expected = (*size, 3)

    def fits(shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        if shape != expected or dtype.kind not in "iuf":
            raise MissingData(f"{path} holds {dtype} {list(shape)}, wanted numbers {list(expected)} as its image has")

    if not path.exists():
        raise MissingData(f"{path} does not exist")
    try:
        return untrusted_arrays.read(path, ".npz", fits, name="rgb").astype(np.int64)
    except Unreadable as error:
        if error.reason == "name":
            raise MissingData(f"{path} {error}; is it an overlay of Fishyscapes Static?") from None
        if error.reason == "type":
            raise MissingData(f"{path} {error}, wanted numbers {list(expected)} as its image has") from None
        raise MissingData(f"{path} cannot be read: {error}; is it truncated?") from None


def _check_archive(archive: Path, scanned: Sequence[Frame]) -> None:
    """Raise MissingData if it is another file than the published one, or if a mask is not the one that it holds."""
    if not archive.is_file():
        return
    with archive.open("rb") as file:
        md5 = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if md5 != MD5[archive.name]:
        raise MissingData(f"{archive} has md5 {md5}, wanted {MD5[archive.name]}; download it again from {PAGE}")
    with zipfile.ZipFile(archive) as packed:
        sums = {Path(info.filename).name: info.CRC for info in packed.infolist()}
    for frame in scanned:
        if frame.mask is not None and sums.get(frame.mask.name) != zlib.crc32(frame.mask.read_bytes()):
            raise MissingData(f"{frame.mask} is not what {archive.name} holds under this name; unpack it again")
