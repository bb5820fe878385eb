"""At which size a network sees an image: edges, multiples, padding and windows, from (h, w) alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from itertools import product
from math import ceil
from typing import Any

from bench.api import Inference

Size = tuple[int, int]  # height, width


def resized(size: Size, inference: Inference, scale: float = 1.0) -> Size:
    """Return the size that an image of ``size`` is resized to at a scale, before it is filled up."""
    height, width = inference.size or _kept(size, inference)
    step = inference.multiple
    sides = int(height * scale), int(width * scale)
    if inference.fit == "pad" or step == 1:
        return sides
    high, wide = (max(1, _count(side / step, inference.fit)) * step for side in sides)
    return high, wide


def _count(steps: float, fit: str) -> int:
    return ceil(steps) if fit == "up" else round(steps) if fit == "nearest" else int(steps)


def _kept(size: Size, inference: Inference) -> Size:
    """Return a size of the same proportions; its arithmetic is that of transformers' ``get_size_with_aspect_ratio``."""
    short, long = min(size), max(size)
    edge, cap = inference.shortest, inference.longest
    if edge is None and cap is not None:
        sides = round(cap * short / long), cap
    elif edge is None:
        return size
    else:
        exact: float = edge
        if cap is not None and long / short * edge > cap:
            exact = cap * short / long
        if short == round(exact):
            return size
        sides = round(exact), int(exact * long / short)
    return sides if size[0] <= size[1] else (sides[1], sides[0])


def padded(size: Size, inference: Inference) -> Size:
    """Return the size that a resized image is filled up to."""
    least = inference.pad or (1, 1)
    step = inference.multiple if inference.fit == "pad" else 1
    high, wide = (max(ceil(side / step) * step, low) for side, low in zip(size, least, strict=True))
    return high, wide


def windows(size: Size, inference: Inference) -> list[tuple[int, int, int, int]]:
    """Return top, left, bottom and right of each window.

    Their last row and column are moved inwards to end at the far edge, as in the grid of the source system's slide
    inference (specification of FED, 0.3); evenly spaced ones begin at the whole pixel before, as in EoMT's.
    """
    if inference.window is None:
        return [(0, 0, *size)]
    strides = inference.stride or inference.window
    start = _even if inference.spacing == "even" else _in_strides
    starts = [start(*axis) for axis in zip(size, inference.window, strides, strict=True)]
    return [
        (top, left, min(top + inference.window[0], size[0]), min(left + inference.window[1], size[1]))
        for top, left in product(*starts)
    ]


def _in_strides(side: int, window: int, stride: int) -> list[int]:
    count = max(side - window + stride - 1, 0) // stride + 1
    return [min(index * stride, max(side - window, 0)) for index in range(count)]


def _even(side: int, window: int, _: int) -> list[int]:
    count = ceil(side / window)
    shared = (count * window - side) / (count - 1) if count > 1 else 0
    return [int(index * (window - shared)) for index in range(count)]


INSTEAD = {
    "size": ("shortest", "longest"),
    "shortest": ("size",),
    "longest": ("size",),
    "window": ("stride", "spacing"),
    "stride": ("spacing",),
}
"""What a declared field of an inference takes the place of, of those that a network has of its own."""


def completed(own: Inference) -> Callable[[Any], Any]:
    """Return what fills up the inference that a suite declares: what it does not say stays as the network has it."""

    def filled(declared: Any) -> Any:
        if not isinstance(declared, dict):
            return declared
        gone = {other for name in declared for other in INSTEAD.get(name, ())}
        kept = {name: value for name, value in asdict(own).items() if name not in gone}
        # Behind this, pydantic takes Python's types to the letter: a pair is a tuple.
        return {name: tuple(value) if isinstance(value, list) else value for name, value in (kept | declared).items()}

    return filled
