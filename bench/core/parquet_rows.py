"""Rows of parquet files of strangers, one after the other: what they declare is held against limits before it is read.

pyarrow reads; nothing here trusts it with more than plain bytes and text: other types are refused, and so are columns
that unpack to more than pictures do. Memory stays at that of a few rows, as long as they are asked for in turn.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.core.errors import MissingData
from bench.core.printable import one_line, printable, shortened

if TYPE_CHECKING:
    from pyarrow import DataType
    from pyarrow.parquet import ParquetFile

ROWS = 10**7  # of one file
GROUP = 2**34  # bytes that one column of a row group may declare to unpack to
DENSEST = 2**10  # bytes that a packed byte may unpack to, beyond SLACK: pictures hardly shrink
SLACK = 2**22
CELL = 2**28  # bytes of one image
THRIFT = 10**8  # bytes of strings, and entries, that a footer may hold
BUFFER = 2**20  # bytes of a file that are read at once
BATCH = 4  # rows that are read at once
NAMED = 8  # columns that an error lists
LONGEST = 300  # characters of an error of pyarrow


@contextmanager
def _blamed(path: Path) -> Iterator[None]:
    """Raise MissingData, with the file, for whatever pyarrow raises of files that are broken."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, ValueError, TypeError, LookupError, MemoryError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or shortened(one_line(str(error)), LONGEST)
        raise MissingData(f"{path} cannot be read as parquet: {reason}; download it again") from None


@dataclass(frozen=True)
class Rows:
    """The chosen columns of one parquet file: bytes, text, or the struct of both that Hugging Face makes of images."""

    path: Path
    columns: tuple[str, ...]

    @cached_property
    def count(self) -> int:
        """The number of rows. Raise MissingData for a file that is none or breaks a rule."""
        with self._opened() as file:
            return int(file.metadata.num_rows)

    def texts(self, column: str) -> list[str]:
        """All values of a column of text or whole numbers."""
        with self._opened() as file, _blamed(self.path):
            values = file.read(columns=[column]).column(0).to_pylist()
        if empty := [row for row, value in enumerate(values) if value is None]:
            raise MissingData(f"{self.path} has no {printable(column)} in row {empty[0]}, wanted one in every row")
        return [str(value) for value in values]

    def row(self, index: int) -> tuple[bytes, ...]:
        """The bytes of each chosen column of one row."""
        with self._reading:
            return self._reader.row(index)

    def __getstate__(self) -> dict[str, Any]:
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}

    @cached_property
    def _reading(self) -> threading.Lock:
        return threading.Lock()

    @cached_property
    def _reader(self) -> _Reader:
        return _Reader(self)

    @contextmanager
    def _opened(self) -> Iterator[ParquetFile]:
        from pyarrow import parquet

        with _blamed(self.path):
            file = parquet.ParquetFile(
                self.path,
                pre_buffer=False,
                buffer_size=BUFFER,
                thrift_string_size_limit=THRIFT,
                thrift_container_size_limit=THRIFT,
            )
        with file:
            self._check(file)
            yield file

    def _check(self, file: ParquetFile) -> None:
        """Refuse what is not of the chosen columns, or declares more than they can need."""
        schema, about = file.schema_arrow, file.metadata
        for name in self.columns:
            if name not in schema.names:
                raise MissingData(f"{self.path} has no column {name!r}; it has {_some(schema.names)}")
            if schema.names.count(name) > 1:
                raise MissingData(f"{self.path} has two columns {name!r}; keep one of them")
        if about.num_rows > ROWS:
            raise MissingData(f"{self.path} declares {about.num_rows} rows, and {ROWS} are the most that are read")
        for group in range(about.num_row_groups):
            for part in range(about.num_columns):
                declared = about.row_group(group).column(part)
                size, packed = declared.total_uncompressed_size, max(declared.total_compressed_size, 0)
                if not 0 <= size <= min(GROUP, SLACK + DENSEST * packed):
                    raise MissingData(
                        f"{self.path} declares that {packed} bytes unpack to {size}, and no column of images does; at"
                        f" most {GROUP} are taken, so write it anew in smaller row groups"
                    )


class _Reader:
    """The rows of one file in turn; one that is asked for out of turn begins its row group anew."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.kept: dict[int, tuple[bytes, ...]] = {}
        self.ahead: Iterator[tuple[int, tuple[bytes, ...]]] = iter(())

    def row(self, index: int) -> tuple[bytes, ...]:
        if index not in self.kept and not self._advance(index):
            self.ahead = self._from(index)
            self._advance(index)
        return self.kept[index]

    def _advance(self, index: int) -> bool:
        """Read on until a row is there, if it is among the next ones."""
        for number, values in self.ahead:
            self.kept = {**dict(list(self.kept.items())[-BATCH:]), number: values}
            if number == index:
                return True
            if number > index or index - number > BATCH:
                return False
        return False

    def _from(self, index: int) -> Iterator[tuple[int, tuple[bytes, ...]]]:
        """Yield rows with their numbers, from one on; those before it in its row group are read and let go."""
        with self.rows._opened() as file:
            types = {name: file.schema_arrow.field(name).type for name in self.rows.columns}
            for name, kind in types.items():
                if not _is_bytes(kind):
                    raise MissingData(
                        f"{self.rows.path} holds {shortened(str(kind), LONGEST)} in the column {name!r}, wanted images"
                        f" as bytes, or as a struct with bytes"
                    )
            first = 0
            for group in range(file.metadata.num_row_groups):
                size = file.metadata.row_group(group).num_rows
                if index < first + size:
                    yield from self._group(file, group, first, index)
                first += size

    def _group(self, file: ParquetFile, group: int, first: int, index: int) -> Iterator[tuple[int, tuple[bytes, ...]]]:
        number = first
        batches = file.iter_batches(batch_size=BATCH, row_groups=[group], columns=list(self.rows.columns))
        while True:
            with _blamed(self.rows.path):
                batch = next(batches, None)
            if batch is None:
                return
            for place in range(batch.num_rows):
                if number >= index:
                    yield number, tuple(self._bytes(batch, name, place, number) for name in self.rows.columns)
                number += 1

    def _bytes(self, batch: Any, name: str, place: int, number: int) -> bytes:
        import pyarrow as pa

        with _blamed(self.rows.path):
            value = batch.column(name)[place]
            if pa.types.is_struct(value.type) and value.is_valid:
                value = value["bytes"]
            content = value.as_buffer() if value.is_valid else None
        if content is None:
            raise MissingData(
                f"{self.rows.path} holds no bytes in the column {name!r} of row {number}: images have to stand in the"
                f" file itself, not beside it"
            )
        if content.size > CELL:
            raise MissingData(f"{self.rows.path} holds {content.size} bytes in row {number}, and {CELL} are the most")
        return bytes(content.to_pybytes())


def _is_bytes(kind: DataType) -> bool:
    import pyarrow as pa

    if pa.types.is_struct(kind):
        index = kind.get_field_index("bytes")
        return index >= 0 and _is_bytes(kind.field(index).type)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(printable(name) for name in names[:NAMED]) + more if names else "none"
