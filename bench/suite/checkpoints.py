"""Published weights by name: where they are, how their content begins, and by which file name they are kept."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from bench.core import files
from bench.core.errors import UnknownName
from bench.datasets import archives
from bench.datasets.archives import Archive, Source

FOLDER = "checkpoints"  # in $BENCH_HOME
TABLE = Path(__file__).with_suffix(".toml")


@cache
def sources() -> Mapping[str, Source]:
    """Every name of the table, in its order."""
    return archives.read(TABLE)


def of(name: str) -> Source:
    """Return what is published under a name. Raise UnknownName for one that the table does not have."""
    if name not in sources():
        raise UnknownName("checkpoint", name, sources(), "models fetch")
    return sources()[name]


def root() -> Path:
    """The folder that weights are kept in. Raise MissingData where this user has none."""
    return files.home() / FOLDER


def command(file: str) -> str:
    """Return the command that fetches a file of that name; empty for one that the table does not have."""
    for name, source in sources().items():
        if any(file in _results(archive) for archive in source.files):
            return f"bench models fetch {name}"
    return ""


def _results(archive: Archive) -> tuple[str, ...]:
    return (archive.file, archive.into) if archive.into else (archive.file,)
