"""The line that ``bench run`` begins with: how much there is to do, and about how long it takes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cli.output import number
from bench.core.errors import UserError

if TYPE_CHECKING:
    from bench.suite.cells import Suite

MEASURED = "measured.json"  # beside this file; written by benchmarks/profile.py


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
    """Return a line on a suite that was measured and not begun here; None for others, which are to be read first."""
    known = measured().get(name)
    if known is None or folder.exists():
        return None
    return f"{name}: {number(known.cells, 'cell')}, {number(known.images, 'image')} to look at; {_takes(known, 1.0)}"


def once_read(suite: Suite, folder: Path) -> str:
    """Return a line on a suite whose plug-ins are loaded: cells without results, images, and time where it is known."""
    lacking = [cell for cell in suite.cells if not (folder / "cells" / f"{cell.key}.json").is_file()]
    there = len(suite.cells) - len(lacking)
    words = [number(len(lacking), "cell") + (f" of {len(suite.cells)}" if there else "")]
    with suppress(UserError):  # files that are missing are named when all of them are looked for
        pairs = {(cell.model, cell.dataset) for cell in lacking}
        words.append(number(sum(data.build().count for _, data in pairs), "image"))
    known = measured().get(suite.name)
    if not lacking:
        return f"{suite.name}: all {number(there, 'cell')} have results; the page is written again"
    time = _takes(known, len(lacking) / known.cells) if known else "'bench check --estimate' measures how long it takes"
    return f"{suite.name}: {', '.join(words)} to look at; {time}"


def _takes(known: Measured, share: float) -> str:
    minutes = known.cpu_seconds * share / 60
    words = "a minute" if minutes < 1.25 else f"{minutes:.1f} minutes" if minutes < 10 else f"{minutes:.0f} minutes"
    return f"about {words} of CPU time"
