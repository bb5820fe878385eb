"""Protocols: which pixels count as what, and which figures are read off the counts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from bench.contract.dataset import Sample
from bench.contract.method import Method
from bench.contract.plugin import PlugIn
from bench.core.values import Labels, Metric, Row, Rows, Scores, Undefined, Value
from bench.counts.tally import Counts


@dataclass(frozen=True)
class Protocol(PlugIn, ABC):
    """Which pixels count as what, and which figures are read off the counts.

    Nothing of the network is needed after the tally, the rows and, for a second phase, the spooled maps. ``read`` must
    depend on the multiset of pixels and on the rows alone, never on the order in which they came.
    """

    title: ClassVar[str] = ""  # for pages; the name where there is none
    computations = frozenset({"metrics"})
    version: ClassVar[int]  # of the definition: raised with every change that moves a number
    metrics: ClassVar[Mapping[str, Metric]]  # in the order of a table's columns; the first one ranks
    needs: ClassVar[frozenset[str]]  # of a sample: ``labels``, ``anomaly``
    scored: ClassVar[bool] = True  # False: reads the class map alone, once per model and not per method
    reads: ClassVar[Literal["score", "confidence"]] = (
        "score"  # or the method's probability of being right, n/a without one
    )
    needs_prediction: ClassVar[bool] = False  # whether it reads the class map
    second_phase: ClassVar[bool] = False
    spool: ClassVar[Literal["float16", "float32"]] = "float16"
    resizes: ClassVar[bool] = False  # whether ``bench score`` upsamples maps smaller than their labels unasked
    signed: ClassVar[frozenset[str]] = frozenset()  # rates that reach from -1 to 1; all others stay within 0 and 1
    ranked: ClassVar[bool] = True  # False: no table ranks by its figures; pages show them in a panel of their own

    @property
    @abstractmethod
    def category_names(self) -> tuple[str, ...]:
        """What each category is, at most 64; a class attribute where no parameter changes it."""

    @abstractmethod
    def categories(self, sample: Sample, predicted: Labels | None) -> Labels:
        """uint8 [H, W]: an index into ``category_names``, 255 ignored. ``predicted`` is the class map, uint8 [H, W]."""

    def seen(self, score: Scores) -> Scores:
        """The score as this protocol takes it, float32 [H, W]: rounded to float16 where a board stores that."""
        return score

    def row(self, sample: Sample, predicted: Labels | None, score: Scores | None = None) -> Row:
        """Figures of one image that the tally cannot hold. What the bootstrap needs is added by the engine itself.

        Every image must have the same fields; ``score`` is what the tally counts, None where ``scored`` is False.
        """
        return {}

    @abstractmethod
    def read(self, counts: Counts, rows: Rows) -> Mapping[str, Value | Undefined]:
        """The figures, in the order of ``metrics``. ``counts`` has no column where ``scored`` is False."""

    def refuses(self, method: Method) -> str:
        """Why a pair with that method means nothing, for an n/a cell; empty where it does."""
        return ""

    def refined(self, sample: Sample, before: Scores, decided: Row) -> Row:
        """For a refinement, what else to say of one image, from the map as it was before. Joins the image's row."""
        return {}

    def parts(self, counts: Counts, rows: Rows) -> Mapping[str, Mapping[str, Mapping[str, Value | Undefined]]]:
        """Figures of parts of the truth that are counted apart, by axis and part, such as ``class`` and ``road``."""
        return {}

    @abstractmethod
    def replicate(self, weights: NDArray[np.float64], rows: Rows) -> Mapping[str, NDArray[np.float64]]:
        """The figures of R resamples, [R] each, NaN where one is undefined; metrics without an interval are left out.

        ``weights`` is [R, images]: how often each image, in the order of ``rows``, is in the resample.
        """

    def parameters(self, counts: Counts, rows: Rows) -> Mapping[str, float] | Undefined:
        """What the second phase takes from the first, such as a threshold."""
        raise NotImplementedError

    def frame(self, score: Scores, sample: Sample, predicted: Labels | None, parameters: Mapping[str, float]) -> Row:
        """Second phase: figures of one image from its spooled map. They join the row of the first phase."""
        raise NotImplementedError
