"""A network that a running program holds: ``bench.evaluate(network, ...)`` lends it to a run."""

from __future__ import annotations

import hashlib
import inspect
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.api import Network
from bench.core import files, weights
from bench.core.errors import BadPlugin, MissingData, UsageError
from bench.models import preprocessing
from bench.models.preprocessing import FromPixels, PixelNetwork

if TYPE_CHECKING:
    from torch import Tensor, nn

    from bench.models.preprocessing import Returned

Forward = Callable[["Tensor"], "Returned"]
RGB = tuple[float, float, float]
AS_THEY_ARE: tuple[RGB, RGB] = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))  # mean and std of pixels that stay what they are


@dataclass(frozen=True)
class _Lent:
    forward: Forward
    digest: str


_LENT: dict[str, _Lent] = {}  # by name, while a run has them


@dataclass(frozen=True)
class InMemory(FromPixels):
    """A network that a program holds, which is lent by ``bench.evaluate`` under the name ``network``.

    It maps float32 [1, 3, h, w] to logits [1, C, h', w'], or to a mapping of named outputs, where ``out`` stands for
    ``logits``. Pixels are (x / scale - mean) / std in the given order of channels. No suite file can compute it again:
    the network ends with its program.
    """

    name = "in_memory"
    source = "the user's own program"

    network: str

    @property
    def outputs(self) -> frozenset[str]:
        return super().outputs | ({"forward"} if "logits" in self.output_names else set())

    def check(self) -> None:
        if self.network not in _LENT:
            raise MissingData(
                f"model in_memory: the network {self.network!r} was one of a Python program; compute this again by"
                " bench.evaluate(network, ...) there"
            )

    def digest(self) -> str:
        self.check()
        parts = [_LENT[self.network].digest, files.digest(Path(preprocessing.__file__))]
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]

    def load(self, device: str) -> Network:
        self.check()
        return InMemoryNetwork(self, _LENT[self.network].forward, device)


class InMemoryNetwork(PixelNetwork):
    """The network on a device."""

    batched = True

    def __init__(self, specification: InMemory, forward: Forward, device: str) -> None:
        super().__init__(specification, specification.network, device)
        self._forward = forward

    def module(self) -> nn.Module:
        from torch import nn

        if not isinstance(self._forward, nn.Module):
            raise BadPlugin(f"model in_memory: {self.place} is no torch.nn.Module, and nothing can train it")
        return self._forward

    def forward(self, pixels: Tensor) -> Tensor:
        return self.logits(pixels)

    def run(self, pixels: Tensor) -> Returned:
        returned = self._forward(pixels)
        if isinstance(returned, Mapping) and "out" in returned and "logits" not in returned:
            return {**returned, "logits": returned["out"]}
        return returned


@contextmanager
def lent(name: str, forward: Forward, device: str) -> Iterator[None]:
    """Have a network known under a name, on a device and in evaluation mode; it is as it was afterwards.

    What is no ``torch.nn.Module`` has no weights to tell it by: its cells are computed anew each time.
    """
    from torch import nn

    if name in _LENT:
        raise BadPlugin(f"bench.evaluate: a network {name!r} is under evaluation already; give this another name=")
    if not isinstance(forward, nn.Module):
        _LENT[name] = _Lent(forward, uuid.uuid4().hex[:16])
        try:
            yield
        finally:
            del _LENT[name]
        return
    modes = {module: module.training for module in forward.modules()}
    homes = [(tensor, tensor.device) for tensor in (*forward.parameters(), *forward.buffers())]
    _LENT[name] = _Lent(forward.to(device).eval(), _digest(forward))
    try:
        yield
    finally:
        del _LENT[name]
        for module, training in modes.items():
            module.training = training
        if homes:
            forward.to(homes[0][1])


def _digest(module: nn.Module) -> str:
    """Return 16 hex digits of the weights, the parts and, where it can be read, the code of a network."""
    try:
        code = inspect.getsource(type(module))
    except (OSError, TypeError):  # it was typed into a prompt
        code = ""
    parts = [weights.tensors_digest(module.state_dict()), repr(module), code]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def name_of(network: object) -> str:
    """Return what results call a network that has no name."""
    return getattr(network, "__name__", None) or type(network).__name__


def is_of_transformers(network: object) -> bool:
    """Return whether a network is a model of transformers."""
    return any(cls.__module__.partition(".")[0] == "transformers" for cls in type(network).__mro__)


def classes_of(network: object) -> list[str] | None:
    """Return the classes that the config of a model of transformers names 0, 1, ...; None where it only counts them."""
    labels = getattr(getattr(network, "config", None), "id2label", None) or {}
    named = [str(labels[index]) for index in range(len(labels)) if index in labels]
    counted = [f"LABEL_{index}" for index in range(len(labels))]
    return named if named and len(named) == len(labels) and named != counted else None


def require_pixels(mean: object, std: object, scale: float) -> None:
    """Raise UsageError for statistics that no image can have: of pixels from 0 to 255 where they are 0 to 1."""
    for name, numbers in (("mean", mean), ("std", std)):
        if not isinstance(numbers, Sequence) or len(numbers) != 3:
            raise UsageError(f"bench.evaluate: {name} is {numbers!r}, wanted three numbers, one per channel")
        if scale > 0 and max(numbers) > 255 / scale and tuple(numbers) != AS_THEY_ARE[1]:
            raise UsageError(
                f"bench.evaluate: {name} is {numbers!r}, but pixels go from 0 to {255 / scale:g}; they are divided by"
                f" scale={scale:g}: say scale=1 for statistics of pixels from 0 to 255"
            )
