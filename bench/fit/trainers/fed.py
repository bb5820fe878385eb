"""Train the flows of FED-U and FED-C."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.api import Dataset, LongTrainer, Method, State, TrainingContext
from bench.fit.flow.schedule import Schedule


@dataclass(frozen=True)
class Fed(Schedule, LongTrainer):
    """Cross-entropy of "wrong" against "right", pixel by pixel, on a network that stays as it is.

    The flow runs at the network's resolution; its log-scores are upsampled to the labels. A pixel is wrong where the
    label is not the network's class. The defaults are the published schedule: AdamW, warm-up, steps, random scales,
    crops and mirror images.

    A method of ``fidelity: corrected`` ignores void pixels and sees the network as it is evaluated. With
    ``fidelity: reference`` void pixels and padding are positives, and the network's batch normalisation works with the
    statistics of each batch and its stochastic depth is on, as in the source; no weight of it moves either way.
    """

    name = "fed"
    source = "Gudovskiy et al., arXiv:2305.09610; the schedule of gudovskiy/flowenedet"

    def images(self, data: Dataset) -> int:
        fitted = min(self.statistics_images, data.count) if self.statistics == "fitted" else 0
        return fitted + self.iterations * self.batch

    def train(self, method: Method, context: TrainingContext) -> tuple[State, Mapping[str, Any]]:
        from bench.fit.flow import loop

        return loop.train(self, method, context)
