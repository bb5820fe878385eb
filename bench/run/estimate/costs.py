"""Seconds and bytes at any size, from what was measured at few."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.results.measured_costs import PER_CELL, PER_METHOD, together
from bench.run.estimate.measure import Measured

KEYS = 2**24  # that there are, of each category
ALIKE = 0.1  # relative difference in size up to which a measurement is taken as it is


@dataclass
class _Rate:
    """Seconds per image, of several measurements together."""

    seconds: float = 0.0
    images: int = 0

    def add(self, seconds: float, images: int) -> None:
        self.seconds, self.images = self.seconds + seconds, self.images + images

    @property
    def each(self) -> float:
        return self.seconds / self.images if self.images else 0.0


class Costs:
    """Seconds and bytes of anything, from what was measured."""

    def __init__(self, measured: Measured) -> None:
        self.rates: dict[tuple[str, ...], _Rate] = defaultdict(_Rate)
        setups: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        self.points: dict[tuple[str, ...], dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
        self.exact: dict[tuple[str, ...], bool] = {}
        self.proportional = False  # True once what was measured at one size was asked for at another
        for (record, stage), seconds in together(measured.records).items():
            if stage == "setup":
                setups[record.model][record.source].append(seconds)
            elif stage == "load":
                self.rates[record.data, record.corruption, stage].add(seconds, record.images)
            elif stage == "predict":
                self.rates[record.model, record.data, stage].add(seconds, record.images)
            elif stage in PER_METHOD:
                self.rates[record.model, record.data, record.scorer, stage].add(seconds, record.images)
            elif stage in PER_CELL:
                self.points[*record.kind, stage][record.images].append(seconds)
            else:
                self.rates[*record.kind, stage].add(seconds, record.images)
        for record in measured.records:
            self.points[*record.kind, "keys"][record.images].append(record.keys)
            self.points[*record.kind, "bytes"][record.images].append(record.bytes)
        for (data, corruption), seconds in measured.loads.items():
            self.rates[data, corruption, "load"].add(seconds, 1)
        # The first data set of a run includes loading the network.
        self.loading = {
            model: statistics.fmean(max(times) for times in runs.values()) for model, runs in setups.items()
        }
        others = {
            model: [rest for times in runs.values() for rest in sorted(times)[:-1]] for model, runs in setups.items()
        }
        self.beginning = {model: statistics.median(rest) if rest else 0.0 for model, rest in others.items()}
        self._memo: dict[tuple[Any, ...], float] = {}

    def rate(self, *key: str) -> float:
        """Seconds per image."""
        return self.rates[key].each if key in self.rates else 0.0

    def keys(self, kind: tuple[str, ...], images: int) -> float:
        """How many keys of 24 bits occur in so many images: a power of their number, as the words of a language."""
        points = _means(self.points.get((*kind, "keys"), {}))
        if not points:
            return 0.0
        (few, less), (many, more) = points[0], points[-1]
        near = min(points, key=lambda point: abs(point[0] - images))
        if abs(near[0] - images) <= ALIKE * images:
            return near[1] * images / near[0]
        power = math.log(more / less) / math.log(many / few) if few < many and 0 < less < more else float(few == many)
        return float(min(more * (images / many) ** min(power, 1.0), KEYS))

    def per_cell(self, kind: tuple[str, ...], quantity: str, images: int, exact: bool) -> float:
        """Seconds of a stage, or ``bytes``, of a cell with so many images."""
        asked = (*kind, quantity, images, exact)
        if asked not in self._memo:
            self._memo[asked] = self._per_cell(kind, quantity, images, exact)
        return self._memo[asked]

    def _per_cell(self, kind: tuple[str, ...], quantity: str, images: int, exact: bool) -> float:
        points = _means(self.points.get((*kind, quantity), {}))
        if quantity in {"read", "merge"} and not exact and (keys := self.keys(kind, images)):
            return self._grown([(self.keys(kind, n), value) for n, value in points], keys)
        return self._grown([(float(n), value) for n, value in points], float(images))

    def _grown(self, points: Sequence[tuple[float, float]], size: float) -> float:
        """Return a value at another size: a line through what was measured at the smallest and at the largest."""
        if not points:
            return 0.0
        (few, less), (many, more) = points[0], points[-1]
        near = min(points, key=lambda point: abs(point[0] - size))
        if abs(near[0] - size) <= ALIKE * size:
            return near[1] * size / near[0]
        if many - few <= ALIKE * many:
            self.proportional |= len(points) == 1
            return more * max(1.0, size / many)  # at most: what stays is taken to grow, too
        return max(0.0, more + max(0.0, more - less) / (many - few) * (size - many))


def _means(points: Mapping[int, Sequence[float]]) -> list[tuple[int, float]]:
    return [(images, statistics.fmean(values)) for images, values in sorted(points.items())]
