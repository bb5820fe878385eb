"""Free energy after the weaker activations of a pixel are taken away."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Lt
from torch import Tensor

from bench.api import State
from bench.fit.features import activations
from bench.fit.features.detector import ShapedDetector


@dataclass(frozen=True)
class Ash(ShapedDetector):
    """Score = -logsumexp of the last layer on features of which the weakest ``percentile`` at each pixel become 0.

    ``variant: s`` multiplies the rest by exp(s1 / s2), s1 the sum of a pixel's features before and s2 after; ``b`` puts
    s1 / n in the place of the n that are left; ``p`` leaves them as they are. The authors prune an image as a whole, at
    90 (s), 65 (b) and 60 (p) for a classifier of ImageNet; here every pixel is pruned by itself. It is made for
    features that are not negative: where s2 is not above 0, ``s`` multiplies by 1.
    """

    name = "ash"
    source = (
        "Djurisic et al., Extremely Simple Activation Shaping for Out-of-Distribution Detection, ICLR 2023,"
        " arXiv:2209.09858, algorithms 1 to 3"
    )

    variant: Literal["s", "b", "p"] = "s"
    percentile: Annotated[float, Ge(0), Lt(100)] = 90.0

    def shaped(self, features: Tensor, state: State) -> Tensor:
        count = activations.kept(len(features), self.percentile)
        mask = activations.strongest(features, count)
        if self.variant == "b":
            return mask * (features.sum(dim=0) / count)
        pruned = features * mask
        return pruned if self.variant == "p" else pruned.mul_(activations.sharpening(features, mask))
