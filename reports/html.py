"""A run as one page that opens offline for years: no script, style, font or image from elsewhere.

Tables and pictures are there without a script. The script sorts and filters them, draws the charts with Observable
Plot on D3, both embedded with their licences, and prints the cells on demand from the data at the end of the page.
Labels, titles and notes are hostile input: everything is escaped, and the page's own policy lets nothing run or load
but the styles and the script that came with it.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import ClassVar

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from bench.api import Format, Metric, Undefined
from bench.report import leaderboard, text
from bench.report.anonymous import without_paths
from bench.report.document import Document
from bench.report.figures import Change, pair, uses_outliers
from bench.report.grids import CLEAN, GRID, Place
from bench.report.leaderboard import Table
from bench.report.merge_runs import Merged
from bench.report.page import data as embedded
from bench.report.page import galleries
from bench.report.page.panels import tables_of
from bench.report.page.provenance import cost_of, facts_of, fields_of, fitted_by, missing_from, shared_by, sources_of
from bench.report.page.sections import GridSheet, SummarySheet, defining, sheet_of
from bench.report.selection import Choice
from bench.results import curves
from bench.results.store import Result, Run

MIOU = Metric("mIoU", "mean over the classes of intersection over union")
SCRIPTS = ("page.js", "data.js", "charts.js", "heat.js", "gallery.js")
# What Observable Plot 0.6.17 writes into each of its charts, with the class name ``drawn``: the policy allows no other.
PLOT_STYLE = """:where(.drawn) {
  --plot-background: white;
  display: block;
  height: auto;
  height: intrinsic;
  max-width: 100%;
}
:where(.drawn text),
:where(.drawn tspan) {
  white-space: pre;
}"""


@dataclass(frozen=True)
class Html(Format):
    """The whole page; links to results are relative to the run directory."""

    name: ClassVar[str] = "html"
    source: ClassVar[str] = "https://html.spec.whatwg.org"
    suffix: ClassVar[str] = ".html"

    def write(self, document: Document) -> str:
        return _page(document)


def _page(document: Document) -> str:
    run, chosen, tables, found = document.run, document.choice, document.tables, document.grids
    inside = [result for grid in found for result in grid.results]
    protocols = defining([*tables, *found])
    said = without_paths if chosen.anonymous else str
    albums = galleries.albums(run, said) if chosen.images else []
    sheets = [
        sheet_of(f"t{index}", run, table, protocols, galleries.thumbnails(albums, table.dataset))
        for index, table in enumerate(tables, 1)
    ]
    grid_sheets = [GridSheet(f"g{index}", grid, protocols) for index, grid in enumerate(found, 1)]
    shared = shared_by(run.results)
    gridded = {result.key for result in inside}
    carried = curves.corrupted_points(run)
    panels = tables_of(run)
    cost = cost_of([result for result in run.results if result.key not in gridded])
    metrics = {table.protocol: table.metrics for table in tables} | {grid.protocol: grid.metrics for grid in found}
    copied = [sheet.copied for sheet in sheets] + [sheet.copied for sheet in grid_sheets]
    data = {
        "cells": embedded.cells(
            run.results,
            _bold(run, tables, inside),
            (fields_of(result, shared) for result in run.results),
            chosen.digits,
        ),
        "boards": {sheet.id: sheet.drawn for sheet in sheets},
        "grids": {sheet.id: embedded.grid(sheet.grid, chosen.digits) for sheet in grid_sheets},
        "cost": embedded.cost(run, metrics, gridded),
        "carried": embedded.carried(carried),
    }
    contents = [(sheet.id, f"{sheet.table.title} · {sheet.table.dataset}") for sheet in sheets]
    contents += [(sheet.id, f"{sheet.grid.title} · {sheet.grid.name}") for sheet in grid_sheets]
    contents += [
        (name, title)
        for name, title, there in (
            ("disagree", "Why your numbers disagree", panels),
            ("gallery", "Gallery", albums),
            ("carried", "Operating points", carried),
            ("summaries", "Over several cells", document.summaries),
            ("definitions", "Definitions", protocols),
            ("cost", "Cost", cost.rows),
            ("cells", "Every cell", True),
        )
        if there
    ]
    script, style = _script(), _template("style.css") + _template("grid.css")
    return (
        _environment(chosen, linked=not chosen.anonymous and not isinstance(run, Merged))
        .get_template("page.html")
        .render(
            plan=run.plan,
            results=run.results,
            models=list(dict.fromkeys(result.labels.model for result in run.results)),
            some_saw=any(map(uses_outliers, run.results)),
            some_published=any(each.entries for each in copied),
            contents=contents,
            sheets=sheets,
            grids=grid_sheets,
            panels=panels,
            albums=albums,
            carried=carried,
            summaries=[SummarySheet(table, protocols) for table in document.summaries],
            protocols=list(protocols.values()),
            methods=sources_of(run.results, {result.key: grid.name for grid in found for result in grid.results}),
            cost=cost,
            left_out_of_cost=bool(gridded),
            fitted=fitted_by(run.results),
            remarks=run.remarks if isinstance(run, Merged) else (),
            facts=facts_of(run, shared),
            shared=sorted(shared.items()),
            missing=missing_from(run),
            missing_count=run.missing,
            digits=embedded.TABLE if chosen.digits is None else chosen.digits,
            data=Markup(embedded.encoded(data)),  # noqa: S704 - base64
            style=Markup(style),  # noqa: S704 - a file of this package
            script=Markup(script),  # noqa: S704
            style_hashes=(_policy_hash(style), _policy_hash(PLOT_STYLE)),
            script_hash=_policy_hash(script),
        )
        .lstrip()
    )


def _environment(choice: Choice, *, linked: bool) -> Environment:
    environment = Environment(
        loader=FunctionLoader(_template),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )

    def number(value: float, metric: Metric) -> str:
        return text.number(value, metric, choice.digits)

    def interval(lo: float | None, hi: float | None, metric: Metric) -> str:
        return text.interval(lo, hi, metric, choice.digits)

    def difference(moved: Change, metric: Metric) -> str:
        return text.difference(moved.value, metric, choice.digits)

    environment.filters |= {"figure": text.minus, "count": text.count, "breakable": _breakable, "percent": text.percent}
    environment.filters |= {"millions": text.millions}
    environment.globals |= {"number": number, "interval": interval, "difference": difference, "linked": linked}
    environment.globals |= {"certified": text.certified, "CLEAN": CLEAN, "GRID": GRID, "Place": Place}
    environment.globals |= {"MIOU": MIOU, "RATE": MIOU, "pair": pair}
    environment.tests["undefined_figure"] = lambda value: isinstance(value, Undefined)
    return environment


def _bold(run: Run, tables: Sequence[Table], inside: Sequence[Result]) -> set[tuple[str, str]]:
    """Keys and metrics of all figures that lead their table, those of corrupted data sets included."""
    return {
        (line.result.key, name)
        for table in (*tables, *leaderboard.tables(run, inside))
        for line in table.lines
        for name, figure in zip(table.metrics, line.figures, strict=True)
        if figure.best
    }


def _script() -> str:
    """The libraries with their licences, and what is ours."""
    parts = []
    for name in ("d3", "plot"):
        code = "d3.min.js" if name == "d3" else "plot.umd.min.js"
        parts.append(f"/*\n{_template(f'vendor/{name}.LICENSE').strip()}\n*/\n{_template(f'vendor/{code}').strip()}\n")
    return "".join(parts) + "(() => {\n'use strict';\n" + "".join(map(_template, SCRIPTS)) + "})();\n"


def _template(name: str) -> str:
    return resources.files("bench.reports").joinpath("templates", name).read_text(encoding="utf-8")


def _policy_hash(content: str) -> str:
    """As a Content-Security-Policy spells it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


def _breakable(label: str) -> Markup:
    """Let a narrow column break a label after a bracket, a comma or an underscore."""
    return Markup("<wbr>").join(re.split(r"(?<=[\[,_=/])", label))
