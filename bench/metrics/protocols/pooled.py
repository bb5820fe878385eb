"""Rankings of all pixels of a set together: anomalies, and misclassifications with what rejecting them would bring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.contract.dataset import CITYSCAPES, Sample
from bench.contract.protocol import Breakdown, Pointwise, Protocol
from bench.core.errors import BadPlugin
from bench.core.values import IGNORE, Labels, Rows, Undefined, Value
from bench.counts.tally import Counts
from bench.metrics import bootstrap, ranking, selective
from bench.metrics.truths import anomaly_of, classes_of, labels_of, wrong_pixels

Figures = Mapping[str, Value | Undefined]


@dataclass(frozen=True)
class PooledRanking(Protocol):
    """Some categories are to rank above the others; every pixel of the set weighs the same."""

    metrics = ranking.METRICS

    @property
    def sides(self) -> tuple[Sequence[int], Sequence[int]]:
        """The categories that should score high, and those that should score low."""
        return [1], [0]

    def read(self, counts: Counts, rows: Rows) -> Figures:
        return ranking.ranking(counts, *self.sides)

    def bootstrap(self, weights: NDArray[np.float64], rows: Rows) -> Mapping[str, NDArray[np.float64]]:
        return bootstrap.replicate_ranking(weights, rows, *self.sides)


@dataclass(frozen=True)
class Anomaly(PooledRanking, Breakdown, Pointwise):
    """The pixels of anomalous objects should score above all others.

    ``by: size`` counts objects of different sizes apart, 8-connected and in pixels of the label image, so that
    ``bench show --by size`` can rank the pixels of each against all normal ones. The figures of the whole are the same.
    """

    name = "anomaly"
    source = (
        "the pooled figures of Blum et al., The Fishyscapes Benchmark, IJCV 2021, section 4; see bench.metrics.ranking"
    )
    version = 1
    needs = frozenset({"anomaly", "score"})

    by: Literal["", "size"] = ""
    sizes: tuple[int, ...] = (100, 1000, 10000)  # where one part ends and the next begins

    def __post_init__(self) -> None:
        check_sizes(self.sizes)

    @property
    def category_names(self) -> tuple[str, ...]:
        return (
            ("normal", *(f"anomaly of {part}" for part in names_of_sizes(self.sizes)))
            if self.by
            else ("normal", "anomaly")
        )

    @property
    def sides(self) -> tuple[Sequence[int], Sequence[int]]:
        return range(1, len(self.category_names)), [0]

    @property
    def pointwise(self) -> bool:
        return not self.by  # an object is more than a pixel

    def categories(self, sample: Sample, predicted: Labels | None) -> Labels:
        from scipy import ndimage

        truth = anomaly_of(sample)
        if not self.by:
            return truth
        objects, _ = ndimage.label(truth == 1, structure=np.ones((3, 3)))
        part = 1 + np.searchsorted(self.sizes, np.bincount(objects.reshape(-1)), side="right").astype(np.uint8)
        return np.where(truth == 1, part[objects], truth)

    def breakdown(self, counts: Counts, rows: Rows) -> Mapping[str, Mapping[str, Figures]]:
        if not self.by:
            return {}
        return {
            "size": {part: ranking.ranking(counts, [1 + n], [0]) for n, part in enumerate(names_of_sizes(self.sizes))}
        }


def names_of_sizes(sizes: Sequence[int]) -> list[str]:
    """Return the ranges below, between and above some numbers of pixels."""
    between = [f"{low} to {high - 1} px" for low, high in pairwise(sizes)]
    return [f"below {sizes[0]} px", *between, f"{sizes[-1]} px and more"] if sizes else ["any size"]


def check_sizes(sizes: Sequence[int]) -> None:
    """Raise ValueError unless they rise from at least 1, and are few enough for a category each."""
    if list(sizes) != sorted(set(sizes)) or len(sizes) > 60 or min(sizes, default=1) < 1:
        raise ValueError("sizes must rise from at least 1")


@dataclass(frozen=True)
class Misclassification(PooledRanking, Breakdown, Pointwise):
    """The pixels that the network gets wrong should score above those it gets right; unlabelled ones count nowhere.

    ``by: class`` counts the labelled classes apart, so that ``bench show --by class`` can rank the pixels of each. The
    figures of the whole are the same.
    """

    name = "misclassification"
    source = "Hendrycks and Gimpel, arXiv:1610.02136, section 2, by pixel; see bench.metrics.ranking"
    version = 2  # 2: risk and coverage
    metrics = {**ranking.METRICS, **selective.METRICS}  # noqa: RUF012 - read by all, written by none
    needs = frozenset({"labels", "prediction", "score"})

    by: Literal["", "class"] = ""
    classes: tuple[str, ...] = CITYSCAPES  # names for the parts, in the order of the label values

    def __post_init__(self) -> None:
        if self.by and not 1 <= len(self.classes) <= 32:
            raise ValueError("by class takes 1 to 32 classes")

    @property
    def category_names(self) -> tuple[str, ...]:
        if not self.by:
            return ("correct", "wrong")
        return tuple(f"{name}, {what}" for what in ("correct", "wrong") for name in self.classes)

    @property
    def sides(self) -> tuple[Sequence[int], Sequence[int]]:
        half = len(self.category_names) // 2
        return range(half, 2 * half), range(half)

    def categories(self, sample: Sample, predicted: Labels | None) -> Labels:
        labels = labels_of(sample)
        wrong = wrong_pixels(labels, classes_of(sample, predicted))
        if not self.by:
            return wrong
        if (beyond := np.unique(labels[(labels >= len(self.classes)) & (labels != IGNORE)])).size:
            raise BadPlugin(
                f"{sample.id}: the labels hold the class {beyond[0]}, and {len(self.classes)} have names: write"
                " misclassification: {by: class, classes: [...]}"
            )
        return np.where(wrong == IGNORE, np.uint8(IGNORE), labels + np.uint8(len(self.classes)) * (wrong == 1))

    def read(self, counts: Counts, rows: Rows) -> Figures:
        figures = ranking.ranking(counts, *self.sides)
        return {**figures, **selective.read(counts, *self.sides, figures["auroc"])}

    def breakdown(self, counts: Counts, rows: Rows) -> Mapping[str, Mapping[str, Figures]]:
        if not self.by:
            return {}
        half = len(self.classes)
        return {"class": {name: ranking.ranking(counts, [half + n], [n]) for n, name in enumerate(self.classes)}}

    def bootstrap(self, weights: NDArray[np.float64], rows: Rows) -> Mapping[str, NDArray[np.float64]]:
        return bootstrap.replicate_ranking(weights, rows, *self.sides, more=selective.binned)
