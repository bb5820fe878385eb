"""Networks that are made out of another entry of a suite and give what it gives."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from bench.api import Inference, SegModel
from bench.suite import registry


def built(entry: str | Mapping[str, Any], where: str) -> SegModel:
    """Return the network of an entry; ValueError for what is no single one. ``where`` is named in other complaints."""
    spelled = {entry: {}} if isinstance(entry, str) else entry
    if len(spelled) != 1:
        raise ValueError(f"{where} is one network: its name, or {{name: {{parameter: value}}}}")
    ((name, params),) = spelled.items()
    model: SegModel = registry.build("model", name, params or {}, where=where)
    return model


@dataclass(frozen=True)
class Derived(SegModel):
    """A network made out of its base. ``inference`` stands in the entry of the base."""

    @property
    @abstractmethod
    def _entry(self) -> str | Mapping[str, Any]:
        """The entry of its base."""

    def __post_init__(self) -> None:
        if self.own_inference not in (Inference(), self._base.inference):
            raise ValueError("inference stands in the entry of its base")

    @property
    def own_inference(self) -> Inference:
        """What the entry itself says of inference, or the default."""
        stated: Inference = vars(self)["inference"]
        return stated

    @property  # type: ignore[misc]  # it stands for the field: what the base does is what this network does, and in its key
    def inference(self) -> Inference:
        return self._base.inference

    @inference.setter
    def inference(self, stated: Inference) -> None:
        """Take the field, for the constructor alone: instances are frozen."""
        vars(self)["inference"] = stated

    @property
    def class_names(self) -> tuple[str, ...]:
        return self._base.class_names

    @property
    def outputs(self) -> frozenset[str]:
        return self._base.outputs

    @cached_property
    def _base(self) -> SegModel:
        return built(self._entry, f"base of {self.name}")
