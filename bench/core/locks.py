"""Locks that go with the process that holds them."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.core.errors import UserError
from bench.core.files import cannot_write

UNABLE = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}  # of file systems without locks, as NFS may be

log = logging.getLogger(__name__)


class Taken(Exception):
    """Another process holds the lock."""


@contextmanager
def locked(path: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold a lock file. Raise Taken if another process does, unless asked to ``wait``; OSError if it cannot be made.

    On a file system that has no locks nothing is held, and a warning says so.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path, timeout=-1 if wait else 0)
    try:
        lock.acquire()
    except Timeout:
        raise Taken from None
    except (NotImplementedError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in UNABLE:
            raise
        log.warning("%s: this file system has no locks; see to it that no other run writes to %s", path, path.parent)
    try:
        yield
    finally:
        lock.release()


@contextmanager
def owned(folder: Path, name: str, refusal: UserError) -> Iterator[None]:
    """Make a folder and hold it by its lock file. Raise ``refusal`` if another process does, CannotWrite if need be."""
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(folder / name))
        except Taken:
            raise refusal from None
        except OSError as error:
            raise cannot_write(folder, error) from error
        yield
