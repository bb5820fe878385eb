"""Distances to the nearest of a bank of features."""

from __future__ import annotations

import torch
from torch import Tensor


def mean_distance(queries: Tensor, bank: Tensor, k: int, *, within: bool = False) -> Tensor:
    """Return float32 [n]: the mean Euclidean distance of [n, D] to the k nearest of [m, D].

    Where the bank has fewer it is to all of them. ``within``: the queries are rows of the bank, and none is its own
    neighbour. Neighbours are found by a product of matrices; their distances are taken from differences, so that near
    ones keep their digits.
    """
    centre = bank.mean(dim=0)
    moved, known = queries - centre, bank - centre
    near = (moved @ known.T).mul_(-2).add_((known * known).sum(dim=1))  # but for what all of a query have in common
    nearest = near.topk(min(k + within, len(bank)), dim=1, largest=False).indices
    apart: Tensor = torch.linalg.vector_norm(known[nearest] - moved[:, None], dim=2)
    if within:
        apart = apart.sort(dim=1).values[:, 1:]  # the first is the row itself, or one equal to it
    return apart.mean(dim=1) if apart.shape[1] else apart.new_zeros(len(apart))
