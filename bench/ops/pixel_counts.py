"""Pixels counted by category and score with torch's operations, on whatever device the scores are.

The counts are those of ``bench.counts``, bit for bit: whole numbers by the same keys. Keys are int32 here, which every
device sorts, and lie 2^31 below those of the host.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from bench.core.values import IGNORE
from bench.ops import transfer

LARGEST = 1 << 25  # cells of a table; beyond it pixels are sorted
LOWEST = -(1 << 31)  # key 0 of the host


class Pixels(NamedTuple):
    """The pixels of one image."""

    keys: Tensor  # int32 [n]
    categories: Tensor  # uint8 [n], 255 ignored


def order_keys(score: Tensor) -> Tensor:
    """Map float32 scores of any shape to int32 [n] so that a < b exactly where key(a) < key(b); -0.0 equals 0.0.

    No arithmetic of floats: denormal scores keep their bits on devices that flush them.
    """
    bits = score.reshape(-1).view(torch.int32)
    bits = bits.masked_fill(bits == LOWEST, 0)  # -0.0
    return bits ^ (bits >> 31 & 0x7FFFFFFF)


def census(images: Sequence[Pixels]) -> Tensor:
    """Return int64 [images, 258]: how many pixels have each category, then the smallest and the largest key."""
    rows = []
    for keys, categories in images:
        counts = categories.new_zeros(256, dtype=torch.int64)
        counts.scatter_add_(0, categories.long(), counts.new_ones(1).expand(categories.numel()))
        ends = torch.stack(torch.aminmax(keys)) if keys.numel() else keys.new_zeros(2)
        rows.append(torch.cat([counts, ends.long()]))
    return torch.stack(rows)


def sorted_keys(images: Sequence[Pixels], categories: int) -> list[Tensor]:
    """Return the keys of each category in all images together, int32, ascending."""
    keys, owners = (torch.cat(parts) for parts in zip(*images, strict=True))
    return [torch.sort(transfer.selected(keys, owners == category)).values for category in range(categories)]


def leading_bits(images: Sequence[Pixels], categories: int, low: int, high: int) -> tuple[Tensor, Tensor]:
    """Return the leading 24 bits of all pixels that count: cells int64 [m], ascending, and how often each occurs.

    A cell is category * 2^24 + the leading bits of the host's key. ``low`` and ``high`` are the ends of the keys.
    """
    first = low >> 8
    width = (high >> 8) - first + 1
    if categories * width > LARGEST:
        joint = [_cells(pixels, 8, LOWEST >> 8, 1 << 24, categories) for pixels in images]
        values, counts = transfer.runs(torch.sort(torch.cat(joint).int()).values)
        valid = values < categories << 24  # all but those that are ignored, which come last
        return transfer.selected(values, valid).long(), transfer.selected(counts, valid)
    table = _table(images, 8, first, width, categories)
    used = transfer.nonzero(table)
    owner = torch.div(used, width, rounding_mode="floor")
    return (owner << 24) + (used - owner * width + (first - (LOWEST >> 8))), table[used]


def image_bins(pixels: Pixels, categories: int, low: int, high: int) -> tuple[Tensor, Tensor]:
    """Return the leading 16 bits of one image: the host's keys int64 [m], ascending, and counts int32 [m, K]."""
    first = low >> 16
    width = (high >> 16) - first + 1
    table = _table([pixels], 16, first, width, categories).reshape(categories, width)
    used = transfer.nonzero(table.any(dim=0))
    return used + (first - (LOWEST >> 16)), table[:, used].T.contiguous()


def _table(images: Sequence[Pixels], shift: int, first: int, width: int, categories: int) -> Tensor:
    """Return int32 [K * width]: how many pixels have each category and each key, shifted, from ``first`` on."""
    table = images[0].keys.new_zeros(categories * width + 1)  # the last is for ignored pixels
    for pixels in images:
        cells = _cells(pixels, shift, first, width, categories)
        table.scatter_add_(0, cells, table.new_ones(1).expand(cells.numel()))
    return table[:-1]


def _cells(pixels: Pixels, shift: int, first: int, width: int, categories: int) -> Tensor:
    """Return int64 [n]: category * width + the key, shifted, from ``first`` on; one cell beyond all where ignored."""
    owner = pixels.categories.long()
    cells = owner * width + ((pixels.keys >> shift) - first)
    return cells.masked_fill_(owner == IGNORE, categories * width)
