"""Parameters of plug-ins: typed fields of a frozen dataclass, read to the letter and written as JSON has them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

from bench import api
from bench.core import suggestions
from bench.core.errors import BadPlugin, BadSuite, UnknownName, UserError
from bench.core.foreign_code import is_theirs, told
from bench.core.printable import shortened
from bench.suite import types_in_words

if TYPE_CHECKING:
    from pydantic import TypeAdapter, ValidationError


# What pydantic puts into the place of an error beside names and indices: which of several types it tried.
_BRANCH = re.compile(r"\[key\]|(str|int|float|bool|none|nullable|constrained-\w+)|(dict|list|tuple|function)\b.*")


def parsed(kind: str, cls: type[api.PlugIn], params: Mapping[str, Any], *, where: str) -> Any:
    """Return an instance of a plug-in. Raise BadSuite or UnknownName for what its fields do not take."""
    from pydantic import ValidationError

    try:
        text = json.dumps(params, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise BadSuite(f"{where}: parameters of {kind} {cls.name!r} are not plain values: {error}") from None
    try:
        # JSON mode is the strict one that still takes a list for a tuple and 2 for 2.0, but not yes for 1.0.
        return _adapter(cls).validate_json(text)
    except ValidationError as error:
        raise _refusal(error, kind, cls, where) from None
    except UserError:
        raise
    except BaseException as error:  # of the constructor of a plug-in, which is somebody's code
        if not is_theirs(error):
            raise
        raise BadPlugin(f"{where}: {kind} {cls.name!r} cannot be made: {told(error)}") from error


def _adapter(cls: type[api.PlugIn]) -> TypeAdapter[Any]:
    """The reader and writer of a plug-in's parameters."""
    named: Any = cls  # mypy takes a class of dataclasses for unhashable
    return _adapter_once(named)


@cache
def _adapter_once(cls: Any) -> TypeAdapter[Any]:
    """Made from the type hints of a class once, since that takes milliseconds."""
    from pydantic import TypeAdapter

    return TypeAdapter(cls)


def forget() -> None:
    """Drop what is kept of classes; those of a file that was read again are others."""
    _adapter_once.cache_clear()


def _refusal(error: ValidationError, kind: str, cls: type[api.PlugIn], where: str) -> BadSuite | UnknownName:
    first = error.errors()[0]
    path = [str(part) for part in first["loc"] if not _BRANCH.fullmatch(str(part))]
    if first["type"] == "unexpected_keyword_argument":
        known = list(spellings(cls).values()) if len(path) == 1 else _nested_fields(cls, path[0])
        return UnknownName(f"parameter of {kind} {cls.name!r}:", path[-1], known, where)
    if first["type"] in {"missing", "missing_argument"}:
        return BadSuite(f"{where}: {kind} {cls.name!r} needs the parameter {'.'.join(path)!r}")
    own = first["type"] in {"value_error", "assertion_error"}
    complaint = str(first.get("ctx", {}).get("error", "")) or first["msg"]  # without the words of pydantic before it
    if own and not path:
        return BadSuite(f"{where}: {kind} {cls.name!r}: {complaint}")
    if own:
        return BadSuite(f"{where}: {'.'.join(path)} of {kind} {cls.name!r}: {complaint}")
    names = {spelled: name for name, spelled in spellings(cls).items()}
    hint = get_type_hints(cls, include_extras=True).get(names.get(path[0], path[0]) if path else "")
    told = refused_value(first["input"], types_in_words.nested(hint, path[1:]), len(path) > 1)
    return BadSuite(f"{where}: {'.'.join(path)} of {kind} {cls.name!r} {told}")


def refused_value(value: Any, hint: Any, inside: bool = False) -> str:
    """Return ``is 'tset', wanted 'test' or 'val'``; ``inside`` where the value is a part of what the type is of."""
    choices = types_in_words.choices(hint)
    near = suggestions.nearest(value, choices) if isinstance(value, str) else None
    meant = f"; did you mean {near!r}?" if near else ""
    spelled = json.dumps(value) if value is None or isinstance(value, bool) else shortened(repr(value), 200)
    return f"{'holds' if inside else 'is'} {spelled}, wanted {types_in_words.in_words(hint)}{meant}"


def _nested_fields(cls: type[api.PlugIn], name: str) -> list[str]:
    hint = get_type_hints(cls).get(name)
    return [f.name for f in fields(hint)] if isinstance(hint, type) and hasattr(hint, "__dataclass_fields__") else []


def spellings(cls: type[api.PlugIn]) -> dict[str, str]:
    """Return what suites call each field: its name, unless that is taken by a method and an alias stands for it."""
    hints = get_type_hints(cls, include_extras=True)
    spelled = {field.name: field.name for field in fields(cls)}
    for name in spelled:
        for extra in getattr(hints[name], "__metadata__", ()):
            spelled[name] = getattr(extra, "serialization_alias", None) or spelled[name]
    return spelled


def file_fields(cls: type[api.PlugIn]) -> frozenset[str]:
    """Return the names of the parameters that are paths."""
    hints = get_type_hints(cls)
    return frozenset(name for name, hint in hints.items() if hint is api.File or hint == api.File | None)


def entries(cls: type[api.PlugIn]) -> dict[str, Literal["model", "dataset"]]:
    """Return the parameters that are entries of a suite themselves, and what they are entries of."""
    return _marked(get_type_hints(cls, include_extras=True))


def entry_lists(cls: type[api.PlugIn]) -> dict[str, Literal["model", "dataset"]]:
    """Return the parameters that are lists of entries of a suite, and what they are entries of."""
    hints = get_type_hints(cls, include_extras=True)
    return _marked({name: get_args(hint)[0] for name, hint in hints.items() if get_origin(hint) is tuple})


def _marked(hints: Mapping[str, Any]) -> dict[str, Literal["model", "dataset"]]:
    extras = ((name, extra) for name, hint in hints.items() for extra in getattr(hint, "__metadata__", ()))
    return {name: extra.kind for name, extra in extras if isinstance(extra, api.Entry)}


def values(instance: api.PlugIn) -> dict[str, Any]:
    """Return every parameter with its resolved value, as JSON has it; younger ones (``LATER``) where they say more."""
    dumped: dict[str, Any] = _adapter(type(instance)).dump_python(instance, mode="json", by_alias=True)
    return _without_young_defaults(instance, dumped, spellings(type(instance)))


def _without_young_defaults(instance: Any, dumped: dict[str, Any], spelled: Mapping[str, str]) -> dict[str, Any]:
    """Return what a dataclass was dumped to without the ``LATER`` fields that are at their default, nested ones too."""
    kept = dict(dumped)
    for field in fields(instance):
        name, value = spelled.get(field.name, field.name), getattr(instance, field.name)
        if field.metadata.get("later") and value == field.default:
            del kept[name]
        elif is_dataclass(value) and isinstance(kept.get(name), dict):
            kept[name] = _without_young_defaults(value, kept[name], {})
    return kept


def label(instance: api.PlugIn) -> str:
    """Return the name of a plug-in with the parameters that are not the default: ``components[min_predicted=20]``."""
    usual = defaults(type(instance))
    changed = [f"{name}={value}" for name, value in values(instance).items() if usual.get(name) != value]
    return f"{instance.name}[{','.join(changed)}]" if changed else instance.name


def defaults(cls: type[api.PlugIn]) -> dict[str, Any]:
    """Return what each parameter is when a suite does not say, but for ``LATER`` ones and those without a default."""
    from pydantic_core import to_jsonable_python

    known: dict[str, Any] = {}
    for field in fields(cls):
        if field.metadata.get("later"):
            continue
        if field.default is not MISSING:
            known[field.name] = field.default
        elif field.default_factory is not MISSING:
            known[field.name] = field.default_factory()
    spelled, plain = spellings(cls), {name: to_jsonable_python(value) for name, value in known.items()}
    for name, value in known.items():
        if is_dataclass(value):
            plain[name] = _without_young_defaults(value, plain[name], {})
    return {spelled[name]: value for name, value in plain.items()}


def departures(params: Mapping[str, Any], usual: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters that differ from ``defaults``; of a mapping, such as ``inference``, the entries that do."""
    different = {name: value for name, value in params.items() if value != usual.get(name)}
    for name, value in different.items():
        if isinstance(value, dict) and isinstance(inside := usual.get(name), dict):
            different[name] = departures(value, inside)
    return different
