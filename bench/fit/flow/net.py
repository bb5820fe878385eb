"""The small network inside every block: 1 x 1, 7 x 7 and 1 x 1 convolutions, over whole maps in bounded memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

REACH = 3  # pixels to each side that a 7 x 7 convolution sees
STRIP_BYTES = {"cpu": 2**24, "cuda": 2**28}  # of one hidden map; larger strips were no faster on a CPU


class ContextNet(nn.Module):
    """Figures per pixel from some channels of x and a condition: sigmoid between layers, edges mirrored.

    The first layer is linear, so the condition goes through its share of it at the condition's own resolution and the
    outcome is upsampled, strip by strip: what is upsampled first is the same but for rounding. Without gradients the
    map is computed in strips of rows, of which each sees three rows of its neighbours: memory does not grow with the
    image beyond input and output.
    """

    def __init__(self, inputs: int, width: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, width, 1)
        self.middle = nn.Conv2d(width, width, 2 * REACH + 1)
        self.last = nn.Conv2d(width, outputs, 1)

    def forward(
        self,
        seen: Tensor,
        columns: Sequence[int],
        condition: Tensor | None,
        rows: Sequence[int],
        masks: Sequence[Tensor] | None = None,
    ) -> list[Tensor]:
        """[n, len(rows), H, W] of seen [n, k, H, W], whose channels are inputs number ``columns`` of the first layer.

        ``condition`` [n, P, h, w] is the last P inputs; the inputs in neither are 0. ``rows`` are the outputs wanted.
        ``masks`` are dropout masks [n, width, 1, 1] of the last hidden layer: one outcome each.
        """
        height, width = seen.shape[-2:]
        wide = _mirror(seen)
        weight = self.first.weight
        of_seen = weight[:, list(columns)]
        before = None if condition is None else functional.conv2d(condition, weight[:, -condition.shape[1] :])
        step = height if torch.is_grad_enabled() else self._strip(seen)
        columns_at = _mirrored(width, seen.device)
        rows_at = _mirrored(height, seen.device)
        layer = self.last.weight[list(rows)], cast("Tensor", self.last.bias)[list(rows)]
        made: list[list[Tensor]] = [[] for _ in (masks or (None,))]
        for start in range(0, height, step):
            stop = min(start + step, height)
            hidden = functional.conv2d(wide[:, :, start : stop + 2 * REACH], of_seen, self.first.bias)
            if before is not None:
                hidden = hidden + _stretched(before, rows_at[start : stop + 2 * REACH], columns_at, (height, width))
            hidden = torch.sigmoid(functional.conv2d(hidden.sigmoid(), self.middle.weight, self.middle.bias))
            for mask, strips in zip(masks or (None,), made, strict=True):
                kept = hidden if mask is None else hidden * mask
                strips.append(functional.conv2d(kept, *layer))
        return [strips[0] if len(strips) == 1 else torch.cat(strips, dim=2) for strips in made]

    def _strip(self, seen: Tensor) -> int:
        row = seen.shape[0] * self.middle.out_channels * seen.shape[-1] * 4
        return max(8, STRIP_BYTES.get(seen.device.type, STRIP_BYTES["cpu"]) // row)


def _mirror(maps: Tensor) -> Tensor:
    """[n, k, H, W] with three mirrored pixels on each side; the edge itself is not repeated."""
    height, width = maps.shape[-2:]
    return maps[:, :, _mirrored(height, maps.device)][:, :, :, _mirrored(width, maps.device)]


def _mirrored(side: int, device: torch.device) -> Tensor:
    """Which of ``side`` pixels stands at each place from -3 to side + 2; a short side is mirrored back and forth."""
    places = torch.arange(-REACH, side + REACH, device=device)
    if side == 1:
        return torch.zeros_like(places)
    places = places.remainder(2 * side - 2)
    return torch.minimum(places, 2 * side - 2 - places)


def _stretched(maps: Tensor, rows: Tensor, columns: Tensor, size: tuple[int, int]) -> Tensor:
    """Rows and columns of [n, k, h, w] upsampled to ``size``: bilinear, half-pixel centres, as torch does it."""
    return _along(_along(maps, rows, size[0], 2), columns, size[1], 3)


def _along(maps: Tensor, places: Tensor, side: int, axis: int) -> Tensor:
    own = maps.shape[axis]
    if own == side:
        return maps.index_select(axis, places)
    source = ((places.to(maps.dtype) + 0.5) * (own / side) - 0.5).clamp(min=0)
    low = source.long().clamp(max=own - 1)
    share = (source - low).view([-1 if dim == axis else 1 for dim in range(maps.ndim)])
    lower, upper = maps.index_select(axis, low), maps.index_select(axis, (low + 1).clamp(max=own - 1))
    return lower + (upper - lower) * share
