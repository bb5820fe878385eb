"""DualGCNNet on a ResNet-50, as the checkpoints of its authors and of Meta-OoD name its layers.

The published network: Zhang et al., Dual Graph Convolutional Network for Semantic Segmentation, arXiv:1909.06121. It
sees whole images of any size.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

EXPANSION = 4
# Of layers 1 to 4: planes, stride of the first block, dilation of each block.
LAYERS: list[tuple[int, int, tuple[int, ...]]] = [
    (64, 1, (1, 1, 1)),
    (128, 2, (1, 1, 1, 1)),
    (256, 1, (2,) * 6),
    (512, 1, (4, 8, 16)),
]


def resized(x: Tensor, like: Tensor) -> Tensor:
    """Bilinear, corner to corner, to the height and width of another map."""
    return functional.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=True)


def conv(inputs: int, outputs: int, size: int, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, stride, dilation * (size // 2), dilation, bias=False)


def convolved(inputs: int, outputs: int) -> list[nn.Module]:
    return [conv(inputs, outputs, 3), nn.BatchNorm2d(outputs), nn.ReLU()]


class Bottleneck(nn.Module):
    """Three convolutions, added to the input or to its projection."""

    def __init__(self, inputs: int, planes: int, stride: int, dilation: int) -> None:
        super().__init__()
        outputs = planes * EXPANSION
        self.conv1, self.bn1 = conv(inputs, planes, 1), nn.BatchNorm2d(planes)
        self.conv2, self.bn2 = conv(planes, planes, 3, stride, dilation), nn.BatchNorm2d(planes)
        self.conv3, self.bn3 = conv(planes, outputs, 1), nn.BatchNorm2d(outputs)
        self.projects = stride != 1 or inputs != outputs
        if self.projects:
            self.downsample = nn.Sequential(conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        inner = functional.relu(self.bn1(self.conv1(x)))
        inner = functional.relu(self.bn2(self.conv2(inner)))
        kept = self.downsample(x) if self.projects else x
        return functional.relu(self.bn3(self.conv3(inner)) + kept)


class SpatialGraph(nn.Module):
    """Reasoning over the places of a coarse map: k softmax(q v^T), then a mixing of channels."""

    def __init__(self, planes: int) -> None:
        super().__init__()
        inner = planes // 2
        self.node_k, self.node_v, self.node_q = (nn.Conv2d(planes, inner, 1) for _ in range(3))
        self.conv_wg, self.bn_wg = nn.Conv1d(inner, inner, 1, bias=False), nn.BatchNorm1d(inner)
        self.out = nn.Sequential(nn.Conv2d(inner, planes, 1), nn.BatchNorm2d(planes))

    def forward(self, x: Tensor) -> Tensor:
        k, v, q = (node(x).flatten(2) for node in (self.node_k, self.node_v, self.node_q))  # [n, inner, places]
        share = (q @ v.transpose(1, 2)).softmax(dim=2)  # [n, inner, inner]
        moved = self.bn_wg(self.conv_wg(share.transpose(1, 2) @ k))
        return functional.relu(self.out(moved.unflatten(2, x.shape[-2:])) + x)


class DualGraph(nn.Module):
    """Reasoning over channels and over places, side by side."""

    def __init__(self, planes: int, ratio: int = 4) -> None:
        super().__init__()
        nodes, states = planes // ratio, planes // ratio * 2
        self.phi, self.bn_phi = conv(planes, states, 1), nn.BatchNorm2d(states)
        self.theta, self.bn_theta = conv(planes, nodes, 1), nn.BatchNorm2d(nodes)
        self.conv_adj, self.bn_adj = nn.Conv1d(nodes, nodes, 1, bias=False), nn.BatchNorm1d(nodes)
        self.conv_wg, self.bn_wg = nn.Conv1d(states, states, 1, bias=False), nn.BatchNorm1d(states)
        self.conv3, self.bn3 = conv(states, planes, 1), nn.BatchNorm2d(planes)
        steps = [nn.Conv2d(planes, planes, 3, 2, 1, groups=planes, bias=False) for _ in range(3)]
        self.local = nn.Sequential(*(part for step in steps for part in (step, nn.BatchNorm2d(planes))))
        self.gcn_local_attention = SpatialGraph(planes)
        self.final = nn.Sequential(conv(planes * 2, planes, 1), nn.BatchNorm2d(planes))

    def forward(self, x: Tensor) -> Tensor:
        attention = resized(self.gcn_local_attention(self.local(x)), x)
        spatial = x * attention + x
        states, nodes = self.bn_phi(self.phi(x)).flatten(2), self.bn_theta(self.theta(x)).flatten(2)
        graph = states @ nodes.transpose(1, 2)  # [n, states, nodes]
        graph = self.bn_adj(self.conv_adj(graph.transpose(1, 2))).transpose(1, 2) + graph
        graph = self.bn_wg(self.conv_wg(graph))
        back = (graph @ nodes).unflatten(2, x.shape[-2:])
        feature = functional.relu(x + self.bn3(self.conv3(back)))
        return cast("Tensor", self.final(torch.cat([spatial, feature], dim=1)))


class Head(nn.Module):
    """From 2048 channels to the classes."""

    def __init__(self, inputs: int, planes: int, classes: int) -> None:
        super().__init__()
        self.conva = nn.Sequential(*convolved(inputs, planes))
        self.dualgcn = DualGraph(planes)
        self.convb = nn.Sequential(*convolved(planes, planes))
        self.bottleneck = nn.Sequential(*convolved(inputs + planes, planes), nn.Conv2d(planes, classes, 1))

    def forward(self, x: Tensor) -> Tensor:
        return cast("Tensor", self.bottleneck(torch.cat([x, self.convb(self.dualgcn(self.conva(x)))], dim=1)))


class DualGCNNet(nn.Module):
    """float32 [n, 3, h, w], normalised with the mean and deviation of ImageNet, to logits [n, classes, h, w].

    ``dsn``, an output that only the authors' training used, is in their files and takes no part.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        stem = [conv(3, 64, 3, 2), nn.BatchNorm2d(64), nn.ReLU(), *convolved(64, 64), conv(64, 128, 3)]
        self.conv1, self.bn1 = nn.Sequential(*stem), nn.BatchNorm2d(128)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True)
        inputs = 128
        for number, (planes, stride, dilations) in enumerate(LAYERS, start=1):
            blocks = []
            for index, dilation in enumerate(dilations):
                blocks.append(Bottleneck(inputs, planes, stride if index == 0 else 1, dilation))
                inputs = planes * EXPANSION
            self.add_module(f"layer{number}", nn.Sequential(*blocks))
        self.head = Head(inputs, 512, classes)
        self.dsn = nn.Sequential(
            nn.Conv2d(1024, 512, 3, padding=1), nn.BatchNorm2d(512), nn.Dropout2d(0.1), nn.Conv2d(512, classes, 1)
        )

    def forward(self, image: Tensor) -> Tensor:
        x = self.pool(functional.relu(self.bn1(self.conv1(image))))
        for number in range(1, 5):
            x = self.get_submodule(f"layer{number}")(x)
        return resized(self.head(x), image)
