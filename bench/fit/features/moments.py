"""Means and covariances of features, by class, from exact sums over images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bench.api import IGNORE, Labels
from bench.fit.features.exact_sums import ExactSum

BLOCK = 2**14  # pixels whose products are summed at once

Doubles = NDArray[np.float64]


class Moments:
    """Sums of pixels, of features and of their products; those of an image are float64, over images they are exact."""

    def __init__(self) -> None:
        self._counts, self._sums, self._products = np.zeros(IGNORE, np.int64), ExactSum(), ExactSum()

    def add(self, features: NDArray[np.float32], labels: Labels) -> None:
        """Add pixels with features [n, D] and labels [n]."""
        sums = np.zeros((IGNORE, features.shape[1]))
        products = np.zeros((features.shape[1], features.shape[1]))
        for start in range(0, len(labels), BLOCK):
            block = features[start : start + BLOCK].astype(np.float64)
            products += block.T @ block
            classes = labels[start : start + BLOCK]
            for k in np.unique(classes):
                sums[k] += block[classes == k].sum(axis=0)
        self._counts += np.bincount(labels, minlength=IGNORE)[:IGNORE]
        self._sums.add(sums)
        self._products.add(products)

    def merge(self, other: Moments) -> None:
        """Add what others were given."""
        self._counts += other._counts
        self._sums.merge(other._sums)
        self._products.merge(other._products)

    def pixels(self) -> NDArray[np.int64]:
        """Return how many pixels each of the K classes has that have any, [K], by ascending label."""
        return self._counts[self._counts > 0]

    def means(self) -> Doubles:
        """Return the mean features of these classes, [K, D]."""
        means: Doubles = self._sums.value()[self._counts > 0] / self.pixels()[:, None]
        return means

    def mean(self) -> Doubles:
        """Return the mean features of all pixels, [D]."""
        mean: Doubles = self._sums.value().sum(axis=0) / self._counts.sum()
        return mean

    def covariances(self) -> tuple[Doubles, Doubles]:
        """Return the covariance around the means of the classes and that around the mean of all, [D, D] each."""
        shares = self.pixels() / self._counts.sum()
        second = self._products.value() / self._counts.sum()
        means, mean = self.means(), self.mean()
        return second - (means.T * shares) @ means, second - np.outer(mean, mean)
