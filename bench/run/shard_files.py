"""The files of a run under way: one per cell and range of samples, written whole, merged when the cell is finished.

``RUN/work/KEY/phaseP-START-STOP.npz`` has counts, rows by sample id and seconds; ``RUN/work/KEY/decided.npz`` has what
a refinement decided about each image.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.api import Row
from bench.counts.tally import Tally
from bench.results import store
from bench.run import cost
from bench.run.messages import Finish, Task, Work

log = logging.getLogger(__name__)


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
        arrays |= {f"tally.{name}": array for name, array in shard.tally.arrays().items()}
    store.write_arrays(path, arrays)


def read(path: Path) -> Shard:
    with store.load_arrays(path) as arrays:
        header = json.loads(str(arrays["header"]))
        counted = {name.removeprefix("tally."): arrays[name] for name in arrays.files if name.startswith("tally.")}
        rows = store.unpack_rows(
            header["ids"], {name: arrays[name] for name in arrays.files if name.startswith("row.")}
        )
    tally = Tally.from_arrays(counted) if counted else None
    spent, about = (header["seconds"], header["memory_mb"]), (header["about"], header.get("network", {}))
    return Shard(header["stamp"], tally, rows, *spent, *about)


def header_of(path: Path) -> dict[str, Any]:
    """Stamp, sample ids and number of counted pixels of a shard file, without its counts."""
    with store.load_arrays(path) as arrays:
        header: dict[str, Any] = json.loads(str(arrays["header"]))
        return header


def is_there(path: Path, stamp: str, ids: Sequence[str], spool: Path | None) -> bool:
    """True if a shard file was made with ``stamp``, of these samples, and its maps are in ``spool``.

    A file that was made otherwise is deleted.
    """
    if not path.is_file():
        return False
    header = header_of(path)
    if header["stamp"] != stamp or sorted(header["ids"]) != sorted(ids):
        log.info("%s: of another code, network or data set, or of other images; it is thrown away", path)
        path.unlink()
        return False
    return spool is None or all(store.map_path(spool, sample).is_file() for sample in ids)


def read_decided(run: Path, key: str) -> dict[str, Row]:
    """What a refinement decided about each image, by its id."""
    with store.load_arrays(decided_path(run, key)) as arrays:
        packed = {name: arrays[name] for name in arrays.files}
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
