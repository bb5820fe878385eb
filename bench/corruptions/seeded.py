"""``bench.corrupt``: one image, from a seed."""

from __future__ import annotations

from numpy.random import RandomState

from bench import corruptions
from bench.corruptions import Image


def corrupt(image: Image, name: str, *, severity: int, seed: int = 0, id: str = "") -> Image:
    """Return a corrupted copy of an image, uint8 [H, W, 3], RGB, at a severity from 1 to 5.

    The same pixels as those of a suite's data set, under its seed, for a sample of that ``id``. Raises UnknownName for
    a corruption that there is not, BadPlugin for an image or a severity that is something else, and MissingPackage
    where the extra ``corruptions`` is needed and not installed.
    """
    return corruptions.corrupt(image, name, severity, RandomState(corruptions.seed_of(seed, id, name, severity)))
