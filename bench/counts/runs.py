"""The keys that an exact tally remembers: in memory, and in a file that vanishes with them where they are many."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from io import FileIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.uint32]
WideKeys = NDArray[np.uint64]
AnyKeys = NDArray[Any]  # Keys or WideKeys

SPILL = 1 << 28  # bytes of new keys that are held in memory; several tallies may grow side by side
PIECE = 1 << 22  # keys read back at a time


class Runs:
    """Any number of keys of several categories. Where the file cannot be written, they stay in memory."""

    def __init__(self, categories: int, dtype: type[np.uint32] | type[np.uint64] = np.uint32) -> None:
        self.dtype = np.dtype(dtype)
        self._memory: list[list[Any]] = [[] for _ in range(categories)]
        self._sorted = [True] * categories
        self._file: FileIO | None = None
        self._segments: list[list[tuple[int, int]]] = [[] for _ in range(categories)]  # first byte, keys
        self._fresh = 0  # bytes in memory that were never whole
        self._spills = True

    def append(self, category: int, keys: AnyKeys) -> None:
        """Take the keys, in any order; the array is the tally's from now on."""
        if not keys.size:
            return
        self._memory[category].append(keys)
        self._sorted[category] = False
        self._fresh += keys.nbytes
        if self._fresh > SPILL and self._spills:
            self._spill()

    def pieces(self, category: int) -> Iterator[Any]:
        """All keys of a category, in no order, a bounded number at a time; not to be written to."""
        for start, count in self._segments[category]:
            for first in range(0, count, PIECE):
                size = self.dtype.itemsize
                yield self._read(start + size * first, np.empty(min(PIECE, count - first), self.dtype))
        for run in self._memory[category]:
            for first in range(0, run.size, PIECE):
                yield run[first : first + PIECE]

    def whole(self, category: int) -> Any:
        """All keys of a category, ascending. Each part is released as it is copied, so that memory does not double."""
        if not self._sorted[category]:
            from bench.counts import sorting

            size = sum(run.size for run in self._memory[category]) + sum(n for _, n in self._segments[category])
            whole = sorting.sorted_keys(self.pieces(category), self._released(category), size, self.dtype)
            self._memory[category].append(whole)
            self._sorted[category] = True
            self._fresh = 0
        runs = self._memory[category]
        return runs[0] if runs else np.empty(0, self.dtype)

    def _released(self, category: int) -> Iterator[Any]:
        """All keys of a category, none of which is there any more when the next are asked for."""
        runs, segments = self._memory[category], self._segments[category]
        while runs:
            yield runs.pop()
        yield from self.pieces(category)
        segments.clear()

    def _spill(self) -> None:
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="bench-keys-", buffering=0)  # noqa: SIM115 - closed with the tally
            for runs, segments in zip(self._memory, self._segments, strict=True):
                while runs:
                    start, rest = self._file.seek(0, 2), memoryview(runs[-1].view(np.uint8).data)
                    while rest:
                        rest = rest[self._file.write(rest) :]
                    segments.append((start, runs.pop().size))
        except OSError:  # a full disk: nothing is lost, and nothing more is written
            self._spills = False
        self._fresh = 0

    def _read(self, start: int, keys: NDArray[Any]) -> NDArray[Any]:
        assert self._file is not None  # noqa: S101 - a segment is in a file
        self._file.seek(start)
        rest = memoryview(keys.view(np.uint8).data)
        while rest:
            count = self._file.readinto(rest)
            if not count:
                raise EOFError("the file of a tally's keys is shorter than what was written to it")
            rest = rest[count:]
        return keys
