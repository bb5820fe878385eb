"""Where the pixels of maps become counts: on the host, by compiled loops, or on the device of the network.

Both are given scores and categories and leave a tally and the bins of each image. For equal scores these are equal, bit
for bit, so that no figure depends on the plane that its pixels were counted on.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, TypeVar

from bench.core.values import Row
from bench.counts.tally import Keyed, Tally

Pixels = TypeVar("Pixels")


class Plane(ABC, Generic[Pixels]):
    """Counts the pixels of images, ``Pixels`` of one each."""

    together = 0  # pixels up to which images wait to be counted together; 0: each is counted when it comes

    @abstractmethod
    def count(self, images: Sequence[Pixels], tally: Tally) -> list[Row]:
        """Add the pixels of some images to a tally, and return ``bins`` of each: what the bootstrap resamples."""


class HostPlane(Plane[Keyed]):
    """The compiled loops, image by image."""

    def count(self, images: Sequence[Keyed], tally: Tally) -> list[Row]:
        for keyed in images:
            tally.add(keyed)
        return [keyed.bins() for keyed in images]


HOST = HostPlane()
