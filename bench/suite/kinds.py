"""The kinds of plug-ins: what ships them, the folders that others put theirs into, the class that they derive from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["method", "model", "dataset", "protocol", "trainer", "format", "board"]


@dataclass(frozen=True)
class Home:
    """Where plug-ins of one kind are looked for."""

    plural: str  # as ``bench list`` calls them
    package: str  # that ships them
    folders: tuple[str, ...]  # below each path in $BENCH_PLUGINS: the first is the one to write to
    base: str  # in bench.api
    also: tuple[str, ...] = ()  # further packages that ship some


HOMES: Mapping[Kind, Home] = {
    "method": Home("methods", "bench.methods", ("methods",), "Method"),
    "model": Home("models", "bench.models", ("models",), "SegModel"),
    "dataset": Home("datasets", "bench.datasets", ("datasets",), "Dataset", ("bench.data.layouts",)),
    "protocol": Home("protocols", "bench.metrics.protocols", ("protocols",), "Protocol"),
    "trainer": Home("trainers", "bench.fit.trainers", ("trainers", "fit"), "Trainer"),  # ``fit`` is the older name
    "format": Home("formats", "bench.reports", ("reports",), "Format"),
    "board": Home("leaderboards", "bench.submissions", ("submissions",), "Board"),
}
