"""Plug-ins to start from."""

from __future__ import annotations

import keyword
import os
from pathlib import Path

import bench
from bench.core import files
from bench.core.errors import BadPlugin
from bench.suite import registry

METHOD = '''"""What {name} looks at, in one line."""

from torch import Tensor

from bench.api import Method, Prediction, State


class {cls}(Method):
    """Score = sigmoid(second largest - largest logit): 1/2 where the two are equal, towards 0 as one leads."""

    name = "{name}"
    source = "the paper, its arXiv number and the section with the formula"

    def score(self, prediction: Prediction, state: State) -> Tensor:
        return (-prediction.top2_margin).sigmoid()
'''


def write_method(name: str, folder: Path | None) -> Path:
    """Write a method that runs under ``name``; refuses a name that is taken."""
    if not name.isidentifier() or keyword.iskeyword(name) or name != name.lower():
        raise BadPlugin(f"{name!r} cannot name a file and a method; wanted lower case letters, digits and '_'")
    if name in registry.available("method"):
        raise BadPlugin(f"there is a method {name!r} already; choose another name")
    path = (folder or _home()) / f"{name}.py"
    if path.exists():
        raise BadPlugin(f"{path} exists already; choose another name")
    cls = "".join(part.capitalize() for part in name.split("_"))
    with files.writing(path, "w") as file:
        file.write(METHOD.format(name=name, cls=cls))
    return path


def _home() -> Path:
    root = Path(bench.__file__).parents[1]
    if (root / "pyproject.toml").is_file() and (root / "methods").is_dir():
        return root / "methods"
    if places := os.environ.get("BENCH_PLUGINS"):
        return Path(places.split(os.pathsep)[0]) / "methods"
    raise BadPlugin(
        "where to? set $BENCH_PLUGINS to a folder of your own (methods go into methods/ in it), or say --folder"
    )
