"""Values that the whole house shares: label and score arrays, figures and what they mean.

Every array is one image, never a batch. H and W are the pixels of the label image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

IGNORE = 255  # label value of a pixel that counts nowhere
Labels = NDArray[np.uint8]  # [H, W]
Scores = NDArray[np.float32]  # [H, W]; higher is more suspicious; finite
State = Mapping[str, NDArray[Any]]  # what fitting left behind; empty for a method that was not fitted
Row = Mapping[str, NDArray[Any]]  # figures of one image
Rows = Mapping[str, Row]  # by sample id, in the order of the ids
Quantity = float | Literal["top", "margin"]
"""A reduction of the logits over their classes: the largest and its class, its lead, or the sums over the others at a
temperature."""


@dataclass(frozen=True, slots=True)
class Undefined:
    """A figure that has no value here, and why. Never 0, -1 or NaN."""

    reason: str


@dataclass(frozen=True, slots=True)
class Value:
    """A figure, how exactly it is known and how far the sample of images lets it vary."""

    value: float
    err: float = 0.0  # certified half-width of the computation; 0 is exact
    lo: float | None = None  # 2.5 and 97.5 percentiles of the bootstrap; None where none was made
    hi: float | None = None

    def __float__(self) -> float:
        return self.value


@dataclass(frozen=True, slots=True)
class Metric:
    """The meaning of a figure. The identifier it stands under is its definition, not a label."""

    title: str
    definition: str
    better: Literal["higher", "lower", "neither"] = "higher"
    unit: Literal["rate", "number"] = "rate"  # a rate lies in [0, 1] and is shown in percent

    @property
    def limits(self) -> tuple[float, float]:
        """The least and the largest value that the figure can have."""
        return (0.0, 1.0) if self.unit == "rate" else (-inf, inf)

    @property
    def in_percent(self) -> bool:
        """True for a rate with a direction, which people read in percent; thresholds and counts are as they are."""
        return self.unit == "rate" and self.better != "neither"


@dataclass(frozen=True, slots=True)
class SignedRate(Metric):
    """A rate that lies in [-1, 1]."""

    @property
    def limits(self) -> tuple[float, float]:
        """The least and the largest value that the figure can have."""
        return -1.0, 1.0
