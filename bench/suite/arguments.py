"""Words of the command line read as names, parameters and choices of cells."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from bench.core.errors import UsageError


def patterns(only: str) -> Mapping[str, str]:
    """``dataset=toytown*,method=msp``; a comma inside brackets belongs to its pattern."""
    by_axis: dict[str, str] = {}
    for part in split(only):
        axis, equals, pattern = part.partition("=")
        if not equals:
            raise UsageError(f"--only: {part!r} must be AXIS=GLOB, such as method=msp")
        if axis.strip() in by_axis:
            raise UsageError(f"--only names {axis.strip()} twice; one glob can mean both, such as {axis.strip()}=[ab]*")
        by_axis[axis.strip()] = pattern.strip()
    return by_axis


def named(text: str, where: str) -> tuple[str, dict[str, Any]]:
    """``energy:temperature=2`` as a name and its parameters, values read as YAML reads them."""
    from bench.core import yaml_text

    name, _, rest = text.partition(":")
    params: dict[str, Any] = {}
    for part in split(rest) if rest else []:
        key, equals, value = part.partition("=")
        if not equals:
            raise UsageError(f"{where}: {part!r} must be name=value")
        if key.strip() in params:
            raise UsageError(f"{where}: {key.strip()} stands twice in {text!r}")
        params[key.strip()] = yaml_text.parse(value, f"{where}: {part!r}")
    return name, params


def is_entry(text: str) -> bool:
    """Return True for an entry as a suite has it, with or without the outer braces; ``NAME:k=v`` is none."""
    return bool(re.match(r"\s*(\{|[\w-]+:\s)", text))


def entry(text: str, where: str) -> tuple[str, dict[str, Any]]:
    """Return name and parameters of an entry as a suite has it, such as ``energy: {temperature: 2}``."""
    from bench.core import yaml_text

    spelled = yaml_text.parse(text, where)
    if not isinstance(spelled, dict) or len(spelled) != 1 or not isinstance(next(iter(spelled.values())) or {}, dict):
        raise UsageError(f"{where}: {text!r} must be one name with its parameters, as in a suite")
    ((name, params),) = spelled.items()
    return name, dict(params or {})


def settings(texts: Sequence[str], where: str) -> dict[str, Any]:
    """Return the parameters of an option such as ``--set k=v``, said once or often, each parameter once."""
    return named(f"x:{','.join(texts)}", where)[1] if texts else {}


def split(text: str) -> list[str]:
    """At its commas, those within brackets left alone."""
    parts, depth, current = [], 0, ""
    for character in text:
        depth += character in "[{"
        depth -= character in "]}"
        if character == "," and depth == 0:
            parts.append(current)
            current = ""
        else:
            current += character
    return [*parts, current]
