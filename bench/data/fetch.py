"""Published archives fetched into the folder that a reader reads: whole or not at all, and the same command goes on.

For each data set: what is there, what is to come and its terms; then for each archive download, checksum and unpacking,
and at the end the check of ``bench check``. ``archives.lock`` beside the data says what came.
"""

from __future__ import annotations

import dataclasses
import datetime
import itertools
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args, get_type_hints

from bench.api import Dataset
from bench.core import downloads, files, locks, unpacking
from bench.core.downloads import Address, Unreachable
from bench.core.errors import AbsentData, CannotWrite, MissingData, UsageError, UserError
from bench.data import fetch_lock, fetch_sources
from bench.data.fetch_lock import Fetched, Lock
from bench.data.fetch_sources import Wanted
from bench.datasets import archives
from bench.datasets.archives import ALL, Archive, Source, in_words
from bench.suite import registry

if TYPE_CHECKING:
    import requests

LOCK = ".fetch.lock"  # held while a data set is fetched

State = Literal["unpacked", "read", "archive", "part", "absent"]


class Told(Protocol):
    """The listener of a fetch."""

    def line(self, text: str) -> None:
        """Take a line that stays."""

    def begin(self, label: str) -> None:
        """Begin a bar of bytes: a file that is downloaded or unpacked."""

    def at(self, done: int, total: int | None) -> None:
        """So many bytes are done, of so many where that is known."""


@dataclass(frozen=True)
class Item:
    """One archive and what of it is here."""

    archive: Archive
    state: State
    here: int = 0  # bytes of what is downloaded and not yet unpacked

    @property
    def to_come(self) -> int | None:
        """Bytes to download; None where nobody says."""
        if self.state in ("unpacked", "read", "archive"):
            return 0
        return None if self.archive.size is None else max(0, self.archive.size - self.here)


@dataclass(frozen=True)
class Plan:
    """The files that a fetch of a data set would download, and where to."""

    source: Source
    root: Path
    items: Sequence[Item]
    accepted: bool  # the terms, by a fetch before

    @property
    def missing(self) -> Sequence[Item]:
        return [item for item in self.items if item.state not in ("unpacked", "read")]

    @property
    def cost(self) -> str:
        """The bytes to come in words."""
        sizes = [item.to_come for item in self.missing]
        known = sum(size for size in sizes if size)
        unknown = sum(size is None for size in sizes)
        more = f"{unknown} of unknown size" if unknown else ""
        return " and ".join(filter(None, (in_words(known) if known or not unknown else "", more)))


@dataclass(frozen=True)
class Options:
    """The user's choices for a fetch."""

    accept: bool = False
    wanted: Wanted = field(default_factory=Wanted)


def chosen(source: Source, parts: Sequence[str] = (), version: int | None = None) -> Sequence[Archive]:
    """Return the archives that ``parts`` and ``version`` name; without either all but the extra ones.

    A part is a file, or a value of a parameter of the reader, which brings the files that every value needs along.
    Raise UsageError for one that is neither.
    """
    known = {file.file: file for file in source.files}
    stems = {name.partition(".")[0]: file for name, file in known.items()} | known
    values = {str(value) for file in source.files for key in file.when for value in file.when[key] if key != "version"}
    if strangers := [part for part in parts if part not in values and part not in stems]:
        raise UsageError(f"{source.name} has no part {strangers[0]}; it has {', '.join(sorted(values) + list(known))}")
    if version is not None and not any(version in file.when.get("version", ()) for file in source.files):
        raise UsageError(f"{source.name} has no version {version}; leave --version out")

    def is_chosen(file: Archive) -> bool:
        if any(stems.get(part) is file for part in parts if part not in values):
            return True
        named = [part for part in parts if part in values]
        if file.extra or (parts and not named):
            return False
        told = {str(value) for key, of in file.when.items() if key != "version" for value in of}
        return (not told or not named or bool(told & {*named})) and (
            version is None or "version" not in file.when or version in file.when["version"]
        )

    if not (selected := [file for file in source.files if is_chosen(file)]):
        raise UsageError(f"{source.name} has no file for {' and '.join(parts)} in version {version}")
    return selected


def plan(source: Source, selected: Sequence[Archive], root: Path) -> Plan:
    """Look at what of some archives is here already."""
    lock = fetch_lock.read(root)
    read = [(params, _is_read(source.name, params)) for params in entries(source)]
    items = []
    for archive in selected:
        path = root / archive.file
        part = downloads.part_of(path)
        fetched = lock.files.get(archive.file)
        if fetched and fetch_lock.is_there(root, fetched):
            items.append(Item(archive, "unpacked"))
        elif (fits := [is_read for params, is_read in read if archive.fits(params)]) and all(fits):
            items.append(Item(archive, "read"))
        elif archive.file != ALL and path.is_file():
            items.append(Item(archive, "archive", path.stat().st_size))
        elif part.is_file():
            items.append(Item(archive, "part", part.stat().st_size))
        else:
            items.append(Item(archive, "absent"))
    return Plan(source, root, items, lock.terms.get(source.name) == source.terms)


def listed(plan: Plan) -> Iterator[str]:
    """Yield what is here of a data set and what the rest would cost, in lines."""
    yield f"{plan.source.name}: {plan.root}"
    states: Mapping[State, str] = {
        "unpacked": "complete", "read": "complete, not fetched by this program", "archive": "to be unpacked",
        "part": "cut off", "absent": "missing",
    }  # fmt: skip
    for item in plan.items:
        size = f", {in_words(item.archive.size)}" if item.archive.size else ""
        here = f" after {in_words(item.here)}" if item.state == "part" else ""
        account = ", with an account" if item.archive.account else ""
        algorithm, digits = item.archive.checksum
        told = f", {algorithm} {digits}" if digits else ", no published checksum"
        yield f"  {item.archive.file}: {states[item.state]}{here}{size}{account}{told}"
        yield from (f"    {address}" for address in item.archive.url or (plan.source.page,))
    yield f"  terms: {plan.source.terms}{' (accepted)' if plan.accepted else ''}"
    if plan.missing:
        yield f"  to download: {plan.cost}; {in_words(free(plan.root))} are free"


def free(root: Path) -> int:
    """Bytes that are free where a folder is, or will be."""
    nearest = next(folder for folder in (root.absolute(), *root.absolute().parents) if folder.exists())
    return shutil.disk_usage(nearest).free


def fetch(plan: Plan, options: Options, told: Told) -> None:
    """Fetch what is missing of a plan, and unpack it. Raise a UserError with what is done kept."""
    source, root = plan.source, plan.root
    for name, url in options.wanted.urls.items():
        downloads.check_address(url, f"--url {name}")
    if not plan.missing:
        told.line(f"{source.name}: complete in {root}")
        return
    told.line(
        f"{source.name}: {', '.join(item.archive.file for item in plan.missing)} ({plan.cost}) to {root}, where"
        f" {in_words(free(root))} are free; terms: {source.terms}"
    )
    if not (plan.accepted or options.accept):
        raise UsageError(
            f"{source.name} is given under terms: {source.terms}; nothing was downloaded: say --accept if you keep them"
        )
    _check_room(plan)
    refusal = f"{root}: another 'bench data fetch' is at work there; let it end, and run the same command again"
    with locks.owned(root, LOCK, CannotWrite(refusal)):
        lock = fetch_lock.read(root)
        if lock.terms.get(source.name) != source.terms:
            lock.terms[source.name] = source.terms
            fetch_lock.write(root, lock)
        with downloads.session() as over:
            for item in plan.missing:
                if item.archive.file == ALL:
                    _fetch_record(source, item.archive, root, lock, over, options.wanted, told)
                else:
                    _fetch_one(source, item.archive, root, lock, over, options.wanted, told)


def check(source: Source, selected: Sequence[Archive], told: Told) -> None:
    """Read what was fetched as ``bench check`` does. Raise MissingData for what is wrong with it."""
    names = {archive.file for archive in selected}
    for params in entries(source):
        files_read = {archive.file for archive in archives.wanted(source.name, params)}
        conditional = {archive.file for archive in archives.wanted(source.name, params) if archive.when}
        if not files_read or not (conditional or files_read) & names:
            continue
        reader = _reader(source.name, params)
        if reader is None:
            continue
        absent = [other for archive in selected if archive.fits(params) for other in archive.needs if _lacks(other)]
        label = f"{source.name}{''.join(f' {value}' for value in params.values())}"
        try:
            reader.check()
        except MissingData as error:
            if absent:
                told.line(f"{label}: not checked, it needs {absent[0]}: '{archives.command(absent[0])}'")
            elif not isinstance(error, AbsentData):  # else another archive of it was not asked for
                raise
            continue
        told.line(f"{label}: {reader.count} frames, as they must be")


def entries(source: Source) -> Sequence[Mapping[str, Any]]:
    """Return the parameters by which the reader of a data set reads all of it; none where there is no reader."""
    reader = registry.available("dataset").get(source.name)
    if reader is None or not dataclasses.is_dataclass(reader):
        return []
    if source.check:
        return source.check
    values: dict[str, Sequence[Any]] = {}
    for archive in source.files:
        for key, of in archive.when.items():
            values[key] = list(dict.fromkeys([*values.get(key, ()), *of]))
    hints = get_type_hints(reader)
    for known in dataclasses.fields(reader):
        if known.default is dataclasses.MISSING and known.default_factory is dataclasses.MISSING:
            values.setdefault(known.name, get_args(hints[known.name]))
    return [dict(zip(values, chosen_values, strict=True)) for chosen_values in itertools.product(*values.values())]


def needed(name: str, params: Mapping[str, Any]) -> Iterator[tuple[Source, Sequence[Archive]]]:
    """Yield the archives of a data set as a suite has it, and of those without which it is of no use, first."""
    selected = archives.wanted(name, params)
    for other in dict.fromkeys(other for archive in selected for other in archive.needs):
        if _lacks(other):
            yield from needed(other, {})
    yield archives.of(name), selected


def _fetch_record(
    source: Source, archive: Archive, root: Path, lock: Lock, over: requests.Session, wanted: Wanted, told: Told
) -> None:
    """Fetch every file of a record, and note them together under its name."""
    refusals = []
    for url in fetch_sources.addresses(source, archive, wanted):
        try:
            listed_files = fetch_sources.members(url, over)
            break
        except Unreachable as error:
            refusals.append(f"{Address(url)}: {error}")
    else:
        raise MissingData(f"{source.name}: {'; '.join(refusals)}; name another address with --url '{ALL}=URL'")
    for member in listed_files:
        if "/" in member.file or member.file.startswith("."):
            raise MissingData(f"{source.name}: its record names a file {member.file!r}, which is not to be trusted")
        known = lock.files.get(member.file)
        if not (known and fetch_lock.is_there(root, known)):
            _fetch_one(source, member, root, lock, over, wanted, told)
    fetched = [lock.files[member.file] for member in listed_files]
    lock.files[ALL] = Fetched(
        "",
        sum(each.bytes for each in fetched),
        archive.address,
        _today(),
        [name for each in fetched for name in each.entries],
    )
    fetch_lock.write(root, lock)


def _fetch_one(
    source: Source, archive: Archive, root: Path, lock: Lock, over: requests.Session, wanted: Wanted, told: Told
) -> None:
    """Bring one archive to disk, verify it, unpack it and note it."""
    path, into = root / archive.file, ""
    known = lock.files.get(archive.file)
    if not path.exists():
        lock.downloaded[archive.file], sha256 = _download(source, archive, path, known, over, wanted, told)
        fetch_lock.write(root, lock)
    else:
        sha256 = _verified(path, _sums(archive, known, {}))
    size, entries = _size(path), [archive.file]
    if path.is_file() and unpacking.is_archive(archive.file):
        into = archive.into
        entries = _unpacked(path, root / into, told)
    address = lock.downloaded.pop(archive.file, str(path))
    lock.files[archive.file] = Fetched(sha256, size, address, _today(), entries, into)
    fetch_lock.write(root, lock)
    if entries != [archive.file] and address != str(path) and not archive.keep:
        path.unlink()  # what somebody put there stays
    pinned = "" if archive.sha256 or not sha256 else f"; sha256 {sha256}, kept in {fetch_lock.NAME}"
    told.line(f"{source.name}: {archive.file} is in {root / into}{pinned}")


def _unpacked(path: Path, into: Path, told: Told) -> list[str]:
    """Unpack an archive, and return what it brought into the folder."""
    told.begin(f"unpack {path.name}")
    done = 0

    def progress(written: int) -> None:
        nonlocal done
        done += written
        told.at(done, None)

    return sorted(unpacking.unpack(path, into, progress=progress).entries)


def _verified(path: Path, sums: Mapping[str, str]) -> str:
    """Return the sha256 of a file that is there, empty for a folder. Raise MissingData for another checksum."""
    if path.is_dir():
        return ""
    computed = downloads.digests(path, "sha256", *sums)
    if wrong := _mismatch(computed, sums):
        raise MissingData(f"{path} has {wrong}; remove it, or put the right file there")
    return computed["sha256"]


def _size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder of Google Drive."""
    inner = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in inner if file.is_file())


def _download(
    source: Source,
    archive: Archive,
    path: Path,
    known: Fetched | None,
    over: requests.Session,
    wanted: Wanted,
    told: Told,
) -> tuple[str, str]:
    """Try the addresses in their order. Return which gave the file, and its sha256 (empty for a folder)."""
    tried = fetch_sources.addresses(source, archive, wanted)
    refusals: list[str] = []
    for url in tried:
        for again in (
            False,
            True,
        ):  # once more from the beginning, where a part was gone on with and the whole is wrong
            began = downloads.part_of(path).exists()
            told.begin(archive.file)
            try:
                if fetch_sources.is_drive(url):
                    fetch_sources.from_drive(url, path, told.at)
                    address, sums = url, _sums(archive, known, {})
                    if path.is_dir():
                        return url, ""
                else:
                    offer = fetch_sources.offer(url, archive, over, wanted)
                    address, sums = str(offer.address), _sums(archive, known, offer.sums)
                    size = archive.bytes if archive.bytes is not None else offer.size
                    downloads.fetch(
                        offer.address,
                        path,
                        over=offer.session or over,
                        pinned=bool(sums),
                        size=size,
                        progress=told.at,
                    )
            except Unreachable as error:
                refusals.append(f"{Address(url)}: {error}")
                break
            computed = downloads.digests(downloads.part_of(path), "sha256", *sums)
            wrong = _mismatch(computed, sums)
            if not wrong:
                downloads.settle(path)
                return address, computed["sha256"]
            downloads.discard(path)
            if again or not began:
                refusals.append(f"{address}: {wrong}")
                break
    by_hand = f"put it into {path.parent} and run the same command again, or name an address: --url {archive.file}=URL"
    if not tried:
        raise MissingData(f"{source.name}: {archive.file} is given on {source.page} after registration; {by_hand}")
    raise MissingData(f"{source.name}: {archive.file} was not to be had ({'; '.join(refusals)}); {by_hand}")


def _sums(archive: Archive, known: Fetched | None, told: Mapping[str, str]) -> dict[str, str]:
    """Return what a file is compared with, by algorithm: the table, what came first, and what the server says."""
    table = {name: digits for name in ("sha256", "sha1", "md5") if (digits := getattr(archive, name))}
    first = {"sha256": known.sha256} if known and known.sha256 else {}
    sums = {**told, **first, **table}
    if len(table.get("sha256", "")) < len(first.get("sha256", "")):  # only its beginning is published
        sums |= first
    return sums


def _mismatch(computed: Mapping[str, str], wanted: Mapping[str, str]) -> str:
    """Return the first checksum that differs, in words; empty where none does."""
    differing = (name for name, digits in wanted.items() if not computed[name].startswith(digits))
    return next((f"{name} {computed[name]}, wanted {wanted[name]}" for name in differing), "")


def _check_room(plan: Plan) -> None:
    """Raise CannotWrite where the sizes that are known do not fit: what is to come, and as much again to unpack it."""
    to_come = sum(item.to_come or 0 for item in plan.missing)
    unpacked = sum(item.archive.size or 0 for item in plan.missing)
    if (room := free(plan.root)) < to_come + unpacked:
        raise CannotWrite(
            f"{plan.root}: {in_words(to_come)} are to be downloaded and about {in_words(unpacked)} to be unpacked, and"
            f" {in_words(room)} are free; free some space, or choose another folder with --to"
        )


def _reader(name: str, params: Mapping[str, Any]) -> Any:
    """Return a reader of a data set of the table; None where there is none, or none by these parameters."""
    if name not in registry.available("dataset"):
        return None
    try:
        return registry.build("dataset", name, dict(params), where="bench data fetch")
    except UserError:
        return None


def _is_read(name: str, params: Mapping[str, Any]) -> bool:
    """True where a reader finds all its files, whoever put them there."""
    reader: Dataset | None = _reader(name, params)
    try:
        return reader is not None and bool(reader.ids())
    except UserError:
        return False


def _lacks(name: str) -> bool:
    """True where nothing of a data set lies in its folder."""
    root = files.data(name)
    return not (root.is_dir() and any(not entry.name.startswith(".") for entry in root.iterdir()))


def _today() -> str:
    return datetime.datetime.now(datetime.UTC).date().isoformat()
