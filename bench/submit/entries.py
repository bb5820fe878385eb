"""Entries of leaderboards: the scores that a server returned, held against the keys that the board knows."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from bench.core.errors import BadScores, UnknownName


def grouped(
    groups: Mapping[str, Sequence[str]], counts: Collection[str], returned: Any, about: Mapping[str, Any], where: str
) -> dict[str, Any]:
    """Return the entry by group: ``about`` and the scores, with the board's exact keys.

    ``groups`` are the keys of each, ``<split>-<metric>-<field>``; those whose field is in ``counts`` are counts, all
    others rates. ``returned`` holds the scores by key, in one mapping or in one for each group; a group with none is
    left out, a group with some must have all. Raise BadScores or UnknownName for anything else.
    """
    scores = dict(_flat(groups, returned, where))
    known = {key: group for group, keys in groups.items() for key in keys}
    for key, value in scores.items():
        if key not in known:
            raise UnknownName("key", key, known, where)
        _check(key, value, key.rpartition("-")[2] in counts, where)
    made = {}
    for group, keys in groups.items():
        lacking = [key for key in keys if key not in scores]
        if lacking and len(lacking) < len(keys):
            present = len(keys) - len(lacking)
            raise BadScores(f"{where}: {lacking[0]} is missing ({present} of {len(keys)} keys of {group} are there)")
        if not lacking:
            made[group] = dict(about) | {key: scores[key] for key in keys}
    if not made:
        raise BadScores(f"{where}: holds no score; wanted keys such as {next(iter(known))}")
    return made


def _check(key: str, value: Any, counted: bool, where: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadScores(f"{where}: {key} is {value!r}, wanted a number")
    if counted:
        if value < 0 or value != int(value):
            raise BadScores(f"{where}: {key} is {value!r}, wanted a count")
    elif not 0 <= value <= 1:
        raise BadScores(f"{where}: {key} is {value!r}, wanted a rate from 0 to 1; the board does not say percent")


def _flat(groups: Collection[str], returned: Any, where: str) -> Sequence[tuple[str, Any]]:
    if not isinstance(returned, dict):
        raise BadScores(f"{where}: wanted a mapping of keys to numbers, as the server returns it")
    pairs: list[tuple[str, Any]] = []
    for key, value in returned.items():
        if key in groups and isinstance(value, dict):
            pairs += [(name, inner) for name, inner in value.items() if "-" in name]
        else:
            pairs.append((str(key), value))
    return pairs
