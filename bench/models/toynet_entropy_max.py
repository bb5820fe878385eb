"""ToyNet, retrained on outliers: the weights that ship with the package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.models.retrained import Descendant

WEIGHTS = Path(__file__).with_name("toynet_entropy_max.safetensors")


@dataclass(frozen=True)
class ToyNetEntropyMax(Descendant):
    """ToyNet, retrained to be unsure of what it does not know; the outliers were none of Toytown's anomalies."""

    name = "toynet_entropy_max"
    source = "trained by this project with bench fit entropy_max; docs/entropy_max.md"

    @property
    def _entry(self) -> str | Mapping[str, Any]:
        return {"toynet": {"inference": asdict(self.own_inference)}}

    @property
    def _file(self) -> Path:
        return WEIGHTS
