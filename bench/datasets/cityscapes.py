"""Cityscapes, the finely annotated frames, in the layout of the official archives.

Layout, label ids and train ids: mcordts/cityscapesScripts, README.md and cityscapesscripts/helpers/labels.py.
``gtFine_trainvaltest.zip`` holds ``*_labelIds.png``; ``*_labelTrainIds.png`` is made from the polygons by that
repository's ``createTrainIdLabelImgs.py``, or here, in memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image, UnidentifiedImageError

from bench.api import IGNORE, Dataset, Labels, Sample
from bench.errors import MissingData
from bench.files import data, digest, read_gray, read_rgb

LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""The label id of each train id."""

Encoding = Literal["labelIds", "labelTrainIds"]

_LEGAL: Mapping[Encoding, frozenset[int]] = {
    # The licence plate's id is -1, which is 255 in an 8-bit file.
    "labelIds": frozenset({*range(34), 255}),
    "labelTrainIds": frozenset({*range(19), 255}),
}
_OFFICIAL = {"train": 2975, "val": 500}
_PNG_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"


@dataclass(frozen=True)
class _Frame:
    id: str
    image: Path
    label: Path
    encoding: Encoding


@dataclass(frozen=True)
class Cityscapes(Dataset):
    """Street scenes of German and Swiss cities; ``train`` has 2975 frames and ``val`` 500, all 1024x2048.

    ``labels`` says which files are read: ``labelTrainIds`` as they are, or ``labelIds`` mapped in memory. None takes
    the former if every frame has one. A group is one recorded sequence of one city.
    """

    name = "cityscapes"
    source = "Cordts et al., The Cityscapes Dataset for Semantic Urban Scene Understanding, arXiv:1604.01685"

    split: Literal["train", "val"] = "val"
    frames: int | None = None  # how many there must be; None: as many as were published
    labels: Encoding | None = None

    @property
    def gives(self) -> frozenset[str]:
        return frozenset({"labels"})

    @property
    def count(self) -> int:
        return _OFFICIAL[self.split] if self.frames is None else self.frames

    def ids(self) -> Sequence[str]:
        return [frame.id for frame in self._frames]

    def load(self, index: int) -> Sample:
        frame = self._frames[index]
        labels = _train_ids(frame)
        return Sample(
            id=frame.id,
            size=(labels.shape[0], labels.shape[1]),
            image=partial(read_rgb, frame.image),
            labels=labels,
            group=frame.id.rpartition("_")[0],
        )

    def check(self) -> None:
        """Decode every label, and of every image read the header and the end."""
        for frame in self._scan():
            _train_ids(frame)
            with frame.image.open("rb") as file:
                file.seek(-min(len(_PNG_END), frame.image.stat().st_size), 2)
                whole = file.read() == _PNG_END
            if not whole:  # bytes after the end are harmless, a missing end is not: decoding knows which it is
                read_rgb(frame.image)

    def digest(self) -> str:
        """Take in the bytes of every label file, and the name and size in bytes of every image."""
        whole = hashlib.sha256()
        for frame in self._frames:
            line = f"{frame.id} {frame.encoding} {digest(frame.label)} {frame.image.stat().st_size}\n"
            whole.update(line.encode())
        return whole.hexdigest()[:16]

    def __getstate__(self) -> dict[str, Any]:
        # Without the listing: the machine that unpickles it may keep the data elsewhere.
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @cached_property
    def _frames(self) -> Sequence[_Frame]:
        return self._scan()

    def _scan(self) -> Sequence[_Frame]:
        """Pair images with labels and count them."""
        root = data("cityscapes")
        if not root.is_dir():
            raise MissingData(
                f"{root} does not exist; wanted leftImg8bit/ and gtFine/ of Cityscapes there: set $BENCH_DATA to the"
                f" folder above it, or say where it lies in data.yaml"
            )
        images = _files(root / "leftImg8bit" / self.split, "leftImg8bit")
        labels = root / "gtFine" / self.split
        found: dict[Encoding, Mapping[str, Path]] = {
            encoding: _files(labels, f"gtFine_{encoding}") for encoding in ("labelIds", "labelTrainIds")
        }
        encoding = self.labels
        if encoding is None:
            trains = found["labelTrainIds"]
            complete = bool(trains) and (images.keys() <= trains.keys() or not found["labelIds"])
            encoding = "labelTrainIds" if complete else "labelIds"
        chosen = found[encoding]
        for name, path in sorted(images.items()):
            if name not in chosen:
                wanted = labels / path.parent.name / f"{name}_gtFine_{encoding}.png"
                raise MissingData(
                    f"{wanted} does not exist, but its image {path} does; unpack gtFine_trainvaltest.zip again"
                )
        for name, path in sorted(chosen.items()):
            if name not in images:
                wanted = root / "leftImg8bit" / self.split / path.parent.name / f"{name}_leftImg8bit.png"
                raise MissingData(
                    f"{wanted} does not exist, but its label {path} does; unpack leftImg8bit_trainvaltest.zip again"
                )
        if len(images) != self.count:
            raise MissingData(
                f"{root / 'leftImg8bit' / self.split} holds {len(images)} frames, wanted {self.count}; unpack the"
                f" archives again, or say frames: {len(images)} in the suite if that is all there should be"
            )
        return [_Frame(name, images[name], chosen[name], encoding) for name in sorted(images)]


def _files(folder: Path, kind: str) -> Mapping[str, Path]:
    """``<city>_<sequence>_<frame>`` to the file of that kind."""
    if not folder.is_dir():
        raise MissingData(f"{folder} does not exist; unpack the Cityscapes archives so that it does")
    return {path.name.removesuffix(f"_{kind}.png"): path for path in folder.glob(f"*/*_{kind}.png")}


def _train_ids(frame: _Frame) -> Labels:
    """Read one label file and check its values and its size; uint8 [H, W]."""
    labels = read_gray(frame.label)
    counts = np.bincount(labels.ravel(), minlength=256)
    if illegal := set(np.flatnonzero(counts).tolist()) - _LEGAL[frame.encoding]:
        value = min(illegal)
        row, column = divmod(int(np.argmax(labels == value)), labels.shape[1])
        wanted = "0..33 or 255" if frame.encoding == "labelIds" else "0..18 or 255"
        hint = "; are these label ids? then name the file so" if illegal <= _LEGAL["labelIds"] else ""
        raise MissingData(
            f"{frame.label} holds the value {value} at row {row}, column {column}, wanted {wanted}"
            f" ({frame.encoding}){hint or '; unpack or make the labels again'}"
        )
    height, width = _size(frame.image)
    if labels.shape != (height, width):
        raise MissingData(
            f"{frame.label} is {labels.shape[0]}x{labels.shape[1]}, its image {frame.image.name} is {height}x{width};"
            f" labels are never resized, so unpack both archives again"
        )
    return _FROM_LABEL_IDS[labels] if frame.encoding == "labelIds" else labels


def _size(path: Path) -> tuple[int, int]:
    """(H, W) of an image from its header."""
    try:
        with Image.open(path) as file:
            return file.height, file.width
    except UnidentifiedImageError:
        raise MissingData(f"{path} is not an image") from None
    except (OSError, SyntaxError) as error:  # Pillow raises SyntaxError for a broken PNG chunk
        raise MissingData(f"{path} cannot be read: {error}; is it truncated?") from None


def _mapping() -> Labels:
    """Uint8 [256]: the train id of each label id, 255 for those that are not evaluated."""
    table = np.full(256, IGNORE, np.uint8)
    table[list(LABEL_IDS)] = np.arange(len(LABEL_IDS))
    return table


_FROM_LABEL_IDS = _mapping()
