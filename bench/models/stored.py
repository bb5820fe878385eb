"""Outputs that a program or another run left in files: seen by their header first, then read, never unpickled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.api import Inference
from bench.core import untrusted_arrays
from bench.core.errors import BadScores, MissingData
from bench.core.untrusted_arrays import Fits, Unreadable

if TYPE_CHECKING:
    from torch import Tensor

ENTRIES = (".npy", ".npz", ".hdf5", ".h5")  # of one sample each, in a folder
HDF5 = (".hdf5", ".h5")
ARCHIVES = (".npz", *HDF5)  # with an array for each sample under its id


@dataclass(frozen=True)
class Entry:
    """One array: its file, and its name in there if there are several."""

    path: Path
    name: str = ""

    def __str__(self) -> str:
        return f"{self.path}:{self.name}" if self.name else str(self.path)


def whole_images_only(inference: Inference, who: str) -> None:
    """Refuse windows, scales and mirror images: what is stored are outputs of whole images at their own size."""
    if inference != Inference():
        raise ValueError(f"{who} outputs belong to whole images: leave inference away")


def volume(entry: Entry, classes: int | None, size: tuple[int, int]) -> Tensor:
    """float32 [C, h, w] for an image of ``size`` (H, W), or [h, w] where ``classes`` is None; not larger than it."""

    def fits(shape: Sequence[int], dtype: np.dtype[Any]) -> None:
        front = "" if classes is None else f"{classes}, "
        wanted = 2 if classes is None else 3
        if dtype.kind not in "fui":
            raise BadScores(f"{entry} holds {dtype}, wanted numbers")
        if len(shape) != wanted or (classes is not None and shape[0] != classes) or 0 in shape:
            raise BadScores(f"{entry} is {list(shape)}, wanted [{front}h, w]")
        if shape[-2] > size[0] or shape[-1] > size[1]:
            raise BadScores(f"{entry} is {list(shape)}, larger than its image {list(size)}; is it another image's?")

    return _finite(entry, read(entry, fits))


def numbers(entry: Entry) -> Tensor:
    """float32 of two or three axes: an output that has no other rule."""

    def fits(shape: Sequence[int], dtype: np.dtype[Any]) -> None:
        if dtype.kind not in "fui" or len(shape) not in (2, 3):
            raise BadScores(f"{entry} is {dtype} {list(shape)}, wanted numbers, [h, w] or [D, h, w]")

    return _finite(entry, read(entry, fits))


def _finite(entry: Entry, array: NDArray[Any]) -> Tensor:
    import torch

    outputs = torch.from_numpy(np.ascontiguousarray(array, np.float32))
    if not torch.isfinite(outputs).all():
        raise BadScores(f"{entry} holds {int((~torch.isfinite(outputs)).sum())} numbers that are not finite")
    return outputs


def class_map(entry: Entry, classes: int, size: tuple[int, int]) -> Tensor:
    """uint8 [H, W]: whole numbers below ``classes``, brought to ``size`` by the nearest pixel if smaller."""
    import torch
    from torch.nn import functional

    def fits(shape: Sequence[int], dtype: np.dtype[Any]) -> None:
        if dtype.kind not in "ui" or len(shape) != 2 or 0 in shape or shape[0] > size[0] or shape[1] > size[1]:
            raise BadScores(f"{entry} is {dtype} {list(shape)}, wanted whole numbers, [h, w] up to {list(size)}")

    stored = read(entry, fits)
    if stored.min() < 0 or stored.max() >= classes:
        raise BadScores(f"{entry} holds the class {int(stored.max())}, wanted 0 to {classes - 1}")
    found = torch.from_numpy(np.array(stored, np.uint8, order="C"))
    if tuple(found.shape) == size:
        return found
    return functional.interpolate(found[None, None], size=size, mode="nearest-exact")[0, 0]


def read(entry: Entry, fits: Fits) -> NDArray[Any]:
    """Return an array of plain numbers. ``fits`` is asked about its shape and type before memory is taken for it."""
    name = entry.name or ("value" if entry.path.suffix in HDF5 else "")
    try:
        return untrusted_arrays.read(entry.path, entry.path.suffix, fits, name=entry.name)
    except Unreadable as error:
        if error.reason in ("name", "link") and entry.path.suffix in HDF5:
            known = ", ".join(error.names)
            raise BadScores(f"{entry.path} has no dataset {name!r} of its own; found {known}") from None
        if error.reason == "foreign":
            raise BadScores(f"{entry.path}: {error}; wanted the numbers in this file") from None
        if error.reason == "count":
            raise BadScores(f"{entry} {error}") from None
        raise BadScores(f"{entry} cannot be read as plain numbers: {error}") from None


def listed(place: Path, *, inner: str) -> dict[str, Entry]:
    """Every entry of a folder or of one archive, by the id that its name says.

    ``inner`` is the folder that is looked into where there is one: ``scores`` or ``predictions`` in a spool of a run.
    """
    if place.is_dir():
        folder = place / inner if inner and (place / inner).is_dir() else place
        found: dict[str, Entry] = {}
        for path in sorted(folder.iterdir()):
            if path.suffix not in ENTRIES or path.name.startswith("."):
                continue
            if path.stem in found:
                raise BadScores(f"{found[path.stem]} and {path} are both the entry of {path.stem}; keep one")
            found[path.stem] = Entry(path)
        return found
    if not place.is_file():
        raise MissingData(f"{place} does not exist; wanted a folder with a file per image, or an archive")
    if place.suffix not in ARCHIVES:
        raise BadScores(f"{place} is no folder, and no file ending in {', '.join(ARCHIVES)}")
    return {name: Entry(place, name) for name in _names(place)}


def _names(archive: Path) -> list[str]:
    try:
        return untrusted_arrays.names(archive, archive.suffix)
    except Unreadable as error:
        raise BadScores(f"{archive} cannot be read: {error}") from None
