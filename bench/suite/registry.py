"""Plug-ins by looking, not by lists: a file in a folder is an entry.

Looked into, in this order: the folders of this package, the folders under each path in $BENCH_PLUGINS (``methods/``,
``models/``, ``datasets/``, ``fit/``), and the modules that installed packages name in the entry-point group
``ood_seg_bench.plugins``. A name that two of them define is refused: a number must not depend on who came first.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import json
import os
import pkgutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, get_type_hints

from bench import api
from bench.core.errors import BadPlugin, BadSuite, UnknownName
from bench.datasets.wrappers import class_map, corrupted

if TYPE_CHECKING:
    from pydantic import TypeAdapter

Kind = Literal["method", "model", "dataset", "protocol", "trainer"]

FOLDERS: dict[Kind, tuple[str, str, type[api.PlugIn]]] = {  # package that ships, folder of others, base class
    "method": ("bench.methods", "methods", api.Method),
    "model": ("bench.models", "models", api.SegModel),
    "dataset": ("bench.datasets", "datasets", api.Dataset),
    "protocol": ("bench.metrics.protocols", "protocols", api.Protocol),
    "trainer": ("bench.fit.trainers", "fit", api.Trainer),
}
# What declares and computes nothing: an edit there makes no result stale. ``logit_score`` and ``smoothed`` compute.
CONTRACT = {
    f"bench.contract.{part}"
    for part in ("plugin", "dataset", "network", "prediction", "method", "training", "protocol")
}
GROUP = "ood_seg_bench.plugins"


@dataclass(frozen=True)
class Unavailable:
    """A file that could not be imported; the reason waits until somebody asks for it."""

    reason: str


Entries = Mapping[str, type[api.PlugIn] | Unavailable]


@cache
def found(kind: Kind) -> Entries:
    """Every plug-in of one kind by name; a broken file never hides the others."""
    entries: dict[str, type[api.PlugIn] | Unavailable] = {}
    for label, load in _modules(kind):
        try:
            module = load()
        # A plug-in is somebody's code: whatever its import raises is the reason why it cannot be used.
        except Exception as error:
            name = Path(label).stem if label.endswith(".py") else label.rpartition(".")[2]
            entries.setdefault(name, Unavailable(f"{label} does not import: {type(error).__name__}: {error}"))
            continue
        for cls in _classes(module, FOLDERS[kind][2]):
            if entries.get(cls.name, cls) is not cls:
                raise BadPlugin(f"{kind} {cls.name!r} is defined twice, the second time in {module.__name__}")
            entries[cls.name] = cls
    return dict(sorted(entries.items()))


def _modules(kind: Kind) -> Iterator[tuple[str, Any]]:
    """A label and a loader of every module to look into."""
    shipped, folder, _ = FOLDERS[kind]
    for info in sorted(pkgutil.iter_modules(importlib.import_module(shipped).__path__), key=lambda info: info.name):
        name = f"{shipped}.{info.name}"
        yield name, lambda name=name: importlib.import_module(name)
    for place in filter(None, os.environ.get("BENCH_PLUGINS", "").split(os.pathsep)):
        if not Path(place).is_dir():
            raise BadPlugin(f"$BENCH_PLUGINS names {place}, which is not a folder")
        for path in sorted(Path(place, folder).glob("*.py")):
            if path.name != "__init__.py":
                yield str(path), lambda path=path: from_file(path, f"bench_plugins.{folder}.{path.stem}")
    for point in sorted(importlib.metadata.entry_points(group=GROUP), key=lambda point: point.name):
        yield point.value, lambda point=point: importlib.import_module(point.module)


def from_file(path: Path, name: str) -> ModuleType:
    """Import one file under a given module name, once."""
    if name in sys.modules and sys.modules[name].__file__ == str(path):
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise BadPlugin(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _classes(module: ModuleType, base: type[api.PlugIn]) -> Iterator[type[api.PlugIn]]:
    """The finished plug-ins that a module defines, or a package with what stands in it."""
    for cls in vars(module).values():
        if isinstance(cls, type) and issubclass(cls, base) and f"{cls.__module__}.".startswith(f"{module.__name__}."):
            if inspect.isabstract(cls) or cls.__name__.startswith("_"):
                continue
            missing = [need for need in ("name", "source") if not isinstance(getattr(cls, need, None), str)]
            if missing:
                raise BadPlugin(f"{module.__name__}.{cls.__name__} does not say its {' and '.join(missing)}")
            yield cls


def plugin(kind: Kind, name: str, *, where: str) -> type[Any]:
    """The class of one name; ``where`` is the place to blame, such as ``suite.yaml``."""
    entry = found(kind).get(name)
    if entry is None:
        raise UnknownName(kind, name, found(kind), where)
    if isinstance(entry, Unavailable):
        raise BadPlugin(f"{where}: {kind} {name!r} cannot be used: {entry.reason}")
    return entry


def build(kind: Kind, name: str, params: Mapping[str, Any], *, where: str) -> Any:
    """Instantiate a plug-in from parameters as YAML or JSON gives them, checked to the letter."""
    from pydantic import ValidationError

    cls = plugin(kind, name, where=where)
    if kind == "dataset" and "class_map" in params:  # of any data set, put there by a suite
        plain = {key: value for key, value in params.items() if key != "class_map"}
        return class_map.renamed(build(kind, name, plain, where=where), params["class_map"], where=where)
    if kind == "dataset" and "corruption" in params:  # of any data set
        plain = {key: value for key, value in params.items() if key != "corruption"}
        how = corrupted.parsed(params["corruption"], where=f"{where}: {name}")
        return corrupted.Corrupted(build(kind, name, plain, where=where), how)
    try:
        text = json.dumps(params, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise BadSuite(f"{where}: parameters of {kind} {name!r} are not plain values: {error}") from None
    try:
        # JSON mode is the strict one that still takes a list for a tuple and 2 for 2.0, but not yes for 1.0.
        return _adapter(cls).validate_json(text)
    except ValidationError as error:
        raise _refusal(error, kind, cls, params, where) from None


_adapters: dict[type[Any], TypeAdapter[Any]] = {}


def _adapter(cls: type[Any]) -> TypeAdapter[Any]:
    """The reader and writer of a plug-in's parameters: made from its type hints once, since that takes milliseconds."""
    from pydantic import TypeAdapter

    if cls not in _adapters:
        _adapters[cls] = TypeAdapter(cls)
    return _adapters[cls]


def _refusal(
    error: Any, kind: Kind, cls: type[api.PlugIn], params: Mapping[str, Any], where: str
) -> BadSuite | UnknownName:
    first = error.errors()[0]
    path = [str(part) for part in first["loc"] if part != "[key]"]
    if first["type"] == "unexpected_keyword_argument":
        known = list(spellings(cls).values()) if len(path) == 1 else _nested_fields(cls, path[0])
        return UnknownName(f"parameter of {kind} {cls.name!r}:", path[-1], known, where)
    if first["type"] in {"missing", "missing_argument"}:
        return BadSuite(f"{where}: {kind} {cls.name!r} needs the parameter {'.'.join(path)!r}")
    said = first["msg"].removeprefix("Value error, ")
    if not path:
        return BadSuite(f"{where}: {kind} {cls.name!r}: {said}")
    return BadSuite(
        f"{where}: {'.'.join(path)} of {kind} {cls.name!r} is {first['input']!r}, wanted {_wanted(cls, path)}; {said}"
    )


def _wanted(cls: type[api.PlugIn], path: list[str]) -> str:
    fields_of = {spelling: name for name, spelling in spellings(cls).items()}
    declared = get_type_hints(cls).get(fields_of.get(path[0], path[0]), "another value")
    if isinstance(declared, type):
        return declared.__name__
    return str(declared).replace("typing.", "").replace("collections.abc.", "")


def _nested_fields(cls: type[api.PlugIn], name: str) -> list[str]:
    hint = get_type_hints(cls).get(name)
    return [f.name for f in fields(hint)] if isinstance(hint, type) and hasattr(hint, "__dataclass_fields__") else []


def spellings(cls: type[api.PlugIn]) -> dict[str, str]:
    """What suites call each parameter: its name, unless that is taken by a method and an alias stands for it."""
    hints = get_type_hints(cls, include_extras=True)
    found = {entry.name: entry.name for entry in fields(cls)}
    for name in found:
        for extra in getattr(hints[name], "__metadata__", ()):
            found[name] = getattr(extra, "serialization_alias", None) or found[name]
    return found


def file_fields(cls: type[api.PlugIn]) -> frozenset[str]:
    """Names of the parameters that are paths."""
    hints = get_type_hints(cls)
    return frozenset(name for name, hint in hints.items() if hint is api.File or hint == api.File | None)


def entries(cls: type[api.PlugIn]) -> dict[str, Literal["model", "dataset"]]:
    """Names of the parameters that are entries of a suite themselves, and what they are entries of."""
    hints = get_type_hints(cls, include_extras=True)
    marked = ((name, extra) for name, hint in hints.items() for extra in getattr(hint, "__metadata__", ()))
    return {name: extra.kind for name, extra in marked if isinstance(extra, api.Entry)}


def parameters(instance: api.PlugIn) -> dict[str, Any]:
    """Every parameter with its resolved value, as JSON has it."""
    dumped: dict[str, Any] = _adapter(type(instance)).dump_python(instance, mode="json", by_alias=True)
    return dumped


def defaults(cls: type[api.PlugIn]) -> dict[str, Any]:
    """What each parameter is when a suite does not say."""
    from pydantic_core import to_jsonable_python

    known: dict[str, Any] = {}
    for entry in fields(cls):
        if entry.default is not MISSING:
            known[entry.name] = entry.default
        elif entry.default_factory is not MISSING:
            known[entry.name] = entry.default_factory()
    spelled = spellings(cls)
    return {spelled[name]: to_jsonable_python(value) for name, value in known.items()}


def digest(kind: Kind, name: str) -> str:
    """12 hex digits of the source files of a plug-in and of what it derives from: an edited method is run again.

    Those of a refinement include the method that it refines.
    """
    cls = plugin(kind, name, where=f"digest of {kind}")
    lineage = inspect.getmro(cls)
    if issubclass(cls, api.Refinement):
        lineage += inspect.getmro(plugin("method", cls.refines, where=f"what {name} refines"))
    own = [cls for cls in lineage if cls.__module__ not in {"builtins", "abc", "typing"} | CONTRACT]
    whole = hashlib.sha256()
    for file in dict.fromkeys(str(inspect.getsourcefile(cls)) for cls in own):
        whole.update(Path(file).read_bytes())
    return whole.hexdigest()[:12]
