"""The one place where tensors leave the device that the network runs on, and where arrays get there.

Elsewhere work is queued on the device, and nobody waits for it: ``.cpu()``, ``.numpy()``, ``.item()`` or the truth of a
tensor would hold up all that comes after. A test walks every method and every protocol and fails where one is called.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class HostCopy:
    """A tensor on its way to the host. On a GPU the copy is made beside what is computed next.

    On a CPU the array shares the memory of the tensor.
    """

    def __init__(self, tensor: Tensor) -> None:
        self._arrived: torch.cuda.Event | None = None
        source = tensor.detach()
        if source.device.type != "cuda":
            self._held = source.cpu()
            return
        self._held = torch.empty(source.shape, dtype=source.dtype, pin_memory=True)
        beside = _copying_stream(source.device)
        beside.wait_stream(torch.cuda.current_stream(source.device))
        with torch.cuda.stream(beside):
            self._held.copy_(source, non_blocking=True)
            self._arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._arrived.record(beside)
        source.record_stream(beside)  # its memory is nobody else's until the copy is made

    def array(self) -> NDArray[Any]:
        """Return the values, once they have arrived."""
        if self._arrived is not None:
            self._arrived.synchronize()
            self._arrived = None
        array: NDArray[Any] = self._held.numpy()
        return array


@lru_cache
def _copying_stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


def to_host(tensor: Tensor) -> NDArray[Any]:
    """Return the values of a tensor, waiting for them."""
    return HostCopy(tensor).array()


def all_to_host(tensors: Sequence[Tensor]) -> list[NDArray[Any]]:
    """Return the values of some tensors, all of which are on their way before the first is waited for."""
    copies = [HostCopy(tensor) for tensor in tensors]
    return [copy.array() for copy in copies]


def image_to_device(array: NDArray[np.uint8], device: torch.device) -> Tensor:
    """Return the pixels of an image as uint8 of the same shape.

    A GPU gets them beside what is computed, and what is queued from then on waits for them; on a CPU the tensor may
    share the memory of the array.
    """
    if device.type != "cuda":
        return torch.from_numpy(array).to(device)
    beside, current = _copying_stream(device), torch.cuda.current_stream(device)
    with torch.cuda.stream(beside):
        pixels = to_device(array, device)
    current.wait_stream(beside)
    pixels.record_stream(current)
    return pixels


def to_device(array: NDArray[np.uint8], device: torch.device) -> Tensor:
    """Return a tensor of labels, categories or tables, uint8 of the same shape; nobody waits until a GPU has it."""
    held = torch.empty(array.shape, dtype=torch.uint8, pin_memory=device.type == "cuda")
    held.numpy()[...] = array
    return held.to(device, non_blocking=True)


def nonzero(mask: Tensor) -> Tensor:
    """Return where a [n] tensor is not 0, int64, ascending: the host must wait to learn how many there are."""
    return mask.nonzero().squeeze(1)


def selected(values: Tensor, mask: Tensor) -> Tensor:
    """Return the [m] values where a [n] mask holds; as ``nonzero``."""
    return values.masked_select(mask)


def runs(ascending: Tensor) -> tuple[Tensor, Tensor]:
    """Return each value of an ascending [n] tensor once, and how often it occurs; as ``nonzero``."""
    values, counts = torch.unique_consecutive(ascending, return_counts=True)
    return values, counts
