"""Who fails when something is raised: one cell, the cells of a method, or all that some work is for."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from bench.core.errors import CannotWrite, OutOfMemory, UserError, WorkerDied
from bench.core.printable import one_line
from bench.run.messages import Failure, Work

FATAL = (CannotWrite, WorkerDied)  # of the machine, not of what runs on it


def failure_of(error: Exception, who: str, *, model: bool = False) -> Failure:
    """Return why ``who`` has no figures; the error is not prefixed with a name that it holds already.

    Raises what is no fault of plug-ins or data: CannotWrite and WorkerDied as they are, OutOfMemory for want of memory.
    """
    if isinstance(error, FATAL):
        raise error
    if isinstance(error, UserError):
        message, trace = str(error) if who.rpartition("/")[2] in str(error) else f"{who}: {error}", ""
    elif _short_of_memory(error):
        raise OutOfMemory(f"{who}: ran out of memory") from error
    else:
        line = traceback.extract_tb(error.__traceback__)[-1]
        message = f"{who}: {type(error).__name__}: {error} ({Path(line.filename).name}:{line.lineno})"
        trace = "".join(traceback.format_exception(error))
    return Failure(one_line(message), trace, model)


def _short_of_memory(error: Exception) -> bool:
    """True for want of memory; PyTorch's allocator for the CPU says so in words alone."""
    if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "allocate memory" in str(error)


class Blame:
    """The failures of some work so far, by the key of what fails."""

    def __init__(self, work: Work) -> None:
        self.failures: dict[str, Failure] = {}
        self.sample = ""  # that is looked at
        self.loading = False  # the network: then it fails everywhere
        self._work = work

    @contextmanager
    def everyone(self) -> Iterator[None]:
        """Fail all that the work is for with what is raised inside."""
        try:
            yield
        # Plug-ins are somebody's code: whatever they raise fails the cells that need them, and leaves its traceback.
        except Exception as error:
            self._keep(self._work.keys, error, "/".join(filter(None, [self._work.where, self.sample])))

    @contextmanager
    def of(self, keys: Iterable[str], who: str) -> Iterator[None]:
        """Fail ``keys`` with what is raised inside; ``who`` is named unless the error does so."""
        try:
            yield
        except Exception as error:  # as above
            self._keep(keys, error, who)

    def _keep(self, keys: Iterable[str], error: Exception, who: str) -> None:
        failure = failure_of(error, who, model=self.loading)
        self.failures |= {key: failure for key in keys if key not in self.failures}
