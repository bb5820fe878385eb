"""Classes of a data set under the names that a network has for them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from bench.api import Dataset, Sample
from bench.core.errors import BadSuite, UnknownName
from bench.core.values import IGNORE, Labels
from bench.suite.wrappers.wrapped import Wrapped

_NAMELESS = re.compile(
    r"(label|class|category)?[ _-]*\d+", re.IGNORECASE
)  # what libraries write where nobody named classes
DROPPED = "ignore"  # the word of a class_map for a class that counts nowhere


def resolved(names: Sequence[str], class_map: Mapping[str, str], *, where: str) -> dict[str, str]:
    """Return class to new name, its own where the map is silent. Raise UnknownName for a key that is no class."""
    for name in class_map:
        if name not in names:
            raise UnknownName("class in class_map", name, names, where)
    return {name: class_map.get(name, name) for name in names}


def same(names: Sequence[str], others: Sequence[str]) -> bool:
    """True for the same classes in the same order, however they are spelled: ``Traffic_Light`` is ``traffic light``."""
    return [*map(_plain, names)] == [*map(_plain, others)]


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name).strip().casefold()


def strangers(classes: Mapping[str, str], to: Sequence[str]) -> dict[str, str]:
    """The classes that become none of a network's, with what they become."""
    known = {*map(_plain, to)}
    return {name: target for name, target in classes.items() if target != DROPPED and _plain(target) not in known}


def advice(names: Sequence[str], class_map: Mapping[str, str] | None, to: Sequence[str]) -> str:
    """Name the classes of ``names`` that a network with classes ``to`` does not know, and what to write."""
    if to and all(_NAMELESS.fullmatch(name) for name in to):
        example = f": [{', '.join(names)}]" if len(to) == len(names) else f", {len(to)} of them"
        return f"its classes have no names ({_some(to, 2)}); name them in its entry, in their order: classes{example}"
    classes = {name: (class_map or {}).get(name, name) for name in names}
    lost = strangers(classes, to)
    if not lost:
        return "write class_map: {} in the entry of the data set: its classes are the network's in another order"
    shown = [name if target == name else f"{name} (as {target})" for name, target in lost.items()]
    begun = {**(class_map or {}), **{name: "..." for name in lost}}
    written = ", ".join(f"{name}: {target}" for name, target in begun.items())
    return (
        f"the network does not know {_some(shown)}; write class_map: {{{written}}} in the entry of the data set, each a"
        f" class of the network ({_some(to)}) or {DROPPED}"
    )


@dataclass(frozen=True)
class Renamed(Wrapped):
    """A data set with its classes under the names of a network. Suites make it where an entry has a ``class_map``.

    ``classes`` says of every class of ``inner`` which one of ``to`` it is, several may be the same, or ``ignore``.
    Images, anomalies, ids, groups, tags and the digest stay as they are: what classes are called is part of a key.
    """

    name = "renamed"
    source = "the data set inside"

    classes: Mapping[str, str]
    to: tuple[str, ...]

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.to

    def load(self, index: int) -> Sample:
        sample = self.inner.load(index)
        return sample if sample.labels is None else replace(sample, labels=self._table[sample.labels])

    @cached_property
    def _table(self) -> Labels:
        """Uint8 [256]: the label that each label of the data set inside becomes."""
        table = np.full(256, IGNORE, np.uint8)
        for label, name in enumerate(self.inner.class_names):
            target = self.classes[name]
            if target != DROPPED:
                table[label] = self.to.index(target)
        return table


def spelled(classes: Mapping[str, str], to: Sequence[str]) -> dict[str, Any]:
    """The parameter ``class_map`` of a data set as a suite hands it to whoever builds it."""
    known = {_plain(name): name for name in reversed(to)}
    targets = {name: target if target in to else known.get(_plain(target), target) for name, target in classes.items()}
    return {"classes": targets, "to": list(to)}


def renamed(data: Dataset, parameter: Any, *, where: str) -> Dataset:
    """Return the data set with its classes renamed as ``spelled`` says. Raise BadSuite for another parameter."""
    if not isinstance(parameter, Mapping) or parameter.keys() != {"classes", "to"}:
        raise BadSuite(
            f"{where}: class_map has no meaning here: only a suite knows whose names the classes are to have"
        )
    return Renamed(data, parameter["classes"], tuple(parameter["to"]))


def _some(names: Sequence[str], most: int = 20) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
