"""Every definition of the figures of any protocol: how far its reading moves them."""

from __future__ import annotations

from dataclasses import dataclass, field

from bench.contract.dataset import Sample
from bench.contract.protocol import Protocol
from bench.core.values import Labels
from bench.metrics.protocols.definitions import EveryDefinition


@dataclass(frozen=True)
class Spread(EveryDefinition):
    """The same for the two sides of any protocol."""

    name = "spread"
    needs = frozenset({"score"})

    inner: Protocol = field(kw_only=True)

    def truth(self, sample: Sample, predicted: Labels | None) -> Labels:
        return self.inner.categories(sample, predicted)
