"""Monte Carlo dropout: how much the network contradicts itself when channels are dropped at random."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from bench.api import Prediction, Scored, State
from bench.contract.disagreement import DropoutPasses
from bench.contract.logit_score import LogitScore
from bench.ops import disagreement


@dataclass(frozen=True)
class McDropout(LogitScore, DropoutPasses):
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

    measure: Literal["predictive_entropy", "mutual_information", "expected_entropy", "variance"] = "predictive_entropy"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.fidelity == "reference" and self.measure != "predictive_entropy":
            raise ValueError(f"reference fidelity has no {self.measure}; leave measure out, or say fidelity: corrected")

    @property
    def needs(self) -> frozenset[str]:
        return self.dropout_needs

    def score(self, prediction: Prediction, state: State) -> Tensor | Scored:
        if self.fidelity == "reference":
            return self._reference(prediction)
        return self.smoothed(prediction, disagreement.measured(self.dropout_logits(prediction), self.measure))

    def _reference(self, prediction: Prediction) -> Scored:
        total: Tensor | None = None
        for sampled in self.dropout_logits(prediction):
            logits = self.source_logits(prediction, sampled)
            share = logits.softmax(dim=0) / self.passes
            total = share if total is None else total.add_(share)
        assert total is not None  # noqa: S101 - there are at least two passes
        confidence = (total * (total + 1e-8).log()).sum(dim=0).exp()
        return self.source_score(prediction, confidence, logits, altered=True)
