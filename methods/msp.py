"""Maximum softmax probability."""

from dataclasses import dataclass

from torch import Tensor

from bench.api import Method, Positive, Prediction, Scores, State


@dataclass(frozen=True)
class Msp(Method):
    """Score = 1 - max_c softmax(z / T)_c, summed over the other classes: a confident pixel keeps all its digits."""

    name = "msp"
    source = "Hendrycks and Gimpel, A Baseline for Detecting Misclassified and Out-of-Distribution..., arXiv:1610.02136"
    trainer = "temperature"

    temperature: Positive = 1.0  # unless fitted

    def score(self, prediction: Prediction, state: State) -> Tensor:
        return prediction.other_mass(float(state.get("temperature", self.temperature)))

    def confidence(self, score: Scores) -> Scores:
        return 1 - score
