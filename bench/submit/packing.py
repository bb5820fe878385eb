"""Files packed into one archive, .zip or .tar, whose bytes depend on the files alone."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

from bench.core.files import writing

EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a .zip can say
PLAIN_FILE, PLAIN_FOLDER = 0o100644, 0o040755
MSDOS_FOLDER = 0x10


def pack(out: Path, members: Iterable[tuple[str, Path]], roots: Iterable[str] = ()) -> None:
    """Write ``out`` by rename: sorted names, one time, one mode, no further compression. Streams file by file.

    Its ending says which kind: ``.zip``, or ``.tar``. ``roots`` are folders that a zip names in entries of their own.
    """
    if out.suffix == ".tar":
        _tar(out, sorted(members))
    else:
        _zip(out, sorted(members), sorted(roots))


def _zip(out: Path, members: Iterable[tuple[str, Path]], roots: Iterable[str]) -> None:
    with writing(out) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, strict_timestamps=True) as archive:
        for root in roots:
            info = zipfile.ZipInfo(f"{root}/", EPOCH)
            info.create_system = 3
            info.external_attr = PLAIN_FOLDER << 16 | MSDOS_FOLDER
            archive.writestr(info, b"")
        for name, path in members:
            info = zipfile.ZipInfo(name, EPOCH)
            info.create_system = 3  # Unix, wherever this runs
            info.external_attr = PLAIN_FILE << 16
            archive.writestr(info, path.read_bytes())


def _tar(out: Path, members: Iterable[tuple[str, Path]]) -> None:
    with writing(out) as file, tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, path in members:
            content = path.read_bytes()
            info = tarfile.TarInfo(name)  # time 0, mode 644, nobody's
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
