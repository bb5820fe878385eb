"""The cells to run, and how large everything is."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from bench.fit import fitted_store
from bench.models.numerics import Numerics
from bench.results.measured_costs import identity, scorer_of
from bench.run import fits
from bench.run.preflight import Checked
from bench.suite.cells import Cell, Ref, Suite

Group = tuple[Ref, Ref]  # network and data set


@dataclass(frozen=True)
class Plan:
    """The way in which it will be run."""

    shard_of: Callable[[Ref], int]  # images per shard of a data set
    processes: Sequence[int] = (1, 2, 4, 8)
    workers: int = 1  # readers of each process
    limit: int | None = None  # first images of each data set only


class Workload:
    """The cells to run, by network and data set, and how large everything is."""

    def __init__(self, suite: Suite, checked: Checked, numerics: Numerics, plan: Plan) -> None:
        self.suite, self.checked, self.numerics, self.plan = suite, checked, numerics, plan
        self.groups: dict[Group, list[Cell]] = defaultdict(list)
        for cell in suite.cells:
            if cell.key not in checked.refused:
                self.groups[cell.model, cell.dataset].append(cell)
        self._texts: dict[Ref, str] = {}
        self._sizes: dict[Ref, tuple[int, int]] = {}
        self._shards: dict[Ref, int] = {}

    def text(self, ref: Ref | None) -> str:
        """The identity of a plug-in; of a method without its fit."""
        if ref is None:
            return ""
        if ref not in self._texts:
            self._texts[ref] = scorer_of(ref) if ref.kind == "method" else ref.identity
        return self._texts[ref]

    def data(self, ref: Ref) -> tuple[str, str]:
        """The identities of a data set without its corruption, and of that."""
        return self.text(self.plain(ref)), self._corruptions.get(ref, "")

    def plain(self, ref: Ref) -> Ref:
        return self._plains[ref]

    @cached_property
    def _plains(self) -> dict[Ref, Ref]:
        return {ref: ref.plain for ref in self.checked.datasets}

    @cached_property
    def _corruptions(self) -> dict[Ref, str]:
        return {ref: identity(ref.params.get("corruption")) for ref in self.checked.datasets}

    def kind(self, cell: Cell) -> tuple[str, str, str, str]:
        """See ``Record.kind``."""
        return self.text(cell.protocol), self.text(cell.model), self.data(cell.dataset)[0], self.text(cell.method)

    def images(self, dataset: Ref) -> int:
        count = self.checked.datasets[dataset].count
        return min(self.plan.limit or count, count)

    def size(self, dataset: Ref) -> tuple[int, int]:
        """Of the labels of its first image; those of a grid of corruptions are one."""
        plain = self.plain(dataset)
        if plain not in self._sizes:
            self._sizes[plain] = self.checked.datasets[dataset].load(0).size
        return self._sizes[plain]

    def shard(self, dataset: Ref) -> int:
        """Images per shard."""
        plain = self.plain(dataset)
        if plain not in self._shards:
            self._shards[plain] = self.plan.shard_of(plain)
        return self._shards[plain]

    def pixels(self, dataset: Ref) -> int:
        return math.prod(self.size(dataset)) * self.images(dataset)

    def to_fit(self) -> dict[str, Cell]:
        """Quick fits that nobody made yet, by their key."""
        missing: dict[str, Cell] = {}
        for cell in itertools.chain.from_iterable(self.groups.values()):
            if cell.method and cell.method.fit and not fitted_store.is_long(cell.method):
                key = fits.key_of(cell, self.checked, self.numerics)
                if key and key not in missing and not fits.is_made(key):
                    missing[key] = cell
        return missing
