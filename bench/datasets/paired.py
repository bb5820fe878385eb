"""Readers of sets whose images and masks lie ready: what differs among them is said in a few lines each."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from bench.core.listing import Location, Names
from bench.datasets import archives, sides
from bench.datasets.frames import Frame
from bench.datasets.masked import Masked
from bench.datasets.sides import Ready


@dataclass(frozen=True)
class Paired(Masked):
    """A data set of which every image lies below one folder and its mask below another."""

    location: ClassVar[Location]

    @property
    @abstractmethod
    def ready(self) -> Ready:
        """The folders of images and masks, and what their files are named and hold."""

    @property
    def annotations(self) -> frozenset[str]:
        return frozenset({"anomaly"})

    @property
    def obtain(self) -> str:
        return archives.obtain(self.name)

    def described(self, frame: Frame) -> Frame:
        """Return the frame with its group and tags, as far as its name tells."""
        return frame

    def scan(self) -> Sequence[Frame]:
        ready = self.ready
        if self.location.find(*ready.images) is None:
            contents = " and ".join(f"{_spelled(chain)}/" for chain in dict.fromkeys((ready.images, ready.masks)))
            wanted = self.location.wanted(*ready.images)
            raise sides.absent(wanted, self.location, contents, self.obtain, self.instead)
        return [self.described(frame) for frame in ready.scan(self.location, self.count, self.frames, self.obtain)]

    @property
    def instead(self) -> str:
        """Return in words what the folder holds in place of what is wanted; empty if that is not known."""
        return ""


@dataclass(frozen=True)
class Repacked(Paired):
    """Sets that a third party has packed alike: their figures share no row with those of the publishers' files."""

    @property
    def layout(self) -> str:
        """The description that stands where others say "official"."""
        return "repacked, not official"


def _spelled(chain: tuple[Names, ...]) -> str:
    return "/".join(names if isinstance(names, str) else names[0] for names in chain)
