"""Maps made elsewhere, in the layouts and formats in use: found, matched to frames, and read one at a time.

Archives are read without extracting them, links and external storage are not followed, pickles are not opened, and
what a file declares is held against the size of its labels before memory is taken for it.
"""

from __future__ import annotations

import itertools
import math
import re
import zipfile
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import IO, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.api import IGNORE, Labels, Scores
from bench.core import disguised_files, frame_names, images, listing, untrusted_arrays
from bench.core.errors import BadScores, MissingData
from bench.core.file_names import file_name
from bench.core.untrusted_arrays import Unreadable
from bench.counts import keys
from bench.datasets import frames

Size = tuple[int, int]  # (H, W)
Role = Literal["score map", "prediction"]

SPOOLED: Mapping[Role, str] = {"score map": "scores", "prediction": "predictions"}
TREE = "anomaly_p"  # SegmentMeIfYouCan keeps <TREE>/<method>/<set>/<frame>.hdf5
SEGMENTATION = "_segmentation"  # Fishyscapes keeps DDDD_<frame>_anomaly.npy and DDDD_<frame>_segmentation.npy
BRAVO: Mapping[Role, str] = {"score map": "_conf", "prediction": "_pred"}  # of its files before they are encoded
TAILS = ("_anomaly", SEGMENTATION, *BRAVO.values(), "_labels", "_labels_semantic", *frame_names.TAILS)
NAMED: Mapping[Role, Sequence[str]] = {  # arrays of a file that holds several, without what is no letter
    "score map": (
        "score", "scores", "scoremap", "anomaly", "anomalyscore", "anomalyscores", "anomalymap", "ood", "oodscore",
        "uncertainty", "confidence", "heatmap", "value",
    ),
    "prediction": (
        "prediction", "predictions", "pred", "preds", "classes", "classmap", "segmentation", "argmax", "labels",
    ),
}  # fmt: skip
IMAGES = (".png", ".tif", ".tiff")
READERS = (".npy", ".npz", ".hdf5", ".h5", *IMAGES)
SHOWN = 5  # names that a message lists
KINDS: Mapping[str, tuple[str, ...]] = {  # of bench.core.disguised_files
    ".npy": ("npy",), ".npz": ("npz", "zip", "broken zip"), ".hdf5": ("hdf5",), ".h5": ("hdf5",), ".png": ("png",),
    ".tif": ("tiff",), ".tiff": ("tiff",),
}  # fmt: skip
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
    channel: bool  # whether an axis of length 1 was dropped
    unknown: int  # pixels that are NaN, all of them ignored: they hold the lowest score
    several: bool  # whether the file holds several arrays


class Matched(NamedTuple):
    """Files by frame."""

    files: Mapping[str, MapFile]  # by id, in the order of the ids; frames without a file are left out
    extra: tuple[MapFile, ...]  # that belong to no frame


def find(path: Path, role: Role) -> list[MapFile]:
    """Every map of a folder or a .zip, in the order of their names.

    Understood are a folder of maps, a spool of ``bench run``, the tree of SegmentMeIfYouCan from any level on, the
    output of a Fishyscapes container, and the tree of BRAVO before it is encoded. ``archive.zip/inner/folder`` names a
    folder inside an archive.
    """
    files = _listed(path, role)
    segmentations = [file for file in files if file.stem.endswith(SEGMENTATION)]
    of_bravo = {ending: [file for file in files if file.stem.endswith(ending)] for ending in BRAVO.values()}
    if all(of_bravo.values()):
        files = of_bravo[BRAVO[role]]
    elif role == "score map":
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
        return [MapFile(path) for path in listing.nearest(folder, lambda path: _is_map(path.name) and path.is_file())]
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


def of_set(files: Sequence[MapFile], names: Collection[str]) -> list[MapFile]:
    """The files below folders that are called like a set; all of them where no folder is.

    ``names`` are what the set is called. Folders that all files share do not count.
    """
    folders = [[_plain_folder(part) for part in file.parts[:-1]] for file in files]
    shared = sum(1 for _ in itertools.takewhile(lambda parts: len(set(parts)) == 1, zip(*folders, strict=False)))
    kept = list(zip(files, (set(parts[shared:]) for parts in folders), strict=True))
    for name in map(_plain_folder, names):
        kept = [each for each in kept if name in each[1]] or kept
    return [file for file, _ in kept]


def _plain_folder(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower()).replace("obsticle", "obstacle")


def match(files: Iterable[MapFile], ids: Sequence[str], role: Role) -> Matched:
    """Match by name: as it is, else without the common endings, else also without a leading number of four digits.

    An id that no name is may be a path whose parts are joined by '_', such as that of a frame of BRAVO.
    """
    pool = list(files)
    paths: dict[str, list[MapFile]] = {}
    for file in pool:
        for start in range(len(file.parts) - 1):
            joined = "_".join([*file.parts[start:-1], _names(file.stem)[1]])
            paths.setdefault(frames.plain(joined), []).append(file)
    by_name: list[dict[str, list[MapFile]]] = [{}, {}, {}]
    for file in pool:
        for known, name in zip(by_name, _names(file.stem), strict=True):
            known.setdefault(name, []).append(file)
    matched: dict[str, MapFile] = {}
    owner: dict[MapFile, str] = {}
    for sample in ids:
        candidates = next(
            (known[name] for known, name in zip(by_name, _names(sample), strict=True) if name in known),
            by_name[0].get(file_name(sample), []) or paths.get(sample, []),  # the first as a spool of a run has it
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


def read_map(file: MapFile, size: Size, ignored: NDArray[np.bool_] | None = None) -> Map:
    """A score map that is not larger than its labels; infinities are let through, and NaN on pixels that are ignored.

    ``ignored`` is bool [H, W], of that size; None: none is. Raise BadScores by name for what is refused.
    """
    stored, several = _array_for("score map", file, size)
    return plain_map(file, stored, size, ignored, several=several)


def plain_map(
    place: object, stored: NDArray[Any], size: Size, ignored: NDArray[np.bool_] | None, *, several: bool = False
) -> Map:
    """The same of an array that was read; ``place`` names it in a complaint."""
    if stored.dtype.kind not in "fui":
        raise BadScores(f"{place} holds {stored.dtype}, wanted numbers")
    channel = stored.ndim > 2
    stored = stored.reshape(_plane(stored.shape))
    unknown = 0
    if stored.dtype.kind == "f" and (nan := np.isnan(stored)).any():
        unknown = int(nan.sum())
        counting = nan if ignored is None or stored.shape != size else nan & ~ignored
        if counting.any():
            counted = f", {int(counting.sum())} of them on pixels that count" if ignored is not None else ""
            raise BadScores(f"{place} holds {unknown} NaN{counted}; a score must order pixels")
        stored = np.where(nan, np.nanmin(stored, initial=np.inf) if unknown < nan.size else 0, stored)
    try:
        return Map(keys.narrowed(stored), stored.dtype, channel, unknown, several)
    except ValueError as error:
        raise BadScores(f"{place} holds {error}; rescale them, or write float64") from None


def read_classes(file: MapFile, size: Size) -> Labels:
    """A class map, uint8 [H, W]."""
    stored, _ = _array_for("prediction", file, size)
    stored = stored.reshape(_plane(stored.shape))
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
    """The only numbers of a file. Raise BadScores for what cannot be read."""
    try:
        return _read(file, size, "")
    except Unreadable as error:
        raise BadScores(f"{file}{_refusal(file, error)}{_disguise(file, size)}") from None


def _array_for(role: Role, file: MapFile, size: Size) -> tuple[NDArray[Any], bool]:
    """The numbers of a file, and whether it holds several arrays, of which one is called like its role.

    Raise BadScores for what cannot be read.
    """
    try:
        return _read(file, size, ""), False
    except Unreadable as error:
        names = [name for name in error.names if re.sub(r"[^a-z]", "", name.lower()) in NAMED[role]]
        if error.reason not in ("count", "name") or len(names) != 1:
            cure = f"; call the one that is the {role} {NAMED[role][0]}" if error.reason == "count" else ""
            raise BadScores(f"{file}{_refusal(file, error)}{cure}{_disguise(file, size)}") from None
    try:
        return _read(file, size, names[0]), True
    except Unreadable as error:
        raise BadScores(f"{file}{_refusal(file, error)}") from None


def _read(file: MapFile, size: Size, name: str) -> NDArray[Any]:
    try:
        with file.opened(size) as stream:
            if file.suffix in IMAGES:
                return images.numbers(stream, lambda shape: _check_size(shape, file, size), shallow=False)
            return untrusted_arrays.read(
                stream,
                file.suffix,
                lambda shape, dtype: _check_header(shape, dtype, file, size),
                name=name,
                limit=16 * math.prod(size),
            )
    except images.Undecodable as error:
        raise BadScores(f"{file} {error}") from None
    except (zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise BadScores(f"{file} cannot be unpacked: {error}; pack the archive again") from None


def _disguise(file: MapFile, size: Size) -> str:
    """Return the true kind of a file whose name says another; empty where its bytes say nothing."""
    try:
        with file.opened(size) as stream:
            instead = disguised_files.disguise(stream.read(disguised_files.HEAD), *KINDS[file.suffix])
    except (OSError, BadScores, Unreadable, zipfile.BadZipFile, zlib.error, NotImplementedError):
        return ""
    return f"; {instead}" if instead else ""


def _refusal(file: MapFile, error: Unreadable) -> str:
    hdf5 = file.suffix in (".hdf5", ".h5")
    match error.reason:
        case "archive":
            return f" cannot be unpacked: {error}; pack the archive again"
        case "name":
            return f" {error}; found {', '.join(error.names) or 'nothing'}"
        case "link" | "foreign":
            return f": {error}; wanted the map itself in this file"
        case "count":
            return f" {error}: {', '.join(error.names[:SHOWN])}" if error.names else f" {error}"
        case "filters" | "chunks":
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
    plane = _plane(shape)
    if len(plane) != 2:
        raise BadScores(f"{file} is {list(shape)}, wanted one number for each pixel, {list(size)}")
    if plane[0] > size[0] or plane[1] > size[1] or 0 in plane:
        raise BadScores(f"{file} is {list(plane)}, its labels are {list(size)}; write maps at label size")


def _plane(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape without axes of length 1 at its end, and then at its beginning, as far as two are left."""
    while len(shape) > 2 and shape[-1] == 1:
        shape = shape[:-1]
    while len(shape) > 2 and shape[0] == 1:
        shape = shape[1:]
    return shape
