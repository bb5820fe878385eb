"""Free energy of a last layer that keeps its most useful weights alone."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge, Lt
from torch import Tensor

from bench.api import Fitting, Prediction, Sample, State
from bench.fit.features import head, samples
from bench.fit.features.detector import HeadDetector, constant
from bench.fit.features.moments import Moments


@dataclass(frozen=True)
class Dice(HeadDetector):
    """Score = -logsumexp of sum_d m_cd w_cd f_d + b_c, where m keeps the weights with the largest mean contribution.

    Contributions are w_cd times the mean of f_d over labelled training pixels; those above the ``percentile`` of all of
    them are kept. The last layer is asked once for each class, with the channels that the class keeps.
    """

    name = "dice"
    source = (
        "Sun and Li, DICE: Leveraging Sparsification for Out-of-Distribution Detection, arXiv:2111.09805, section 3"
    )

    percentile: Annotated[float, Ge(0), Lt(100)] = 90.0

    @property
    def fitting(self) -> Fitting:
        return Fitting(must=True, reads=frozenset({"percentile"}))

    def fit(self, stream: Iterable[tuple[Prediction, Sample]], seed: int) -> State:
        """``kept``: uint8 [C, D], 1 where a weight is kept."""
        moments, weights = Moments(), head.Weights(self.name)
        for pixels in samples.labelled(weights.watching(stream), self.name):
            moments.add(pixels.features, pixels.labels)
        contributions = weights.weight * moments.mean()
        return {"kept": (contributions > np.percentile(contributions, self.percentile)).astype(np.uint8)}

    def score(self, prediction: Prediction, state: State) -> Tensor:
        features, classify = prediction.raw["features"], head.of(prediction, self.name)
        kept = constant(state["kept"], features)
        logits = torch.stack([classify(features * mask[:, None, None])[c] for c, mask in enumerate(kept)])
        return self.smoothed(prediction, -logits.logsumexp(dim=0))
