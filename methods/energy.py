"""Free energy of the logits."""

from torch import Tensor

from bench.api import Prediction, Scored, State
from bench.contract.logit_score import TemperatureScore


class Energy(TemperatureScore):
    """Score = -T logsumexp(z / T); as T goes to 0 it becomes MaxLogit."""

    name = "energy"
    source = "Liu et al., Energy-based Out-of-distribution Detection, arXiv:2010.03759"

    def score(self, prediction: Prediction, state: State) -> Tensor | Scored:
        if self.fidelity == "reference":
            return self.by_source(prediction, lambda logits: logits.logsumexp(dim=0))
        temperature = self.fitted(state)
        return self.smoothed(prediction, -temperature * prediction.logsumexp(temperature))
