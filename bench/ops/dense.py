"""Primitives of a prediction as torch expressions over whole maps, in blocks of rows that stay in the cache."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

ROWS = 32  # a block of 19 x 32 x 2048 floats is 5 MB


def resize(output: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear, half-pixel centres, no antialiasing: [C, h, w] or [h, w] to the given (H, W); a no-op at that size."""
    if tuple(output.shape[-2:]) == size:
        return output
    planes = output.reshape(1, -1, *output.shape[-2:])
    resized = functional.interpolate(planes, size=size, mode="bilinear", align_corners=False, antialias=False)
    return resized.reshape(*output.shape[:-2], *size)


def top(logits: Tensor) -> tuple[Tensor, Tensor]:
    """The largest of [C, H, W] logits and its class as uint8, the lowest class where two are equal."""
    values, classes = logits.max(dim=0)
    return values, classes.to(torch.uint8)


def others(logits: Tensor, largest: Tensor, classes: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Sums over every class but the largest: e_c and e_c d_c, where d_c = (z_c - max z) / T and e_c = exp d_c.

    What is summed is never near 1 unless the network is unsure, so that a confident pixel keeps all its digits.
    """
    total, weighted = torch.empty_like(largest), torch.empty_like(largest)
    for start in range(0, logits.shape[1], ROWS):
        rows = slice(start, start + ROWS)
        scaled = (logits[:, rows] - largest[rows]) / temperature
        exponential = scaled.exp().scatter_(0, classes[rows].long()[None], 0.0)
        total[rows] = exponential.sum(dim=0)
        weighted[rows] = (exponential * scaled).sum(dim=0)
    return total, weighted
