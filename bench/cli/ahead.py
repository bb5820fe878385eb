"""The line that ``bench run`` begins with: how much there is to do, and about how long it takes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

from bench.cli.output import number

MEASURED = "measured.json"  # beside this file; written by benchmarks/stages.py


@dataclass(frozen=True)
class Measured:
    """A suite as it was run once."""

    cells: int
    images: int  # that went through a network, counted as often as they did
    cpu_seconds: float  # of all processes


@cache
def measured() -> Mapping[str, Measured]:
    """Return the suites that were measured, by name."""
    text = (resources.files("bench.cli") / MEASURED).read_text(encoding="utf-8")
    return {name: Measured(**entry) for name, entry in json.loads(text)["suites"].items()}


def at_once(name: str, folder: Path) -> str | None:
    """Return a line on a suite that was measured and not begun here; None for others."""
    known = measured().get(name)
    if known is None or folder.exists():
        return None
    images = number(known.images, "image")
    return f"{name}: {number(known.cells, 'cell')}, {images} to look at; {_takes(known.cpu_seconds)}"


def _takes(cpu_seconds: float) -> str:
    minutes = cpu_seconds / 60
    words = "a minute" if minutes < 1.25 else f"{minutes:.1f} minutes" if minutes < 10 else f"{minutes:.0f} minutes"
    return f"about {words} of CPU time"
