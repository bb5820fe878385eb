"""Maximum logit."""

from torch import Tensor

from bench.api import Prediction, Scored, State
from bench.contract.logit_score import LogitScore


class MaxLogit(LogitScore):
    """Score = -max_c z_c: suspicious where no class speaks up. Keeps the magnitude that softmax divides away."""

    name = "maxlogit"
    source = "Hendrycks et al., Scaling Out-of-Distribution Detection for Real-World Settings, arXiv:1911.11132"

    def score(self, prediction: Prediction, state: State) -> Tensor | Scored:
        if self.fidelity == "reference":
            return self.by_source(prediction, lambda logits: logits.amax(dim=0))
        return self.smoothed(prediction, -prediction.max_logit)
