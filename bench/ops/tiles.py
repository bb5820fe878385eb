"""Outputs of several views as one map each, made where somebody asks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from torch import Tensor

from bench.ops import dense

Window = tuple[int, int, int, int]  # top, left, bottom, right


class Lazy(Mapping[str, Tensor]):
    """Named outputs that are made when somebody asks for them: features of 256 channels are 2 GB at label size."""

    def __init__(self, makers: Mapping[str, Callable[[], Tensor]]) -> None:
        self._makers = makers
        self._made: dict[str, Tensor] = {}

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._made:
            self._made[name] = self._makers[name]()
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


class Tiles(Lazy):
    """The named outputs of several windows of one image; where windows overlap, their outputs are averaged.

    ``tiles[name]`` is float32 [C, H, W] or [H, W] over the whole image. The compiled reduction reads ``parts`` instead
    and never makes that map.
    """

    def __init__(self, windows: Sequence[Window], parts: Sequence[Mapping[str, Tensor]], size: tuple[int, int]) -> None:
        """``parts[i]`` covers ``windows[i]`` of an image of ``size`` (H, W), at any resolution."""
        super().__init__({name: partial(self._whole, name) for name in parts[0]})
        self.windows, self.parts, self.size = windows, parts, size

    def _whole(self, name: str) -> Tensor:
        return average(self.windows, [part[name] for part in self.parts], self.size)


def average(windows: Sequence[Window], maps: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
    """Maps of windows, [C, h, w] or [h, w] at any resolution each, as one map of the whole image at its ``size``."""
    first = maps[0]
    if len(maps) == 1:
        return first
    total = first.new_zeros(*first.shape[:-2], *size)
    seen = first.new_zeros(size)
    for (top, left, bottom, right), tile in zip(windows, maps, strict=True):
        total[..., top:bottom, left:right] += dense.resize(tile, (bottom - top, right - left))
        seen[top:bottom, left:right] += 1
    return total.div_(seen)
