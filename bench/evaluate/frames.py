"""The frames that maps made elsewhere are held against: a data set's, or PNG files in a folder."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.api import IGNORE, Dataset, Protocol, Sample
from bench.core import images
from bench.core.errors import BadScores, MissingData
from bench.datasets.frames import check_depths
from bench.suite import parameters, registry


class Frames(ABC):
    """Labelled frames by id."""

    label = ""  # for people; empty for a folder
    parameters: Mapping[str, Any] | None = None  # of the data set
    exact = False  # whether every map must belong to a frame

    @property
    @abstractmethod
    def ids(self) -> Sequence[str]:
        """Sorted."""

    @abstractmethod
    def load(self, sample: str) -> Sample:
        """Decode the labels of one frame."""

    @abstractmethod
    def file_of(self, sample: str) -> str:
        """Return the name of its labels, for messages."""

    @abstractmethod
    def check(self, protocols: Sequence[Protocol]) -> None:
        """Raise BadScores if a protocol needs what these frames do not carry."""


class Published(Frames):
    """Frames of a data set, with the labels as its reader maps them. Maps of other frames are let be."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.parameters = parameters.values(dataset)
        defaults = parameters.defaults(type(dataset))
        changed = [f"{name}={value}" for name, value in self.parameters.items() if defaults.get(name) != value]
        self.label = f"{dataset.name}[{','.join(changed)}]" if changed else dataset.name

    @classmethod
    def named(cls, name: str, params: Mapping[str, Any]) -> Published:
        """Nothing is opened yet."""
        return cls(registry.build("dataset", name, params, where="--dataset"))

    @cached_property
    def ids(self) -> Sequence[str]:
        ids = list(self.dataset.ids())
        if len(ids) != self.dataset.count:
            raise MissingData(f"{self.label} has {len(ids)} frames here, wanted {self.dataset.count}")
        return ids

    @cached_property
    def _places(self) -> Mapping[str, int]:
        return {sample: index for index, sample in enumerate(self.ids)}

    def load(self, sample: str) -> Sample:
        return self.dataset.load(self._places[sample])

    def file_of(self, sample: str) -> str:
        return f"{self.label}/{sample}"

    def check(self, protocols: Sequence[Protocol]) -> None:
        for protocol in protocols:
            if lacking := sorted(protocol.truths - self.dataset.annotations):
                has = getattr(self.dataset, "hidden", "") or f"it has {', '.join(sorted(self.dataset.annotations))}"
                raise BadScores(f"{self.label} has no {' and no '.join(lacking)}, which {protocol.name} needs; {has}")


class Folder(Frames):
    """One PNG per frame: 0, 1 and 255 if a protocol needs anomalies, else train ids. Every map must have its labels."""

    exact = True

    def __init__(self, folder: Path, pattern: str = "{id}.png") -> None:
        if pattern.count("{id}") != 1:
            raise BadScores(f"--pair is {pattern!r}, wanted {{id}} in it exactly once, such as '{{id}}_labels.png'")
        self.folder, self.pattern = folder, pattern
        self._anomaly = False

    @cached_property
    def _paths(self) -> Mapping[str, Path]:
        if not self.folder.is_dir():
            raise MissingData(f"{self.folder} is not a folder; wanted one PNG of labels per image in it")
        before, after = map(re.escape, self.pattern.split("{id}"))
        named = re.compile(f"{before}(.+){after}", re.IGNORECASE if self.pattern == "{id}.png" else 0)
        matches = [(named.fullmatch(path.name), path) for path in sorted(self.folder.iterdir())]
        paths = {match[1]: path for match, path in matches if match and not path.name.startswith(".")}
        if not paths:
            raise MissingData(
                f"{self.folder} holds no labels; wanted files named {self.pattern}; --pair says otherwise"
            )
        return dict(sorted(paths.items()))

    @property
    def ids(self) -> Sequence[str]:
        return list(self._paths)

    def load(self, sample: str) -> Sample:
        path = self._paths[sample]
        stored = images.read_labels(path)
        size = (stored.shape[0], stored.shape[1])
        if not self._anomaly:
            return Sample(sample, size, _no_image, labels=stored)
        illegal = np.setdiff1d(stored, np.array([0, 1, IGNORE], np.uint8))
        if illegal.size:
            raise MissingData(f"{path} holds the value {illegal[0]}, wanted 0 normal, 1 anomaly, 255 ignored")
        return Sample(sample, size, _no_image, anomaly=stored)

    def file_of(self, sample: str) -> str:
        return self._paths[sample].name

    def check(self, protocols: Sequence[Protocol]) -> None:
        needs = {need: protocol.name for protocol in protocols for need in protocol.truths}
        if len(needs) > 1:
            both = " and ".join(f"{need} ({name})" for need, name in sorted(needs.items()))
            raise BadScores(f"{self.folder} holds one kind of labels, the protocols need {both}; evaluate them apart")
        self._anomaly = "anomaly" in needs
        check_depths({path: images.read_header(path) for path in self._paths.values()})


def _no_image() -> NDArray[np.uint8]:
    raise AssertionError("score maps are evaluated without images")
