"""Maximum softmax probability."""

from torch import Tensor

from bench.api import Prediction, Scored, Scores, State
from bench.contract.logit_score import TemperatureScore


class Msp(TemperatureScore):
    """Score = 1 - max_c softmax(z / T)_c, summed over the other classes: a confident pixel keeps all its digits."""

    name = "msp"
    source = "Hendrycks and Gimpel, A Baseline for Detecting Misclassified and Out-of-Distribution..., arXiv:1610.02136"

    def score(self, prediction: Prediction, state: State) -> Tensor | Scored:
        if self.fidelity == "reference":
            return self.by_source(prediction, lambda logits: logits.softmax(dim=0).amax(dim=0))
        return self.smoothed(prediction, prediction.other_mass(self.fitted(state)))

    def confidence(self, score: Scores) -> Scores | None:
        return None if self.fidelity == "reference" else 1 - score
