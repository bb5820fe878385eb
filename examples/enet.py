"""ENet as a network of one's own: written from its paper, for weights that others trained.

    models:
      - python:
          label: enet
          factory: enet.py:build
          weights: enet_cityscapes.pth
          outputs: [logits, unlabelled]
          inference: {size: [512, 1024]}

Paszke et al., ENet: A Deep Neural Network Architecture for Real-Time Semantic Segmentation, arXiv:1606.02147. Expected
weights: 20 outputs, of which 0..18 are the Cityscapes train ids and 19 is "unlabelled"; input RGB / 255.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.core.weights import load_strictly


def build(weights: Path) -> nn.Module:
    """The network with its weights; logits of the 19 classes, and the 20th output under its own name."""
    return Named(load_strictly(ENet(20), weights))


class Named(nn.Module):
    """Tell the output for unlabelled pixels from the classes: it is none of them and must not join the softmax."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """float32 [N, 3, h, w] to float32 [N, 19, h, w] and [N, h, w]."""
        output = self.network(image)
        return {"logits": output[:, :19], "unlabelled": output[:, 19]}


def conv(
    inputs: int, outputs: int, kernel: int | tuple[int, int], act: nn.Module | None, *, stride: int = 1,
    padding: int | tuple[int, int] = 0, dilation: int = 1,
) -> list[nn.Module]:  # fmt: skip
    """Convolution without bias, batch normalisation, activation."""
    layer = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=padding, dilation=dilation, bias=False)
    return [layer, nn.BatchNorm2d(outputs), *([act] if act is not None else [])]


def activation(encoder: bool) -> nn.Module:
    return nn.PReLU() if encoder else nn.ReLU()


class Initial(nn.Module):
    """13 convolved channels beside the 3 pooled ones of the input."""

    def __init__(self) -> None:
        super().__init__()
        self.main_branch = nn.Conv2d(3, 13, 3, stride=2, padding=1, bias=False)
        self.ext_branch = nn.MaxPool2d(3, stride=2, padding=1)
        self.batch_norm = nn.BatchNorm2d(16)
        self.out_activation = activation(encoder=True)

    def forward(self, image: Tensor) -> Tensor:
        return self.out_activation(self.batch_norm(torch.cat([self.main_branch(image), self.ext_branch(image)], dim=1)))


class Regular(nn.Module):
    """Bottleneck around a 3x3, dilated 3x3, or 5x1 and 1x5 convolution, added to its input."""

    def __init__(
        self, channels: int, dropout: float, *, dilation: int = 1, asymmetric: bool = False, encoder: bool = True
    ) -> None:
        super().__init__()
        inner = channels // 4
        self.ext_conv1 = nn.Sequential(*conv(channels, inner, 1, activation(encoder)))
        if asymmetric:
            first = conv(inner, inner, (5, 1), activation(encoder), padding=(2, 0))
            middle = first + conv(inner, inner, (1, 5), activation(encoder), padding=(0, 2))
        else:
            middle = conv(inner, inner, 3, activation(encoder), padding=dilation, dilation=dilation)
        self.ext_conv2 = nn.Sequential(*middle)
        self.ext_conv3 = nn.Sequential(*conv(inner, channels, 1, activation(encoder)))
        self.ext_regul = nn.Dropout2d(dropout)
        self.out_activation = activation(encoder)

    def forward(self, x: Tensor) -> Tensor:
        return self.out_activation(x + self.ext_regul(self.ext_conv3(self.ext_conv2(self.ext_conv1(x)))))


class Down(nn.Module):
    """Halve the resolution; the places of the maxima are kept for the way up."""

    def __init__(self, inputs: int, outputs: int, dropout: float) -> None:
        super().__init__()
        inner = inputs // 4
        self.main_max1 = nn.MaxPool2d(2, stride=2, return_indices=True)
        self.ext_conv1 = nn.Sequential(*conv(inputs, inner, 2, activation(True), stride=2))
        self.ext_conv2 = nn.Sequential(*conv(inner, inner, 3, activation(True), padding=1))
        self.ext_conv3 = nn.Sequential(*conv(inner, outputs, 1, activation(True)))
        self.ext_regul = nn.Dropout2d(dropout)
        self.out_activation = activation(True)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        pooled, places = self.main_max1(x)
        new = self.ext_regul(self.ext_conv3(self.ext_conv2(self.ext_conv1(x))))
        padding = new.new_zeros(new.shape[0], new.shape[1] - pooled.shape[1], *new.shape[2:])
        return self.out_activation(torch.cat([pooled, padding], dim=1) + new), places


class Up(nn.Module):
    """Double the resolution, values put where the maxima had been."""

    def __init__(self, inputs: int, outputs: int, dropout: float) -> None:
        super().__init__()
        inner = inputs // 4
        self.main_conv1 = nn.Sequential(*conv(inputs, outputs, 1, None))
        self.main_unpool1 = nn.MaxUnpool2d(2)
        self.ext_conv1 = nn.Sequential(*conv(inputs, inner, 1, activation(False)))
        self.ext_tconv1 = nn.ConvTranspose2d(inner, inner, 2, stride=2, bias=False)
        self.ext_tconv1_bnorm = nn.BatchNorm2d(inner)
        self.ext_tconv1_activation = activation(False)
        self.ext_conv2 = nn.Sequential(*conv(inner, outputs, 1, None))
        self.ext_regul = nn.Dropout2d(dropout)
        self.out_activation = activation(False)

    def forward(self, x: Tensor, places: Tensor) -> Tensor:
        height, width = places.shape[-2:]
        main = self.main_unpool1(self.main_conv1(x), places, output_size=(2 * height, 2 * width))
        new = self.ext_tconv1_activation(self.ext_tconv1_bnorm(self.ext_tconv1(self.ext_conv1(x))))
        return self.out_activation(main + self.ext_regul(self.ext_conv2(new)))


class ENet(nn.Module):
    """Layers by the names that the published weights have."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.initial_block = Initial()
        self.downsample1_0 = Down(16, 64, 0.01)
        for index in range(1, 5):
            self.add_module(f"regular1_{index}", Regular(64, 0.01))
        self.downsample2_0 = Down(64, 128, 0.1)
        for stage, first in ((2, 1), (3, 0)):
            for offset in range(8):
                name, how = KINDS[offset]
                self.add_module(f"{name}{stage}_{first + offset}", Regular(128, 0.1, **how))
        self.upsample4_0 = Up(128, 64, 0.1)
        self.regular4_1 = Regular(64, 0.1, encoder=False)
        self.regular4_2 = Regular(64, 0.1, encoder=False)
        self.upsample5_0 = Up(64, 16, 0.1)
        self.regular5_1 = Regular(16, 0.1, encoder=False)
        self.transposed_conv = nn.ConvTranspose2d(16, outputs, 3, stride=2, padding=1, bias=False)

    def forward(self, image: Tensor) -> Tensor:
        """float32 [N, 3, h, w] to [N, outputs, h, w]; h and w multiples of 8."""
        x, first = self.downsample1_0(self.initial_block(image))
        x = self._chain(x, [f"regular1_{index}" for index in range(1, 5)])
        x, second = self.downsample2_0(x)
        x = self._chain(x, [f"{KINDS[i][0]}2_{i + 1}" for i in range(8)] + [f"{KINDS[i][0]}3_{i}" for i in range(8)])
        x = self._chain(self.upsample4_0(x, second), ["regular4_1", "regular4_2"])
        x = self._chain(self.upsample5_0(x, first), ["regular5_1"])
        return functional.conv_transpose2d(
            x, self.transposed_conv.weight, stride=2, padding=1,
            output_padding=(1 - image.shape[-2] % 2, 1 - image.shape[-1] % 2),
        )  # fmt: skip

    def _chain(self, x: Tensor, names: list[str]) -> Tensor:
        for name in names:
            x = self.get_submodule(name)(x)
        return x


KINDS: list[tuple[str, dict[str, int | bool]]] = [
    ("regular", {}),
    ("dilated", {"dilation": 2}),
    ("asymmetric", {"asymmetric": True}),
    ("dilated", {"dilation": 4}),
    ("regular", {}),
    ("dilated", {"dilation": 8}),
    ("asymmetric", {"asymmetric": True}),
    ("dilated", {"dilation": 16}),
]
