"""The figures of a cell, read off its shards. A task of its own: resampling may take longer than counting did."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.api import Protocol, Undefined, Value
from bench.core.errors import MissingData
from bench.metrics import slices
from bench.metrics.accumulate import Accumulator, CountedTwice
from bench.metrics.intervals import intervals
from bench.results import curves, reliability, store
from bench.run import shards
from bench.suite.expansion import Ref


@dataclass(frozen=True)
class Finish:
    """All shards of one cell, to be made one."""

    run: Path
    key: str
    label: str  # of the cell, for people
    model: Ref
    protocol: Ref
    method: Ref | None
    budget: int
    seed: int
    bootstrap: int
    resample: str
    ranges: tuple[tuple[int, int], ...]
    second: bool = False  # whether there are shards of a second phase
    parameters: bool = False  # only what the second phase must know is asked for
    found: Path | None = None  # where the shards are, if not in ``run``
    images: int = 0  # that it looks at: none

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.key,)

    @property
    def wanted_files(self) -> list[str]:
        """The shards, relative to the run."""
        phases = (1, 2) if self.second else (1,)
        return [str(shards.path_of(Path(), self.key, *one, phase)) for phase in phases for one in self.ranges]

    def __str__(self) -> str:
        return f"figures of {self.label}"


@dataclass(frozen=True)
class Figures:
    """What is read off the counts of a cell; the counts are on disk."""

    metrics: Mapping[str, Value | Undefined]
    pixels: Mapping[str, int]
    seconds: Mapping[str, float]
    memory_mb: float
    slices: Mapping[str, Mapping[str, Mapping[str, Any]]]
    tags: Mapping[str, Mapping[str, str]]
    network: Mapping[str, Any]


@dataclass
class _Gathered:
    """What the shards say beside their counts."""

    seconds: dict[str, float] = field(default_factory=dict)
    memory_mb: float = 0.0
    about: dict[str, dict[str, Any]] = field(default_factory=dict)
    network: dict[str, Any] = field(default_factory=dict)

    def add(self, shard: shards.Shard) -> None:
        self.about |= shard.about
        self.network |= shard.network
        for stage, spent in shard.seconds.items():
            self.seconds[stage] = self.seconds.get(stage, 0.0) + spent
        self.memory_mb = max(self.memory_mb, shard.memory_mb)


def parameters(task: Finish) -> Mapping[str, float] | Undefined:
    """What the second phase of a cell must know of the first."""
    protocol: Protocol = task.protocol.build()
    accumulator, _ = _merged(task, protocol)
    return accumulator.parameters()


def finish(task: Finish) -> Figures:
    """Merge, read, resample, and write the counts."""
    protocol: Protocol = task.protocol.build()
    clock = shards.Clock()
    with clock("merge"):
        accumulator, cost = _merged(task, protocol)
        reading = accumulator.reading()
        rows = reading.rows
    with clock("read"):
        figures = reading.read()
    with clock("bootstrap"):
        groups = [cost.about[sample]["group"] for sample in rows] if task.resample == "groups" else None
        figures, replicates = intervals(protocol, figures, rows, task.seed, task.bootstrap, groups)
    tags = {sample: cost.about[sample]["tags"] for sample in rows if cost.about[sample]["tags"]}
    with clock("slices"):
        parts = slices.by_truth(reading) | slices.by_tag(reading, tags)
        images = reading.arrays()
    arrays: dict[str, NDArray[Any]] = {f"replicates.{name}": values for name, values in replicates.items()}
    # What every image left behind: reliability bins, components, counts that a threshold from elsewhere is judged by.
    arrays |= store.pack_rows(rows) | images
    if accumulator.tally is not None:
        folded = accumulator.tally.folded_arrays()
        arrays |= {f"counts.{name}": array for name, array in folded.items()}
        with clock("slices"):
            arrays |= curves.kept(protocol, folded, figures)
        arrays |= reliability.kept(protocol, task.method.build(), reading.counts) if task.method else {}
    arrays["ids"] = np.array(list(rows))
    store.write_counts(task.run, task.key, arrays)
    memory = round(max(cost.memory_mb, shards.peak_memory()), 1)
    return Figures(figures, reading.pixels, cost.seconds | clock.seconds, memory, parts, tags, cost.network)


def _merged(task: Finish, protocol: Protocol) -> tuple[Accumulator, _Gathered]:
    """All shards as one: counts add, rows unite; an id that comes twice is an error."""
    accumulator, cost = Accumulator(protocol, task.budget), _Gathered()
    try:
        for shard in _read(task, 1):
            accumulator.merge(shard.tally, shard.rows)
            cost.add(shard)
        for shard in _read(task, 2) if task.second else ():
            accumulator.merge_second(shard.rows)
            cost.add(shard)
    except CountedTwice as error:
        work = task.run / "work"
        raise MissingData(
            f"{task.label}: sample {error.sample} was counted twice; delete {work} and run again"
        ) from None
    return accumulator, cost


def _read(task: Finish, phase: int) -> Iterator[shards.Shard]:
    for start, stop in task.ranges:
        yield shards.read(shards.path_of(task.found or task.run, task.key, start, stop, phase))
