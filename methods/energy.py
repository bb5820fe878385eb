"""Free energy of the logits."""

from dataclasses import dataclass

from torch import Tensor

from bench.api import Positive, Prediction, Scored, State
from bench.contract.logit_score import LogitScore


@dataclass(frozen=True)
class Energy(LogitScore):
    """Score = -T logsumexp(z / T); as T goes to 0 it becomes MaxLogit."""

    name = "energy"
    source = "Liu et al., Energy-based Out-of-distribution Detection, arXiv:2010.03759"
    trainer = "temperature"

    temperature: Positive = 1.0  # unless fitted

    def score(self, prediction: Prediction, state: State) -> Tensor | Scored:
        if self.fidelity == "reference":
            return self.by_source(prediction, lambda logits: logits.logsumexp(dim=0))
        temperature = float(state.get("temperature", self.temperature))
        return self.smoothed(prediction, -temperature * prediction.logsumexp(temperature))
