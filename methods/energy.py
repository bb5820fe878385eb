"""Free energy of the logits."""

from dataclasses import dataclass

from torch import Tensor

from bench.api import Method, Positive, Prediction, State


@dataclass(frozen=True)
class Energy(Method):
    """Score = -T logsumexp(z / T); as T goes to 0 it becomes MaxLogit."""

    name = "energy"
    source = "Liu et al., Energy-based Out-of-distribution Detection, arXiv:2010.03759"
    trainer = "temperature"

    temperature: Positive = 1.0  # unless fitted

    def score(self, prediction: Prediction, state: State) -> Tensor:
        temperature = float(state.get("temperature", self.temperature))
        return -temperature * prediction.logsumexp(temperature)
