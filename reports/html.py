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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import resources
from typing import Any, ClassVar

from jinja2 import BytecodeCache, Environment, FunctionLoader, StrictUndefined
from jinja2.bccache import Bucket
from markupsafe import Markup

from bench.api import Format, Metric, Undefined
from bench.report import leaderboard, matrix, text
from bench.report.anonymous import without_paths
from bench.report.claims import CLAIMS, KINDS
from bench.report.document import Document
from bench.report.figures import pair, uses_outliers
from bench.report.grids import CLEAN, GRID, Place
from bench.report.merge_runs import Merged
from bench.report.page import data, galleries
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
from bench.report.page.views import BARS, LeaderBoard, addresses, cards
from bench.report.selection import Choice
from bench.results.corrupted_points import Corrupted, corrupted_points

MIOU = Metric("mIoU", "mean over the classes of intersection over union")
STYLES = ("style.css", "grid.css", "matrix.css")
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
    albums = galleries.albums(run, without_paths if choice.anonymous else str) if choice.images else []
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
        tuple(places.by_id[sheet.id] for sheet in _block_sheets(document, sheets, grid_sheets)),
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
    script, style = _script(), "".join(map(_template, STYLES)) + _bars()
    environment = _environment(choice, linked=not choice.anonymous and not isinstance(run, Merged))
    page = environment.get_template("page.html").render(
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
        style_hashes=(_policy_hash(style), _policy_hash(PLOT_STYLE)),
        script_hash=_policy_hash(script),
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


def _block_sheets(
    document: Document, sheets: Sequence[Sheet], grid_sheets: Sequence[GridSheet]
) -> Iterator[Sheet | GridSheet]:
    """The table of each column group of the leaderboard; of a grid that of its first network."""
    for block in document.matrix.blocks:
        if block.grid:
            names = ((each, each.grid.protocol, each.grid.name) for each in grid_sheets)
            yield next(each for each, *name in names if name == [block.protocol, block.dataset])
        else:
            tables = ((each, each.table.protocol, each.table.dataset, each.table.version) for each in sheets)
            yield next(each for each, *name in tables if name == [block.protocol, block.dataset, block.version])


class _Compiled(BytecodeCache):
    """Templates as Python code, for the next page of this process: to compile them takes longer than to fill them."""

    def __init__(self) -> None:
        self.templates: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if content := self.templates.get(bucket.key):
            bucket.bytecode_from_string(content)

    def dump_bytecode(self, bucket: Bucket) -> None:
        self.templates[bucket.key] = bucket.bytecode_to_string()


COMPILED = _Compiled()


def _environment(choice: Choice, *, linked: bool) -> Environment:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, bytecode_cache=COMPILED
    )
    environment.loader = FunctionLoader(_template)
    environment.filters |= {
        "figure": text.minus,
        "count": text.count,
        "images": partial(text.of_images, shown=text.count),
        "breakable": _breakable,
        "percent": text.percent,
    }
    environment.filters |= {"millions": text.millions, "base64": _base64}
    for function in (text.number, text.interval, text.difference):
        environment.globals[function.__name__] = partial(function, digits=choice.digits)
    environment.globals |= {"certified": text.certified, "CLEAN": CLEAN, "GRID": GRID, "Place": Place}
    environment.globals |= {"CLAIMS": CLAIMS, "KINDS": KINDS, "MEAN_RANK": matrix.MEAN_RANK}
    environment.globals |= {"MIOU": MIOU, "pair": pair, "linked": linked}
    environment.tests["undefined_figure"] = lambda value: isinstance(value, Undefined)
    return environment


def _script() -> str:
    """The libraries with their licences, and what is ours."""
    parts = []
    for name in ("d3", "plot"):
        code = "d3.min.js" if name == "d3" else "plot.umd.min.js"
        parts.append(f"/*\n{_template(f'vendor/{name}.LICENSE').strip()}\n*/\n{_template(f'vendor/{code}').strip()}\n")
    return "".join(parts) + "(() => {\n'use strict';\n" + "".join(map(_template, SCRIPTS)) + "})();\n"


def _bars() -> str:
    """A class for each length of a bar: the page's policy allows no style in place."""
    return "".join(f".b{step} {{ --bar: {100 * step / BARS:g}%; }}\n" for step in range(1, BARS + 1))


def _template(name: str) -> str:
    return resources.files("bench.reports").joinpath("templates", name).read_text(encoding="utf-8")


def _policy_hash(content: str) -> str:
    """As a Content-Security-Policy spells it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


def _base64(words: str) -> str:
    """UTF-8 in base64, for an address of data."""
    return base64.b64encode(words.encode()).decode()


def _breakable(label: str) -> Markup:
    """Let a narrow column break a label after a bracket, a comma or an underscore."""
    return Markup("<wbr>").join(re.split(r"(?<=[\[,_=/])", label))
