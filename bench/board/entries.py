"""The folder of a board, read as the work of strangers; what breaks its rules is a ``Fault`` with the entry's name.

BOARD/board.yaml               title, note and address of the site
BOARD/definitions.json         the versions of protocols and the digests of data that figures may stand on
BOARD/entries/ID/DATE/         one version of an entry, never changed again; a second one of a day is DATE.2
    entry.json                 what it is called, who added it, links; of a claimed entry its figures
    run.json, cells/           of a measured entry: a run directory of one method on one network, see
                               ``bench.results.store``, without slices, tags, counts and pictures
"""

from __future__ import annotations

import json
import re
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple
from urllib.parse import urlsplit

import pydantic
from pydantic import BaseModel, ConfigDict, ValidationError

from bench.core import yaml_text
from bench.core.errors import BadPublished, BadYaml, MissingData, UserError
from bench.core.printable import one_line, shortened
from bench.core.suggestions import sibling
from bench.report import published
from bench.report.published import Published
from bench.results import store
from bench.results.run_files import Damaged
from bench.results.store import Result

ABOUT, DEFINITIONS, ENTRIES, ENTRY = "board.yaml", "definitions.json", "entries", "entry.json"
SCHEMA: Final = 1  # of entry.json and definitions.json
LARGEST = 2**20  # bytes of an entry.json; cells have a limit of their own
DEEPEST = 12  # levels of its lists and mappings
LONGEST = 600  # characters of a note
STRICT = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)
VERSION = re.compile(r"(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})(?:\.(?P<number>[2-9]|[1-9][0-9]))?")


def _line(text: str) -> str:
    if text != text.strip() or text != one_line(text):
        raise ValueError("wanted printable words on one line, without spaces around them")
    return text


def _link(text: str) -> str:
    """Take an address that a reader may follow: no script, no data, no name and password in it."""
    if not text:
        return text
    try:
        parts = urlsplit(text)
        host = parts.hostname
    except ValueError:
        host = None
    plain = re.fullmatch(r"""https?://[^\s"'<>\\^`{|}]+""", text, re.ASCII)
    if not plain or not host or "@" in parts.netloc:
        raise ValueError("wanted an address that begins with https:// or http://")
    return text


def _day(text: str) -> str:
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text, re.ASCII):
        raise ValueError("wanted a day such as 2026-11-29")
    date.fromisoformat(text)
    return text


Name = Annotated[str, pydantic.Field(min_length=1, max_length=120), pydantic.AfterValidator(_line)]
Words = Annotated[str, pydantic.Field(max_length=LONGEST), pydantic.AfterValidator(_line)]
Link = Annotated[str, pydantic.Field(max_length=LONGEST), pydantic.AfterValidator(_link)]
Day = Annotated[str, pydantic.AfterValidator(_day)]


class About(BaseModel):
    """The content of board.yaml."""

    model_config = STRICT

    title: Name
    note: Words = ""
    address: Link = ""  # of the site, for the feed


class Entry(BaseModel):
    """The content of entry.json."""

    model_config = STRICT

    schema_: Annotated[Literal[1], pydantic.Field(alias="schema")] = SCHEMA
    kind: Literal["measured", "claimed"]
    name: Name  # what rows call the method; of figures without a method the network
    network: Name
    added: Day
    by: Annotated[str, pydantic.Field(max_length=120), pydantic.AfterValidator(_line)] = ""
    anonymous: bool = False
    paper: Link = ""
    code: Link = ""
    checkpoint: Link = ""
    note: Words = ""
    of: str = ""  # claimed: the id of the measured entry that these figures are claimed of
    differs: Words = ""  # claimed: why they are not those that were measured
    figures: tuple[Mapping[str, str], ...] = ()  # claimed: rows of docs/published.md, empty columns left out

    @property
    def links(self) -> dict[str, str]:
        """The addresses that there are, by what they lead to."""
        links = {"paper": self.paper, "code": self.code, "checkpoint": self.checkpoint}
        return {name: address for name, address in links.items() if address}

    @property
    def title(self) -> str:
        """Such as ``energy on toynet``."""
        return self.name if self.name == self.network else f"{self.name} on {self.network}"


class KnownProtocol(BaseModel):
    """A definition that figures of the board may have."""

    model_config = STRICT

    name: str
    params: dict[str, Any]
    version: str


class KnownData(BaseModel):
    """Images and labels that figures of the board may be of."""

    model_config = STRICT

    label: Name  # of the column
    name: str
    params: dict[str, Any]
    digest: str


class Definitions(BaseModel):
    """The content of definitions.json."""

    model_config = STRICT

    schema_: Annotated[Literal[1], pydantic.Field(alias="schema")] = SCHEMA
    protocols: tuple[KnownProtocol, ...] = ()
    data: tuple[KnownData, ...] = ()

    def knows_protocol(self, result: Result) -> bool:
        """Return True if figures of that definition may stand on the board."""
        return protocol_of(result) in self.protocols

    def data_of(self, result: Result) -> KnownData | None:
        """Return the data set that a result is of; None where it is not on the board with that digest."""
        name, params, digest, _ = data_of(result)
        same = (each for each in self.data if (each.name, each.params, each.digest) == (name, params, digest))
        return next(same, None)


class Fault(NamedTuple):
    """Something wrong with an entry."""

    entry: str  # its id, with the version where it is one; the name of a file for those of the whole board
    problem: str

    def __str__(self) -> str:
        return shortened(one_line(f"{self.entry}: {self.problem}"))


@dataclass(frozen=True)
class Version:
    """An entry as it was added on one day."""

    id: str
    day: str  # the name of its folder
    path: Path
    entry: Entry
    results: tuple[Result, ...] = ()  # of a measured one
    figures: tuple[Published, ...] = ()  # of a claimed one

    @property
    def address(self) -> str:
        """Return its folder under those of entries, such as ``energy-on-toynet/2026-11-29``."""
        return f"{self.id}/{self.day}"

    @property
    def order(self) -> tuple[str, int, str]:
        """Return a key that sorts versions by time, and by name within a day."""
        return (*_numbered(self.day), self.id)


@dataclass(frozen=True)
class Board:
    """A board as it lies on disk."""

    path: Path
    about: About
    definitions: Definitions
    versions: tuple[Version, ...]  # those that can be read, by time
    faults: tuple[Fault, ...]  # of those that cannot

    @property
    def newest(self) -> tuple[Version, ...]:
        """The last version of each entry, by time."""
        last = {version.id: version for version in self.versions}
        return tuple(sorted(last.values(), key=lambda version: version.order))

    def history(self, entry: str) -> tuple[Version, ...]:
        """The versions of an entry, by time."""
        return tuple(version for version in self.versions if version.id == entry)


def entry_id(name: str, network: str) -> str:
    """Return the name of the folder of an entry: lower case, of letters, digits, dots, dashes and underscores."""
    words = name if name == network else f"{name} on {network}"
    return re.sub(r"[^a-z0-9._]+", "-", words.lower()).strip("-._")[:100].rstrip("-._") or "entry"


def protocol_of(result: Result) -> KnownProtocol:
    """Return the definition that a result was read by."""
    ref = result.cell.protocol
    version = result.about.get("protocol", {}).get("version")
    return KnownProtocol(name=ref.name, params=dict(ref.params), version="" if version is None else str(version))


def data_of(result: Result) -> tuple[str, dict[str, Any], str, str]:
    """Return name, parameters, digest and label of the data set of a result.

    ``depends`` has the digest of the reader's code before that of images and labels; the code may change and read the
    same.
    """
    ref = result.cell.dataset
    digest = str(result.depends.get("dataset", "")).rpartition(" ")[2]
    return ref.name, dict(ref.params), digest, ref.label


def read(path: Path) -> Board:
    """Return what lies in the folder of a board; entries that cannot be read are faults of it.

    Raise MissingData or BadYaml where the folder is no board at all.
    """
    if not (path / ABOUT).is_file():
        advice = "" if path.exists() else sibling(path)
        raise MissingData(f"{path} is no board: it has no {ABOUT}; 'bench board new {path}' makes one{advice}")
    faults: list[Fault] = []
    definitions = Definitions()
    try:
        definitions = Definitions.model_validate_json(json.dumps(_json(path / DEFINITIONS)))
    except _Refused as error:
        faults.append(Fault(DEFINITIONS, str(error)))
    except ValidationError as error:
        faults.append(Fault(DEFINITIONS, _first(error)))
    versions: list[Version] = []
    with store.uncollected():
        for folder in _folders(path / ENTRIES, faults):
            for each in _folders(folder, faults, folder.name):
                address = f"{folder.name}/{each.name}"
                try:
                    versions.append(_version(each, folder.name))
                except _Refused as error:
                    faults.append(Fault(address, str(error)))
    return Board(path, _about(path), definitions, tuple(sorted(versions, key=lambda each: each.order)), tuple(faults))


class _Refused(Exception):
    """Return what is wrong with a file of an entry, on one line."""


def _about(path: Path) -> About:
    content = yaml_text.read(path / ABOUT)
    try:
        return About.model_validate(content)
    except ValidationError as error:
        raise BadYaml(f"{path / ABOUT}: {_first(error)}") from None


def _first(error: ValidationError) -> str:
    """The first thing that is wrong, with where it stands."""
    first = error.errors(include_url=False)[0]
    where = ".".join(map(str, first["loc"])) or "it"
    problem = str(first["msg"]).removeprefix("Value error, ")
    return f"{where} is {reprlib.repr(first['input'])}: {problem[:1].lower()}{problem[1:]}"


def _folders(path: Path, faults: list[Fault], entry: str = "") -> Iterator[Path]:
    """The folders in a folder of the board, sorted; whatever else lies there is a fault."""
    for each in sorted(path.iterdir()) if path.is_dir() and not path.is_symlink() else ():
        if each.is_dir() and not each.is_symlink():
            yield each
        elif each.name != ".gitkeep":
            shown = shortened(one_line(each.name), 80)
            problem = "is a link" if each.is_symlink() else "is a file"
            faults.append(Fault(entry or shown, f"{shown} {problem}, wanted a folder; remove it"))


def _version(path: Path, entry: str) -> Version:
    if not VERSION.fullmatch(path.name):
        raise _Refused("the folder's name is no day such as 2026-11-29, or 2026-11-29.2")
    _inside(path)
    try:
        content = Entry.model_validate_json(json.dumps(_json(path / ENTRY)))
    except ValidationError as error:
        raise _Refused(f"{ENTRY}: {_first(error)}") from None
    if content.kind == "claimed":
        return Version(entry, path.name, path, content, figures=tuple(_figures(content, f"{entry}/{path.name}")))
    if content.figures or content.of or content.differs:
        raise _Refused(f"{ENTRY}: figures, of and differs are those of a claimed entry, and this one is measured")
    return Version(entry, path.name, path, content, results=_results(path))


def _inside(path: Path) -> None:
    """Refuse links, and files that no entry has."""
    for each in sorted(path.rglob("*")):
        name = each.relative_to(path).as_posix()
        if each.is_symlink():
            raise _Refused(f"{shortened(one_line(name), 80)} is a link; put the file itself there")
        known = name in (ENTRY, "run.json", "cells") or re.fullmatch(r"cells/[0-9a-f]{16}\.(json|npz)", name)
        if not known:
            raise _Refused(f"{shortened(one_line(name), 80)} is no file of an entry; remove it")


def _results(path: Path) -> tuple[Result, ...]:
    try:
        run = store.read_run(path)
        for result in run.results:
            run.replicates(result)
    except Damaged as error:
        raise _Refused(f"{error.path.relative_to(path)} {error.problem}") from None
    except UserError as error:
        raise _Refused(str(error).replace(f"{path}/", "").replace(str(path), "it")) from None
    keys = {result.key for result in run.results}
    beside = sorted(each.stem for each in (path / "cells").glob("*") if each.stem not in keys)
    if run.missing or beside:
        raise _Refused(f"run.json and cells/ do not hold the same cells: {(beside or ['some are absent'])[0]}")
    return run.results


def _figures(entry: Entry, where: str) -> Iterator[Published]:
    for number, row in enumerate(entry.figures, 1):
        if unknown := sorted(row.keys() - set(published.COLUMNS)):
            raise _Refused(f"{ENTRY}: figure {number} has {unknown[0]!r}, which is no column of docs/published.md")
        try:
            yield published.read_row([row.get(name, "") for name in published.COLUMNS], f"figure {number}")
        except BadPublished as error:
            raise _Refused(f"{ENTRY}: {error}") from None


def _json(path: Path) -> Any:
    """Return what a file of JSON holds: no key twice, so that a reader and the program see the same."""
    if not path.is_file() or path.is_symlink():
        raise _Refused(f"{path.name} is absent")
    content = path.read_bytes() if path.stat().st_size <= LARGEST else None
    if content is None:
        raise _Refused(f"{path.name} has more than {LARGEST} bytes")
    try:
        raw = json.loads(content.decode("utf-8"), object_pairs_hook=_object, parse_constant=_no_number)
    except RecursionError:
        raise _Refused(f"{path.name}: lists and mappings stand too deep") from None
    except ValueError as error:
        raise _Refused(f"{path.name} is no JSON: {shortened(one_line(str(error)), 200)}") from None
    if _levels(raw) > DEEPEST:
        raise _Refused(f"{path.name}: lists and mappings stand more than {DEEPEST} deep")
    return raw


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for key, value in pairs:
        if key in content:
            raise ValueError(f"the key {key!r} stands twice")
        content[key] = value
    return content


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no number of JSON")


def _levels(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(_levels, inner), default=0)


def _numbered(day: str) -> tuple[str, int]:
    match = VERSION.fullmatch(day)
    return (match["day"], int(match["number"] or 1)) if match else (day, 0)
