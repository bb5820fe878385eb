"""Thresholds that were chosen on clean data, followed as corruption grows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.api import Undefined, Value
from bench.results import operating, resampled, summary
from bench.results.operating import Carried
from bench.results.polyline import finite, rounded
from bench.results.store import CellLabels, Ref, Run, uncorrupted

RATES = ("tpr", "fpr", "precision", "f1")


class Spot(NamedTuple):
    """A place of a grid."""

    corruption: str
    severity: int


@dataclass(frozen=True, slots=True)
class Estimate:
    """A rate, or the mean of one over corruptions; without a value there is a reason."""

    value: float | None
    lo: float | None
    hi: float | None
    cells: int  # that can be used
    of: int  # that the plan has
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Corrupted:
    """The rates of a threshold that was chosen on clean data, as corruption grows."""

    rule: str  # name of the operating point
    words: str  # how the threshold was chosen
    protocol: str
    calibrate: str  # label of the data set that it was chosen on
    dataset: str  # label of the corrupted data set without its corruption
    model: str
    method: str | None
    threshold: float | None
    severities: tuple[int, ...]  # 0 is the data set as it is, unless the threshold was chosen on it
    means: Mapping[str, tuple[Estimate, ...]]  # over corruptions, by metric (tpr, fpr, precision, f1) and severity
    corruptions: Mapping[str, Mapping[str, tuple[Estimate | None, ...]]]  # each alone; None: the plan has no such cell


def corrupted_points(run: Run) -> list[Corrupted]:
    """Return the operating points of a run on its corrupted data sets, by severity."""
    planned: dict[CellLabels, list[Spot]] = {}
    for cell in run.plan.cells:
        labels, spot = _position(cell)
        planned.setdefault(labels, []).extend([spot] if spot else [])
    groups: dict[tuple[str, CellLabels], dict[Spot | None, Carried]] = {}
    for point in operating.carried(run):
        labels, spot = _position(point.target.labels, point.target.cell.dataset)
        groups.setdefault((point.rule["name"], labels), {})[spot] = point
    return [
        _corrupted(labels, points.pop(None, None), points, planned.get(labels, ()))
        for (_, labels), points in groups.items()
        if points.keys() != {None}
    ]


def _position(labels: CellLabels, dataset: Ref | None = None) -> tuple[CellLabels, Spot | None]:
    """Labels of the data set as it is, and the spot of its corruption; without ``dataset`` by its label alone.

    Grids in another order of channels stay apart.
    """
    base, corruption = (dataset.plain.label, dataset.corruption) if dataset else uncorrupted(labels.dataset)
    if corruption is None:
        return labels, None
    order = "-bgr" if corruption.order == "bgr" else ""
    return labels._replace(dataset=base + order), Spot(corruption.name, corruption.severity)


def _corrupted(
    labels: CellLabels, clean: Carried | None, points: Mapping[Spot | None, Carried], planned: Sequence[Spot]
) -> Corrupted:
    """One operating point of one method: ``points`` on corrupted data, and on the data set as it is."""
    carried = {spot: point for spot, point in points.items() if spot}
    first = clean or next(iter(carried.values()))
    # The spots that the plan has, and those of results where the plan is of before cells had labels.
    spots = list(dict.fromkeys((*planned, *carried)))
    severities = sorted({spot.severity for spot in spots})
    corruptions = list(dict.fromkeys(spot.corruption for spot in spots))
    every = (*([clean] if clean else []), *carried.values())
    thresholds = [point.figures["threshold"] for point in every if not isinstance(point.figures, Undefined)]
    threshold = next((figure.value for figure in thresholds if isinstance(figure, Value)), None)

    def mean(metric: str, severity: int) -> Estimate:
        return _estimate([carried.get(spot) for spot in spots if spot.severity == severity], metric)

    def alone(metric: str, spot: Spot) -> Estimate | None:
        return _estimate([carried.get(spot)], metric) if spot in spots else None

    return Corrupted(
        first.rule["name"],
        operating.RULES[first.rule["rule"]],
        labels.protocol,
        first.rule["calibrate"] if first.source is None else first.source.labels.dataset,
        labels.dataset,
        labels.model,
        labels.method,
        None if threshold is None else finite(threshold),
        (*((0,) if clean else ()), *severities),
        {
            metric: (
                *((_estimate([clean], metric),) if clean else ()),
                *(mean(metric, severity) for severity in severities),
            )
            for metric in RATES
        },
        {
            metric: {
                corruption: (
                    *((None,) if clean else ()),
                    *(alone(metric, Spot(corruption, severity)) for severity in severities),
                )
                for corruption in corruptions
            }
            for metric in RATES
        },
    )


def _estimate(points: Sequence[Carried | None], metric: str) -> Estimate:
    """The unweighted mean, with the interval of the mean where every cell has draws of the same resamples."""
    figures: list[Value] = []
    reason = None
    for point in points:
        if point is None:
            continue
        figure = point.figures if isinstance(point.figures, Undefined) else point.figures[metric]
        if isinstance(figure, Value):
            figures.append(figure)
        elif isinstance(figure, Undefined):
            reason = reason or figure.reason
    usable, asked = len(figures), len(points)
    if usable < asked or not asked:
        return Estimate(None, None, None, usable, asked, reason or summary.UNFINISHED.format(usable, asked))
    value = rounded(np.mean([figure.value for figure in figures]))
    lo, hi = _ends(figures[0]) if asked == 1 else _spread([point.draws.get(metric) for point in points if point])
    return Estimate(value, lo, hi, usable, asked)


def _ends(figure: Value) -> tuple[float | None, float | None]:
    lo, hi = (None if end is None else rounded(end) for end in (figure.lo, figure.hi))
    return lo, hi


def _spread(draws: Sequence[NDArray[np.float64] | None]) -> tuple[float | None, float | None]:
    """The interval of the mean of cells; none where one has no draws, or another number of them."""
    known = [drawn for drawn in draws if drawn is not None]
    if len(known) < len(draws) or len({drawn.size for drawn in known}) != 1:
        return None, None
    low, high = resampled.limits(np.mean(known, axis=0))
    return None if low is None else rounded(low), None if high is None else rounded(high)
