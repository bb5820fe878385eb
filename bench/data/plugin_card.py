"""Descriptions of plug-ins that read no data: what they do, where they come from, and which parameters they take."""

from __future__ import annotations

import inspect
import json
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any, get_type_hints

from bench.api import PlugIn, Protocol
from bench.core.suggestions import nearest
from bench.suite import parameters, registry, types_in_words
from bench.suite.kinds import HOMES, Kind

DESCRIBED: tuple[Kind, ...] = ("method", "protocol", "model", "trainer", "format")


def kind_of(name: str) -> Kind | None:
    """Return the kind of plug-in that has this name, or nearly so if no data set is like it; None for none."""
    datasets = registry.available("dataset")
    if name in datasets:
        return None
    for kind in DESCRIBED:
        if name in registry.available(kind):
            return kind
    if nearest(name, datasets) is None:
        for kind in DESCRIBED:
            if nearest(name, registry.available(kind)):
                return kind
    return None


def record(kind: Kind, name: str) -> dict[str, Any]:
    """Return what is to be said of a plug-in, as JSON has it. Raise UnknownName or BadPlugin."""
    cls: type[PlugIn] = registry.plugin(kind, name, where="describe")
    hints = get_type_hints(cls, include_extras=True)
    defaults, spelled = parameters.defaults(cls), parameters.spellings(cls)
    listed: list[dict[str, Any]] = []
    for field in fields(cls):
        parameter = {"name": spelled[field.name], "type": types_in_words.in_words(hints[field.name])}
        default = {"default": defaults[spelled[field.name]]} if spelled[field.name] in defaults else {}
        listed.append(parameter | default)
    about: dict[str, Any] = {"kind": kind, "name": name, "about": inspect.getdoc(cls) or "", "source": cls.source}
    if issubclass(cls, Protocol):
        about["metrics"] = {key: metric.definition for key, metric in cls.metrics.items()}
    return about | {"parameters": listed}


def lines(about: Mapping[str, Any], width: int) -> Iterator[str]:
    """Yield the lines for a terminal of that many columns."""
    yield f"{about['kind']} {about['name']}"
    for paragraph in str(about["about"]).replace("``", "").split("\n\n"):
        yield from textwrap.wrap(paragraph, width, initial_indent="  ", subsequent_indent="  ")
    yield from textwrap.wrap(f"source     {about['source']}", width, subsequent_indent=" " * 11)
    for key, definition in about.get("metrics", {}).items():
        yield from textwrap.wrap(f"metric     {key}: {definition}", width, subsequent_indent=" " * 13)
    if not about["parameters"]:
        yield "parameters none"
    for parameter in about["parameters"]:
        default = f"default {json.dumps(parameter['default'])}" if "default" in parameter else "needed"
        text = f"parameter  {parameter['name']}: {parameter['type']}; {default}"
        yield from textwrap.wrap(text, width, subsequent_indent=" " * 13)
    kinds: tuple[Kind, ...] = ("dataset", *DESCRIBED)
    same = [HOMES[kind].plural for kind in kinds if kind != about["kind"] and about["name"] in registry.available(kind)]
    if same:
        yield f"a name of {' and '.join(same)} too: --kind chooses"
