"""Figures of single images, worst first, for the charts of a page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bench.results.polyline import short
from bench.results.store import Result, Run

LEVELS = (0, 5, 25, 50, 75, 95, 100)  # percent, of the quantiles over images


@dataclass(frozen=True, slots=True)
class ByImage:
    """The leading figure of each image, worst first. From 16 bits of each score: for orders, not for records."""

    metric: str
    better: str  # higher or lower
    ids: tuple[str, ...]
    values: tuple[float, ...]
    undefined: tuple[str, ...]  # ids of images without a figure, such as those without an anomaly
    quantiles: Mapping[int, float]  # percent of the images with a figure: the figure, in ascending order of the figures


def by_image(run: Run, result: Result) -> ByImage | None:
    """Return images by the metric that ranks, or the first with a direction that images have alone."""
    if result.not_applicable:
        return None
    directed = {name: metric for name, metric in result.definitions.items() if metric.better != "neither"}
    arrays = run.arrays(result, "ids", *(f"images.{name}" for name in directed))
    name = next((name for name in directed if f"images.{name}" in arrays), None)
    if name is None:
        return None
    ids, values = [str(sample) for sample in arrays["ids"]], arrays[f"images.{name}"].astype(np.float64)
    better = directed[name].better
    known = np.flatnonzero(np.isfinite(values))
    order = known[np.argsort(values[known] if better == "higher" else -values[known], kind="stable")]
    levels = np.percentile(values[known], LEVELS) if known.size else ()
    return ByImage(
        name,
        better,
        tuple(ids[index] for index in order),
        short(values[order]),
        tuple(ids[index] for index in np.flatnonzero(~np.isfinite(values))),
        dict(zip(LEVELS, short(levels), strict=False)),
    )
