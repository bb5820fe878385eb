"""Two sets of results side by side: differences with paired intervals.

Both sides resampled the same images with the same weights, so the n-th replicate of one minus the n-th of the other is
a replicate of the difference: what is common to both, the easy and the hard images, cancels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bench.api import Metric, Undefined, Value
from bench.core.errors import MissingData, UnknownName, UsageError
from bench.results import differing, resampled, store
from bench.results.store import Result, Run
from bench.suite.cells import AXES
from bench.suite.kinds import Kind

Replicates = NDArray[np.float64]


@dataclass(frozen=True)
class Side:
    """A run, and which of its cells."""

    run: Run
    patterns: dict[Kind, str]

    def cells(self) -> list[Result]:
        return [result for result in self.run.results if result.ranked and self._kept(result)]

    def _kept(self, result: Result) -> bool:
        names = {axis: ref.name if ref else "" for axis, ref in result.cell.refs().items()}
        return all(
            fnmatchcase(names[axis], pattern) or result.labels.on(axis) == pattern
            for axis, pattern in self.patterns.items()
        )


@dataclass(frozen=True)
class Difference:
    """Second minus first, of one figure of one pair of cells."""

    cell: str  # what the two have in common
    first: str  # and what tells them apart
    second: str
    metric: str
    better: Literal["higher", "lower", "neither"]
    one: float | None
    other: float | None
    difference: float | None
    err: float  # certified half-width of the difference
    lo: float | None
    hi: float | None
    reason: str | None  # why there is no difference, or no interval
    unit: Literal["rate", "number"] = "rate"
    largest: float = 1.0  # difference that there can be
    same: bool = False  # True where both lack the figure for the same reason
    alike: bool = True  # False where one of them is of other images, or of fewer
    whole: bool = False  # True where ``first`` and ``second`` are the paths of runs

    @property
    def definition(self) -> Metric:
        """The metric as far as printing needs it."""
        return Metric(self.metric, "", self.better, self.unit)

    @property
    def equal(self) -> bool:
        """True where both have the same figure, or lack it for the same reason."""
        return self.same or (self.one is not None and self.one == self.other)

    @property
    def clear(self) -> bool:
        """True where the paired interval lies on one side of 0, certified errors taken off."""
        return self.lo is not None and self.hi is not None and (self.lo > self.err or self.hi < -self.err)


FIELDS = (  # of a difference, for programs
    *("cell", "first", "second", "metric", "better", "unit", "one", "other", "difference", "err", "lo", "hi"),
    *("reason", "clear", "equal"),
)


def fields_of(difference: Difference) -> dict[str, Any]:
    """Return a difference as ``bench compare --format json`` has it."""
    return {name: getattr(difference, name) for name in FIELDS}


def side(text: str) -> Side:
    """``runs/demo`` or ``runs/demo@method=msp,dataset=toytown*``."""
    folder, _, chosen = text.partition("@")
    patterns: dict[Kind, str] = {}
    for part in filter(None, chosen.split(",")):
        axis, equals, pattern = part.partition("=")
        if not equals:
            raise UsageError(f"{text}: {part!r} must be AXIS=GLOB, such as method=msp")
        known = next((known for known in AXES if known == axis), None)
        if known is None:
            raise UnknownName("axis", axis, AXES, text)
        if known in patterns:
            raise UsageError(f"{text}: {axis} is named twice")
        patterns[known] = pattern
    selected = Side(store.read_run(Path(folder)), patterns)
    if not selected.cells():
        raise MissingData(f"{text}: no finished cell matches; 'bench show {folder}' lists what is there")
    return selected


@dataclass(frozen=True)
class ImageDifference:
    """Second minus first, of one figure of one image under a pair of cells."""

    cell: str  # what the two have in common
    first: str  # and what tells them apart
    second: str
    metric: str
    better: Literal["higher", "lower", "neither"]
    image: str  # its id
    one: float | None  # of the leading bits of the image's scores; None where the image has no figure
    other: float | None
    difference: float | None
    tags: Mapping[str, str]
    unit: Literal["rate", "number"] = "rate"

    @property
    def definition(self) -> Metric:
        """The metric as far as printing needs it."""
        return Metric(self.metric, "", self.better, self.unit)


@dataclass(frozen=True)
class _Pair:
    """Two cells, what they have in common and what tells them apart."""

    one: Result
    other: Result
    cell: str
    first: str
    second: str


def compare(first: Side, second: Side, metrics: Sequence[str] = ()) -> list[Difference]:
    """Every pair of cells that agree on all axes but those that were chosen on either side; of all metrics or some."""
    pairs = _pairs(first, second)
    _check(metrics, pairs)
    return [difference for pair in pairs for difference in _differences(first.run, second.run, pair, metrics)]


def unpaired(first: Side, second: Side) -> tuple[list[str], list[str]]:
    """Return the cells of each side that have no partner on the other, by their labels."""
    pairs = _pairs(first, second)
    partners = {pair.one.key for pair in pairs}, {pair.other.key for pair in pairs}
    alone = [
        [str(result.labels) for result in side.cells() if result.key not in keys]
        for side, keys in zip((first, second), partners, strict=True)
    ]
    return alone[0], alone[1]


def made_with(first: Side, second: Side) -> dict[str, int]:
    """Return what the two were made with that differs, in words, with the number of pairs that differ in it."""
    free = _free(first, second)
    chosen: set[str] = {axis for axis in AXES if axis not in free}
    hidden = chosen | ({"fitted"} if chosen & {"method", "model"} else set())
    counts: dict[str, int] = {}
    for pair in _pairs(first, second):
        for reason in differing.reasons(pair.one, pair.other, free, hidden):
            counts[reason] = counts.get(reason, 0) + 1
    return counts


def by_image(first: Side, second: Side, metrics: Sequence[str] = ()) -> list[ImageDifference]:
    """The same for each image that both have, those that changed most first; of the leading metric or of those named.

    An image without a figure on one side has no difference and comes last.
    """
    pairs = _pairs(first, second)
    _check(metrics, pairs)
    differences = [difference for pair in pairs for difference in _images(first.run, second.run, pair, metrics)]
    if not differences:
        raise MissingData("no pair of cells has figures by image; protocols that read class maps alone keep none")
    return differences


def _free(first: Side, second: Side) -> list[Kind]:
    """The axes on which cells must agree: those that no side names, or both by the same glob."""
    if odd := first.patterns.keys() ^ second.patterns.keys():
        raise UsageError(
            f"{', '.join(sorted(odd))} is named on one side only; name it on both, such as RUN@method=msp"
            " OTHER@method=msp, or on neither"
        )
    return [axis for axis in AXES if first.patterns.get(axis) == second.patterns.get(axis)]


def _pairs(first: Side, second: Side) -> list[_Pair]:
    free = _free(first, second)
    others: dict[tuple[str, ...], list[Result]] = {}
    for result in second.cells():
        others.setdefault(_common(result, free), []).append(result)
    pairs = []
    for one in first.cells():
        for other in others.get(_common(one, free), []):
            if one.cell.protocol == other.cell.protocol:
                cell = " / ".join(filter(None, _common(one, free)))
                names = [" / ".join(r.labels.on(axis) for axis in AXES if axis not in free) for r in (one, other)]
                pairs.append(_Pair(one, other, cell, names[0] or str(first.run.path), names[1] or str(second.run.path)))
    if not pairs:
        raise MissingData(
            "the two have no cell in common; say which to pair, such as runs/a@method=msp runs/a@method=energy"
        )
    return pairs


def _check(metrics: Sequence[str], pairs: Sequence[_Pair]) -> None:
    known = {name for pair in pairs for name in pair.one.definitions}
    for name in metrics:
        if name not in known:
            raise UnknownName("metric", name, known, "--metrics")


def _common(result: Result, free: Sequence[str]) -> tuple[str, ...]:
    return tuple(result.labels.on(axis) for axis in free)


def _images(run: Run, other_run: Run, pair: _Pair, metrics: Sequence[str]) -> Iterator[ImageDifference]:
    if pair.one.not_applicable or pair.other.not_applicable:
        return
    before, after = run.arrays(pair.one, "images.", "ids"), other_run.arrays(pair.other, "images.", "ids")
    kept = [name for name in pair.one.definitions if f"images.{name}" in before and f"images.{name}" in after]
    for metric in [name for name in kept if name in metrics] if metrics else kept[:1]:
        a, b = (
            dict(zip(map(str, arrays["ids"]), map(float, arrays[f"images.{metric}"]), strict=True))
            for arrays in (before, after)
        )
        rows = []
        for image in sorted(a.keys() & b.keys()):
            first, second = (value if math.isfinite(value) else None for value in (a[image], b[image]))
            change = None if first is None or second is None else second - first
            better, unit = pair.one.definitions[metric].better, pair.one.definitions[metric].unit
            tags = pair.one.tags.get(image) or pair.other.tags.get(image) or {}
            names = (pair.cell, pair.first, pair.second, metric, better)
            rows.append(ImageDifference(*names, image, first, second, change, tags, unit))
        yield from sorted(rows, key=lambda row: -1.0 if row.difference is None else abs(row.difference), reverse=True)


def _differences(run: Run, other_run: Run, pair: _Pair, metrics: Sequence[str]) -> Iterator[Difference]:
    one, other, cell, first, second = pair.one, pair.other, pair.cell, pair.first, pair.second
    apart = _apart(run, other_run, one, other)
    draws, other_draws = ({}, {}) if apart else (run.replicates(one), other_run.replicates(other))
    for metric, definition in one.definitions.items():
        if metrics and metric not in metrics:
            continue
        a = one.metrics.get(metric, Undefined("the first has no such figure"))
        b = other.metrics.get(metric, Undefined("the other has no such figure"))
        alike = (one.partial, one.images) == (other.partial, other.images) or not (one.images and other.images)
        between = partial(
            Difference,
            cell,
            first,
            second,
            metric,
            definition.better,
            unit=definition.unit,
            largest=definition.limits[1] - definition.limits[0] if definition.better != "neither" else math.inf,
            alike=alike,
            whole=(first, second) == (str(run.path), str(other_run.path)),
        )
        if isinstance(a, Value) and isinstance(b, Value):
            lo, hi, why = (None, None, apart) if apart else _interval(draws.get(metric), other_draws.get(metric))
            yield between(a.value, b.value, b.value - a.value, a.err + b.err, lo, hi, why)
        else:
            known = [figure.value if isinstance(figure, Value) else None for figure in (a, b)]
            reasons = [figure.reason for figure in (a, b) if isinstance(figure, Undefined)]
            same = len(reasons) == 2 and (reasons[0] == reasons[1] or bool(one.refusal and one.refused_as(other)))
            yield between(known[0], known[1], None, 0.0, None, None, reasons[0], same=same)


def _apart(run: Run, other_run: Run, one: Result, other: Result) -> str | None:
    """Why the replicates of two cells cannot be subtracted."""
    if one.partial or other.partial:
        return "one of them is partial"
    alike = (one.cell.seed, one.cell.resample) == (other.cell.seed, other.cell.resample)
    if not alike or run.sample_ids(one) != other_run.sample_ids(other):
        return "they did not resample the same images with the same seed"
    return None


def _interval(a: Replicates | None, b: Replicates | None) -> tuple[float | None, float | None, str | None]:
    if a is None or b is None or a.shape != b.shape:
        return None, None, "no replicates to pair"
    lo, hi = resampled.between(b, a)
    return lo, hi, "no resample has the figure on both sides" if lo is None else None
