"""Plug-ins to start from: one file of each kind that works as it is written."""

from __future__ import annotations

import ast
import importlib
import keyword
import re
from importlib import resources
from pathlib import Path

import bench
from bench import api
from bench.core import files
from bench.core.errors import BadPlugin
from bench.suite import registry
from bench.suite.kinds import HOMES, Kind

LONGEST = 64  # characters of a name


def write(kind: Kind, name: str, folder: Path | None) -> Path:
    """Write a plug-in that works under ``name``, and return its path. Raise BadPlugin for a name that is taken."""
    if not name.isidentifier() or keyword.iskeyword(name) or name != name.lower() or len(name) > LONGEST:
        raise BadPlugin(
            f"{name!r} cannot name a file and a {kind}; wanted lower case letters, digits and '_', {LONGEST} at most"
        )
    if name in registry.available(kind):
        raise BadPlugin(f"there is a {kind} {name!r} already; choose another name")
    path = (folder or _home(kind)) / f"{name}.py"
    if path.exists():
        raise BadPlugin(f"{path} exists already; choose another name")
    content = text(kind, name)
    if path.parent.resolve() in _below_the_facade():
        content = without_facade(content)
    with files.writing(path, "w") as file:
        file.write(content)
    return path


def text(kind: Kind, name: str) -> str:
    """The content of such a file."""
    template = resources.files("bench.suite").joinpath(f"templates/{kind}.py.txt").read_text(encoding="utf-8")
    cls = "".join(part.capitalize() for part in name.split("_"))
    return template.replace("@NAME@", name).replace("@CLASS@", cls)


def without_facade(content: str) -> str:
    """The same file with its names taken from where ``bench.api`` has them, for rooms that may not import that."""
    tree = ast.parse(Path(str(api.__file__)).read_text(encoding="utf-8"))
    origins = {
        alias.name: node.module for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    (names,) = re.findall(r"^from bench\.api import (.+)$", content, re.M)
    modules: dict[str, list[str]] = {}
    for imported in names.split(", "):
        modules.setdefault(str(origins[imported]), []).append(imported)
    lines = [f"from {module} import {', '.join(modules[module])}" for module in sorted(modules)]
    return content.replace(f"from bench.api import {names}", "\n".join(lines))


def _below_the_facade() -> set[Path]:
    """The folders that ship plug-ins and stand below ``bench.api``."""
    home = Path(bench.__file__).parent.resolve()
    return {home / "datasets", home / "metrics" / "protocols"}


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
