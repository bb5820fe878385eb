"""Two filters of score maps: a Gaussian, and suppression of scores at class boundaries with dilated smoothing.

Both are linear in the score for given labels, so that it does not matter which of its ends is the suspicious one. On a
CPU compiled loops do the work where ``fused`` is set, torch does it anywhere; the two differ by rounding at most.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

TAPS = np.exp(-0.5 * np.arange(-3, 4, dtype=np.float64) ** 2)
TAPS = (TAPS / TAPS.sum()).astype(np.float32)  # a Gaussian of standard deviation 1 pixel, cut off at 3
RADII = (3, 2, 1, 0)  # boundary width 4 in 4 iterations
DILATION = 6

Places = Callable[[int, int], NDArray[np.int64]]


def gaussian(score: Tensor, *, fused: bool = False) -> Tensor:
    """Filter float32 [H, W] by 7 x 7 Gaussian weights of standard deviation 1; beyond the edges it is mirrored.

    The edge itself is not repeated (2, 1, 0, 1, 2). A side shorter than the filter is mirrored back and forth, and a
    side of one pixel is repeated.
    """
    return _blur(score, 1, _mirrored, fused=fused)


def boundary(score: Tensor, labels: Tensor, *, fused: bool = False) -> Tensor:
    """Replace float32 [H, W] scores near boundaries of the uint8 [H, W] class map by those around, then smooth.

    Networks are unsure between two classes for no other reason than that one ends there. Boundary pixels are those
    whose largest class id among the 4 neighbours and itself differs from the smallest among all 8 and itself; ids are
    compared as numbers, so that a corner that touches a smaller id across a diagonal counts and one that touches a
    larger id does not. For a distance of 3, then 2, 1 and 0 in the 4-neighbourhood: every pixel so near to a boundary
    gets the mean of the pixels further off among its 3 x 3, and keeps what it has if there is none. Then a 7 x 7
    Gaussian of standard deviation 1 whose taps lie 6 pixels apart. Beyond the edges of the image the edge is repeated;
    images of any size will do.

    Source: Jung et al., Standardized Max Logits, arXiv:2107.11264, section 3.3, in the form that FlowEneDet ships.
    """
    if fused and score.device.type == "cpu":
        from bench.ops import suppression  # numba takes a second, and torch alone does without it

        kept = torch.from_numpy(suppression.suppress(score.contiguous().numpy(), labels.contiguous().numpy()))
    else:
        kept = _suppress(score, labels)
    return _blur(kept, DILATION, _repeated, fused=fused)


def _blur(score: Tensor, step: int, places: Places, *, fused: bool) -> Tensor:
    """Filter down the columns, then along the rows. ``places`` says what stands beyond the edges."""
    rows, columns = (places(side, 3 * step) for side in score.shape)
    if fused and score.device.type == "cpu":
        from bench.ops import suppression

        return torch.from_numpy(suppression.blur(score.contiguous().numpy(), rows, columns, TAPS, step))
    down = _taps(score[torch.from_numpy(rows).to(score.device, non_blocking=True)], step)
    return _taps(down[:, torch.from_numpy(columns).to(score.device, non_blocking=True)].T, step).T


def _taps(padded: Tensor, step: int) -> Tensor:
    """Weighted sum of 7 rows ``step`` apart. No convolution: on a GPU those may round their inputs to 10 bits."""
    length = padded.shape[0] - 6 * step
    rows = [padded[tap * step : tap * step + length] for tap in range(7)]
    far, further, furthest = (float(TAPS[tap]) for tap in (2, 1, 0))
    pairs = rows[2] + rows[4], rows[1] + rows[5], rows[0] + rows[6]
    return float(TAPS[3]) * rows[3] + far * pairs[0] + further * pairs[1] + furthest * pairs[2]


def _mirrored(side: int, reach: int) -> NDArray[np.int64]:
    if side == 1:
        return np.zeros(1 + 2 * reach, np.int64)
    at = np.arange(-reach, side + reach) % (2 * side - 2)
    return np.where(at < side, at, 2 * side - 2 - at)


def _repeated(side: int, reach: int) -> NDArray[np.int64]:
    return np.clip(np.arange(-reach, side + reach), 0, side - 1)


def _suppress(score: Tensor, labels: Tensor) -> Tensor:
    grey = labels[None, None].float()
    near = _cross(grey) + functional.max_pool2d(-grey, 3, 1, 1) != 0  # largest of the cross, smallest of the square
    reached = {0: near}
    for radius in range(1, max(RADII) + 1):
        reached[radius] = _cross(reached[radius - 1].float()) != 0
    for radius in RADII:
        near = reached[radius][0, 0]
        count = _sum_of_nine((~near).float())
        mean = _sum_of_nine(score.masked_fill(near, 0.0)) / count
        score = torch.where(near & (count > 0), mean, score)
    return score


def _cross(grey: Tensor) -> Tensor:
    """The largest among each pixel and its 4 neighbours, of [1, 1, H, W]."""
    along = functional.max_pool2d(grey, (1, 3), 1, (0, 1))
    return functional.max_pool2d(grey, (3, 1), 1, (1, 0)).maximum(along)


def _sum_of_nine(plane: Tensor) -> Tensor:
    height, width = plane.shape
    padded = functional.pad(plane[None, None], (1, 1, 1, 1), mode="replicate")[0, 0]
    total = torch.zeros_like(plane)
    for offset in range(9):
        top, left = divmod(offset, 3)
        total += padded[top : top + height, left : left + width]
    return total
