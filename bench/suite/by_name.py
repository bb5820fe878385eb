"""Plug-ins by their names, for callers in Python: ``bench.protocol`` and ``bench.dataset``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import overload

from bench.api import Dataset, Protocol, Sample
from bench.core.errors import BadScores
from bench.suite import parameters, registry


def protocol(name: str, /, **params: object) -> Protocol:
    """Return a protocol with its parameters, for ``bench.Metric``. Raises UnknownName or BadSuite for what is none."""
    built: Protocol = registry.build("protocol", name, params, where="bench.protocol")
    return built


def dataset(name: str, /, **params: object) -> Samples:
    """Return the samples of a data set, with parameters as a suite has them, ``corruption`` and ``class_map`` too.

    Nothing is opened yet. Raises UnknownName or BadSuite for a name or a parameter that there is not.
    """
    return Samples(name, params)


class Samples(Sequence[Sample]):
    """The samples of a data set, read one by one when they are asked for.

    ``sample.image()`` decodes the image, uint8 [h, w, 3], RGB; ``sample.labels`` are train ids and ``sample.anomaly``
    is the mask, uint8 [H, W], 255 ignored, None where the set has none; ``sample.id`` is the name.
    """

    def __init__(self, name: str, params: Mapping[str, object]) -> None:
        self.entry: dict[str, dict[str, object]] = {name: dict(params)}  # as a suite has it
        self.dataset: Dataset = registry.build("dataset", name, params, where="bench.dataset")
        self._ids: Sequence[str] | None = None

    @property
    def ids(self) -> Sequence[str]:
        """The ids of all samples, sorted. Raises MissingData where files are absent."""
        if self._ids is None:
            self._ids = list(self.dataset.ids())
        return self._ids

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, index: int | str) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...
    def __getitem__(self, index: int | str | slice) -> Sample | list[Sample]:
        """Return one sample by its index or its id, or some of them."""
        if isinstance(index, slice):
            return [self.dataset.load(number) for number in range(len(self))[index]]
        if isinstance(index, str):
            if index not in self.ids:
                raise BadScores(f"{self!r} has no sample {index!r}; found such as {self.ids[0]!r}")
            return self.dataset.load(list(self.ids).index(index))
        return self.dataset.load(range(len(self))[index])

    def __iter__(self) -> Iterator[Sample]:
        return map(self.dataset.load, range(len(self)))

    def __repr__(self) -> str:
        return f"bench.dataset({parameters.label(self.dataset)!r})"
