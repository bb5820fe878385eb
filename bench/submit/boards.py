"""The leaderboards that there are, as the registry finds them: which one is meant, its status, what is left to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields

from bench.api import Archive, Board
from bench.core.errors import BadScores
from bench.suite import registry
from bench.suite.registry import Unavailable

FACTS = ("title", "status", "page", "takes")


def available() -> dict[str, type[Board] | Unavailable]:
    """Return the boards by name, those first whose status was read last; one that does not say it is unavailable."""
    boards: dict[str, type[Board] | Unavailable] = {}
    for name, entry in registry.available("board").items():
        if isinstance(entry, Unavailable):
            boards[name] = entry
        elif issubclass(entry, Board):
            lacking = [fact for fact in FACTS if not isinstance(getattr(entry, fact, None), str)]
            reason = f"{entry.__module__}.{entry.__name__} does not say its {' and '.join(lacking)}"
            boards[name] = Unavailable(reason) if lacking else entry
    return dict(sorted(boards.items(), key=lambda item: str(getattr(item[1], "checked", "")), reverse=True))


def usable() -> dict[str, type[Board]]:
    """Return the boards whose file can be imported, in the same order."""
    return {name: board for name, board in available().items() if not isinstance(board, Unavailable)}


def meant(archive: Archive, name: str | None, frames: Mapping[str, int], sets: Sequence[str]) -> Board:
    """The board of that name, or else the first that recognises what the archive holds.

    ``frames`` and ``sets`` go to the boards that have such parameters. Raise BadScores if none recognises it.
    """
    for board in [registry.plugin("board", name, where="--board")] if name else usable().values():
        plain: Board = registry.build("board", board.name, {}, where="bench submit")
        if name or plain.recognises(archive.members.keys()):
            own = {field.name for field in fields(board)}
            stated = {"frames": dict(frames), "sets": list(sets)}
            params = {key: value for key, value in stated.items() if key in own and value}
            meant: Board = registry.build("board", board.name, params, where="bench submit")
            return meant
    raise BadScores(
        f"{archive.path}: holds what no board takes ({', '.join(usable())}); say what it is for with --board"
    )


def listing() -> list[tuple[str, str]]:
    """Rows of ``bench list leaderboards``."""
    return [
        (name, f"cannot be used: {board.reason}")
        if isinstance(board, Unavailable)
        else (name, f"{board.status} [{_read_on(board)}], {board.page}; {board.takes}")
        for name, board in available().items()
    ]


def left_to_do(board: Board) -> list[str]:
    """The status of a board and the steps that nobody but the user can take, as lines."""
    lines = [f"{board.title}: {board.status} ({_read_on(type(board))}, {board.page})"]
    if board.steps:
        lines.append("left to do by hand:")
    return lines + [f"  {number}. {step}" for number, step in enumerate(board.steps, 1)]


def _read_on(board: type[Board]) -> str:
    return f"checked {board.checked}" if board.checked else "not checked"
