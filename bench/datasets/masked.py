"""Readers of published masks, with the parameter that says what the values of somebody's copy mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated

import numpy as np
from pydantic import Field

from bench.core import label_values
from bench.core.values import IGNORE, Labels
from bench.datasets.frames import Encoding, Frame, OnDisk, read_mask

UNKNOWN = 254  # the meaning of an anomaly in a mask that holds classes beside it


@dataclass(frozen=True)
class Masked(OnDisk):
    """A data set of published masks of one kind, whose values may have another meaning in somebody's copy.

    ``values`` says so: a name of ``conventions``, or what single values mean, such as ``{19: ignore}``, ``{255:
    anomaly}`` or ``{0-18: normal}``; the others keep their meaning. It also says that legal values are right as they
    are, however odd they look together.
    """

    values: Annotated[label_values.Values | None, Field(exclude_if=lambda said: said is None)] = field(
        default=None, kw_only=True
    )

    def __post_init__(self) -> None:
        if self.values is not None:
            self.meaning({})

    @property
    def conventions(self) -> Mapping[str, label_values.Meaning]:
        """The kind of truth that ``values`` can name."""
        return {}

    def revalued(self, encoding: Encoding) -> Encoding:
        """Return the encoding in which the masks are read where the files say ``encoding``."""
        if self.values is None:
            return encoding
        meaning = self.meaning(encoding.meaning)
        name = f"{encoding.name}, {label_values.in_suite(self.values)}"
        return replace(encoding, name=name, meaning=meaning, legal=label_values.words_of(meaning))

    def meaning(self, base: label_values.Meaning) -> label_values.Meaning:
        """Return what stored values mean with ``values``. Raise ValueError for values that say no such thing."""
        return label_values.meaning(self.values, base, self._kind, self.conventions)

    def truth(self, frame: Frame) -> Mapping[str, Labels]:
        encoding = self.revalued(frame.encoding)
        if frame.mask is None or len(self.annotations) == 1:
            return super().truth(replace(frame, encoding=encoding))
        stored = read_mask(frame.mask, encoding, like=frame.image)
        anomaly = np.where(stored == UNKNOWN, np.uint8(1), np.where(stored == IGNORE, stored, np.uint8(0)))
        return {"labels": np.where(stored == UNKNOWN, np.uint8(IGNORE), stored), "anomaly": anomaly}

    def doubt(self, scanned: Sequence[Frame], masks: Sequence[label_values.Counts]) -> str:
        masked = next((frame for frame in scanned if frame.mask), None)
        if masked is None:
            return ""
        meaning = self.revalued(masked.encoding).meaning
        doubt = label_values.doubt(masks, self._kind, meaning, said=self.values is not None)
        return doubt.text(label_values.in_suite) if doubt else ""

    @property
    def _kind(self) -> label_values.Kind:
        return "labels" if "labels" in self.annotations else "anomaly"
