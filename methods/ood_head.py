"""A head of the network that was trained to tell outliers."""

from torch import Tensor

from bench.api import Method, Prediction, State


class OodHead(Method):
    """Score = sigmoid of ``ood_logit`` [h, w], the logit of "this pixel is an outlier"."""

    name = "ood_head"
    source = (
        "Bevandic et al., Simultaneous Semantic Segmentation and Outlier Detection in Presence of Domain Shift, GCPR"
        " 2019, arXiv:1908.01098: a head of its own, trained with negatives"
    )
    needs = frozenset({"ood_logit"})
    uses_outliers = True

    def score(self, prediction: Prediction, state: State) -> Tensor:
        return prediction.ood_logit.sigmoid()
