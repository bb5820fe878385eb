"""Mahalanobis distance to the nearest class, less that to all classes together."""

from torch import Tensor

from bench.api import Fitting, Prediction, State
from bench.fit.features.detector import FeatureDetector, constant, pixelwise


class RelativeMahalanobis(FeatureDetector):
    """Score = min_c (f - mu_c)^T S^-1 (f - mu_c) - (f - mu)^T S_0^-1 (f - mu), mu and S_0 of all pixels together.

    The fit is that of ``mahalanobis``. What is far from everything, in directions that no class uses, is no anomaly
    to it.
    """

    name = "relative_mahalanobis"
    source = (
        "Ren et al., A Simple Fix to Mahalanobis Distance for Improving Near-OOD Detection, arXiv:2106.09022, section 2"
    )
    fitting = Fitting("feature_moments", must=True)

    def score(self, prediction: Prediction, state: State) -> Tensor:
        features = prediction.raw["features"]
        mean, by_class, by_all = (
            constant(state[name], features) for name in ("mean", "whitening_of_classes", "whitening")
        )
        centres = constant((state["means"] - state["mean"]) @ state["whitening_of_classes"].T, features)

        def relative(pixels: Tensor) -> Tensor:
            moved = pixels - mean
            white, plain = moved @ by_class.T, moved @ by_all.T
            apart = (centres * centres).sum(dim=1) - 2 * (white @ centres.T)
            return apart.amin(dim=1) + (white * white).sum(dim=1) - (plain * plain).sum(dim=1)

        return self.smoothed(prediction, pixelwise(features, 4 * len(features), relative))
