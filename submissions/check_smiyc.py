"""What SegmentMeIfYouCan's evaluator needs of an archive, held against one made by anybody.

Rules: SegmentMeIfYouCan/road-anomaly-benchmark@1c7804e and the page of the board. Nothing here knows how this project
writes archives.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from bench.api import Labels
from bench.core.errors import MissingData
from bench.datasets.frames import Frame, OnDisk
from bench.datasets.frames import size as size_of
from bench.evaluate.frames import Frames, Published
from bench.evaluate.lint import Look
from bench.submissions import smiyc
from bench.submit import float16_maps
from bench.submit.archives import Archive, Failure, Refused
from bench.submit.verdict import Verdict

THREADS = 2
SLACK = 2**21  # bytes of a file beyond four for each pixel
BASE = 1.5  # times the base rate that an AP must reach
LARGEST = 2**24  # pixels of a map whose image is not here
KEYS = 1 << 16


@dataclass
class _Folder:
    """One set of an archive."""

    name: str
    maps: Mapping[str, str]  # frame to member
    sizes: Mapping[str, tuple[int, int]] | None = None  # of every frame, where the images are here
    truth: Frames | None = None  # of the labelled ones
    why: str = ""  # the sizes are not known
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros((2, KEYS), np.int64))
    look: Look = field(default_factory=Look)
    judged: int = 0  # labelled frames that were counted
    lock: threading.Lock = field(default_factory=threading.Lock)


def check(
    archive: Archive,
    frames: Mapping[str, int],
    labels: Frames | None = None,
    sets: Collection[str] = (),
) -> Verdict:
    """Hold an archive against every rule. ``frames`` says how many a set has where that is not as published.

    ``labels`` are used for the direction in place of the public ones. ``sets`` must be there; without it those are that
    the page of the board asks for, although methods of one track alone stand on it.
    """
    verdict = Verdict("smiyc", str(archive.path), list(archive.failures))
    folders = _folders(archive, verdict)
    for name in sets or [name for name, one in smiyc.SETS.items() if one.required]:
        if name not in folders:
            said = f"is absent; wanted {_wanted(name, frames)} maps in it, or say --sets with those that are meant"
            verdict.failures.append(Failure("count", f"{name}/", said))
    for folder in folders.values():
        _know(folder, frames.get(folder.name), labels)
        _check_count(folder, _wanted(folder.name, frames), verdict)
        with ThreadPoolExecutor(THREADS) as pool:
            for found in pool.map(partial(_check_map, archive, folder), *zip(*folder.maps.items(), strict=True)):
                verdict.failures.extend(found)
        _judge(folder, verdict)
        verdict.counts[folder.name] = len(folder.maps)
    for stray in archive.strays[:3]:
        verdict.warnings.append(f"{stray}: does not belong in an archive; the server may count it")
    return verdict


def _wanted(name: str, frames: Mapping[str, int]) -> int:
    return frames.get(name, smiyc.SETS[name].count)


def _folders(archive: Archive, verdict: Verdict) -> dict[str, _Folder]:
    """Sort the members into sets; what has no place in the tree is a failure."""
    found: dict[str, dict[str, str]] = {}
    roots: dict[tuple[str, ...], str] = {}
    for member in archive.members:
        path = PurePosixPath(member)
        where, name = path.parts[:-2], path.parts[-2] if len(path.parts) > 1 else ""
        if path.suffix != ".hdf5":
            verdict.failures.append(Failure("names", member, "is no .hdf5; the archive holds maps alone"))
        elif name not in smiyc.SETS:
            said = f"lies in {name or 'no folder'!r}, wanted one of {', '.join(smiyc.SETS)}"
            verdict.failures.append(Failure("names", member, said))
        elif len(where) not in (0, 2) or (where and where[0] != "anomaly_p"):
            verdict.failures.append(
                Failure("names", member, f"wanted anomaly_p/<Method>/{name}/{path.name} or {name}/{path.name}")
            )
        else:
            roots.setdefault(where, member)
            found.setdefault(name, {})[path.stem] = member
    if len(roots) > 1:
        first, second = list(roots.values())[:2]
        verdict.failures.append(Failure("one method", second, f"and {first} are of two methods; pack one"))
    return {name: _Folder(name, maps) for name, maps in found.items()}


def _know(folder: _Folder, frames: int | None, labels: Frames | None) -> None:
    """Sizes from the headers of the images, and the public truth, as far as they are on this machine."""
    one = smiyc.SETS[folder.name]
    try:
        folder.sizes = {frame.id: size_of(frame.image) for frame in _frames(one.reader(frames))}
    except MissingData as error:
        folder.why = str(error)
    try:
        truth = labels or Published(smiyc.labelled(folder.name, frames))
        folder.truth = truth if truth.ids else None
    except MissingData as error:
        folder.why = folder.why or str(error)


def _frames(reader: OnDisk) -> Sequence[Frame]:
    return reader._frames


def _check_count(folder: _Folder, wanted: int, verdict: Verdict) -> None:
    if folder.sizes is not None:
        for missing in sorted(folder.sizes.keys() - folder.maps.keys()):
            verdict.failures.append(
                Failure("count", f"{folder.name}/{missing}.hdf5", "is absent: every frame has a map")
            )
        for extra in sorted(folder.maps.keys() - folder.sizes.keys()):
            verdict.failures.append(Failure("names", folder.maps[extra], f"{extra!r} is no frame of {folder.name}"))
    else:
        verdict.notes.append(
            f"{folder.name}: names and sizes were not compared with the images, which are not here: {folder.why}"
        )
    if len(folder.maps) != wanted:
        said = f"holds {len(folder.maps)} maps, wanted {wanted}"
        verdict.failures.append(Failure("count", f"{folder.name}/", said))


def _check_map(archive: Archive, folder: _Folder, frame: str, member: str) -> list[Failure]:
    size = folder.sizes.get(frame) if folder.sizes is not None else None
    if folder.sizes is not None and size is None:
        return []  # no frame of the set: said already
    try:
        limit = 4 * (math.prod(size) if size else LARGEST) + SLACK
        half = float16_maps.unpacked(archive.read(member, limit), size, LARGEST)
        if size is None and half.shape not in smiyc.SETS[folder.name].sizes:
            shapes = " or ".join(f"{height}x{width}" for height, width in smiyc.SETS[folder.name].sizes)
            raise Refused("map size", f"is {half.shape[0]}x{half.shape[1]}, the frames are {shapes}")
        _check_values(half)
        truth = _truth(folder, frame, half.shape)
    except Refused as error:
        return [Failure(error.rule, member, error.text)]
    with folder.lock:
        folder.look.add(member, half.astype(np.float32), half.dtype)
        if truth is not None:
            folder.counts += _counted(half, truth)
            folder.judged += 1
    return []


def _check_values(half: float16_maps.Halves) -> None:
    finite = np.isfinite(half)
    if not finite.all():
        row, column = divmod(int(np.argmin(finite)), half.shape[1])
        kind = "NaN" if np.isnan(half[row, column]) else "infinite"
        count = int(half.size - np.count_nonzero(finite))
        raise Refused("finite", f"is {kind} at row {row}, column {column} ({count} pixels are not finite)")
    distinct = float16_maps.levels(half)
    if distinct == 1:
        raise Refused("constant", f"holds {half[0, 0]} everywhere and ranks nothing")
    if distinct == 2:
        raise Refused(
            "distinct values", "holds 2 values; pixels at the threshold are lost to the component metric: write scores"
        )


def _truth(folder: _Folder, frame: str, size: tuple[int, ...]) -> Labels | None:
    """uint8 [H, W] of a labelled frame."""
    if folder.truth is None or frame not in folder.truth.ids:
        return None
    with folder.lock:
        truth = folder.truth.load(frame).anomaly
    if truth is None:
        return None
    if truth.shape != size:
        raise Refused("map size", f"is {size[0]}x{size[1]}, its labels are {truth.shape[0]}x{truth.shape[1]}")
    return truth


def _counted(half: float16_maps.Halves, truth: Labels) -> NDArray[np.int64]:
    """int64 [2, 65536]: usual and anomalous pixels by the value of their score, from the lowest to the highest."""
    bits = (half + np.float16(0)).view(np.uint16)  # -0 becomes 0: they are equal
    keys = np.where(bits & 0x8000, 0xFFFF - bits, bits | 0x8000)
    return np.stack([np.bincount(keys[truth == value], minlength=KEYS) for value in (0, 1)])


def average_precision(counts: NDArray[np.int64], *, negated: bool = False) -> float:
    """The step sum over distinct scores, ties together; of -score if ``negated``. NaN without an anomaly."""
    usual, strange = counts if negated else counts[:, ::-1]
    found, alarms = np.cumsum(strange), np.cumsum(usual + strange)
    if not found[-1]:
        return math.nan
    there = strange > 0
    return float(np.sum(strange[there] / found[-1] * (found[there] / alarms[there])))


def _judge(folder: _Folder, verdict: Verdict) -> None:
    """The direction, and what float16 has left of the order."""
    usual, strange = (int(side.sum()) for side in folder.counts)
    if not strange or not usual:
        verdict.notes.append(
            f"{folder.name}: the direction was not looked at: no labelled frame with anomalies is here"
            + (f": {folder.why}" if folder.why else "")
        )
    else:
        base = strange / (usual + strange)
        ap, turned = average_precision(folder.counts), average_precision(folder.counts, negated=True)
        said = f"AP on {folder.judged} labelled frames is {ap:.4f}, of the negated maps {turned:.4f}"
        rate = f"the base rate is {base:.4f}"
        if turned > ap:
            said = f"{said} ({rate}): higher must mean more anomalous; negate the scores"
            verdict.failures.append(Failure("direction", f"{folder.name}/", said))
        elif ap < BASE * base:
            verdict.warnings.append(
                f"{folder.name}/: {said}, below {BASE} times the base rate ({base:.4f}) [direction]"
            )
        else:
            verdict.notes.append(f"{folder.name}: {said}, {rate}")
    for finding in folder.look.findings():
        if finding.code != "constant":
            verdict.warnings.append(f"{folder.name}/: {finding.text} [{finding.code}]")
