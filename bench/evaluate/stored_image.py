"""One map made elsewhere, as each protocol takes it."""

from __future__ import annotations

import numpy as np

from bench.api import Protocol, Quantized, Scores
from bench.core.errors import BadScores
from bench.evaluate import files as score_files
from bench.evaluate.files import Map
from bench.metrics.accumulate import ScoredImage, Truth


class StoredImage(ScoredImage):
    """A stored map, brought to the size of its labels as each protocol does it.

    ``place`` names it in a complaint, and ``cure`` says there what to do about a map that is smaller than its labels.
    """

    def __init__(
        self,
        truth: Truth,
        place: object,
        stored: Map,
        *,
        resize: bool = False,
        cure: str = "or let --resize upsample them",
    ) -> None:
        super().__init__(truth, dict.fromkeys(("score", "confidence"), stored.values))  # whichever the protocols read
        self.place, self.stored = place, stored
        self._resize, self._cure = resize, cure

    @property
    def smaller(self) -> bool:
        """The map is smaller than its labels."""
        return self.stored.values.shape != self.truth.sample.size

    def taken(self, protocol: Protocol, score: Scores) -> Scores:
        size = self.truth.sample.size
        if isinstance(protocol, Quantized) and protocol.levels and self.stored.dtype.kind in "ui":
            score = self._of_levels(protocol, score)
        if not self.smaller:
            return super().taken(protocol, score)
        if isinstance(protocol, Quantized) and protocol.resizes:  # stored as its board stores it, then upsampled
            return score_files.upsampled(super().taken(protocol, score), size)
        if not self._resize:
            raise BadScores(
                f"{self.place} is {list(score.shape)}, its labels are {list(size)}; write maps at label size,"
                f" {self._cure}"
            )
        return super().taken(protocol, self.shared(score_files.upsampled(score, size)))

    def _of_levels(self, protocol: Quantized, score: Scores) -> Scores:
        """The meaning of stored whole numbers."""
        low, high = int(score.min()), int(score.max())
        if self.stored.dtype.itemsize == 1 or low < 0 or high >= protocol.levels:
            raise BadScores(
                f"{self.place} holds {self.stored.dtype} from {low} to {high}; {protocol.name} reads whole numbers of"
                f" 16 bits, 0 to {protocol.levels - 1}, or fractions from 0 to 1"
            )
        return ((score + np.float32(0.5)) / np.float32(protocol.levels)).astype(np.float32, copy=False)
