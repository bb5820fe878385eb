"""Length of the gradient that a uniform target has in the last layer."""

from torch import Tensor

from bench.api import Prediction, State
from bench.fit.features.detector import FeatureDetector, logits_at


class Gradnorm(FeatureDetector):
    """Score = -|f|_1 sum_c |p_c - 1/C|: minus the L1 norm of the gradient of KL(u || p) by a linear layer's weights.

    p = softmax(z), u is uniform over the C classes. The gradient by w_cd is (p_c - 1/C) f_d at the pixel, so that
    nothing has to be differentiated. A layer with a wider kernel is taken as if it had none.
    """

    name = "gradnorm"
    source = (
        "Huang, Geng and Li, On the Importance of Gradients for Detecting Distributional Shifts in the Wild, NeurIPS"
        " 2021, arXiv:2110.00218, sections 3 and 5"
    )
    needs = frozenset({"features", "logits", "raw"})

    def score(self, prediction: Prediction, state: State) -> Tensor:
        features = prediction.raw["features"]
        logits = logits_at(prediction, features)
        away = (logits.softmax(dim=0) - 1 / len(logits)).abs().sum(dim=0)
        return self.smoothed(prediction, -away * features.abs().sum(dim=0))
