"""Words of the command line read as names, parameters and choices of cells."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from bench.core.errors import UsageError


def patterns(only: str) -> Mapping[str, str]:
    """``dataset=toytown*,method=msp``; a comma inside brackets belongs to its pattern."""
    by_axis: dict[str, str] = {}
    for part in split(only):
        axis, equals, pattern = part.partition("=")
        if not equals:
            raise UsageError(f"--only: {part!r} must be AXIS=GLOB, such as method=msp")
        by_axis[axis.strip()] = pattern.strip()
    return by_axis


def named(text: str, where: str) -> tuple[str, dict[str, Any]]:
    """``energy:temperature=2`` as a name and its parameters, values read as YAML reads them."""
    import yaml

    name, _, rest = text.partition(":")
    params: dict[str, Any] = {}
    for part in split(rest) if rest else []:
        key, equals, value = part.partition("=")
        if not equals:
            raise UsageError(f"{where}: {part!r} must be name=value")
        try:
            # To YAML 1.1 1e-5 is text, to everybody else a number.
            scientific = re.fullmatch(r"\s*-?\d+e[+-]?\d+\s*", value)
            params[key.strip()] = float(value) if scientific else yaml.safe_load(value)
        except yaml.YAMLError:
            raise UsageError(f"{where}: {value!r} is not a YAML value") from None
    return name, params


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
