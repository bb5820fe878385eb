"""Values with arrays that one process of a machine hands to another through memory that both see.

Pickles alone would send each image through a pipe in pieces, and once more wherever a third process passes it on. Here
arrays lie in a file of a folder in memory, which is gone from there when the other process has opened it; what travels
is the pickle of the rest. Only processes of one program exchange parcels: nothing of strangers is unpickled.
"""

from __future__ import annotations

import mmap
import os
import pickle
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MEMORY = Path("/dev/shm")  # noqa: S108 - files there are made as ``tempfile`` makes them, in a folder of our own
LEAST = 2**16  # bytes of arrays that are worth a file


@dataclass(frozen=True)
class Parcel:
    """A value to be opened once, by a process of this machine."""

    value: Any = None  # itself, where there is no file
    pickled: bytes = b""  # it, without its arrays
    path: Path | None = None  # of the file with these, each from the start of a page
    sizes: Sequence[int] = ()  # bytes of each

    def open(self) -> Any:
        """Return the value, with arrays that can be written to; their memory is freed when they are."""
        if self.path is None:
            return self.value
        with self.path.open("rb") as file:
            self.path.unlink()
            mapped = [
                mmap.mmap(file.fileno(), size, access=mmap.ACCESS_COPY, offset=start)
                for size, start in zip(self.sizes, _starts(self.sizes), strict=True)
            ]
        return pickle.loads(self.pickled, buffers=mapped)  # noqa: S301 - see above


def folder_in_memory() -> Path | None:
    """Return where files lie in memory and their room can be asked for; None where the system has no such place."""
    usable = hasattr(os, "posix_fallocate") and os.access(MEMORY, os.W_OK | os.X_OK)
    return MEMORY if usable else None


def pack(value: Any, folder: Path | None) -> Parcel:
    """Put a value into a parcel with a file in ``folder``; without one, or without room for it, in the parcel alone."""
    buffers: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    arrays = [buffer.raw() for buffer in buffers]
    sizes = [array.nbytes for array in arrays]
    if folder is not None and sum(sizes) >= LEAST and all(sizes):
        try:
            return Parcel(None, pickled, _written(arrays, sizes, folder), sizes)
        except OSError:  # containers have little of such memory by default
            pass
    return Parcel(value)


def _written(arrays: Sequence[memoryview], sizes: Sequence[int], folder: Path) -> Path:
    """Write arrays into a new file. Raise OSError where there is no room: a page without any would end the process."""
    starts = _starts(sizes)
    descriptor, name = tempfile.mkstemp(dir=folder)
    try:
        total = starts[-1] + sizes[-1]
        os.posix_fallocate(descriptor, 0, total)
        with mmap.mmap(descriptor, total) as memory:
            for array, start, size in zip(arrays, starts, sizes, strict=True):
                memory[start : start + size] = array
    except OSError:
        Path(name).unlink()
        raise
    finally:
        os.close(descriptor)
    return Path(name)


def _starts(sizes: Sequence[int]) -> list[int]:
    """Return where each array begins: at a page, so that it can be mapped, and freed, by itself."""
    page = mmap.ALLOCATIONGRANULARITY
    starts, end = [], 0
    for size in sizes:
        starts.append(end)
        end += size + -size % page
    return starts
