"""Archives of others, read without extracting anything: every name and every size is looked at before its content.

An archive is hostile until shown otherwise. Nothing is written, no link is followed, and memory holds one member, never
more than its rule allows.
"""

from __future__ import annotations

import hashlib
import stat
import struct
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO

from bench.core.errors import BadScores, MissingData

DIRECTORY = 2**25  # bytes of a zip's own listing: some 300,000 names
MEMBERS = 100_000
PIECE = 2**20
BROKEN = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError)
DEFLATE = 1032  # no byte of deflate unpacks to more than this
PLAIN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
Member = zipfile.ZipInfo | tarfile.TarInfo | Path
_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")


@dataclass(frozen=True)
class Failure:
    """A rule that a file does not keep."""

    rule: str  # a short name, such as ``dtype``
    file: str
    text: str

    def __str__(self) -> str:
        return f"{self.file}: {self.text} [{self.rule}]"


class Refused(Exception):
    """One file fails one rule."""

    def __init__(self, rule: str, text: str) -> None:
        super().__init__(text)
        self.rule, self.text = rule, text


@dataclass
class Archive:
    """A .zip, a plain .tar, or the folder that it would be made of, by names with forward slashes."""

    path: Path
    members: Mapping[str, Member]
    failures: list[Failure]
    strays: tuple[str, ...] = ()  # files that a Mac or an editor left
    folders: frozenset[str] = frozenset()  # that a zip names in entries of their own; of a folder all of its own
    _file: zipfile.ZipFile | tarfile.TarFile | None = field(default=None, repr=False)
    _alone: threading.Lock = field(default_factory=threading.Lock, repr=False)  # of who reads a .tar

    def size(self, name: str) -> int:
        """Size of a member in bytes, as it declares it."""
        member = self.members[name]
        if isinstance(member, Path):
            return member.stat().st_size
        return member.file_size if isinstance(member, zipfile.ZipInfo) else member.size

    def read(self, name: str, limit: int) -> bytes:
        """The content of a member, at most ``limit`` bytes. Raise Refused if it is larger, broken or cut off."""
        member = self.members[name]
        if self.size(name) > limit:
            raise Refused("size in bytes", f"unpacks to {self.size(name)} bytes, wanted at most {limit}")
        try:
            if isinstance(member, Path):
                with member.open("rb") as file:
                    return file.read(limit)
            with self._alone if isinstance(member, tarfile.TarInfo) else nullcontext(), self._opened(member) as stream:
                content = stream.read(limit + 1)  # zipfile stops at the declared size and compares the checksum
                stream.read(1)
        except BROKEN as error:
            raise Refused("whole", f"cannot be unpacked: {error}; pack or upload the archive again") from None
        if len(content) != self.size(name):
            raise Refused("whole", f"ends after {len(content)} of {self.size(name)} bytes; pack the archive again")
        return content

    def sha256(self, name: str) -> str:
        """64 hex digits of a member, read in pieces. Raise Refused if it is broken or cut off."""
        whole = hashlib.sha256()
        try:
            with self.stream(name) as stream:
                while piece := stream.read(PIECE):
                    whole.update(piece)
        except BROKEN as error:
            raise Refused("whole", f"cannot be unpacked: {error}; pack or upload the archive again") from None
        return whole.hexdigest()

    def stream(self, name: str) -> IO[bytes]:
        """Open a member for reading; its reads raise one of ``BROKEN`` where it is cut off or its checksum is wrong."""
        member = self.members[name]
        return member.open("rb") if isinstance(member, Path) else self._opened(member)

    def _opened(self, member: zipfile.ZipInfo | tarfile.TarInfo) -> IO[bytes]:
        if isinstance(member, zipfile.ZipInfo):
            assert isinstance(self._file, zipfile.ZipFile)  # noqa: S101 - no other has members of this kind
            return self._file.open(member)
        assert isinstance(self._file, tarfile.TarFile)  # noqa: S101
        stream = self._file.extractfile(member)
        assert stream is not None  # noqa: S101 - it is a regular file
        return stream

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def opened(path: Path, *, members: int = MEMBERS, directory: int = DIRECTORY) -> Archive:
    """List an archive's members. Raise BadScores if it is none; what single members break is among its failures.

    ``members`` and ``directory`` are how many there may be, and in how many bytes they may be listed.
    """
    if path.is_dir():
        return _folder(path)
    if not path.exists():
        raise MissingData(f"{path} does not exist; wanted a .zip or .tar, or the folder that it is made of")
    if not path.is_file():
        raise BadScores(f"{path} is no regular file, wanted a .zip, a .tar or a folder")
    if path.suffix.lower() == ".tar":
        return _tape(path, members)
    _check_directory(path, members, directory)
    try:
        listing = zipfile.ZipFile(path)
    except (*BROKEN, ValueError, OverflowError, struct.error) as error:
        raise BadScores(f"{path}: cannot be read as a .zip: {error}; is it truncated? [whole]") from None
    listed: dict[str, Member] = {}
    failures: list[Failure] = []
    strays: list[str] = []
    seen: set[str] = set()
    folders: set[str] = set()
    for info in listing.infolist():
        name = info.filename
        known = name in seen
        seen.add(name)
        if complaint := _complaint(info, known):
            failures.append(Failure(complaint.rule, repr(name)[1:-1][:200], complaint.text))
        elif info.is_dir():
            folders.add(name.rstrip("/"))
        elif is_stray(PurePosixPath(name)):
            strays.append(name)
        else:
            listed[name] = info
    return Archive(path, dict(sorted(listed.items())), failures, tuple(strays), frozenset(folders), listing)


def _tape(path: Path, most: int) -> Archive:
    """List a .tar that is not compressed: what it holds can be read in any order, and takes no more than it is long."""
    members: dict[str, Member] = {}
    failures: list[Failure] = []
    strays: list[str] = []
    try:
        tape = tarfile.open(path, "r:")  # noqa: SIM115 - whoever is given the archive closes it
        for count, member in enumerate(tape, 1):
            if count > most:
                raise BadScores(f"{path}: holds more than {most} members [zip bomb]")
            name = PurePosixPath(member.name)
            if complaint := _name_complaint(member.name, member.name in members) or _kind_complaint(member):
                failures.append(Failure(complaint.rule, repr(member.name)[1:-1][:200], complaint.text))
            elif is_stray(name):
                strays.append(member.name)
            elif member.isreg():
                members[member.name] = member
    except (*BROKEN, ValueError) as error:
        hint = "is it compressed, or truncated? wanted a plain .tar"
        raise BadScores(f"{path}: cannot be read as a .tar: {error}; {hint} [whole]") from None
    return Archive(path, dict(sorted(members.items())), failures, tuple(strays), _file=tape)


def _check_directory(path: Path, most: int, largest: int) -> None:
    """Hold the listing of a .zip to a size, before anybody reads it into memory."""
    length = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, length - _END.size - 2**16))
        tail = file.read()
        end = tail.rfind(b"PK\x05\x06")
        if end < 0 or len(tail) - end < _END.size:
            raise BadScores(f"{path}: has no end of a .zip: it is truncated, or no .zip at all; pack it again [whole]")
        _, _, _, _, members, size, _, _ = _END.unpack_from(tail, end)
        before = tail.rfind(b"PK\x06\x06", 0, end)
        if before >= 0 and end - before >= _END64.size:
            _, _, _, _, _, _, _, members, size, _ = _END64.unpack_from(tail, before)
        elif 0xFFFF in (members,) or size == 0xFFFFFFFF:
            raise BadScores(f"{path}: its end says zip64 and has none; pack it again [whole]")
    if size > largest or members > most:
        raise BadScores(
            f"{path}: lists {members} members in {size} bytes, wanted at most {most} in {largest} [zip bomb]"
        )


def _name_complaint(text: str, known: bool) -> Refused | None:
    name = PurePosixPath(text)
    if name.is_absolute() or ".." in name.parts or "\\" in text or ":" in text:
        return Refused("path traversal", "the name leads out of the archive; pack relative names with forward slashes")
    if any(ord(letter) < 32 for letter in text) or not text.strip("/"):
        return Refused("names", "the name holds characters that no file name should have")
    if known:
        return Refused("names", "stands in the archive twice; which one counts would be chance")
    return None


def _kind_complaint(member: tarfile.TarInfo) -> Refused | None:
    if member.issym() or member.islnk():
        return Refused("symlink", "is a link; wanted the file itself")
    if not (member.isdir() or member.isreg()) or member.issparse():
        return Refused("symlink", "is a device, a pipe or a sparse file; wanted a plain file")
    return None


def _complaint(info: zipfile.ZipInfo, known: bool) -> Refused | None:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if complaint := _name_complaint(info.filename, known):
        return complaint
    if kind == stat.S_IFLNK:
        return Refused("symlink", "is a symbolic link; wanted the file itself")
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return Refused("symlink", "is a device or a pipe; wanted a plain file")
    if info.flag_bits & 1:
        return Refused("encrypted", "is encrypted; pack the archive without a password")
    if info.compress_type not in PLAIN:
        return Refused("compression", f"is packed by method {info.compress_type}, wanted stored or deflated")
    if info.file_size > DEFLATE * max(info.compress_size, 1) + 2**16:
        return Refused(
            "zip bomb", f"says {info.file_size} bytes out of {info.compress_size}, more than deflate can unpack"
        )
    return None


def _folder(path: Path) -> Archive:
    members: dict[str, Member] = {}
    failures: list[Failure] = []
    strays: list[str] = []
    folders: set[str] = set()
    for entry in _walk(path):
        name = entry.relative_to(path).as_posix()
        if entry.is_symlink():
            failures.append(Failure("symlink", name, "is a symbolic link; wanted the file itself"))
        elif entry.is_dir():
            folders.add(name)
        elif not entry.is_file():
            failures.append(Failure("symlink", name, "is a device or a pipe; wanted a plain file"))
        elif is_stray(PurePosixPath(name)):
            strays.append(name)
        else:
            members[name] = entry
        if len(members) > MEMBERS:
            raise BadScores(f"{path}: holds more than {MEMBERS} files; name the folder of one submission")
    return Archive(path, dict(sorted(members.items())), failures, tuple(strays), frozenset(folders))


def _walk(folder: Path) -> Iterator[Path]:
    """Yield everything below a folder; links are named and not entered."""
    for entry in sorted(folder.iterdir()):
        yield entry
        if entry.is_dir() and not entry.is_symlink():
            yield from _walk(entry)


def is_stray(name: PurePosixPath) -> bool:
    """True for what a Mac, Windows or an editor leaves in a folder."""
    return any(part.startswith(".") or part == "__MACOSX" for part in name.parts) or name.name == "Thumbs.db"
