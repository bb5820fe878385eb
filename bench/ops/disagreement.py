"""How much several predictions of one image contradict each other: those of members, or of passes with dropout."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor

from bench.ops import dense

Measure = Literal["predictive_entropy", "mutual_information", "expected_entropy", "variance"]


def measured(logits: Iterable[Tensor], measure: Measure) -> Tensor:
    """Return float32 [h, w] of N float32 [C, h, w], of which one at a time is held.

    With p_k the softmax of pass k and m their mean: ``predictive_entropy`` H(m), ``expected_entropy`` mean_k H(p_k),
    ``mutual_information`` H(m) - mean_k H(p_k), in nats, and ``variance`` sum_c mean_k (p_kc - m_c)^2.
    """
    mean, spread, entropies, count = torch.zeros(()), torch.zeros(()), torch.zeros(()), 0
    for count, each in enumerate(logits, start=1):
        if count == 1:
            entropies = each.new_zeros(each.shape[1:])
            mean = torch.zeros_like(each) if measure != "expected_entropy" else mean
            spread = torch.zeros_like(each) if measure == "variance" else spread
        if measure in {"expected_entropy", "mutual_information"}:
            others, weighted = dense.others(each, *dense.top(each), 1.0)
            entropies += others.log1p() - weighted / (1 + others)
        if measure != "expected_entropy":
            probabilities = each.softmax(dim=0)
            step = probabilities - mean
            mean += step / count  # Welford: no difference of large sums
            if measure == "variance":
                spread.addcmul_(step, probabilities - mean)
    entropies /= count
    if measure == "expected_entropy":
        return entropies
    if measure == "variance":
        return spread.sum(dim=0) / count
    entropy = _entropy(mean)
    return entropy if measure == "predictive_entropy" else (entropy - entropies).clamp(min=0)  # below 0 by rounding


def _entropy(probabilities: Tensor) -> Tensor:
    """Entropy in nats over the classes of [C, h, w]. Of the largest class its distance to 1 is used."""
    rest = probabilities.scatter(0, probabilities.argmax(dim=0, keepdim=True), 0.0)
    others = rest.sum(dim=0)
    return -(1 - others) * (-others).log1p() - torch.xlogy(rest, rest).sum(dim=0)
