"""An archive made image by image: one file per map, each whole or absent, packed when all are there.

Killed at any point and called again, it goes on with the maps that are missing and ends with the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from bench.api import Labels, Part, Scores
from bench.contract.progress import Reporter
from bench.core import files
from bench.core.errors import BadPlugin
from bench.core.file_names import file_name
from bench.results import store
from bench.run import score_maps
from bench.submit import packing

RECORD = "submission.json"  # beside the archive: what it was made of


def write(
    choice: score_maps.Choice,
    archive: Path,
    parts: Sequence[Part],
    about: Mapping[str, Any],
    processes: int,
    reporter: Reporter,
) -> dict[str, Any]:
    """Make the archive and the record beside it, or go on where a killed call stopped. Returns the record.

    ``about`` is what else tells two archives apart. The folder of the archive is this call's alone meanwhile.
    """
    out = archive.parent
    for part in parts:  # before there is a folder: what is refused leaves none
        part.reader.check()
    with store.owned(out):
        stamps = {part.name: stamp(choice, part) for part in parts}
        made_from = {"maps": stamps} | dict(about)
        if record := _finished(archive, made_from):
            return record
        reporter.begin(sum(len(part.reader.ids()) for part in parts))
        sets = {part.name: _maps(choice, out, part, stamps[part.name], processes, reporter) for part in parts}
        packing.pack(archive, _members(out, parts), {root for part in parts for root in part.roots})
        record = {"schema": 1, "made_from": made_from, "archive": archive.name, "sha256": sha256(archive), "sets": sets}
        store.write_json(out / RECORD, record)
        shutil.rmtree(out / "work")
        return record


def maps(choice: score_maps.Choice, out: Path, part: Part, processes: int, reporter: Reporter) -> Path:
    """Write the maps of one set that no archive holds, or go on where a killed call stopped; return their folder.

    ``write`` removes it.
    """
    with store.owned(out):
        reporter.begin(len(part.reader.ids()))
        _maps(choice, out, part, stamp(choice, part), processes, reporter)
    return _folder(out, part)


def record_of(archive: Path) -> dict[str, Any] | None:
    """The record beside an archive, if there is one and it is about these bytes. It is data, and nothing is run."""
    path = archive.parent / RECORD
    if not archive.is_file() or not path.is_file():
        return None
    record = store.read_json(path)
    if not isinstance(record, dict) or record.get("sha256") != sha256(archive):
        return None
    return record


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def seconds(record: Mapping[str, Any]) -> float | None:
    """Seconds per image over all sets; None where no image was computed by the call that finished the archive."""
    images = sum(part["computed"] for part in record["sets"].values())
    spent = sum(part["seconds"] for part in record["sets"].values() if part["computed"])
    return round(spent / images, 4) if images else None


def _maps(
    choice: score_maps.Choice, out: Path, part: Part, made_with: str, processes: int, reporter: Reporter
) -> dict[str, Any]:
    """Every map of one set on disk; what is there already was made with the same things and stays."""
    folder = _folder(out, part)
    store.open_spool(folder, made_with, keep=False)
    ids = list(part.reader.ids())
    todo = [index for index, sample in enumerate(ids) if not _file(folder, part, sample).is_file()]
    reporter.advance(len(ids) - len(todo))
    spent = score_maps.every(choice, part.reader, todo, _ByFileName(part.sink(folder)), processes, reporter.advance)
    cost = {"frames": len(ids), "computed": spent.images, "seconds": round(spent.seconds, 3)}
    return cost | dict(part.summary(folder, [file_name(sample) for sample in ids]))


@dataclass(frozen=True)
class _ByFileName:
    """A sink that is given the name of a file in place of an id, which may be none."""

    sink: score_maps.Sink

    def __call__(self, sample: str, score: Scores | None, labels: Labels | None) -> None:
        self.sink(file_name(sample), score, labels)


def _file(folder: Path, part: Part, sample: str) -> Path:
    return folder / f"{file_name(sample)}{part.ending}"


def _member(part: Part, sample: str) -> str:
    """The name of a map in the archive. Raise BadPlugin for one that would be unpacked elsewhere."""
    member = part.member(sample)
    path = PurePosixPath(member)
    if path.is_absolute() or ".." in path.parts or "\\" in member or "\0" in member:
        raise BadPlugin(f"{part.name}: the member of {sample!r} is {member!r}, wanted a path within the archive")
    return member


def _members(out: Path, parts: Sequence[Part]) -> Iterator[tuple[str, Path]]:
    """Yield the members of an archive with the files that they hold."""
    for part in parts:
        folder = _folder(out, part)
        for sample in part.reader.ids():
            yield _member(part, sample), _file(folder, part, sample)
            yield from part.beside(folder, file_name(sample))


def _finished(archive: Path, made_from: Mapping[str, Any]) -> dict[str, Any] | None:
    record = record_of(archive)
    return record if record is not None and record.get("made_from") == made_from else None


def stamp(choice: score_maps.Choice, part: Part) -> str:
    """16 hex digits of what the maps of one set depend on."""
    parts = [choice.digest, part.made_with, part.reader.digest(), files.digest(Path(__file__))]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _folder(out: Path, part: Part) -> Path:
    return out / "work" / file_name(part.name)
