"""Average precision of anomalous instances, cut out of a score map by a threshold."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge
from numpy.typing import NDArray

from bench.contract.dataset import Sample
from bench.contract.protocol import Pointwise, TwoPhase
from bench.core.errors import BadPlugin
from bench.core.values import Labels, Metric, Row, Rows, Scores, Undefined, Value
from bench.counts.tally import Counts
from bench.metrics import best_threshold, instances, ranking
from bench.metrics.instances import Instances
from bench.metrics.truths import anomaly_of

FIGURES: Mapping[str, Metric] = {
    "ap": Metric("AP", "mean over overlaps 0.5, 0.55 ... 0.95 of the area under precision over recall of instances"),
    "ap50": Metric("AP50", "area under precision over recall of instances at an overlap above 0.5"),
    "threshold": Metric("threshold", "score >= threshold is cut into instances", "neither"),
}


@dataclass(frozen=True)
class _Instances(TwoPhase, Pointwise):
    """The part that both protocols of instances share; they differ in what the truth is."""

    source = (
        "Nekrasov et al., OoDIS, arXiv:2406.11835; kumuji/anomaly-benchmark-suite@b2d5a82; the threshold and the scores"
        " of instances are this project's"
    )
    version = 1
    computations = TwoPhase.computations | {"segments"}
    metrics = FIGURES
    category_names = ("normal", "anomaly")
    spool = "float32"

    threshold: float | None = None
    least: Annotated[int, Ge(1)] = instances.LEAST
    min_predicted: Annotated[int, Ge(1)] = instances.LEAST
    most: Annotated[int, Ge(1)] = instances.MOST

    @abstractmethod
    def objects(self, sample: Sample) -> Instances:
        """Return int32 [H, W]: 0 none, -1 ignored, else the number of an instance."""

    def categories(self, sample: Sample, predicted: Labels | None) -> Labels:
        return anomaly_of(sample)

    def parameters(self, counts: Counts, rows: Rows) -> Mapping[str, float] | Undefined:
        if self.threshold is not None:
            return {"threshold": self.threshold}
        threshold = best_threshold.exact(counts)
        return threshold if isinstance(threshold, Undefined) else {"threshold": threshold.value}

    def undecided(self, counts: Counts) -> tuple[float, float] | None:
        return ranking.undecided(counts, [1], [0]) if self.threshold is None else None

    def second_row(
        self, score: Scores, sample: Sample, predicted: Labels | None, parameters: Mapping[str, float]
    ) -> Row:
        numbers, scores = instances.predicted(score, parameters["threshold"], self.min_predicted, self.most)
        return instances.row_of(self.objects(sample), numbers, scores)

    def read(self, counts: Counts, rows: Rows) -> Mapping[str, Value | Undefined]:
        threshold = best_threshold.best(counts) if self.threshold is None else Value(self.threshold)
        known = best_threshold.exact(counts) if self.threshold is None else threshold
        looked_at = bool(rows) and all("pairs" in row for row in rows.values())
        if isinstance(threshold, Undefined) or (not looked_at and isinstance(known, Undefined)):
            return {**dict.fromkeys(self.metrics, known), "threshold": threshold}
        return {**instances.read([rows[image] for image in sorted(rows)], self.least), "threshold": threshold}

    def bootstrap(self, weights: NDArray[np.float64], rows: Rows) -> Mapping[str, NDArray[np.float64]]:
        """The threshold is held: it is a parameter of the second phase, not one of its figures."""
        if not all("pairs" in row for row in rows.values()):
            return {name: np.full(len(weights), np.nan) for name in ("ap", "ap50")}
        return instances.figures(list(rows.values()), weights, self.least) if len(rows) else {}


@dataclass(frozen=True)
class OfDataset(_Instances):
    """Anomalous objects should be found one by one: average precision over the instances that a data set labels.

    Instances are the 8-connected components of ``score >= threshold``, each with its mean score. ``threshold`` None is
    that of the best F1 of the pixels over all images. ``least`` is how many pixels an instance of the truth has at
    least; smaller ones are ignored. ``min_predicted`` is how many a predicted one has at least, ``most`` how many
    predictions of an image are kept, those with the largest scores.
    """

    name = "instances"
    needs = frozenset({"anomaly", "instances", "score"})

    def objects(self, sample: Sample) -> Instances:
        if sample.instances is None:
            raise BadPlugin(f"{sample.id} has no instances")
        return sample.instances


@dataclass(frozen=True)
class OfMask(_Instances):
    """The same as ``instances`` where only a mask of anomalies is there: each connected part of it is an instance.

    Objects that touch are one instance, so figures do not compare with those of ``instances``.
    """

    name = "mask_instances"
    needs = frozenset({"anomaly", "score"})

    def objects(self, sample: Sample) -> Instances:
        return instances.of_mask(anomaly_of(sample))
