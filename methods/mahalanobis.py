"""Mahalanobis distance of the features to the nearest class."""

from torch import Tensor

from bench.api import Fitting, Prediction, State
from bench.fit.features.detector import FeatureDetector, constant, pixelwise


class Mahalanobis(FeatureDetector):
    """Score = min_c (f - mu_c)^T S^-1 (f - mu_c), with the class means mu_c and one covariance S around them.

    Both are fitted by label, with the trainer ``feature_moments``; classes without a labelled pixel have no mean. S is
    inverted where features vary.
    """

    name = "mahalanobis"
    source = (
        "Lee et al., A Simple Unified Framework for Detecting Out-of-Distribution Samples and Adversarial Attacks,"
        " NeurIPS 2018, arXiv:1807.03888, section 2.1, without its perturbation and its ensemble of layers"
    )
    fitting = Fitting("feature_moments", must=True)

    def score(self, prediction: Prediction, state: State) -> Tensor:
        features = prediction.raw["features"]
        mean, whitening = (constant(state[name], features) for name in ("mean", "whitening_of_classes"))
        centres = constant((state["means"] - state["mean"]) @ state["whitening_of_classes"].T, features)

        def nearest(pixels: Tensor) -> Tensor:
            white = (pixels - mean) @ whitening.T
            apart = (centres * centres).sum(dim=1) - 2 * (white @ centres.T)
            return (apart.amin(dim=1) + (white * white).sum(dim=1)).clamp_(min=0)

        return self.smoothed(prediction, pixelwise(features, 3 * len(features), nearest))
