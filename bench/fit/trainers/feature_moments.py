"""Mean features of each class, and what whitens features around them and around the mean of all."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from bench.api import Estimator, Prediction, Sample, State
from bench.fit.features import samples
from bench.fit.features.moments import Moments


class FeatureMoments(Estimator):
    """Means and covariances of the features of labelled pixels, by label, in one pass and in exact sums.

    Covariances are over all pixels, around the mean of the pixel's class and around the mean of all. What whitens is
    L^-1/2 U^T of C = U L U^T. Directions in which float32 features do not vary are left out, as a pseudo-inverse does:
    those with less than D x 2^-46 of the variance of the widest.
    """

    name = "feature_moments"
    source = (
        "Lee et al., A Simple Unified Framework for Detecting Out-of-Distribution Samples and Adversarial Attacks,"
        " arXiv:1807.03888, section 2.1: the tied covariance; Ren et al., A Simple Fix to Mahalanobis Distance for"
        " Improving Near-OOD Detection, arXiv:2106.09022: the covariance of all"
    )

    def fit(self, stream: Iterable[tuple[Prediction, Sample]], seed: int) -> State:
        """Return float64 arrays.

        ``means`` [K, D] of the K classes that have pixels and ``mean`` [D] of all; ``whitening_of_classes`` [D, D] and
        ``whitening`` [D, D], whose last rows are 0 where directions are left out; ``pixels`` int64 [K].
        """
        moments = Moments()
        for pixels in samples.labelled(stream, self.name):
            moments.add(pixels.features, pixels.labels)
        within, total = moments.covariances()
        return {
            "pixels": moments.pixels(),
            "means": moments.means(),
            "mean": moments.mean(),
            "whitening_of_classes": whitening(within),
            "whitening": whitening(total),
        }


def whitening(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return [D, D] whose product with a difference has the Mahalanobis distance for its length."""
    variances, directions = np.linalg.eigh(covariance)
    least = len(variances) * 2.0**-46 * max(variances[-1], 0.0)
    scale = np.where(variances > least, 1 / np.sqrt(np.where(variances > least, variances, 1.0)), 0.0)
    matrix: NDArray[np.float64] = (directions * scale).T[::-1]
    return np.ascontiguousarray(matrix)
