"""Pixels counted where the network ran: the plane for devices, and one image as it is seen there.

Scores, categories and counts are tensors that nobody waits for until the images of a shard are counted together. What
must be on the host, such as the map of a protocol that looks at it, is copied there by ``bench.ops.transfer``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.api import Labels, Protocol, Row, Sample, Scores
from bench.core.sharing import read_only
from bench.counts.plane import Plane
from bench.counts.tally import CROWDED, Tally
from bench.metrics.accumulate import Counted, ScoredImage, Truth
from bench.metrics.category_tables import table_of
from bench.ops import pixel_counts, transfer

TOGETHER = 1 << 25  # pixels that wait at most, 5 bytes each; the images of a default shard have 2^23
NUMBERS = count()


@dataclass(frozen=True, eq=False)
class DevicePixels:
    """The pixels of one image on the device."""

    keys: Tensor  # int32 [n]
    categories: Tensor  # uint8 [n]
    n_categories: int
    refuse: Callable[[], None]  # raises if the protocol refuses the image, as it does on the host
    number: int = field(default_factory=lambda: next(NUMBERS))
    made: dict[tuple[int, ...], Any] = field(default_factory=dict)  # by the numbers of a shard that begins with it


class DevicePlane(Plane[DevicePixels]):
    """torch's operations, on the images of a shard together; see ``bench.ops.pixel_counts``."""

    together = TOGETHER

    def count(self, images: Sequence[DevicePixels], tally: Tally) -> list[Row]:
        first, numbers = images[0], tuple(image.number for image in images)
        if numbers not in first.made:
            first.made[numbers] = _Shard(images)
        shard: _Shard = first.made[numbers]
        exact = tally.exact and 4 * (tally.pixels + shard.pixels) <= tally.budget
        state = np.array([tally.categories, tally.budget, 32 if exact else 24, shard.pixels], np.int64)
        tally.merge(Tally.from_arrays({"tally": state, **(shard.whole_keys if exact else shard.leading_bits)}))
        return [dict(row) for row in shard.rows]


DEVICE = DevicePlane()


class _Shard:
    """The images of a shard, each thing made once and copied to the host: keys and counts as ``Tally.arrays`` has them.

    Protocols that count the same pixels share it.
    """

    def __init__(self, images: Sequence[DevicePixels]) -> None:
        self._categories = images[0].n_categories
        self._images = [pixel_counts.Pixels(image.keys, image.categories) for image in images]
        census = transfer.to_host(pixel_counts.census(self._images, self._categories))
        for image, (_, refused, _, _) in zip(images, census, strict=True):
            if refused:
                image.refuse()
        self.pixels = int(census[:, 0].sum())
        low, high = int(census[:, 2].min()), int(census[:, 3].max())
        self._span = pixel_counts.leading(low, high)
        self._total: Tensor | None = None  # the table of 24 bits of all images, where it fits
        span = self._span if self._span.fits(self._categories) else pixel_counts.leading(low, high, 16)
        parts: list[Tensor] = []
        for pixels in self._images:
            table = pixel_counts.table(pixels, self._categories, span)
            parts.extend(pixel_counts.bins(table, span))
            if span is self._span:
                self._total = table if self._total is None else self._total.add_(table)
        arrays = transfer.all_to_host(parts)
        self.rows = list(map(self._row, self._images, arrays[::2], arrays[1::2]))

    def _row(self, pixels: pixel_counts.Pixels, keys: NDArray[Any], counts: NDArray[Any]) -> Row:
        """Return the table of ``Keyed.bins``."""
        bits = 16
        if 0 < keys.size < CROWDED:
            bits, keys, counts = _finer(pixels, self._categories)
        return {
            "bins": keys.astype(np.uint32) << np.uint32(32 - bits),
            "bin_counts": np.ascontiguousarray(counts, np.uint32),
            "bin_bits": np.array(bits, np.uint8),
        }

    @cached_property
    def whole_keys(self) -> dict[str, NDArray[Any]]:
        columns = transfer.all_to_host(pixel_counts.sorted_keys(self._images, self._categories))
        ends = np.cumsum([column.size for column in columns]).astype(np.int64)
        keys = np.concatenate(columns).view(np.uint32) ^ np.uint32(1 << 31)
        return {"keys": keys, "ends": ends, "counts": np.empty(0, np.uint32)}

    @cached_property
    def leading_bits(self) -> dict[str, NDArray[Any]]:
        if self._total is None:
            parts = pixel_counts.sorted_cells(self._images, self._categories)
        else:
            parts = pixel_counts.occupied(self._total, self._span)
        cells, counts = transfer.all_to_host(parts)
        ends = np.searchsorted(cells, np.arange(1, self._categories + 1) << 24)
        keys = (cells & 0xFFFFFF).astype(np.uint32)
        return {"keys": keys, "ends": ends.astype(np.int64), "counts": counts.astype(np.uint32)}


def _finer(pixels: pixel_counts.Pixels, categories: int) -> tuple[int, NDArray[Any], NDArray[Any]]:
    """Bits, keys [m] ascending and counts [m, K] of an image whose scores crowd into few keys of 16 bits."""
    cells, counts = transfer.all_to_host(pixel_counts.sorted_cells([pixels], categories))
    for bits in (20, 24):
        keys, at = np.unique((cells & 0xFFFFFF) >> (24 - bits), return_inverse=True)
        if keys.size >= CROWDED:
            break
    table = np.zeros((keys.size, categories), np.int64)
    np.add.at(table, (at, cells >> 24), counts)
    return bits, keys, table


class Tables:
    """The categories of protocols by the values of a pixel, on the device: made once for all images."""

    def __init__(self) -> None:
        self._made: list[tuple[Protocol, tuple[bytes, Tensor] | None]] = []

    def of(self, protocol: Protocol, device: torch.device) -> tuple[bytes, Tensor] | None:
        """Return the table as bytes, to compare, and as uint8 [256] or [65536]; None where categories are no table."""
        for known, table in self._made:
            if known is protocol:
                return table
        made = table_of(protocol)
        table = None if made is None else (made.tobytes(), transfer.to_device(made.reshape(-1), device))
        self._made.append((protocol, table))
        return table


class DeviceTruth(Truth):
    """One image under one class map, which is a tensor and gets to the host where somebody looks at it there."""

    def __init__(self, sample: Sample, classes: Tensor | None, tables: Tables) -> None:
        """``classes``: uint8 [H, W]."""
        super().__init__(sample, None)
        self.classes = classes
        self._tables = tables
        self._sent: dict[str, Tensor] = {}  # labels and anomaly mask, by name
        self._looked_up: dict[bytes, Tensor] = {}
        self._copy: transfer.HostCopy | None = None

    def under(self, classes: Tensor) -> DeviceTruth:
        """Return the same image under another class map."""
        other = DeviceTruth(self.sample, classes, self._tables)
        other._sent = self._sent
        return other

    def fetch(self) -> None:
        """Have the class map copied to the host beside what is computed next."""
        if self._copy is None and self.classes is not None:
            self._copy = transfer.HostCopy(self.classes)

    @property
    def predicted(self) -> Labels | None:
        self.fetch()
        return None if self._copy is None else read_only(self._copy.array())

    def looked_up(self, protocol: Protocol, device: torch.device) -> Tensor | None:
        """Return the categories of a protocol, uint8 [n], one tensor for equal ones; None where they are no table."""
        absent = any(getattr(self.sample, truth) is None for truth in protocol.truths)
        if absent or ("prediction" in protocol.needs and self.classes is None):
            return None  # the protocol says so itself
        table = self._tables.of(protocol, device)
        if table is None:
            return None
        content, values = table
        if content not in self._looked_up:
            if "prediction" in protocol.needs:
                assert self.classes is not None  # noqa: S101 - as above
                at = self._on("labels", device).int() << 8 | self.classes.reshape(-1)
            else:
                at = self._on("anomaly", device).int()
            self._looked_up[content] = values.index_select(0, at)
        return self._looked_up[content]

    def _on(self, name: str, device: torch.device) -> Tensor:
        if name not in self._sent:
            self._sent[name] = transfer.to_device(getattr(self.sample, name), device).reshape(-1)
        return self._sent[name]


class DeviceImage(ScoredImage):
    """The map of one method for one image on the device, counted there for protocols whose categories are a table."""

    def __init__(
        self, truth: DeviceTruth, score: Tensor, check: Callable[[Scores], None], confidence: Callable[[Scores], Scores]
    ) -> None:
        """``score``: float32 [H, W]. ``check`` is told of it once it is on the host; it may refuse it."""
        super().__init__(truth, _Fetched(score, check, confidence))
        self._truth, self._score = truth, score
        self._keys: Tensor | None = None

    def counts_here(self, protocol: Protocol) -> bool:
        """Return whether a protocol is counted on the device."""
        return self._categories(protocol) is not None

    def fetch(self, protocol: Protocol) -> None:
        """Have what a protocol looks at on the host copied there beside what is computed next."""
        if protocol.reads is not None:
            self._maps.fetch()  # type: ignore[attr-defined]
        if "prediction" in protocol.needs:
            self._truth.fetch()

    def row(self, protocol: Protocol) -> Row:
        return {} if self.counts_here(protocol) else super().row(protocol)

    def counted(self, protocol: Protocol) -> Counted | None:
        categories, number = self._categories(protocol), len(protocol.category_names)
        if categories is None:
            return super().counted(protocol)
        for known in self._counted:
            if known.categories is categories and known.keyed.n_categories == number:
                return known
        if self._keys is None:
            self._keys = pixel_counts.order_keys(self._score)
        pixels = DevicePixels(self._keys, categories, number, lambda: self._refuse(protocol))
        self._counted.append(Counted(self._score, categories, pixels, self._score.numel(), DEVICE))
        return self._counted[-1]

    def _categories(self, protocol: Protocol) -> Tensor | None:
        return self._truth.looked_up(protocol, self._score.device) if protocol.reads == "score" else None

    def _refuse(self, protocol: Protocol) -> None:
        """Count the image on the host, which says what is wrong with it."""
        super().counted(protocol)


class _Fetched(Mapping[str, Scores]):
    """The maps of one method by what protocols read, on the host once somebody reads them."""

    def __init__(self, score: Tensor, check: Callable[[Scores], None], confidence: Callable[[Scores], Scores]) -> None:
        self._score, self._check, self._confidence = score, check, confidence
        self._copy: transfer.HostCopy | None = None
        self._made: dict[str, Scores] = {}

    def fetch(self) -> None:
        if self._copy is None:
            self._copy = transfer.HostCopy(self._score)

    def __getitem__(self, name: str) -> Scores:
        if name not in ("score", "confidence"):
            raise KeyError(name)
        if name not in self._made:
            if name == "confidence":
                self._made[name] = self._confidence(self["score"])
            else:
                self.fetch()
                assert self._copy is not None  # noqa: S101 - just begun
                array: Scores = self._copy.array()
                self._check(array)
                self._made[name] = array
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(("score", "confidence"))

    def __len__(self) -> int:
        return 2
