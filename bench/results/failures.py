"""Why cells have no figures: RUN/failures.json, and causes that several cells share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import BaseModel, RootModel

from bench.results import file_schema, run_files, store

NAME = "failures.json"


@dataclass(frozen=True)
class Failed:
    """A cell that has no figures, and why."""

    key: str
    labels: Mapping[str, str]
    message: str
    trace: str = ""

    def __str__(self) -> str:
        return f"{' / '.join(self.labels.values())}: {self.message}"


@dataclass(frozen=True)
class Cause:
    """Why some cells have no figures."""

    cells: tuple[Failed, ...]

    def __str__(self) -> str:
        first = self.cells[0]
        return str(first) if len(self.cells) == 1 else f"{len(self.cells)} cells, such as {first}"


class Entry(BaseModel):
    """The fields of ``Failed``."""

    model_config = file_schema.STRICT

    key: str
    labels: file_schema.Labels
    message: str
    trace: str = ""


class Listing(RootModel[list[Entry]]):
    """The content of the file."""


def write(run: Path, failed: Sequence[Failed]) -> Path | None:
    """Leave the reasons beside the results and return where; without any, those of the run before go."""
    path = run / NAME
    if not failed:
        path.unlink(missing_ok=True)
        return None
    store.write_json(path, [asdict(cell) for cell in failed])
    return path


def read(run: Path) -> list[Failed]:
    """Return the cells that failed when the run was last computed; none where there is no such file."""
    path = run / NAME
    if not path.is_symlink() and not path.exists():
        return []
    run_files.check_inside(path, run)
    return [Failed(**entry) for entry in run_files.read_json(path, Listing)]


def causes(failed: Iterable[Failed]) -> list[Cause]:
    """Return each cause once, with the cells that it is told of: their names and numbers apart, the words are equal."""
    alike: dict[str, list[Failed]] = {}
    for cell in failed:
        words = cell.message
        for label in sorted(filter(None, cell.labels.values()), key=len, reverse=True):
            words = words.replace(label, "\0")
        alike.setdefault(re.sub(r"\d+", "0", words), []).append(cell)
    return [Cause(tuple(cells)) for cells in alike.values()]
