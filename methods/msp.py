"""Maximum softmax probability."""

from dataclasses import dataclass

from torch import Tensor

from bench.api import Prediction, Scored, Scores, State
from bench.contract.logit_score import ForMasks, TemperatureScore
from bench.ops import queries


@dataclass(frozen=True)
class Msp(ForMasks, TemperatureScore):
    """Score = 1 - max_c softmax(z / T)_c, summed over the other classes: a confident pixel keeps all its digits.

    ``on: class_scores`` takes L_c / sum_c L_c of a mask classifier in place of the softmax.
    """

    name = "msp"
    source = "Hendrycks and Gimpel, A Baseline for Detecting Misclassified and Out-of-Distribution..., arXiv:1610.02136"

    def score(self, prediction: Prediction, state: State) -> Tensor | Scored:
        if self.fidelity == "reference":
            return self.by_source(prediction, lambda logits: logits.softmax(dim=0).amax(dim=0))
        if self.on == "class_scores":
            return self.smoothed(prediction, queries.other_share(prediction.class_scores))
        return self.smoothed(prediction, prediction.other_mass(self.fitted(state)))

    def confidence(self, score: Scores) -> Scores | None:
        return None if self.fidelity == "reference" else 1 - score
