"""What share of a pixel's activation its strongest channels hold."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.ops import dense


def kept(channels: int, percentile: float) -> int:
    """Return how many channels are left when a percentage of the weakest is taken away, at least one."""
    return max(1, channels - round(channels * percentile / 100))


def strongest(features: Tensor, count: int) -> Tensor:
    """Return a mask, bool [D, h, w], of the ``count`` largest channels at each pixel."""
    mask = torch.zeros_like(features, dtype=torch.bool)
    for start in range(0, features.shape[1], dense.ROWS):
        rows = slice(start, start + dense.ROWS)
        mask[:, rows].scatter_(0, features[:, rows].topk(count, dim=0).indices, True)
    return mask


def sharpening(features: Tensor, mask: Tensor) -> Tensor:
    """Return exp(s1 / s2) [h, w]: s1 the sum of a pixel's features, s2 of those in the mask.

    It is 1 where s2 is not above 0.
    """
    whole, strong = features.sum(dim=0), (features * mask).sum(dim=0)
    active = strong > 0
    return torch.where(active, whole / torch.where(active, strong, torch.ones_like(strong)), 0.0).exp()
