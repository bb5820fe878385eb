"""Any network of your own: a function in a Python file that returns a torch module."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bench import files
from bench.api import CITYSCAPES, File, Positive, Prediction, SegModel, View
from bench.errors import BadPlugin, MissingData
from bench.registry import from_file

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


@dataclass(frozen=True)
class PythonModel(SegModel):
    """``factory`` names a file and a function in it, which is called with the path of ``weights``, if there are any.

    What it returns maps float32 [1, 3, h, w] to logits [1, C, h', w'], or to a mapping of named outputs with
    ``logits`` among them. Pixels are (x / scale - mean) / std in the given order of channels.
    """

    name = "python"
    source = "the user's own file"

    factory: File  # path/to/file.py:function
    weights: File | None = None
    scale: Positive = 255.0
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[Positive, Positive, Positive] = (1.0, 1.0, 1.0)
    channels: Literal["rgb", "bgr"] = "rgb"
    outputs: tuple[str, ...] = ("logits",)  # the names that the network gives
    classes: tuple[str, ...] = CITYSCAPES

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.classes

    @property
    def gives(self) -> frozenset[str]:
        return frozenset(self.outputs) | {"raw", "image", "again"}

    def check(self) -> None:
        path, function = self._place()
        if not path.is_file():
            raise MissingData(f"model python: factory {path} does not exist; paths in a suite are relative to its file")
        if not function:
            raise BadPlugin(f"model python: factory {self.factory} names no function; wanted path/to/file.py:function")
        if self.weights and not Path(self.weights).is_file():
            raise MissingData(
                f"model python: weights {self.weights} do not exist; paths in a suite are relative to its file"
            )

    def digest(self) -> str:
        parts = [files.digest(self._place()[0]), *([files.digest(Path(self.weights))] if self.weights else [])]
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]

    def load(self, device: str) -> None:
        import torch

        self.check()
        path, name = self._place()
        factory: Callable[..., Any] | None = getattr(from_file(path, f"bench_models.{path.stem}"), name, None)
        if not callable(factory):
            raise BadPlugin(f"model python: {path} has no function {name!r}")
        module = factory(Path(self.weights)) if self.weights else factory()
        if not isinstance(module, torch.nn.Module):
            raise BadPlugin(f"model python: {self.factory} returned {type(module).__name__}, wanted a torch.nn.Module")
        # The one mutable thing about a model: its network, once it is on the device.
        object.__setattr__(self, "_module", module.to(device).eval())
        shape = (3, 1, 1)
        object.__setattr__(self, "_mean", torch.tensor(self.mean, device=device).reshape(shape))
        object.__setattr__(self, "_std", torch.tensor(self.std, device=device).reshape(shape))

    def module(self) -> nn.Module:
        module: nn.Module = self.__dict__["_module"]
        return module

    def predict(self, view: View) -> Prediction:
        return self._forward(view.pixels.float(), view.pixels)

    def _forward(self, pixels: Tensor, image: Tensor) -> Prediction:
        """Float pixels in 0..255."""
        import torch

        ordered = pixels.flip(0) if self.channels == "bgr" else pixels
        with torch.inference_mode():
            given = self.module()((ordered / self.scale - self.__dict__["_mean"])[None] / self.__dict__["_std"])
        outputs = self._named(given)
        size = int(image.shape[1]), int(image.shape[2])
        return Prediction(outputs, size, image=image, again=lambda other: self._forward(other, image))

    def _named(self, given: Tensor | Mapping[str, Tensor]) -> dict[str, torch.Tensor]:
        named = dict(given) if isinstance(given, Mapping) else {"logits": given}
        if missing := [name for name in self.outputs if name not in named]:
            found = ", ".join(sorted(named))
            raise BadPlugin(
                f"model python: {self.factory} gives {found}, the suite's outputs name {', '.join(missing)} too"
            )
        outputs = {name: named[name][0].float() for name in self.outputs}
        logits = outputs.get("logits")
        if logits is not None and (logits.ndim != 3 or len(logits) != len(self.classes)):
            raise BadPlugin(
                f"model python: {self.factory} gives logits {list(logits.shape)}, wanted [{len(self.classes)}, h, w], "
                f"one per class; name further outputs on their own"
            )
        return outputs

    def _place(self) -> tuple[Path, str]:
        path, _, function = self.factory.rpartition(":")
        return Path(path or self.factory), function if path else ""
