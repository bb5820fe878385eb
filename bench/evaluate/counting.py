"""Protocols over images that come one at a time: as many passes as they need, then figures. Imports no torch.

Memory holds one image, the tallies and a row per image. Protocols share a tally until an image tells them apart, in the
score that they see or in the pixels that they count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from bench.api import Protocol, TwoPhase, Undefined, Value
from bench.counts.tally import Tally
from bench.metrics.accumulate import (
    NEAR,
    Accumulator,
    CountedTwice,
    ScoredImage,
    add_together,
    by_tally,
    sharing,
)

Pass = Literal["count", "settle", "second"]


@dataclass(frozen=True)
class Counted:
    """The figures of one protocol."""

    protocol: Protocol
    images: int
    figures: Mapping[str, Value | Undefined]
    pixels: Mapping[str, int]


@dataclass
class _Span:
    """Scores between two that a second phase wants counted exactly, and what was counted of them."""

    span: tuple[float, float]
    near: Tally
    known: bool = True  # False: some image could not be counted exactly


@dataclass
class Counting:
    """The loop of ``bench score`` and of ``bench.Metric``.

    Call it so::

        for image in images:
            counting.add(image)
        while counting.goes_on():  # a second phase, which some protocols have
            for image in images:
                counting.add(image)
        counting.figures(seed, resamples)

    ``beside`` are further protocols of one phase, whose figures come last.
    """

    protocols: Sequence[Protocol]  # one or more
    budget: int
    beside: Sequence[Protocol] = ()
    accumulators: list[Accumulator] = field(init=False)

    def __post_init__(self) -> None:
        self.accumulators = sharing([*self.protocols, *self.beside], self.budget)
        self.at: Pass = "count"
        self.done = not self.two_phase  # whether figures can be read
        self.seen: set[str] = set()  # ids of this pass, but the first
        self._spans: dict[int, _Span] = {}
        self._second: dict[int, Mapping[str, float]] = {}

    @property
    def ids(self) -> list[str]:
        """The ids of all images, sorted."""
        return list(self.accumulators[0].rows)

    @property
    def two_phase(self) -> list[Protocol]:
        """The protocols that look at every map again."""
        return [protocol for protocol in self.protocols if isinstance(protocol, TwoPhase)]

    def add(self, image: ScoredImage) -> None:
        """Count one image in the pass that is under way. Raises CountedTwice in the first."""
        if self.at == "count":
            add_together(self.accumulators, image)
            return
        if self.at == "settle":
            for index, wanted in self._spans.items():
                self._settle(wanted, image, self.accumulators[index].protocol)
        else:
            for index, parameters in self._second.items():
                accumulator, truth = self.accumulators[index], image.truth
                if (score := image.score(accumulator.protocol)) is not None:
                    accumulator.add_second(truth.sample, truth.predicted, score, parameters)
        self.seen.add(image.truth.sample.id)

    def goes_on(self) -> bool:
        """End a pass; return whether all images must come once more: False at once without a second phase.

        A second phase whose parameters are undefined looks at nothing.
        """
        if self.at == "second":
            self._second.clear()
        if self.at == "count":
            spans = ((index, self.accumulators[index].undecided()) for index, _ in enumerate(self.protocols))
            near = max(self.budget, NEAR)
            self._spans = {
                index: _Span(span, Tally(len(self.protocols[index].category_names), near))
                for index, span in spans
                if span is not None
            }
        elif self.at == "settle":
            for index, wanted in self._spans.items():
                self.accumulators[index].settle([wanted.near] if wanted.known else [], wanted.span)
            self._spans = {}
        if self._spans:
            self.at = "settle"
        elif self.at != "second":
            parameters = ((index, self.accumulators[index].parameters()) for index, _ in enumerate(self.protocols))
            self._second = {
                index: values
                for index, values in parameters
                if values is not None and not isinstance(values, Undefined)
            }
            self.at = "second"
        self.seen = set()
        self.done = not (self._spans or self._second)
        return not self.done

    def merge(self, other: Counting, prefix: str = "") -> None:
        """Add what another counted of other images, whose ids get a prefix; it stays as it is.

        Both are in their first pass.

        Raises CountedTwice, and ValueError for tallies of another budget.
        """
        if twice := set(self.ids) & {prefix + sample for sample in other.ids}:
            raise CountedTwice(min(twice))
        pairs = list(zip(self.accumulators, other.accumulators, strict=True))
        parts: dict[tuple[int, int], list[tuple[Accumulator, Accumulator]]] = {}
        for own, added in pairs:
            parts.setdefault((id(own.tally), id(added.tally)), []).append((own, added))
        kept: set[int] = set()  # tallies that have an owner; whom the other tells apart, share none from here on
        for members in parts.values():
            tally = members[0][0].tally
            if tally is not None and id(tally) in kept:
                tally = tally.copy()
            kept.add(id(tally))
            for own, _ in members:
                own.tally = tally
        for members in parts.values():
            for place, (own, added) in enumerate(members):
                rows = {prefix + sample: row for sample, row in added.rows.items()}
                own.merge(added.tally if place == 0 else None, rows)

    def figures(self, seed: int, resamples: int, *, release: bool = False) -> list[Counted]:
        """Return the figures with intervals, protocol by protocol.

        With ``release`` each tally takes its keys into memory and is forgotten then: nothing can be added any more.
        """
        made: dict[Accumulator, Counted] = {}
        for members in by_tally(self.accumulators):
            for accumulator in members:
                reading = accumulator.reading()
                figures, _ = reading.figures(seed, resamples)
                made[accumulator] = Counted(reading.protocol, len(reading.rows), figures, reading.pixels)
            if release:
                for accumulator in members:
                    accumulator.tally = None
        return [made[accumulator] for accumulator in self.accumulators]

    def _settle(self, wanted: _Span, image: ScoredImage, protocol: Protocol) -> None:
        """Count the pixels of an image within a span."""
        counted = image.counted(protocol)
        if counted is None or not wanted.known:
            return
        alone = Tally(counted.keyed.n_categories, max(self.budget, 8 * counted.keyed.pixels))
        alone.add(counted.keyed)
        part = alone.between(*wanted.span, wanted.near.budget)
        if part is None:
            wanted.known = False
        else:
            wanted.near.merge(part)
