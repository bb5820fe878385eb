"""Who fails when something is raised: one cell, the cells of a method, or all that some work is for."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch

from bench.core.errors import CannotWrite, OutOfMemory, SystemRefused, UserError, WorkerDied, wants_files
from bench.core.foreign_code import is_theirs, told
from bench.core.printable import one_line
from bench.run.messages import Failure, Work

FATAL = (CannotWrite, SystemRefused, WorkerDied)  # of the machine, not of what runs on it


def failure_of(error: BaseException, who: str, *, model: bool = False, alone: bool = False) -> Failure:
    """Return why ``who`` has no figures; the error is not prefixed with a name that it holds already.

    Raises what is no fault of plug-ins or data: Ctrl-C, CannotWrite and WorkerDied as they are, SystemRefused for want
    of open files, and OutOfMemory for want of memory unless ``alone`` says that others do well with what there is.
    """
    if isinstance(error, FATAL) or not is_theirs(error):
        raise error
    if wants_files(error):
        raise SystemRefused.of(error) from error
    if isinstance(error, UserError):
        message, trace = str(error) if who.rpartition("/")[2] in str(error) else f"{who}: {error}", ""
    elif _short_of_memory(error) and not alone:
        raise OutOfMemory(f"{who}: ran out of memory") from error
    else:
        message, trace = f"{who}: {told(error)}", "".join(traceback.format_exception(error))
    return Failure(one_line(message), trace, model)


def _short_of_memory(error: BaseException) -> bool:
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
        except BaseException as error:
            who = "/".join(filter(None, [self._work.where, self.sample]))
            self._keep(self._work.keys, failure_of(error, who, model=self.loading))

    @contextmanager
    def of(self, keys: Iterable[str], who: str) -> Iterator[None]:
        """Fail ``keys`` with what is raised inside, want of memory too; ``who`` is named unless the error does so."""
        try:
            yield
        except BaseException as error:  # as above
            self._keep(keys, failure_of(error, who, model=self.loading, alone=True))

    def _keep(self, keys: Iterable[str], failure: Failure) -> None:
        self.failures |= {key: failure for key in keys if key not in self.failures}
