"""Files that lie in a folder or still inside a .zip, by one kind of path: ``data/gtFine.zip/gtFine/val/x.png``.

Nothing is extracted. An archive is held to the rules of ``archives`` before a member is read; one that breaks any of
them is refused as a whole.
"""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path, PurePosixPath

from bench.core import archives
from bench.core.archives import Archive, Refused
from bench.core.errors import BadScores, MissingData
from bench.core.noted_files import note

SUFFIX = ".zip"
LARGEST = 2**28  # bytes of one member: an image of 8 times the pixels of Cityscapes, uncompressed, has 2**26


def split(path: Path) -> tuple[Path, str] | None:
    """The .zip that a path leads into and the name inside, empty for all of it; None for a path of plain folders."""
    if SUFFIX not in str(path).lower():
        return None
    for archive in (*reversed(path.parents), path):
        if archive.suffix.lower() == SUFFIX and archive.is_file():
            name = path.relative_to(archive).as_posix()
            return archive, "" if name == "." else name
    return None


def is_folder(path: Path) -> bool:
    """True for a folder, for a .zip, and for a folder inside one."""
    if inside := split(path):
        archive, name = inside
        return name in _opened(archive)[1]
    return path.is_dir()


def entries(folder: Path) -> tuple[Sequence[Path], Sequence[Path]]:
    """The folders and the files in a folder or a .zip, each sorted by name; hidden ones are passed over.

    Links are followed. Archives made on a Mac carry ``__MACOSX`` and a ``._name`` beside each name. Raise MissingData
    for a folder that cannot be listed and an archive that cannot be trusted.
    """
    if inside := split(folder):
        archive, name = inside
        folders, files = _opened(archive)[1].get(name, ((), ()))
        return [folder / child for child in folders], [folder / child for child in files]
    folders, files = [], []
    try:
        with os.scandir(folder) as listing:
            for entry in listing:
                if not entry.name.startswith(".") and entry.name != "__MACOSX":
                    (folders if entry.is_dir() else files).append(entry.name)
    except OSError as error:
        raise MissingData(f"{folder} cannot be listed: {error.strerror}") from None
    return [folder / child for child in sorted(folders)], [folder / child for child in sorted(files)]


def opened(path: Path) -> io.BufferedReader | io.BytesIO:
    """A file, or a member of a .zip, open for reading. Raise OSError as ``open`` does, MissingData for a bad member."""
    inside = split(path)
    note(inside[0] if inside else path)
    if inside is None or not inside[1]:
        if path.exists() and not path.is_file():  # a pipe would keep its reader waiting
            raise OSError(errno.EINVAL, "no regular file", str(path))
        return path.open("rb")
    archive, name = inside
    packed = _opened(archive)[0]
    if name not in packed.members:
        raise FileNotFoundError(2, "No such file or directory", str(path))
    try:
        return io.BytesIO(packed.read(name, LARGEST))
    except Refused as error:
        raise MissingData(f"{path} {error.text}") from None


def size(path: Path) -> int:
    """The bytes of a file, or of an unpacked member. Raise OSError as ``stat`` does."""
    inside = split(path)
    note(inside[0] if inside else path)
    if inside is None or not inside[1]:
        return path.stat().st_size
    packed = _opened(inside[0])[0]
    if inside[1] not in packed.members:
        raise FileNotFoundError(2, "No such file or directory", str(path))
    return packed.size(inside[1])


_Folders = dict[str, tuple[Sequence[str], Sequence[str]]]


def _opened(path: Path) -> tuple[Archive, _Folders]:
    status = path.stat()
    # A file that was opened before a fork would share its position with the parent's.
    return _listed(path, status.st_mtime_ns, status.st_size, os.getpid())


@lru_cache(maxsize=8)
def _listed(path: Path, _time: int, _size: int, _process: int) -> tuple[Archive, _Folders]:
    """An archive, and of each folder in it the names of its folders and files."""
    try:
        archive = archives.opened(path)
    except BadScores as error:
        raise MissingData(str(error)) from None
    if archive.failures:
        raise MissingData(f"{path}: {archive.failures[0]}; unpack it with care, or download it again")
    folders: dict[str, tuple[set[str], set[str]]] = {"": (set(), set())}
    for name in archive.members:
        *parents, last = PurePosixPath(name).parts
        for depth, parent in enumerate(parents):
            folders.setdefault("/".join(parents[:depth]), (set(), set()))[0].add(parent)
        folders.setdefault("/".join(parents), (set(), set()))[1].add(last)
    return archive, {name: (sorted(inner), sorted(files)) for name, (inner, files) in folders.items()}
