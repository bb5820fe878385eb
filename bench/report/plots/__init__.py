"""Figures for a paper: curves, severities and qualitative panels, drawn by matplotlib (extra ``figures``)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Literal, get_args

from bench.core.file_names import file_name
from bench.report.anonymous import without_paths
from bench.report.document import Document
from bench.report.plots.lines import CurveKind, curve_plots, severity_plots
from bench.report.plots.panels import MAPS, panel_plots
from bench.report.plots.style import Plot, Width

FigureKind = Literal[CurveKind, "severity", "panels"]
KINDS: tuple[FigureKind, ...] = get_args(FigureKind)


def plots_of(document: Document, kind: FigureKind, width: Width = "column", maps: int = MAPS) -> Iterator[Plot]:
    """Yield the figures of one of ``KINDS``: a plot per table, grid and metric, or gallery; none where nothing is."""
    yield from _apart(_plots(document, kind, width, maps))


def _plots(document: Document, kind: FigureKind, width: Width, maps: int) -> Iterator[Plot]:
    if kind == "severity":
        yield from severity_plots(document.grids, document.choice.metrics, width)
    elif kind == "panels":
        if document.choice.images:
            scrub = without_paths if document.choice.anonymous else str
            yield from panel_plots(document.run, maps, scrub=scrub)
    else:
        yield from curve_plots(document.run, document.tables, kind, width)


def _apart(plots: Iterable[Plot]) -> Iterator[Plot]:
    """Name plots whose labels differ in spaces alone by what tells them apart."""
    names: set[str] = set()
    for plot in plots:
        name = file_name(plot.name.replace(" ", "_"))
        name = file_name(plot.name) if name in names else name
        names.add(name)
        yield replace(plot, name=name)
