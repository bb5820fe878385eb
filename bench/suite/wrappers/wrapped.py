"""A data set seen through another one: what a wrapper hands on unless it says otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from bench.api import Dataset, Sample


@dataclass(frozen=True)
class Wrapped(Dataset):
    """Everything as ``inner`` has it. Suites make such data sets; no entry names one."""

    inner: Dataset

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.inner.class_names

    @property
    def annotations(self) -> frozenset[str]:
        return self.inner.annotations

    @property
    def hidden(self) -> str:
        """The reason why a reader on disk has no truth: its publisher keeps it; empty where there is."""
        return str(getattr(self.inner, "hidden", ""))

    @property
    def count(self) -> int:
        return self.inner.count

    def ids(self) -> Sequence[str]:
        return self.inner.ids()

    def load(self, index: int) -> Sample:
        return self.inner.load(index)

    def digest(self) -> str:
        return self.inner.digest()

    def check(self) -> None:
        self.inner.check()

    def __getstate__(self) -> dict[str, Any]:
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}
