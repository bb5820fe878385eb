"""A data set whose images are corrupted as they are read: Cityscapes-C is Cityscapes and a corruption.

A corrupted image is a function of the image, the corruption, the severity and a seed that derives from the suite's
seed and the sample's id: the same in every process, on every machine, in any order.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked

from bench import corruptions
from bench.api import Dataset, Sample
from bench.core import versions
from bench.core.cpu_time import spent
from bench.core.errors import BadSuite, MissingData, UnknownName
from bench.corruptions import FAMILIES as FAMILIES
from bench.corruptions import NAMES as NAMES
from bench.corruptions import SEVERITIES as SEVERITIES
from bench.datasets import frames
from bench.datasets.frames import OnDisk
from bench.suite.wrappers.corruption_cache import Cache
from bench.suite.wrappers.wrapped import Wrapped

Order = Literal["rgb", "bgr"]


@checked(frozen=True, config=ConfigDict(extra="forbid", strict=True))
class Corruption:
    """One of ``bench.corruptions.NAMES`` at a severity from 1 to 5."""

    name: str
    severity: int = Field(ge=1, le=5)
    order: Order = "rgb"  # bgr: as the source system fed it, with the channels in OpenCV's order
    seed: int = 0

    @property
    def family(self) -> str:
        return corruptions.FAMILIES[self.name]

    @property
    def source_family(self) -> str:
        """Its family in the source system; empty for those that it does not run."""
        return corruptions.SOURCE_FAMILIES.get(self.name, "")

    @property
    def label(self) -> str:
        """Name and severity, such as ``fog-3``, and the order if it is BGR."""
        return f"{self.name}-{self.severity}" + ("-bgr" if self.order == "bgr" else "")


_READER = TypeAdapter(Corruption)


@dataclass(frozen=True)
class Corrupted(Wrapped):
    """The data set ``inner`` with every image corrupted. Labels, ids, groups and tags stay as they are."""

    name = "corrupted"
    source = "Hendrycks and Dietterich, Benchmarking Neural Network Robustness..., arXiv:1903.12261"

    corruption: Corruption

    def load(self, index: int) -> Sample:
        sample = self.inner.load(index)
        return replace(sample, image=partial(_corrupted, sample.image, self.corruption, sample.id))

    def digest(self) -> str:
        return digest(self.inner.digest())

    def check(self) -> None:
        """Also raise where the corruption lacks a package or an image is too small for it."""
        self.inner.check()
        if small := too_small(self.inner):
            raise MissingData(small)
        self.try_out()

    def try_out(self) -> None:
        """Corrupt one small image, or raise MissingPackage."""
        _corrupted(lambda: np.zeros((corruptions.LEAST, corruptions.LEAST, 3), np.uint8), self.corruption, "")


def _corrupted(image: Callable[[], NDArray[np.uint8]], corruption: Corruption, sample: str) -> NDArray[np.uint8]:
    pixels = image()
    name, severity = corruption.name, corruption.severity
    seed = corruptions.seed_of(corruption.seed, sample, name, severity)
    cache = Cache.of_this_process()
    key = cache.key(pixels, name, severity, corruption.order, seed, versions.NUMBERS["corruptions"]) if cache else ""
    kept = cache.get(key, pixels.shape) if cache else None
    if kept is not None:
        return kept
    with spent("corrupt", name):
        made = corruptions.corrupt(pixels, name, severity, np.random.RandomState(seed), order=corruption.order)
    if cache:
        cache.put(key, made)
    return made


def too_small(data: Dataset) -> str:
    """The first image that cannot be corrupted, and its size, in words; empty if all can.

    Of images that are no files the first is looked at alone: none of them need be made to know.
    """
    if isinstance(data, OnDisk):
        sizes: Iterable[tuple[object, tuple[int, ...]]] = ((path, frames.size(path)) for path in data.image_paths())
    else:
        sizes = ((name, data.load(0).image().shape[:2]) for name in data.ids()[:1])
    for name, (height, width) in sizes:
        if min(height, width) < corruptions.LEAST:
            return f"{name} is {height}x{width}, and corruptions need {corruptions.LEAST}x{corruptions.LEAST}"
    return ""


def digest(plain: str) -> str:
    """16 hex digits that change when the data set's do, or the code that corrupts."""
    return hashlib.sha256(f"{plain} {versions.NUMBERS['corruptions']}".encode()).hexdigest()[:16]


def parsed(entry: Any, *, where: str) -> Corruption:
    """Return a corruption from a suite's entry, ``{name: fog, severity: 3}``. Raise BadSuite or UnknownName."""
    try:
        corruption = _READER.validate_json(json.dumps(entry))  # the strict mode that takes a mapping
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(["corruption", *map(str, first["loc"])])
        raise BadSuite(
            f"{where}: {path} is {first['input']!r}, wanted {{name: fog, severity: 1 to 5}} and perhaps order: bgr"
        ) from None
    if corruption.name not in corruptions.NAMES:
        raise UnknownName("corruption", corruption.name, corruptions.NAMES, where)
    return corruption


def expanded(entry: Any, *, where: str) -> list[dict[str, Any]]:
    """Return the entry of every corruption in a grid: ``{names: source, severities: [1, 2, 3, 4]}``.

    ``names`` is ``all`` (19), ``source`` (the 15 of the source system) or a list. Raise BadSuite for another grid.
    """
    usage = "{names: all, source or a list, severities: a list of 1 to 5}"
    if not isinstance(entry, Mapping) or not entry.keys() <= {"names", "severities", "order"} or "names" not in entry:
        raise BadSuite(f"{where}: corruptions is {entry!r}, wanted {usage}")
    names = {"all": corruptions.NAMES, "source": corruptions.SOURCE_15}.get(str(entry["names"]), entry["names"])
    severities = entry.get("severities", list(corruptions.SEVERITIES))
    if not isinstance(names, Sequence) or isinstance(names, str) or not isinstance(severities, list):
        raise BadSuite(f"{where}: corruptions is {entry!r}, wanted {usage}")
    order = {"order": entry["order"]} if "order" in entry else {}
    return [{"name": name, "severity": severity, **order} for name in names for severity in severities]
