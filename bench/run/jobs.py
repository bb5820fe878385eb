"""Cells under way: on what their numbers depend, which results, shards and maps of before are still theirs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.api import Protocol, Refinement, TwoPhase
from bench.contract.protocol import spool_dtype, wants_exact
from bench.fit.fitted_store import Fitted
from bench.models.numerics import Numerics
from bench.results import store
from bench.run import freshness, refinement, shard_files
from bench.run.freshness import Dependencies
from bench.run.messages import CellTask
from bench.run.preflight import Checked, Refusal
from bench.run.refinement import RefinementJob
from bench.suite import registry
from bench.suite.cells import Cell


@dataclass
class Job:
    """A cell under way."""

    cell: Cell
    key: str
    protocol: Protocol
    depends: Dependencies
    images: int
    partial: bool
    fitted: Fitted | None = None
    spool: str | None = None
    refinement: RefinementJob | None = None  # where the method is one
    pixels: int = 0  # counted so far, over all shards
    folded: bool = False
    parameters: Mapping[str, float] = field(default_factory=dict)

    @property
    def fit_key(self) -> str | None:
        """Of what its method is fitted to; None without a fit."""
        return self.depends.all.get("fitted")

    def task(self) -> CellTask:
        """Return what a worker is told of it."""
        return CellTask(
            self.key,
            self.cell.protocol,
            self.cell.method,
            self.fitted.key if self.fitted else None,
            self.cell.budget,
            self.folded,
            self.stamp,
            self.spool,
            dict(self.parameters),
            self.refinement.task() if self.refinement else None,
        )

    @property
    def stamp(self) -> str:
        """What a shard must have been made with to be merged."""
        decided = {"decided": self.refinement.digest} if self.refinement else {}
        return freshness.digest({**self.depends.all, **decided})

    @property
    def map_stamp(self) -> str:
        """What a score map must have been made with to be used: protocols that share the map share this."""
        return self.depends.map_stamp


def job_of(
    cell: Cell,
    checked: Checked,
    numerics: Numerics,
    run_dir: Path,
    *,
    limit: int | None = None,
    keep_maps: bool = False,
) -> Job:
    """Return the job of a cell: its first ``limit`` images, and its score maps on disk if ``keep_maps``."""
    count = checked.datasets[cell.dataset].count
    images = min(limit or count, count)
    protocol: Protocol = checked.built(cell.protocol)
    depends = freshness.of_cell(cell, checked, numerics)
    job = Job(cell, cell.key, protocol, depends, images, images < count)
    if cell.method and (isinstance(protocol, TwoPhase) or keep_maps):
        refs = (cell.model, cell.dataset, cell.method)
        folder = store.spool_folder(run_dir, [(ref.label, str(ref.spelled())) for ref in refs], spool_dtype(protocol))
        job.spool = str(folder.relative_to(run_dir))
    if cell.method and issubclass(registry.plugin("method", cell.method.name, where=cell.method.label), Refinement):
        job.refinement = refinement.job_of(run_dir, cell.model, cell.dataset, cell.method, cell.seed, job.map_stamp)
    return job


def has_maps(run_dir: Path, job: Job, checked: Checked) -> bool:
    """Return True if a finished cell left behind all score maps that it is to keep."""
    if not job.spool:
        return True
    ids = checked.datasets[job.cell.dataset].ids()[: job.images]
    folder = run_dir / job.spool
    if store.spool_stamp(folder) != job.map_stamp:
        return False
    return all(store.has_map(folder, sample) for sample in ids)


def is_fresh(run_dir: Path, job: Job, refusal: Refusal | None) -> bool:
    """Return True if a result is there that today's files would make again."""
    return freshness.is_fresh(run_dir, job.key, job.depends, refusal, job.images, partial=job.partial)


def has_shard(run_dir: Path, job: Job, start: int, stop: int, phase: int, ids: Sequence[str], since: float) -> bool:
    """Return True if what a phase leaves of a range is on disk, counts and maps, and was written after ``since``."""
    path = shard_files.path_of(run_dir, job.key, start, stop, phase)
    shard_files.drop_older(path, since)
    return shard_files.is_there(path, job.stamp, ids, run_dir / job.spool if phase == 1 and job.spool else None)


def account(run_dir: Path, job: Job, start: int, stop: int, phase: int) -> None:
    """Keep what lies on disk within the budget: once a cell as a whole folds, so do the shards it has.

    Not those of a protocol that may ask for some of their scores again; the maps that it spools are as large.
    """
    if phase != 1 or job.protocol.reads is None or wants_exact(job.protocol):
        return
    path = shard_files.path_of(run_dir, job.key, start, stop, phase)
    job.pixels += shard_files.header_of(path)["pixels"]
    if job.folded:
        _fold_shard(path)
    elif job.pixels * 4 > job.cell.budget:
        job.folded = True
        for other in sorted(path.parent.glob("phase1-*.npz")):
            _fold_shard(other)


def _fold_shard(path: Path) -> None:
    shard = shard_files.read(path)
    if shard.tally is not None and shard.tally.exact:
        shard.tally.fold()
        shard_files.write(path, shard)
