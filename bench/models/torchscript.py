"""A network as a TorchScript file, as torch.jit.save writes it."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.api import File, Network
from bench.core import files
from bench.core.disguised_files import disguise
from bench.core.errors import MissingData
from bench.models import preprocessing
from bench.models.preprocessing import FromPixels, PixelNetwork

if TYPE_CHECKING:
    from torch import Tensor, nn

    from bench.models.preprocessing import Returned


@dataclass(frozen=True)
class TorchScript(FromPixels):
    """A TorchScript ``file``: pixels [1, 3, h, w] to a tensor, a tuple in the order of ``outputs``, or a dict.

    The file is a program: torch's interpreter runs it, not Python, and no pickle is opened, but its operators can read
    and write files. It is to be trusted like a suite.
    """

    name = "torchscript"
    source = "a file written by torch.jit.save"

    file: File

    def check(self) -> None:
        if not Path(self.file).is_file():
            raise MissingData(
                f"model torchscript: {self.file} does not exist; paths in a suite are relative to its file"
            )

    def digest(self) -> str:
        parts = files.digest(Path(self.file)), files.digest(Path(preprocessing.__file__))
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]

    def load(self, device: str) -> Network:
        import torch

        self.check()
        try:
            with warnings.catch_warnings():
                # torch would have one export anew; that is for whoever wrote the file to decide.
                warnings.simplefilter("ignore", DeprecationWarning)
                module = torch.jit.load(self.file, map_location=device)  # type: ignore[no-untyped-call]
        except MemoryError:
            raise
        except Exception as error:  # of any class: torch names no bound on what a damaged file raises
            instead = disguise(Path(self.file), "torchscript") or preprocessing.last_line(error)
            raise MissingData(f"model torchscript: {self.file} cannot be read as TorchScript: {instead}") from None
        return TorchScriptNetwork(self, module.eval(), device)


class TorchScriptNetwork(PixelNetwork):
    """A TorchScript module, run by torch's interpreter."""

    batched = True

    def __init__(self, specification: TorchScript, module: nn.Module, device: str) -> None:
        super().__init__(specification, specification.file, device)
        self._module = module

    def module(self) -> nn.Module:
        return self._module

    def run(self, pixels: Tensor) -> Returned:
        import torch

        # Without this the interpreter rewrites the program after its first runs, and the same image would get other
        # last digits early in a run than late in it.
        with torch.jit.optimized_execution(False):  # type: ignore[attr-defined]
            try:
                returned: Returned = self._module(pixels)
            except RuntimeError as error:
                raise preprocessing.failed(f"model torchscript: {self.place}", pixels, error) from None
        return returned
