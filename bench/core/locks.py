"""Locks that go with the process that holds them."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
