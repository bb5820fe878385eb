"""Maps made elsewhere, in the layouts and formats in use: found, matched to frames, and read one at a time.

Archives are read without extracting them, links and external storage are not followed, pickles are not opened, and
what a file declares is held against the size of its labels before memory is taken for it.
"""

from __future__ import annotations

import math
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import IO, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.api import IGNORE, Labels, Scores
from bench.core import frame_names, images, untrusted_arrays
from bench.core.errors import BadScores, MissingData
from bench.core.untrusted_arrays import Unreadable
from bench.counts import keys

Size = tuple[int, int]  # (H, W)
Role = Literal["score map", "prediction"]

SPOOLED: Mapping[Role, str] = {"score map": "scores", "prediction": "predictions"}
TREE = "anomaly_p"  # SegmentMeIfYouCan keeps <TREE>/<method>/<set>/<frame>.hdf5
SEGMENTATION = "_segmentation"  # Fishyscapes keeps DDDD_<frame>_anomaly.npy and DDDD_<frame>_segmentation.npy
TAILS = ("_anomaly", SEGMENTATION, "_labels", *frame_names.TAILS)
NUMBER = re.compile(r"^\d{4}_(?=.)")
PLAIN = 2**20  # bytes of an archive's member beyond 16 for each pixel of the labels


@dataclass(frozen=True)
class MapFile:
    """A file, or a member of an archive."""

    path: Path
    member: str = ""
    archive: zipfile.ZipFile | None = field(default=None, repr=False, compare=False)

    def __str__(self) -> str:
        return f"{self.path}:{self.member}" if self.archive else str(self.path)

    @property
    def parts(self) -> tuple[str, ...]:
        return PurePosixPath(self.member).parts if self.archive else self.path.parts

    @property
    def name(self) -> str:
        return self.parts[-1]

    @property
    def stem(self) -> str:
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.name).suffix.lower()

    def opened(self, size: Size) -> IO[bytes]:
        """Its bytes; a member that declares more than a map of this size can have is refused."""
        if self.archive is None:
            return self.path.open("rb")
        info = self.archive.getinfo(self.member)
        limit = 16 * math.prod(size) + PLAIN
        if info.flag_bits & 1:
            raise BadScores(f"{self} is encrypted; pack the archive without a password")
        if info.file_size > limit:
            raise BadScores(
                f"{self} unpacks to {info.file_size} bytes, its labels {list(size)} allow {limit}; write maps at label"
                " size"
            )
        untrusted_arrays.check_member(info)
        return BytesIO(self.archive.read(info))


class Map(NamedTuple):
    """One map as it was stored."""

    values: Scores  # float32 [h, w], float64 where that would round; no NaN; infinities are let through
    dtype: np.dtype[Any]  # of the file
    channel: bool  # whether a last axis of length 1 was dropped


class Matched(NamedTuple):
    """Files by frame."""

    files: Mapping[str, MapFile]  # by id, in the order of the ids; frames without a file are left out
    extra: tuple[MapFile, ...]  # that belong to no frame


def find(path: Path, role: Role) -> list[MapFile]:
    """Every map of a folder or a .zip, in the order of their names.

    Understood are a folder of maps, a spool of ``bench run``, the tree of SegmentMeIfYouCan from any level on, and the
    output of a Fishyscapes container. ``archive.zip/inner/folder`` names a folder inside an archive.
    """
    files = _listed(path, role)
    segmentations = [file for file in files if file.stem.endswith(SEGMENTATION)]
    if role == "score map":
        files = [file for file in files if not file.stem.endswith(SEGMENTATION)]
    elif segmentations:
        files = segmentations
    if not files:
        raise MissingData(f"{path} holds no {role}; wanted files ending in {', '.join(READERS)}")
    methods = {_method(file) for file in files if TREE in file.parts}
    if len(methods) > 1:
        named = ", ".join(sorted(methods))
        raise BadScores(f"{path} holds {role}s of {len(methods)} methods: {named}; name the folder of one of them")
    return [file for file in files if TREE in file.parts] or files


def _method(file: MapFile) -> str:
    after = file.parts.index(TREE) + 1
    return file.parts[after] if after < len(file.parts) - 1 else ""


def _listed(root: Path, role: Role) -> list[MapFile]:
    if root.is_dir():
        inner = root / SPOOLED[role]
        folder = inner if inner.is_dir() else root
        flat = [MapFile(path) for path in sorted(folder.iterdir()) if _is_map(path.name) and path.is_file()]
        return flat or [
            MapFile(path)
            for path in sorted(folder.rglob("*"))
            if _is_map(path.name) and not _hidden(path.relative_to(folder).parts) and path.is_file()
        ]
    for archive in (root, *root.parents):
        if archive.is_file():
            return _archived(archive, PurePosixPath(root.relative_to(archive).as_posix()))
    raise MissingData(f"{root} is neither a folder nor a .zip; wanted one {role} per image in it")


def _archived(path: Path, inner: PurePosixPath) -> list[MapFile]:
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise BadScores(f"{path} is not a folder and cannot be read as a .zip: {error}") from None
    files = []
    for info in archive.infolist():
        name = PurePosixPath(info.filename)
        if name.is_absolute() or ".." in name.parts or "\\" in info.filename:
            raise BadScores(f"{path} holds {info.filename!r}, a name that leads out of the archive; pack it again")
        if info.is_dir() or not _is_map(name.name) or _hidden(name.parts) or not name.is_relative_to(inner):
            continue
        files.append(MapFile(path, info.filename, archive))
    return sorted(files, key=lambda file: file.member)


def _is_map(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in READERS and not name.startswith(".")


def _hidden(parts: Sequence[str]) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in parts)


def match(files: Iterable[MapFile], ids: Sequence[str], role: Role) -> Matched:
    """Match by name: as it is, else without the common endings, else also without a leading number of four digits."""
    pool = list(files)
    by_name: list[dict[str, list[MapFile]]] = [{}, {}, {}]
    for file in pool:
        for known, name in zip(by_name, _names(file.stem), strict=True):
            known.setdefault(name, []).append(file)
    matched: dict[str, MapFile] = {}
    owner: dict[MapFile, str] = {}
    for sample in ids:
        candidates = next(
            (known[name] for known, name in zip(by_name, _names(sample), strict=True) if name in known), []
        )
        if len(candidates) > 1:
            first, second = candidates[:2]
            raise BadScores(f"{first} and {second} are both the {role} of {sample}; keep one, or name its folder alone")
        for file in candidates:
            if file in owner:
                raise BadScores(f"{file} could be the {role} of {owner[file]} and of {sample}; name it after the frame")
            matched[sample], owner[file] = file, sample
    return Matched(matched, tuple(file for file in pool if file not in owner))


def _names(stem: str) -> tuple[str, str, str]:
    base = frame_names.bare(stem, TAILS)
    return stem, base, NUMBER.sub("", base)


def read_map(file: MapFile, size: Size) -> Map:
    """A score map that is not larger than its labels; NaN is refused by name, infinities are not."""
    stored = array_of(file, size)
    if stored.dtype.kind not in "fui":
        raise BadScores(f"{file} holds {stored.dtype}, wanted numbers")
    channel = stored.ndim == 3
    if channel:
        stored = stored[..., 0]
    if stored.dtype.kind == "f" and np.isnan(stored).any():
        raise BadScores(f"{file} holds {int(np.isnan(stored).sum())} NaN; a score must order pixels")
    try:
        return Map(keys.narrowed(stored), stored.dtype, channel)
    except ValueError as error:
        raise BadScores(f"{file} holds {error}; rescale them, or write float64") from None


def read_classes(file: MapFile, size: Size) -> Labels:
    """A class map, uint8 [H, W]."""
    stored = array_of(file, size)
    if stored.ndim == 3:
        stored = stored[..., 0]
    if stored.shape != size or stored.dtype.kind not in "ui":
        raise BadScores(f"{file} is {stored.dtype} {list(stored.shape)}, wanted whole numbers {list(size)}")
    if stored.size and (stored.min() < 0 or stored.max() > IGNORE):
        raise BadScores(f"{file} holds classes beyond 0..255")
    return np.ascontiguousarray(stored, np.uint8)


def upsampled(score: Scores, size: Size) -> Scores:
    """Bilinear with half-pixel centres and without antialiasing, by torch itself: the only thing here that loads it."""
    import torch

    from bench.ops import dense

    resized: Scores = dense.resize(torch.from_numpy(score), size).numpy()
    return resized


def array_of(file: MapFile, size: Size) -> NDArray[Any]:
    try:
        with file.opened(size) as stream:
            if file.suffix in IMAGES:
                return IMAGES[file.suffix](stream, file, size)
            return untrusted_arrays.read(
                stream,
                file.suffix,
                lambda shape, dtype: _check_header(shape, dtype, file, size),
                limit=16 * math.prod(size),
            )
    except Unreadable as error:
        raise BadScores(f"{file}{_refusal(file, error)}") from None
    except images.Undecodable as error:
        raise BadScores(f"{file} {error}") from None
    except (zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise BadScores(f"{file} cannot be unpacked: {error}; pack the archive again") from None


def _refusal(file: MapFile, error: Unreadable) -> str:
    hdf5 = file.suffix in (".hdf5", ".h5")
    match error.reason:
        case "archive":
            return f" cannot be unpacked: {error}; pack the archive again"
        case "name":
            return f" {error}; found {', '.join(error.names) or 'nothing'}"
        case "link" | "foreign":
            return f": {error}; wanted the map itself in this file"
        case "count" | "filters" | "chunks":
            return f" {error}"
        case "type":
            return f" {error}, wanted numbers" if hdf5 else f" is not a NumPy file of plain numbers: it {error}"
        case _:
            return f" is not a {'whole HDF5 file' if hdf5 else 'NumPy file of plain numbers'}: {error}"


def _check_header(shape: tuple[int, ...], dtype: np.dtype[Any], file: MapFile, size: Size) -> None:
    if dtype.kind not in "fui":
        raise BadScores(f"{file} holds {dtype}, wanted numbers")
    _check_size(shape, file, size)


def _check_size(shape: tuple[int, ...], file: MapFile, size: Size) -> None:
    """Refuse a declared shape that no map of these labels can have."""
    plane = shape[:2] if len(shape) == 3 and shape[2] == 1 else shape
    if len(plane) != 2:
        raise BadScores(f"{file} is {list(shape)}, wanted one number for each pixel, {list(size)}")
    if plane[0] > size[0] or plane[1] > size[1] or 0 in plane:
        raise BadScores(f"{file} is {list(plane)}, its labels are {list(size)}; write maps at label size")


def _image(*formats: str) -> Callable[[IO[bytes], MapFile, Size], NDArray[Any]]:
    def read(stream: IO[bytes], file: MapFile, size: Size) -> NDArray[Any]:
        return images.numbers(stream, lambda shape: _check_size(shape, file, size), shallow=False, formats=formats)

    return read


_tiff = _image("TIFF")

IMAGES: Mapping[str, Callable[[IO[bytes], MapFile, Size], NDArray[Any]]] = {
    ".png": _image("PNG"),
    ".tif": _tiff,
    ".tiff": _tiff,
}
READERS = (".npy", ".npz", ".hdf5", ".h5", *IMAGES)
