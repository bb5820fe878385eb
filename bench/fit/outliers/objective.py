"""The loss of entropy maximisation, from logits and integer targets alone."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from bench.fit.outliers.mixture import OUTLIER


def loss(logits: Tensor, target: Tensor, outlier_weight: float) -> Tensor:
    """The mean over all pixels and classes of -q log softmax(z), without ever making q.

    ``logits`` float [n, C, h, w] are resized to ``target`` uint8 [n, H, W]: classes, 254 outliers, 255 and whatever
    else is neither ignored. q is 1 - w at the label, w / C everywhere on an outlier and 0 on what is ignored, which
    counts in the denominator: sum_pixels [in: (1 - w)(lse - z_y), outlier: w (lse - mean_c z_c)] / (n C H W).
    """
    size = (int(target.shape[-2]), int(target.shape[-1]))
    z = logits.float()
    if tuple(z.shape[-2:]) != size:
        z = functional.interpolate(z, size=size, mode="bilinear", align_corners=False)
    classes = z.shape[1]
    known, outlier = target < classes, target == OUTLIER
    label = torch.where(known, target, 0).long()
    normaliser = z.logsumexp(dim=1)
    at_label = z.gather(1, label[:, None])[:, 0]
    of_known = torch.where(known, normaliser - at_label, 0.0).sum()
    of_outliers = torch.where(outlier, normaliser - z.mean(dim=1), 0.0).sum()
    return ((1 - outlier_weight) * of_known + outlier_weight * of_outliers) / (target.numel() * classes)
