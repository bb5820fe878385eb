"""ENet, a small encoder-decoder with bottlenecks and remembered pooling positions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.models.void_output import CLASSES, VoidOutputModel

if TYPE_CHECKING:
    from torch import Tensor, nn

# Kinds of the eight bottlenecks of the second stage; the third repeats them. "dilated" is followed by its dilation.
MIDDLE = ("regular", "dilated 2", "asymmetric", "dilated 4", "regular", "dilated 8", "asymmetric", "dilated 16")


@dataclass(frozen=True)
class ENet(VoidOutputModel):
    """ENet with 20 outputs of Cityscapes, the last of which is void; pixels are RGB / 255.

    Published weights were trained on images of 512 x 1024: say ``inference: {size: [512, 1024]}``, and ``resize: pil``
    where they were evaluated through PIL. Layer names are those of the state dicts in use (``initial_block``,
    ``regular1_1`` ... ``transposed_conv``).
    """

    name = "enet"
    source = "Paszke et al., ENet, arXiv:1606.02147"

    def network(self) -> nn.Module:
        return network()


def network() -> nn.Module:
    """Make ENet with random weights; it maps float32 [n, 3, h, w] in 0..1 to (features, outputs).

    float32 [n, 16, h/2, w/2], rounded up, and [n, 20, h, w]. The classes stand inside because this file is read to list
    the models, and listing must not import torch.
    """
    import torch
    from torch import nn
    from torch.nn import functional

    def unit(
        inside: int, outside: int, kernel: tuple[int, int], act: type[nn.Module], *, stride: int = 1, dilation: int = 1
    ) -> list[nn.Module]:
        """Return a convolution that keeps the size but for the stride, its normalisation and activation."""
        rows, cols = (side // 2 * dilation if stride == 1 else 0 for side in kernel)
        convolution = nn.Conv2d(inside, outside, kernel, stride, (rows, cols), dilation, bias=False)
        return [convolution, nn.BatchNorm2d(outside), act()]

    class Initial(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.main_branch = nn.Conv2d(3, 13, 3, stride=2, padding=1, bias=False)
            self.batch_norm = nn.BatchNorm2d(16)
            self.out_activation = nn.PReLU()

        def forward(self, x: Tensor) -> Tensor:
            pooled = functional.max_pool2d(x, 3, stride=2, padding=1)
            y: Tensor = self.out_activation(self.batch_norm(torch.cat([self.main_branch(x), pooled], dim=1)))
            return y

    class Bottleneck(nn.Module):
        def __init__(self, width: int, dropout: float, kind: str = "regular", act: type[nn.Module] = nn.PReLU) -> None:
            super().__init__()
            inner = width // 4
            self.ext_conv1 = nn.Sequential(*unit(width, inner, (1, 1), act))
            if kind == "asymmetric":
                middle = [*unit(inner, inner, (5, 1), act), *unit(inner, inner, (1, 5), act)]
            else:
                middle = unit(inner, inner, (3, 3), act, dilation=int(kind.partition(" ")[2] or 1))
            self.ext_conv2 = nn.Sequential(*middle)
            self.ext_conv3 = nn.Sequential(*unit(inner, width, (1, 1), act))
            self.ext_regul = nn.Dropout2d(dropout)
            self.out_activation = act()

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.out_activation(x + self.ext_regul(self.ext_conv3(self.ext_conv2(self.ext_conv1(x)))))
            return y

    class Down(nn.Module):
        def __init__(self, inside: int, outside: int, dropout: float) -> None:
            super().__init__()
            inner, self.more = inside // 4, outside - inside
            self.ext_conv1 = nn.Sequential(*unit(inside, inner, (2, 2), nn.PReLU, stride=2))
            self.ext_conv2 = nn.Sequential(*unit(inner, inner, (3, 3), nn.PReLU))
            self.ext_conv3 = nn.Sequential(*unit(inner, outside, (1, 1), nn.PReLU))
            self.ext_regul = nn.Dropout2d(dropout)
            self.out_activation = nn.PReLU()

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            pooled, positions = functional.max_pool2d(x, 2, stride=2, return_indices=True)
            wide = functional.pad(pooled, (0, 0, 0, 0, 0, self.more))
            return self.out_activation(
                wide + self.ext_regul(self.ext_conv3(self.ext_conv2(self.ext_conv1(x))))
            ), positions

    class Up(nn.Module):
        def __init__(self, inside: int, outside: int, dropout: float) -> None:
            super().__init__()
            inner = inside // 4
            self.main_conv1 = nn.Sequential(nn.Conv2d(inside, outside, 1, bias=False), nn.BatchNorm2d(outside))
            self.ext_conv1 = nn.Sequential(*unit(inside, inner, (1, 1), nn.ReLU))
            self.ext_tconv1 = nn.ConvTranspose2d(inner, inner, 2, stride=2, bias=False)
            self.ext_tconv1_bnorm = nn.BatchNorm2d(inner)
            self.ext_conv2 = nn.Sequential(nn.Conv2d(inner, outside, 1, bias=False), nn.BatchNorm2d(outside))
            self.ext_regul = nn.Dropout2d(dropout)

        def forward(self, x: Tensor, positions: Tensor, size: tuple[int, int]) -> Tensor:
            main = functional.max_unpool2d(self.main_conv1(x), positions, [2, 2], [2, 2], output_size=size)
            wide = self.ext_tconv1(self.ext_conv1(x), output_size=size)
            extension = self.ext_conv2(functional.relu(self.ext_tconv1_bnorm(wide)))
            return functional.relu(main + self.ext_regul(extension))

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.initial_block = Initial()
            self.downsample1_0 = Down(16, 64, 0.01)
            for index in range(1, 5):
                self.add_module(f"regular1_{index}", Bottleneck(64, 0.01))
            self.downsample2_0 = Down(64, 128, 0.1)
            for stage, first in ((2, 1), (3, 0)):
                for index, kind in enumerate(MIDDLE, first):
                    self.add_module(f"{kind.partition(' ')[0]}{stage}_{index}", Bottleneck(128, 0.1, kind))
            self.upsample4_0 = Up(128, 64, 0.1)
            self.regular4_1, self.regular4_2 = (Bottleneck(64, 0.1, act=nn.ReLU) for _ in range(2))
            self.upsample5_0 = Up(64, 16, 0.1)
            self.regular5_1 = Bottleneck(16, 0.1, act=nn.ReLU)
            self.transposed_conv = nn.ConvTranspose2d(16, CLASSES + 1, 3, stride=2, padding=1, bias=False)

        def stage(self, x: Tensor, number: str) -> Tensor:
            for name, module in self.named_children():
                if isinstance(module, Bottleneck) and name[-3] in number:
                    x = module(x)
            return x

        def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
            x = self.initial_block(image)
            halves = x.shape[-2:]
            x, first = self.downsample1_0(x)
            x = self.stage(x, "1")
            quarters = x.shape[-2:]
            x, second = self.downsample2_0(x)
            x = self.stage(x, "23")
            x = self.stage(self.upsample4_0(x, second, quarters), "4")
            features = self.stage(self.upsample5_0(x, first, halves), "5")
            return features, self.transposed_conv(features, output_size=image.shape[-2:])

        def classify(self, features: Tensor) -> Tensor:
            size = [2 * side for side in features.shape[-2:]]
            outputs: Tensor = self.transposed_conv(features, output_size=size)
            return outputs

    return Net()
