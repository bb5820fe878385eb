"""Any network of your own: a function in a Python file that returns a torch module."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.api import File, Network
from bench.core import files, weight_files
from bench.core.errors import BadPlugin, MissingData
from bench.models import preprocessing
from bench.models.preprocessing import FromPixels, PixelNetwork
from bench.suite.registry import from_file

if TYPE_CHECKING:
    from torch import Tensor, nn

    from bench.models.preprocessing import Returned


@dataclass(frozen=True)
class PythonModel(FromPixels):
    """A network of your own: ``factory`` names a file and a function, which is called with the path of ``weights``.

    What it returns maps float32 [1, 3, h, w] to logits [1, C, h', w'], or to a mapping of named outputs. Pixels are
    (x / scale - mean) / std in the given order of channels.
    """

    name = "python"
    source = "the user's own file"

    factory: File  # path/to/file.py:function
    weights: File | None = None

    @property
    def outputs(self) -> frozenset[str]:
        return super().outputs | ({"forward"} if "logits" in self.output_names else set())

    def check(self) -> None:
        path, function = self._where()
        if not path.is_file():
            raise MissingData(f"model python: factory {path} does not exist; paths in a suite are relative to its file")
        if not function:
            raise BadPlugin(f"model python: factory {self.factory} names no function; wanted path/to/file.py:function")
        if self.weights:
            weight_files.check(Path(self.weights), "model python")

    def digest(self) -> str:
        parts = [files.digest(self._where()[0]), *([weight_files.digest(Path(self.weights))] if self.weights else [])]
        parts.append(files.digest(Path(preprocessing.__file__)))
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]

    def load(self, device: str) -> Network:
        import torch

        self.check()
        path, name = self._where()
        factory: Callable[..., Any] | None = getattr(from_file(path, f"bench_models.{path.stem}"), name, None)
        if not callable(factory):
            raise BadPlugin(f"model python: {path} has no function {name!r}")
        module = factory(Path(self.weights)) if self.weights else factory()
        if not isinstance(module, torch.nn.Module):
            raise BadPlugin(f"model python: {self.factory} returned {type(module).__name__}, wanted a torch.nn.Module")
        return PythonNetwork(self, module.to(device).eval(), device)

    def _where(self) -> tuple[Path, str]:
        path, _, function = self.factory.rpartition(":")
        return Path(path or self.factory), function if path else ""


class PythonNetwork(PixelNetwork):
    """The module that the factory returned."""

    batched = True

    def __init__(self, specification: PythonModel, module: nn.Module, device: str) -> None:
        super().__init__(specification, specification.factory, device)
        self._module = module

    def module(self) -> nn.Module:
        return self._module

    def forward(self, pixels: Tensor) -> Tensor:
        return self.logits(pixels)

    def run(self, pixels: Tensor) -> Returned:
        returned: Returned = self._module(pixels)
        return returned
