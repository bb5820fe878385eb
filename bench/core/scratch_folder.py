"""Temporary folders that are gone with the process that made them, at the latest when another one makes its own."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from pathlib import Path

from filelock import FileLock, Timeout

STALE = 60.0  # seconds after which a folder without a lock is nobody's


class ScratchFolder:
    """A new folder in ``where``, the temporary one by default, locked as long as its process lives.

    Those of the same ``prefix`` that killed processes left behind are removed.
    """

    def __init__(self, prefix: str, where: Path | None = None) -> None:
        where = where or Path(tempfile.gettempdir())
        for folder in where.glob(f"{prefix}*"):
            with contextlib.suppress(Timeout, OSError):
                if time.time() - folder.stat().st_mtime > STALE:  # a younger one may be about to be locked
                    with FileLock(folder / ".lock", timeout=0):
                        shutil.rmtree(folder, ignore_errors=True)
        self.path = Path(tempfile.mkdtemp(prefix=prefix, dir=where))
        self._lock = FileLock(self.path / ".lock", timeout=0)
        self._lock.acquire()

    def remove(self) -> None:
        self._lock.release()
        shutil.rmtree(self.path, ignore_errors=True)
