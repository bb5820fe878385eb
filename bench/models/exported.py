"""A network as a .pt2 file, as torch.export.save writes it."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.api import File, Network
from bench.core import files
from bench.core.errors import BadPlugin, MissingData
from bench.models import preprocessing
from bench.models.preprocessing import FromPixels, PixelNetwork

if TYPE_CHECKING:
    from torch import Tensor, nn

    from bench.models.preprocessing import Returned


@dataclass(frozen=True)
class Exported(FromPixels):
    """A ``file`` of torch.export: pixels [1, 3, h, w] to a tensor, a tuple in the order of ``outputs``, or a dict.

    Pickled weights and objects and machine code in it are refused before torch, which would run them, reads the file.
    What is left still holds expressions that torch evaluates: it is to be trusted like a suite.
    """

    name = "exported"
    source = "a file written by torch.export.save"

    file: File

    def check(self) -> None:
        if not Path(self.file).is_file():
            raise MissingData(f"model exported: {self.file} does not exist; paths in a suite are relative to its file")

    def digest(self) -> str:
        parts = files.digest(Path(self.file)), files.digest(Path(preprocessing.__file__))
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]

    def load(self, device: str) -> Network:
        import torch

        self.check()
        for unwanted in unsafe(Path(self.file)):
            raise BadPlugin(f"model exported: {self.file} holds {unwanted}; export the network again, without it")
        try:
            program = torch.export.load(self.file)
            if device != "cpu":
                from torch.export.passes import move_to_device_pass

                program = move_to_device_pass(program, device)
            module = program.module()
        except (RuntimeError, ValueError, AssertionError, KeyError, OSError) as error:
            raise MissingData(f"model exported: {self.file} cannot be read: {_last_line(error)}") from None
        images = [node.meta["val"] for node in program.graph.nodes if node.name in program.graph_signature.user_inputs]
        if len(images) != 1 or images[0].ndim != 4:
            shapes = ", ".join(str(list(image.shape)) for image in images)
            raise BadPlugin(f"model exported: the inputs of {self.file} are {shapes}, wanted one: float32 [1, 3, h, w]")
        return ExportedNetwork(self, module, list(images[0].shape[2:]), device)


class ExportedNetwork(PixelNetwork):
    """The module of an exported program. What evaluation mode changes was settled by the export."""

    def __init__(self, specification: Exported, module: nn.Module, sides: Sequence[object], device: str) -> None:
        super().__init__(specification, specification.file, device)
        self._module, self._sides = (
            module,
            sides,
        )  # height and width: numbers, or symbols where the export leaves them open

    def module(self) -> nn.Module:
        return self._module

    def run(self, pixels: Tensor) -> Returned:
        preprocessing.check_size(f"model exported: {self.place}", self._sides, pixels.shape[2:])
        try:
            returned: Returned = self._module(pixels)
        except (RuntimeError, AssertionError) as error:  # a guard of the export is an AssertionError
            raise BadPlugin(
                f"model exported: {self.place} fails on {list(pixels.shape)}: {_last_line(error)}"
            ) from None
        return returned


def unsafe(path: Path) -> Iterator[str]:
    """Yield what torch.export.load would unpickle or run as machine code, in words; nothing for plain tensors.

    Under torch 2.13 it unpickles weights and constants that say ``use_pickle``, objects among the constants, and any
    .pt member that does not load as weights alone (torch/_export/serde/serialize.py, deserialize_torch_artifact), and
    loads libraries under data/aotinductor (torch/export/pt2_archive/_package.py, load_pt2).
    """
    import torch

    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if "aotinductor" in name.split("/"):
                    yield f"{name}, which is machine code"
                elif name.endswith("_config.json"):
                    yield from _pickled(name, json.loads(archive.read(name)))
                elif name.endswith(".pt"):
                    try:
                        torch.load(io.BytesIO(archive.read(name)), weights_only=True)
                    except Exception:  # of any class: what matters is that torch would unpickle it next
                        yield f"{name}, which is more than tensors and would run code when read"
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise MissingData(
            f"model exported: {path} cannot be read: {error}; is it a file of torch.export.save?"
        ) from None


def _pickled(layer_path: str, config: Any) -> Iterator[str]:
    entries = config.get("config", {}) if isinstance(config, dict) else {}
    for name, entry in entries.items():
        if entry.get("use_pickle", True) or not str(entry.get("path_name", "")).startswith(("weight_", "tensor_")):
            yield f"{name} in {layer_path}, which is pickled and would run code when read"


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
