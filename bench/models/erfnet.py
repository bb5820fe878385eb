"""ERFNet, a small encoder-decoder of factorised residual blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.models.void_output import CLASSES, VoidOutputModel

if TYPE_CHECKING:
    from torch import Tensor, nn

EPSILON = 1e-3  # of every batch normalisation


@dataclass(frozen=True)
class ERFNet(VoidOutputModel):
    """ERFNet with 20 outputs of Cityscapes, the last of which is void; pixels are RGB / 255.

    Published weights were trained on images of 512 x 1024: say ``inference: {size: [512, 1024]}``. Layer names are
    those of the published state dicts (``encoder.initial_block`` ... ``decoder.output_conv``); the encoder's own
    classifier, which they hold too, is read and not used.
    """

    name = "erfnet"
    source = "Romera et al., ERFNet, IEEE T-ITS 19(1), 2018; layer names of github.com/Eromera/erfnet_pytorch"

    def network(self) -> nn.Module:
        return network()


def network() -> nn.Module:
    """Make ERFNet with random weights; it maps float32 [n, 3, h, w] in 0..1 to (features, outputs).

    float32 [n, 16, h/2, w/2] and [n, 20, h, w]. Sides must be multiples of 8. The classes stand inside because this
    file is read to list the models, and listing must not import torch.
    """
    import torch
    from torch import nn
    from torch.nn import functional

    class Down(nn.Module):
        def __init__(self, inside: int, outside: int) -> None:
            super().__init__()
            self.conv = nn.Conv2d(inside, outside - inside, 3, stride=2, padding=1)
            self.bn = nn.BatchNorm2d(outside, eps=EPSILON)

        def forward(self, x: Tensor) -> Tensor:
            pooled = functional.max_pool2d(x, 2, stride=2)
            return functional.relu(self.bn(torch.cat([self.conv(x), pooled], dim=1)))

    class Factorised(nn.Module):
        """Two pairs of a 3x1 and a 1x3 convolution, the second dilated, beside the input."""

        def __init__(self, width: int, dropout: float, dilation: int) -> None:
            super().__init__()
            self.conv3x1_1 = nn.Conv2d(width, width, (3, 1), padding=(1, 0))
            self.conv1x3_1 = nn.Conv2d(width, width, (1, 3), padding=(0, 1))
            self.bn1 = nn.BatchNorm2d(width, eps=EPSILON)
            down, across = (dilation, 0), (0, dilation)
            self.conv3x1_2 = nn.Conv2d(width, width, (3, 1), padding=down, dilation=(dilation, 1))
            self.conv1x3_2 = nn.Conv2d(width, width, (1, 3), padding=across, dilation=(1, dilation))
            self.bn2 = nn.BatchNorm2d(width, eps=EPSILON)
            self.dropout = nn.Dropout2d(dropout)

        def forward(self, x: Tensor) -> Tensor:
            y = functional.relu(self.bn1(self.conv1x3_1(functional.relu(self.conv3x1_1(x)))))
            y = self.bn2(self.conv1x3_2(functional.relu(self.conv3x1_2(y))))
            return functional.relu(self.dropout(y) + x)

    class Up(nn.Module):
        def __init__(self, inside: int, outside: int) -> None:
            super().__init__()
            self.conv = nn.ConvTranspose2d(inside, outside, 3, stride=2, padding=1, output_padding=1)
            self.bn = nn.BatchNorm2d(outside, eps=EPSILON)

        def forward(self, x: Tensor) -> Tensor:
            return functional.relu(self.bn(self.conv(x)))

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.initial_block = Down(3, 16)
            middle = [Factorised(64, 0.03, 1) for _ in range(5)]
            deep = [Factorised(128, 0.3, dilation) for dilation in (2, 4, 8, 16) * 2]
            self.layers = nn.ModuleList([Down(16, 64), *middle, Down(64, 128), *deep])
            self.output_conv = nn.Conv2d(128, CLASSES + 1, 1)  # of the training of the encoder alone

        def forward(self, x: Tensor) -> Tensor:
            x = self.initial_block(x)
            for layer in self.layers:
                x = layer(x)
            return x

    class Decoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            stages = [
                [Up(inside, width), *(Factorised(width, 0, 1) for _ in range(2))]
                for inside, width in ((128, 64), (64, 16))
            ]
            self.layers = nn.ModuleList([layer for stage in stages for layer in stage])
            self.output_conv = nn.ConvTranspose2d(16, CLASSES + 1, 2, stride=2)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            for layer in self.layers:
                x = layer(x)
            return x, self.output_conv(x)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = Encoder()
            self.decoder = Decoder()

        def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
            features, outputs = self.decoder(self.encoder(image))
            return features, outputs

        def classify(self, features: Tensor) -> Tensor:
            outputs: Tensor = self.decoder.output_conv(features)
            return outputs

    return Net()
