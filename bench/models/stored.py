"""Outputs that a program or another run left in files: seen by their header first, then read, never unpickled."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from bench.api import IGNORE, Inference
from bench.core import frame_names, images, label_values, untrusted_arrays
from bench.core.disguised_files import disguise
from bench.core.errors import BadScores, MissingData
from bench.core.file_names import file_name
from bench.core.label_values import Meaning
from bench.core.untrusted_arrays import Fits, Unreadable
from bench.counts import keys

if TYPE_CHECKING:
    from torch import Tensor

Kind = Literal["logits", "scores", "labels"]

SPOOLED: Mapping[Kind, str] = {"logits": "logits", "scores": "scores", "labels": "predictions"}  # folders of a spool
TAILS: Mapping[Kind, tuple[str, ...]] = {  # what programs add to an id for what they leave of it
    "logits": ("_logits",),
    "scores": ("_anomaly", "_score", "_scores"),
    "labels": ("_segmentation", "_labels", "_pred"),
}
ENTRIES = (".npy", ".npz", ".hdf5", ".h5")  # of one sample each, in a folder
PICTURES = (".png",)  # of class maps
HDF5 = (".hdf5", ".h5")
ARCHIVES = (".npz", *HDF5)  # with an array for each sample under its id
LOST = 1e-4  # share of the pairs of numbers that may become equal in float32


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
    wanted = 2 if classes is None else 3

    def fits(shape: Sequence[int], dtype: np.dtype[Any]) -> None:
        front = "" if classes is None else f"{classes}, "
        if dtype.kind not in "fui":
            raise BadScores(f"{entry} holds {dtype}, wanted numbers")
        shape = _bare(shape, wanted)
        if classes is not None and len(shape) == 3 and shape[0] != classes:
            raise BadScores(f"{entry} is {list(shape)}, wanted [{classes}, h, w]; {_other_classes(shape, classes)}")
        if len(shape) != wanted or 0 in shape:
            raise BadScores(f"{entry} is {list(shape)}, wanted [{front}h, w]")
        if shape[-2] > size[0] or shape[-1] > size[1]:
            raise BadScores(f"{entry} is {list(shape)}, larger than its image {list(size)}; is it another image's?")

    array = read(entry, fits)
    return _finite(entry, array.reshape(_bare(array.shape, wanted)))


def _bare(shape: Sequence[int], axes: int) -> Sequence[int]:
    """A shape without the axis of length 1 that a batch has in front, or one channel at the end."""
    if len(shape) != axes + 1:
        return shape
    return shape[1:] if shape[0] == 1 else shape[:-1] if shape[-1] == 1 and axes == 2 else shape


def _other_classes(shape: Sequence[int], classes: int) -> str:
    """Return advice on logits [C, h, w] of another number of classes."""
    if shape[2] == classes:
        return "its axes are [h, w, C]: store array.transpose(2, 0, 1)"
    cut = f"array[:{classes}] leaves the rest out, such as a class for the unlabelled"
    more = f"; if they begin with the {classes} classes, {cut}" if shape[0] > classes else ""
    return f"are they of {shape[0]} classes? then name these in the entry: classes: [...]{more}"


def numbers(entry: Entry) -> Tensor:
    """float32 of two or three axes: an output that has no other rule."""

    def fits(shape: Sequence[int], dtype: np.dtype[Any]) -> None:
        if dtype.kind not in "fui" or len(shape) not in (2, 3) or 0 in shape:
            raise BadScores(f"{entry} is {dtype} {list(shape)}, wanted numbers, [h, w] or [D, h, w]")

    return _finite(entry, read(entry, fits))


def _finite(entry: Entry, array: NDArray[Any]) -> Tensor:
    import torch

    if array.dtype.itemsize > 4 and np.isfinite(array).all():
        largest = float(abs(array).max(initial=0))
        if largest > np.finfo(np.float32).max:
            raise BadScores(f"{entry} holds numbers up to {largest:.3g}, beyond the 3.4e38 of float32; rescale them")
        planes = array if array.ndim == 3 else array[None]
        if (lost := max(keys.lost_order(plane.astype(np.float64)) for plane in planes)) > LOST:
            raise BadScores(
                f"{entry} holds {array.dtype} that float32 cannot tell apart: {100 * lost:.2g} % of its pairs would"
                " tie; store logits, or the logarithm of what is near 1; 'bench score' ranks such maps as they are"
            )
    outputs = torch.from_numpy(np.ascontiguousarray(array, np.float32))
    if not torch.isfinite(outputs).all():
        raise BadScores(f"{entry} holds {int((~torch.isfinite(outputs)).sum())} numbers that are not finite")
    return outputs


def class_map(
    entry: Entry, classes: int, size: tuple[int, int], meaning: Meaning | None = None, parameter: str = ""
) -> Tensor:
    """uint8 [H, W]: whole numbers below ``classes``, brought to ``size`` by the nearest pixel if smaller.

    ``meaning`` is the class of each stored value; None: that value. ``parameter`` is what says so, for messages.
    """
    import torch
    from torch.nn import functional

    def fits(shape: Sequence[int], dtype: np.dtype[Any]) -> None:
        shape = _bare(shape, 2)
        if dtype.kind not in "ui" or len(shape) != 2 or 0 in shape or shape[0] > size[0] or shape[1] > size[1]:
            raise BadScores(f"{entry} is {dtype} {list(shape)}, wanted whole numbers, [h, w] up to {list(size)}")

    stored = _picture(entry, fits) if entry.path.suffix in PICTURES else read(entry, fits)
    if meaning is None and (stored.min() < 0 or stored.max() >= classes):
        words, name = label_values.likely(np.unique(stored).tolist(), classes)
        cure = f": say {parameter}: {name}" if parameter else ""
        likely = f"; its values fit {words}{cure}" if words else ""
        raise BadScores(f"{entry} holds the class {int(stored.max())}, wanted 0 to {classes - 1}{likely}")
    if meaning is not None:
        held = np.unique(stored).tolist()
        if strange := [value for value in held if meaning.get(value, IGNORE) >= classes]:
            raise BadScores(f"{entry} holds {strange[0]}, of which values does not say which class it is")
        stored = np.array([meaning.get(value, 0) for value in range(256)], np.uint8)[stored]
    labels = torch.from_numpy(np.array(stored, np.uint8, order="C").reshape(_bare(stored.shape, 2)))
    if tuple(labels.shape) == size:
        return labels
    return functional.interpolate(labels[None, None], size=size, mode="nearest-exact")[0, 0]


def _picture(entry: Entry, fits: Fits) -> NDArray[Any]:
    try:
        return images.labels(entry.path, lambda size: fits(size, np.dtype(np.uint8)))
    except images.Undecodable as error:
        raise BadScores(f"{entry} {error}; wanted a class map") from None


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
        instead = disguise(entry.path, "npy", "npz", "hdf5")
        raise BadScores(f"{entry} cannot be read as plain numbers: {instead or error}") from None


def listed(source: Path, kind: Kind) -> Listed:
    """Every entry of a folder or of one archive, by the id that its name says.

    A folder whose own files are none is looked through to its last subfolder, as maps in folders of cities lie; in a
    spool of a run the one of the kind is. What data sets and tools add to an id in names of files is passed over.
    """
    if source.is_dir():
        inner = source / SPOOLED[kind]
        folder = inner if inner.is_dir() else source
        ends = (*ENTRIES, *PICTURES) if kind == "labels" else ENTRIES
        paths = _files(folder, ends, deep=False) or _files(folder, ends, deep=True)
        return Listed(source, kind, [(path.stem, Entry(path)) for path in paths])
    if not source.is_file():
        raise MissingData(f"{source} does not exist; wanted a folder with a file per image, or an archive")
    if source.suffix not in ARCHIVES:
        raise BadScores(f"{source} is no folder, and no file ending in {', '.join(ARCHIVES)}")
    return Listed(source, kind, [(name, Entry(source, name)) for name in _names(source)])


@dataclass
class Listed:
    """The entries of one kind, and how they are found by ids."""

    source: Path
    kind: Kind
    entries: Sequence[tuple[str, Entry]]  # with the stem of each

    @property
    def paths(self) -> list[Path]:
        """The files, sorted, each once."""
        return sorted({entry.path for _, entry in self.entries})

    @property
    def example(self) -> str:
        """The stem of one."""
        return next((stem for stem, _ in self.entries), "nothing")

    def of(self, sample: str) -> Entry | None:
        """The entry of a sample: named after it to the letter, else with endings that are no part of ids; or None.

        A spool of a run has the names of files that stand for ids.
        """
        for name, by_name in ((sample, self._exact), (sample, self._bare), (file_name(sample), self._exact)):
            if len(entries := by_name.get(name, ())) > 1:
                first, second = entries[:2]
                raise BadScores(
                    f"{first} and {second} are both the entry of {sample}; keep one, or name the folder of one alone"
                )
            if entries:
                return entries[0]
        return None

    @cached_property
    def _exact(self) -> Mapping[str, Sequence[Entry]]:
        return _grouped((stem, entry) for stem, entry in self.entries)

    @cached_property
    def _bare(self) -> Mapping[str, Sequence[Entry]]:
        tails = (*frame_names.TAILS, *TAILS[self.kind])
        others = tuple(tail for kind, ends in TAILS.items() if kind != self.kind for tail in ends)
        return _grouped(
            (frame_names.bare(stem, tails), entry) for stem, entry in self.entries if not stem.endswith(others)
        )


def _grouped(pairs: Iterable[tuple[str, Entry]]) -> dict[str, list[Entry]]:
    groups: dict[str, list[Entry]] = {}
    for name, entry in pairs:
        groups.setdefault(name, []).append(entry)
    return groups


def _files(folder: Path, ends: tuple[str, ...], *, deep: bool) -> list[Path]:
    """The files with such endings, sorted; links to folders are followed, each folder is looked into once."""
    paths: list[Path] = []
    seen: set[str] = set()
    for root, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(root)
        folders[:] = [] if real in seen or not deep else sorted(name for name in folders if name[0] != ".")
        if real not in seen:
            paths += [Path(root, name) for name in names if name.endswith(ends) and name[0] != "."]
        seen.add(real)
    return sorted(paths)


def _names(archive: Path) -> list[str]:
    try:
        return untrusted_arrays.names(archive, archive.suffix)
    except Unreadable as error:
        raise BadScores(f"{archive} cannot be read: {error}") from None
