"""The figures of StreetHazards and BDD-Anomaly, as its authors' code takes them: by image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.contract.dataset import Sample
from bench.contract.protocol import Protocol
from bench.core.values import Labels, Metric, Row, Rows, Scores, Undefined, Value
from bench.counts.tally import Counts
from bench.metrics import per_image, ranking
from bench.metrics.truths import anomaly_of, only_known, score_of

METRICS: Mapping[str, Metric] = {
    "auroc": Metric("AUROC", "mean over images of the AUROC of their pixels; images without an anomaly left out"),
    "ap": Metric("AP", "mean over images of the step-sum AP of their pixels; images without an anomaly left out"),
    "fpr95": Metric(
        "FPR95", "mean over images of the FPR where the recall is nearest to 0.95, on either side", "lower"
    ),
}


@dataclass(frozen=True)
class StreetHazards(Protocol):
    """Means over images of each image's own ranking. Not comparable with pooled figures, and usually kinder."""

    name = "streethazards"
    source = "Hendrycks et al., arXiv:1911.11132; hendrycks/anomaly-seg, anom_utils.py, fpr_and_fdr_at_recall"
    version = 1
    metrics = METRICS
    needs = frozenset({"anomaly", "score"})
    category_names = ("normal", "anomaly")

    def categories(self, sample: Sample, predicted: Labels | None) -> Labels:
        return only_known(anomaly_of(sample))

    def row(self, sample: Sample, predicted: Labels | None, score: Scores | None = None) -> Row:
        ranked = per_image.steps(score_of(sample, score), self.categories(sample, predicted))
        if ranking.undefined(ranked.total_positives, ranked.total_negatives):
            return per_image.nothing(METRICS)
        true, false = np.cumsum(ranked.positives), ranked.above + ranked.negatives
        recall = true / ranked.total_positives
        nearest = len(recall) - 1 - int(np.argmin(abs(recall - 0.95)[::-1]))  # the larger recall of two as near
        # The source takes the last point with that recall, but for full recall, where it takes the first.
        alarms = false[nearest] if nearest + 1 == len(recall) else ranked.above[nearest + 1]
        return per_image.row(
            auroc=ranking.area(ranked), ap=ranking.average_precision(ranked), fpr95=alarms / ranked.total_negatives
        )

    def read(self, counts: Counts, rows: Rows) -> Mapping[str, Value | Undefined]:
        return per_image.read(rows, METRICS, "no image with anomalous and normal pixels")

    def bootstrap(self, weights: NDArray[np.float64], rows: Rows) -> Mapping[str, NDArray[np.float64]]:
        return per_image.bootstrap(weights, rows, METRICS)
