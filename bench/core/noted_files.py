"""Files that digests stand for, as they were when these were taken: what a run read later may be something else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

State = tuple[int, int, int]  # size in bytes, time of the last change in nanoseconds, number of the file

OURS = Path(__file__).parents[1]  # its code is told by versions, and may be edited under a run


class NotedFiles:
    """The files that were looked at, and the state that each had."""

    def __init__(self) -> None:
        self.states: dict[Path, State | None] = {}

    def changed(self) -> Path | None:
        """Return the first file that is not as it was; None if all are."""
        return next((path for path, state in self.states.items() if _state(path) != state), None)

    def newest(self) -> float:
        """Return when the last of them was written or put there, in seconds since 1970; 0 without any."""
        times = [0.0]
        for path in self.states:
            try:
                about = path.stat()
            except OSError:
                continue
            times.append(max(about.st_mtime, about.st_ctime))
        return max(times)


_OPEN: list[NotedFiles] = []


@contextmanager
def noting(noted: NotedFiles) -> Iterator[None]:
    """Inside the context, files that are read or measured are noted: the state that each has the first time."""
    _OPEN.append(noted)
    try:
        yield
    finally:
        _OPEN.remove(noted)


def note(path: Path) -> None:
    """Note a file that is about to be read."""
    for noted in _OPEN:
        absolute = path.absolute()  # a data set may be named from a folder that is left
        if absolute not in noted.states and OURS not in absolute.parents:
            noted.states[absolute] = _state(absolute)


def _state(path: Path) -> State | None:
    try:
        about = path.stat()
    except OSError:
        return None
    return about.st_size, about.st_mtime_ns, about.st_ino
