"""Monte Carlo dropout: how much the network contradicts itself when channels are dropped at random."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor

from bench.api import Prediction, Scored, State
from bench.contract.logit_score import LogitScore
from bench.core.errors import BadPlugin, BadSuite
from bench.ops import dense


@dataclass(frozen=True)
class McDropout(LogitScore):
    """Score = a measure of the softmax over N passes, one without dropout and N - 1 with channels dropped at random.

    With p_k the softmax of pass k and m their mean: ``predictive_entropy`` H(m), ``expected_entropy`` mean_k H(p_k),
    ``mutual_information`` H(m) - mean_k H(p_k), in nats, and ``variance`` sum_c mean_k (p_kc - m_c)^2.

    Only what comes after the dropout is repeated, at the network's resolution. The class map stays that of the pass
    without dropout. ``rate`` is the network's own unless given. What is dropped depends on the suite's seed and the
    view alone, and not on the device.

    ``fidelity: reference`` is FlowEneDet's code: confidence exp(sum_c m_c log(m_c + 1e-8)), and the class map of the
    last random pass, which that code returns as the prediction; the truth of this cell is made with it.
    """

    name = "mc_dropout"
    source = "Gal and Ghahramani, Dropout as a Bayesian Approximation, arXiv:1506.02142, sections 3 and 4"
    merge = "views"

    passes: Annotated[int, Ge(2)] = 32
    rate: Annotated[float, Gt(0), Lt(1)] | None = None
    measure: Literal["predictive_entropy", "mutual_information", "expected_entropy", "variance"] = "predictive_entropy"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.fidelity == "reference" and self.measure != "predictive_entropy":
            raise ValueError(f"reference fidelity has no {self.measure}; leave measure out, or say fidelity: corrected")

    @property
    def needs(self) -> frozenset[str]:
        """Also the network's own rate, unless one is given."""
        own = {"dropout"} if self.rate is None else set()
        return frozenset({"logits", "features", "raw", "classify"} | own)

    def score(self, prediction: Prediction, state: State) -> Tensor | Scored:
        if self.fidelity == "reference":
            return self._reference(prediction)
        first = prediction.raw["logits"]
        mean, spread = torch.zeros_like(first), torch.zeros_like(first)
        entropies = first.new_zeros(first.shape[1:])
        for count, logits in enumerate(self._logits(prediction), start=1):
            if self.measure in {"expected_entropy", "mutual_information"}:
                others, weighted = dense.others(logits, *dense.top(logits), 1.0)
                entropies += others.log1p() - weighted / (1 + others)
            if self.measure != "expected_entropy":
                probabilities = logits.softmax(dim=0)
                step = probabilities - mean
                mean += step / count  # Welford: no difference of large sums
                if self.measure == "variance":
                    spread.addcmul_(step, probabilities - mean)
        entropies /= self.passes
        if self.measure == "expected_entropy":
            return self.smoothed(prediction, entropies)
        if self.measure == "variance":
            return self.smoothed(prediction, spread.sum(dim=0) / self.passes)
        entropy = _entropy(mean)
        if self.measure == "mutual_information":
            entropy = (entropy - entropies).clamp(min=0)  # it is below 0 by rounding alone
        return self.smoothed(prediction, entropy)

    def _reference(self, prediction: Prediction) -> Scored:
        total: Tensor | None = None
        for sampled in self._logits(prediction):
            logits = self.source_logits(prediction, sampled)
            share = logits.softmax(dim=0) / self.passes
            total = share if total is None else total.add_(share)
        assert total is not None  # noqa: S101 - there are at least two passes
        confidence = (total * (total + 1e-8).log()).sum(dim=0).exp()
        return self.source_score(prediction, confidence, logits, altered=True)

    def _logits(self, prediction: Prediction) -> Iterator[Tensor]:
        """[C, h, w] of each pass; what was dropped is made up for by scaling the rest."""
        rate, features, classify = self._rate(prediction), prediction.raw["features"], prediction.classify
        if classify is None:
            raise BadPlugin("mc_dropout: the network says that it gives classify, but its prediction has none")
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
            raise BadPlugin("mc_dropout: the network says that it gives dropout, but its prediction has no rate")
        if not prediction.dropout > 0:
            raise BadSuite(
                "mc_dropout: the dropout of this network has rate 0, so that all passes are equal; "
                "say the rate that it was trained with, as in mc_dropout: {rate: 0.1}"
            )
        return prediction.dropout


def _entropy(probabilities: Tensor) -> Tensor:
    """Entropy in nats over the classes of [C, h, w]. Of the largest class its distance to 1 is used."""
    rest = probabilities.scatter(0, probabilities.argmax(dim=0, keepdim=True), 0.0)
    others = rest.sum(dim=0)
    return -(1 - others) * (-others).log1p() - torch.xlogy(rest, rest).sum(dim=0)
