"""Samples read ahead of the network by worker processes that import neither torch nor numba.

What arrives does not depend on the number of workers: each sample is a function of its index, and they are handed out
in order. The processes outlive a data set: who goes over several has them started once.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from functools import cached_property, lru_cache
from types import TracebackType
from typing import Any, Self

from bench.api import Dataset, Sample
from bench.core import child_processes
from bench.core.cpu_time import Stage, spent
from bench.core.errors import (
    BadPlugin,
    CannotWrite,
    MissingData,
    MissingPackage,
    SystemRefused,
    UserError,
    WorkerDied,
    wants_files,
)
from bench.core.foreign_code import is_theirs, told
from bench.suite import registry
from bench.suite.cells import Ref

Loaded = tuple[Sample, Any, float, Mapping[Stage, float]]  # a sample, its image, CPU seconds, and those by stage

KEPT = 2  # data sets that a reader keeps: the one that it is at, and one that is begun


class Readers:
    """Processes that read samples of any data set; they are started when the first is asked for."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool: ProcessPoolExecutor | None = None

    def load(self, ref: Ref, index: int, *, images: bool) -> Future[Loaded]:
        """Have a sample of a data set read, with its decoded image if wanted."""
        if self._pool is None:
            self._pool = child_processes.pool(self.count)
        return self._pool.submit(_load_built, ref, index, images)

    def close(self) -> None:
        """End the processes; others are started if more is asked for."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None


def readers_for(count: int, short: float, cores: int) -> int:
    """Return how many processes should read where ``short`` times as many as ``count`` would keep up with the network.

    No more than cores are left beside the process with the network, and never fewer than before.
    """
    return max(count, min(math.ceil(count * short), cores - 1))


class Loader:
    """Samples of one data set by index, in the order asked for, with their decoded image if wanted."""

    def __init__(self, dataset: Dataset, ref: Ref | None, workers: int | Readers, *, images: bool = True) -> None:
        """``ref`` is what other processes build the data set from; without one it is read in this process.

        ``workers`` are processes that somebody keeps, or how many are started and end with the loader.
        """
        self.dataset, self.ref, self.images = dataset, ref, images
        self.cpu_seconds = 0.0
        self._readers = workers if isinstance(workers, Readers) else Readers(workers)
        self._ends_readers = self._readers is not workers
        self._pending: dict[int, Future[Loaded]] = {}

    def samples(self, indices: Sequence[int], ahead: Sequence[int] = ()) -> Iterator[Sample]:
        """``indices`` in order; ``ahead`` will be asked for next and may be begun."""
        if not self._readers.count or self.ref is None:
            for index in indices:
                with self._named(index):
                    sample, image, seconds = _load(self.dataset, index, self.images)
                    self._hold_to_its_id(sample, index)
                self.cpu_seconds += seconds
                yield _with_image(sample, image)
            return
        order = [*indices, *ahead]
        for unwanted in self._pending.keys() - set(order):
            self._pending.pop(unwanted).cancel()
        bound = 2 * self._readers.count + 1  # decoded images wait in memory: never more than a few
        for position, index in enumerate(indices):
            with self._named(index):
                for early in order[position : position + bound]:
                    if early not in self._pending:
                        self._pending[early] = self._readers.load(self.ref, early, images=self.images)
                sample, image, seconds, told = self._pending.pop(index).result()
                spent.add(told)
                self._hold_to_its_id(sample, index)
            self.cpu_seconds += seconds
            yield _with_image(sample, image)

    @cached_property
    def _ids(self) -> Sequence[str]:
        return self.dataset.ids()

    def _hold_to_its_id(self, sample: Sample, index: int) -> None:
        if sample.id != self._ids[index]:
            raise BadPlugin(f"{self._ids[index]} is loaded under the id {sample.id!r}; wanted the one that ids() says")

    @contextlib.contextmanager
    def _named(self, index: int) -> Iterator[None]:
        """Blame a sample by its id for what reading it raises."""
        try:
            yield
        except BrokenProcessPool:
            raise WorkerDied(
                "a data worker was killed, perhaps for want of memory; run the same command again to go on, "
                "with fewer --workers if it happens again"
            ) from None
        except (CannotWrite, MissingPackage, SystemRefused, MemoryError):
            raise  # the same for every sample
        # A data set may be somebody's plug-in: whatever it raises, the sample is what the user can look at.
        except BaseException as error:
            if wants_files(error):
                raise SystemRefused.of(error) from error
            if not is_theirs(error):
                raise
            name = self._ids[index]
            if isinstance(error, UserError):
                raise error if name in str(error) else MissingData(f"{name}: {error}") from None
            raise BadPlugin(f"{name} cannot be loaded: {told(error)}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        for waiting in self._pending.values():
            waiting.cancel()
        self._pending.clear()
        if self._ends_readers:
            self._readers.close()


def _load(dataset: Dataset, index: int, images: bool) -> tuple[Sample, Any, float]:
    before = spent.now()
    with spent("load"):
        sample = dataset.load(index)
        image = sample.image() if images else None
    return replace(sample, image=_not_decoded), image, spent.now() - before


def _load_built(ref: Ref, index: int, images: bool) -> Loaded:
    return *_load(_dataset(ref), index, images), spent.taken()


@lru_cache(KEPT)
def _dataset(ref: Ref) -> Dataset:
    dataset: Dataset = registry.build("dataset", ref.name, ref.arguments, where="data worker")
    return dataset


def _with_image(sample: Sample, image: Any) -> Sample:
    return sample if image is None else replace(sample, image=lambda: image)


def _not_decoded() -> Any:
    raise AssertionError("this pass did not ask for images")
