"""Any network of your own: a function in a Python file that returns a torch module."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.api import File
from bench.core import files
from bench.core.errors import BadPlugin, MissingData
from bench.models import preprocessing
from bench.models.preprocessing import FromPixels
from bench.suite.registry import from_file

if TYPE_CHECKING:
    from torch import Tensor, nn

    from bench.models.preprocessing import Given


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

    def check(self) -> None:
        path, function = self._where()
        if not path.is_file():
            raise MissingData(f"model python: factory {path} does not exist; paths in a suite are relative to its file")
        if not function:
            raise BadPlugin(f"model python: factory {self.factory} names no function; wanted path/to/file.py:function")
        if self.weights and not Path(self.weights).is_file():
            raise MissingData(
                f"model python: weights {self.weights} do not exist; paths in a suite are relative to its file"
            )

    def digest(self) -> str:
        parts = [files.digest(self._where()[0]), *([files.digest(Path(self.weights))] if self.weights else [])]
        parts.append(files.digest(Path(preprocessing.__file__)))
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]

    def load(self, device: str) -> None:
        import torch

        self.check()
        path, name = self._where()
        factory: Callable[..., Any] | None = getattr(from_file(path, f"bench_models.{path.stem}"), name, None)
        if not callable(factory):
            raise BadPlugin(f"model python: {path} has no function {name!r}")
        module = factory(Path(self.weights)) if self.weights else factory()
        if not isinstance(module, torch.nn.Module):
            raise BadPlugin(f"model python: {self.factory} returned {type(module).__name__}, wanted a torch.nn.Module")
        # The one mutable thing about a model: its network, once it is on the device.
        object.__setattr__(self, "_module", module.to(device).eval())
        self._prepare(device)

    def module(self) -> nn.Module:
        module: nn.Module = self.__dict__["_module"]
        return module

    def forward(self, pixels: Tensor) -> Tensor:
        return self._logits(pixels)

    @property
    def _place(self) -> str:
        return self.factory

    def _run(self, pixels: Tensor) -> Given:
        given: Given = self.module()(pixels)
        return given

    def _where(self) -> tuple[Path, str]:
        path, _, function = self.factory.rpartition(":")
        return Path(path or self.factory), function if path else ""
