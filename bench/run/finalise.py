"""The figures of a cell, read off its shards. A task of its own: resampling may take longer than counting did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.api import Protocol, Row, Undefined, Value
from bench.core.errors import MissingData
from bench.counts.tally import Tally
from bench.metrics import slices
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
    tally, rows, _ = _merged(task, protocol, 1)
    assert tally is not None  # noqa: S101 - a protocol with a second phase is scored
    return protocol.parameters(tally, rows)


def finish(task: Finish) -> Figures:
    """Merge, read, resample, and write the counts."""
    protocol: Protocol = task.protocol.build()
    clock = shards.Clock()
    with clock("merge"):
        tally, rows, cost = _merged(task, protocol, 1)
        if task.second:
            _, second, more = _merged(task, protocol, 2)
            rows = {sample: {**rows[sample], **second[sample]} for sample in rows}
            cost.seconds |= more.seconds
    with clock("read"):
        figures = dict(protocol.read(tally, rows))
    with clock("bootstrap"):
        groups = [cost.about[sample]["group"] for sample in rows] if task.resample == "groups" else None
        figures, replicates = intervals(protocol, figures, rows, task.seed, task.bootstrap, groups)
    tags = {sample: cost.about[sample]["tags"] for sample in rows if cost.about[sample]["tags"]}
    with clock("slices"):
        parts = slices.by_truth(protocol, tally, rows) | slices.by_tag(protocol, rows, tags)
        images = slices.by_image(protocol, rows)
    pixels = {}
    arrays: dict[str, NDArray[Any]] = {f"replicates.{name}": values for name, values in replicates.items()}
    # What every image left behind: reliability bins, components, counts that a threshold from elsewhere is judged by.
    arrays |= store.pack_rows(rows) | images
    if tally is not None:
        counts = tally.counts()
        pixels = {name: counts.column([index]).total for index, name in enumerate(protocol.category_names)}
        folded = tally.folded_arrays()
        arrays |= {f"counts.{name}": array for name, array in folded.items()}
        with clock("slices"):
            arrays |= curves.kept(protocol, folded, figures)
        arrays |= reliability.kept(protocol, task.method.build(), counts) if task.method else {}
    arrays["ids"] = np.array(list(rows))
    store.write_counts(task.run, task.key, arrays)
    memory = round(max(cost.memory_mb, shards.peak_memory()), 1)
    return Figures(figures, pixels, cost.seconds | clock.seconds, memory, parts, tags, cost.network)


def _merged(task: Finish, protocol: Protocol, phase: int) -> tuple[Tally | None, dict[str, Row], _Gathered]:
    """All shards of a phase as one: counts add, rows unite, sorted by id; an id that comes twice is an error."""
    tally = Tally(len(protocol.category_names), task.budget) if protocol.scored and phase == 1 else None
    rows: dict[str, Row] = {}
    cost = _Gathered()
    for start, stop in task.ranges:
        shard = shards.read(shards.path_of(task.found or task.run, task.key, start, stop, phase))
        if twice := rows.keys() & shard.rows.keys():
            raise MissingData(
                f"{task.label}: sample {min(twice)} was counted twice; delete {task.run / 'work'} and run again"
            )
        if tally is not None and shard.tally is not None:
            tally.merge(shard.tally)
        rows |= shard.rows
        cost.add(shard)
    return tally, dict(sorted(rows.items())), cost
