"""The last layer of a network as weights and offsets, read off what it answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from bench.api import Network, Prediction, Sample, SegModel, View
from bench.core.errors import BadPlugin, BadSuite
from bench.ops import transfer
from bench.ops.tiles import Tiles

SIDE = 8  # of a constant map; its border of a quarter is left out, where kernels reach beyond the map
CHANNELS = 64  # asked for at once
CURVED = 1e-3  # by which a layer that is affine may miss the sum of two answers, of the largest

Classify = Callable[[Tensor], Tensor]


def of(prediction: Prediction, who: str) -> Classify:
    """Return the last layer of a prediction. Raise BadPlugin, to ``who``, where the network forgot to give it."""
    if prediction.classify is None:
        raise BadPlugin(f"{who}: the network says that it gives classify, but its prediction has none")
    return prediction.classify


def affine(classify: Classify, features: Tensor) -> tuple[Tensor, Tensor]:
    """Return weight float32 [C, D] and offset float32 [C] of a last layer on features like ``features`` [D, h, w].

    ``weight[c, d]`` is what class c answers to channel d at 1 everywhere, away from the border and less the offset:
    of a 1 x 1 convolution its weight, and of a layer with a wider kernel the sum over the kernel.
    """
    channels = len(features)
    offset = _inside(classify(features.new_zeros(channels, SIDE, SIDE)), 1)[:, 0]
    weights = []
    for start in range(0, channels, CHANNELS):
        count = min(CHANNELS, channels - start)
        maps = features.new_zeros(channels, SIDE, count, SIDE)
        number = torch.arange(count, device=features.device)
        maps[start + number, :, number] = 1
        weights.append(_inside(classify(maps.reshape(channels, SIDE, -1)), count) - offset[:, None])
    return torch.cat(weights, dim=1), offset


class Weights:
    """Weight float64 [C, D] and offset float64 [C] of a last layer, as the first image of a stream has it."""

    def __init__(self, who: str) -> None:
        self.weight, self.offset = np.empty((0, 0)), np.empty(0)
        self._who = who

    def watching(self, stream: Iterable[tuple[Prediction, Sample]]) -> Iterator[tuple[Prediction, Sample]]:
        """Yield what is in the stream. Raise BadSuite where the last layer is not affine."""
        for prediction, sample in stream:
            if not self.offset.size:
                outputs = prediction.raw
                features = (outputs.parts[0] if isinstance(outputs, Tiles) else outputs)["features"]
                classify = of(prediction, self._who)
                refuse_curved(classify, features, self._who)
                answers = transfer.all_to_host(affine(classify, features))
                self.weight, self.offset = (answer.astype(np.float64) for answer in answers)
            yield prediction, sample


def refuse_curved(classify: Classify, features: Tensor, who: str) -> None:
    """Raise BadSuite, to ``who``, where the last layer is no affine map of the features [D, h, w]; waits for them."""
    other = features.flip(0, 1, 2)
    nothing = classify(torch.zeros_like(features))
    both = classify(features + other)
    apart = classify(features) + classify(other) - nothing
    off, largest = transfer.to_host(torch.stack([(both - apart).abs().max(), both.abs().max()]))
    if not off <= CURVED * max(largest, 1e-6):
        raise BadSuite(
            f"{who} needs a last layer that is linear in the features, and classify of this network is not: of a sum it"
            f" is off by {off:.3g} where it answers up to {largest:.3g}; take a method that does not read its weights,"
            " such as knn, mahalanobis or react"
        )


def check(model: SegModel, network: Network, who: str) -> None:
    """Raise BadSuite, to ``who``, where the last layer of a loaded network is not affine, by one small image."""
    side = model.inference.window or model.inference.size or (128, 128)
    weight = next(network.module().parameters(), torch.empty(0))
    rows = torch.arange(side[0], device=weight.device)[:, None] * 7 + torch.arange(side[1], device=weight.device) * 3
    pixels = torch.stack([rows, rows + 85, rows + 170]).remainder(256).to(torch.uint8)
    (prediction,) = network.predict([View(who, pixels, 1.0, False, (0, 0, *side), side, side)])
    refuse_curved(of(prediction, who), prediction.raw["features"].float(), who)


def _inside(answer: Tensor, maps: int) -> Tensor:
    """Return the mean of each of some maps that lie side by side in [C, h, maps * w], without its border, [C, maps]."""
    classes, height, width = answer.shape[0], answer.shape[1], answer.shape[2] // maps
    apart = answer.reshape(classes, height, maps, width)
    rows, cols = slice(height // 4, height - height // 4), slice(width // 4, width - width // 4)
    return apart[:, rows, :, cols].mean(dim=(1, 3))
