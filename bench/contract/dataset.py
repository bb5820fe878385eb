"""Data sets: ordered samples with their labels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.contract import deprecated
from bench.contract.plugin import PlugIn
from bench.core.sharing import read_only
from bench.core.values import Labels

CITYSCAPES = (
    "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation", "terrain",
    "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
)  # fmt: skip
"""The 19 evaluated classes of Cityscapes in the order of their train ids (cityscapesScripts, labels.py)."""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One labelled image."""

    id: str  # unique in its dataset, stable across machines; best of letters, digits, '.', '_' and '-'
    size: tuple[int, int]  # (H, W) of the labels
    image: Callable[[], NDArray[np.uint8]]  # decodes on demand: uint8 [h, w, 3], RGB
    labels: Labels | None = None  # train ids, 255 ignored
    anomaly: Labels | None = None  # 0 normal, 1 anomaly, 255 ignored
    group: str = ""  # images of one group (a drive, a sequence) are not independent
    tags: Mapping[str, str] = field(default_factory=dict)  # such as weather: fog
    instances: NDArray[np.int32] | None = None  # [H, W]: 0 none, -1 ignored, else the number of an anomalous object

    def sealed(self) -> Sample:
        """Return the same sample as protocols and refinements are given it: no array of it can be written."""
        labels, anomaly = (None if truth is None else read_only(truth) for truth in (self.labels, self.anomaly))
        instances = None if self.instances is None else read_only(self.instances)
        image, tags = lambda: read_only(self.image()), MappingProxyType(self.tags)
        return replace(self, image=image, labels=labels, anomaly=anomaly, tags=tags, instances=instances)


@dataclass(frozen=True)
class Dataset(deprecated.OldDatasetNames, PlugIn, ABC):
    """An ordered set of samples that knows how many it must hold.

    A constructor opens no file. ``ids`` may list folders, ``load`` reads one sample; both are called in other processes
    too and import neither torch nor numba.
    """

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes in the order of the label values."""
        return CITYSCAPES

    @property
    @abstractmethod
    def annotations(self) -> frozenset[str]:
        """The truths that its samples carry: ``labels``, ``anomaly`` or both, and ``instances`` of the anomalies."""

    @property
    @abstractmethod
    def count(self) -> int:
        """How many samples there must be; any other number is refused: a half-unpacked archive is no benchmark."""

    @abstractmethod
    def ids(self) -> Sequence[str]:
        """The ids of all samples, sorted; independent of the file system's order."""

    @abstractmethod
    def load(self, index: int) -> Sample:
        """The sample ``ids()[index]``."""

    @abstractmethod
    def digest(self) -> str:
        """16 hex digits that change when a label or an image does."""

    def check(self) -> None:
        """Raise MissingData for the first thing that is absent, short or altered. Decodes labels, not images."""
        self.ids()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        deprecated.adopt_dataset(cls)
