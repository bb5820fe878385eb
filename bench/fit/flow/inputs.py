"""What the flows look at: two figures per pixel from the logits, and features averaged in groups of channels."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from bench.core.errors import BadSuite

MOST = 60.0  # log-odds beyond which nothing is told apart; float32 gets there, and a single class is there
FLOOR = 1e-6  # under the probability of being wrong, as in FlowEneDet's code


def evidence(kind: str, logits: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """float32 [n, 2, h, w] of [n, C, h, w] logits, log sigmoid(E) and log(1 - sigmoid(E)); see the two kinds of E."""
    return standardised(logits, mean, variance) if kind == "standardised" else confidence(logits)


def confidence(logits: Tensor) -> Tensor:
    """E is the log-odds of the largest logit against all others: sigmoid(E) is the maximum softmax probability."""
    largest, classes = logits.max(dim=1, keepdim=True)
    others = logits.scatter(1, classes, -torch.inf).logsumexp(dim=1)
    odds = (largest[:, 0] - others).clamp(max=MOST)
    return torch.stack([-functional.softplus(-odds), -functional.softplus(odds)], dim=1)


def standardised(logits: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """float32 [n, 2, h, w] of [n, C, h, w] logits: log sigmoid(E) and log(1e-6 + 1 - sigmoid(E)).

    E is the log-sum-exp of the logits, each standardised by the mean and the variance [C] of its class's maximum logit.
    The second lies in (-13.8, 0]. Source: Gudovskiy et al., arXiv:2305.09610, section 4.1.
    """
    standard = (logits - mean.view(-1, 1, 1)) / variance.sqrt().view(-1, 1, 1)
    sure = -functional.softplus(-standard.logsumexp(dim=1))
    return torch.stack([sure, (FLOOR + 1 - sure.exp()).log()], dim=1)


def pooled(features: Tensor, groups: int) -> Tensor:
    """float32 [n, P, h, w]: means of equal groups of neighbouring channels of [n, D, h, w]."""
    channels = features.shape[1]
    if channels % groups:
        fitting = ", ".join(str(size) for size in range(1, channels + 1) if channels % size == 0)
        raise BadSuite(
            f"a condition of {groups} channels cannot be made of {channels} features; say pooled: one of {fitting}"
        )
    batch, _, height, width = features.shape
    return features.reshape(batch, groups, channels // groups, height, width).mean(dim=2)
