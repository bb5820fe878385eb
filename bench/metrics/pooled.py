"""Rankings of all pixels of a set together: anomalies, and misclassifications with what rejecting them would bring."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.api import Labels, Protocol, Rows, Sample, Undefined, Value
from bench.metrics import bootstrap, ranking, selective
from bench.metrics.tally import Tally
from bench.metrics.truths import anomaly_of, classes_of, labels_of, tally_of, wrong_pixels


@dataclass(frozen=True)
class PooledRanking(Protocol):
    """Category 1 is to rank above category 0; every pixel of the set weighs the same."""

    metrics = ranking.METRICS

    def read(self, tally: Tally | None, rows: Rows) -> Mapping[str, Value | Undefined]:
        return ranking.ranking(tally_of(tally).counts(), [1], [0])

    def replicate(self, weights: NDArray[np.float64], rows: Rows) -> Mapping[str, NDArray[np.float64]]:
        return bootstrap.replicate_ranking(weights, rows, [1], [0])


@dataclass(frozen=True)
class Anomaly(PooledRanking):
    """The pixels of anomalous objects should score above all others."""

    name = "anomaly"
    source = (
        "the pooled figures of Blum et al., The Fishyscapes Benchmark, IJCV 2021, section 4; see bench.metrics.ranking"
    )
    version = 1
    needs = frozenset({"anomaly"})
    category_names = ("normal", "anomaly")

    def categories(self, sample: Sample, predicted: Labels | None) -> Labels:
        return anomaly_of(sample)


@dataclass(frozen=True)
class Misclassification(PooledRanking):
    """The pixels that the network gets wrong should score above those it gets right; unlabelled ones count nowhere."""

    name = "misclassification"
    source = "Hendrycks and Gimpel, arXiv:1610.02136, section 2, by pixel; see bench.metrics.ranking"
    version = 2  # 2: risk and coverage
    metrics = {**ranking.METRICS, **selective.METRICS}  # noqa: RUF012 - read by all, written by none
    needs = frozenset({"labels"})
    needs_prediction = True
    category_names = ("correct", "wrong")

    def categories(self, sample: Sample, predicted: Labels | None) -> Labels:
        return wrong_pixels(labels_of(sample), classes_of(sample, predicted))

    def read(self, tally: Tally | None, rows: Rows) -> Mapping[str, Value | Undefined]:
        counts = tally_of(tally).counts()
        return {**ranking.ranking(counts, [1], [0]), **selective.read(counts, [1], [0])}

    def replicate(self, weights: NDArray[np.float64], rows: Rows) -> Mapping[str, NDArray[np.float64]]:
        return bootstrap.replicate_ranking(weights, rows, [1], [0], also=selective.binned)
