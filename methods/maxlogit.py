"""Maximum logit."""

from torch import Tensor

from bench.api import Method, Prediction, State


class MaxLogit(Method):
    """Score = -max_c z_c: suspicious where no class speaks up. Keeps the magnitude that softmax divides away."""

    name = "maxlogit"
    source = "Hendrycks et al., Scaling Out-of-Distribution Detection for Real-World Settings, arXiv:1911.11132"

    def score(self, prediction: Prediction, state: State) -> Tensor:
        return -prediction.max_logit
