"""Small encoder-decoders of Cityscapes with 20 outputs: the 19 classes and void as the last."""

from __future__ import annotations

import hashlib
import inspect
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from bench.api import CITYSCAPES, File, Network, Prediction, SegModel, View
from bench.contract.plugin import LATER
from bench.core import files, weight_files

if TYPE_CHECKING:
    from torch import Tensor, nn

CLASSES = len(CITYSCAPES)


@dataclass(frozen=True)
class VoidOutputModel(SegModel):
    """A network with 20 outputs of which the last is void; ``weights`` is a state dict or a training checkpoint.

    Of a file that holds several networks, such as a student and its teacher, ``part`` says which is meant. ``logits``
    are the 19 known classes alone, ``void_logit`` [h, w] is the last output, and the class map is the argmax of the 19.
    ``features`` are what the last layer sees.
    """

    weights: File
    # Of the file: an entry, or what names begin with, such as teacher.
    part: str = field(default="", kw_only=True, metadata=LATER)

    pixel_scale: ClassVar[float] = 255.0  # a pixel becomes (x - mean) / std / pixel_scale
    mean: ClassVar[tuple[float, float, float]] = (0.0, 0.0, 0.0)  # in the order of the channels that the network takes
    std: ClassVar[tuple[float, float, float]] = (1.0, 1.0, 1.0)
    bgr: ClassVar[bool] = False

    @property
    def outputs(self) -> frozenset[str]:
        return frozenset({"logits", "void_logit", "features", "raw", "image", "again", "classify", "forward"})

    @abstractmethod
    def network(self) -> nn.Module:
        """Return the network with random weights; it maps float32 [n, 3, h, w], prepared, to (features, outputs).

        float32 [n, D, h', w'] and [n, 20, h'', w'']. Its method ``classify`` is the last layer: features to outputs.
        """

    def check(self) -> None:
        weight_files.check(Path(self.weights), f"model {self.name}")

    def digest(self) -> str:
        sources = [Path(__file__), Path(inspect.getfile(type(self)))]
        parts = [weight_files.digest(Path(self.weights)), *map(files.digest, sources)]
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]

    def load(self, device: str) -> Network:
        from bench.core.weights import load_strictly

        self.check()
        module = load_strictly(self.network(), Path(self.weights), part=self.part)
        return VoidOutputNetwork(self, module.eval().requires_grad_(False).to(device), device)


class VoidOutputNetwork(Network):
    """Such a network with its weights."""

    def __init__(self, specification: VoidOutputModel, module: nn.Module, device: str) -> None:
        import torch

        self._specification, self._module = specification, module
        self._mean, self._std = (
            torch.tensor(values, device=device).reshape(3, 1, 1) for values in (specification.mean, specification.std)
        )

    def predict(self, views: Sequence[View]) -> Sequence[Prediction]:
        return [self._prediction(view.pixels.float(), view.pixels) for view in views]

    def module(self) -> nn.Module:
        return self._module

    def forward(self, pixels: Tensor) -> Tensor:
        outputs: Tensor = self._module(self._prepared(pixels))[1]
        return outputs[:, :CLASSES]

    def _prepared(self, pixels: Tensor) -> Tensor:
        """Return float32 [n, 3, h, w], RGB in 0..255, as the network was trained to see it."""
        ordered = pixels.flip(1) if self._specification.bgr else pixels
        return (ordered - self._mean) / self._std / self._specification.pixel_scale

    def _prediction(self, pixels: Tensor, image: Tensor | None) -> Prediction:
        """Return what one forward pass of float32 [3, h, w] in 0..255 says; ``image`` are the pixels of the view."""
        import torch

        with torch.no_grad():
            features, outputs = self._module(self._prepared(pixels[None]))
        return Prediction(
            {"logits": outputs[0, :CLASSES], "void_logit": outputs[0, CLASSES], "features": features[0]},
            (int(pixels.shape[1]), int(pixels.shape[2])),
            image=image,
            again=lambda other: self._prediction(other, image),
            classify=self._classify,
        )

    def _classify(self, features: Tensor) -> Tensor:
        import torch

        with torch.no_grad():
            outputs: Tensor = self._module.classify(features[None])  # type: ignore[operator]
        return outputs[0, :CLASSES]
