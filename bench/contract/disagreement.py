"""Methods that hold several predictions of one image against each other: of members, or of passes with dropout."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor

from bench.contract.method import Method
from bench.contract.prediction import Prediction
from bench.contract.smoothed import Smoothed
from bench.core.errors import BadPlugin, BadSuite
from bench.core.values import State
from bench.ops import disagreement
from bench.ops.disagreement import Measure


@dataclass(frozen=True)
class DropoutPasses(Method):
    """A method that repeats what comes after the dropout of a network.

    Pass 1 of ``passes`` is without dropout, the others drop channels of the features at random. ``rate`` is the
    network's own unless given. What is dropped depends on the suite's seed and the view alone, not on the device.
    """

    passes: Annotated[int, Ge(2)] = 32
    rate: Annotated[float, Gt(0), Lt(1)] | None = None

    @property
    def dropout_needs(self) -> frozenset[str]:
        """Return what the passes read; the network's own rate, unless one is given."""
        own = {"dropout"} if self.rate is None else set()
        return frozenset({"logits", "features", "raw", "classify"} | own)

    def dropout_logits(self, prediction: Prediction) -> Iterator[Tensor]:
        """Yield float32 [C, h, w] of each pass; what was dropped is made up for by scaling the rest."""
        rate, features, classify = self._rate(prediction), prediction.raw["features"], prediction.classify
        if classify is None:
            raise BadPlugin(f"{self.name}: the network says that it gives classify, but its prediction has none")
        yield prediction.raw["logits"]
        generator = torch.Generator().manual_seed(prediction.context.seed)
        kept = torch.rand(self.passes - 1, len(features), 1, 1, generator=generator) >= rate
        weights = (kept / (1 - rate)).to(features)
        dropped = torch.empty_like(features)  # one for all passes: it is by far the largest thing here
        for weight in weights:
            yield classify(torch.mul(features, weight, out=dropped))

    def _rate(self, prediction: Prediction) -> float:
        if self.rate is not None:
            return self.rate
        if prediction.dropout is None:
            raise BadPlugin(f"{self.name}: the network says that it gives dropout, but its prediction has no rate")
        if not prediction.dropout > 0:
            raise BadSuite(
                f"{self.name}: the dropout of this network has rate 0, so that all passes are equal; "
                f"say the rate that it was trained with, as in {self.name}: {{rate: 0.1}}"
            )
        return prediction.dropout


@dataclass(frozen=True)
class Disagreement(Smoothed, DropoutPasses):
    """A measure of the softmax over the members of an ensemble, or over passes with dropout: ``over`` says which.

    Every view is scored at the resolution of its logits. ``passes`` and ``rate`` are those of dropout.
    """

    measure: ClassVar[Measure]  # see ``bench.ops.disagreement``
    merge = "views"

    over: Literal["members", "dropout"] = "members"

    def __post_init__(self) -> None:
        if self.over == "members" and (self.passes, self.rate) != (type(self).passes, type(self).rate):
            raise ValueError("passes and rate are those of dropout; leave them out, or say over: dropout")

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"members", "raw"}) if self.over == "members" else self.dropout_needs

    def score(self, prediction: Prediction, state: State) -> Tensor:
        opinions: Iterable[Tensor] = self.dropout_logits(prediction)
        if self.over == "members":
            opinions = prediction.raw["members"]
        return self.smoothed(prediction, disagreement.measured(opinions, self.measure))
