"""Means over images of figures that each image has alone; an image without a figure is left out."""

from __future__ import annotations

from collections.abc import Iterable
from math import fsum

import numpy as np
from numpy.typing import NDArray

from bench.core.values import Labels, Row, Rows, Scores, Undefined, Value
from bench.counts.tally import Tally, key_pixels
from bench.metrics import ranking

Floats = NDArray[np.float64]


def steps(score: Scores, truth: Labels) -> ranking.Steps:
    """The exact ranking of one image. score float32 or float64 [H, W], truth uint8 [H, W]: 0, 1, 255 ignored."""
    alone = Tally(2, 8 * score.size)
    alone.add(key_pixels(score, truth, 2))
    return ranking.steps(alone.counts(), [1], [0])


def row(**figures: float) -> Row:
    """Figures as float64 [] each."""
    return {name: np.array(value, np.float64) for name, value in figures.items()}


def nothing(names: Iterable[str]) -> Row:
    """A row without figures."""
    return row(**dict.fromkeys(names, np.nan))


def read(rows: Rows, names: Iterable[str], reason: str) -> dict[str, Value | Undefined]:
    """The means; ``reason`` is why there is none."""
    means: dict[str, Value | Undefined] = {}
    for name in names:
        values = [float(rows[image][name]) for image in sorted(rows)]
        defined = [value for value in values if not np.isnan(value)]
        if np.isinf(defined).any():
            means[name] = Undefined("infinite in an image")
        else:
            means[name] = Value(fsum(defined) / len(defined)) if defined else Undefined(reason)
    return means


def bootstrap(weights: Floats, rows: Rows, names: Iterable[str]) -> dict[str, Floats]:
    """The means of R resamples, [R] each."""
    means = {}
    for name in names:
        values = np.array([float(row[name]) for row in rows.values()])
        defined = np.isfinite(values)
        times = weights[:, defined].sum(axis=1)
        total = weights[:, defined] @ values[defined]
        means[name] = np.divide(total, times, out=np.full(len(weights), np.nan), where=times > 0)
    return means
