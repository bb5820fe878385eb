"""Probabilities calibrated by a factor and an offset for each class."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from bench.fit.calibration import Calibrated, Doubles, likelihood, minimised


@dataclass(frozen=True)
class VectorScaling(Calibrated):
    """Score of softmax(w_c z_c + b_c); w and b minimise the mean negative log-likelihood of labelled pixels."""

    name = "vector_scaling"
    source = "Guo et al., On Calibration of Modern Neural Networks, arXiv:1706.04599, section 4.2: vector scaling"

    def inputs(self, logits: Tensor) -> Tensor:
        return logits

    def fitted(self, inputs: Doubles, labels: NDArray[np.int64]) -> tuple[Doubles, Doubles]:
        def loss(parameters: Doubles) -> tuple[float, Doubles]:
            factors, offsets = np.split(parameters, 2)
            value, slope = likelihood(inputs * factors + offsets, labels)
            return value, np.concatenate([(slope * inputs).sum(axis=0), slope.sum(axis=0)])

        count = inputs.shape[1]
        factors, offset = np.split(minimised(loss, np.repeat([1.0, 0.0], count), self.name), 2)
        return np.diag(factors), offset
