"""The data that a page carries for its script: what charts draw, every cell, and where each figure comes from.

Numbers keep five digits, words that occur often are numbered, and the whole is JSON in gzip in base64: a page of ten
thousand cells stays small, and none of it can be markup.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from bench.api import Metric, Undefined, Value
from bench.report import leaderboard
from bench.report.figures import LACKING, uses_outliers
from bench.report.grids import CLEAN, GRID, Grid, Line, Place, Row, Spot
from bench.report.text import number, percent
from bench.results import by_image, corrupted_points, costs, curves, reliability
from bench.results.store import Result, Run

DIGITS = 5
TABLE = 2  # digits after the point of a percent in tables, unless somebody asks for others

Fields = list[tuple[str, str]]


def encoded(content: Mapping[str, Any]) -> str:
    """As base64 of gzip of JSON; the same content gives the same text."""
    plain = json.dumps(content, separators=(",", ":"), allow_nan=False).encode()
    return base64.b64encode(gzip.compress(plain, 9, mtime=0)).decode()


def short(value: float | None) -> float | None:
    """Five significant digits; None for what is none, or beyond JSON."""
    return None if value is None or value != value or abs(value) == float("inf") else float(f"{value:.{DIGITS}g}")


def shown(value: float | None, metric: Metric, digits: int | None) -> float | None:
    """A figure as tables print it, so that the script rounds nothing a second time."""
    if value is None or value != value or abs(value) == float("inf"):
        return None
    after = TABLE if digits is None else digits
    printed = float(number(value, metric, digits))
    return round(printed / 100, after + 2) if percent(metric) else printed


def metric_of(name: str, metric: Metric) -> dict[str, Any]:
    """What a script needs to print and to rank by a metric."""
    return {"name": name, "title": metric.title, "better": metric.better, "percent": percent(metric)}


class Words:
    """Words by number, in the order in which they came."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def __call__(self, word: str) -> int:
        return self._numbers.setdefault(word, len(self._numbers))

    @property
    def all(self) -> list[str]:
        return list(self._numbers)


def cells(
    results: Sequence[Result], best: set[tuple[str, str]], fields: Iterable[Fields], digits: int | None = None
) -> dict[str, Any]:
    """Every result: its figures with their intervals, and what differs in its provenance.

    ``best`` holds keys and metrics, ``fields`` the provenance of each result in order. A figure is the number of the
    reason why there is none, or ``[value]``, ``[value, lo, hi]`` or ``[value, lo, hi, err, best]``.
    """
    words, labels = Words(), {axis: Words() for axis in ("protocol", "model", "dataset", "method")}
    definitions: dict[str, list[dict[str, Any]]] = {}
    rows = []
    for result, provenance in zip(results, fields, strict=True):
        metrics = definitions.setdefault(
            result.labels.protocol, [metric_of(name, metric) for name, metric in result.definitions.items()]
        )
        figures = [_figure(result, entry["name"], best, words, digits) for entry in metrics]
        numbers = [labels[axis](result.labels.on(axis)) for axis in labels]
        marks = result.partial + 2 * uses_outliers(result) + 4 * bool(result.not_applicable)
        flat = [words(part) for name, text in provenance for part in (name, text.replace(result.key, "{key}"))]
        rows.append([result.key, *numbers, marks, result.images, figures, flat])
    return {
        "rows": rows,
        "labels": {axis: numbered.all for axis, numbered in labels.items()},
        "metrics": definitions,
        "words": words.all,
    }


def _figure(result: Result, name: str, best: set[tuple[str, str]], words: Words, digits: int | None) -> Any:
    figure, metric = result.metrics.get(name, LACKING), result.definitions[name]
    if isinstance(figure, Undefined):
        return words(figure.reason)
    lo, hi = (shown(end, metric, digits) for end in (figure.lo, figure.hi))
    first = (result.key, name) in best
    if first or figure.err:
        return [shown(figure.value, metric, digits), lo, hi, short(figure.err), int(first)]
    return [shown(figure.value, metric, digits)] + ([] if lo is None and hi is None else [lo, hi])


def board(run: Run, table: leaderboard.Table) -> dict[str, Any]:
    """Return the curves of one table, a series per row; rows without any are left out."""
    series = []
    for line in table.lines:
        drawn = {name: content for name, draw in DRAWN.items() if (content := draw(run, line.result)) is not None}
        name = f"{line.method} on {line.model}" if line.method and table.model is None else line.method or line.model
        if drawn:
            of = {"name": name, "of": [line.method or "", line.model], "outliers": line.facts.outliers}
            series.append(of | {"rank": line.rank, "key": line.result.key} | drawn)
    return {"series": series}


def _curves(run: Run, result: Result) -> dict[str, Any] | None:
    curve = curves.roc_pr(run, result)
    if curve is None:
        return None
    points = [
        [point.words, *map(short, (point.fpr, point.tpr, point.precision, point.threshold))] for point in curve.points
    ]
    share = short(curve.positives / (curve.positives + curve.negatives))
    return {"roc": [curve.fpr, curve.tpr], "pr": [curve.recall, curve.precision], "points": points, "share": share}


def _risk(run: Run, result: Result) -> dict[str, Any] | None:
    curve = curves.risk_coverage(run, result)
    return None if curve is None else {"line": [curve.coverage, curve.risk], "perfect": curve.perfect}


def _reliability(run: Run, result: Result) -> dict[str, Any] | None:
    curve = reliability.reliability(run, result)
    return None if curve is None else {"line": [curve.confidence, curve.accuracy], "pixels": curve.pixels}


def _images(run: Run, result: Result) -> dict[str, Any] | None:
    figures = by_image.by_image(run, result)
    if figures is None or not figures.ids:
        return None
    metric = metric_of(figures.metric, result.definitions[figures.metric])  # not every metric has figures of images
    return {"metric": metric, "ids": figures.ids, "values": figures.values, "undefined": len(figures.undefined)}


DRAWN = {"curves": _curves, "risk": _risk, "reliability": _reliability, "images": _images}


def grid(of: Grid, digits: int | None = None) -> dict[str, Any]:
    """Return every cell of a grid by metric, row, corruption and severity, and the means beside them."""
    views = list(of.views.values())
    rows = [line.row for line in views[0].lines] if views else []
    steps = (*((0,) if CLEAN in of.places else ()), *of.severities)
    keys = [[[_key(row, (name, severity)) for severity in of.severities] for name in of.corruptions] for row in rows]
    return {
        "families": [[family, list(names)] for family, names in of.families.items()],
        "severities": of.severities,
        "steps": steps,  # of the severity curve; 0 is the data set as it is
        "model": of.model,
        "rows": [[row.name, row.outliers] for row in rows],
        "scored": of.scored,
        "keys": keys,
        "views": [
            metric_of(view.name, view.metric)
            | {
                "ends": view.ends and [short(end) for end in view.ends],
                "rows": [_line(of, view.metric, view.of(row), steps, digits) for row in rows],
            }
            for view in views
        ],
    }


def _key(row: Row, spot: Spot) -> str | None:
    result = row.cells.get(spot)
    return result.key if result else None


def _line(of: Grid, metric: Metric, line: Line, steps: Sequence[int], digits: int | None) -> dict[str, Any]:
    def mean(place: Place) -> list[float | None] | str:
        value = line.means[place]
        if value.value is None:
            return f"{value.cells} of {value.of}"
        ends = [shown(each, metric, digits) for each in (value.value, value.lo, value.hi)]
        return [*ends, int(place in line.best), *([short(value.err)] * bool(value.err))]

    def cell(spot: Spot) -> list[Any]:
        figure = line.figure(spot)
        return [shown(figure.value, metric, digits) if isinstance(figure, Value) else None, line.mark(spot)]

    return {
        "cells": [[cell((name, severity)) for severity in of.severities] for name in of.corruptions],
        "corruptions": [mean(Place("corruption", name)) for name in of.corruptions],
        "families": [mean(Place("family", family)) for family in of.families],
        "severities": [mean(Place("severity", severity)) for severity in of.severities],
        "curve": [mean(Place("severity", step) if step else CLEAN) for step in steps],
        "grid": mean(GRID),
    }


def cost(run: Run, metrics: Mapping[str, Mapping[str, Metric]], but: Container[str]) -> list[dict[str, Any]]:
    """Return what methods cost beside the figure that ranks them.

    ``metrics`` are those of each protocol, ``but`` the keys of results that are left out.
    """
    results = tuple(result for result in run.results if result.key not in but)
    saw = {result.labels.row for result in results if uses_outliers(result)}
    return [
        {
            "protocol": row.protocol, "dataset": row.dataset, "model": row.model, "method": row.method,
            "outliers": (row.model, row.method) in saw,
            "forward": short(row.forward), "own": short(row.own), "ms": short(row.total), "mb": short(row.memory_mb),
            "figure": short(row.figure), "lo": short(row.lo), "hi": short(row.hi), "device": row.device,
            "partial": row.partial, "metric": metric_of(row.metric, metrics[row.protocol][row.metric]),
        }
        for row in costs.cost(replace(run, results=results))
        if row.total is not None and row.figure is not None
    ]  # fmt: skip


def carried(rows: Sequence[corrupted_points.Corrupted]) -> list[dict[str, Any]]:
    """Return what thresholds chosen on clean data do as corruption grows."""
    return [
        {
            "rule": row.rule, "words": row.words, "protocol": row.protocol, "dataset": row.dataset, "model": row.model,
            "method": row.method or "", "calibrate": row.calibrate, "severities": row.severities,
            "means": {
                name: [[short(each.value), short(each.lo), short(each.hi)] for each in estimates]
                for name, estimates in row.means.items()
            },
        }
        for row in rows
    ]  # fmt: skip
