"""Softmax at a high temperature, of an image moved a little towards what the network takes it for."""

from dataclasses import dataclass
from math import log
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor

from bench.api import Positive, Prediction, State
from bench.contract.smoothed import Smoothed
from bench.core.errors import BadPlugin
from bench.ops import dense

TINY = 1e-30  # of a share that float32 rounds to 0: the score stays finite


@dataclass(frozen=True)
class Odin(Smoothed):
    """Score rises as max_c softmax(z(x') / T)_c falls; x' = x - epsilon sign(-grad sum log max_c softmax(z(x) / T)_c).

    The gradient is by x, the sum over the pixels of a view, each with the class of its largest logit: one gradient
    moves the whole image, where the authors' classifiers have one output. ``epsilon`` is in units of pixels from 0 to
    1, and what is moved is not cut off at their ends. With q the mean over the other classes of exp((z_c - max z) / T)
    the score is log q - log(1 - q), which ranks as 1 - max p = (C - 1) q / (1 + (C - 1) q) does: at T = 1000 all of
    these are nearly equal, and float32 tells few of them apart.
    """

    name = "odin"
    source = (
        "Liang, Li and Srikant, Enhancing the Reliability of Out-of-distribution Image Detection in Neural Networks,"
        " arXiv:1706.02690, section 3"
    )
    needs = frozenset({"image", "forward"})
    merge = "views"

    temperature: Positive = 1000.0
    epsilon: Annotated[float, Ge(0)] = 0.0014

    def score(self, prediction: Prediction, state: State) -> Tensor:
        if prediction.forward is None or prediction.image is None:
            raise BadPlugin("odin: the network says that it gives forward and image, but its prediction has not")
        pixels = prediction.image.float()[None]
        if self.epsilon:
            with torch.enable_grad():
                pixels.requires_grad_()
                logits = prediction.forward(pixels)
                if not logits.requires_grad:
                    raise BadPlugin("odin: the logits that the network's forward gives do not depend on its pixels")
                sure = (logits / self.temperature).log_softmax(dim=1).amax(dim=1).sum()
                (rise,) = torch.autograd.grad(-sure, pixels)
            pixels = pixels.detach() - 255 * self.epsilon * rise.sign()
        with torch.no_grad():
            logits = dense.resize(prediction.forward(pixels)[0].float(), prediction.size)
        return self.smoothed(prediction, doubt(logits, self.temperature))


def doubt(logits: Tensor, temperature: float) -> Tensor:
    """Return log q - log(1 - q) of logits [C, h, w], q the mean over the other classes of exp((z_c - max z) / T)."""
    best, leading = dense.top(logits)
    behind = torch.full_like(best, -torch.inf)  # the logarithm of the sum over the other classes
    apart = torch.zeros_like(best)  # the sum of 1 - exp, which keeps its digits where all are nearly equal
    for number, logit in enumerate(logits):
        distance = ((logit - best) / temperature).masked_fill(leading == number, -torch.inf)
        behind = torch.logaddexp(behind, distance)
        apart -= distance.masked_fill(leading == number, 0.0).expm1()
    others = len(logits) - 1
    share: Tensor = (apart / others).clamp(min=TINY)
    return behind - log(others) - share.log()
