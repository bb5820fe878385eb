"""Free energy after activations are cut off at what is usual in training."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Gt, Lt
from torch import Tensor

from bench.api import Fitting, Prediction, Sample, State
from bench.fit.features import samples
from bench.fit.features.detector import ShapedDetector

DROPPED = np.uint32(12)  # bits of a float32: 2^20 bins hold all of them in their order
SIGN = np.uint32(2**31)


@dataclass(frozen=True)
class React(ShapedDetector):
    """Score = -logsumexp of the last layer on min(f, c), c the ``percentile`` of the features of labelled pixels.

    The percentile is over all channels and pixels together. It is read off exact counts of float32 values by their
    leading 20 bits, as the upper end of a bin: at most 2^-11 of its size above the value itself.
    """

    name = "react"
    source = (
        "Sun, Guo and Li, ReAct: Out-of-distribution Detection With Rectified Activations, arXiv:2111.12797, section 3"
    )
    fitting = Fitting(must=True, reads=frozenset({"percentile"}))

    percentile: Annotated[float, Gt(0), Lt(100)] = 90.0

    def fit(self, stream: Iterable[tuple[Prediction, Sample]], seed: int) -> State:
        """``cut``: float32 []."""
        counts = np.zeros(2**20, np.int64)
        for pixels in samples.labelled(stream, self.name):
            bits = (pixels.features + np.float32(0)).view(np.uint32).reshape(-1)  # -0 becomes 0
            ordered = np.where(bits & SIGN, ~bits, bits | SIGN)
            counts += np.bincount(ordered >> DROPPED, minlength=len(counts))
        reached = np.cumsum(counts)
        at = int(np.searchsorted(reached, self.percentile / 100 * reached[-1]))
        top = np.uint32((at << int(DROPPED)) | (2 ** int(DROPPED) - 1))
        return {"cut": np.array(top & ~SIGN if top & SIGN else ~top, np.uint32).view(np.float32)}

    def shaped(self, features: Tensor, state: State) -> Tensor:
        return features.clamp(max=float(state["cut"]))
