"""Detectors that read the features of a pixel: at their own resolution, view by view, in blocks."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge
from numpy.typing import NDArray
from torch import Tensor

from bench.api import Network, Prediction, SegModel, State
from bench.contract.smoothed import Smoothed
from bench.fit.features import head
from bench.ops import dense

CELLS = 2**22  # floats that a block of pixels may take


@dataclass(frozen=True)
class FeatureDetector(Smoothed):
    """A score of each pixel's features [D, h, w], at their resolution; of several views the scores are averaged."""

    needs = frozenset({"features", "raw"})
    merge = "views"
    computations = Smoothed.computations | {"features"}


@dataclass(frozen=True)
class HeadDetector(FeatureDetector):
    """A score that reads the weights of the last layer, which must be linear in the features.

    Of a layer with a kernel wider than a pixel, such as ENet's, a weight is the sum over the kernel.
    """

    needs = frozenset({"features", "raw", "classify"})

    def check(self, model: SegModel, network: Network | None = None) -> None:
        """Refuse a network whose last layer is not linear."""
        if network is not None:
            head.check(model, network, self.name)


@dataclass(frozen=True)
class ShapedDetector(FeatureDetector):
    """Score = -logsumexp of the logits that the last layer gives to features which were changed before."""

    needs = frozenset({"features", "raw", "classify"})

    @abstractmethod
    def shaped(self, features: Tensor, state: State) -> Tensor:
        """Return the changed features, float32 [D, h, w]; those that were given stay as they are."""

    def score(self, prediction: Prediction, state: State) -> Tensor:
        classify = head.of(prediction, self.name)
        logits = classify(self.shaped(prediction.raw["features"], state))
        return self.smoothed(prediction, -logits.logsumexp(dim=0))


@dataclass(frozen=True)
class BankDetector(FeatureDetector):
    """A score that compares a pixel with ``size`` labelled training pixels, which the seed of the suite draws."""

    size: Annotated[int, Ge(1)] = 10_000


def pixelwise(features: Tensor, width: int, score: Callable[[Tensor], Tensor]) -> Tensor:
    """Return float32 [h, w]: ``score`` of blocks of pixels, from [n, D] to [n].

    ``width`` is how many floats the score takes for a pixel, which decides how many are in a block.
    """
    pixels = features.flatten(1).T
    step = max(1, CELLS // width)
    scores = features.new_empty(len(pixels))  # small tensors that live on between large ones would scatter the heap
    for start in range(0, len(pixels), step):
        scores[start : start + step] = score(pixels[start : start + step])
    return scores.reshape(features.shape[1:])


def constant(array: NDArray[np.generic], like: Tensor) -> Tensor:
    """Return an array of a state as float32, on the device of a tensor."""
    return torch.from_numpy(array.astype(np.float32)).to(like.device)


def logits_at(prediction: Prediction, features: Tensor) -> Tensor:
    """Return the logits of a view on the grid of its features, float32 [C, h, w]."""
    return dense.resize(prediction.raw["logits"], (int(features.shape[1]), int(features.shape[2])))
