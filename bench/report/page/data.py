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
from bench.report.grids import CLEAN, GRID, Grid, Line, Place, Row, View
from bench.report.text import number, percent
from bench.results import curves
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
    for result, said in zip(results, fields, strict=True):
        metrics = definitions.setdefault(
            result.labels.protocol, [metric_of(name, metric) for name, metric in result.definitions.items()]
        )
        figures = [_figure(result, entry["name"], best, words, digits) for entry in metrics]
        place = [labels[axis](result.labels.on(axis)) for axis in labels]
        marks = result.partial + 2 * uses_outliers(result) + 4 * bool(result.not_applicable)
        flat = [words(part) for name, text in said for part in (name, text.replace(result.key, "{key}"))]
        rows.append([result.key, *place, marks, result.images, figures, flat])
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
    """The curves of one table, a series per row; rows without any are left out."""
    series = []
    for line in table.lines:
        found = {
            "curves": _curves(run, line.result),
            "risk": _risk(run, line.result),
            "reliability": _reliability(run, line.result),
            "images": _images(run, line.result),
        }
        there = {name: content for name, content in found.items() if content is not None}
        if there:
            series.append(_series(line, several=table.model is None) | there)
    return {"series": series}


def _series(line: leaderboard.Line, *, several: bool) -> dict[str, Any]:
    name = line.method or line.model
    return {
        "name": f"{name} on {line.model}" if line.method and several else name,
        "of": [line.method or "", line.model],
        "outliers": line.facts.outliers,
        "rank": line.rank,
        "key": line.result.key,
    }


def _curves(run: Run, result: Result) -> dict[str, Any] | None:
    found = curves.roc_pr(run, result)
    if found is None:
        return None
    return {
        "roc": [found.fpr, found.tpr],
        "pr": [found.recall, found.precision],
        "points": [
            [point.words, short(point.fpr), short(point.tpr), short(point.precision), short(point.threshold)]
            for point in found.points
        ],
        "share": short(found.positives / (found.positives + found.negatives)),
    }


def _risk(run: Run, result: Result) -> dict[str, Any] | None:
    found = curves.risk_coverage(run, result)
    return None if found is None else {"line": [found.coverage, found.risk], "perfect": found.perfect}


def _reliability(run: Run, result: Result) -> dict[str, Any] | None:
    found = curves.reliability(run, result)
    return None if found is None else {"line": [found.confidence, found.accuracy], "pixels": found.pixels}


def _images(run: Run, result: Result) -> dict[str, Any] | None:
    found = curves.by_image(run, result)
    if found is None or not found.ids:
        return None
    metric = metric_of(found.metric, result.definitions[found.metric])  # not every metric has figures of images
    return {"metric": metric, "ids": found.ids, "values": found.values, "undefined": len(found.undefined)}


def grid(found: Grid, digits: int | None = None) -> dict[str, Any]:
    """Every cell of a grid by metric, row, corruption and severity, and the means beside them."""
    views = list(found.views.values())
    rows = {line.row.name: line.row for line in views[0].lines} if views else {}
    severities = (*((0,) if CLEAN in found.places else ()), *found.severities)
    return {
        "families": [[family, list(names)] for family, names in found.families.items()],
        "severities": found.severities,
        "steps": severities,  # of the severity curve; 0 is the data set as it is
        "model": found.model,
        "rows": [[name, row.outliers] for name, row in rows.items()],
        "scored": found.scored,
        "keys": [[[_key(row, (name, each)) for each in found.severities] for name in found.corruptions]
                 for row in rows.values()],
        "views": [_view(found, view, list(rows), severities, digits) for view in views],
    }  # fmt: skip


def _view(
    found: Grid, view: View, names: Sequence[str], severities: Sequence[int], digits: int | None
) -> dict[str, Any]:
    lines = {line.row.name: line for line in view.lines}
    return metric_of(view.name, view.metric) | {
        "ends": view.ends and [short(end) for end in view.ends],
        "rows": [_line(found, view.metric, lines[name], severities, digits) for name in names],
    }


def _key(row: Row, spot: tuple[str, int]) -> str | None:
    result = row.cells.get(spot)
    return result.key if result else None


def _line(found: Grid, metric: Metric, line: Line, severities: Sequence[int], digits: int | None) -> dict[str, Any]:
    def mean(place: Place) -> list[float | None] | str:
        made = line.means[place]
        if made.value is None:
            return f"{made.cells} of {made.of}"
        ends = [shown(each, metric, digits) for each in (made.value, made.lo, made.hi)]
        return [*ends, int(place in line.best), *([short(made.err)] * bool(made.err))]

    def cell(spot: tuple[str, int]) -> list[Any]:
        figure = line.figure(spot)
        return [shown(figure.value, metric, digits) if isinstance(figure, Value) else None, line.mark(spot)]

    return {
        "cells": [[cell((name, each)) for each in found.severities] for name in found.corruptions],
        "corruptions": [mean(Place("corruption", name)) for name in found.corruptions],
        "families": [mean(Place("family", family)) for family in found.families],
        "severities": [mean(Place("severity", each)) for each in found.severities],
        "curve": [mean(Place("severity", each) if each else CLEAN) for each in severities],
        "grid": mean(GRID),
    }


def cost(run: Run, metrics: Mapping[str, Mapping[str, Metric]], but: Container[str]) -> list[dict[str, Any]]:
    """What methods cost beside the figure that ranks them.

    ``metrics`` are those of each protocol, ``but`` the keys of results that are left out.
    """
    shown = tuple(result for result in run.results if result.key not in but)
    saw = {(result.labels.model, result.labels.method) for result in shown if uses_outliers(result)}
    return [
        {
            "protocol": one.protocol, "dataset": one.dataset, "model": one.model, "method": one.method,
            "outliers": (one.model, one.method) in saw,
            "forward": short(one.forward), "own": short(one.own), "ms": short(one.total), "mb": short(one.memory_mb),
            "figure": short(one.figure), "lo": short(one.lo), "hi": short(one.hi), "device": one.device,
            "partial": one.partial, "metric": metric_of(one.metric, metrics[one.protocol][one.metric]),
        }
        for one in curves.cost(replace(run, results=shown))
        if one.total is not None and one.figure is not None
    ]  # fmt: skip


def carried(found: Sequence[curves.Corrupted]) -> list[dict[str, Any]]:
    """What thresholds chosen on clean data do as corruption grows."""
    return [
        {
            "rule": one.rule,
            "words": one.words,
            "protocol": one.protocol,
            "dataset": one.dataset,
            "model": one.model,
            "method": one.method or "",
            "calibrate": one.calibrate,
            "severities": one.severities,
            "means": {
                name: [[short(each.value), short(each.lo), short(each.hi)] for each in estimates]
                for name, estimates in one.means.items()
            },
        }
        for one in found
    ]
