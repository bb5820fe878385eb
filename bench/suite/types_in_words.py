"""Types of parameters as a sentence names them: ``a whole number of at least 1``, ``'train' or 'val'``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NewType, Union, get_args, get_origin, get_type_hints

from bench.api import Entry, File

PLAIN: Mapping[Any, str] = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    NoneType: "null",
    dict: "a mapping",
    list: "a list",
}
BOUNDS = {"ge": "of at least", "gt": "of more than", "le": "of at most", "lt": "of less than"}


def in_words(hint: Any) -> str:
    """Return what a value of this type is."""
    if hint is File:
        return "a path"
    if isinstance(hint, NewType):
        return in_words(hint.__supertype__)
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        if any(isinstance(mark, Entry) for mark in inner[1:]):
            return "a name, or one name with its parameters"
        return " ".join(filter(None, [in_words(inner[0]), _limits(_marks(inner[1:]))]))
    if origin is Literal:
        return either([repr(value) if isinstance(value, str) else str(value) for value in inner])
    if origin in (Union, UnionType):
        return either([in_words(part) for part in inner])
    if origin is tuple and inner[-1:] != (...,):
        return f"a list of {len(inner)}, each {either(list(dict.fromkeys(map(in_words, inner))))}"
    if origin in (tuple, list, Sequence):
        return f"a list, each {in_words(inner[0])}"
    if origin in (dict, Mapping):
        return f"a mapping of {in_words(inner[0])} to {in_words(inner[1])}"
    if is_dataclass(hint):
        return f"a mapping with {', '.join(field.name for field in fields(hint))}"
    return PLAIN.get(hint, "another value")


def nested(hint: Any, keys: Sequence[str]) -> Any:
    """Return the type of what the keys lead to inside a value, as far as types say so."""
    for key in keys:
        while get_origin(hint) is Annotated:
            hint = get_args(hint)[0]
        if isinstance(hint, type) and is_dataclass(hint):
            hint = get_type_hints(hint, include_extras=True).get(key, hint)
    return hint


def choices(hint: Any) -> list[str]:
    """Return the words among which a value of this type is chosen; empty where it is not."""
    if get_origin(hint) is Literal:
        return [value for value in get_args(hint) if isinstance(value, str)]
    parts = get_args(hint)[:1] if get_origin(hint) is Annotated else get_args(hint)
    return [word for part in parts for word in choices(part)]


def either(parts: Sequence[str]) -> str:
    """Return ``a, b or c``."""
    return " or ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))


def _limits(marks: Sequence[Any]) -> str:
    limits = {name: getattr(mark, name) for mark in marks for name in BOUNDS if hasattr(mark, name)}
    if limits.keys() == {"ge", "le"}:
        return f"from {limits['ge']:g} to {limits['le']:g}"
    return " and ".join(f"{words} {limits[name]:g}" for name, words in BOUNDS.items() if name in limits)


def _marks(marks: Sequence[Any]) -> list[Any]:
    """The marks of a type, those of a field of pydantic included."""
    unfolded: list[Any] = []
    for mark in marks:
        unfolded += [mark, *getattr(mark, "metadata", ())]
    return unfolded
