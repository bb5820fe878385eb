"""Everything that travels between the process that plans a run and its workers: work, and what became of it.

All of it is frozen and small. Arrays stay in files, but for the state of a fit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.api import State, Undefined, Value
from bench.core.cpu_time import Stage
from bench.models.numerics import Numerics
from bench.suite.cells import Ref

Advance = Callable[[int], None]  # told of so many images more


@dataclass(frozen=True)
class Failure:
    """Why a cell, or a refinement with all its cells, has no figures."""

    message: str  # one line, with the sample's id where one sample did it
    trace: str = ""  # of an exception that does not explain itself
    model: bool = False  # the network cannot be loaded: no other data set will fare better with it


@dataclass(frozen=True)
class RefinementTask:
    """A refinement as a worker sees it: all cells of one method share it."""

    key: str
    method: Ref
    fitted: str | None
    stamp: str
    spool: str  # folder of the maps before they are refined, relative to the run


@dataclass(frozen=True)
class CellTask:
    """One cell as a worker sees it."""

    key: str
    protocol: Ref
    method: Ref | None
    fitted: str | None  # key of what was fitted
    budget: int
    fold: bool  # the cell as a whole is beyond its budget already: counting 24 bits at once saves memory, not digits
    stamp: str  # what the numbers depend on; a shard with another stamp is not merged
    spool: str | None  # folder for score maps, relative to the run
    parameters: Mapping[str, float] = field(default_factory=dict)  # of the second phase
    refinement: RefinementTask | None = None  # where the method is one


@dataclass(frozen=True)
class MapTask:
    """The score map of one method as a picture."""

    method: Ref
    fitted: str | None
    protocol: Ref  # whose counts the levels were read off
    file: str
    limits: tuple[float, ...]  # lowest score of each level; see ``pictures.thresholds``


@dataclass(frozen=True)
class PictureTask:
    """What is drawn of each sample of a task."""

    folder: str  # relative to the run; each sample has its own in it
    stamp: str  # what the pictures are made with
    indices: tuple[int, ...]  # of the samples, in place of the range
    maps: tuple[MapTask, ...]


@dataclass(frozen=True)
class Task:
    """A range of the samples of one data set, through one network, for some cells."""

    run: Path
    model: Ref
    dataset: Ref
    cells: tuple[CellTask, ...]
    start: int
    stop: int
    numerics: Numerics
    seed: int
    workers: int | None  # processes that read ahead; None is as many as are needed
    phase: int = 1
    refinements: tuple[RefinementTask, ...] = ()  # of the first phase, beside the cells
    refined: bool = False  # the first phase counts refined maps: no network
    ahead: tuple[int, int] = (0, 0)  # the range that the same process will do next
    pictures: PictureTask | None = None  # in place of cells
    ids: tuple[str, ...] = ()  # of the samples
    inputs: Path | None = None  # where files of earlier phases are, if not in ``run``
    others: tuple[str, ...] = ()  # keys of cells that nothing is counted for, and that fail with the network

    @property
    def keys(self) -> tuple[str, ...]:
        """What a failure of the whole task fails: cells and refinements, or pictures."""
        if self.pictures:
            return (self.pictures.folder,)
        return (*(cell.key for cell in self.cells), *(refinement.key for refinement in self.refinements), *self.others)

    @property
    def images(self) -> int:
        return len(self.pictures.indices) if self.pictures else self.stop - self.start

    @property
    def where(self) -> str:
        """The place that a failure of the whole task names."""
        return f"model {self.model.label} on {self.dataset.label}"

    @property
    def refs(self) -> tuple[Ref, ...]:
        """The network and the data sets that it opens."""
        return self.model, self.dataset

    @property
    def fits(self) -> set[str]:
        """Keys of what was fitted before and is needed for it."""
        keys = [cell.fitted for cell in self.cells] + [refinement.fitted for refinement in self.refinements]
        keys += [drawn.fitted for drawn in self.pictures.maps] if self.pictures else []
        return {key for key in keys if key}

    def range_of(self, work: Work | None) -> tuple[int, int]:
        """Return the range of a task that goes on with this network over this data set; an empty one of any other."""
        if not isinstance(work, Task) or work.pictures or self.pictures or work.phase != self.phase:
            return 0, 0
        alike = (work.model, work.dataset) == (self.model, self.dataset)
        return (work.start, work.stop) if alike else (0, 0)

    def halves(self) -> list[Task]:
        """A task of two samples or more as two."""
        middle = (self.start + self.stop) // 2
        cut = middle - self.start
        return [
            replace(self, stop=middle, ids=self.ids[:cut], ahead=(0, 0)),
            replace(self, start=middle, ids=self.ids[cut:], ahead=(0, 0)),
        ]

    def __str__(self) -> str:
        samples = f"{self.ids[0]} to {self.ids[-1]}" if len(self.ids) > 1 else "".join(self.ids)
        return f"{self.where}/{samples}"


@dataclass(frozen=True)
class Fit:
    """An estimate that a suite declares, on data of its own."""

    key: str  # of what is fitted
    method: Ref
    model: Ref
    origin: Mapping[str, Any]
    numerics: Numerics
    workers: int | None
    images: int
    fits = frozenset[str]()  # it needs no other fit

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.key,)

    @property
    def where(self) -> str:
        return str(self)

    @property
    def refs(self) -> tuple[Ref, ...]:
        return (self.model, self.method.fit) if self.method.fit else (self.model,)

    def __str__(self) -> str:
        return f"fit of {self.method.label} for model {self.model.label}"


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
    inputs: Path | None = None  # where the shards are, if not in ``run``
    images = 0  # that it looks at
    refs = ()  # that it opens: files alone
    fits = frozenset[str]()

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.key,)

    @property
    def where(self) -> str:
        return str(self)

    def __str__(self) -> str:
        return f"figures of {self.label}"


Work = Task | Fit | Finish


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


@dataclass(frozen=True)
class Outcome:
    """What became of some work. Files are written, but for those of what failed."""

    failures: Mapping[str, Failure] = field(default_factory=dict)  # by the key of a cell, a refinement or a fit
    state: State | None = None  # of a fit
    figures: Figures | None = None
    parameters: Mapping[str, float] | Undefined | None = None  # of the second phase
    spent: Mapping[Stage, float] = field(default_factory=dict)  # CPU seconds of another process since its last outcome


def moved(work: Work, run: Path, inputs: Path) -> Work:
    """The same work with its files written below ``run`` and those of earlier steps read below ``inputs``."""
    return work if isinstance(work, Fit) else replace(work, run=run, inputs=inputs)
