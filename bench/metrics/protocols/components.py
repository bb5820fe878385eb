"""Whole objects: sIoU, PPV and mean F1 of connected components."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.contract.dataset import Sample
from bench.contract.protocol import Pointwise, TwoPhase
from bench.core.values import Labels, Metric, Row, Rows, Scores, Undefined, Value
from bench.counts.keys import at_or_above
from bench.counts.tally import Counts
from bench.metrics import best_threshold, components, ranking
from bench.metrics.truths import anomaly_of

COMPONENTS: Mapping[str, Metric] = {
    "siou": Metric("sIoU", "mean over objects of the overlap with the predictions that touch them"),
    "ppv": Metric("PPV", "mean over predicted components of the share that lies on an object"),
    "mean_f1": Metric(
        "mean F1", "mean over tau = 0.25 ... 0.75 of F1: objects with sIoU >= tau, predictions with PPV < tau"
    ),
    "threshold": Metric("threshold", "score >= threshold is predicted: the best F1 of the pixels", "neither"),
}


@dataclass(frozen=True)
class Components(TwoPhase, Pointwise):
    """Anomalous objects should be found as objects, at the threshold of the best F1 over the same pixels, ``>=``."""

    name = "components"
    source = "Chan et al., SegmentMeIfYouCan, arXiv:2104.14812, section 4; see bench.metrics.components"
    version = 2  # 2: the exact threshold, beyond the budget too
    computations = TwoPhase.computations | {"segments"}
    metrics = COMPONENTS
    needs = frozenset({"anomaly", "score"})
    category_names = ("normal", "anomaly")
    spool = "float32"

    min_predicted: int = 50  # pixels
    min_truth: int = 10  # pixels

    def categories(self, sample: Sample, predicted: Labels | None) -> Labels:
        return anomaly_of(sample)

    def parameters(self, counts: Counts, rows: Rows) -> Mapping[str, float] | Undefined:
        threshold = best_threshold.exact(counts)
        return threshold if isinstance(threshold, Undefined) else {"threshold": threshold.value}

    def undecided(self, counts: Counts) -> tuple[float, float] | None:
        return ranking.undecided(counts, [1], [0])

    def second_row(
        self, score: Scores, sample: Sample, predicted: Labels | None, parameters: Mapping[str, float]
    ) -> Row:
        return components.find(
            at_or_above(score, parameters["threshold"]),
            anomaly_of(sample),
            min_predicted=self.min_predicted,
            min_truth=self.min_truth,
        )

    def read(self, counts: Counts, rows: Rows) -> Mapping[str, Value | Undefined]:
        known, threshold = best_threshold.exact(counts), best_threshold.best(counts)
        looked_at = bool(rows) and all("siou" in row for row in rows.values())
        if isinstance(threshold, Undefined) or (not looked_at and isinstance(known, Undefined)):
            return {**dict.fromkeys(self.metrics, known), "threshold": threshold}
        return {**components.read([rows[image] for image in sorted(rows)]), "threshold": threshold}

    def bootstrap(self, weights: NDArray[np.float64], rows: Rows) -> Mapping[str, NDArray[np.float64]]:
        """The threshold is held: it is a parameter of the second phase, not one of its figures."""
        if not all("siou" in row for row in rows.values()):
            return {name: np.full(len(weights), np.nan) for name in ("siou", "ppv", "mean_f1")}
        counts = np.array([components.pooled(row) for row in rows.values()]).reshape(len(rows), -1)
        return components.figures(weights @ counts) if len(rows) else {}
