"""From figures to figures with intervals, for any protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bench.contract.protocol import Protocol
from bench.core.values import Row, Undefined, Value
from bench.metrics import bootstrap

WEIGHTS = 1 << 22  # numbers of the weights that a protocol is given at a time
EVEN = 128  # resamples: a product of matrices adds in the same order wherever such a block begins


def intervals(
    protocol: Protocol,
    figures: Mapping[str, Value | Undefined],
    rows: Mapping[str, Row],
    seed: int,
    resamples: int,
    groups: Sequence[str] | None = None,
) -> tuple[dict[str, Value | Undefined], dict[str, NDArray[np.float64]]]:
    """Add the bootstrap's interval to each figure that has one, and hand out its replicates."""
    if not resamples or len(rows) < 2:
        return dict(figures), {}
    size = max(EVEN, WEIGHTS // len(rows) // EVEN * EVEN)
    parts = [
        dict(protocol.bootstrap(some, rows)) for some in bootstrap.blocks(seed, list(rows), resamples, groups, size)
    ]
    spread = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    # The binned counts of the bootstrap have a point estimate of their own; replicates are shifted by its distance.
    points = protocol.bootstrap(np.ones((1, len(rows))), rows)
    with_interval, kept = dict(figures), {}
    for name, values in spread.items():
        figure = figures[name]
        if isinstance(figure, Value):
            point = float(points[name][0])
            lo, hi, shifted = bootstrap.interval(figure, values, point, protocol.metrics[name].limits)
            with_interval[name] = replace(figure, lo=lo, hi=hi)
            kept[name] = shifted
    return with_interval, kept
