"""Temperature of the softmax, by maximum likelihood on labelled data."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import torch

from bench.api import IGNORE, Estimator, Prediction, Sample, State
from bench.core.errors import MissingData

# 1 / T on a grid that is fine where networks lie; the likelihood is convex in 1 / T, so its slope has one root.
GRID = np.geomspace(0.1, 10.0, 17)
# Pixels at a time, on the host: all that the 17 values need of them stays in its cache, and each pixel's sums are the
# same digits. At a million pixels of 19 classes this takes a third of the time of all at once.
CHUNK = 8192
# Below this the host makes subnormal numbers, up to 60 times as slowly. Beside the largest class, 1, they are nothing.
LEAST = -87.0


class Temperature(Estimator):
    """T that minimises the mean negative log-likelihood of softmax(z / T) over all labelled pixels.

    One pass: the slope of the likelihood and its derivative are summed at 17 values of 1 / T, and the root is read
    off a cubic through the two neighbours of the sign change (within 1e-3 of the optimum for any network between T
    0.1 and 10).
    """

    name = "temperature"
    source = "Guo et al., On Calibration of Modern Neural Networks, arXiv:1706.04599, section 4.2"

    def fit(self, stream: Iterable[tuple[Prediction, Sample]], seed: int) -> State:
        """``temperature``: float32 []."""
        sums = [_slopes(prediction, sample) for prediction, sample in stream]
        pixels = sum(count for count, _, _ in sums)
        if not pixels:
            raise MissingData("temperature cannot be fitted: no labelled pixel in the data")
        slope = np.array([math.fsum(column) for column in zip(*(one for _, one, _ in sums), strict=True)]) / pixels
        bend = np.array([math.fsum(column) for column in zip(*(one for _, _, one in sums), strict=True)]) / pixels
        if slope[0] >= 0 or slope[-1] <= 0:
            raise MissingData("temperature cannot be fitted: the likelihood has no optimum between T 0.1 and 10")
        return {"temperature": np.array(1.0 / _root(slope, bend), np.float32)}


def _slopes(prediction: Prediction, sample: Sample) -> tuple[int, np.ndarray, np.ndarray]:
    """Number of labelled pixels, and first and second derivative by 1 / T of their summed negative log-likelihood."""
    if sample.labels is None:
        raise MissingData(f"temperature needs labels, sample {sample.id} has none")
    labels = torch.from_numpy(sample.labels).to(prediction.logits.device).flatten()
    keep = labels != IGNORE
    logits = prediction.logits.flatten(1)[:, keep]
    distance = logits - logits.max(dim=0).values
    truth = distance.gather(0, labels[keep].long()[None])[0].double().sum()
    means, squares = (distance.new_empty((len(GRID), distance.shape[1])) for _ in range(2))
    step = CHUNK if distance.device.type == "cpu" else max(1, distance.shape[1])
    for start in range(0, distance.shape[1], step):
        near = slice(start, start + step)
        part = distance[:, near].contiguous()
        weight = torch.empty_like(part)
        for inverse, mean, square in zip(GRID, means, squares, strict=True):
            torch.mul(part, float(inverse), out=weight).clamp_(min=LEAST).exp_()
            mass = weight.sum(dim=0)
            torch.div(weight.mul_(part).sum(dim=0), mass, out=mean[near])
            torch.div(weight.mul_(part).sum(dim=0), mass, out=square[near])
    slope = [float(mean.double().sum() - truth) for mean in means]
    bend = [float((square - mean * mean).double().sum()) for mean, square in zip(means, squares, strict=True)]
    return int(keep.sum()), np.array(slope), np.array(bend)


def _root(slope: np.ndarray, bend: np.ndarray) -> float:
    """Where the cubic through values and derivatives at the two neighbours of the sign change is zero, by bisection."""
    at = int(np.searchsorted(slope, 0.0, side="right")) - 1
    width = GRID[at + 1] - GRID[at]
    low, high = 0.0, 1.0
    for _ in range(60):
        t = (low + high) / 2
        value = (
            (2 * t**3 - 3 * t**2 + 1) * slope[at]
            + (t**3 - 2 * t**2 + t) * width * bend[at]
            + (3 * t**2 - 2 * t**3) * slope[at + 1]
            + (t**3 - t**2) * width * bend[at + 1]
        )
        low, high = (t, high) if value < 0 else (low, t)
    return float(GRID[at] + (low + high) / 2 * width)
