"""Plug-ins to start from: one file of each kind that works as it is written."""

from __future__ import annotations

import importlib
import keyword
from importlib import resources
from pathlib import Path

import bench
from bench.core import files
from bench.core.errors import BadPlugin
from bench.suite import registry
from bench.suite.kinds import HOMES, Kind


def write(kind: Kind, name: str, folder: Path | None) -> Path:
    """Write a plug-in that works under ``name``, and return its path. Raise BadPlugin for a name that is taken."""
    if not name.isidentifier() or keyword.iskeyword(name) or name != name.lower():
        raise BadPlugin(f"{name!r} cannot name a file and a {kind}; wanted lower case letters, digits and '_'")
    if name in registry.available(kind):
        raise BadPlugin(f"there is a {kind} {name!r} already; choose another name")
    path = (folder or _home(kind)) / f"{name}.py"
    if path.exists():
        raise BadPlugin(f"{path} exists already; choose another name")
    with files.writing(path, "w") as file:
        file.write(text(kind, name))
    return path


def text(kind: Kind, name: str) -> str:
    """The content of such a file."""
    template = resources.files("bench.suite").joinpath(f"templates/{kind}.py.txt").read_text(encoding="utf-8")
    cls = "".join(part.capitalize() for part in name.split("_"))
    return template.replace("@NAME@", name).replace("@CLASS@", cls)


def _home(kind: Kind) -> Path:
    """The folder of a clone that ships this kind, else that of the first path in $BENCH_PLUGINS."""
    root = Path(bench.__file__).parents[1]
    if (root / "pyproject.toml").is_file() and (root / "methods").is_dir():
        return Path(importlib.import_module(HOMES[kind].package).__path__[0])
    own = HOMES[kind].folders[0]
    if roots := registry.folders():
        return roots[0] / own
    raise BadPlugin(
        f"where to? set $BENCH_PLUGINS to a folder of your own ({HOMES[kind].plural} go into {own}/ in it), or say"
        " --folder"
    )
