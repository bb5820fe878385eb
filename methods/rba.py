"""Rejected by all: no class of a mask classifier claims the pixel."""

import math

from torch import Tensor

from bench.api import Method, Prediction, State


class Rba(Method):
    """Score = tanh 1 - sum_c tanh L_c, where L_c are the class scores: the queries' votes for class c at the pixel.

    L_c = sum_q softmax(query q)_c sigmoid(mask q) is from 0 to the number of queries. The paper writes a squashing
    function, the authors' code takes tanh, and so do we. The constant is ours: it brings a pixel that one class is sure
    of near 0, where floats are fine, and changes no rank.
    """

    name = "rba"
    source = (
        "Nayal et al., RbA: Segmenting Unknown Regions Rejected by All, ICCV 2023, arXiv:2211.14293, the definition of"
        " RbA; NazirNayal8/RbA@4fcc2c0, evaluate_ood.py, get_RbA"
    )
    needs = frozenset({"class_scores"})

    def score(self, prediction: Prediction, state: State) -> Tensor:
        return math.tanh(1) - prediction.class_scores.tanh().sum(dim=0)
