"""Toytown: synthetic street scenes, with the Cityscapes classes, several weathers, and things out of place."""

from bench.datasets.toytown.outliers import ToytownOutliers
from bench.datasets.toytown.scenes import Toytown

__all__ = ["Toytown", "ToytownOutliers"]
