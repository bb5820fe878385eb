"""The files of a run under way: one per cell and range of samples, written whole, merged when the cell is finished.

In the run directory ``work/KEY/phaseP-START-STOP.npz`` has counts, rows by sample id and seconds, and
``work/KEY/decided.npz`` what a refinement decided about each image.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.api import Row
from bench.core import cost, untrusted_arrays
from bench.core.errors import MissingData
from bench.core.recent_arrays import RecentArrays
from bench.core.untrusted_arrays import Unreadable
from bench.counts.tally import Tally
from bench.results import store
from bench.run.messages import Finish, Task, Work

log = logging.getLogger(__name__)

RECENT = 1 << 27  # bytes of shards that a process keeps in memory
_recent = RecentArrays(RECENT)


@dataclass(frozen=True)
class Shard:
    """What one cell got from one range."""

    stamp: str
    tally: Tally | None
    rows: dict[str, Row]
    seconds: dict[str, float]
    memory_mb: float
    about: dict[str, dict[str, Any]] = field(default_factory=dict)  # group and tags by sample id
    network: dict[str, Any] = field(default_factory=dict)  # what the loaded network says of itself


def path_of(run: Path, key: str, start: int, stop: int, phase: int) -> Path:
    return run / "work" / key / f"phase{phase}-{start:07d}-{stop:07d}.npz"


def decided_path(run: Path, key: str) -> Path:
    return run / "work" / key / "decided.npz"


def write(path: Path, shard: Shard) -> None:
    header = {"stamp": shard.stamp, "seconds": shard.seconds, "memory_mb": shard.memory_mb, "ids": list(shard.rows)}
    header |= {"about": shard.about, "network": shard.network, "pixels": shard.tally.pixels if shard.tally else 0}
    arrays = {"header": np.array(json.dumps(header)), **store.pack_rows(shard.rows)}
    if shard.tally is not None:
        arrays |= {f"tally.{name}": array for name, array in shard.tally.arrays(ascending=False).items()}
    store.write_arrays(path, arrays, lasting=False)  # ``is_there`` looks at the whole of it
    _recent.put(path, arrays)


def read(path: Path) -> Shard:
    """Return the content of a shard file; raise MissingData for what ``write`` never wrote."""
    arrays = _recent.take(path) or _arrays(path, lambda _: True)
    try:
        header = _header(arrays)
        counted = {name.removeprefix("tally."): array for name, array in arrays.items() if name.startswith("tally.")}
        rows = {name: array for name, array in arrays.items() if name.startswith("row.")}
        tally = Tally.from_arrays(counted) if counted else None
        spent, about = (header["seconds"], header["memory_mb"]), (header["about"], header.get("network", {}))
        return Shard(header["stamp"], tally, store.unpack_rows(header["ids"], rows), *spent, *about)
    except (KeyError, ValueError, TypeError, IndexError, AttributeError, OverflowError) as error:
        raise _broken(path, error) from None


def header_of(path: Path) -> dict[str, Any]:
    """Stamp, sample ids and number of counted pixels of a shard file, without its counts."""
    try:
        return _header(_arrays(path, lambda name: name == "header"))
    except (KeyError, ValueError, TypeError) as error:
        raise _broken(path, error) from None


def _header(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    header: dict[str, Any] = json.loads(str(arrays["header"]))
    return header


def _arrays(path: Path, chosen: Callable[[str], bool]) -> dict[str, NDArray[Any]]:
    try:
        return untrusted_arrays.read_all(path, chosen)
    except Unreadable as error:
        raise _broken(path, error) from None


def _broken(path: Path, error: Exception) -> MissingData:
    return MissingData(f"{path} cannot be read: {error}; the same command throws it away and computes it again")


def drop_older(path: Path, since: float) -> None:
    """Delete a shard file of before a time, in seconds since 1970.

    Data that were changed under a run that was killed, and are as before now, leave it with the right stamp.
    """
    if path.is_file() and path.stat().st_mtime < since:
        log.info("%s: older than what it was read from; it is thrown away", path)
        path.unlink()


def is_there(path: Path, stamp: str, ids: Sequence[str], spool: Path | None) -> bool:
    """True if a shard file was made with ``stamp``, of these samples, and its maps are in ``spool``.

    A file that was made otherwise, or cannot be read, is deleted.
    """
    if not path.is_file():
        return False
    try:
        shard = read(path)
    except MissingData as error:
        log.info("%s", error)
        path.unlink()
        return False
    if shard.stamp != stamp or sorted(shard.rows) != sorted(ids):
        log.info("%s: of another code, network or data set, or of other images; it is thrown away", path)
        path.unlink()
        return False
    return spool is None or all(store.has_map(spool, sample) for sample in ids)


def read_decided(run: Path, key: str) -> dict[str, Row]:
    """What a refinement decided about each image, by its id."""
    packed = _arrays(decided_path(run, key), lambda _: True)
    return store.unpack_rows([str(sample) for sample in packed.pop("ids")], packed)


def join(task: Task, parts: Sequence[Task], keys: Iterable[str]) -> None:
    """Put the shards of the parts of a task in the place of those that it would have written; ``keys`` are written."""
    phases = {cell.key: task.phase for cell in task.cells} | {refinement.key: 0 for refinement in task.refinements}
    for key in keys:
        paths = [path_of(task.run, key, part.start, part.stop, phases[key]) for part in parts]
        write(path_of(task.run, key, task.start, task.stop, phases[key]), _sum([read(path) for path in paths]))
        for path in paths:
            path.unlink()


def _sum(parts: Sequence[Shard]) -> Shard:
    """Shards of one cell as one."""
    tally, rows, about = parts[0].tally, dict(parts[0].rows), dict(parts[0].about)
    for part in parts[1:]:
        if tally is not None and part.tally is not None:
            tally.merge(part.tally)
        rows |= part.rows
        about |= part.about
    seconds, memory_mb = cost.total(part.seconds for part in parts), max(part.memory_mb for part in parts)
    return replace(parts[0], tally=tally, rows=rows, about=about, seconds=seconds, memory_mb=memory_mb)


def inputs_of(work: Work) -> list[str]:
    """Files of earlier steps that some work reads, relative to the run; those that may be absent included."""
    if isinstance(work, Finish):
        phases = (1, 2) if work.second else (1,)
        return [str(path_of(Path(), work.key, *samples, phase)) for phase in phases for samples in work.ranges]
    if not isinstance(work, Task):
        return []
    folders = {cell.spool for cell in work.cells if work.phase == 2 and cell.spool}
    names: list[str] = []
    if work.phase == 1 and work.refined:
        refinements = {cell.refinement.key: cell.refinement for cell in work.cells if cell.refinement}
        folders = {refinement.spool for refinement in refinements.values()}
        names = [str(decided_path(Path(), key)) for key in sorted(refinements)]
    kinds = ("scores", "predictions")
    maps = [
        str(store.map_path(Path(folder), sample, kind))
        for folder in sorted(folders)
        for kind in kinds
        for sample in work.ids
    ]
    return names + maps
