"""Likelihood ratio of a head that tells outliers and the best class."""

from torch import Tensor

from bench.api import Prediction, State
from bench.contract.smoothed import Smoothed


class Uem(Smoothed):
    """Score = s_out - s_in - max_c z_c, where the difference is ``ood_logit`` [h, w], the log-ratio of an outlier head.

    It is a ratio of likelihoods over the best known class, as the authors' code has it.
    """

    name = "uem"
    source = (
        "Nayal et al., A Likelihood Ratio-Based Approach to Segmenting Unknown Objects, arXiv:2409.06424;"
        " NazirNayal8/UEM-likelihood-ratio"
    )
    needs = frozenset({"logits", "ood_logit"})
    uses_outliers = True

    def score(self, prediction: Prediction, state: State) -> Tensor:
        return self.smoothed(prediction, prediction.ood_logit - prediction.max_logit)
