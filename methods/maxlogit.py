"""Maximum logit."""

from dataclasses import dataclass

from torch import Tensor

from bench.api import Prediction, Scored, State
from bench.contract.logit_score import ForMasks, LogitScore


@dataclass(frozen=True)
class MaxLogit(ForMasks, LogitScore):
    """Score = -max_c z_c: suspicious where no class speaks up. Keeps the magnitude that softmax divides away.

    ``on: class_scores`` takes the class scores L of a mask classifier in place of z: ``mask_max`` less its constant.
    """

    name = "maxlogit"
    source = "Hendrycks et al., Scaling Out-of-Distribution Detection for Real-World Settings, arXiv:1911.11132"

    def score(self, prediction: Prediction, state: State) -> Tensor | Scored:
        if self.fidelity == "reference":
            return self.by_source(prediction, lambda logits: logits.amax(dim=0))
        if self.on == "class_scores":
            return self.smoothed(prediction, -prediction.class_scores.amax(dim=0))
        return self.smoothed(prediction, -prediction.max_logit)
