"""Rows of many images: once they take much memory their long arrays lie in a file, so it does not grow with images.

The file has no name and goes with the last row that is read from it. It lies in the folder of temporary files, $TMPDIR.
"""

from __future__ import annotations

import math
import os
import tempfile
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.core.sharing import read_only
from bench.core.values import Row

LONG = 1 << 10  # bytes of an array that is worth being read from the file
LIMIT = 1 << 24  # bytes of long arrays that stay in memory
SHARED = 8  # arrays that are remembered: protocols which count the same pixels keep the same ones


class _Extent(NamedTuple):
    """Where an array lies."""

    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


class RowFile:
    """Arrays one after the other, written once and read as often as they are wanted."""

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None
        self._end = 0
        self._lock = threading.Lock()
        self._last: deque[tuple[NDArray[Any], _Extent]] = deque(maxlen=SHARED)

    def add(self, array: NDArray[Any]) -> _Extent:
        """Write an array, unless it is one of the last that were, and return its extent."""
        with self._lock:
            for known, extent in self._last:
                if known is array:
                    return extent
            if self._file is None:
                self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - it lives as long as its rows
            extent = _Extent(self._end, array.shape, array.dtype)
            content = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
            while content:
                content = content[os.pwrite(self._file.fileno(), content, self._end) :]
                self._end = extent.offset + array.nbytes - len(content)
            self._last.append((array, extent))
            return extent

    def read(self, extent: _Extent) -> NDArray[Any]:
        """Return an array that was written, read only."""
        assert self._file is not None  # noqa: S101 - there are places only in a file
        size = math.prod(extent.shape) * extent.dtype.itemsize
        content = os.pread(self._file.fileno(), size, extent.offset)
        return np.frombuffer(content, extent.dtype).reshape(extent.shape)


class FiledRow(Mapping[str, NDArray[Any]]):
    """The row of one image: its long arrays are read whenever they are asked for, the others are in memory."""

    def __init__(self, file: RowFile, arrays: Mapping[str, NDArray[Any] | _Extent]) -> None:
        self._file, self._arrays = file, arrays

    def __getitem__(self, name: str) -> NDArray[Any]:
        array = self._arrays[name]
        return self._file.read(array) if isinstance(array, _Extent) else array

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __reduce__(self) -> Any:
        return dict, (dict(self),)

    def described(self, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """Return the shape and the dtype of an array without reading it."""
        array = self._arrays[name]
        return array.shape, array.dtype

    def in_memory(self) -> Iterator[NDArray[Any]]:
        """Return the arrays that need not be read."""
        return (array for array in self._arrays.values() if not isinstance(array, _Extent))

    def joined(self, more: Row) -> FiledRow:
        """Return the row with further arrays, or with others in the place of those it has."""
        return FiledRow(self._file, {**self._arrays, **more})

    def sealed(self) -> FiledRow:
        """Return the same row, of which no array can be written."""
        return FiledRow(
            self._file,
            {
                name: read_only(array) if isinstance(array, np.ndarray) else array
                for name, array in self._arrays.items()
            },
        )

    def filed(self, file: RowFile) -> FiledRow:
        """Return the same row, of whose arrays no long one is in memory; ``file`` takes those that are."""
        if not any(map(_is_long, self.in_memory())):
            return self
        arrays: dict[str, NDArray[Any] | _Extent] = {}
        for name, array in self._arrays.items():
            if isinstance(array, _Extent):
                arrays[name] = array if file is self._file else file.add(self._file.read(array))
            else:  # a short array may be part of a long one, of many images, which would stay with it
                arrays[name] = file.add(array) if _is_long(array) else np.array(array)
        return FiledRow(file, arrays)


class SealedRows(dict[str, Row]):
    """Rows of which no array can be written, and what was made of all of them and may be wanted again."""

    def __init__(self, rows: Iterable[tuple[str, Row]]) -> None:
        super().__init__(rows)
        self.derived: dict[Any, Any] = {}


class KeptRows(MutableMapping[str, Row]):
    """Rows by sample id, in memory until their long arrays are more than ``LIMIT`` bytes."""

    def __init__(self, file: RowFile | None = None) -> None:
        """``file`` is shared by who keeps the same arrays."""
        self._file = RowFile() if file is None else file
        self._rows: dict[str, Row] = {}
        self._bytes = 0  # of long arrays in memory

    def __getitem__(self, sample: str) -> Row:
        return self._rows[sample]

    def __setitem__(self, sample: str, row: Row) -> None:
        self._bytes += sum(_long(row)) - sum(_long(self._rows.get(sample, {})))
        self._rows[sample] = row
        if self._bytes > LIMIT:
            self._bytes = 0
            self._rows = {each: _filed(self._file, known) for each, known in self._rows.items()}

    def __delitem__(self, sample: str) -> None:
        self._bytes -= sum(_long(self._rows.pop(sample)))

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def join(self, sample: str, more: Row) -> None:
        """Add arrays to the row of an image, or put them in the place of those it has."""
        known = self._rows.get(sample, {})
        self[sample] = known.joined(more) if isinstance(known, FiledRow) else {**known, **more}

    def sealed(self) -> SealedRows:
        """Return the rows sorted by id; no array of them can be written."""
        return SealedRows((sample, _sealed(self._rows[sample])) for sample in sorted(self._rows))


def described(row: Row, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return the shape and the dtype of an array of a row without reading it."""
    if isinstance(row, FiledRow):
        return row.described(name)
    array = np.asarray(row[name])
    return array.shape, array.dtype


def is_filed(row: Row) -> bool:
    """Return whether some array of a row has to be read."""
    return isinstance(row, FiledRow)


def _filed(file: RowFile, row: Row) -> Row:
    if isinstance(row, FiledRow):
        return row.filed(file)
    return FiledRow(file, row).filed(file) if any(_long(row)) else row


def _sealed(row: Row) -> Row:
    if isinstance(row, FiledRow):
        return row.sealed()
    return {name: read_only(values) if isinstance(values, np.ndarray) else values for name, values in row.items()}


def _long(row: Row) -> Iterator[int]:
    """Yield the bytes of each long array that is in memory."""
    arrays = row.in_memory() if isinstance(row, FiledRow) else row.values()
    return (array.nbytes for array in arrays if _is_long(array))


def _is_long(array: Any) -> bool:
    return isinstance(array, np.ndarray) and array.nbytes >= LONG and not array.dtype.hasobject
