"""Arrays in files that this process wrote last, kept in memory: who needs them once more here does not read them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]


class RecentArrays:
    """The arrays of some files, the last ones written, up to a number of bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._kept: OrderedDict[Path, tuple[tuple[int, ...], Arrays]] = OrderedDict()
        self._bytes = 0

    def put(self, path: Path, arrays: Arrays) -> None:
        """Keep the arrays of a file that was just written; the oldest ones go where they are too many."""
        identity = _identity(path)
        with self._lock:
            self._drop(path)
            self._kept[path] = identity, arrays
            self._bytes += _size(arrays)
            while self._bytes > self._limit:
                self._drop(next(iter(self._kept)))

    def take(self, path: Path) -> Arrays | None:
        """Return the arrays of a file, the caller's from now on.

        None for a file that must be read: one that was taken before, or was replaced, cut or touched since it was put.
        """
        with self._lock:
            if path not in self._kept:
                return None
            identity, arrays = self._kept[path]
            self._drop(path)
        return arrays if path.is_file() and _identity(path) == identity else None

    def _drop(self, path: Path) -> None:
        if path in self._kept:
            self._bytes -= _size(self._kept.pop(path)[1])


def _identity(path: Path) -> tuple[int, ...]:
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _size(arrays: Mapping[str, NDArray[Any]]) -> int:
    return sum(array.nbytes for array in arrays.values())
