"""The version numbers of all computations that plug-ins share: one table, raised by hand.

A number is raised with every change that moves a value which that computation gives. Each plug-in names the
computations that its own values depend on, ``PlugIn.computations``; results and fits that were made under another
number of one of them are made again, and no others are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bench.core.errors import BadPlugin

NUMBERS: Mapping[str, int] = {
    "metrics": 2,  # counts, and what all protocols read off them: bench.counts, bench.metrics
    "scoring": 2,  # reductions over the classes, resizing, smoothing, suppression: bench.ops
    "segments": 1,  # connected components and their features: bench.ops.segments
    "meta": 1,  # classifiers of segments: bench.ops.segment_classifier
    "inference": 1,  # how an image becomes views, and views one prediction: bench.models.inference
    "flow": 1,  # scores of flows: bench.fit.flow
    "features": 1,  # sums, samples and heads of detectors that read features: bench.fit.features
    "corruptions": 1,  # pixels of a corrupted image: bench.corruptions
    "toytown": 1,  # pixels of a drawn street: bench.datasets.toytown; trained weights depend on it, too
    "curves": 1,  # of a page, as they are kept beside the counts: bench.results.curves
    "gallery": 1,  # pictures of a page: bench.results.pictures
}


def numbers_of(computations: Iterable[str], plugin: str) -> dict[str, str]:
    """Return the number of each computation as text, by name; raise BadPlugin, to ``plugin``, for an unknown one."""
    unknown = sorted(set(computations) - NUMBERS.keys())
    if unknown:
        raise BadPlugin(f"{plugin} depends on {unknown[0]!r}, which is no shared computation: {', '.join(NUMBERS)}")
    return {name: str(NUMBERS[name]) for name in sorted(computations)}
