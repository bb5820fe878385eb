"""A run as one page that opens offline for years: no script, style, font or image from elsewhere.

Tables and pictures are there without a script. The script sorts and filters them, draws the charts with Observable
Plot on D3, both embedded with their licences, and prints the cells on demand from the data at the end of the page.
Labels, titles and notes are hostile input: everything is escaped, and the page's own policy lets nothing run or load
but the styles and the script that came with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from markupsafe import Markup

from bench.api import Format, Metric
from bench.report import leaderboard
from bench.report.anonymous import without_paths
from bench.report.document import Document
from bench.report.figures import uses_outliers
from bench.report.merge_runs import Merged
from bench.report.page import data, galleries, templates
from bench.report.page.panels import tables_of
from bench.report.page.provenance import (
    Suite,
    command_of,
    cost_of,
    facts_of,
    fields_of,
    fitted_by,
    missing_from,
    origin_of,
    shared_by,
    sources_of,
    suites_of,
)
from bench.report.page.sections import GridSheet, Sheet, SummarySheet, defining
from bench.report.page.templates import policy_hash, template
from bench.report.page.views import LeaderBoard, addresses, cards, sheets_of_blocks
from bench.results.corrupted_points import Corrupted, corrupted_points

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
    run, choice, tables, grids = document.run, document.choice, document.tables, document.grids
    protocols = defining([*tables, *grids])
    size, scrub = galleries.SIZES[choice.gallery_size], without_paths if choice.anonymous else str
    albums = galleries.albums(run, size, scrub) if choice.images else []
    sheets = [
        Sheet(
            *(f"t{index}", run, table, protocols, galleries.thumbnails(albums, table.dataset)),
            claimed=document.claims.places,
        )
        for index, table in enumerate(tables, 1)
    ]
    grid_sheets = [GridSheet(f"g{index}", grid, protocols) for index, grid in enumerate(grids, 1)]
    shared = shared_by(run.results)
    suites = [] if choice.anonymous else suites_of(run)
    grid_names = {result.key: grid.name for grid in grids for result in grid.results}
    carried = corrupted_points(run)
    panels = tables_of(run)
    cost = cost_of([result for result in run.results if result.key not in grid_names])
    places = addresses(sheets, grid_sheets, albums, run)
    spent = data.cost(run, metrics_of(document), set(grid_names))
    method_cards = cards(sheets, grid_sheets, places, spent)
    named = {each.method for each in method_cards}
    board = LeaderBoard(
        document.matrix,
        tuple(places.by_id[sheet.id] for sheet in sheets_of_blocks(document.matrix, sheets, grid_sheets)),
        {name: path for name, path in places.methods.items() if name in named},
    )
    departures = leaderboard.departing(run.results)
    parts: tuple[tuple[str, str, object], ...] = (
        ("/", "Leaderboard", True),
        ("/data", "Data sets", sheets),
        (places.by_id[grid_sheets[0].id] if grid_sheets else "", "Corruptions", grid_sheets),
        ("/method", "Methods", method_cards),
        ("/disagree/1", "Why numbers disagree", panels),
        ("/definitions", "Definitions", True),
        ("/operating-points", "Operating points", carried),
        ("/summary/1", "Over several cells", document.summaries),
        ("/cost", "Cost", cost.rows),
        ("/cells", "Every cell", True),
        ("/provenance", "Provenance", True),
    )
    published = [sheet.published for sheet in sheets] + [sheet.published for sheet in grid_sheets]
    script, style = _script(), templates.style()
    linked = not choice.anonymous and not isinstance(run, Merged)
    page = (
        templates.environment(choice.digits)
        .get_template("page.html")
        .render(
            to=lambda path: f"#{path}",
            linked=linked,
            charted=True,
            cell_at=lambda result: f"cells/{result.key}.json" if linked else "#cells",
            defined_at=lambda identifier: f"#{identifier}",
            plan=run.plan,
            results=run.results,
            models=list(dict.fromkeys(result.labels.model for result in run.results)),
            some_saw=any(map(uses_outliers, run.results)),
            some_published=any(others.entries for others in published),
            navigation=[(path, title) for path, title, content in parts if content] if run.results else [],
            matrix=board,
            tasks={block.protocol: block.title for block in document.matrix.blocks},
            origin=origin_of(run, shared),
            cards=method_cards,
            paths=places.by_id,
            tabs_of=places.tabs,
            galleries=places.galleries,
            shots=places.shots,
            claims=document.claims,
            sheets=sheets,
            grids=grid_sheets,
            panels=panels,
            carried=carried,
            summaries=[SummarySheet(table, protocols) for table in document.summaries],
            protocols=list(protocols.values()),
            departures=departures,
            sources=sources_of(run.results, grid_names),
            cost=cost,
            left_out_of_cost=bool(grid_names),
            fitted=fitted_by(run.results),
            remarks=run.remarks if isinstance(run, Merged) else (),
            left_out=run.plan.left_out,
            facts=facts_of(run, shared),
            shared=sorted(shared.items()),
            missing=missing_from(run),
            missing_count=run.missing,
            failures=document.failures,
            digits=data.TABLE if choice.digits is None else choice.digits,
            suites=suites,
            data=Markup(_data(document, sheets, grid_sheets, shared, carried, suites, spent)),  # noqa: S704 - base64
            style=Markup(style),  # noqa: S704 - a file of this package
            script=Markup(script),  # noqa: S704
            style_hashes=(policy_hash(style), policy_hash(PLOT_STYLE)),
            script_hash=policy_hash(script),
        )
    )
    return page.lstrip()


def _data(
    document: Document,
    sheets: Sequence[Sheet],
    grid_sheets: Sequence[GridSheet],
    shared: Mapping[str, str],
    carried: Sequence[Corrupted],
    suites: Sequence[Suite],
    spent: Sequence[Mapping[str, Any]],
) -> str:
    """What the page carries for its script."""
    run, digits = document.run, document.choice.digits
    inside = [result for sheet in grid_sheets for result in sheet.grid.results]
    best = {  # keys and metrics of all figures that lead their table, those of corrupted data sets included
        (line.result.key, name)
        for table in (*document.tables, *leaderboard.tables(run, inside))
        for line in table.lines
        for name, figure in zip(table.metrics, line.figures, strict=True)
        if figure.best
    }
    fields = (fields_of(result, shared, command_of(run, result, suites)) for result in run.results)
    return data.encoded({
        "cells": data.cells(run.results, best, fields, digits),
        "boards": {sheet.id: sheet.drawn for sheet in sheets},
        "grids": {sheet.id: data.grid(sheet.grid, digits) for sheet in grid_sheets},
        "cost": spent,
        "carried": data.carried(carried),
    })  # fmt: skip


def metrics_of(document: Document) -> dict[str, Mapping[str, Metric]]:
    """Return the metrics of each protocol by its label."""
    metrics = {table.protocol: table.metrics for table in document.tables}
    return metrics | {grid.protocol: grid.metrics for grid in document.grids}


def _script() -> str:
    """The libraries with their licences, and what is ours."""
    parts = []
    for name in ("d3", "plot"):
        code = "d3.min.js" if name == "d3" else "plot.umd.min.js"
        parts.append(f"/*\n{template(f'vendor/{name}.LICENSE').strip()}\n*/\n{template(f'vendor/{code}').strip()}\n")
    return "".join(parts) + "(() => {\n'use strict';\n" + "".join(map(template, SCRIPTS)) + "})();\n"
