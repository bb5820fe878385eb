"""Figures for a paper: a folder of PDF, SVG and PNG files, one per figure and type."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge, MinLen

from bench.api import Format
from bench.core.errors import MissingData
from bench.report.document import Document
from bench.report.plots import KINDS, FigureKind, plots_of
from bench.report.plots.panels import MAPS
from bench.report.plots.style import TYPES, FileType, Plot, Width


@dataclass(frozen=True)
class Figures(Format):
    """ROC, precision-recall, risk-coverage and reliability curves, figures by severity, and qualitative panels."""

    name: ClassVar[str] = "figures"
    source: ClassVar[str] = "matplotlib; colours: Okabe and Ito 2008, Color universal design"
    suffix: ClassVar[str] = "/"

    kinds: Annotated[tuple[FigureKind, ...], MinLen(1)] = KINDS
    types: Annotated[tuple[FileType, ...], MinLen(1)] = TYPES
    width: Width = "column"  # column or page: one column of a two-column paper, or both; panels always have both
    maps: Annotated[int, Ge(1)] = MAPS  # score maps beside each other in a panel

    def write(self, document: Document) -> Mapping[str, bytes]:
        """Return PDF, SVG and PNG by file name; MissingData where the run holds nothing that can be drawn."""
        files = {f"{plot.name}.{type_}": plot.content(type_) for plot in self._plots(document) for type_ in self.types}
        if not files:
            raise MissingData(
                f"{document.run.path}: nothing there can be drawn as {', '.join(self.kinds)}; "
                "curves need finished cells with their counts, severities a grid, panels --gallery"
            )
        return files

    def _plots(self, document: Document) -> Iterator[Plot]:
        for kind in self.kinds:
            yield from plots_of(document, kind, self.width, self.maps)
