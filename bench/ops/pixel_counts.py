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

LARGEST = 1 << 25  # cells of a table
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


def census(images: Sequence[Pixels], categories: int) -> Tensor:
    """Return int64 [images, 4]: pixels that count, pixels of a category that is none, smallest and largest key."""
    rows = []
    for keys, owners in images:
        known, ignored = owners < categories, owners == IGNORE
        ends = torch.stack(torch.aminmax(keys)) if keys.numel() else keys.new_zeros(2)
        rows.append(torch.cat([torch.stack([known.sum(), (~(known | ignored)).sum()]), ends.long()]))
    return torch.stack(rows)


def sorted_keys(images: Sequence[Pixels], categories: int) -> list[Tensor]:
    """Return the keys of each category in all images together, int32, ascending."""
    keys, owners = (torch.cat(parts) for parts in zip(*images, strict=True))
    return [torch.sort(transfer.selected(keys, owners == category)).values for category in range(categories)]


class Leading(NamedTuple):
    """Leading bits of keys, as far as they may occur."""

    first: int  # the smallest key there may be, shifted
    width: int  # how many there may be
    shift: int = 8  # bits that are left out

    @property
    def of_host(self) -> int:
        """The first as the host's keys have it."""
        return self.first - (LOWEST >> self.shift)

    def fits(self, categories: int) -> bool:
        """Return whether a table of them is small enough."""
        return categories * self.width <= LARGEST


def leading(low: int, high: int, shift: int = 8) -> Leading:
    """Return the leading bits of keys from ``low`` to ``high``; the first and the last fill 16 bits of the key."""
    per_bin = 1 << (16 - shift)
    first = low >> 16
    return Leading(first * per_bin, ((high >> 16) - first + 1) * per_bin, shift)


def table(pixels: Pixels, categories: int, span: Leading) -> Tensor:
    """Return int32 [K, width]: how many pixels of one image have each category and each of the leading bits."""
    owner = pixels.categories.long()
    cells = owner * span.width + ((pixels.keys >> span.shift) - span.first)
    cells = cells.masked_fill_(owner == IGNORE, categories * span.width)  # a cell beyond all others
    counts = pixels.keys.new_zeros(categories * span.width + 1)
    counts.scatter_add_(0, cells, counts.new_ones(1).expand(cells.numel()))
    return counts[:-1].reshape(categories, span.width)


def occupied(counts: Tensor, span: Leading) -> tuple[Tensor, Tensor]:
    """Return the cells of a table of 24 bits that are not empty, int64 [m] ascending, and what is in them.

    A cell is category * 2^24 + the leading 24 bits of the host's key.
    """
    flat = counts.reshape(-1)
    used = transfer.nonzero(flat)
    owner = torch.div(used, span.width, rounding_mode="floor")
    return (owner << 24) + (used - owner * span.width + span.of_host), flat[used]


def sorted_cells(images: Sequence[Pixels], categories: int) -> tuple[Tensor, Tensor]:
    """Return what ``occupied`` does of all images together, without a table."""
    joint = []
    for keys, owners in images:
        cells = (owners.int() << 24) + ((keys >> 8) - (LOWEST >> 8))
        joint.append(cells.masked_fill_(owners == IGNORE, categories << 24))
    values, counts = transfer.runs(torch.sort(torch.cat(joint)).values)
    valid = values < categories << 24  # all but those that are ignored, which come last
    return transfer.selected(values, valid).long(), transfer.selected(counts, valid)


def bins(counts: Tensor, span: Leading) -> tuple[Tensor, Tensor]:
    """Return the leading 16 bits in a table: the host's keys int64 [m], ascending, and counts int32 [m, K]."""
    per_bin = 1 << (16 - span.shift)
    folded = counts.reshape(len(counts), -1, per_bin).sum(dim=2, dtype=torch.int32)
    used = transfer.nonzero(folded.any(dim=0))
    return used + span.of_host // per_bin, folded[:, used].T.contiguous()
