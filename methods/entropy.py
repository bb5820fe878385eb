"""Entropy of the softmax."""

import math
from dataclasses import dataclass

from torch import Tensor

from bench.api import Fitting, Positive, Prediction, State
from bench.contract.logit_score import ForMasks
from bench.ops import queries


@dataclass(frozen=True)
class Entropy(ForMasks):
    """Score = Shannon entropy of softmax(z / T) in nats, from 0 to log C; ``normalised`` divides it by log C.

    ``on: class_scores`` takes L_c / sum_c L_c of a mask classifier in place of the softmax.
    """

    name = "entropy"
    source = "Shannon entropy; as an anomaly score: Chan et al., Entropy Maximization..., arXiv:2012.06575, section 3"
    temperature: Positive = 1.0  # unless fitted
    normalised: bool = False

    @property
    def fitting(self) -> Fitting | None:
        return Fitting("temperature") if self.on == "logits" else None

    def score(self, prediction: Prediction, state: State) -> Tensor:
        if self.on == "class_scores":
            scores = prediction.class_scores
            shared = queries.share_entropy(scores)
            return self.smoothed(prediction, shared / math.log(len(scores)) if self.normalised else shared)
        temperature = float(state.get("temperature", self.temperature))
        entropy = prediction.normalised_entropy if self.normalised else prediction.entropy
        return self.smoothed(prediction, entropy(temperature))
