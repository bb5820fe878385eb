"""Plug-ins by looking, not by lists: a file in a folder is an entry.

Looked into, in this order: the folders of this package, the folders under each path in $BENCH_PLUGINS, and the modules
that installed packages name in the entry-point group ``ood_seg_bench.plugins``. The same rules hold for every kind. A
name that two of them define is refused: a number must not depend on who came first.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import os
import pkgutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from bench import api
from bench.core import suggestions
from bench.core.errors import BadPlugin, UnknownName
from bench.core.foreign_code import MODULES, is_theirs, told
from bench.suite import declarations, parameters
from bench.suite.kinds import HOMES, Home, Kind
from bench.suite.wrappers import class_map, corrupted, departures

# What declares and computes nothing: an edit there makes no result stale. ``logit_score`` and ``smoothed`` compute.
CONTRACT = {
    f"bench.contract.{part}"
    for part in (
        *("plugin", "dataset", "network", "prediction", "method", "training", "protocol", "format", "board"),
        "deprecated",
    )
}
GROUP = "ood_seg_bench.plugins"
FOREIGN = "bench_plugins"  # how modules of $BENCH_PLUGINS begin; without dots, for pickle imports the whole package


@dataclass(frozen=True)
class Unavailable:
    """A file that could not be imported; the reason waits until somebody asks for it."""

    reason: str


_ADOPTED: dict[Kind, dict[str, type[api.PlugIn]]] = {}  # of the running program, by name

PlugIns = Mapping[str, type[api.PlugIn] | Unavailable]


@cache
def available(kind: Kind) -> PlugIns:
    """Return the plug-ins of one kind by name; a broken file never hides the others.

    Raise BadPlugin for a name that two define and for a class without ``name`` or ``source``.
    """
    plugins: dict[str, type[api.PlugIn] | Unavailable] = {}
    for label, load in _modules(HOMES[kind]):
        try:
            module = load()
        # A plug-in is somebody's code: whatever its import raises is the reason why it cannot be used.
        except BaseException as error:
            if not is_theirs(error):
                raise
            name = Path(label).stem if label.endswith(".py") else label.rpartition(".")[2]
            what = told(error) if isinstance(error, SystemExit) else f"{type(error).__name__}: {error}"
            plugins.setdefault(name, Unavailable(f"{label} does not import: {what}"))
            continue
        for cls in _classes(module, getattr(api, HOMES[kind].base)):
            if plugins.get(cls.name, cls) is not cls:
                raise BadPlugin(f"{kind} {cls.name!r} is defined twice, the second time in {module.__name__}")
            wrong = declarations.complaint(cls)
            plugins[cls.name] = Unavailable(f"{label}: {wrong}") if wrong else cls
    for name, cls in _ADOPTED.get(kind, {}).items():
        if name in plugins:
            raise BadPlugin(f"{kind} {name!r} of {cls.__module__} has the name of another; choose one of its own")
        plugins[name] = cls
    return dict(sorted(plugins.items()))


def adopt(cls: type[api.PlugIn]) -> None:
    """Have a class of the running program known by its name in this process, unless it is found anyway.

    A class of the same name that was adopted before is forgotten: a cell of a notebook that is run again defines it
    anew. Raise BadPlugin for one without ``name`` or ``source``, and for the name of a plug-in that is found.
    """
    kind = next((kind for kind, home in HOMES.items() if issubclass(cls, getattr(api, home.base))), None)
    if kind is None:
        raise BadPlugin(f"{cls.__name__} is no plug-in; it must derive from a class of bench.api")
    missing = [need for need in ("name", "source") if not isinstance(getattr(cls, need, None), str)]
    if missing:
        raise BadPlugin(f"{cls.__name__} does not say its {' and '.join(missing)}")
    if wrong := declarations.complaint(cls):
        raise BadPlugin(wrong)
    if available(kind).get(cls.name) is cls:
        return
    _ADOPTED.setdefault(kind, {})[cls.name] = cls
    available.cache_clear()
    try:
        available(kind)
    except BadPlugin:
        del _ADOPTED[kind][cls.name]
        raise


def forget() -> None:
    """Look again the next time: files in $BENCH_PLUGINS, and the variable itself, may have changed."""
    available.cache_clear()
    parameters.forget()
    for name in [name for name in sys.modules if name.startswith(f"{FOREIGN}_")]:
        del sys.modules[name]


def _modules(home: Home) -> Iterator[tuple[str, Callable[[], ModuleType]]]:
    """A label and a loader of every module to look into."""
    packages = (home.package, *home.also)
    shipped = [pkgutil.iter_modules(importlib.import_module(name).__path__, f"{name}.") for name in packages]
    for name in sorted(info.name for package in shipped for info in package):
        yield name, partial(importlib.import_module, name)
    for root in folders():
        for folder in home.folders:
            for path in sorted((root / folder).glob("*.py")):
                if path.name != "__init__.py":
                    yield str(path), partial(from_file, path, f"{FOREIGN}_{folder}_{path.stem}")
    for point in sorted(importlib.metadata.entry_points(group=GROUP), key=lambda point: point.name):
        MODULES.add(point.module)
        yield point.value, partial(importlib.import_module, point.module)


def folders() -> list[Path]:
    """Return the folders that $BENCH_PLUGINS names. Raise BadPlugin for one that is not there."""
    roots = [Path(path) for path in os.environ.get("BENCH_PLUGINS", "").split(os.pathsep) if path]
    for root in roots:
        if not root.is_dir():
            raise BadPlugin(f"$BENCH_PLUGINS names {root}, which is not a folder")
    return roots


class _AsWritten(SourceFileLoader):
    """Compiles a file as it is now. Kept bytecode would be taken for a file that changed within its second."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def from_file(path: Path, name: str) -> ModuleType:
    """Import one file under a given module name, once."""
    if name in sys.modules and sys.modules[name].__file__ == str(path):
        return sys.modules[name]
    loader = _AsWritten(name, str(path)) if path.suffix == ".py" else None
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    if spec is None or spec.loader is None:
        raise BadPlugin(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    MODULES.add(name)
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
    """Return the class of one name; ``where`` is the place to blame, such as ``suite.yaml``."""
    entry = available(kind).get(name)
    if entry is None:
        for other in HOMES:
            if other != kind and name in available(other) and not suggestions.nearest(name, available(kind)):
                raise BadPlugin(
                    f"{where}: {name!r} is a {other}, wanted a {kind}; see 'bench list {HOMES[kind].plural}'"
                )
        raise UnknownName(kind, name, available(kind), where)
    if isinstance(entry, Unavailable):
        raise BadPlugin(f"{where}: {kind} {name!r} cannot be used: {entry.reason}")
    return entry


def build(kind: Kind, name: str, params: Mapping[str, Any], *, where: str) -> Any:
    """Return an instance of a plug-in from parameters as YAML or JSON gives them, checked to the letter."""
    cls = plugin(kind, name, where=where)
    if "digests" in params:  # what files held whose names stand in a key: nothing to build from
        params = {key: value for key, value in params.items() if key != "digests"}
    if kind == "dataset" and "class_map" in params:  # of any data set, put there by a suite
        plain = {key: value for key, value in params.items() if key != "class_map"}
        return class_map.renamed(build(kind, name, plain, where=where), params["class_map"], where=where)
    if kind == "dataset" and "corruption" in params:  # of any data set
        plain = {key: value for key, value in params.items() if key != "corruption"}
        corruption = corrupted.parsed(params["corruption"], where=f"{where}: {name}")
        return corrupted.Corrupted(build(kind, name, plain, where=where), corruption)
    if kind == "dataset" and not params.keys().isdisjoint(departures.NAMES):  # of any data set
        plain = {key: value for key, value in params.items() if key not in departures.NAMES}
        departing = departures.parsed(params, where=f"{where}: {name}")
        return departures.applied(build(kind, name, plain, where=where), departing)
    return parameters.parsed(kind, cls, params, where=where)


def digest(kind: Kind, name: str) -> str:
    """Return 12 hex digits of the sources of a plug-in and its bases: an edited method is run again.

    Those of a refinement include the method that it refines.
    """
    cls = plugin(kind, name, where=f"digest of {kind}")
    lineage = inspect.getmro(cls)
    if issubclass(cls, api.Refinement):
        lineage += inspect.getmro(plugin("method", cls.refines, where=f"what {name} refines"))
    computing = [cls for cls in lineage if cls.__module__ not in {"builtins", "abc", "typing"} | CONTRACT]
    whole = hashlib.sha256()
    for source in dict.fromkeys(map(_source, computing)):
        whole.update(source)
    return whole.hexdigest()[:12]


def _source(cls: type[Any]) -> bytes:
    """Return the file that defines a class, or what was typed in a notebook. Raise BadPlugin where neither is kept."""
    try:
        if (file := inspect.getsourcefile(cls)) is not None and Path(file).is_file():
            return Path(file).read_bytes()
    except (OSError, TypeError):  # a class of a notebook has no file
        pass
    members = (value.fget if isinstance(value, property) else value for value in vars(cls).values())
    functions = [inspect.unwrap(member) for member in members if inspect.isfunction(member)]
    typed = [function for function in functions if function.__code__.co_filename != "<string>"]  # not by dataclasses
    try:
        return "".join(map(inspect.getsource, typed)).encode()
    except (OSError, TypeError):
        raise BadPlugin(
            f"{cls.__name__} was typed where no source is kept, which tells its versions apart; write it in a file or a"
            " notebook"
        ) from None
