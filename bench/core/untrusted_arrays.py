"""Arrays in files of strangers: .npy, .npz and HDF5, each by the same strict rules, whoever asks.

The header is read first and held against the size of the file, against a limit and against the caller's own rule; only
then is memory taken. Nothing is unpickled, no link, external file or virtual dataset is followed, no filter beyond
gzip, shuffle and fletcher32 runs, and nothing unpacks to more than its header declares. Each refusal is an Unreadable.
"""

from __future__ import annotations

import io
import itertools
import math
import os
import stat
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from bench.core.archives import DEFLATE
from bench.core.archives import PLAIN as PACKINGS
from bench.core.printable import one_line, printable, shortened

Reason = Literal[
    "format",  # another format than its name says, or damaged
    "archive",  # a .zip that cannot be unpacked
    "short",  # the numbers are fewer or more than the header declares
    "type",  # no plain numbers
    "count",  # several arrays, or none, where one was wanted
    "name",  # no array of that name
    "link",
    "foreign",  # a group, or numbers that stand in another file
    "filters",
    "chunks",
    "bomb",  # a part unpacks to more than it may
    "limit",  # the header declares more than the caller allows
]
Fits = Callable[[tuple[int, ...], np.dtype[Any]], None]

LIMIT = 2**33  # bytes of one array, where the caller's rule knows no smaller one
HEADER = 2**12  # bytes; the header of plain numbers takes some 120
SLACK = 2**16  # bytes by which a declared size may exceed what its packed bytes can hold, and elements of a chunk
CHUNKS = 2**17  # of one dataset
NAMES = 5  # that a refusal lists
LONGEST = 300  # characters of a refusal
WIDEST = 8  # bytes of a number: what is wider would be rounded
MANY = 64  # of which a caller may choose
FILTERS = {1: "gzip", 2: "shuffle", 3: "fletcher32"}  # by their numbers in HDF5
_HDF5_ERRORS = (OSError, RuntimeError, ValueError, KeyError, TypeError, OverflowError, AttributeError, MemoryError)
_ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, struct.error, OverflowError)


class Unreadable(Exception):
    """An array that is refused. ``names`` are some of those that the file does hold, fit for one line."""

    def __init__(self, reason: Reason, text: str, names: Sequence[str] = ()) -> None:
        super().__init__(shortened(one_line(text), LONGEST))
        self.reason, self.names = reason, tuple(map(printable, names))


def read(source: Path | IO[bytes], suffix: str, fits: Fits, *, name: str = "", limit: int = LIMIT) -> NDArray[Any]:
    """Return one array of plain numbers from a file of the format that ``suffix`` names.

    ``fits`` is asked about shape and dtype before memory is taken, and raises what its caller likes. ``name`` is that
    of the array in an .npz, which must hold a single one if it is empty, or in HDF5. Raise Unreadable for whatever
    breaks the rules of this module, an absent file included.
    """
    reader = {".npy": _npy, ".npz": _npz, ".h5": _hdf5, ".hdf5": _hdf5}[suffix]
    with _opened(source) as stream:
        return reader(stream, fits, name, limit)


def names(path: Path, suffix: str) -> list[str]:
    """Return the names of all arrays of an .npz or HDF5 file, sorted. Raise Unreadable if it is none."""
    with _opened(path) as stream:
        if suffix == ".npz":
            with _unzipped(stream) as archive:
                return sorted(member.removesuffix(".npy") for member in archive.namelist())
        with _hdf5_file(stream) as file:
            return sorted(file)


def read_all(path: Path, chosen: Callable[[str], bool], *, limit: int = LIMIT) -> dict[str, NDArray[Any]]:
    """Return the arrays of an .npz whose names are ``chosen``, in order: plain numbers, and words of Unicode.

    Raise Unreadable as ``read`` does, and for a name that is there twice.
    """
    arrays: dict[str, NDArray[Any]] = {}
    with _opened(path) as stream, _unzipped(stream) as archive:
        for info in archive.infolist():
            name = info.filename.removesuffix(".npy")
            if not chosen(name):
                continue
            if name in arrays:
                raise Unreadable("count", f"holds two arrays named {printable(name)}")
            check_member(info)
            try:
                with archive.open(info) as member:
                    arrays[name] = _plain(member, info.file_size, _anything, limit, words=True)
            except Unreadable as error:
                raise Unreadable(error.reason, f"{printable(name)}: {error}") from None
            except MemoryError:
                raise Unreadable("limit", f"{printable(name)}: declares more than there is memory for") from None
    return arrays


def _anything(shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """The rule of a caller that has none."""


@contextmanager
def _opened(source: Path | IO[bytes]) -> Iterator[IO[bytes]]:
    if not isinstance(source, Path):
        yield source
        return
    try:
        if not stat.S_ISREG(source.stat().st_mode):  # a pipe would keep its reader waiting
            raise Unreadable("format", "it is no regular file")
        stream = source.open("rb")
    except OSError as error:
        raise Unreadable("format", str(error)) from None
    with stream:
        yield stream


def _length(stream: IO[bytes]) -> int:
    length = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    return length


def _npy(stream: IO[bytes], fits: Fits, name: str, limit: int) -> NDArray[Any]:
    try:
        return _plain(stream, _length(stream), fits, limit)
    except EOFError as error:
        raise Unreadable("format", str(error)) from None


def _plain(stream: IO[bytes], length: int, fits: Fits, limit: int, *, words: bool = False) -> NDArray[Any]:
    """The array of an .npy file, or of a member of an .npz, that is ``length`` bytes long, header included."""
    start = _exactly(stream, 8)
    if start[:6] != np.lib.format.MAGIC_PREFIX:
        raise Unreadable("format", "it does not begin as a NumPy file does")
    version = start[6], start[7]
    if version not in ((1, 0), (2, 0)):
        raise Unreadable("format", f"version {version} of the format holds no plain numbers")
    prefix = _exactly(stream, 2 if version == (1, 0) else 4)
    size = int.from_bytes(prefix, "little")
    if size > HEADER:
        raise Unreadable("format", f"its header takes {size} bytes, that of plain numbers at most {HEADER}")
    shape, fortran, dtype = described(prefix + _exactly(stream, size), version)
    _check_type(dtype)
    fits(shape, dtype)
    if not (words and dtype.kind == "U" and dtype.itemsize):
        _check_numbers(dtype)
    claimed, rest = math.prod(shape) * dtype.itemsize, length - len(start) - len(prefix) - size
    _check_limit(claimed, limit)
    if rest != claimed:
        what = f"{claimed - rest} bytes are missing at its end" if rest < claimed else f"{rest - claimed} bytes follow"
        raise Unreadable("short", what)
    array: NDArray[Any] = np.empty(math.prod(shape), dtype)
    missing = memoryview(array.view(np.uint8).data) if claimed else memoryview(b"")
    while missing:
        count = stream.readinto(missing[: 2**20] if isinstance(stream, zipfile.ZipExtFile) else missing)  # type: ignore[attr-defined]
        if not count:
            raise Unreadable("short", f"{len(missing)} bytes are missing at its end")
        missing = missing[count:]
    if dtype.kind == "U":
        _check_words(array)
    return array.reshape(shape, order="F" if fortran else "C")


def _check_words(array: NDArray[Any]) -> None:
    characters = array.view(np.dtype(np.uint32).newbyteorder(array.dtype.byteorder))
    if ((characters > 0x10FFFF) | ((characters >= 0xD800) & (characters < 0xE000))).any():
        raise Unreadable("type", "holds numbers that are no characters")


def _exactly(stream: IO[bytes], count: int) -> bytes:
    content = stream.read(count)
    if len(content) != count:
        raise Unreadable("format", "it ends within its header")
    return content


def described(header: bytes, version: tuple[int, int] = (1, 0)) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether it is in the order of Fortran, and dtype by the header of an array. Raise Unreadable."""
    parse = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Python 2, and of Python about text that is no Python
            shape, fortran, dtype = parse(io.BytesIO(header))
    except Exception as error:  # NumPy evaluates a literal and names no bound on what that may raise
        raise Unreadable("format", f"its header cannot be read: {str(error)[:200] or type(error).__name__}") from None
    if any(type(extent) is not int or extent < 0 for extent in shape):
        raise Unreadable("format", f"its header declares the shape {list(shape)}")
    return shape, fortran, dtype


def _check_type(dtype: np.dtype[Any]) -> None:
    if dtype.hasobject:
        raise Unreadable("type", "holds object: Python objects")
    if dtype.names is not None:
        raise Unreadable("type", f"holds a structure of {len(dtype.names)} fields")
    if dtype.subdtype is not None:
        raise Unreadable("type", f"holds {dtype}")


def _check_numbers(dtype: np.dtype[Any]) -> None:
    if dtype.kind not in "biuf" or dtype.itemsize > WIDEST:
        raise Unreadable("type", f"holds {dtype}")


def _check_limit(claimed: int, limit: int) -> None:
    if claimed > limit:
        raise Unreadable("limit", f"declares {claimed} bytes, wanted at most {limit}")


def _npz(stream: IO[bytes], fits: Fits, name: str, limit: int) -> NDArray[Any]:
    with _unzipped(stream) as archive:
        members = archive.infolist()
        if not name and len(members) != 1:
            known = [info.filename.removesuffix(".npy") for info in members[:MANY]]
            raise Unreadable("count", f"holds {len(members)} arrays, wanted one", known)
        if name:
            members = [info for info in members if info.filename == f"{name}.npy"]
        if not members:
            known = [info.filename.removesuffix(".npy") for info in archive.infolist()[:NAMES]]
            raise Unreadable("name", f"holds no array named {name}", known)
        info = members[0]
        if len(members) > 1:
            raise Unreadable("count", f"holds {len(members)} arrays of this name, wanted one")
        check_member(info)
        with archive.open(info) as member:
            return _plain(member, info.file_size, fits, limit)


def check_member(info: zipfile.ZipInfo) -> None:
    """Raise Unreadable for a member of a .zip that may unpack to more than it declares, or cannot be unpacked."""
    if info.flag_bits & 1:
        raise Unreadable("archive", "it is encrypted")
    if info.compress_type not in PACKINGS:  # Python bounds what a read unpacks for these alone
        raise Unreadable("archive", f"it is packed by method {info.compress_type}, wanted stored or deflated")
    if info.file_size > DEFLATE * max(info.compress_size, 1) + SLACK:
        raise Unreadable("archive", f"it declares {info.file_size} bytes out of {info.compress_size} packed ones")


@contextmanager
def _unzipped(stream: IO[bytes]) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(stream) as archive:
            yield archive
    except (*_ZIP_ERRORS, EOFError, OSError, ValueError) as error:
        raise Unreadable("archive", str(error) or type(error).__name__) from None


@contextmanager
def _hdf5_file(stream: IO[bytes]) -> Iterator[Any]:
    import h5py

    # The library reads a file of its own by itself, and any other through Python.
    source = stream.name if isinstance(stream, io.BufferedReader) and isinstance(stream.name, str) else stream
    try:
        with h5py.File(source, "r") as file:
            yield file
    except _HDF5_ERRORS as error:
        raise Unreadable("format", str(error) or type(error).__name__) from None


def _hdf5(stream: IO[bytes], fits: Fits, name: str, limit: int) -> NDArray[Any]:
    import h5py

    name = name or "value"  # as SegmentMeIfYouCan calls the map in a file of its own
    length = _length(stream)
    with _hdf5_file(stream) as file:
        link = None if "/" in name else file.get(name, getlink=True)
        if link is None:
            raise Unreadable("name", f"has no dataset {name!r}", list(itertools.islice(sorted(file), NAMES)))
        if not isinstance(link, h5py.HardLink):
            raise Unreadable("link", f"{name!r} is a link", list(itertools.islice(sorted(file), NAMES)))
        dataset = file[name]
        if not isinstance(dataset, h5py.Dataset) or dataset.is_virtual or dataset.external:
            raise Unreadable("foreign", f"{name!r} is no dataset of its own")
        if dataset.shape is None:
            raise Unreadable("type", "holds no numbers at all")
        dtype, shape = dataset.dtype, tuple(map(int, dataset.shape))
        _check_type(dtype)
        fits(shape, dtype)
        _check_numbers(dtype)
        _check_limit(math.prod(shape) * max(dtype.itemsize, dataset.id.get_type().get_size()), limit)
        return _dataset(dataset, length)


def _dataset(dataset: Any, length: int) -> NDArray[Any]:
    """The numbers of a dataset whose shape and type fit; ``length`` is that of its file."""
    from h5py import h5t

    shape, dtype, stored = dataset.shape, dataset.dtype, dataset.id.get_type()
    bytes_stored = dataset.id.get_storage_size()
    if bytes_stored > length:
        raise Unreadable("short", "declares more bytes than its file has")
    if 0 in shape:
        return np.empty(shape, dtype)
    if dataset.chunks is None:
        if bytes_stored != stored.get_size() * math.prod(shape):
            raise Unreadable("short", "stores fewer numbers than it declares")
        whole: NDArray[Any] = np.asarray(dataset[()])
        return whole
    filters = dataset.id.get_create_plist()
    kinds = [filters.get_filter(number)[0] for number in range(filters.get_nfilters())]
    _check_chunks(dataset, kinds)
    # What is checked by the library alone (checksums, numbers of uncommon widths) it may read, once each chunk is known
    # to unpack to its size. All else is kept as it is unpacked here.
    by_library = 3 in kinds or not stored.equal(h5t.py_create(dtype))
    chunk, itemsize = dataset.chunks, stored.get_size()
    array: NDArray[Any] = np.empty(() if by_library else shape, dtype)
    for corner in itertools.product(*(range(0, extent, step) for extent, step in zip(shape, chunk, strict=True))):
        skipped, raw = dataset.id.read_direct_chunk(corner)
        applied = [kind for number, kind in enumerate(kinds) if not skipped >> number & 1]
        content = _decoded(raw, applied, math.prod(chunk), itemsize)
        if not by_library:
            part = array[tuple(slice(begin, begin + step) for begin, step in zip(corner, chunk, strict=True))]
            part[...] = np.frombuffer(content, dtype).reshape(chunk)[tuple(map(slice, part.shape))]
    return np.asarray(dataset[()]) if by_library else array


def _check_chunks(dataset: Any, kinds: Sequence[int]) -> None:
    shape, chunk = dataset.shape, dataset.chunks
    if any(kind not in FILTERS for kind in kinds):
        raise Unreadable("filters", f"is packed by the filters {list(kinds)} of HDF5, wanted gzip or none")
    if math.prod(chunk) > 4 * math.prod(shape) + SLACK:
        raise Unreadable("chunks", f"is stored in chunks of {'x'.join(map(str, chunk))}, far beyond the map")
    chunks = math.prod(math.ceil(extent / step) for extent, step in zip(shape, chunk, strict=True))
    if chunks > CHUNKS:
        raise Unreadable("chunks", f"is stored in {chunks} chunks, wanted at most {CHUNKS}")
    written = dataset.id.get_num_chunks()
    if written != chunks:
        raise Unreadable("short", f"holds {written} of its {chunks} chunks: parts were never written")


def _decoded(raw: bytes, kinds: Sequence[int], count: int, itemsize: int) -> bytes:
    """The bytes of a chunk of ``count`` numbers: the library itself would unpack whatever a chunk holds."""
    size = count * itemsize
    for kind in reversed(kinds):
        if kind == 3:
            raw = raw[:-4]  # a checksum of HDF5's own
        elif kind == 1:
            stream = zlib.decompressobj()
            try:
                raw = stream.decompress(raw, size + 5)  # a checksum may follow the numbers
            except zlib.error as error:
                raise Unreadable("short", f"a chunk cannot be unpacked: {error}") from None
            if not stream.eof:
                if stream.unconsumed_tail:
                    raise Unreadable("bomb", f"a chunk unpacks to more than its {size} bytes")
                raise Unreadable("short", "a chunk is cut off")
        elif itemsize > 1 and len(raw) == size:
            planes, numbers = np.frombuffer(raw, np.uint8).reshape(itemsize, -1), np.empty((count, itemsize), np.uint8)
            for byte in range(itemsize):  # twice as fast as the transposed copy, or more
                numbers[:, byte] = planes[byte]
            raw = numbers.tobytes()
    if len(raw) != size:
        raise Unreadable("short", f"a chunk holds {len(raw)} bytes, wanted {size}")
    return raw
