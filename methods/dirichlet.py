"""Probabilities calibrated by a linear map of their logarithms."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from bench.api import Fitting, Positive
from bench.fit.calibration import Calibrated, Doubles, likelihood, minimised


@dataclass(frozen=True)
class Dirichlet(Calibrated):
    """Score of softmax(W log p + b), p the softmax; W and b minimise what follows over n labelled pixels.

    Mean of -log p'_y, plus ``off_diagonal`` / (C (C - 1)) times the sum of squares of W beside its diagonal, plus
    ``intercept`` / C times the sum of squares of b (ODIR). The authors choose the two by cross-validation for each
    network, from 0.001 to 250 times what stands before the sums here; no value is theirs for all.
    """

    name = "dirichlet"
    source = (
        "Kull et al., Beyond Temperature Scaling: Obtaining Well-calibrated Multiclass Probabilities with Dirichlet"
        " Calibration, arXiv:1910.12656, section 3"
    )
    fitting = Fitting(must=True, reads=frozenset({"size", "off_diagonal", "intercept"}))

    off_diagonal: Positive = 1.0
    intercept: Positive = 1.0

    def inputs(self, logits: Tensor) -> Tensor:
        return logits.log_softmax(dim=0)

    def fitted(self, inputs: Doubles, labels: NDArray[np.int64]) -> tuple[Doubles, Doubles]:
        count = inputs.shape[1]
        beside = self.off_diagonal / max(count * (count - 1), 1) * (1 - np.eye(count))
        aside = self.intercept / count

        def loss(parameters: Doubles) -> tuple[float, Doubles]:
            weight, offset = parameters[:-count].reshape(count, count), parameters[-count:]
            value, slope = likelihood(inputs @ weight.T + offset, labels)
            value += float((beside * weight**2).sum() + aside * (offset**2).sum())
            by_weight, by_offset = slope.T @ inputs + 2 * beside * weight, slope.sum(axis=0) + 2 * aside * offset
            return value, np.concatenate([by_weight.reshape(-1), by_offset])

        best = minimised(loss, np.concatenate([np.eye(count).reshape(-1), np.zeros(count)]), self.name)
        return best[:-count].reshape(count, count), best[-count:]
