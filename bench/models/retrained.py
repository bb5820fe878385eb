"""Networks that a trainer made out of others: another entry of a suite, with new weights."""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.api import File, Inference, ModelEntry, Prediction, SegModel, View
from bench.core import files
from bench.core.errors import BadPlugin, MissingData
from bench.suite import parameters, registry

if TYPE_CHECKING:
    from torch import Tensor, nn

ORIGIN = "origin"  # the entry of the header; what it holds is said in docs/entropy_max.md


@dataclass(frozen=True)
class Descendant(SegModel):
    """A network with the weights that ``bench fit`` wrote for it; it gives what its base gives.

    The file names its parents: the base by its entry and by a digest of its tensors, the data, the trainer's
    parameters, the seed and the versions. A base that is another network, or that prepares images otherwise, is
    refused; ``inference`` is the base's and may differ from that in training.
    """

    @property
    @abstractmethod
    def _entry(self) -> str | Mapping[str, Any]:
        """The entry of its base."""

    @property
    @abstractmethod
    def _file(self) -> Path:
        """Its weights."""

    def __post_init__(self) -> None:
        if self.inference not in (Inference(), self._base.inference):
            raise ValueError("inference stands in the entry of its base")
        # The field is frozen because it names the model; it says here what it means.
        object.__setattr__(self, "inference", self._base.inference)

    @property
    def class_names(self) -> tuple[str, ...]:
        return self._base.class_names

    @property
    def outputs(self) -> frozenset[str]:
        return self._base.outputs

    def check(self) -> None:
        self._base.check()
        self.origin()

    def digest(self) -> str:
        parts = [files.digest(self._file), self._base.digest(), files.digest(Path(__file__))]
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]

    def load(self, device: str) -> None:
        from bench.core.weights import fill, read_state_dict, tensors_digest

        said = self.origin()["base_digest"]
        self._base.load(device)
        module = self._base.module()
        if (found := tensors_digest(module.state_dict())) != said:
            raise MissingData(
                f"weights {self._file} were trained from a network whose tensors have the digest {said}, those of"
                f" {self._base.name} have {found}; name the base that they were trained from, or train them again"
            )
        fill(module, read_state_dict(self._file), self._file).eval().requires_grad_(False)

    def about(self) -> Mapping[str, Any]:
        said = self.origin()
        return {"parents": said, "uses_outliers": "outliers" in said}

    @property
    def backbone(self) -> str:
        return self._base.backbone

    def predict(self, view: View) -> Prediction:
        return self._base.predict(view)

    def predict_views(self, views: Sequence[View]) -> Sequence[Prediction]:
        return self._base.predict_views(views)

    def module(self) -> nn.Module:
        return self._base.module()

    def forward(self, pixels: Tensor) -> Tensor:
        return self._base.forward(pixels)

    def origin(self) -> dict[str, Any]:
        """What the header says: ``by``, ``model``, ``base_digest``, ``data``, ``seed``, ``about`` and more."""
        found = read_origin(self._file)
        mine, theirs = _parameters(self._base), found["model"]
        if mine["name"] != theirs["name"]:
            raise MissingData(
                f"weights {self._file} were trained from the model {theirs['name']}, not from {mine['name']}"
            )
        for name, value in theirs["params"].items():
            if name in mine["params"] and name != "inference" and mine["params"][name] != value:
                raise MissingData(
                    f"weights {self._file} were trained from {theirs['name']} with {name}={value!r}, the base has"
                    f" {mine['params'][name]!r}"
                )
        return found

    @cached_property
    def _base(self) -> SegModel:
        entry = {self._entry: {}} if isinstance(self._entry, str) else self._entry
        if len(entry) != 1:
            raise ValueError("base is one network: its name, or {name: {parameter: value}}")
        ((name, params),) = entry.items()
        model: SegModel = registry.build("model", name, params or {}, where="base of retrained")
        return model


@dataclass(frozen=True)
class Retrained(Descendant):
    """The network ``base`` with the weights that ``bench fit`` wrote; it gives what its base gives.

    The file names its parents, and a base that is another network, or that prepares images otherwise, is refused.
    ``inference`` stands in the entry of the base and may differ from that in training.
    """

    name = "retrained"
    source = "the trainer that its weights name"

    base: ModelEntry
    weights: File

    @property
    def _entry(self) -> str | Mapping[str, Any]:
        return self.base

    @property
    def _file(self) -> Path:
        return Path(self.weights)


def read_origin(path: Path) -> dict[str, Any]:
    """Where retrained weights come from, by their header."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise MissingData(f"weights {path} do not exist; paths in a suite are relative to its file")
    try:
        with safe_open(path, framework="numpy") as file:
            found = json.loads((file.metadata() or {}).get(ORIGIN, "null"))
    except (SafetensorError, OSError, ValueError) as error:
        raise MissingData(f"weights {path} cannot be read: {error}") from None
    wanted = {"by", "model", "base_digest", "data", "seed"}
    if not isinstance(found, dict) or not wanted <= found.keys():
        raise MissingData(
            f"weights {path} do not say what they were trained from; wanted a file that bench fit wrote for a network"
        )
    return found


def spelled(model: SegModel) -> dict[str, Any]:
    """A network as headers name it: parameters with their defaults, files by name alone."""
    found = _parameters(model)
    if type(model).forward is SegModel.forward:
        raise BadPlugin(f"model {model.name} cannot be trained: it gives no gradients")
    return found


def _parameters(model: SegModel) -> dict[str, Any]:
    cls = type(model)
    params = parameters.values(model)
    named = {key: Path(params[key]).name for key in parameters.file_fields(cls) if params[key] is not None}
    nested: dict[str, Any] = {}
    for key, kind in parameters.entries(cls).items():
        inner = {params[key]: {}} if isinstance(params[key], str) else params[key]
        ((name, given),) = inner.items()
        if kind == "model":
            nested[key] = _parameters(registry.build("model", name, given, where=f"{key} of {model.name}"))
    return {"name": model.name, "params": params | named | nested}
