"""Protocols: which pixels count as what, and which figures are read off the counts.

A protocol has nine names beside ``name`` and ``source``: ``version``, ``metrics``, ``needs``, ``computations``,
``category_names``, ``categories``, ``row``, ``read`` and ``bootstrap``. What few protocols do is a class of its own to
derive from: ``TwoPhase``, ``Quantized``, ``Breakdown``, ``RefinementAware``, ``Pointwise``, ``Presented``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from bench.contract import old_protocols
from bench.contract.dataset import Sample
from bench.contract.method import Method
from bench.contract.plugin import PlugIn
from bench.core.errors import BadPlugin
from bench.core.values import Labels, Metric, Row, Rows, Scores, Undefined, Value
from bench.counts.tally import Counts as Counts  # what ``read`` is given

Figures = Mapping[str, Value | Undefined]

TRUTHS = frozenset({"labels", "anomaly", "instances"})  # of a sample
MAPS = frozenset({"score", "confidence"})  # of a method


@dataclass(frozen=True)
class Protocol(PlugIn, ABC):
    """Which pixels count as what, and which figures are read off the counts.

    Nothing of the network is needed after the counts, the rows and, for a second phase, the spooled maps. ``read`` must
    depend on the multiset of pixels and on the rows alone, never on the order in which they came.

    ``needs`` names what is counted: ``labels``, ``anomaly`` or ``instances`` of a sample; ``prediction``, the class
    map; ``score``, the map of a method, or ``confidence``, the method's probability of being right, n/a without one.
    Without ``score`` and ``confidence`` the protocol is computed once per network, not once per method.
    """

    computations = frozenset({"metrics"})
    version: ClassVar[int]  # of the definition: raised with every change that moves a number
    metrics: ClassVar[Mapping[str, Metric]]  # in the order of a table's columns; the first one ranks
    needs: ClassVar[frozenset[str]]

    truths: ClassVar[frozenset[str]] = frozenset()  # derived: which of ``needs`` a sample must have
    reads: ClassVar[Literal["score", "confidence"] | None] = None  # derived: which map of a method is counted

    @property
    @abstractmethod
    def category_names(self) -> tuple[str, ...]:
        """The name of each category, at most 64; a class attribute where no parameter changes it."""

    @abstractmethod
    def categories(self, sample: Sample, predicted: Labels | None) -> Labels:
        """Return uint8 [H, W]: an index into ``category_names``, 255 ignored.

        ``predicted`` is the class map, uint8 [H, W]; None where ``needs`` does not name it and there is none.
        """

    def row(self, sample: Sample, predicted: Labels | None, score: Scores | None = None) -> Row:
        """Return figures of one image that counts cannot hold; every image must have the same fields.

        ``score`` is what is counted, [H, W], None where no map is: float32, but float64 where ``bench score`` was given
        float64 that float32 cannot hold. What the bootstrap of a ranking needs is
        added to every row: ``bins``, ``bin_counts`` and ``bin_bits``.
        """
        return {}

    @abstractmethod
    def read(self, counts: Counts, rows: Rows) -> Figures:
        """Return the figures, in the order of ``metrics``; ``counts`` has no columns where no map is counted."""

    @abstractmethod
    def bootstrap(self, weights: NDArray[np.float64], rows: Rows) -> Mapping[str, NDArray[np.float64]]:
        """Return the figures of R resamples, [R] each, NaN where undefined; those without an interval are left out.

        ``weights`` is [R, images]: how often each image, in the order of ``rows``, is in the resample.
        """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if isinstance(needs := vars(cls).get("needs"), str):
            raise BadPlugin(f"protocol {cls.__name__} needs {needs!r}, wanted a set of names: frozenset({{{needs!r}}})")
        old_protocols.adopt_protocol(cls)
        needs = vars(cls).get("needs")
        if needs is None:
            return
        if unknown := needs - TRUTHS - MAPS - {"prediction"}:
            raise BadPlugin(f"protocol {cls.__name__} needs {min(unknown)!r}, which nothing gives")
        if len(MAPS & needs) > 1:
            raise BadPlugin(f"protocol {cls.__name__} needs a score and a confidence; one map is counted")
        cls.truths = needs & TRUTHS
        cls.reads = "score" if "score" in needs else "confidence" if "confidence" in needs else None


@dataclass(frozen=True)
class TwoPhase(Protocol):
    """A protocol that looks at every score map again, with parameters that all maps together decide."""

    spool: ClassVar[Literal["float16", "float32"]] = "float16"  # how maps are kept for the second phase

    @abstractmethod
    def parameters(self, counts: Counts, rows: Rows) -> Mapping[str, float] | Undefined:
        """Return what the second phase takes from the first, such as a threshold; Undefined if there is none."""

    def undecided(self, counts: Counts) -> tuple[float, float] | None:
        """Return the span of scores, ends included, that ``parameters`` wants counted exactly, as ``counts.near``.

        None if it wants nothing more, as with exact counts. Where the span cannot be looked at again there is no
        ``near``.
        """
        return None

    @abstractmethod
    def second_row(
        self, score: Scores, sample: Sample, predicted: Labels | None, parameters: Mapping[str, float]
    ) -> Row:
        """Return figures of one image from its spooled map. They join the row of the first phase."""

    @classmethod
    def __subclasshook__(cls, other: type) -> bool:
        return old_protocols.offers(cls, other, TwoPhase, "second_row")


@dataclass(frozen=True)
class Quantized(Protocol):
    """A protocol that counts scores as a board stores them, or after another change of every map."""

    resizes: ClassVar[bool] = False  # True: ``bench score`` upsamples maps smaller than their labels unasked
    levels: ClassVar[int] = 0  # above 0: stored whole numbers q up to it stand for (q + 0.5) / levels

    @abstractmethod
    def quantize(self, score: Scores) -> Scores:
        """Return the score as it is counted, of the same shape, such as rounded to float16: float32 or float64."""

    @classmethod
    def __subclasshook__(cls, other: type) -> bool:
        return old_protocols.offers(cls, other, Quantized, "quantize")


@dataclass(frozen=True)
class Breakdown(Protocol):
    """A protocol that counts parts of the truth apart, such as the labelled classes."""

    @abstractmethod
    def breakdown(self, counts: Counts, rows: Rows) -> Mapping[str, Mapping[str, Figures]]:
        """Return figures by axis and part, such as ``class`` and ``road``; empty where nothing is counted apart."""

    @classmethod
    def __subclasshook__(cls, other: type) -> bool:
        return old_protocols.offers(cls, other, Breakdown, "breakdown")


@dataclass(frozen=True)
class RefinementAware(Protocol):
    """A protocol that says what a refinement changed."""

    def refuses(self, method: Method) -> str:
        """Return why a pair with that method means nothing, for an n/a cell; empty where it does."""
        return ""

    @abstractmethod
    def refined(self, sample: Sample, before: Scores, decided: Row) -> Row:
        """Return what else to say of one image, from the map as it was before it was refined. Joins its row."""

    @classmethod
    def __subclasshook__(cls, other: type) -> bool:
        return old_protocols.offers(cls, other, RefinementAware, "refined")


@dataclass(frozen=True)
class CarriesThreshold(Protocol):
    """A protocol with a threshold for the scores of one method on one network: others have other scales."""

    @property
    @abstractmethod
    def carried(self) -> float | None:
        """Return the threshold; None where it is found on the maps that it is tried on."""


@dataclass(frozen=True)
class Pointwise(Protocol):
    """A protocol that can be counted on the device of the network, without a map on the host.

    The category of a pixel follows from the anomaly mask there alone, or from the label and the class map there alone:
    ``categories`` is asked once for pixels of every value, and what it answers is a table. It has no ``row`` and
    changes no score. Who derives from a protocol and replaces its ``categories`` says anew that they are pointwise.
    """

    @property
    def pointwise(self) -> bool:
        """Return whether that holds under these parameters."""
        return True


@dataclass(frozen=True)
class Presented(Protocol):
    """A protocol that says how tables and pages show it."""

    title: ClassVar[str] = ""  # for pages; the label of the protocol in the suite where there is none
    ranked: ClassVar[bool] = True  # False: no table ranks by its figures; pages show them in a panel of their own

    @classmethod
    def __subclasshook__(cls, other: type) -> bool:
        return old_protocols.offers(cls, other, Presented, "ranked")


def spool_dtype(protocol: Protocol) -> Literal["float16", "float32"]:
    """Return how the maps that a protocol counts are kept."""
    return protocol.spool if isinstance(protocol, TwoPhase) else "float16"


def wants_exact(protocol: Protocol) -> bool:
    """Return whether a second phase may want exact counts of a span of scores."""
    own = getattr(type(protocol), "undecided", TwoPhase.undecided)  # plug-ins of version 0.1 have none
    return isinstance(protocol, TwoPhase) and own is not TwoPhase.undecided


def quantized(protocol: Protocol, score: Scores) -> Scores:
    """Return the score as a protocol counts it."""
    return protocol.quantize(score) if isinstance(protocol, Quantized) else score
