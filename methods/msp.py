"""Maximum softmax probability."""

from dataclasses import dataclass

from torch import Tensor

from bench.api import Positive, Prediction, Scored, Scores, State
from bench.contract.logit_score import LogitScore


@dataclass(frozen=True)
class Msp(LogitScore):
    """Score = 1 - max_c softmax(z / T)_c, summed over the other classes: a confident pixel keeps all its digits."""

    name = "msp"
    source = "Hendrycks and Gimpel, A Baseline for Detecting Misclassified and Out-of-Distribution..., arXiv:1610.02136"
    trainer = "temperature"

    temperature: Positive = 1.0  # unless fitted

    def score(self, prediction: Prediction, state: State) -> Tensor | Scored:
        if self.fidelity == "reference":
            return self.by_source(prediction, lambda logits: logits.softmax(dim=0).amax(dim=0))
        return self.smoothed(prediction, prediction.other_mass(float(state.get("temperature", self.temperature))))

    def confidence(self, score: Scores) -> Scores | None:
        return None if self.fidelity == "reference" else 1 - score
