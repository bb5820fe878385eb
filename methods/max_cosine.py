"""Angle between the features and the weights of the nearest class."""

from torch import Tensor
from torch.nn import functional

from bench.api import Prediction, State
from bench.fit.features import head
from bench.fit.features.detector import HeadDetector, pixelwise


class MaxCosine(HeadDetector):
    """Score = 1 - max_c cos(f, w_c), w_c the weights of class c in the last layer; nothing is fitted.

    It is what is left of the maximum logit once the length of the features and the offsets are taken out.
    """

    name = "max_cosine"
    source = "Zhang and Xiang, Decoupling MaxLogit for Out-of-Distribution Detection, CVPR 2023: MaxCosine"

    def score(self, prediction: Prediction, state: State) -> Tensor:
        features = prediction.raw["features"]
        directions = functional.normalize(head.affine(head.of(prediction, self.name), features)[0], dim=1)

        def angle(pixels: Tensor) -> Tensor:
            return 1 - (functional.normalize(pixels, dim=1) @ directions.T).amax(dim=1)

        return self.smoothed(prediction, pixelwise(features, 2 * len(features), angle))
