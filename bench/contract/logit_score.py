"""Scores that exist in two forms: ours, and what the code of FlowEneDet computes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from bench.contract.method import Constants, Fitting
from bench.contract.plugin import LATER, Positive
from bench.contract.prediction import Prediction, Scored
from bench.contract.smoothed import Smoothed
from bench.core.values import State
from bench.ops import dense, smoothing


@dataclass(frozen=True)
class LogitScore(Smoothed):
    """A score of the logits with the parameter ``fidelity``.

    ``fidelity: corrected`` is the score as its paper defines it, at label size, in a form that keeps its digits, and
    then smoothed as ``post`` says.

    ``fidelity: reference`` is what FlowEneDet's code computes: 1 - sigmoid of a filtered confidence, on every view,
    averaged afterwards. ``post: none`` is its ``post_processing=False``: the confidence comes from the network's own
    logits and is filtered by the Gaussian, which is part of the score. ``post: boundary`` is its
    ``post_processing=True``: the logits are brought to the size of the whole image first, inside a window too, and the
    confidence is suppressed at the boundaries of their argmax. In float32 1 - sigmoid(x) is 0 above 17 and coarse above
    10: maximum logit and energy are full of ties on the sure side. Views of another size than the image have their
    logits resized by way of the network's input size, and so has the class map that the truth is made of.
    """

    fidelity: Literal["corrected", "reference"] = field(default="corrected", kw_only=True)

    def __post_init__(self) -> None:
        if self.fidelity == "reference" and self.post == "gaussian":
            raise ValueError("in reference fidelity the Gaussian is part of the score; say post: none, or boundary")

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"logits", "raw"} if self.fidelity == "reference" else {"logits"})

    @property
    def merge(self) -> Literal["merged", "views"]:
        return "views" if self.fidelity == "reference" else "merged"

    def by_source(self, prediction: Prediction, confidence: Callable[[Tensor], Tensor]) -> Scored:
        """Return the score [H, W] of a view by FlowEneDet's code; ``confidence`` maps [C, h, w] logits to [h, w]."""
        logits = self.source_logits(prediction, prediction.raw["logits"])
        return self.source_score(prediction, confidence(logits), logits)

    def source_logits(self, prediction: Prediction, logits: Tensor) -> Tensor:
        """Return the logits [C, h, w] that the confidence is computed from: at image size under ``post: boundary``."""
        return dense.resize(logits, prediction.context.image_size) if self.post == "boundary" else logits

    def source_score(
        self, prediction: Prediction, confidence: Tensor, logits: Tensor, *, altered: bool = False
    ) -> Scored:
        """Return 1 - sigmoid of filtered [h, w] confidences. ``altered``: the logits are not those of the network."""
        fused = prediction.context.fused
        if self.post == "boundary":
            filtered = smoothing.boundary(confidence, dense.top(logits)[1], fused=fused)
        else:
            filtered = smoothing.gaussian(confidence, fused=fused)
        score = dense.resize(1 - torch.sigmoid(filtered), prediction.size)
        if altered or prediction.size != prediction.context.image_size:
            return Scored(score, logits=dense.resize(logits, prediction.size))
        return Scored(score)


@dataclass(frozen=True)
class ForMasks(Smoothed):
    """A score with the parameter ``on``, to stand before its other base.

    ``on: logits`` is the score of softmax(z / T) or of z. ``on: class_scores`` is that of the class scores L of a mask
    classifier, as papers report it of networks without logits: of L_c / sum_c L_c in place of a softmax, of L in place
    of z. Where no query claims a pixel at all, every class has an equal share.
    """

    on: Literal["logits", "class_scores"] = field(default="logits", kw_only=True, metadata=LATER)

    def __post_init__(self) -> None:
        inherited = getattr(super(), "__post_init__", None)
        if inherited is not None:
            inherited()
        if self.on == "class_scores":
            if getattr(self, "fidelity", "corrected") == "reference":
                raise ValueError("reference fidelity is of logits; leave it out, or say on: logits")
            if getattr(self, "temperature", 1) != 1:
                raise ValueError("class scores have no temperature; leave it out, or say on: logits")

    @property
    def needs(self) -> frozenset[str]:
        return super().needs if self.on == "logits" else frozenset({"class_scores"})

    @property
    def fitting(self) -> Fitting | None:
        inherited = super().fitting
        return inherited if self.on == "logits" and not isinstance(inherited, Constants) else None


@dataclass(frozen=True)
class TemperatureScore(LogitScore):
    """A score of softmax(z / T). T is the parameter unless it is fitted, and 1 in reference fidelity."""

    temperature: Positive = 1.0  # unless fitted

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.fidelity == "reference" and self.temperature != 1:
            raise ValueError("reference fidelity has no temperature; leave it out, or say fidelity: corrected")

    @property
    def fitting(self) -> Fitting | None:
        return Fitting("temperature") if self.fidelity == "corrected" else None

    def fitted(self, state: State) -> float:
        """Return the temperature to score with."""
        return float(state.get("temperature", self.temperature))
