"""The computation that FlowEneDet published under the name of a flow, quirks included."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.fit.flow.net import ContextNet

PER_NAT = 1.4427  # so that a diagonal of 1 is where the parameter is 0
DROPPED = 0.2  # share of hidden channels, in training


class PublishedFlow(nn.Module):
    """Log-scores of "right" and "wrong or an anomaly" per pixel; no density model, although it is built like one.

    What a block does: the activation norm multiplies by sigmoid(-log_scale); a 2 x 2 matrix mixes; the coupling scales
    and shifts one channel by one and the same figure r, from a network that sees the other channel and the condition,
    or, without a condition, both channels; two gates follow. "Log-determinants" are kept per channel and never summed;
    the gate's is added to both. They stay in the score. Component m of the base sees coordinate m alone.

    What does not change the outcome is left out: the network is evaluated once for both of its names, only where its
    input is not 0, and for the channel that is moved.

    Source: Gudovskiy et al., arXiv:2305.09610, as gudovskiy/flowenedet computes it.
    """

    fidelity = "reference"

    def __init__(self, blocks: int, condition: int) -> None:
        super().__init__()
        self.condition = condition  # channels; 0 is FED-U
        self.blocks = nn.ModuleList([PublishedBlock(condition, kept=1 - index % 2) for index in range(blocks)])
        self.weight = nn.Parameter(torch.zeros(2))
        self.centre = nn.Parameter(torch.zeros(2))
        self.factor = nn.Parameter(torch.zeros(3))

    def forward(self, z: Tensor, condition: Tensor | None, dice: torch.Generator | None = None) -> Tensor:
        """float32 [n, 2, H, W] of z, the same, and the condition [n, P, h, w], at that resolution or below.

        ``dice`` draws the channels to drop, in training.
        """
        x, volume = z, torch.zeros_like(z)
        for block in self._each():
            x, volume = block(x, volume, condition, dice)
        diagonal = PER_NAT * functional.softplus(self.factor[:2])
        away = x - _channels(self.centre)
        first = diagonal[0] * away[:, :1]
        second = self.factor[2] * away[:, :1] + diagonal[1] * away[:, 1:]
        inside = -functional.softplus(self.weight) + diagonal.log()
        return volume + _channels(inside) - 0.5 * torch.cat([first, second], dim=1) ** 2

    @torch.no_grad()
    def initialise(self, z: Tensor, condition: Tensor | None) -> None:
        """Set the activation norms from one batch, as the source does: to its mean and the log of its deviation."""
        x, volume = z, torch.zeros_like(z)
        for block in self._each():
            _moments(block.norm, x)
            if condition is not None:
                _moments(block.condition_norm, condition)
            x, volume = block(x, volume, condition, None)

    def _each(self) -> list[PublishedBlock]:
        return cast("list[PublishedBlock]", list(self.blocks))


class ChannelNorm(nn.Module):
    """shift + x sigmoid(-log_scale), per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(channels))
        self.log_scale = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return _channels(self.shift) + x * _channels(torch.sigmoid(-self.log_scale))


class PublishedBlock(nn.Module):
    """One of the blocks; ``kept`` is the channel that the coupling leaves alone."""

    def __init__(self, condition: int, kept: int) -> None:
        super().__init__()
        self.kept, self.moved = kept, 1 - kept
        self.condition_norm = ChannelNorm(condition)
        self.norm = ChannelNorm(2)
        self.mix = nn.Parameter(nn.init.orthogonal_(torch.empty(2, 2)))
        self.net = ContextNet(2 + condition, 2 + condition, 2)
        self.gate_weight = nn.Parameter(nn.init.kaiming_uniform_(torch.empty(2, 2), a=math.sqrt(5)))
        self.gate_bias = nn.Parameter(nn.init.uniform_(torch.empty(2), -(0.5**0.5), 0.5**0.5))
        self.gate = nn.Parameter(torch.randn(2))

    def forward(
        self, x: Tensor, volume: Tensor, condition: Tensor | None, dice: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        x = functional.conv2d(self.norm(x), self.mix[:, :, None, None])
        constant = torch.linalg.slogdet(self.mix)[1] - functional.softplus(self.norm.log_scale)
        kept, moved = x[:, self.kept : self.kept + 1], x[:, self.moved : self.moved + 1]
        masks = None if dice is None else [dropout_mask(self.net, x, dice) for _ in range(2)]
        if condition is None:  # unmasked: the network sees what it moves
            figures = self.net(x, (0, 1), None, (self.moved,), masks)
        else:
            figures = self.net(kept, (self.kept,), self.condition_norm(condition), (self.moved,), masks)
        scale, shift = figures[0], figures[-1]
        moved = moved * torch.sigmoid(-scale) + shift
        q = self.gate_weight[:, self.kept].mean() * kept + self.gate_bias.mean()
        closed = functional.softplus(q)
        of_kept = _at(volume, constant, self.kept) - closed - functional.softplus(self.gate[self.kept])
        of_moved = _at(volume, constant, self.moved) - closed - functional.softplus(scale)
        moved, kept = moved * torch.sigmoid(-q), kept * torch.sigmoid(-self.gate[self.kept])
        return _joined(kept, moved, self.kept), _joined(of_kept, of_moved, self.kept)


def dropout_mask(net: ContextNet, x: Tensor, dice: torch.Generator) -> Tensor:
    """[n, width, 1, 1]: 0 for channels that are dropped, the rest scaled up for them. Drawn on the CPU."""
    kept = torch.rand(x.shape[0], net.middle.out_channels, 1, 1, generator=dice) >= DROPPED
    return (kept / (1 - DROPPED)).to(x)


def _at(volume: Tensor, constant: Tensor, channel: int) -> Tensor:
    return volume[:, channel : channel + 1] + constant[channel]


def _joined(kept: Tensor, moved: Tensor, kept_last: int) -> Tensor:
    return torch.cat([moved, kept] if kept_last else [kept, moved], dim=1)


def _channels(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1)


def _moments(norm: ChannelNorm, x: Tensor) -> None:
    flat = x.transpose(0, 1).flatten(1)
    norm.shift.copy_(flat.mean(dim=1))
    norm.log_scale.copy_((flat.std(dim=1) + 1e-6).log())
