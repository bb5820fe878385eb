"""One device by torch alone, several by Lightning Fabric: what a training loop asks of either."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import torch
from torch import Tensor, nn

from bench.core.errors import BadSuite, MissingPackage


class Devices:
    """Where a training runs: here, on one device."""

    rank = 0  # 0 writes files
    count = 1  # of those that share every batch

    def __init__(self, device: str, precision: str) -> None:
        self.device = torch.device(device)
        self.dtype = getattr(torch, precision)
        if precision == "float16" and self.device.type == "cpu":
            raise BadSuite("precision is float16, which needs a GPU; say bfloat16 or float32")
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=precision == "float16")

    def prepared(self, flow: nn.Module, optimiser: torch.optim.Optimizer) -> Callable[..., Tensor]:
        """What to call in place of the flow. Every device begins with the weights of the first."""
        return flow

    def autocast(self) -> AbstractContextManager[Any]:
        """What a forward pass is wrapped in."""
        return nullcontext() if self.dtype == torch.float32 else torch.autocast(self.device.type, self.dtype)

    def quiet(self, flow: Callable[..., Tensor], more: bool) -> AbstractContextManager[Any]:
        """Around a share of a batch after which ``more`` follow: gradients add up here, nothing is sent."""
        return nullcontext()

    def backward(self, loss: Tensor) -> None:
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]

    def step(self, optimiser: torch.optim.Optimizer) -> None:
        """Change the weights and forget the gradients."""
        self.scaler.step(optimiser)
        self.scaler.update()
        optimiser.zero_grad(set_to_none=True)

    def mean(self, value: float) -> float:
        """The mean of a figure over all devices."""
        return value

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold of this."""
        return self.scaler.state_dict()

    def restore(self, state: dict[str, Any]) -> None:
        """Take it back."""
        if state:
            self.scaler.load_state_dict(state)

    def end(self) -> None:
        """Every process but the first ends here."""
        return


class Several(Devices):
    """Processes of Lightning Fabric that run this same command, one for each device."""

    def __init__(self, count: int, device: str, precision: str, *, idle: bool) -> None:
        super().__init__(device, precision)
        try:
            from lightning_fabric import Fabric
        except ImportError:
            raise MissingPackage(
                f"devices is {count}: several devices need Lightning Fabric, which is not installed; "
                'pip install "ood-seg-bench[train]", or say devices: 1'
            ) from None
        kinds = {"float32": "32-true", "bfloat16": "bf16-mixed", "float16": "16-mixed"}
        kind = self.device.type
        strategy = "ddp_find_unused_parameters_true" if idle else "ddp"
        self.fabric = Fabric(accelerator=kind, devices=count, strategy=strategy, precision=kinds[precision])
        self.fabric.launch()
        self.rank, self.count, self.device = self.fabric.global_rank, self.fabric.world_size, self.fabric.device

    def prepared(self, flow: nn.Module, optimiser: torch.optim.Optimizer) -> Callable[..., Tensor]:
        wrapped, self._optimiser = self.fabric.setup(flow, optimiser)
        return cast("Callable[..., Tensor]", wrapped)

    def autocast(self) -> AbstractContextManager[Any]:
        return cast("AbstractContextManager[Any]", self.fabric.autocast())

    def quiet(self, flow: Callable[..., Tensor], more: bool) -> AbstractContextManager[Any]:
        return cast("AbstractContextManager[Any]", self.fabric.no_backward_sync(flow, enabled=more))

    def backward(self, loss: Tensor) -> None:
        self.fabric.backward(loss)

    def step(self, optimiser: torch.optim.Optimizer) -> None:
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)

    def mean(self, value: float) -> float:
        return float(self.fabric.all_reduce(torch.tensor(value, device=self.device), reduce_op="mean"))

    def state(self) -> dict[str, Any]:
        return {}

    def end(self) -> None:
        self.fabric.barrier()
        if self.rank:
            sys.exit(0)


def on(count: int, device: str, precision: str, *, idle: bool = False) -> Devices:
    """That many devices of a kind; ``idle``: there may be parameters that take no part in the loss."""
    return Devices(device, precision) if count == 1 else Several(count, device, precision, idle=idle)
