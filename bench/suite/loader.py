"""Samples of a data set in order, read ahead of the network by other processes.

What arrives does not depend on their number: each sample is a function of its index, and they are handed out in order.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import cached_property
from types import TracebackType
from typing import Any, Self

from bench.api import Dataset, Sample
from bench.core.cpu_time import spent
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
from bench.suite.cells import Ref
from bench.suite.readers import Loaded, Readers, load


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
                    sample, image, seconds = load(self.dataset, index, self.images)
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
        except (CannotWrite, MissingPackage, SystemRefused, WorkerDied, MemoryError):
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


def _with_image(sample: Sample, image: Any) -> Sample:
    return sample if image is None else replace(sample, image=lambda: image)
