"""Angle between the features of a pixel and the nearest prototype of a known class."""

from torch import Tensor
from torch.nn import functional

from bench.api import Fitting, Prediction, State
from bench.fit.features.detector import FeatureDetector, constant, pixelwise


class Prowl(FeatureDetector):
    """Score = 1 - max_c cos(f, m_c), m_c the mean features of the labelled pixels of class c in a few reference images.

    The authors take f from DINOv2 as it was trained, without labels: the model ``dino``. The second half of their
    method, which keeps what lies in foreground masks of other networks, is left out.
    """

    name = "prowl"
    source = (
        "Sinhamahapatra et al., Finding Dino: A Plug-and-Play Framework for Zero-Shot Detection of Out-of-Distribution"
        " Objects Using Prototypes, arXiv:2404.07664: the similarity to the prototype feature bank"
    )
    fitting = Fitting("feature_moments", must=True)

    def score(self, prediction: Prediction, state: State) -> Tensor:
        features = prediction.raw["features"]
        prototypes = functional.normalize(constant(state["means"], features), dim=1)

        def angle(pixels: Tensor) -> Tensor:
            return 1 - (functional.normalize(pixels, dim=1) @ prototypes.T).amax(dim=1)

        return self.smoothed(prediction, pixelwise(features, len(features) + len(prototypes), angle))
