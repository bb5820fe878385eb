"""Entropy of the softmax."""

from dataclasses import dataclass

from torch import Tensor

from bench.api import Fitting, Positive, Prediction, State
from bench.contract.smoothed import Smoothed


@dataclass(frozen=True)
class Entropy(Smoothed):
    """Score = Shannon entropy of softmax(z / T) in nats, from 0 to log C; ``normalised`` divides it by log C."""

    name = "entropy"
    source = "Shannon entropy; as an anomaly score: Chan et al., Entropy Maximization..., arXiv:2012.06575, section 3"
    fitting = Fitting("temperature")

    temperature: Positive = 1.0  # unless fitted
    normalised: bool = False

    def score(self, prediction: Prediction, state: State) -> Tensor:
        temperature = float(state.get("temperature", self.temperature))
        entropy = prediction.normalised_entropy if self.normalised else prediction.entropy
        return self.smoothed(prediction, entropy(temperature))
