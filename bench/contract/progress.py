"""The interface by which work over images reports how far it is; ``bench.run.progress`` implements it for people."""

from __future__ import annotations

from typing import Protocol


class Reporter(Protocol):
    """Is told by code that goes over images how far it is."""

    def begin(self, images: int) -> None:
        """Add to the number of images that are ahead."""

    def stage(self, label: str) -> None:
        """Name the work that begins now."""

    def advance(self, images: int) -> None:
        """Count images that are done."""

    def tell(self, line: str) -> None:
        """Pass on a line that a person should read while the work goes on."""
