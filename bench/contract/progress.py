"""Who is told how far work is; ``bench.run.progress`` has the one that people watch."""

from __future__ import annotations

from typing import Protocol


class Reporter(Protocol):
    """Told by whoever goes over images."""

    def begin(self, images: int) -> None:
        """So many images will be looked at in all."""

    def stage(self, label: str) -> None:
        """What is being done from now on."""

    def advance(self, images: int) -> None:
        """So many more images are done."""

    def tell(self, line: str) -> None:
        """Something that a person should know while the work goes on."""
