"""``bench.Metric`` as a ``torchmetrics.Metric``: for collections, trackers and loops that are made for those."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
import torchmetrics
from torch import Tensor
from torchmetrics.utilities.distributed import gather_all_tensors

from bench.evaluate.integrations.distributed import joined

if TYPE_CHECKING:
    from bench import Metric


class TorchMetric(torchmetrics.Metric):  # type: ignore[misc] # it is not looked at where types are checked
    """Figures as tensors by name, without intervals; those that have no value are left out.

    ``update`` takes what that of ``bench.Metric`` takes. What is counted lies on the CPU, wherever the scores are; the
    figures come on the device of the metric, float64 where it has that type. Processes are synchronised as those of any
    torchmetrics metric are, and images that are only numbered are told apart by their rank.
    """

    is_differentiable = False
    full_state_update = False

    def __init__(self, metric: Metric, **settings: Any) -> None:
        """``settings`` are those of ``torchmetrics.Metric``, such as ``dist_sync_on_step``."""
        super().__init__(**settings)
        self.counted = metric.empty()
        self._merged = 0  # metrics that merge_state took

    def update(self, scores: Tensor | None, labels: Tensor, predictions: Tensor | None = None, **more: Any) -> None:
        """Count an image or a batch, as ``bench.Metric.update`` does."""
        self.counted.update(scores, labels, predictions, **more)

    def compute(self) -> dict[str, Tensor]:
        """Return the figures of all images so far."""
        dtype = torch.float32 if self.device.type == "mps" else torch.float64
        figures = self.counted.compute().to_dict()
        return {
            name: torch.tensor(value, dtype=dtype, device=self.device)
            for name, value in figures.items()
            if value is not None
        }

    @torch.jit.unused  # as theirs: a module that holds a metric can be scripted
    def forward(self, *arguments: Any, **more: Any) -> dict[str, Tensor]:
        """Count a batch, and return the figures of that batch alone."""
        self.update(*arguments, **more)
        batch = TorchMetric(self.counted, sync_on_compute=self.dist_sync_on_step).to(self.device)
        batch.update(*arguments, **more)
        figures: dict[str, Tensor] = batch.compute()
        self._forward_cache = figures
        return figures

    def reset(self) -> None:
        """Forget all images."""
        super().reset()
        self.counted.reset()
        self._merged = 0

    def merge_state(self, incoming_state: dict[str, Any] | torchmetrics.Metric) -> None:
        """Add the images of another metric of this kind."""
        if not isinstance(incoming_state, TorchMetric):
            raise ValueError(f"merge_state is given {type(incoming_state).__name__}, wanted a TorchMetric")
        self._merged += 1
        self.counted.merge(incoming_state.counted, prefix=f"merged{self._merged:05d}/")
        self._update_count += incoming_state._update_count
        self._computed = None

    def _copy_state_dict(self) -> dict[str, Any]:
        """The state that ``unsync`` puts back: ``_sync_dist`` makes another metric, and leaves this one."""
        return {"counted": self.counted}

    def _sync_dist(self, dist_sync_fn: Callable[..., Any] = gather_all_tensors, process_group: Any = None) -> None:
        content = torch.frombuffer(bytearray(pickle.dumps(self.counted)), dtype=torch.uint8).to(self.device)
        gathered: list[Tensor] = dist_sync_fn(content, group=process_group or self.process_group)
        parts = [pickle.loads(part.cpu().numpy().tobytes()) for part in gathered]  # noqa: S301 - of our own processes
        self.counted = joined(parts, prefixed=True)
