"""Methods whose score maps can be smoothed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

from bench.contract.method import Method
from bench.contract.prediction import Prediction
from bench.ops import dense, smoothing


@dataclass(frozen=True)
class Smoothed(Method):
    """A method with the parameter ``post``; derive from it and pass what you score through ``smoothed``.

    ``none`` leaves the map alone, ``gaussian`` filters it, ``boundary`` suppresses it at class boundaries: see
    ``bench.ops.smoothing``. Where a method scores views, each view is smoothed.
    """

    post: Literal["none", "gaussian", "boundary"] = field(default="none", kw_only=True)

    def smoothed(self, prediction: Prediction, score: Tensor) -> Tensor:
        """The score [h, w] as ``post`` says, at the size of the prediction unless it is left alone."""
        if self.post == "none":
            return score
        score = dense.resize(score, prediction.size)
        if self.post == "gaussian":
            return smoothing.gaussian(score, fused=prediction.context.fused)
        return smoothing.boundary(score, prediction.labels, fused=prediction.context.fused)
