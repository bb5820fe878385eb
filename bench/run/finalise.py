"""A cell at its end: a worker reads its figures off its shards, and its result is written.

Reading is work of its own, since resampling may take longer than counting did.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.api import Presented, Protocol, SegModel, Undefined
from bench.core.cost import Clock, peak_memory, total
from bench.core.cpu_time import spent
from bench.core.errors import MissingData
from bench.core.rows import Pieces, pack_filed_rows
from bench.metrics import slices
from bench.metrics.accumulate import Accumulator, CountedTwice
from bench.metrics.intervals import intervals
from bench.models.numerics import Numerics
from bench.results import curves, reliability, store
from bench.results.store import Result
from bench.run import provenance, refinement, shard_files
from bench.run.jobs import Job
from bench.run.messages import Figures, Finish
from bench.run.preflight import Refusal
from bench.suite import registry


@dataclass
class _Gathered:
    """Everything that shards say beside their counts."""

    seconds: dict[str, float] = field(default_factory=dict)
    memory_mb: float = 0.0
    about: dict[str, dict[str, Any]] = field(default_factory=dict)
    network: dict[str, Any] = field(default_factory=dict)

    def add(self, shard: shard_files.Shard) -> None:
        self.about |= shard.about
        self.network |= shard.network
        self.seconds = total([self.seconds, shard.seconds])
        self.memory_mb = max(self.memory_mb, shard.memory_mb)


def parameters(task: Finish) -> Mapping[str, float] | Undefined:
    """Return what the second phase of a cell must know of the first."""
    protocol: Protocol = task.protocol.build()
    accumulator, _ = _merged(task, protocol)
    parameters = accumulator.parameters()
    assert parameters is not None  # noqa: S101 - the engine asks for those of protocols with two phases
    return parameters


def finish(task: Finish) -> Figures:
    """Merge, read, resample, and write the counts."""
    protocol: Protocol = task.protocol.build()
    clock = Clock()
    with clock("merge"):
        accumulator, gathered = _merged(task, protocol)
        reading = accumulator.reading()
        rows = reading.rows
    with clock("read"):
        figures = reading.read()
    with clock("bootstrap"):
        groups = [gathered.about[sample]["group"] for sample in rows] if task.resample == "groups" else None
        figures, replicates = intervals(protocol, figures, rows, task.seed, task.bootstrap, groups)
    tags = {sample: gathered.about[sample]["tags"] for sample in rows if gathered.about[sample]["tags"]}
    with clock("slices"):
        parts, by_tag = slices.by_truth(reading), slices.by_tag(reading, tags)
        if twice := parts.keys() & by_tag.keys():
            raise MissingData(f"{task.label}: {slices.AMBIGUOUS.format(min(twice))}")
        parts |= by_tag
        images = reading.arrays()
    arrays: dict[str, NDArray[Any] | Pieces] = {f"replicates.{name}": values for name, values in replicates.items()}
    # What every image left behind: reliability bins, components, counts that a threshold from elsewhere is judged by.
    arrays |= pack_filed_rows(rows) | images
    if accumulator.tally is not None:
        with spent("slices"):
            folded = accumulator.tally.folded_arrays()
        arrays |= {f"counts.{name}": array for name, array in folded.items()}
        with clock("slices"):
            arrays |= curves.kept(protocol, folded, figures)
        arrays |= reliability.kept(protocol, task.method.build(), reading.counts) if task.method else {}
    arrays["ids"] = np.array(list(rows))
    with spent("write"):
        store.write_counts(task.run, task.key, arrays)
    memory = round(max(gathered.memory_mb, peak_memory()), 1)
    return Figures(figures, reading.pixels, gathered.seconds | clock.seconds, memory, parts, tags, gathered.network)


def _merged(task: Finish, protocol: Protocol) -> tuple[Accumulator, _Gathered]:
    """All shards as one: counts add, rows unite; an id that comes twice is an error."""
    accumulator, gathered = Accumulator(protocol, task.budget), _Gathered()
    try:
        for shard in _read(task, 1):
            if shard.tally is not None:
                shard.tally.budget = task.budget  # a shard may have been given more
            accumulator.merge(shard.tally, shard.rows)
            gathered.add(shard)
        for shard in _read(task, 2) if task.second else ():
            accumulator.merge_second(shard.rows)
            gathered.add(shard)
    except CountedTwice as error:
        work = task.run / "work"
        raise MissingData(
            f"{task.label}: sample {error.sample} was counted twice; delete {work} and run again"
        ) from None
    if (span := accumulator.undecided()) is not None:
        accumulator.settle((shard.tally for shard in _read(task, 1) if shard.tally is not None), span)
    return accumulator, gathered


def _read(task: Finish, phase: int) -> Iterator[shard_files.Shard]:
    for start, stop in task.ranges:
        yield shard_files.read(shard_files.path_of(task.inputs or task.run, task.key, start, stop, phase))


def publish(
    run_dir: Path, job: Job, figures: Figures, ranges: Sequence[tuple[int, int]], numerics: Numerics, command: str
) -> None:
    """Write the result of a cell whose counts are on disk, and forget its shards."""
    result = _result(job, numerics, command)
    before = refinement.seconds(run_dir, job.refinement, ranges) if job.refinement else {}
    result = replace(
        result,
        about={**result.about, "model": {**result.about["model"], **figures.network}},
        metrics=figures.metrics,
        pixels=figures.pixels,
        seconds={**before, **figures.seconds},
        memory_mb=figures.memory_mb,
        slices=figures.slices,
        tags=figures.tags,
    )
    store.write_result(run_dir, result)
    store.drop_work(run_dir, job.key)


def _result(job: Job, numerics: Numerics, command: str) -> Result:
    refs = {axis: ref for axis, ref in job.cell.refs().items() if ref}
    about: dict[str, dict[str, Any]] = {
        axis: {"source": registry.plugin(ref.kind, ref.name, where=ref.label).source} for axis, ref in refs.items()
    }
    model: SegModel = job.cell.model.build()
    about["model"] |= {**model.about()} | ({"state": model.state} if model.state != "none" else {})
    shown = job.protocol if isinstance(job.protocol, Presented) else None
    title = (shown and shown.title) or job.cell.protocol.label
    about["protocol"] |= {"version": job.protocol.version, "title": title}
    about["protocol"] |= {"ranked": False} if shown and not shown.ranked else {}
    if job.cell.method:
        method = job.cell.method.build()
        about["method"]["uses_outliers"] = method.uses_outliers
        if formula := (inspect.getdoc(type(method)) or "").partition("\n\n")[0]:
            about["method"]["formula"] = " ".join(formula.split())
    return Result(
        key=job.key,
        cell=job.cell,
        metrics={},
        definitions=job.protocol.metrics,
        about=about,
        images=job.images,
        partial=job.partial,
        depends=job.depends.all,
        provenance=provenance.of(numerics, f"{command} --only cell={job.key}".strip()),
        fitted=_fitted(job),
    )


def _fitted(job: Job) -> dict[str, Any] | None:
    """Return what a result says of its fit, and of what was decided about segments."""
    fitted = job.fitted.shown() if job.fitted else None
    if job.refinement is None or job.refinement.report is None:
        return fitted
    return (fitted or {"key": job.refinement.key}) | {"decided": refinement.shown(job.refinement)}


def not_applicable(job: Job, refusal: Refusal, numerics: Numerics, command: str) -> Result:
    """Return the result of a cell that means nothing: every figure is undefined, for the same reason."""
    return replace(
        _result(job, numerics, command),
        metrics={name: Undefined(refusal.reason) for name in job.protocol.metrics},
        images=0,
        partial=False,
        not_applicable=refusal.reason,
        refusal=refusal.code,
    )
