"""A network as an ONNX file, run by ONNX Runtime."""

from __future__ import annotations

import hashlib
import mmap
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.api import File, Network
from bench.core import files
from bench.core.disguised_files import disguise
from bench.core.errors import BadPlugin, BadSuite, MissingData, MissingPackage
from bench.models import preprocessing
from bench.models.preprocessing import FromPixels, PixelNetwork

if TYPE_CHECKING:
    from torch import Tensor, nn

    from bench.models.preprocessing import Returned

# An entry of the field external_data with the key "location": tag, length, key, tag, length, name (onnx.proto).
OUTSIDE = re.compile(rb"\x0a\x08location\x12([\x01-\x7f])", re.S)


@dataclass(frozen=True)
class Onnx(FromPixels):
    """An ONNX ``file``: pixels [1, 3, h, w] to outputs named as in ``outputs``, or to as many in their order.

    On a CPU it computes with as many threads as torch does in this process; on a GPU it needs onnxruntime-gpu.
    """

    name = "onnx"
    source = "a file in the format of onnx.ai, run by ONNX Runtime"

    file: File

    def check(self) -> None:
        if not Path(self.file).is_file():
            raise MissingData(f"model onnx: {self.file} does not exist; paths in a suite are relative to its file")
        _runtime()
        for other in self._outside():
            if not other.is_file():
                raise MissingData(
                    f"model onnx: {self.file} keeps weights in {other}, which does not exist; put it there"
                )

    def digest(self) -> str:
        parts = [files.digest(path) for path in (Path(self.file), *self._outside(), Path(preprocessing.__file__))]
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]

    def load(self, device: str) -> Network:
        import torch

        self.check()
        runtime = _runtime()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.inter_op_num_threads = 1
        options.use_deterministic_compute = True
        options.log_severity_level = 3  # errors; warnings about shapes are nobody's here
        provider = "CUDAExecutionProvider" if device.startswith("cuda") else "CPUExecutionProvider"
        if provider not in runtime.get_available_providers():
            raise MissingPackage(
                "model onnx: this ONNX Runtime has no GPU; pip install onnxruntime-gpu, or say numerics: {device: cpu}"
            )
        index = {"device_id": int(device.partition(":")[2] or 0)} if device.startswith("cuda") else {}
        try:
            session = runtime.InferenceSession(self.file, options, [(provider, index)])
        except Exception as error:  # ONNX Runtime's own classes derive from Exception alone
            instead = disguise(Path(self.file)) or _one_line(error)
            raise MissingData(f"model onnx: {self.file} cannot be read: {instead}") from None
        if session.get_providers()[0] != provider:
            raise MissingPackage(f"model onnx: ONNX Runtime cannot start {provider}; say numerics: {{device: cpu}}")
        if len(session.get_inputs()) != 1:
            names = ", ".join(entry.name for entry in session.get_inputs())
            raise BadPlugin(f"model onnx: {self.file} has the inputs {names}, wanted one: float32 [1, 3, h, w]")
        return OnnxNetwork(self, session, device)

    def _outside(self) -> list[Path]:
        """Files beside this one that hold its weights: an export beyond 2 GB has some, and torch's by default."""
        with Path(self.file).open("rb") as file:
            if not file.seek(0, os.SEEK_END):
                return []  # an empty file has nothing to look at; reading it is refused later
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                names = {content[match.end() : match.end() + match[1][0]] for match in OUTSIDE.finditer(content)}
        return [Path(self.file).parent / name.decode(errors="replace") for name in sorted(names)]


class OnnxNetwork(PixelNetwork):
    """A session of ONNX Runtime."""

    def __init__(self, specification: Onnx, session: Any, device: str) -> None:
        super().__init__(specification, specification.file, device)
        self._session = session

    def module(self) -> nn.Module:
        raise BadPlugin("model onnx: an ONNX file cannot be trained; use the network that it was exported from")

    def run(self, pixels: Tensor) -> Returned:
        import torch

        (declared,) = self._session.get_inputs()
        self._check_input(declared.shape, tuple(pixels.shape))
        if torch.is_autocast_enabled(pixels.device.type):
            raise BadSuite("model onnx: the file has its own precision; say numerics: {dtype: float32}")
        half = declared.type == "tensor(float16)"
        image = (pixels.half() if half else pixels).cpu().numpy()
        try:
            arrays = self._session.run(None, {declared.name: image})
        except Exception as error:  # ONNX Runtime's own classes derive from Exception alone
            raise preprocessing.failed(f"model onnx: {self.place}", pixels, error) from None
        tensors = [torch.from_numpy(array).to(pixels.device) for array in arrays]
        names = [entry.name for entry in self._session.get_outputs()]
        return tensors if {*self.names}.isdisjoint(names) else dict(zip(names, tensors, strict=True))

    def _check_input(self, declared: Sequence[Any], shape: tuple[int, ...]) -> None:
        """Refuse what the file says it does not take; sides that it leaves open are names or None."""
        pairs = zip(declared[:2], shape, strict=False)
        if len(declared) != 4 or any(isinstance(side, int) and side != actual for side, actual in pairs):
            raise BadPlugin(f"model onnx: the input of {self.place} is {declared}, wanted [1, 3, h, w]")
        preprocessing.check_size(f"model onnx: {self.place}", declared[2:], shape[2:])


def _runtime() -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise MissingPackage("model onnx needs ONNX Runtime; pip install 'ood-seg-bench[onnx]'") from None
    return onnxruntime


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
