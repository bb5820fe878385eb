"""Methods that ask a flow how suspicious a pixel is: what FED-U and FED-C share."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import torch
from annotated_types import Ge
from torch import Tensor

from bench.api import File, Fitting, Prediction, Scored, Scores, SegModel, State
from bench.contract.smoothed import Smoothed
from bench.core import files
from bench.core.errors import BadSuite, MissingData
from bench.fit.flow import NUMBERS, checkpoint, inputs
from bench.ops import dense, smoothing

DEFAULT_BLOCKS = 8


@dataclass(frozen=True)
class FlowDetector(Smoothed):
    """Score = p(wrong or strange | the pixel's logits, its condition), by a flow trained on labelled images.

    ``blocks`` is how many blocks a flow has; of a file it is what the file says, and to be trained it is 8.
    ``evidence`` is what it makes of the logits, see ``inputs``: of a file it is what the file says, and to be trained
    it is ``standardised``, which is the published one; ``confidence`` exists in ``corrected`` alone.
    ``weights`` names a checkpoint of FlowEneDet, a file that ``bench fit`` wrote, or a shipped one. ``upsample`` says
    whether logits and condition go to the size of the score before the flow or its probability does after it. A
    corrected flow is used where it was trained; elsewhere it is ``after`` unless said. ``size`` is that size [h, w],
    without it the image's in ``reference`` and the view's in ``corrected``.
    """

    needs = frozenset({"logits", "raw"})
    merge = "views"

    fidelity: Literal["corrected", "reference"] = field(default="corrected", kw_only=True)
    blocks: Annotated[int, Ge(1)] | None = field(default=None, kw_only=True)
    evidence: Literal["standardised", "confidence"] | None = field(default=None, kw_only=True)
    weights: File | None = field(default=None, kw_only=True)
    upsample: Literal["before", "after"] | None = field(default=None, kw_only=True)
    size: tuple[int, int] | None = field(default=None, kw_only=True)
    post: Literal["none", "gaussian", "boundary"] = field(default="boundary", kw_only=True)

    def __post_init__(self) -> None:
        if self.fidelity == "reference" and self.post == "gaussian":
            raise ValueError("in reference fidelity the Gaussian is part of the score; say post: none, or boundary")
        if self.fidelity == "reference" and self.evidence == "confidence":
            raise ValueError("reference fidelity has no evidence: confidence; leave it out, or say fidelity: corrected")
        if self.size is not None and min(self.size) < 1:
            raise ValueError(f"size is {list(self.size)}, wanted [height, width] of at least 1")

    @property
    def condition(self) -> int | None:
        """Channels of the condition that are asked for: 0 where there is none, None where a file may say."""
        return 0

    def trained_as(self) -> tuple[int, int]:
        """Blocks and channels of the condition of a flow that is to be trained."""
        return self.blocks or DEFAULT_BLOCKS, self.condition or 0

    def looks_at(self) -> str:
        """The evidence of a flow that is to be trained."""
        return self.evidence or "standardised"

    @property
    def fitting(self) -> Fitting | None:
        reads = frozenset({"fidelity", "blocks", "evidence", "upsample"})
        return Fitting("fed", must=True, reads=reads) if self.weights is None else None

    def digest(self) -> str:
        return f"flow {NUMBERS}" + (f" {files.digest(self._path())}" if self.weights else "")

    def check(self, model: SegModel, network: SegModel | None = None) -> None:
        """Refuse a file that is absent, is not what the parameters say, or belongs to another network."""
        if self.weights is None:
            return
        if network is not None:
            checkpoint.belongs(self._detector(), network.module().state_dict(), f"{self.name}: {self.weights}")
            return
        found = self._detector()
        who = f"{self.name}: {self.weights}"
        if found.fidelity != self.fidelity:
            raise BadSuite(f"{who} is a flow of fidelity {found.fidelity}; say fidelity: {found.fidelity}")
        if bool(found.condition) != ("features" in self.needs):
            other = "fed_c" if found.condition else "fed_u"
            raise BadSuite(f"{who} is a flow with {found.condition} channels of a condition; its method is {other}")
        for what, asked, there in (
            ("blocks", self.blocks, found.blocks),
            ("pooled", self.condition, found.condition),
            ("evidence", self.evidence, found.evidence),
            ("upsample", self.upsample, found.upsample or self.upsample),
        ):
            if asked is not None and asked != there:
                raise BadSuite(f"{who} has {what} {there}, {asked} is asked for; leave the parameter out to take it")
        classes = len(model.class_names)
        if len(found.state["mean"]) != classes:
            raise MissingData(
                f"{who} holds statistics of {len(found.state['mean'])} classes, the network has {classes}"
            )

    def score(self, prediction: Prediction, state: State) -> Tensor | Scored:
        logits = prediction.raw["logits"]
        kind: str = self.looks_at()
        place: str | None = self.upsample
        if self.weights is not None:
            found = self._detector()
            state, kind, place = found.state, found.evidence, place or found.upsample
        flow, mean, variance = self._on(logits.device, state)
        whole = prediction.context.image_size if self.fidelity == "reference" else prediction.size
        size = self.size or whole
        condition = None
        if flow.condition:
            condition = inputs.pooled(prediction.raw["features"][None], flow.condition)
        at = dense.resize(logits, size) if place == "before" else logits
        with torch.no_grad():
            scores = flow(inputs.evidence(kind, at[None], mean, variance), condition)[0]
        if self.fidelity == "corrected":  # upsampled as in training: before the sigmoid
            return self.smoothed(prediction, torch.sigmoid(dense.resize(scores[1] - scores[0], size)))
        suspicion = torch.sigmoid(scores[1] - scores[0])
        fused = prediction.context.fused
        if self.post == "none":
            return dense.resize(smoothing.gaussian(suspicion, fused=fused), prediction.size)
        labels = dense.top(dense.resize(logits, size))[1]
        suppressed = smoothing.boundary(dense.resize(suspicion, size), labels, fused=fused)
        return dense.resize(suppressed, prediction.size)

    def confidence(self, score: Scores) -> Scores | None:
        return 1 - score

    def _path(self) -> Path:
        return checkpoint.find(str(self.weights))

    def _detector(self) -> checkpoint.Detector:
        """The file, read once by each instance."""
        if "_read" not in self.__dict__:
            # The fields are frozen because they name the method; what was read for it is not one of them.
            object.__setattr__(self, "_read", checkpoint.read(self._path()))
        found: checkpoint.Detector = self.__dict__["_read"]
        return found

    def _on(self, device: torch.device, state: State) -> tuple[checkpoint.Flow, Tensor, Tensor]:
        """Flow, mean and variance of a state on a device, made once."""
        ready = self.__dict__.get("_ready")
        if ready is None or ready[0] is not state or ready[1] != device:
            flow = checkpoint.filled(self.fidelity, *checkpoint.sized(state), state)
            flow.to(device)
            mean, variance = (torch.from_numpy(state[name].astype("float32")) for name in ("mean", "variance"))
            ready = (state, device, (flow, mean.to(device), variance.to(device)))
            object.__setattr__(self, "_ready", ready)
        made: tuple[checkpoint.Flow, Tensor, Tensor] = ready[2]
        return made
