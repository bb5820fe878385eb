"""Protocols whose source rounds every score to float32 before it looks at it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.contract.protocol import Quantized
from bench.core.values import Scores


@dataclass(frozen=True)
class SinglePrecision(Quantized):
    """Scores that float32 cannot tell apart are ties, and those beyond it infinite, as in the source."""

    def quantize(self, score: Scores) -> Scores:
        with np.errstate(over="ignore"):
            return score.astype(np.float32, copy=False)
