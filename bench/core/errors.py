"""Errors whose cause is outside this code base, and the exit statuses of ``bench``.

* UserError            printed as one line, no traceback, exit status 2
  - UsageError         options on the command line that are wrong, or that do not go together
  - UnknownName        a name in a suite or on the command line that nothing answers to
  - BadSuite           a suite file that does not say what it must
  - BadYaml            a file of YAML, or a value of it, that cannot be read
  - BadPlugin          a method, dataset, model or submission that breaks its contract
  - MissingData        a dataset or weight file that is absent, short or altered
    + AbsentData       a data set of which nothing is there
  - BadPublished       a table of published figures that does not say what it must
  - BadScores          score maps made elsewhere that cannot be evaluated as they are
  - RunInUse           a run directory that another process owns
  - CannotWrite        a full disk, a read-only folder: nothing half-written stays behind
  - NotFitted          a trained method without its training
  - WorkerDied         a process of ours that the system ended
    + OutOfMemory      the same, but it could still say so
  - ClusterTrouble     a Ray cluster that cannot be used as asked
  - SystemRefused      what the operating system says no to: a name too long, too many open files, no memory
  - CellsFailed        some cells have no figures, the others are done; exit status 3
  - OutputClosed       nobody reads the output any more, as after ``| head``; no line, exit status 141

Anything else that escapes is our bug, keeps its traceback and ends with exit status 1.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterable
from enum import IntEnum
from typing import ClassVar, TypeGuard

from bench.core import suggestions
from bench.core.printable import printable, shortened

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}  # what the system says of a disk without room


WORD = 100  # characters of a name that are read


class Status(IntEnum):
    """The exit statuses of the process. 1 is Python's own for a traceback, 130 the shell's for Ctrl-C."""

    DONE = 0
    BUG = 1
    USER = 2  # what the user can mend
    CELLS_FAILED = 3  # finished, but some cells have no figures
    GATE_MET = 4  # bench compare --fail-if
    INTERRUPTED = 130
    CLOSED = 141  # as the shell has it for SIGPIPE


class UserError(Exception):
    """An error that names the request, the obstacle and the next step; each argument is one line."""

    status: ClassVar[Status] = Status.USER

    def __str__(self) -> str:
        """Return the lines, whatever words of others they hold: on one line each, and of a length that is read."""
        lines = (re.sub(r"\s*[\r\n]+\s*", " ", str(argument)).strip() for argument in self.args)
        return "\n  ".join(shortened(printable(line)) for line in lines)


class UsageError(UserError): ...


class UnknownName(UserError):
    """Carry the nearest known names, so that a typo costs one second."""

    def __init__(self, kind: str, name: str, known: Iterable[str], where: str) -> None:
        self.kind, self.name, self.known, self.where = kind, name, sorted(known), where
        super().__init__(
            f"{where}: unknown {kind} {shortened(name, WORD)!r}; {suggestions.advice(kind, name, self.known)}"
        )

    def __reduce__(self) -> tuple[type[UnknownName], tuple[str, str, list[str], str]]:
        return UnknownName, (self.kind, self.name, self.known, self.where)


class BadSuite(UserError): ...


class BadYaml(UserError): ...


class BadPlugin(UserError): ...


class MissingData(UserError): ...


class AbsentData(MissingData): ...


class BadPublished(UserError): ...


class BadScores(UserError): ...


class RunInUse(UserError): ...


class CannotWrite(UserError): ...


class NotFitted(UserError): ...


class MissingPackage(UserError): ...


class WorkerDied(UserError): ...


class OutOfMemory(WorkerDied): ...


class ClusterTrouble(UserError): ...


class CellsFailed(UserError):
    status = Status.CELLS_FAILED


class SystemRefused(UserError):
    """Return the error of the operating system, or the want of memory, as one line for who gave the command."""

    @classmethod
    def of(cls, error: OSError | MemoryError) -> SystemRefused:
        """Return the error as a line with the file and what helps."""
        if isinstance(error, MemoryError):
            more = f" ({error})" if str(error) else ""
            return cls(
                f"there is not enough memory for this{more}; ask for less: smaller sizes, fewer images or resamples"
            )
        advice = {
            errno.EMFILE: "; raise the number with 'ulimit -n 4096', or use fewer --workers and --processes",
            errno.ENAMETOOLONG: "; choose a shorter one",
            errno.EACCES: "; this user may not use it",
        }.get(error.errno or 0, "")
        file = f"{shortened(str(error.filename), WORD)}: " if error.filename is not None else ""
        return cls(f"{file}{error.strerror or error}{advice}")


def wants_files(error: BaseException) -> TypeGuard[OSError]:
    """True where a process, or the machine, may open no more files: no fault of what asked for one more."""
    return isinstance(error, OSError) and error.errno in {errno.EMFILE, errno.ENFILE}


class OutputClosed(UserError):
    status = Status.CLOSED
