"""Networks that a trainer made out of others: another entry of a suite, with new weights."""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.api import File, ModelEntry, Network, SegModel
from bench.contract.network import loaded
from bench.core import files
from bench.core.errors import MissingData
from bench.models.derived import Derived
from bench.suite import parameters, registry

ORIGIN = "origin"  # the entry of the header; docs/entropy_max.md says what it holds


@dataclass(frozen=True)
class Descendant(Derived):
    """A network with the weights that ``bench fit`` wrote for it; it gives what its base gives.

    The file names its parents: the base by its entry and by a digest of its tensors, the data, the trainer's
    parameters, the seed and the versions. A base that is another network, or that prepares images otherwise, is
    refused; ``inference`` is the base's and may differ from that in training.
    """

    @property
    @abstractmethod
    def _file(self) -> Path:
        """Its weights."""

    def check(self) -> None:
        self._base.check()
        self.origin()

    def digest(self) -> str:
        parts = [files.digest(self._file), self._base.digest(), files.digest(Path(__file__))]
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]

    def load(self, device: str) -> Network:
        from bench.core.weights import fill, read_state_dict, tensors_digest

        expected = self.origin()["base_digest"]
        network = loaded(self._base, device)
        module = network.module()
        if (digest := tensors_digest(module.state_dict())) != expected:
            raise MissingData(
                f"weights {self._file} were trained from a network whose tensors have the digest {expected}, those of"
                f" {self._base.name} have {digest}; name the base that they were trained from, or train them again"
            )
        fill(module, read_state_dict(self._file), self._file).eval().requires_grad_(False)
        return network

    def about(self) -> Mapping[str, Any]:
        origin = self.origin()
        return {"parents": origin, "uses_outliers": "outliers" in origin}

    def origin(self) -> dict[str, Any]:
        """Return what the header says: ``by``, ``model``, ``base_digest``, ``data``, ``seed``, ``about`` and more."""
        origin = read_origin(self._file)
        base, trained = spelled(self._base), origin["model"]
        if base["name"] != trained["name"]:
            raise MissingData(
                f"weights {self._file} were trained from the model {trained['name']}, not from {base['name']}"
            )
        for name, value in trained["params"].items():
            if name in base["params"] and name != "inference" and base["params"][name] != value:
                raise MissingData(
                    f"weights {self._file} were trained from {trained['name']} with {name}={value!r}, the base has"
                    f" {base['params'][name]!r}"
                )
        return origin


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
    """Return where retrained weights come from, by their header."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise MissingData(f"weights {path} do not exist; paths in a suite are relative to its file")
    try:
        with safe_open(path, framework="numpy") as file:
            origin = json.loads((file.metadata() or {}).get(ORIGIN, "null"))
    except (SafetensorError, OSError, ValueError) as error:
        raise MissingData(f"weights {path} cannot be read: {error}") from None
    required = {"by", "model", "base_digest", "data", "seed"}
    if not isinstance(origin, dict) or not required <= origin.keys():
        raise MissingData(
            f"weights {path} do not say what they were trained from; wanted a file that bench fit wrote for a network"
        )
    return origin


def spelled(model: SegModel) -> dict[str, Any]:
    """Return a network as headers name it: parameters with their defaults, files by name alone."""
    cls = type(model)
    params = parameters.values(model)
    named = {key: Path(params[key]).name for key in parameters.file_fields(cls) if params[key] is not None}
    nested: dict[str, Any] = {}
    for key, kind in parameters.entries(cls).items():
        inner = {params[key]: {}} if isinstance(params[key], str) else params[key]
        ((name, arguments),) = inner.items()
        if kind == "model":
            nested[key] = spelled(registry.build("model", name, arguments, where=f"{key} of {model.name}"))
    return {"name": model.name, "params": params | named | nested}
