"""The probability of a class that stands for everything else."""

from torch import Tensor

from bench.api import Method, Prediction, State


class VoidChannel(Method):
    """Score = softmax of the logits and ``void_logit`` together, at void: exp v / (exp v + sum_c exp z_c).

    For a network with one class more than the data set, trained on whatever belongs to none. Its logit is an output
    of its own, ``void_logit`` [h, w]; ``logits`` are the known classes alone.
    """

    name = "void_channel"
    source = "the void classifier of Blum et al., The Fishyscapes Benchmark, arXiv:1904.03215"
    needs = frozenset({"logits", "void_logit"})
    uses_outliers = True

    def score(self, prediction: Prediction, state: State) -> Tensor:
        return (prediction.void_logit - prediction.logsumexp()).sigmoid()
