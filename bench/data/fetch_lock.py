"""``archives.lock`` beside a data set: what was fetched, by which content, and which terms were accepted.

Some publishers give an md5 or no checksum at all. The sha256 of what came first, and was whole, is kept there, and
whatever comes later is compared with it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from bench.core.errors import MissingData
from bench.core.files import writing

NAME = "archives.lock"
SCHEMA = 1


@dataclass(frozen=True)
class Fetched:
    """One archive that was whole."""

    sha256: str
    bytes: int
    address: str
    date: str
    entries: list[str]  # what it brought into its folder
    into: str = ""


@dataclass
class Lock:
    """The content of the file."""

    terms: dict[str, str] = field(default_factory=dict)  # that were accepted, by what they are the terms of
    files: dict[str, Fetched] = field(default_factory=dict)
    downloaded: dict[str, str] = field(default_factory=dict)  # archives to be unpacked, and their addresses


def read(root: Path) -> Lock:
    """Return the lock of a data set, an empty one where there is none. Raise MissingData for one that was damaged."""
    path = root / NAME
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        return TypeAdapter(Lock).validate_python({key: value for key, value in content.items() if key != "schema"})
    except FileNotFoundError:
        return Lock()
    except (OSError, ValueError, AttributeError, ValidationError) as error:
        reason = str(error).splitlines()[0]
        raise MissingData(f"{path} cannot be read: {reason}; mend it, or remove it to begin anew") from None


def write(root: Path, lock: Lock) -> None:
    """Write the lock of a data set whole."""
    with writing(root / NAME, "w") as file:
        file.write(json.dumps({"schema": SCHEMA} | asdict(lock), indent=1, sort_keys=True) + "\n")


def is_there(root: Path, fetched: Fetched) -> bool:
    """True while everything that an archive brought lies in its place."""
    return all((root / fetched.into / entry).exists() for entry in fetched.entries)
