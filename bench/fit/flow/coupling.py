"""A coupling flow over the pixels of an image, conditioned on features: invertible, with its true log-determinant."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.fit.flow.net import ContextNet
from bench.fit.flow.published import dropout_mask

BOUND = 0.25  # of the logarithm of a factor


class CouplingFlow(nn.Module):
    """x = f(z | condition), and the log-density of z together with each of two classes, "right" and "wrong".

    A block whitens with constants, rotates the two channels, and moves one of them by figures that a network reads off
    the other one and the condition: x_moved exp(b tanh s) + t, s and t being two outputs of the network; a gate from
    the same pixel follows, exp(b tanh q). The kept channel decides how the other one moves, at every pixel, so the
    Jacobian is triangular and its log-determinant is the sum over pixels of what is returned. Rotations and factors
    bounded by b = 1/4 keep the digits that the inverse needs.

    log p(z, m | condition) = log prior_m + log N(f(z); centre_m, covariance_m) + log |det df/dz|, m = 0 right, 1 wrong.
    The determinant belongs to the density alone: between the classes it cancels. The two figures of z are functions of
    one, so that a density of z has no maximum; training therefore asks for the classes, not for the density.

    How it differs from the published computation: ``docs/fed.md``.
    """

    fidelity = "corrected"

    def __init__(self, blocks: int, condition: int) -> None:
        super().__init__()
        self.condition = condition  # channels; 0 is FED-U
        self.blocks = nn.ModuleList([CouplingBlock(condition, kept=1 - index % 2) for index in range(blocks)])
        self.prior = nn.Parameter(torch.zeros(2))
        self.centre = nn.Parameter(torch.tensor([[-1.0, 0.0], [1.0, 0.0]]))
        self.factor = nn.Parameter(torch.zeros(2, 3))  # lower triangles of inverse Cholesky factors

    def forward(self, z: Tensor, condition: Tensor | None, dice: torch.Generator | None = None) -> Tensor:
        """Log-densities, float32 [n, 2, H, W]; of z alike, with the condition [n, P, h, w] there or below.

        ``dice`` draws the channels to drop, in training.
        """
        x, volume = self.transform(z, condition, dice)
        away = x[:, None] - self.centre[:, :, None, None]  # [n, 2 classes, 2, H, W]
        diagonal = self.factor[:, :2].exp()
        first = diagonal[:, 0, None, None] * away[:, :, 0]
        second = self.factor[:, 2, None, None] * away[:, :, 0] + diagonal[:, 1, None, None] * away[:, :, 1]
        inside = functional.log_softmax(self.prior, dim=0) + self.factor[:, :2].sum(dim=1) - math.log(2 * math.pi)
        return inside[:, None, None] - 0.5 * (first**2 + second**2) + volume

    def transform(
        self, z: Tensor, condition: Tensor | None, dice: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """``x`` [n, 2, H, W] and [n, 1, H, W], whose sum over the pixels of an image is log |det dx/dz|."""
        x, volume = z, torch.zeros_like(z[:, :1])
        for block in self._each():
            x, volume = block(x, volume, condition, dice)
        return x, volume

    def inverse(self, x: Tensor, condition: Tensor | None) -> Tensor:
        """The z that ``transform`` maps to x."""
        for block in reversed(self._each()):
            x = block.inverse(x, condition)
        return x

    @torch.no_grad()
    def initialise(self, z: Tensor, condition: Tensor | None) -> None:
        """Set the constants from one batch: after each whitening, mean 0 and deviation 1."""
        x, volume = z, torch.zeros_like(z[:, :1])
        for block in self._each():
            block.norm.whiten(x)
            if condition is not None:
                block.condition_norm.whiten(condition)
            x, volume = block(x, volume, condition, None)

    def _each(self) -> list[CouplingBlock]:
        return cast("list[CouplingBlock]", list(self.blocks))


class Whitening(nn.Module):
    """(x - shift) exp(-log_scale), per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(channels))
        self.log_scale = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.shift[:, None, None]) * torch.exp(-self.log_scale)[:, None, None]

    def inverse(self, x: Tensor) -> Tensor:
        return x * self.log_scale.exp()[:, None, None] + self.shift[:, None, None]

    def whiten(self, x: Tensor) -> None:
        flat = x.transpose(0, 1).flatten(1)
        self.shift.copy_(flat.mean(dim=1))
        self.log_scale.copy_(flat.std(dim=1).clamp(min=1e-3).log())


class CouplingBlock(nn.Module):
    """One of the blocks; ``kept`` is the channel that the coupling leaves alone."""

    def __init__(self, condition: int, kept: int) -> None:
        super().__init__()
        self.kept, self.moved = kept, 1 - kept
        self.condition_norm = Whitening(condition)
        self.norm = Whitening(2)
        self.angle = nn.Parameter(torch.rand(()) * 2 * math.pi)
        self.net = ContextNet(1 + condition, 2 + condition, 2)
        self.gate_weight = nn.Parameter(torch.zeros(()))
        self.gate_bias = nn.Parameter(torch.zeros(()))

    def forward(
        self, x: Tensor, volume: Tensor, condition: Tensor | None, dice: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        x = functional.conv2d(self.norm(x), self._rotation(self.angle))
        constant = -self.norm.log_scale.sum()
        kept, moved = x[:, self.kept : self.kept + 1], x[:, self.moved : self.moved + 1]
        scale, shift, gate = self._figures(kept, condition, dice)
        moved = (moved * scale.exp() + shift) * gate.exp()
        return self._joined(kept, moved), volume + constant + scale + gate

    def inverse(self, x: Tensor, condition: Tensor | None) -> Tensor:
        kept, moved = x[:, self.kept : self.kept + 1], x[:, self.moved : self.moved + 1]
        scale, shift, gate = self._figures(kept, condition, None)
        moved = (moved * torch.exp(-gate) - shift) * torch.exp(-scale)
        return self.norm.inverse(functional.conv2d(self._joined(kept, moved), self._rotation(-self.angle)))

    def _figures(
        self, kept: Tensor, condition: Tensor | None, dice: torch.Generator | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        masks = None if dice is None else [dropout_mask(self.net, kept, dice)]
        seen = None if condition is None else self.condition_norm(condition)
        (figures,) = self.net(kept, (0,), seen, (0, 1), masks)
        gate = BOUND * torch.tanh(self.gate_weight * kept + self.gate_bias)
        return BOUND * torch.tanh(figures[:, :1]), figures[:, 1:], gate

    @staticmethod
    def _rotation(angle: Tensor) -> Tensor:
        cosine, sine = angle.cos(), angle.sin()
        return torch.stack([cosine, -sine, sine, cosine]).view(2, 2, 1, 1)

    def _joined(self, kept: Tensor, moved: Tensor) -> Tensor:
        return torch.cat([moved, kept] if self.kept else [kept, moved], dim=1)
