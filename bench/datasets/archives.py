"""The files that publishers offer of each data set: addresses, size, checksum, terms, and where they are unpacked.

The facts stand in ``archives.toml``, and no other file of the project holds an address of data. For readers:

* ``obtain("muad", split="val")`` is the sentence for ``OnDisk.obtain``: the command that fetches what a reader with
  these parameters wants, the files with size and checksum, and their address or page. A parameter that no file asks
  for is of no account, so a reader may pass all of its own.
* ``of("muad")`` is the ``Source``: its ``page``, ``terms`` and ``files``; ``of("muad").file("val.zip").address``.
* ``wanted("muad", {"split": "val"})`` are the files that a reader with these parameters reads.

Words of the table, for a data set: ``page`` (of its publisher), ``terms``, ``files``, and ``check``, the parameters of
its reader that together read all of it (without it every value of what the reader must be told, and of ``when``); for a
file:

* ``file``: its name; ``*`` stands for all files of a record of Zenodo;
* ``url``: addresses in their order, none where a page with a form has to be used; those of Google Drive, Hugging Face
  and Zenodo are known by their host;
* ``bytes``, or ``about`` where the size is published in rounded numbers alone; ``sha256``, ``md5``, ``sha1``, or how
  they begin;
* ``when``: parameters of the reader, each with one value or a list, for which the file is read; without it always;
* ``extra``: no reader reads it, so that it is fetched only by its name;
* ``into``: the folder, in that of the data set, which its members are unpacked into; empty for the data set's own;
* ``keep``: the archive stays beside what was unpacked;
* ``needs``: other data sets without which this is of no use;
* ``account``: whose log-in a download wants (``cityscapes``, ``acdc``), or ``page`` where a person has to ask for it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from bench.core.errors import UnknownName

Account = Literal["", "cityscapes", "acdc", "page"]

TABLE = Path(__file__).with_suffix(".toml")
ALL = "*"  # the name of a file that stands for all files of a record


@dataclass(frozen=True)
class Archive:
    """One published file."""

    file: str
    url: tuple[str, ...] = ()
    bytes: int | None = None
    about: int | None = None
    sha256: str = ""
    md5: str = ""
    sha1: str = ""
    when: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    extra: bool = False
    into: str = ""
    keep: bool = False
    needs: tuple[str, ...] = ()
    account: Account = ""

    @property
    def address(self) -> str:
        """The first address; empty where a page has to be used."""
        return self.url[0] if self.url else ""

    @property
    def size(self) -> int | None:
        """Bytes, exact or rounded; None where nobody says."""
        return self.about if self.bytes is None else self.bytes

    @property
    def checksum(self) -> tuple[str, str]:
        """The strongest checksum as algorithm and hex digits, both empty without any."""
        sums = {"sha256": self.sha256, "sha1": self.sha1, "md5": self.md5}
        return next(((algorithm, digits) for algorithm, digits in sums.items() if digits), ("", ""))

    @property
    def facts(self) -> str:
        """Name, size and checksum in words."""
        algorithm, digits = self.checksum
        size = f"{self.bytes} bytes" if self.bytes is not None else in_words(self.about) if self.about else ""
        told = ", ".join(filter(None, (size, f"{algorithm} {digits}" if digits else "")))
        return f"{self.file} ({told})" if told else self.file

    def fits(self, params: Mapping[str, Any]) -> bool:
        """True if a reader with these parameters reads the file; a parameter that is not given rules nothing out."""
        return not self.extra and all(
            params.get(name) is None or params[name] in values for name, values in self.when.items()
        )


@dataclass(frozen=True)
class Source:
    """The published files of one data set."""

    name: str
    files: tuple[Archive, ...]
    page: str = ""
    terms: str = ""
    check: tuple[Mapping[str, Any], ...] = ()

    def file(self, name: str) -> Archive:
        """Return the file of that name. Raise UnknownName without any."""
        for archive in self.files:
            if archive.file == name:
                return archive
        raise UnknownName("file", name, [archive.file for archive in self.files], self.name)


@cache
def sources() -> Mapping[str, Source]:
    """Every data set of the table by name, in its order."""
    return read(TABLE)


def read(path: Path) -> Mapping[str, Source]:
    """Return what a table says, by name, in its order."""
    table: dict[str, dict[str, Any]] = tomllib.loads(path.read_text(encoding="utf-8"))
    return {
        name: Source(name, tuple(_archive(**row) for row in entry.pop("files")), **_words(entry))
        for name, entry in table.items()
    }


def of(name: str) -> Source:
    """Return what is published of a data set. Raise UnknownName for one that the table does not have."""
    if name not in sources():
        raise UnknownName("data set", name, sources(), "archives.toml")
    return sources()[name]


def wanted(name: str, params: Mapping[str, Any]) -> Sequence[Archive]:
    """Return the files that the reader of that name with these parameters reads."""
    return [archive for archive in of(name).files if archive.fits(params)]


def obtain(name: str, **params: Any) -> str:
    """Say, for an error, how to get what a reader with these parameters reads."""
    files, page = wanted(name, params), of(name).page
    needed = dict.fromkeys(other for archive in files for other in archive.needs)
    also = "".join(f"; it needs {other} too: '{command(other)}'" for other in needed)
    registered = " after registration" if any(archive.account for archive in files) else ""
    places = dict.fromkeys(page if archive.account else archive.address.rpartition("/")[0] for archive in files)
    where = files[0].address if len(files) == 1 and not registered else " and ".join(places)
    listed = " and ".join(archive.facts for archive in files)
    return f"'{command(name, **params)}' gets {listed} from {where}{registered}{also}"


def command(name: str, **params: Any) -> str:
    """Return the command that fetches what a reader with these parameters reads."""
    conditions = {key for archive in of(name).files for key in archive.when}
    options = ""
    for key in sorted(conditions & {key for key, value in params.items() if value is not None}):
        options += f" --version {params[key]}" if key == "version" else f" --part {params[key]}"
    return f"bench data fetch {name}{options}"


def in_words(size: int) -> str:
    """Return a number of bytes as people say it, such as 5.8 GB."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= factor:
            return f"{size / factor:.3g} {unit}"
    return f"{size} bytes"


def _words(entry: dict[str, Any]) -> dict[str, Any]:
    return entry | {"check": tuple(entry["check"])} if "check" in entry else entry


def _archive(**row: Any) -> Archive:
    row["when"] = {name: tuple(_values(values)) for name, values in row.get("when", {}).items()}
    for key in ("url", "needs"):
        row[key] = tuple(row.get(key, ()))
    return Archive(**row)


def _values(values: Any) -> Iterator[Any]:
    yield from values if isinstance(values, list) else [values]
