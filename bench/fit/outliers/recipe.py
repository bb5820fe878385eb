"""What a training on outliers can be told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le

from bench.api import DatasetEntry, Positive

Count = Annotated[int, Ge(1)]


@dataclass(frozen=True)
class Recipe:
    """Published values as defaults; robin-chan/meta-ood@8657a5e, config.py and the names of its checkpoints."""

    outliers: DatasetEntry = "coco"  # any data set with anomalies
    fidelity: Literal["corrected", "reference"] = "corrected"
    outlier_weight: Annotated[float, Gt(0), Le(1)] = 0.9
    share: Annotated[float, Gt(0)] = 0.1
    epochs: Count = 4
    rate: Positive = 1e-5
    crop: Count = 480  # pixels of either side; an image with a shorter side is resized to this square
    batch: Count = 8
    accumulate: Count = 1  # shares that a batch is computed in, one after the other
    batch_norm: Literal["train", "frozen"] = "train"  # frozen: its statistics stay, its weights learn
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    devices: Count = 1
    keep: Literal["float32", "float16"] = "float32"  # how convolutions and matrices are stored

    def __post_init__(self) -> None:
        if self.batch % (self.accumulate * self.devices):
            raise ValueError(
                f"batch is {self.batch}, wanted a multiple of accumulate x devices, {self.accumulate * self.devices}"
            )

    def drawn(self, labelled: int) -> int:
        """How many outlier images an epoch has, rounded down as in the source."""
        return int(self.share * labelled)
