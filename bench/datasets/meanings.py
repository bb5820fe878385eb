"""The meaning of every value in masks of one's own: which are classes, which anomalies, and which count nowhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Annotated, ClassVar

import numpy as np
from annotated_types import Ge, Le
from pydantic import AliasChoices, Field

from bench.contract.dataset import CITYSCAPES
from bench.core import label_values
from bench.core.values import IGNORE, Labels
from bench.datasets.frames import Encoding

Stored = Annotated[int, Ge(0), Le(255)]  # a value in a mask


@dataclass(frozen=True)
class Meanings:
    """Parameters of a data set whose masks nobody but the user knows."""

    unsaid: ClassVar[str] = ""  # what helps a user who has said none, as the end of an error

    # Suites say ``ids``, which is a method of every data set here.
    class_ids: Annotated[
        Mapping[Stored, str] | None,
        Field(validation_alias=AliasChoices("ids", "class_ids"), serialization_alias="ids"),
    ] = field(default=None, kw_only=True)
    anomaly: tuple[Stored, ...] = field(default=(), kw_only=True)
    usual: tuple[Stored, ...] = field(default=(), kw_only=True)
    ignore: tuple[Stored, ...] = field(default=(IGNORE,), kw_only=True)
    classes: tuple[str, ...] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        if not self.class_ids and not self.anomaly and not self.usual:
            raise ValueError(f"the masks mean nothing; say ids: {{7: road, ...}}, anomaly: [254], or both{self.unsaid}")
        meanings = Counter([*(self.class_ids or {}), *self.anomaly, *self.usual, *self.ignore])
        if twice := sorted(value for value, number in meanings.items() if number > 1):
            raise ValueError(f"the value {twice[0]} has two meanings among ids, anomaly, usual and ignore")
        if self.classes:
            if len(set(self.classes)) < len(self.classes):
                raise ValueError("classes names a class twice")
            if unnamed := sorted({*(self.class_ids or {}).values()} - {*self.classes}):
                raise ValueError(f"ids has the class {unnamed[0]!r}, which classes does not name")
        if len(self.class_names) > IGNORE:
            raise ValueError(f"{len(self.class_names)} classes do not fit 8 bits beside the value 255, ignored")

    @property
    def class_names(self) -> tuple[str, ...]:
        if self.classes:
            return self.classes
        named = self.class_ids or {}
        return tuple(dict.fromkeys(named[value] for value in sorted(named)))

    @property
    def annotations(self) -> frozenset[str]:
        normal = bool(self.anomaly or (self.usual and not self.class_ids))  # all of them may be usual
        return frozenset(kind for kind, has in (("labels", bool(self.class_ids)), ("anomaly", normal)) if has)

    @cached_property
    def encoding(self) -> Encoding:
        """The values that a mask may hold, each as it is."""
        legal = sorted({*(self.class_ids or {}), *self.anomaly, *self.usual, *self.ignore})
        named = {value: value for value in legal}
        return Encoding("of ids, anomaly, usual and ignore", named, _ranges(legal), palette=True)

    def truths(self, stored: Labels) -> Mapping[str, Labels]:
        """``labels``, ``anomaly`` or both, uint8 [H, W] each, of a mask with legal values alone."""
        return {kind: self._tables[kind][stored] for kind in sorted(self.annotations)}

    def value_doubt(self, masks: Sequence[label_values.Counts]) -> str:
        """Return why the values of all masks can hardly mean what is said; empty where they can.

        ``masks`` are the pixels of each by stored value, int64 [256].
        """
        legal = self.encoding.meaning
        kind: label_values.Kind = "labels" if self.class_ids else "anomaly"
        means = {value: int(self._tables[kind][value]) for value in legal}
        classes, streets = len(self.class_names) or label_values.CLASSES, self.class_names == CITYSCAPES
        doubt = label_values.doubt(masks, kind, means, classes=classes, streets=streets)
        held = {value for counts in masks for value in np.flatnonzero(counts).tolist()}
        if self.anomaly and held and not held & set(self.anomaly) and held <= set(legal):
            values = ", ".join(map(str, self.anomaly))
            other = " (if it is 255: say anomaly: [255] and ignore: [])" if IGNORE in held & set(self.ignore) else ""
            none = "leave anomaly out" + ("" if self.usual or self.class_ids else " and say usual")
            shares = label_values.shares(np.sum(masks, axis=0))
            return f"all masks together hold {shares}, and no anomaly, {values}{other}; if there is none: {none}"
        if doubt is None or (kind == "anomaly" and not held - set(legal)):
            return ""
        kept = "; if they are right as they are: say ids of them alone, and classes" if doubt.keep else ""
        return replace(doubt, keep=None).text(self._spelled) + kept

    def _spelled(self, values: label_values.Values) -> str:
        """Return the parameters of this data set that say so."""
        if isinstance(values, str):
            words = {"train_ids": "0: road, 1: sidewalk, ...", "label_ids": "7: road, 8: sidewalk, ..."}
            return f"ids: {{{words.get(values, '1: ' + (self.class_names or ('road',))[0] + ', ...')}}}"
        by_word: dict[str, list[str]] = {}
        for value, word in values.items():
            by_word.setdefault({"normal": "usual"}.get(str(word), str(word)), []).append(value)
        return " and ".join(f"{', '.join(named)} in {word}" for word, named in by_word.items())

    @cached_property
    def _tables(self) -> Mapping[str, Labels]:
        """Uint8 [256] for each truth: the meaning of each stored value."""
        labels, anomaly = np.full(256, IGNORE, np.uint8), np.full(256, IGNORE, np.uint8)
        for value, name in (self.class_ids or {}).items():
            labels[value] = self.class_names.index(name)
        anomaly[[*(self.class_ids or {}), *self.usual]] = 0
        anomaly[list(self.anomaly)] = 1
        return {"labels": labels, "anomaly": anomaly}


def _ranges(values: Sequence[int]) -> str:
    """Ascending values in words, such as ``0..3, 7 or 255``."""
    texts = label_values.runs_of(values, "..")
    return f"{', '.join(texts[:-1])} or {texts[-1]}" if len(texts) > 1 else texts[0]
