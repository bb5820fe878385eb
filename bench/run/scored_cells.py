"""One image scored by one method and counted in its cells: on the host, or on the device of the network.

On the host one score map after the other is made, counted and let go. On the device nobody waits: the scores of all
methods are queued, what must be looked at on the host is on its way there, and cells that need it come at the end of
the image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from bench.api import Inference, Labels, Method, Prediction, Row, Sample, Scores, State
from bench.contract.protocol import spool_dtype
from bench.core.cost import Clock
from bench.core.errors import BadPlugin
from bench.core.sharing import read_only
from bench.metrics.accumulate import Accumulator, CountedTwice, ScoredImage, Truth
from bench.ops import transfer
from bench.results import store
from bench.run import checks, scoring
from bench.run.blame import Blame
from bench.run.device_plane import DeviceImage, DeviceTruth, Tables
from bench.run.lending import Lender, Views
from bench.run.messages import CellTask, RefinementTask, Task
from bench.run.worker import Worker
from bench.suite.cells import Ref

Scorer = tuple[Ref | None, str | None]  # a method, and the key of what it was fitted to
Lent = tuple[Method, State, Views, Prediction, Inference]


@dataclass
class CellLane:
    """One cell of a task under way."""

    task: CellTask
    accumulator: Accumulator
    clock: Clock = field(default_factory=Clock)


@dataclass
class RefinementLane:
    """One refinement of a task under way."""

    task: RefinementTask
    rows: dict[str, Row] = field(default_factory=dict)
    clock: Clock = field(default_factory=Clock)


Lane = TypeVar("Lane", CellLane, RefinementLane)


class Image:
    """One sample as the network shows it."""

    def __init__(self, sample: Sample, lender: Lender, classes: Tensor | None) -> None:
        """``classes``: the class map where the network made it, uint8 [H, W]."""
        self.sample = sample.sealed()
        self.lender = lender
        self.classes = classes

    @cached_property
    def predicted(self) -> Labels | None:
        """The class map on the host, uint8 [H, W]."""
        return None if self.classes is None else read_only(transfer.to_host(self.classes))


class DevicePass:
    """All that methods of a task are given and judged by where scores are counted on the device of the network."""

    def __init__(self, *, waits: bool = False) -> None:
        """``waits``: find what a method writes into a prediction before the next one gets it."""
        self.doubts = checks.Doubts()
        self.writes: list[Tensor] | None = None if waits else []
        self.tables = Tables()
        self.later: list[Callable[[], None]] = []  # of the image: what waits for copies on the host

    def written(self) -> bool:
        """Return whether a method wrote into a prediction, unseen: the others of the shard got what it left."""
        return bool(self.writes) and bool(transfer.to_host(torch.stack(self.writes or [])).any())

    def finish_image(self) -> None:
        """Do what waits for copies, all of which are on their way."""
        for work in self.later:
            work()
        self.later.clear()


def spared(lanes: Sequence[Lane], blame: Blame) -> list[Lane]:
    """Those that nothing has happened to."""
    return [lane for lane in lanes if lane.task.key not in blame.failures]


def truth_of(image: Image, device_pass: DevicePass | None) -> Truth:
    """The truth of an image under the class map of the network."""
    if device_pass is None:
        return Truth(image.sample, image.predicted)
    return DeviceTruth(image.sample, image.classes, device_pass.tables)


def host_score(task: Task, worker: Worker, image: Image, scorer: Scorer, who: str) -> tuple[Scores, Labels | None]:
    with _lent(task, worker, image, scorer, who) as lent:
        return scoring.score(*lent, who)


@contextmanager
def _lent(task: Task, worker: Worker, image: Image, scorer: Scorer, who: str) -> Iterator[Lent]:
    """Yield the arguments of ``scoring.score``, lent to one method."""
    method, fitted = scorer
    assert method is not None  # noqa: S101 - callers looked
    rule = worker.network(task.model, task.numerics).model.inference
    with image.lender.lend(who) as (views, merged), worker.lent(fitted, who) as state:
        yield worker.method(method), state, views, merged, rule


def score_and_count(
    task: Task,
    worker: Worker,
    image: Image,
    truth: Truth,
    scorer: Scorer,
    lanes: Sequence[CellLane],
    blame: Blame,
    device_pass: DevicePass | None,
) -> None:
    """Score once for all cells of one method, then count in each."""
    sample, who = image.sample, ""
    if scorer[0] is None:
        unscored = ScoredImage(truth, {})
        if device_pass is None:
            _count_lanes(task, unscored, lanes, blame, who)
        else:
            device_pass.later.append(lambda: _count_lanes(task, unscored, spared(lanes, blame), blame, who))
        return
    who = f"method {scorer[0].label} on {task.dataset.label}/{sample.id}"
    if device_pass is not None:
        _score_on_device(task, worker, image, truth, scorer, lanes, blame, device_pass, who)
        return
    maps: dict[str, Scores] = {}  # that a protocol may read, by name
    with blame.of([lane.task.key for lane in lanes], who), lanes[0].clock("score", scorer[0].label):
        maps["score"], own = host_score(task, worker, image, scorer, who)
        if own is not None:
            truth = Truth(sample, own)
        if any(lane.accumulator.protocol.reads == "confidence" for lane in lanes):
            maps["confidence"] = checks.confidence(worker.method(scorer[0]), maps["score"], who)
    _count_lanes(task, ScoredImage(truth, maps), spared(lanes, blame), blame, who)


def _score_on_device(
    task: Task,
    worker: Worker,
    image: Image,
    truth: Truth,
    scorer: Scorer,
    lanes: Sequence[CellLane],
    blame: Blame,
    device_pass: DevicePass,
    who: str,
) -> None:
    """The same on the device: what a cell looks at on the host is on its way there, and the rest is done ``later``."""
    assert scorer[0] is not None and isinstance(truth, DeviceTruth)  # noqa: S101 - as the caller knows
    method, keys = worker.method(scorer[0]), [lane.task.key for lane in lanes]
    with blame.of(keys, who), lanes[0].clock("score", scorer[0].label):
        with _lent(task, worker, image, scorer, who) as lent:
            score, own = scoring.score_on_device(*lent, who)
        checks.scores_on_device(score, keys, who, device_pass.doubts)
        scored = DeviceImage(
            truth if own is None else truth.under(own),
            score,
            lambda array: checks.scores(array, who),
            lambda array: checks.confidence(method, array, who),
        )
    waiting = spared(lanes, blame)
    if not waiting:
        return
    for lane in list(waiting):
        protocol = lane.accumulator.protocol
        with blame.of([lane.task.key], who), lane.clock("count", lane.task.protocol.label):
            if lane.task.spool is None and scored.counts_here(protocol):
                waiting.remove(lane)
                count(task, lane, scored)
            else:
                scored.fetch(protocol)
    device_pass.later.append(lambda: _count_lanes(task, scored, spared(waiting, blame), blame, who))


def _count_lanes(task: Task, scored: ScoredImage, lanes: Sequence[CellLane], blame: Blame, who: str) -> None:
    for lane in lanes:
        where = f"{task.dataset.label}/{scored.truth.sample.id}"
        with blame.of([lane.task.key], f"protocol {lane.task.protocol.label} on {where}"):
            with lane.clock("count", lane.task.protocol.label):
                count(task, lane, scored)
            spool_counted(task, lane, scored, who)


def count(task: Task, lane: CellLane, image: ScoredImage, also: Row | None = None) -> None:
    """One image into the accumulator of one cell; ``also`` joins its row."""
    try:
        lane.accumulator.add(image, also)
    except CountedTwice as error:
        raise BadPlugin(f"dataset {task.dataset.label} gives the id {error.sample} twice") from None


def spool_counted(task: Task, lane: CellLane, image: ScoredImage, who: str) -> None:
    protocol = lane.accumulator.protocol
    score = image.score(protocol) if lane.task.spool is not None else None
    if lane.task.spool is not None and score is not None:
        with lane.clock("spool"):
            truth = image.truth
            spool(task.run / lane.task.spool, truth.sample.id, score, truth.predicted, spool_dtype(protocol), who)


def spool(folder: Path, sample: str, score: Scores, predicted: Labels | None, dtype: str, who: str) -> None:
    lasting = (folder / "kept").is_file()
    store.write_map(store.map_path(folder, sample), checks.storable(score, dtype, who), lasting=lasting)
    if predicted is not None:
        store.write_map(store.map_path(folder, sample, "predictions"), predicted, lasting=lasting)
