"""Archives of strangers (zip, tar, tar.gz) unpacked whole or not at all, by the rules that ``archives`` has for a zip.

Members are written into a folder beside their place, one by one and as plain files, whatever the archive says of modes,
owners and links: a link, a device, a name that leads out, a name that stands twice and a bomb end it, and the folder is
removed. Only when all have been written do they go to their place, by renaming.
"""

from __future__ import annotations

import contextlib
import filecmp
import lzma
import shutil
import tarfile
import zlib
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO

from bench.core import archives
from bench.core.errors import FULL, BadScores, CannotWrite, MissingData
from bench.core.files import cannot_write
from bench.core.printable import shortened

MEMBERS, DIRECTORY = 2_000_000, 2**28  # of an archive of data: train2017.zip of COCO has 118288
GROWTH, SLACK = 200, 2**30  # an archive may unpack to so many times its bytes, and so many more
ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
PIECE = 2**20
PARTS = 60  # folders in each other
DOCUMENTS = ("readme", "license", "licence")  # how files begin that several archives of one publisher have
BROKEN = (*archives.BROKEN, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError)

_Members = Generator[tuple[str, IO[bytes]], None, None]  # names and contents
Progress = Callable[[int], None]  # bytes that were written since


@dataclass
class Unpacked:
    """The members and bytes that an archive was unpacked to."""

    members: int = 0
    bytes: int = 0
    entries: set[str] = field(default_factory=set)  # what lies in the folder itself


def is_archive(name: str) -> bool:
    """True for a file name that ends as an archive that can be unpacked here."""
    return name.lower().endswith(ENDINGS)


def unpack(archive: Path, into: Path, *, progress: Progress | None = None) -> Unpacked:
    """Unpack an archive into a folder, which may exist. Raise MissingData for one that breaks a rule.

    Files that are there already stay if they are equal; where one is another, nothing is unpacked. Raise CannotWrite
    for that and for a full disk.
    """
    staging = into / f".unpacking-{archive.name}"
    try:
        shutil.rmtree(staging, ignore_errors=True)  # of a process that was killed
        staging.mkdir(parents=True)
        unpacked = _written(archive, staging, progress)
        merge(staging, into)
    except OSError as error:
        if error.errno in FULL:
            raise CannotWrite(
                f"{into}: no room left to unpack {archive.name}; free some space and run the same command again"
            ) from error
        raise cannot_write(into, error) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        with contextlib.suppress(OSError):
            into.rmdir()  # where nothing has come into a new folder
    return unpacked


def merge(staging: Path, into: Path) -> None:
    """Move what lies in one folder into another, all of it or nothing. Raise CannotWrite where another file is."""
    moves = list(_moves(staging, into))
    done: list[tuple[Path, Path]] = []
    try:
        for source, target in moves:
            source.rename(target)
            done.append((source, target))
    except BaseException:
        for source, target in reversed(done):
            target.rename(source)
        raise


def _moves(source: Path, target: Path) -> Iterator[tuple[Path, Path]]:
    """Yield the renames that bring one folder into another; a folder that is new is one of them."""
    for entry in sorted(source.iterdir()):
        destination = target / entry.name
        if not destination.exists() and not destination.is_symlink():
            yield entry, destination
        elif entry.is_dir() and destination.is_dir():
            yield from _moves(entry, destination)
        elif entry.is_dir() or not destination.is_file():
            kind = "a folder" if entry.is_dir() else "a file"
            raise CannotWrite(f"{destination} is in the way: the archive has {kind} there; remove it")
        elif not entry.name.lower().startswith(DOCUMENTS) and not filecmp.cmp(entry, destination, shallow=False):
            raise CannotWrite(
                f"{destination} is there already and differs; remove it, or choose another folder with --to"
            )


def _written(archive: Path, staging: Path, progress: Progress | None) -> Unpacked:
    most = GROWTH * archive.stat().st_size + SLACK
    unpacked = Unpacked()
    names: set[str] = set()
    zipped = archive.name.lower().endswith(".zip") or _begins_as_zip(archive)
    members = _zipped(archive, most) if zipped else _tarred(archive)
    with contextlib.closing(members):
        for name, stream in members:
            path = _target(archive, name, names)
            unpacked.members += 1
            unpacked.entries.add(path.parts[0])
            if unpacked.members > MEMBERS:
                raise _refused(archive, name, f"is one of more than {MEMBERS} members", "zip bomb")
            out = staging / path
            out.parent.mkdir(parents=True, exist_ok=True)
            with out.open("xb") as file:
                while piece := _read(stream, archive, name):
                    unpacked.bytes += len(piece)
                    if unpacked.bytes > most:
                        raise _refused(archive, name, f"brings what is unpacked to more than {most} bytes", "zip bomb")
                    file.write(piece)
                    if progress:
                        progress(len(piece))
    if not unpacked.members:
        raise MissingData(f"{archive} holds no file; download it again")
    return unpacked


def _begins_as_zip(archive: Path) -> bool:
    with archive.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def _zipped(archive: Path, most: int) -> _Members:
    try:
        listing = archives.opened(archive, members=MEMBERS, directory=DIRECTORY)
    except BadScores as error:
        raise MissingData(str(error)) from None
    try:
        if listing.failures:
            raise MissingData(f"{archive}: {listing.failures[0]}; nothing was unpacked")
        if (whole := sum(listing.size(name) for name in listing.members)) > most:
            raise MissingData(f"{archive}: says that it unpacks to {whole} bytes, wanted at most {most} [zip bomb]")
        if (free := shutil.disk_usage(archive.parent).free) < whole:
            raise CannotWrite(
                f"{archive}: no room left: it unpacks to {whole} bytes and {free} are free; free some space and run the"
                f" same command again"
            )
        for name in listing.members:
            try:
                stream = listing.stream(name)
            except BROKEN as error:
                raise _refused(archive, name, f"cannot be unpacked: {error}", "whole") from None
            with stream:
                yield name, stream
    finally:
        listing.close()


def _tarred(archive: Path) -> _Members:
    try:
        tape = tarfile.open(archive, "r:*")  # noqa: SIM115 - closed below; members are written by us, never extracted
    except (*BROKEN, ValueError) as error:
        reason = f"cannot be read as an archive: {error}; is it truncated, or a page?"
        raise MissingData(f"{archive}: {reason} [whole]") from None
    with tape:
        while True:
            try:
                member = tape.next()
            except (*BROKEN, ValueError) as error:
                raise MissingData(f"{archive}: cannot be unpacked: {error}; download it again [whole]") from None
            if member is None:
                return
            tape.members = []  # type: ignore[attr-defined] # it would grow with every member
            if member.isdir():
                continue
            if member.issym() or member.islnk():
                raise _refused(archive, member.name, "is a link; wanted the file itself", "symlink")
            if not member.isreg():
                raise _refused(archive, member.name, "is a device or a pipe; wanted a plain file", "symlink")
            name = PurePosixPath(member.name)
            if ".." not in name.parts and archives.is_stray(name):
                continue
            stream = tape.extractfile(member)
            assert stream is not None  # noqa: S101 - a regular member has content
            yield member.name, stream


def _target(archive: Path, name: str, names: set[str]) -> Path:
    """Return the relative path of a member, and note it. Raise MissingData for a name that is not to be trusted."""
    path = PurePosixPath(name)
    parts = [part for part in path.parts if part != "."]
    if path.is_absolute() or ".." in parts or "\\" in name or ":" in name:
        raise _refused(archive, name, "the name leads out of the archive", "path traversal")
    if not parts or len(parts) > PARTS or any(ord(letter) < 32 for letter in name):
        raise _refused(archive, name, "the name holds characters that no file name should have", "names")
    plain = "/".join(parts)
    if plain in names:
        raise _refused(archive, name, "stands in the archive twice; which one counts would be chance", "names")
    names.add(plain)
    return Path(*parts)


def _read(stream: IO[bytes], archive: Path, name: str) -> bytes:
    try:
        return stream.read(PIECE)
    except BROKEN as error:
        raise _refused(archive, name, f"cannot be unpacked: {error}", "whole") from None


def _refused(archive: Path, name: str, text: str, rule: str) -> MissingData:
    return MissingData(f"{archive}: {shortened(repr(name)[1:-1], 200)}: {text} [{rule}]; nothing was unpacked")
