"""The figures of the Fishyscapes leaderboard."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.contract.dataset import Sample
from bench.contract.protocol import Pointwise
from bench.core.values import Labels, Rows, Undefined, Value
from bench.counts.tally import Counts
from bench.metrics import ranking
from bench.metrics.protocols.pooled import PooledRanking
from bench.metrics.single_precision import SinglePrecision
from bench.metrics.truths import anomaly_of, only_known

KEPT = ("ap", "fpr95", "auroc")


@dataclass(frozen=True)
class Fishyscapes(PooledRanking, SinglePrecision, Pointwise):
    """All pixels of all frames pooled, ties merged; labels other than 0 and 1 are ignored.

    Scores are rounded to float32, as in the source. Where the source returns an FPR95 of 0 because there is no anomaly,
    there is no figure here. Infinite scores tie.
    """

    name = "fishyscapes"
    source = "Blum et al., IJCV 2021; hermannsblum/bdl-benchmark@03773d6, bdlb/fishyscapes/benchmark.py"
    version = 1
    metrics = {name: ranking.METRICS[name] for name in KEPT}  # noqa: RUF012 - read by all, written by none
    needs = frozenset({"anomaly", "score"})
    category_names = ("normal", "anomaly")

    def categories(self, sample: Sample, predicted: Labels | None) -> Labels:
        return only_known(anomaly_of(sample))

    def read(self, counts: Counts, rows: Rows) -> Mapping[str, Value | Undefined]:
        figures = super().read(counts, rows)
        if figures["ap"] == ranking.NO_NEGATIVES:  # every prediction is right, as in the source
            figures = {**figures, "ap": Value(1.0)}
        return {name: figures[name] for name in KEPT}

    def bootstrap(self, weights: NDArray[np.float64], rows: Rows) -> Mapping[str, NDArray[np.float64]]:
        figures = super().bootstrap(weights, rows)
        return {name: figures[name] for name in KEPT}
