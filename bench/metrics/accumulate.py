"""The one loop of a protocol: images in, counts and rows kept, figures with intervals out. Imports no torch.

``Truth`` and ``ScoredImage`` are one image as any number of protocols count it, ``Accumulator`` is what one protocol
keeps of all images, ``Reading`` what its figures are read off.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.contract.dataset import Sample
from bench.contract.protocol import Breakdown, Protocol, TwoPhase, quantized, wants_exact
from bench.core.errors import BadPlugin
from bench.core.kept_rows import KeptRows, RowFile
from bench.core.sharing import mark, read_only
from bench.core.values import Labels, Row, Rows, Scores, Undefined, Value
from bench.counts.bins import binned_counts
from bench.counts.plane import HOST, Plane
from bench.counts.tally import BUDGET, Column, Counts, Tally, key_pixels
from bench.metrics.intervals import intervals

ALONE = 512  # images whose own figures are read at once
OURS = "bench.metrics.protocols."  # where the protocols of this package are
NEAR = 1 << 26  # bytes of exact keys that a span may have, whatever the budget
NOTHING = Counts(32, ())  # what a protocol reads that counts no scores


class CountedTwice(ValueError):
    """An image was added or merged twice; ``sample`` is its id."""

    def __init__(self, sample: str) -> None:
        super().__init__(f"sample {sample} is counted twice")
        self.sample = sample


class Truth:
    """One image under one class map: the categories of a protocol are made once, however many score maps there are."""

    def __init__(self, sample: Sample, predicted: Labels | None) -> None:
        self.sample = sample.sealed()
        self._predicted = None if predicted is None else read_only(predicted)
        self._made: list[tuple[Protocol, Labels]] = []

    @property
    def predicted(self) -> Labels | None:
        """The class map, uint8 [H, W]; None where no protocol reads one."""
        return self._predicted

    def categories(self, protocol: Protocol) -> Labels:
        """Return uint8 [H, W]; one array for equal protocols."""
        for known, categories in self._made:
            if known is protocol or known == protocol:
                return categories
        categories = protocol.categories(self.sample, self.predicted)
        self._made.append((protocol, categories))
        return categories


@dataclass(frozen=True, eq=False)
class Counted:
    """The pixels of one image as some protocols count them, and the plane on which they are."""

    score: Any  # Scores, or a tensor
    categories: Any  # Labels, or a tensor
    keyed: Any  # what ``plane`` takes: ``Keyed`` on the host
    pixels: int  # ignored ones included
    plane: Plane[Any] = HOST


class ScoredImage:
    """The maps of one method for one image: protocols that count the same pixels share what is made of them.

    ``maps`` are float32 [H, W] by what protocols read, ``score`` or ``confidence``; empty for protocols that read the
    class map alone. A map that is elsewhere is fetched when a protocol wants to see it.
    """

    def __init__(self, truth: Truth, maps: Mapping[str, Scores]) -> None:
        self.truth = truth
        self._maps = maps
        self._taken: list[Scores] = []
        self._by_protocol: list[tuple[Protocol, Scores]] = []
        self._counted: list[Counted] = []

    def score(self, protocol: Protocol) -> Scores | None:
        """Return the map as a protocol takes it, float32 [H, W]: one array for all that take the same; None if none.

        This is also what a second phase must be given, so that a spool stores it.
        """
        if protocol.reads is None or protocol.reads not in self._maps:
            return None
        for known, score in self._by_protocol:
            if known is protocol:
                return score
        own = self._maps[protocol.reads]
        if not any(known is own for known in self._taken):
            self._taken.append(own)
        score = self.shared(self.taken(protocol, own))
        self._by_protocol.append((protocol, score))
        return score

    def taken(self, protocol: Protocol, score: Scores) -> Scores:
        """Return a map as a protocol takes it; a subclass may bring it to the size of the labels."""
        lent = read_only(score)
        taken = quantized(protocol, lent)
        return score if taken is lent else taken

    def shared(self, score: Scores) -> Scores:
        """Return the first array that had these values."""
        if any(known is score for known in self._taken):
            return score
        for known in self._taken:
            if np.array_equal(known, score):
                return known
        self._taken.append(score)
        return score

    def row(self, protocol: Protocol) -> Row:
        """Return what a protocol keeps of the image beside its counts."""
        score = self.score(protocol)
        return protocol.row(self.truth.sample, self.truth.predicted, None if score is None else read_only(score))

    def counted(self, protocol: Protocol) -> Counted | None:
        """Return the pixels as a protocol counts them: one object for all that count the same; None without a map."""
        score = self.score(protocol)
        if score is None:
            return None
        categories, number = self.truth.categories(protocol), len(protocol.category_names)
        for known in self._counted:
            alike = known.score is score and known.keyed.n_categories == number
            if alike and (known.categories is categories or np.array_equal(known.categories, categories)):
                return known
        keyed = key_pixels(score, categories, number)
        self._counted.append(Counted(score, categories, keyed, categories.size))
        return self._counted[-1]


@dataclass(frozen=True, eq=False)
class _Waiting:
    """An image that is not counted yet."""

    sample: str
    counted: Counted
    more: Row  # joins the row of the image


class Accumulator:
    """State that one protocol keeps of all images: a tally of scores by category, and one row per image.

    In one process::

        accumulator = Accumulator(protocol, budget)
        for ...:  # each image
            accumulator.add(ScoredImage(Truth(sample, predicted), {"score": score}))
        figures, replicates = accumulator.reading().figures(seed, resamples)

    A worker keeps one per cell, makes one ``Truth`` per image (another where a method brings a class map of its own)
    and one ``ScoredImage`` per method, calls ``add`` for each cell of that method, spools ``ScoredImage.score``, and
    writes ``tally`` and ``rows`` to its shard. A finaliser begins with an empty one of the same budget, calls ``merge``
    for each shard, and reads ``reading()``. Where the protocol has a second phase, ``parameters()`` lies between: the
    worker then calls ``add_second`` on an empty one, and the finaliser ``merge_second`` after ``merge``.

    The result depends on the set of images alone, never on their order or on how they were parted.
    """

    def __init__(
        self, protocol: Protocol, budget: int = BUDGET, *, fold: bool = False, file: RowFile | None = None
    ) -> None:
        """``budget`` is the bytes of exact keys; with ``fold`` only 24 bits of each score are kept from the start.

        ``file`` takes the rows of many images; those who keep the same arrays share one.
        """
        self.protocol = protocol
        self.tally = Tally(len(protocol.category_names), budget) if protocol.reads else None
        if self.tally is not None and fold:
            self.tally.fold()
        self._rows = KeptRows(file)
        self._waiting: list[_Waiting] = []
        self._second: set[str] = set()  # ids with a row of the second phase
        self._near: Tally | None = None  # pixels of the span that the second phase wanted counted exactly

    @property
    def rows(self) -> dict[str, Row]:
        """Sorted by id; those of images that wait to be counted are not whole before ``collect``."""
        return {sample: self._rows[sample] for sample in sorted(self._rows)}

    def add(self, image: ScoredImage, more: Row | None = None) -> None:
        """Count one image, or have it wait for others; ``more`` joins its row. Raises ``CountedTwice``."""
        counted, sample = self._observe(image), image.truth.sample.id
        if counted is None:
            self._rows.join(sample, more or {})
            return
        if self._waiting and self._waiting[0].counted.plane is not counted.plane:
            self.collect()
        self._waiting.append(_Waiting(sample, counted, more or {}))
        if sum(waiting.counted.pixels for waiting in self._waiting) >= counted.plane.together:
            self.collect()

    def collect(self) -> None:
        """Count the images that wait. Before ``tally``, ``rows`` or ``reading`` are looked at."""
        images, self._waiting = self._waiting, []
        if not images or self.tally is None:
            return
        plane = images[0].counted.plane
        bins = plane.count([image.counted.keyed for image in images], self.tally)
        for image, row in zip(images, bins, strict=True):
            self._rows.join(image.sample, {**row, **image.more})

    def _observe(self, image: ScoredImage) -> Counted | None:
        """Keep the row of an image, and return its pixels, which are still to be counted."""
        sample, row = image.truth.sample, dict(image.row(self.protocol))
        counted = image.counted(self.protocol) if self.tally is not None else None
        if sample.id in self._rows:
            raise CountedTwice(sample.id)
        self._rows[sample.id] = row
        return counted

    def parameters(self) -> Mapping[str, float] | Undefined | None:
        """Return what the second phase takes from the first; None if the protocol has one phase."""
        return self.reading().parameters() if isinstance(self.protocol, TwoPhase) else None

    def undecided(self) -> tuple[float, float] | None:
        """Return the span of scores that the second phase wants counted exactly; None if it knows enough."""
        if isinstance(self.protocol, TwoPhase) and wants_exact(self.protocol):
            return self.protocol.undecided(self.reading().counts)
        return None

    def settle(self, tallies: Iterable[Tally], span: tuple[float, float]) -> None:
        """Take the span from exact tallies of all images; without one of them it stays undecided."""
        assert self.tally is not None  # noqa: S101 - a span is one of scores
        near = Tally(self.tally.categories, max(self.tally.budget, NEAR))
        for tally in tallies:
            part = tally.between(*span, near.budget)
            if part is None:
                return
            near.merge(part)
        self._near = near if near.exact else None

    def add_second(
        self, sample: Sample, predicted: Labels | None, score: Scores, parameters: Mapping[str, float]
    ) -> None:
        """Second phase of one image; ``score`` as ``ScoredImage.score`` gave it. Raises ``CountedTwice``."""
        if isinstance(self.protocol, TwoPhase):
            truth, lent = Truth(sample, predicted), MappingProxyType(parameters)
            row = self.protocol.second_row(read_only(score), truth.sample, truth.predicted, lent)
            self.merge_second({sample.id: row})

    def merge(self, tally: Tally | None, rows: Rows) -> None:
        """Add what another process counted, under the same budget; it stays as it is. Raises ``CountedTwice``."""
        if twice := self._rows.keys() & rows.keys():
            raise CountedTwice(min(twice))
        if self.tally is not None and tally is not None:
            self.tally.merge(tally)
        self._rows.update(rows)

    def merge_second(self, rows: Rows) -> None:
        """Join the rows of the second phase to those of the first. Raises ``CountedTwice``."""
        if twice := self._second & rows.keys():
            raise CountedTwice(min(twice))
        self._second |= rows.keys()
        for sample, row in rows.items():
            self._rows.join(sample, row)

    def reading(self) -> Reading:
        """Return counts and rows, to read figures off; valid until the next image is added."""
        counts = NOTHING if self.tally is None else self.tally.counts()
        if self._near is not None:
            counts.near = self._near.counts()
        return Reading(self.protocol, counts, self._rows.sealed())


def _marks(column: Column) -> tuple[bytes, bytes]:
    return mark(column.keys), b"" if column.counts is None else mark(column.counts)


def sharing(protocols: Sequence[Protocol], budget: int) -> list[Accumulator]:
    """Return one accumulator per protocol, those of as many categories with one tally, for ``add_together``."""
    file = RowFile()
    accumulators = [Accumulator(protocol, budget, file=file) for protocol in protocols]
    tallies: dict[int, Tally] = {}
    for accumulator in accumulators:
        if accumulator.tally is not None:
            accumulator.tally = tallies.setdefault(accumulator.tally.categories, accumulator.tally)
    return accumulators


def add_together(accumulators: Sequence[Accumulator], image: ScoredImage) -> None:
    """Add one image to accumulators that may share tallies: those that it tells apart share none from here on."""
    observed = [(accumulator, accumulator._observe(image)) for accumulator in accumulators]
    for members in by_tally(accumulators):
        tally = members[0].tally
        parts: dict[int, tuple[Counted, list[Accumulator]]] = {}
        for accumulator, counted in observed:
            if accumulator in members and counted is not None:
                parts.setdefault(id(counted), (counted, []))[1].append(accumulator)
        if tally is None or not parts:
            continue
        copies = [tally.copy() for _ in range(len(parts) - 1)]
        for (counted, owners), own in zip(parts.values(), [tally, *copies], strict=True):
            (bins,) = counted.plane.count([counted.keyed], own)
            for owner in owners:
                owner.tally = own
                owner._rows.join(image.truth.sample.id, bins)


def by_tally(accumulators: Iterable[Accumulator]) -> list[list[Accumulator]]:
    """Return groups that share a tally; those without one are alone."""
    groups: dict[int, list[Accumulator]] = {}
    for accumulator in accumulators:
        groups.setdefault(id(accumulator if accumulator.tally is None else accumulator.tally), []).append(accumulator)
    return list(groups.values())


@dataclass(frozen=True, eq=False)
class Reading:
    """Counts and rows that a protocol reads figures off, wherever they come from: a tally, a file, or rows alone."""

    protocol: Protocol
    counts: Counts  # without a column where the protocol counts no scores
    rows: Rows  # sorted by id

    @classmethod
    def of_rows(cls, protocol: Protocol, rows: Rows) -> Reading:
        """From the leading bits that each image left in its row: a ranking is known to within its ``err``."""
        counts = binned_counts(rows, len(protocol.category_names)) if protocol.reads else NOTHING
        return cls(protocol, counts, rows)

    def read(self) -> dict[str, Value | Undefined]:
        """Return the figures, without intervals."""
        with self._lent():
            return dict(self.protocol.read(self.counts, self.rows))

    def parameters(self) -> Mapping[str, float] | Undefined | None:
        """Return what the second phase takes from the first; None if the protocol has one phase."""
        with self._lent():
            return self.protocol.parameters(self.counts, self.rows) if isinstance(self.protocol, TwoPhase) else None

    def breakdown(self) -> Mapping[str, Mapping[str, Mapping[str, Value | Undefined]]]:
        """Return figures of parts of the truth by axis and part; empty where the protocol counts none apart."""
        with self._lent():
            return self.protocol.breakdown(self.counts, self.rows) if isinstance(self.protocol, Breakdown) else {}

    @contextmanager
    def _lent(self) -> Iterator[None]:
        """Raise BadPlugin at the end if the protocol changed the counts, which others may share.

        Those of this package are held to it by a test: looking at all counts costs as much as reading some figures.
        """
        if type(self.protocol).__module__.startswith(OURS):
            yield
            return
        before = [_marks(column) for column in self.counts.columns]
        yield
        if [_marks(column) for column in self.counts.columns] != before:
            raise BadPlugin(f"protocol {self.protocol.name} changed the counts that it reads in place; change a copy")

    def figures(
        self, seed: int, resamples: int, groups: Sequence[str] | None = None
    ) -> tuple[dict[str, Value | Undefined], dict[str, NDArray[np.float64]]]:
        """Return the figures with the bootstrap's intervals, and its replicates [R] by figure.

        ``groups`` names, for each image in the order of ``rows``, what it is drawn together with.
        """
        return intervals(self.protocol, self.read(), self.rows, seed, resamples, groups)

    @property
    def pixels(self) -> dict[str, int]:
        """Number of pixels by category; empty where no scores were counted."""
        names = self.protocol.category_names
        return {name: column.total for name, column in zip(names, self.counts.columns, strict=False)}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return, over the images in the order of ``rows``, each figure, NaN where it has none, and the pixels."""
        number = len(self.rows)
        parts = [
            self.protocol.bootstrap(np.eye(min(ALONE, number - start), number, start), self.rows)
            for start in range(0, max(number, 1), ALONE)
        ]
        arrays: dict[str, NDArray[Any]] = {
            f"images.{name}": np.concatenate([part[name] for part in parts]) for name in parts[0]
        }
        if self.protocol.reads:
            arrays["images.pixels"] = np.array([row["bin_counts"].sum(axis=0) for row in self.rows.values()], np.int64)
        return arrays
