"""The content of the two kinds of JSON in a run directory: the result of a cell, and the plan of the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.api import Metric, Undefined, Value
from bench.suite.cells import Cell, CellLabels

SCHEMA = 1  # of both; raised with every change of shape


@dataclass(frozen=True)
class Result:
    """The figures of one cell and all that is needed to doubt them."""

    key: str
    cell: Cell
    metrics: Mapping[str, Value | Undefined]
    definitions: Mapping[str, Metric]
    about: Mapping[str, Mapping[str, Any]]  # by axis: source, and what a table must say of it
    images: int
    partial: bool  # True if --limit cut the data; never ranked beside a full result
    not_applicable: str = ""  # why the pair cannot be evaluated; then every metric is undefined
    refusal: str = ""  # the same as a code, which tells reasons apart; no result of before version 0.2 has it
    pixels: Mapping[str, int] = field(default_factory=dict)  # by category
    depends: Mapping[str, str] = field(default_factory=dict)  # what decides whether the result is fresh
    provenance: Mapping[str, Any] = field(default_factory=dict)  # versions, commit, device, time, command
    seconds: Mapping[str, float] = field(default_factory=dict)  # CPU seconds per stage
    memory_mb: float = 0.0  # peak resident memory of the process that computed it
    fitted: Mapping[str, Any] | None = None  # key, data and scalars of what was fitted
    slices: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)  # axis, value: images, metrics
    tags: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # by sample id

    @property
    def labels(self) -> CellLabels:
        """The coordinates for people."""
        return self.cell.labels

    def refused_as(self, other: Result) -> bool:
        """Return True if both are not applicable for the same reason, or neither is; by words where one has no code."""
        if self.refusal and other.refusal:
            return self.refusal == other.refusal
        return self.not_applicable == other.not_applicable

    @property
    def ranked(self) -> bool:
        """True where its figures are columns of a table; those of the ``definitions`` are a panel."""
        return bool(self.about.get("protocol", {}).get("ranked", True))


@dataclass(frozen=True)
class Plan:
    """The cells and figures that a run was asked for."""

    name: str
    title: str
    note: str
    keys: tuple[str, ...]
    summaries: tuple[Mapping[str, Any], ...] = ()
    cells: tuple[CellLabels, ...] = ()  # in the same order; empty in plans of before they were kept
    operating_points: tuple[Mapping[str, str], ...] = ()
    claims: tuple[Mapping[str, Any], ...] = ()  # which published figures are which method's on which network
    left_out: tuple[str, ...] = ()  # sentences on cells without a result, for want of optional data
