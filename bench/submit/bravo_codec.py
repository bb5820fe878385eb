"""Files of BRAVO: an encoded prediction of one image, and the list of pixels whose confidences it holds.

An encoded prediction (all integers little-endian, 32 bits):

    BV23, version 2, rows, columns, sampled confidences, bytes of classes, bytes of confidences
    one zstd frame of classes, uint8 [rows, columns], and confidences, uint16, of the sampled pixels in ascending order
    CRC-32 of everything before

A list of pixels is one zstd frame of 24-bit numbers: how many there are and the first flat index; then the distance to
each next one, as one byte, or as a byte 0 and 24 bits.

Source: valeoai/bravo_challenge@d54005d, the server's toolkit. Its encoder and this one write the same bytes with the
same zstd; its decoder and this one take and refuse the same files. Both files may come from strangers: a declared size
is held against what the image allows before memory is taken for it.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from bench.api import Labels, Refused
from bench.core.errors import MissingPackage

Levels = NDArray[np.uint16]  # confidences: level q stands for (q + 0.5) / 65536
Indices = NDArray[np.int32]  # flat, row by row, ascending

MAGIC, VERSION, COMPRESSION = b"BV23", 2, 9
HEADER = struct.Struct("<4s6I")
CHECKSUM = struct.Struct("<I")
WIDEST = 1 << 24  # of counts, indices and distances: 24 bits
LARGEST = WIDEST  # pixels of an image


@dataclass(frozen=True, eq=False)
class Encoded:
    """The content of one encoded prediction."""

    classes: Labels  # uint8 [H, W]
    confidences: Levels  # uint16 [n], of the sampled pixels; of all where no list was used
    samples: int  # as its header counts them: 0 where no list was used; nothing depends on it


def encode(classes: Labels, confidences: Levels, indices: Indices | None) -> bytes:
    """Return the file for a class map uint8 [H, W], confidences uint16 [H, W] and the pixels whose confidences count.

    Raises ValueError for arrays of other types or shapes, and IndexError for a pixel beyond the image.
    """
    if classes.dtype != np.uint8 or classes.ndim != 2:
        raise ValueError(f"classes are {classes.dtype} {list(classes.shape)}, wanted uint8 [H, W]")
    if confidences.dtype != np.uint16 or confidences.shape != classes.shape:
        wanted = list(classes.shape)
        raise ValueError(f"confidences are {confidences.dtype} {list(confidences.shape)}, wanted uint16 {wanted}")
    kept = confidences.reshape(-1)
    if indices is not None:
        if indices.ndim != 1 or indices.dtype not in (np.int32, np.uint32, np.int64, np.uint64):
            raise ValueError(f"indices are {indices.dtype} {list(indices.shape)}, wanted 32 or 64 bits [n]")
        kept = kept[indices]
    sampled = 0 if indices is None else len(indices)
    content = classes.tobytes() + kept.astype("<u2").tobytes()
    header = HEADER.pack(MAGIC, VERSION, *classes.shape, sampled, classes.size, 2 * len(kept))
    body: bytes = header + _zstandard().ZstdCompressor(level=COMPRESSION).compress(content)
    return body + CHECKSUM.pack(zlib.crc32(body))


def decode(content: bytes, *, limit: int = LARGEST) -> Encoded:
    """Return what a file holds. Raises Refused for one that the server refuses, or with more than ``limit`` pixels."""
    if len(content) < HEADER.size + CHECKSUM.size:
        raise Refused("whole", f"is {len(content)} bytes long, wanted at least {HEADER.size + CHECKSUM.size}")
    magic, version, rows, columns, samples, class_bytes, confidence_bytes = HEADER.unpack_from(content)
    if magic != MAGIC:
        raise Refused("magic", f"begins with {magic!r}, wanted {MAGIC!r}")
    if version != VERSION:
        raise Refused("version", f"is of version {version}, wanted {VERSION}")
    body, end = content[: -CHECKSUM.size], content[-CHECKSUM.size :]
    if zlib.crc32(body) != CHECKSUM.unpack(end)[0]:
        raise Refused("checksum", "has another checksum than its end says: it was cut off or changed")
    plain = _unpacked(body[HEADER.size :], 3 * limit)  # a byte of class and two of confidence for each pixel
    if class_bytes + confidence_bytes != len(plain):
        declared = f"{class_bytes} bytes of classes and {confidence_bytes} of confidences"
        raise Refused("length", f"declares {declared}, and holds {len(plain)} bytes")
    if rows * columns != class_bytes or confidence_bytes % 2:
        raise Refused("length", f"declares {rows} x {columns} pixels in {class_bytes} bytes of classes")
    classes = np.frombuffer(plain, np.uint8, class_bytes).reshape(rows, columns)
    return Encoded(classes, np.frombuffer(plain, "<u2", offset=class_bytes).astype(np.uint16), samples)


def write_indices(indices: Indices) -> bytes:
    """Return the list of ascending flat indices [n]. Raises ValueError for what the format cannot hold."""
    if not len(indices):
        raise ValueError("the list is empty, and the format has no empty list")
    wide_indices = indices.astype(np.int64)
    steps = wide_indices[1:] - wide_indices[:-1]
    if not 0 <= indices[0] <= indices[-1] < WIDEST or len(indices) >= WIDEST or (steps <= 0).any():
        raise ValueError(f"indices are not ascending from 0 to below {WIDEST}")
    # Each step takes one byte, or four of which the first is 0.
    wide = steps > 255
    ends = np.cumsum(np.where(wide, 4, 1))
    packed = np.zeros(ends[-1] if len(steps) else 0, np.uint8)
    packed[ends[~wide] - 1] = steps[~wide]
    for byte in range(3):
        packed[ends[wide] - 3 + byte] = steps[wide] >> (8 * byte) & 0xFF
    head = len(indices).to_bytes(3, "little") + int(indices[0]).to_bytes(3, "little")
    compressed: bytes = _zstandard().ZstdCompressor(level=COMPRESSION).compress(head + packed.tobytes())
    return compressed


def read_indices(content: bytes, *, limit: int = LARGEST) -> Indices:
    """Return the flat indices int32 [n] of a list. Raises Refused for one that is broken or names ``limit`` or more."""
    plain = np.frombuffer(_unpacked(content, 6 + 4 * limit), np.uint8)
    if plain.size < 6:
        raise Refused("pixel list", f"holds {plain.size} bytes, wanted at least 6")
    count, first = (int.from_bytes(plain[start : start + 3].tobytes(), "little") for start in (0, 3))
    # A byte 0 begins a wide step unless it lies inside of one: the few wide ones are found one after another.
    steps, position, parts = plain[6:], 0, []
    zeros = np.flatnonzero(steps == 0)
    while position < steps.size:
        following = np.searchsorted(zeros, position)
        end = int(zeros[following]) if following < zeros.size else steps.size
        parts.append(steps[position:end].astype(np.int64))
        if end < steps.size:
            parts.append(np.array([int.from_bytes(steps[end + 1 : end + 4].tobytes(), "little")], np.int64))
            if end + 4 > steps.size or parts[-1][0] == 0:
                raise Refused("pixel list", "ends within a distance, or holds a distance of 0")
        position = end + 4
    indices = first + np.cumsum(np.concatenate([np.zeros(1, np.int64), *parts]))
    if len(indices) != count or indices[-1] >= limit:
        largest = int(indices[-1])
        raise Refused("pixel list", f"names {len(indices)} pixels up to {largest}, and declares {count} below {limit}")
    return indices.astype(np.int32)


def _unpacked(frame: bytes, limit: int) -> bytes:
    """Return what one zstd frame holds; its header must say how much, and that is held against ``limit`` first."""
    zstandard = _zstandard()
    try:
        size = zstandard.frame_content_size(frame)
        if size < 0:
            raise Refused("zstd", "does not say in its frame how much it unpacks to")
        if size > limit:
            raise Refused("zip bomb", f"unpacks to {size} bytes, wanted at most {limit}")
        plain: bytes = zstandard.ZstdDecompressor(max_window_size=max(limit, 1 << 20)).decompress(frame)
    except zstandard.ZstdError as error:
        raise Refused("zstd", f"cannot be unpacked: {error}") from None
    return plain


def _zstandard() -> ModuleType:
    try:
        import zstandard
    except ImportError as error:
        raise MissingPackage(
            f"BRAVO's files need zstandard, which cannot be imported ({error}): pip install 'ood-seg-bench[bravo]'"
        ) from None
    return zstandard
