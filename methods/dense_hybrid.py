"""Free energy of the logits and a head that tells outliers, together."""

from torch import Tensor
from torch.nn import functional

from bench.api import Prediction, State
from bench.contract.smoothed import Smoothed


class DenseHybrid(Smoothed):
    """Score = log P(outlier | x) - log p(x) = log sigmoid(ood_logit) - logsumexp z.

    ``ood_logit`` [h, w] is the difference of the two outputs of the authors' head, outlier minus inlier, so that its
    sigmoid is the second entry of their softmax.
    """

    name = "dense_hybrid"
    source = (
        "Grcic, Bevandic and Segvic, DenseHybrid: Hybrid Anomaly Detection for Dense Open-set Recognition, ECCV 2022,"
        " arXiv:2207.02606"
    )
    needs = frozenset({"logits", "ood_logit"})
    uses_outliers = True

    def score(self, prediction: Prediction, state: State) -> Tensor:
        return self.smoothed(prediction, functional.logsigmoid(prediction.ood_logit) - prediction.logsumexp())
