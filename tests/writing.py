"""What each format makes of a run, for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.report.document import Document
from bench.report.selection import Choice
from bench.results.store import Run
from bench.suite import registry

Entries = Sequence[Mapping[str, Any]]  # figures over several cells


def written(
    name: str, run: Run, entries: Entries = (), choice: Choice | None = None, *, table: str = "all", **parameters: Any
) -> Any:
    """What a format writes; ``parameters`` are its own."""
    document = Document(run, choice or Choice(), table, known=entries)
    return registry.build("format", name, parameters, where="a test").write(document)


def markdown(run: Run, entries: Entries = (), choice: Choice | None = None, *, table: str = "all") -> str:
    return str(written("md", run, entries, choice, table=table))


def latex(run: Run, entries: Entries = (), choice: Choice | None = None, *, table: str = "all") -> str:
    return str(written("tex", run, entries, choice, table=table))


def html(run: Run, entries: Entries = (), choice: Choice | None = None) -> str:
    return str(written("html", run, entries, choice))


def terminal(run: Run, width: int | None = None, choice: Choice | None = None, *, styled: bool = False) -> str:
    return str(written("terminal", run, (), choice, width=width, styled=styled))


def csv(run: Run, entries: Entries = (), choice: Choice | None = None, *, table: str = "all") -> str:
    return str(written("csv", run, entries, choice, table=table))


def parquet(run: Run, entries: Entries = (), choice: Choice | None = None, *, table: str = "all") -> bytes:
    return bytes(written("parquet", run, entries, choice, table=table))
