"""Where a number comes from: versions, commit, machine, time, and the command that makes it again."""

from __future__ import annotations

import datetime
import platform
import shutil
import subprocess
from dataclasses import asdict
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import bench
from bench.models.numerics import Numerics


def of(resolved: Numerics, command: str) -> dict[str, Any]:
    return {
        "ood_seg_bench": bench.__version__,
        "commit": _commit(),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        **{name: version_of(name) for name in ("torch", "numpy", "numba", "scipy")},
        "numerics": asdict(resolved),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": command,
    }


@cache
def version_of(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


@cache
def _commit() -> str:
    """The commit of the clone that this runs from, as this process began with it; empty in an installed wheel."""
    root = Path(bench.__file__).parents[1]
    git = shutil.which("git")
    if git is None or not (root / ".git").exists():
        return ""
    process = subprocess.run(  # noqa: S603 - a fixed command on our own folder
        [git, "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    return process.stdout.strip()
