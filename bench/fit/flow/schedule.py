"""How a flow is trained: the defaults are what FlowEneDet published. No torch here: trainers are listed by it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le

from bench.api import Positive

Count = Annotated[int, Ge(1)]
Share = Annotated[float, Ge(0), Le(1)]


@dataclass(frozen=True)
class Schedule:
    """Parameters of a training. ``batch`` is all images of one step: of every device and accumulated share together."""

    iterations: Count = 50_000
    batch: Count = 1
    accumulate: Count = 1  # shares that a batch is computed in, one after the other
    rate: Positive = 1e-3
    warmup: Annotated[int, Ge(0)] = 4_000  # iterations from a millionth of the rate to the rate
    decay_every: Count = 15_000  # iterations
    decay: Annotated[float, Gt(0), Le(1)] = 0.1
    floor: Annotated[float, Ge(0)] = 1e-6  # of the rate, once warm
    weight_decay: Annotated[float, Ge(0)] = 0.01
    crop: tuple[int, int] | None = None  # None: the window of the network's inference, or 512 x 1024
    scale: tuple[float, float] = (0.5, 2.0)  # between which an image is resized
    flip: Share = 0.5
    largest_class: Share = 0.75  # a crop with more of one class is drawn again, at most ten times
    statistics: Literal["fitted", "deeplabv3plus_r101", "deeplabv3plus_r101_older", "segformer_b2", "segformer_b5"] = (
        "fitted"
    )
    statistics_images: Count = 1_000
    cache: bool = False  # run the network once over whole images; crops are then cut out of what it said
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    devices: Count = 1

    def __post_init__(self) -> None:
        if self.batch % (self.accumulate * self.devices):
            raise ValueError(
                f"batch is {self.batch}, wanted a multiple of accumulate x devices, {self.accumulate * self.devices}"
            )
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"scale is {list(self.scale)}, wanted two factors, the smaller first")
        if self.crop and min(self.crop) < 8:
            raise ValueError(f"crop is {list(self.crop)}, wanted [height, width] of at least 8")

    def rate_at(self, iteration: int) -> float:
        """The learning rate of an iteration, counted from 0."""
        regular = max(self.rate * self.decay ** (iteration // self.decay_every), self.floor)
        if iteration >= self.warmup:
            return regular
        return regular * (1 - (1 - iteration / self.warmup) * (1 - 1e-6))
