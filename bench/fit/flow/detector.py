"""Methods that ask a flow how suspicious a pixel is: what FED-U and FED-C share."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import torch
from annotated_types import Ge
from torch import Tensor

from bench.api import File, Fitting, Network, Prediction, Scored, Scores, SegModel, State
from bench.contract.smoothed import Smoothed
from bench.core import files
from bench.core.errors import BadSuite, MissingData
from bench.fit.flow import checkpoint, inputs
from bench.ops import dense, smoothing

DEFAULT_BLOCKS = 8


@dataclass(frozen=True)
class FlowDetector(Smoothed):
    """Score = p(wrong or an anomaly | the pixel's logits, its condition), by a flow trained on labelled images.

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

    computations = Smoothed.computations | {"flow"}

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
        return files.digest(self._path()) if self.weights else ""

    def check(self, model: SegModel, network: Network | None = None) -> None:
        """Refuse a file that is absent, is not what the parameters say, or belongs to another network."""
        if self.weights is None:
            return
        if network is not None:
            checkpoint.belongs(self._detector, network.module().state_dict(), f"{self.name}: {self.weights}")
            return
        detector = self._detector
        who = f"{self.name}: {self.weights}"
        if detector.fidelity != self.fidelity:
            raise BadSuite(f"{who} is a flow of fidelity {detector.fidelity}; say fidelity: {detector.fidelity}")
        if bool(detector.condition) != ("features" in self.needs):
            other = "fed_c" if detector.condition else "fed_u"
            raise BadSuite(f"{who} is a flow with {detector.condition} channels of a condition; its method is {other}")
        for parameter, asked, held in (
            ("blocks", self.blocks, detector.blocks),
            ("pooled", self.condition, detector.condition),
            ("evidence", self.evidence, detector.evidence),
            ("upsample", self.upsample, detector.upsample or self.upsample),
        ):
            if asked is not None and asked != held:
                raise BadSuite(
                    f"{who} has {parameter} {held}, {asked} is asked for; leave the parameter out to take it"
                )
        classes = len(model.class_names)
        if len(detector.state["mean"]) != classes:
            raise MissingData(
                f"{who} holds statistics of {len(detector.state['mean'])} classes, the network has {classes}"
            )

    def score(self, prediction: Prediction, state: State) -> Tensor | Scored:
        logits = prediction.raw["logits"]
        kind: str = self.looks_at()
        upsample: str | None = self.upsample
        if self.weights is not None:
            detector = self._detector
            state, kind, upsample = detector.state, detector.evidence, upsample or detector.upsample
        flow, mean, variance = self._ready.of(state, logits.device)
        whole = prediction.context.image_size if self.fidelity == "reference" else prediction.size
        size = self.size or whole
        condition = None
        if flow.condition:
            condition = inputs.pooled(prediction.raw["features"][None], flow.condition)
        at = dense.resize(logits, size) if upsample == "before" else logits
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

    @cached_property
    def _detector(self) -> checkpoint.Detector:
        """The file, read once by each instance."""
        return checkpoint.read(self._path())

    @cached_property
    def _ready(self) -> _Ready:
        return _Ready(self.fidelity)


class _Ready:
    """The flow of one state on one device: kept until another is asked for."""

    def __init__(self, fidelity: str) -> None:
        self._fidelity = fidelity
        self._made_of: tuple[State, torch.device] | None = None

    def of(self, state: State, device: torch.device) -> tuple[checkpoint.Flow, Tensor, Tensor]:
        """Return the flow, and mean and variance [C] of the maximum logit."""
        if self._made_of is None or self._made_of[0] is not state or self._made_of[1] != device:
            flow = checkpoint.filled(self._fidelity, *checkpoint.sized(state), state)
            mean, variance = (torch.from_numpy(state[name].astype("float32")) for name in ("mean", "variance"))
            self._flow, self._mean, self._variance = flow.to(device), mean.to(device), variance.to(device)
            self._made_of = state, device
        return self._flow, self._mean, self._variance
