"""The page that the benchmarks write to, a section each, and how they name the machine."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path

TITLE = (
    "# Benchmarks\n\nEvery section is written by the script that it names; run one with `--out docs/benchmarks.md`.\n"
)


def publish(heading: str, body: str, out: Path | None) -> None:
    """Print the section, or put it into the page in place of the one of the same heading, or at its end."""
    section = f"## {heading}\n\n{body.strip()}\n"
    if out is None:
        print(section)
        return
    page = out.read_text(encoding="utf-8") if out.exists() else TITLE
    before, found, rest = page.partition(f"\n## {heading}\n")
    _, more, after = rest.partition("\n## ") if found else ("", "", "")
    parts = [before.rstrip("\n") + "\n", section, *([f"## {after}"] if more else [])]
    out.write_text("\n".join(parts), encoding="utf-8")


def version(package: str) -> str:
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        return f"{package} not installed"


def machine(*packages: str) -> str:
    """The processor's kind, cores, Python and the versions of packages."""
    versions = ", ".join(map(version, packages))
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}; {versions}."
