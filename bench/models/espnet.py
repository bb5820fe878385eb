"""ESPNet, a small encoder-decoder with pyramids of dilated convolutions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge

from bench.models.void_output import CLASSES, VoidOutputModel

if TYPE_CHECKING:
    from torch import Tensor, nn

DILATIONS = (1, 2, 4, 8, 16)
EPSILON = 1e-3  # of every batch normalisation


@dataclass(frozen=True)
class ESPNet(VoidOutputModel):
    """ESPNet with its decoder and 20 outputs of Cityscapes, the last of which is void; ``p`` and ``q`` as in the paper.

    Pixels are BGR, (x - mean) / std / 255. Published weights were trained on images of 512 x 1024: say
    ``inference: {size: [512, 1024]}``. Layer names are those of the published state dicts (``encoder.level1`` ...
    ``classifier``).
    """

    name = "espnet"
    source = "Mehta et al., ESPNet, arXiv:1803.06815; weights and preparation of github.com/sacmehta/ESPNet"

    p: Annotated[int, Ge(1)] = 2  # pyramids of the second stage
    q: Annotated[int, Ge(1)] = 8  # and of the third

    # Of the published training's images, blue first.
    mean = (72.3923111, 82.90893555, 73.15840149)
    std = (45.3192215, 46.15289307, 44.91483307)
    bgr = True

    def network(self) -> nn.Module:
        return network(self.p, self.q)


def network(p: int, q: int) -> nn.Module:
    """Make ESPNet with random weights; it maps prepared float32 [n, 3, h, w] to (features, outputs).

    float32 [n, 20, h/2, w/2] and [n, 20, h, w]. Sides must be multiples of 8. The classes stand inside because this
    file is read to list the models, and listing must not import torch.
    """
    import torch
    from torch import nn
    from torch.nn import functional

    outputs = CLASSES + 1

    class Convolution(nn.Module):
        """A convolution under the name ``conv``, without bias and of unchanged size but for the stride."""

        def __init__(self, inside: int, outside: int, kernel: int, stride: int = 1, dilation: int = 1) -> None:
            super().__init__()
            self.conv = nn.Conv2d(inside, outside, kernel, stride, kernel // 2 * dilation, dilation, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.conv(x)
            return y

    class Normalised(nn.Module):
        """Batch normalisation and PReLU, after a convolution where there is one."""

        def __init__(self, width: int, inside: int = 0, stride: int = 1) -> None:
            super().__init__()
            if inside:
                self.conv = nn.Conv2d(inside, width, 3, stride, 1, bias=False)
            self.bn = nn.BatchNorm2d(width, eps=EPSILON)
            self.act = nn.PReLU(width)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.act(self.bn(self.conv(x) if hasattr(self, "conv") else x))
            return y

    class Pyramid(nn.Module):
        """Reduce, convolve at five dilations, add up from the second on, join: before normalisation."""

        def __init__(self, inside: int, outside: int, kernel: int, stride: int) -> None:
            super().__init__()
            inner = outside // len(DILATIONS)
            self.c1 = Convolution(inside, inner, kernel, stride)
            for dilation in DILATIONS:
                width = outside - inner * (len(DILATIONS) - 1) if dilation == 1 else inner
                self.add_module(f"d{dilation}", Convolution(inner, width, 3, dilation=dilation))

        def joined(self, x: Tensor) -> Tensor:
            reduced = self.c1(x)
            first, *others = (self.get_submodule(f"d{dilation}")(reduced) for dilation in DILATIONS)
            sums = [others[0]]
            for other in others[1:]:
                sums.append(sums[-1] + other)
            return torch.cat([first, *sums], dim=1)

    class Down(Pyramid):
        def __init__(self, inside: int, outside: int) -> None:
            super().__init__(inside, outside, kernel=3, stride=2)
            self.bn = nn.BatchNorm2d(outside, eps=EPSILON)
            self.act = nn.PReLU(outside)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.act(self.bn(self.joined(x)))
            return y

    class Block(Pyramid):
        def __init__(self, inside: int, outside: int, *, residual: bool = True) -> None:
            super().__init__(inside, outside, kernel=1, stride=1)
            self.bn = Normalised(outside)
            self.residual = residual

        def forward(self, x: Tensor) -> Tensor:
            joined = self.joined(x)
            y: Tensor = self.bn(x + joined if self.residual else joined)
            return y

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.level1 = Normalised(16, inside=3, stride=2)
            self.b1 = Normalised(16 + 3)
            self.level2_0 = Down(16 + 3, 64)
            self.level2 = nn.ModuleList([Block(64, 64) for _ in range(p)])
            self.b2 = Normalised(128 + 3)
            self.level3_0 = Down(128 + 3, 128)
            self.level3 = nn.ModuleList([Block(128, 128) for _ in range(q)])
            self.b3 = Normalised(256)
            self.classifier = Convolution(256, outputs, 1)

        def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            half = functional.avg_pool2d(image, 3, stride=2, padding=1)
            quarter = functional.avg_pool2d(half, 3, stride=2, padding=1)
            fine = self.level1(image)
            first = x = self.level2_0(self.b1(torch.cat([fine, half], dim=1)))
            for block in self.level2:
                x = block(x)
            middle = self.b2(torch.cat([x, first, quarter], dim=1))
            first = x = self.level3_0(middle)
            for block in self.level3:
                x = block(x)
            return fine, middle, self.classifier(self.b3(torch.cat([first, x], dim=1)))

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = Encoder()
            self.level3_C = Convolution(128 + 3, outputs, 1)
            self.br = nn.BatchNorm2d(outputs, eps=EPSILON)
            self.conv = Normalised(outputs, inside=16 + outputs)
            self.up_l3 = nn.Sequential(nn.ConvTranspose2d(outputs, outputs, 2, stride=2, bias=False))
            self.combine_l2_l3 = nn.Sequential(Normalised(2 * outputs), Block(2 * outputs, outputs, residual=False))
            up = nn.ConvTranspose2d(outputs, outputs, 2, stride=2, bias=False)
            self.up_l2 = nn.Sequential(up, Normalised(outputs))
            self.classifier = nn.ConvTranspose2d(outputs, outputs, 2, stride=2, bias=False)

        def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
            fine, middle, coarse = self.encoder(image)
            coarse = self.up_l3(self.br(coarse))
            merged = self.up_l2(self.combine_l2_l3(torch.cat([self.level3_C(middle), coarse], dim=1)))
            features = self.conv(torch.cat([merged, fine], dim=1))
            return features, self.classifier(features)

        def classify(self, features: Tensor) -> Tensor:
            y: Tensor = self.classifier(features)
            return y

    return Net()
