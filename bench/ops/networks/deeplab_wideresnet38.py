"""DeepLabv3+ on a WideResNet38, as checkpoints of NVIDIA's video augmentation and of papers built on them name layers.

The published network: Zhu et al., Improving Semantic Segmentation via Video Propagation and Label Relaxation,
arXiv:1812.01593. RPL adds a block of its own, DenseHybrid a head of two outputs. It sees whole images of any size.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

TWO = 2  # convolutions in a plain block; the others have three

# Of modules 2 to 7: blocks, channels of their convolutions, stride of the first block, dilation, dropout.
MODULES: list[tuple[int, tuple[int, ...], int, int, float]] = [
    (3, (128, 128), 1, 1, 0.0),
    (3, (256, 256), 1, 1, 0.0),
    (6, (512, 512), 2, 1, 0.0),
    (3, (512, 1024), 1, 2, 0.0),
    (1, (512, 1024, 2048), 1, 4, 0.3),
    (1, (1024, 2048, 4096), 1, 4, 0.5),
]


def resized(x: Tensor, like: Tensor) -> Tensor:
    """Bilinear, corner to corner, to the height and width of another map."""
    return functional.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=True)


def norm(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU())


def conv(inputs: int, outputs: int, size: int, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, stride, dilation * (size // 2), dilation, bias=False)


class Block(nn.Module):
    """Normalise, then add two or three convolutions to the input, or to its projection where the shape changes."""

    def __init__(self, inputs: int, channels: tuple[int, ...], stride: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.bn1 = norm(inputs)
        parts: list[tuple[str, nn.Module]] = []
        if len(channels) == TWO:
            parts.append(("conv1", conv(inputs, channels[0], 3, stride, dilation)))
            parts += [("bn2", norm(channels[0])), ("conv2", conv(channels[0], channels[1], 3, 1, dilation))]
        else:
            parts.append(("conv1", conv(inputs, channels[0], 1, stride)))
            parts += [("bn2", norm(channels[0])), ("conv2", conv(channels[0], channels[1], 3, 1, dilation))]
            parts += [("bn3", norm(channels[1])), ("dropout", nn.Dropout2d(dropout))]
            parts.append(("conv3", conv(channels[1], channels[2], 1)))
        self.convs = nn.Sequential(OrderedDict(parts))
        self.projects = stride != 1 or inputs != channels[-1]
        if self.projects:
            self.proj_conv = conv(inputs, channels[-1], 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        ready = self.bn1(x)
        kept = self.proj_conv(ready) if self.projects else x
        return cast("Tensor", kept + self.convs(ready))


class Pyramid(nn.Module):
    """The image as a whole, each pixel, and its surroundings at three distances, side by side in that order."""

    def __init__(self, inputs: int, outputs: int, rates: tuple[int, ...] = (12, 24, 36)) -> None:
        super().__init__()
        wide = [nn.Sequential(conv(inputs, outputs, 3, 1, rate), *norm(outputs)) for rate in rates]
        self.features = nn.ModuleList([nn.Sequential(conv(inputs, outputs, 1), *norm(outputs)), *wide])
        self.img_conv = nn.Sequential(conv(inputs, outputs, 1), *norm(outputs))

    def forward(self, x: Tensor) -> Tensor:
        whole = resized(self.img_conv(x.mean(dim=(2, 3), keepdim=True)), x)
        return torch.cat([whole, *(part(x) for part in self.features)], dim=1)


class Residual(nn.Module):
    """What RPL adds to the input of the decoder: 304 channels, made of the trunk's by a pyramid of their own."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.atten_aspp = Pyramid(inputs, 256)
        self.bot_atten_aspp = conv(5 * 256, 256, 1)
        self.atten_aspp_final = conv(256, outputs, 1)

    def forward(self, x: Tensor, like: Tensor) -> Tensor:
        return cast("Tensor", self.atten_aspp_final(resized(self.bot_atten_aspp(self.atten_aspp(x)), like)))


class DeepLab(nn.Module):
    """float32 [n, 3, h, w], normalised with the mean and deviation of ImageNet, to logits [n, classes, h, w].

    ``residual`` has the block of RPL (Liu et al., arXiv:2211.14512, section 3.2), ``outliers`` the head of DenseHybrid
    (Grcic et al., arXiv:2207.02606, section 3.2): a normalised 1 x 1 convolution to inlier and outlier.
    """

    def __init__(self, classes: int, *, residual: bool = False, outliers: bool = False) -> None:
        super().__init__()
        self.mod1 = nn.Sequential(OrderedDict(conv1=conv(3, 64, 3)))
        inputs = 64
        for number, (blocks, channels, stride, dilation, dropout) in enumerate(MODULES, start=2):
            inside: OrderedDict[str, nn.Module] = OrderedDict()
            for index in range(blocks):
                first = stride if index == 0 else 1
                inside[f"block{index + 1}"] = Block(inputs, channels, first, dilation, dropout)
                inputs = channels[-1]
            self.add_module(f"mod{number}", nn.Sequential(inside))
        self.pool2 = nn.MaxPool2d(3, stride=2, padding=1)
        self.pool3 = nn.MaxPool2d(3, stride=2, padding=1)
        self.aspp = Pyramid(inputs, 256)
        self.bot_fine = conv(128, 48, 1)
        self.bot_aspp = conv(5 * 256, 256, 1)
        head = [conv(48 + 256, 256, 3), *norm(256), conv(256, 256, 3), *norm(256), conv(256, classes, 1)]
        self.final = nn.Sequential(*head)
        self.residual_block = Residual(inputs, 48 + 256) if residual else None
        parts = OrderedDict(norm=nn.BatchNorm2d(48 + 256), relu=nn.ReLU(), conv=nn.Conv2d(48 + 256, 2, 1))
        self.logits_ood = nn.Sequential(parts) if outliers else None

    def forward(self, image: Tensor) -> Tensor:
        return self.outputs(image)["logits"]

    def outputs(self, image: Tensor) -> dict[str, Tensor]:
        """Return ``logits`` [n, classes, h, w] and what the parts beside them give.

        ``corrected`` are the logits with the residual block in, ``outliers`` [n, h, w] the logit of outlier less that
        of inlier.
        """
        fine = self.get_submodule("mod2")(self.pool2(self.mod1(image)))
        x = self.pool3(fine)
        for number in range(3, 8):
            x = self.get_submodule(f"mod{number}")(x)
        decoded = torch.cat([self.bot_fine(fine), resized(self.bot_aspp(self.aspp(x)), fine)], dim=1)
        outputs = {"logits": resized(self.final(decoded), image)}
        if self.residual_block is not None:
            outputs["corrected"] = resized(self.final(decoded + self.residual_block(x, fine)), image)
        if self.logits_ood is not None:
            inlier, outlier = resized(self.logits_ood(decoded), image).unbind(dim=1)
            outputs["outliers"] = outlier - inlier
        return outputs
