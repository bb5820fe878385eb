"""ToyNet: the network that ships with the package, trained on Toytown by ``python -m bench.fit.toynet``."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.api import CITYSCAPES, Network, Prediction, SegModel, View
from bench.core.errors import MissingData
from bench.core.files import digest

if TYPE_CHECKING:
    from torch import Tensor, nn

WEIGHTS = Path(__file__).with_name("toynet.safetensors")
DROPOUT = 0.2
STRIDE = 4  # of the logits and features
DEEPEST = 16  # the image's sides are extended to multiples of this


@dataclass(frozen=True)
class ToyNet(SegModel):
    """A small convolutional network: 19 logits and 48 features at a quarter of the resolution.

    Dropout stands right before the classifier, so that ``classify`` after a dropout is Monte Carlo dropout. An image of
    any size is accepted: its sides are resampled to multiples of 4 if they are none, and extended to multiples of 16 by
    repeating the edge; what is predicted beyond the edge is cut off.
    """

    name = "toynet"
    source = "trained by this project on synthetic images; docs/toytown.md"

    @property
    def outputs(self) -> frozenset[str]:
        return frozenset({"logits", "features", "raw", "image", "again", "classify", "dropout", "forward"})

    def check(self) -> None:
        if not WEIGHTS.is_file():
            raise MissingData(f"{WEIGHTS} does not exist; install the package again, or run python -m bench.fit.toynet")

    def digest(self) -> str:
        return hashlib.sha256(f"{digest(WEIGHTS)} {digest(Path(__file__))}".encode()).hexdigest()[:16]

    def load(self, device: str) -> Network:
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        self.check()
        net = network()
        try:
            net.load_state_dict(load_file(WEIGHTS))
        except (SafetensorError, RuntimeError) as error:  # torch says RuntimeError for tensors that do not fit
            raise MissingData(
                f"{WEIGHTS} is damaged: {str(error).splitlines()[0]}; install the package again"
            ) from None
        return LoadedToyNet(net.eval().requires_grad_(False).to(device))


class LoadedToyNet(Network):
    """ToyNet with its weights."""

    batched = True

    def __init__(self, net: nn.Module) -> None:
        self._net = net

    def predict(self, views: Sequence[View]) -> Sequence[Prediction]:
        import torch

        with torch.no_grad():
            features, logits = self._net(torch.stack([view.pixels for view in views]).float())
        return [self._said(logits[at], features[at], view.input_size, view.pixels) for at, view in enumerate(views)]

    def module(self) -> nn.Module:
        return self._net

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self._net(pixels)[1]
        return logits

    def _again(self, image: Tensor) -> Prediction:
        """Return what one forward pass of float32 [3, h, w] in 0..255 says."""
        import torch

        with torch.no_grad():
            features, logits = self._net(image[None])
        return self._said(logits[0], features[0], (int(image.shape[1]), int(image.shape[2])), None)

    def _said(self, logits: Tensor, features: Tensor, size: tuple[int, int], pixels: Tensor | None) -> Prediction:
        return Prediction(
            {"logits": logits, "features": features},
            size,
            image=pixels,
            again=self._again,
            classify=self._classify,
            dropout=DROPOUT,
        )

    def _classify(self, features: Tensor) -> Tensor:
        import torch

        with torch.no_grad():
            logits: Tensor = self._net.get_submodule("classifier")(features[None])[0]
        return logits


def network() -> nn.Module:
    """Make the network with random weights; it maps float32 [n, 3, h, w] in 0..255 to (features, logits) at a quarter.

    The classes stand inside because this file is read to list the models, and listing must not import torch.
    """
    from torch import nn
    from torch.nn import functional

    def block(inside: int, outside: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
        convolution = nn.Conv2d(inside, outside, 3, stride, dilation, dilation, bias=False)
        return nn.Sequential(convolution, nn.BatchNorm2d(outside), nn.ReLU())

    class Residual(nn.Module):
        def __init__(self, width: int, dilation: int = 1) -> None:
            super().__init__()
            self.first = block(width, width, dilation=dilation)
            self.second = nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))

        def forward(self, x: Tensor) -> Tensor:
            return functional.relu(x + self.second(self.first(x)))

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.quarter = nn.Sequential(block(3, 16, 2), block(16, 32, 2), Residual(32))
            self.eighth = nn.Sequential(block(32, 64, 2), Residual(64), Residual(64))
            self.sixteenth = nn.Sequential(block(64, 96, 2), Residual(96), Residual(96, 2), Residual(96, 4))
            self.lateral = nn.ModuleList([nn.Conv2d(width, 48, 1) for width in (96, 64, 32)])
            self.merge = nn.ModuleList([block(48, 48), block(48, 48)])
            self.dropout = nn.Dropout2d(DROPOUT)
            self.classifier = nn.Conv2d(48, len(CITYSCAPES), 1)

        def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
            rows, cols = (-(-side // STRIDE) for side in image.shape[-2:])
            x, size = (image - 110.0) / 64.0, (rows * STRIDE, cols * STRIDE)
            if image.shape[-2:] != size:  # so that a whole number of cells covers the image and nothing more
                x = functional.interpolate(x, size=size, mode="bilinear", align_corners=False)
            x = functional.pad(x, (0, -size[1] % DEEPEST, 0, -size[0] % DEEPEST), mode="replicate")
            fine = self.quarter(x)
            middle = self.eighth(fine)
            x = self.lateral[0](self.sixteenth(middle))
            for lateral, merge, skip in zip(self.lateral[1:], self.merge, (middle, fine), strict=True):
                x = functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
                x = merge(x + lateral(skip))
            features = x[:, :, :rows, :cols]
            return features, self.classifier(self.dropout(features))

    return Net()
