"""A data set otherwise than published, as other evaluations take it: labels at another size, frames left out.

Both are parameters of any data set's entry, part of its key, and named under every table.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked

from bench.api import Dataset, Sample
from bench.core.errors import BadSuite, MissingData
from bench.suite.wrappers.wrapped import Wrapped


@checked(frozen=True, config=ConfigDict(extra="forbid", strict=True))
class Departures:
    """The parameters of an entry; a data set as published has none of them."""

    label_size: tuple[int, int] | None = None
    keep: Literal["with_anomaly"] | None = None


NAMES = ("label_size", "keep")
_WANTED = {"label_size": "[h, w], such as [512, 1024]", "keep": "with_anomaly"}
_READER = TypeAdapter(Departures)


@dataclass(frozen=True)
class Resized(Wrapped):
    """The data set ``inner`` with its labels at another size, each pixel the nearest one, as Pillow finds it.

    Images stay as they are: a network sees them at the size that its inference says. Scores are brought to the labels.
    """

    name = "resized"
    source = "the data set inside"

    label_size: tuple[int, int]

    def load(self, index: int) -> Sample:
        sample = self.inner.load(index)
        labels, anomaly = (None if mask is None else self._resized(mask) for mask in (sample.labels, sample.anomaly))
        instances = None if sample.instances is None else self._resized(sample.instances)
        return replace(sample, size=self.label_size, labels=labels, anomaly=anomaly, instances=instances)

    def _resized(self, mask: NDArray[Any]) -> NDArray[Any]:
        height, width = self.label_size
        return np.array(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))


@dataclass(frozen=True)
class WithAnomaly(Wrapped):
    """The frames of ``inner`` that have at least one pixel of an anomaly, at the size of its labels."""

    name = "with_anomaly"
    source = "the data set inside"

    @property
    def count(self) -> int:
        return len(self._kept)

    def ids(self) -> Sequence[str]:
        every = self.inner.ids()
        return [every[index] for index in self._kept]

    def load(self, index: int) -> Sample:
        return self.inner.load(self._kept[index])

    @cached_property
    def _kept(self) -> tuple[int, ...]:
        """Indices into ``inner``. Reads every mask once. Raise MissingData where none has an anomaly."""
        masks = ((index, self.inner.load(index).anomaly) for index in range(len(self.inner.ids())))
        kept = tuple(index for index, mask in masks if mask is not None and bool((mask == 1).any()))
        if not kept:
            raise MissingData(
                f"{self.inner.name}: no frame has a pixel of an anomaly, so keep: with_anomaly leaves none"
            )
        return kept


def parsed(spelled: Mapping[str, Any], *, where: str) -> dict[str, Any]:
    """Return the parameters of an entry that are departures, as JSON has them. Raise BadSuite for another value."""
    named = {name: spelled[name] for name in NAMES if spelled.get(name) is not None}
    try:
        departures = _READER.validate_json(json.dumps(named))  # the strict mode that takes a list for a tuple
    except ValidationError as error:
        name = str(error.errors()[0]["loc"][0])
        wanted = _WANTED[name]
        raise BadSuite(f"{where}: {name} is {named[name]!r}, wanted {wanted}") from None
    if departures.label_size and not all(1 <= side <= 2**15 for side in departures.label_size):
        raise BadSuite(f"{where}: label_size is {named['label_size']!r}, wanted sides from 1 to {2**15}")
    return named


def applied(data: Dataset, departures: Mapping[str, Any]) -> Dataset:
    """Return the data set with departures as ``parsed`` gives them; frames are kept by their labels' new size."""
    if size := departures.get("label_size"):
        data = Resized(data, (size[0], size[1]))
    return WithAnomaly(data) if departures.get("keep") else data


def in_words(params: Mapping[str, Any]) -> list[str]:
    """Each departure of a data set's parameters in words; empty for one as published."""
    words = []
    if isinstance(size := params.get("label_size"), Sequence) and len(size) == 2:
        words.append(f"labels are resized to {size[0]}x{size[1]} by the nearest pixel")
    if params.get("keep") == "with_anomaly":
        words.append("frames without an anomaly are left out")
    return words
