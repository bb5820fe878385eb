"""Files of NumPy arrays (.npz), written so that the arrays most often wanted can be read in one piece.

Any reader of .npz files can read them. What is wanted often stands first and uncompressed, and the first member says
how much of the file that is: one read finds it, without the directory at the end.
"""

from __future__ import annotations

import io
import math
import os
import struct
import zipfile
import zlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from bench.core.rows import Pieces
from bench.core.untrusted_arrays import Unreadable, described

LOCAL = struct.Struct("<4s5H3I2H")  # the header of a member, APPNOTE.TXT 4.3.7
MARK = struct.Struct(
    "<HHHI"
)  # an extra field of the first member: our number, bytes that follow, arrays, bytes of them
OURS = 0x4F42  # no registered number of an extra field
FIRST = 1 << 17  # bytes that are read at once; the replicates of a cell take less
LEVEL = 2  # of zlib: a tenth larger than at 6, in a sixth of the time
MAGIC = b"\x93NUMPY\x01\x00"


def write(file: IO[bytes], arrays: Mapping[str, NDArray[Any] | Pieces], plain: str) -> None:
    """Compressed, but for arrays whose names begin with ``plain``: those come first, as they are in memory.

    Equal arrays give equal files, in pieces or not. Arrays of objects are refused with a ValueError.
    """
    members = [(zipfile.ZipInfo(f"{name}.npy"), array) for name, array in arrays.items()]
    first = [
        (info, _content(array))
        for info, array in members
        if info.filename.startswith(plain) and not isinstance(array, Pieces)
    ]
    if first:
        size = sum(LOCAL.size + len(info.filename.encode()) + len(content) for info, content in first) + MARK.size
        first[0][0].extra = MARK.pack(OURS, MARK.size - 4, len(first), size)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=LEVEL) as archive:
        for info, content in first:
            archive.writestr(info, content, zipfile.ZIP_STORED)
        for info, array in members:
            if isinstance(array, Pieces):
                _write_pieces(archive, info.filename, array)
            elif not info.filename.startswith(plain):
                archive.writestr(info, _content(array), zipfile.ZIP_DEFLATED, LEVEL)


def leading(path: Path, prefix: str) -> dict[str, NDArray[Any]] | None:
    """The arrays that ``write`` put first, by name without ``prefix``, read only; None for a file of another program.

    Raises ValueError if what is there is not what was written, and OSError as ``open`` does.
    """
    with path.open("rb", buffering=0) as file:
        content = file.read(FIRST)
        marked = _marked(content)
        if marked is None:
            return None
        count, size = marked
        if size > os.fstat(file.fileno()).st_size:  # a read takes memory for what it asks for
            raise ValueError("it is shorter than it says")
        while len(content) < size:
            more = file.read(size - len(content))
            if not more:
                raise ValueError("it is shorter than it says")
            content += more
    content, offset = content[:size], 0
    arrays: dict[str, NDArray[Any]] = {}
    for _ in range(count):
        if offset + LOCAL.size > size:
            raise ValueError("it holds fewer arrays than it says")
        signature, _, _, method, _, _, check, packed, length, name_size, extra_size = LOCAL.unpack_from(content, offset)
        offset += LOCAL.size
        name, begin = content[offset : offset + name_size].decode(), offset + name_size + extra_size
        offset = begin + length
        as_written = signature == b"PK\x03\x04" and method == zipfile.ZIP_STORED and packed == length and offset <= size
        if not as_written or not name.startswith(prefix):
            raise ValueError("its members are not laid out as they are written")
        if zlib.crc32(memoryview(content)[begin:offset]) != check:
            raise ValueError(f"bad checksum of {name}")
        arrays[name.removeprefix(prefix).removesuffix(".npy")] = _array(content, begin, offset)
    return arrays


def _write_pieces(archive: zipfile.ZipFile, name: str, array: Pieces) -> None:
    """Write a member as ``writestr`` would the whole array."""
    buffer = io.BytesIO()
    about = {"descr": np.lib.format.dtype_to_descr(array.dtype), "fortran_order": False, "shape": array.shape}
    np.lib.format.write_array_header_1_0(buffer, about)
    size = len(buffer.getvalue()) + math.prod(array.shape) * array.dtype.itemsize
    with archive.open(name, "w", force_zip64=size * 1.05 > zipfile.ZIP64_LIMIT) as member:
        member.write(buffer.getvalue())
        for piece in array:
            member.write(piece.reshape(-1).view(np.uint8).data)


def _content(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asanyarray(array), allow_pickle=False)
    return buffer.getvalue()


def _marked(content: bytes) -> tuple[int, int] | None:
    """Number of the arrays that come first, and of the bytes that they take with headers; None without a mark."""
    if len(content) < LOCAL.size:
        return None
    *_, name_size, extra_size = LOCAL.unpack_from(content)
    offset = LOCAL.size + name_size
    if extra_size != MARK.size or len(content) < offset + MARK.size:
        return None
    number, _, count, size = MARK.unpack_from(content, offset)
    return (count, size) if number == OURS else None


def _array(content: bytes, begin: int, end: int) -> NDArray[Any]:
    if content[begin : begin + len(MAGIC)] != MAGIC:
        raise ValueError("an array in an unknown version of the format")
    data = begin + len(MAGIC) + 2 + int.from_bytes(content[begin + len(MAGIC) : begin + len(MAGIC) + 2], "little")
    dtype, shape = _described(content[begin + len(MAGIC) : data])
    count = math.prod(shape)
    if data + count * dtype.itemsize != end:
        raise ValueError("an array of another size than it says")
    return np.frombuffer(content, dtype, count, data).reshape(shape)


@lru_cache(maxsize=64)
def _described(header: bytes) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Dtype and shape by the header of an array; files of one run have few different ones."""
    try:
        shape, fortran, dtype = described(header)
    except Unreadable as error:
        raise ValueError(str(error)) from None
    if dtype.hasobject or (fortran and len(shape) > 1):
        raise ValueError("an array of objects, or in another order")
    return dtype, shape
