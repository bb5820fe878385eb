"""Mean IoU and pixel accuracy of the class maps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.contract.dataset import Sample
from bench.contract.protocol import Protocol
from bench.core.values import IGNORE, Labels, Metric, Row, Rows, Scores, Undefined, Value
from bench.counts.tally import Counts
from bench.metrics import segmentation
from bench.metrics.truths import classes_of, labels_of

SEGMENTATION: Mapping[str, Metric] = {
    "miou": Metric(
        "mIoU", "mean over classes of TP / (TP + FP + FN), pixels pooled; classes that are nowhere left out"
    ),
    "pixel_accuracy": Metric("pixel accuracy", "share of the labelled pixels with the right class"),
}


@dataclass(frozen=True)
class MeanIoU(Protocol):
    """The quality of the segmentation itself."""

    name = "miou"
    source = "cityscapesScripts, evaluation/evalPixelLevelSemanticLabeling.py; see bench.metrics.segmentation"
    version = 1
    metrics = SEGMENTATION
    needs = frozenset({"labels", "prediction"})
    category_names = ("labelled",)

    classes: int = 19

    def categories(self, sample: Sample, predicted: Labels | None) -> Labels:
        return np.where(labels_of(sample) == IGNORE, np.uint8(IGNORE), np.uint8(0))

    def row(self, sample: Sample, predicted: Labels | None, score: Scores | None = None) -> Row:
        return {"confusion": segmentation.confusion(labels_of(sample), classes_of(sample, predicted), self.classes)}

    def read(self, counts: Counts, rows: Rows) -> Mapping[str, Value | Undefined]:
        figures = self.bootstrap(np.ones((1, len(rows))), rows)
        return {
            name: Undefined("no labelled pixels") if np.isnan(value) else Value(float(value))
            for name, (value,) in figures.items()
        }

    def bootstrap(self, weights: NDArray[np.float64], rows: Rows) -> Mapping[str, NDArray[np.float64]]:
        shape = (self.classes, self.classes + 1)
        counts = np.array([row["confusion"].reshape(-1) for row in rows.values()], np.float64)
        total = (weights @ counts.reshape(len(rows), -1)).reshape(len(weights), -1)
        total = total.reshape(-1, *shape) if len(rows) else np.zeros((len(weights), *shape))
        return {"miou": segmentation.miou(total), "pixel_accuracy": segmentation.pixel_accuracy(total)}
