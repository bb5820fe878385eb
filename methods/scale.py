"""Free energy after a pixel's activations are scaled by how much its strongest channels hold."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Lt
from torch import Tensor

from bench.api import State
from bench.fit.features import activations
from bench.fit.features.detector import ShapedDetector


@dataclass(frozen=True)
class Scale(ShapedDetector):
    """Score = -logsumexp of the last layer on f exp(s1 / s2), s1 the sum of f and s2 of its largest channels.

    Those are what is left when the weakest ``percentile`` of them is taken away; nothing is. As in ``ash``, whose
    pruning it leaves out, every pixel is scaled by itself, and by 1 where s2 is not above 0.
    """

    name = "scale"
    source = (
        "Xu et al., Scaling for Training Time and Post-hoc Out-of-distribution Detection Enhancement, ICLR 2024,"
        " arXiv:2310.00227, section 3"
    )

    percentile: Annotated[float, Ge(0), Lt(100)] = 85.0

    def shaped(self, features: Tensor, state: State) -> Tensor:
        mask = activations.strongest(features, activations.kept(len(features), self.percentile))
        return features * activations.sharpening(features, mask)
