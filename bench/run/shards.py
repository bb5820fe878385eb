"""The work of one process on one range of samples: what every executor runs.

A shard goes through the network once for all its cells and leaves one file per cell, by rename: counts, rows by
sample id, seconds. Nothing in it depends on other shards, so they may run anywhere and in any order. A task of pictures
goes through the network as the first phase does and leaves pictures in place of counts.

A sample that cannot be read or scored fails the cells that need it, by name, and no others: see ``Failure``.
"""

from __future__ import annotations

import itertools
import json
import resource
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from bench.api import (
    Dataset,
    Inference,
    Labels,
    Method,
    Prediction,
    Protocol,
    Quantity,
    Refinement,
    Row,
    Sample,
    Scored,
    Scores,
    SegModel,
    State,
    View,
)
from bench.core import files
from bench.core.errors import BadPlugin, CannotWrite, OutOfMemory, UserError, WorkerDied
from bench.counts.tally import Tally, key_pixels
from bench.fit import fitted_store
from bench.models import inference, numerics
from bench.models.numerics import Numerics
from bench.results import pictures, store
from bench.suite.expansion import Ref
from bench.suite.loader import Loader, Spelled

Advance = Callable[[int], None]
FATAL = (CannotWrite, WorkerDied)  # of the machine, not of what runs on it


@dataclass(frozen=True)
class Failure:
    """Why a cell, or a refinement with all its cells, has no figures."""

    message: str  # one line, with the sample's id where one sample did it
    trace: str = ""  # of an exception that does not explain itself
    model: bool = False  # the network cannot be loaded: no other data set will fare better with it


@dataclass(frozen=True)
class DraftTask:
    """A refinement as a shard sees it: all cells of one method share it."""

    key: str
    method: Ref
    fitted: str | None
    stamp: str
    spool: str  # folder of the maps before they are refined, relative to the run


@dataclass(frozen=True)
class CellTask:
    """One cell as a shard sees it."""

    key: str
    protocol: Ref
    method: Ref | None
    fitted: str | None  # key of what was fitted
    budget: int
    fold: bool  # the cell as a whole is beyond its budget already: counting 24 bits at once saves memory, not digits
    stamp: str  # what the numbers depend on; a shard with another stamp is not merged
    spool: str | None  # folder for score maps, relative to the run
    parameters: Mapping[str, float] = field(default_factory=dict)  # of the second phase
    draft: DraftTask | None = None  # where the method is a refinement


@dataclass(frozen=True)
class MapTask:
    """The score map of one method as a picture."""

    method: Ref
    fitted: str | None
    protocol: Ref  # whose counts the levels were read off
    file: str
    limits: tuple[float, ...]  # lowest score of each level; see ``pictures.thresholds``


@dataclass(frozen=True)
class PictureTask:
    """What is drawn of each sample of a task."""

    folder: str  # relative to the run; each sample has its own in it
    stamp: str  # what the pictures are made with
    indices: tuple[int, ...]  # of the samples, in place of the range
    maps: tuple[MapTask, ...]


@dataclass(frozen=True)
class Task:
    """A range of the samples of one data set, through one network, for some cells."""

    run: Path
    model: Ref
    dataset: Ref
    cells: tuple[CellTask, ...]
    start: int
    stop: int
    numerics: Numerics
    seed: int
    workers: int  # processes that read ahead
    phase: int = 1
    drafts: tuple[DraftTask, ...] = ()  # of the first phase, beside the cells
    refined: bool = False  # the first phase counts refined maps: no network
    ahead: tuple[int, int] = (0, 0)  # the range that the same process will do next
    pictures: PictureTask | None = None  # in place of cells
    ids: tuple[str, ...] = ()  # of the samples
    found: Path | None = None  # where files of earlier phases are, if not in ``run``

    @property
    def keys(self) -> tuple[str, ...]:
        """What a failure of the whole task fails: cells and refinements, or pictures."""
        if self.pictures:
            return (self.pictures.folder,)
        return (*(cell.key for cell in self.cells), *(draft.key for draft in self.drafts))

    @property
    def images(self) -> int:
        return len(self.pictures.indices) if self.pictures else self.stop - self.start

    @property
    def earlier(self) -> Path:
        """Where what earlier phases left is read."""
        return self.found or self.run

    def __str__(self) -> str:
        samples = f"{self.ids[0]} to {self.ids[-1]}" if len(self.ids) > 1 else "".join(self.ids)
        return f"model {self.model.label} on {self.dataset.label}/{samples}"


@dataclass(frozen=True)
class Fit:
    """An estimate that a suite declares, on data of its own."""

    key: str  # of what is fitted
    method: Ref
    model: Ref
    origin: Mapping[str, Any]
    numerics: Numerics
    workers: int
    images: int

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.key,)

    def __str__(self) -> str:
        return f"fit of {self.method.label} for model {self.model.label}"


@dataclass(frozen=True)
class Shard:
    """What one cell got from one range."""

    stamp: str
    tally: Tally | None
    rows: dict[str, Row]
    seconds: dict[str, float]
    memory_mb: float
    about: dict[str, dict[str, Any]] = field(default_factory=dict)  # group and tags by sample id
    network: dict[str, Any] = field(default_factory=dict)  # what ``network_of`` says of it


def path_of(run: Path, key: str, start: int, stop: int, phase: int) -> Path:
    return run / "work" / key / f"phase{phase}-{start:07d}-{stop:07d}.npz"


def decided_path(run: Path, key: str) -> Path:
    return run / "work" / key / "decided.npz"


def write(path: Path, shard: Shard) -> None:
    header = {"stamp": shard.stamp, "seconds": shard.seconds, "memory_mb": shard.memory_mb, "ids": list(shard.rows)}
    header |= {"about": shard.about, "network": shard.network, "pixels": shard.tally.pixels if shard.tally else 0}
    arrays = {"header": np.array(json.dumps(header)), **store.pack_rows(shard.rows)}
    if shard.tally is not None:
        arrays |= {f"tally.{name}": array for name, array in shard.tally.arrays().items()}
    store.write_arrays(path, arrays)


def read(path: Path) -> Shard:
    with store.load_arrays(path) as arrays:
        header = json.loads(str(arrays["header"]))
        counted = {name.removeprefix("tally."): arrays[name] for name in arrays.files if name.startswith("tally.")}
        rows = store.unpack_rows(
            header["ids"], {name: arrays[name] for name in arrays.files if name.startswith("row.")}
        )
    tally = Tally.from_arrays(counted) if counted else None
    cost, said = (header["seconds"], header["memory_mb"]), (header["about"], header.get("network", {}))
    return Shard(header["stamp"], tally, rows, *cost, *said)


def header_of(path: Path) -> dict[str, Any]:
    """Stamp, sample ids and number of counted pixels of a shard file, without its counts."""
    with store.load_arrays(path) as arrays:
        header: dict[str, Any] = json.loads(str(arrays["header"]))
        return header


class Clock:
    """CPU seconds of this process by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        before = time.process_time()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.process_time() - before


@dataclass
class Lane:
    """One cell in flight."""

    task: CellTask
    protocol: Protocol
    tally: Tally | None
    rows: dict[str, Row] = field(default_factory=dict)
    clock: Clock = field(default_factory=Clock)


@dataclass
class DraftLane:
    """One refinement in flight."""

    task: DraftTask
    rows: dict[str, Row] = field(default_factory=dict)
    clock: Clock = field(default_factory=Clock)


L = TypeVar("L", Lane, DraftLane)  # something of a task that may fail on its own


class Worker:
    """What one process keeps between shards: the network on its device, the methods, the readers ahead."""

    def __init__(self) -> None:
        self._model: tuple[Ref, Numerics, SegModel] | None = None
        self._loaders: dict[tuple[Spelled, int, bool], Loader] = {}
        self._methods: dict[Ref, Method] = {}
        self._states: dict[str, State] = {}
        self._met: set[tuple[Ref, Ref, Numerics]] = set()

    def model(self, ref: Ref, how: Numerics) -> SegModel:
        """The network, loaded; the one before it is let go first."""
        if self._model is None or self._model[:2] != (ref, how):
            self._model = None
            numerics.apply(how)
            model: SegModel = ref.build()
            model.load(how.device)
            self._model = (ref, how, model)
        return self._model[2]

    def loader(self, ref: Ref, workers: int, *, images: bool) -> Loader:
        spelled = (ref.name, ref.given)
        key = (spelled, workers, images)
        if key not in self._loaders:
            self.close()  # one data set at a time
            self._loaders[key] = Loader(ref.build(), spelled, workers, images=images)
        return self._loaders[key]

    def method(self, ref: Ref) -> Method:
        if ref not in self._methods:
            self._methods[ref] = ref.build()
        return self._methods[ref]

    def meet(self, ref: Ref, model: Ref, how: Numerics) -> None:
        """Show the network to a method that is about to score its predictions for the first time."""
        if (ref, model, how) not in self._met:
            self.method(ref).check(model.build(), self.model(model, how))
            self._met.add((ref, model, how))

    def state(self, fitted: str | None) -> State:
        if fitted is None:
            return {}
        if fitted not in self._states:
            self._states[fitted] = fitted_store.load(fitted).state
        return self._states[fitted]

    def take_state(self, fitted: str, state: State) -> None:
        """What was fitted elsewhere, on a machine whose files are not here."""
        self._states[fitted] = state

    def forget(self) -> None:
        """Let go of the network too, after want of memory."""
        self.close()
        self._model = None

    def close(self) -> None:
        for loader in self._loaders.values():
            loader.close()
        self._loaders.clear()


def run(task: Task, worker: Worker, advance: Advance | None = None) -> dict[str, Failure]:
    """Do one task and write its shards, but for those of what failed: by the key of the cell or refinement.

    ``advance`` is told of every image. Raises only what is no fault of plug-ins or data: CannotWrite, WorkerDied.
    """
    blame = _Blame(task)
    with blame.everyone():
        if task.pictures is not None:
            with torch.no_grad():
                _draw(task, task.pictures, worker, advance or (lambda _: None))
        elif task.phase == 1 and task.refined:
            _count_refined(task, worker, advance or (lambda _: None), blame)
        elif task.phase == 1:
            with torch.no_grad():  # a method that needs gradients turns them on for itself
                _first_phase(task, worker, advance or (lambda _: None), blame)
        else:
            _second_phase(task, worker, advance or (lambda _: None), blame)
    return blame.failures


class _Blame:
    """Who fails when something is raised: one lane, the lanes of a method, or everybody."""

    def __init__(self, task: Task) -> None:
        self.failures: dict[str, Failure] = {}
        self.where = f"model {task.model.label} on {task.dataset.label}"
        self.loading = False  # the network: then it fails everywhere
        self._everyone = task.keys

    @contextmanager
    def everyone(self) -> Iterator[None]:
        with self.of(self._everyone, lambda: self.where):
            yield

    @contextmanager
    def of(self, keys: Iterable[str], who: str | Callable[[], str]) -> Iterator[None]:
        """Keep what is raised inside as the failure of ``keys``; ``who`` is named unless the error does so."""
        try:
            yield
        except FATAL:
            raise
        except UserError as error:
            self._keep(keys, said(error, who if isinstance(who, str) else who()), "")
        # Plug-ins are somebody's code: whatever they raise fails the cells that need them, and leaves its traceback.
        except Exception as error:
            place = who if isinstance(who, str) else who()
            if short_of_memory(error):
                raise OutOfMemory(f"{place}: ran out of memory") from error
            self._keep(keys, f"{place}: {raised(error)}", traceback.format_exc())

    def _keep(self, keys: Iterable[str], message: str, trace: str) -> None:
        failure = Failure(" ".join(message.split()), trace, self.loading)
        self.failures |= {key: failure for key in keys if key not in self.failures}

    def spared(self, lanes: Sequence[L]) -> list[L]:
        """Those that nothing has happened to."""
        return [lane for lane in lanes if lane.task.key not in self.failures]


def said(error: UserError, who: str) -> str:
    """What an error says, with the place in front unless it is named."""
    return str(error) if who.rpartition("/")[2] in str(error) else f"{who}: {error}"


def raised(error: Exception) -> str:
    """An exception that does not explain itself: its class, its words, and the line that raised it."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({Path(last.filename).name}:{last.lineno})"


def short_of_memory(error: Exception) -> bool:
    """Whether an error is for want of memory; PyTorch's allocator for the CPU says so in words alone."""
    if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "allocate memory" in str(error)


def _first_phase(task: Task, worker: Worker, advance: Advance, blame: _Blame) -> None:
    clock = Clock()
    with clock("setup"):
        blame.loading = True
        model = worker.model(task.model, task.numerics)
        blame.loading = False
        loader = worker.loader(task.dataset, task.workers, images=True)
        lanes = [_lane(cell) for cell in task.cells]
        drafts = [DraftLane(one) for one in task.drafts]
        for method in {cell.method for cell in task.cells if cell.method} | {one.method for one in task.drafts}:
            users = [cell.key for cell in task.cells if cell.method == method]
            users += [draft.key for draft in task.drafts if draft.method == method]
            with blame.of(users, f"method {method.label} on {task.model.label}"):
                worker.meet(method, task.model, task.numerics)
    read_before = loader.cpu_seconds
    about: dict[str, dict[str, Any]] = {}
    asked: dict[Quantity, None] = {}
    samples = loader.samples(range(task.start, task.stop), range(*task.ahead))
    whole = blame.where
    for sample in inference.prepared(model, samples):
        blame.where = f"{whole}/{sample.id}"
        about[sample.id] = {"group": sample.group, "tags": dict(sample.tags)}
        with clock("predict"):
            seen, merged = inference.look(model, sample, task.numerics, task.seed, asked)
            _check_outputs(task, sample, seen)
            predicted = _predicted(merged, sample)
        truths = _Truths(sample, predicted)
        for method_ref, mates in _by_method(blame.spared(lanes)):
            _feed(task, worker, truths, seen, merged, method_ref, mates, blame)
        for draft in blame.spared(drafts):
            with blame.of([draft.task.key], f"method {draft.task.method.label} on {task.dataset.label}/{sample.id}"):
                _look(task, worker, sample, seen, merged, predicted, draft)
        if not blame.spared(lanes) and not blame.spared(drafts):
            return  # nobody is left to look at the others for
        blame.where = whole
        advance(1)
    clock.seconds["load"] = loader.cpu_seconds - read_before
    network = network_of(model)
    for lane in blame.spared(lanes):
        seconds = clock.seconds | lane.clock.seconds
        shard = Shard(lane.task.stamp, lane.tally, lane.rows, seconds, peak_memory(), about, network)
        write(path_of(task.run, lane.task.key, task.start, task.stop, 1), shard)
    for draft in blame.spared(drafts):
        shard = Shard(draft.task.stamp, None, draft.rows, clock.seconds | draft.clock.seconds, peak_memory(), about)
        write(path_of(task.run, draft.task.key, task.start, task.stop, 0), shard)


def network_of(model: SegModel) -> dict[str, Any]:
    """What a loaded network says of itself in a table: ``backbone`` and ``parameters``; empty for a program."""
    try:
        module = model.module()
    except BadPlugin:
        return {}
    known = {"backbone": model.backbone, "parameters": sum(each.numel() for each in module.parameters())}
    return {name: value for name, value in known.items() if value}


def _lane(cell: CellTask) -> Lane:
    protocol: Protocol = cell.protocol.build()
    tally = Tally(len(protocol.category_names), cell.budget) if protocol.scored else None
    if tally is not None and cell.fold:
        tally.fold()
    return Lane(cell, protocol, tally)


def _by_method(lanes: Sequence[Lane]) -> Iterable[tuple[tuple[Ref | None, str | None], list[Lane]]]:
    groups: dict[tuple[Ref | None, str | None], list[Lane]] = {}
    for lane in lanes:
        groups.setdefault((lane.task.method, lane.task.fitted), []).append(lane)
    return groups.items()


def _feed(
    task: Task,
    worker: Worker,
    truths: _Truths,
    seen: Sequence[tuple[View, Prediction]],
    merged: Prediction,
    scorer: tuple[Ref | None, str | None],
    lanes: Sequence[Lane],
    blame: _Blame,
) -> None:
    """Score once for all cells of one method, then count in each."""
    ref, fitted = scorer
    sample = truths.sample
    given: dict[str, Scores] = {}  # what a protocol may read, by name
    who = ""
    if ref is not None:
        who = f"method {ref.label} on {task.dataset.label}/{sample.id}"
        with blame.of([lane.task.key for lane in lanes], who), lanes[0].clock("score"):
            how = worker.model(task.model, task.numerics).inference
            given["score"], own = _scored(worker.method(ref), worker.state(fitted), seen, merged, how, who)
            check_scores(given["score"], sample.size, who)
            if own is not None:
                truths = _Truths(sample, own)
            if any(lane.protocol.reads == "confidence" for lane in lanes):
                given["confidence"] = _confidence(worker.method(ref), given["score"], who)
    for lane in blame.spared(lanes):
        with blame.of([lane.task.key], f"protocol {lane.task.protocol.label} on {task.dataset.label}/{sample.id}"):
            _count(task, lane, truths, given.get(lane.protocol.reads), who)


class _Truths:
    """The categories of one image under one class map, by protocol: the same for every method."""

    def __init__(self, sample: Sample, labels: Labels | None) -> None:
        self.sample, self.labels = sample, labels
        self._made: dict[Ref, Labels] = {}

    def of(self, lane: Lane) -> Labels:
        ref = lane.task.protocol
        if ref not in self._made:
            self._made[ref] = lane.protocol.categories(self.sample, self.labels)
        return self._made[ref]


def _count(
    task: Task, lane: Lane, truths: _Truths, score: Scores | None, who: str, more: Callable[[], Row] = dict
) -> None:
    """One image into the tally and the rows of one cell; ``more`` joins its row."""
    sample, labels = truths.sample, truths.labels
    with lane.clock("count"):
        score = None if score is None else lane.protocol.seen(score)
        row = dict(lane.protocol.row(sample, labels, score))
        if score is not None and lane.tally is not None:
            keyed = key_pixels(score, truths.of(lane), len(lane.protocol.category_names))
            lane.tally.add(keyed)
            row |= keyed.bins()
        if sample.id in lane.rows:
            raise BadPlugin(f"dataset {task.dataset.label} gives the id {sample.id} twice")
        lane.rows[sample.id] = row | dict(more())
    if lane.task.spool is not None and score is not None:
        with lane.clock("spool"):
            _spool(task.run / lane.task.spool, sample.id, score, labels, lane.protocol.spool, who)


def _look(
    task: Task,
    worker: Worker,
    sample: Sample,
    seen: Sequence[tuple[View, Prediction]],
    merged: Prediction,
    predicted: Labels | None,
    draft: DraftLane,
) -> None:
    """The first pass of a refinement: its map as it is before, and what it finds in it."""
    ref = draft.task.method
    method = worker.method(ref)
    assert isinstance(method, Refinement)  # noqa: S101 - the engine makes drafts of nothing else
    who = f"method {ref.label} on {task.dataset.label}/{sample.id}"
    with draft.clock("score"):
        how = worker.model(task.model, task.numerics).inference
        score, _ = _scored(method, worker.state(draft.task.fitted), seen, merged, how, who)
        check_scores(score, sample.size, who)
    with draft.clock("segments"):
        if sample.id in draft.rows:
            raise BadPlugin(f"dataset {task.dataset.label} gives the id {sample.id} twice")
        draft.rows[sample.id] = _columns(method.look(merged, score, sample.anomaly), draft.rows, who)
    with draft.clock("spool"):
        _spool(task.run / draft.task.spool, sample.id, score, predicted, "float32", who)


def _columns(row: Row, before: Mapping[str, Row], who: str) -> Row:
    """The columns that a refinement wrote down, held to its word; ``before`` are those of the images before."""
    lengths: dict[str, set[int]] = {}
    for name, values in row.items():
        table, dot, column = name.partition(".")
        if not (table and dot and column) or not isinstance(values, np.ndarray) or values.ndim != 1:
            raise BadPlugin(f"{who} wrote down {name!r}, wanted table.column with an array of one dimension")
        lengths.setdefault(table, set()).add(len(values))
    for table, found in lengths.items():
        if len(found) > 1:
            raise BadPlugin(f"{who} wrote down columns of {table!r} with {min(found)} to {max(found)} lines")
    first = next(iter(before.values()), row)
    if row.keys() != first.keys():
        raise BadPlugin(f"{who} wrote down other columns than before: {min(row.keys() ^ first.keys())!r}")
    return row


def _count_refined(task: Task, worker: Worker, advance: Advance, blame: _Blame) -> None:
    """Count the maps of refinements, changed as was decided about all images. No network."""
    loader = worker.loader(task.dataset, task.workers, images=False)
    lanes = [_lane(cell) for cell in task.cells]
    decided = {key: _decided(task.earlier, key) for key in {cell.draft.key for cell in task.cells if cell.draft}}
    about: dict[str, dict[str, Any]] = {}
    for sample in loader.samples(range(task.start, task.stop), range(*task.ahead)):
        about[sample.id] = {"group": sample.group, "tags": dict(sample.tags)}
        for _, mates in _by_method(blame.spared(lanes)):
            _feed_refined(task, worker, sample, decided, mates, blame)
        advance(1)
    for lane in blame.spared(lanes):
        shard = Shard(lane.task.stamp, lane.tally, lane.rows, lane.clock.seconds, peak_memory(), about)
        write(path_of(task.run, lane.task.key, task.start, task.stop, 1), shard)


def _feed_refined(
    task: Task,
    worker: Worker,
    sample: Sample,
    decided: Mapping[str, Mapping[str, Row]],
    lanes: Sequence[Lane],
    blame: _Blame,
) -> None:
    draft = lanes[0].task.draft
    assert draft is not None  # noqa: S101 - the engine sends cells of refinements alone
    method = worker.method(draft.method)
    assert isinstance(method, Refinement)  # noqa: S101 - as above
    who = f"method {draft.method.label} on {task.dataset.label}/{sample.id}"
    mine = decided[draft.key][sample.id]
    with blame.of([lane.task.key for lane in lanes], who):
        with lanes[0].clock("refine"):
            before, labels = _spooled(task.earlier / draft.spool, sample.id)
            score = _refined(method, before, sample.anomaly, mine, who)
        truths = _Truths(sample, labels)
        for lane in lanes:
            _count(task, lane, truths, score, who, partial(lane.protocol.refined, sample, before, mine))


def refined_alone(
    method: Refinement, state: State, merged: Prediction, score: Scores, sample: str, seed: int, who: str
) -> Scores:
    """The map of one image without a truth, by a refinement that was fitted."""
    decision = method.decide({sample: method.look(merged, score, None)}, {sample: ""}, state, seed)
    return _refined(method, score, None, decision.rows[sample], who)


def _refined(method: Refinement, before: Scores, truth: Labels | None, decided: Row, who: str) -> Scores:
    score = method.refine(before, truth, decided)
    if not isinstance(score, np.ndarray) or score.dtype != np.float32:
        raise BadPlugin(f"{who} refined its map to {getattr(score, 'dtype', type(score).__name__)}, wanted float32")
    check_scores(score, before.shape, who)
    return score


def _decided(run: Path, key: str) -> dict[str, Row]:
    with store.load_arrays(decided_path(run, key)) as arrays:
        packed = {name: arrays[name] for name in arrays.files}
    return store.unpack_rows([str(sample) for sample in packed.pop("ids")], packed)


def _scored(
    method: Method,
    state: State,
    seen: Sequence[tuple[View, Prediction]],
    merged: Prediction,
    how: Inference,
    who: str,
) -> tuple[Scores, Labels | None]:
    if method.merge == "views":
        parts = [_as_scored(method.score(prediction, state), who) for _, prediction in seen]
        if any(part.labels is not None for part in parts) and len(parts) > 1:
            raise BadPlugin(f"{who}: a method that alters the class map of views must return their logits")
        labels = parts[0].labels
        if any(part.logits is not None for part in parts):
            labels = inference.relabelled(seen, [part.logits for part in parts], how)
        score = inference.merge_scores([view for view, _ in seen], [part.score for part in parts])
    else:
        whole = _as_scored(method.score(merged, state), who)
        score, labels = whole.score, whole.labels
        if whole.logits is not None:
            raise BadPlugin(f"{who}: logits are merged where views are scored; return labels, or say merge = 'views'")
    return inference.score_map(score, merged.size), None if labels is None else labels.cpu().numpy()


def _confidence(method: Method, score: Scores, who: str) -> Scores:
    confidence = method.confidence(score)
    if confidence is None or confidence.shape != score.shape or not ((confidence >= 0) & (confidence <= 1)).all():
        raise BadPlugin(f"{who}: its confidence must be a probability for every pixel")
    return confidence.astype(np.float32, copy=False)


def _as_scored(returned: Any, who: str) -> Scored:
    scored = returned if isinstance(returned, Scored) else Scored(returned)
    found = scored.score
    if not isinstance(found, torch.Tensor) or found.dtype != torch.float32 or found.ndim != 2:
        shape = f"{found.dtype} {list(found.shape)}" if isinstance(found, torch.Tensor) else type(found).__name__
        raise BadPlugin(f"{who} returned {shape}, wanted torch.float32 [h, w]")
    return scored


def check_scores(score: Scores, size: tuple[int, int], who: str) -> None:
    """Hold a method to its word, on every image: the price is one pass over the score map."""
    if score.shape != size:
        raise BadPlugin(f"{who} returned a map of {list(score.shape)}, the labels are {list(size)}")
    if not np.isfinite(score).all():
        bad = int((~np.isfinite(score)).sum())
        raise BadPlugin(f"{who} returned {bad} scores that are not finite")


def _check_outputs(task: Task, sample: Sample, seen: Sequence[tuple[View, Prediction]]) -> None:
    for name, output in itertools.chain.from_iterable(prediction.raw.items() for _, prediction in seen):
        if not torch.isfinite(output).all():
            raise BadPlugin(
                f"model {task.model.label} on {task.dataset.label}/{sample.id}: {name} is not finite everywhere"
            )


def _predicted(merged: Prediction, sample: Sample) -> Labels | None:
    if not merged.has_labels:
        return None
    predicted: Labels = merged.labels.cpu().numpy()
    if predicted.shape != sample.size:
        raise BadPlugin(f"{sample.id}: the class map is {list(predicted.shape)}, the labels are {list(sample.size)}")
    return predicted


def _spool(folder: Path, sample: str, score: Scores, labels: Labels | None, dtype: str, who: str) -> None:
    kept = score.astype(dtype)
    if not np.isfinite(kept).all():
        raise BadPlugin(f"{who}: scores beyond 65504 do not fit float16; rescale them")
    store.write_map(folder / "scores" / f"{sample}.npy", kept)
    if labels is not None:
        store.write_map(folder / "predictions" / f"{sample}.npy", labels)


def _second_phase(task: Task, worker: Worker, advance: Advance, blame: _Blame) -> None:
    loader = worker.loader(task.dataset, task.workers, images=False)
    lanes = [Lane(cell, cell.protocol.build(), None) for cell in task.cells]
    for sample in loader.samples(range(task.start, task.stop), range(*task.ahead)):
        for lane in blame.spared(lanes):
            who = f"protocol {lane.task.protocol.label} on {task.dataset.label}/{sample.id}"
            with blame.of([lane.task.key], who), lane.clock("second"):
                lane.rows[sample.id] = _second_row(task, lane, sample)
        advance(1)
    for lane in blame.spared(lanes):
        shard = Shard(lane.task.stamp, None, lane.rows, lane.clock.seconds, peak_memory())
        write(path_of(task.run, lane.task.key, task.start, task.stop, 2), shard)


def _second_row(task: Task, lane: Lane, sample: Sample) -> Row:
    assert lane.task.spool is not None  # noqa: S101 - the engine spools every cell that has a second phase
    score, labels = _spooled(task.earlier / lane.task.spool, sample.id)
    return lane.protocol.frame(score, sample, labels, lane.task.parameters)


def _draw(task: Task, wanted: PictureTask, worker: Worker, advance: Advance) -> None:
    """The pictures of a few samples; of each the list of its files is written last."""
    model = worker.model(task.model, task.numerics)
    loader = worker.loader(task.dataset, task.workers, images=True)
    for one in wanted.maps:
        worker.meet(one.method, task.model, task.numerics)
    asked: dict[Quantity, None] = {}
    samples = loader.samples(wanted.indices, range(*task.ahead))
    for sample in inference.prepared(model, samples):
        seen, merged = inference.look(model, sample, task.numerics, task.seed, asked)
        _check_outputs(task, sample, seen)
        folder = task.run / wanted.folder / store.file_name(sample.id)
        shutil.rmtree(folder, ignore_errors=True)  # what a worker that died may have left
        scene = pictures.write_scene(folder, sample, _predicted(merged, sample), loader.dataset, model)
        for one in wanted.maps:
            score = _drawable(task, worker, sample, seen, merged, one)
            pictures.write_map(folder / one.file, score, one.limits)
        there = {path.name: files.digest(path) for path in sorted(folder.iterdir())}
        about = {"stamp": wanted.stamp, "size": sample.size, "drawn": pictures.size_of(sample.size), "files": there}
        store.write_json(folder / pictures.LIST, about | scene)
        advance(1)


def _drawable(
    task: Task,
    worker: Worker,
    sample: Sample,
    seen: Sequence[tuple[View, Prediction]],
    merged: Prediction,
    wanted: MapTask,
) -> Scores:
    """The score map that the cells of a method counted, as its protocol takes it."""
    who = f"method {wanted.method.label} on {task.dataset.label}/{sample.id}"
    method, state = worker.method(wanted.method), worker.state(wanted.fitted)
    how = worker.model(task.model, task.numerics).inference
    score, _ = _scored(method, state, seen, merged, how, who)
    check_scores(score, sample.size, who)
    if isinstance(method, Refinement):
        score = refined_alone(method, state, merged, score, sample.id, task.seed, who)
    protocol: Protocol = wanted.protocol.build()
    return protocol.seen(score)


def _spooled(folder: Path, sample: str) -> tuple[Scores, Labels | None]:
    """A score map as float32 and the class map beside it, if there is one."""
    score = np.load(folder / "scores" / f"{sample}.npy", allow_pickle=False).astype(np.float32)
    labels_file = folder / "predictions" / f"{sample}.npy"
    return score, np.load(labels_file, allow_pickle=False) if labels_file.is_file() else None


def wanted_files(task: Task) -> list[str]:
    """Files of earlier phases that a task reads, relative to the run; those that may be absent included."""
    folders = {cell.spool for cell in task.cells if task.phase == 2 and cell.spool}
    names: list[str] = []
    if task.phase == 1 and task.refined:
        drafts = {cell.draft.key: cell.draft for cell in task.cells if cell.draft}
        folders = {draft.spool for draft in drafts.values()}
        names = [str(decided_path(Path(), key)) for key in sorted(drafts)]
    parts = ("scores", "predictions")
    return names + [f"{one}/{part}/{name}.npy" for one in sorted(folders) for part in parts for name in task.ids]


def halves(task: Task) -> list[Task]:
    """A task of two samples or more as two."""
    middle = (task.start + task.stop) // 2
    cut = middle - task.start
    return [
        replace(task, stop=middle, ids=task.ids[:cut], ahead=(0, 0)),
        replace(task, start=middle, ids=task.ids[cut:], ahead=(0, 0)),
    ]


def join(task: Task, parts: Sequence[Task], keys: Iterable[str]) -> None:
    """Put the shards of the parts of a task in the place of those that it would have written; ``keys`` are written."""
    lanes = {lane.key: task.phase for lane in task.cells} | {draft.key: 0 for draft in task.drafts}
    for key in keys:
        paths = [path_of(task.run, key, part.start, part.stop, lanes[key]) for part in parts]
        write(path_of(task.run, key, task.start, task.stop, lanes[key]), _sum([read(path) for path in paths]))
        for path in paths:
            path.unlink()


def _sum(parts: Sequence[Shard]) -> Shard:
    """Shards of one cell as one."""
    tally, rows, about = parts[0].tally, dict(parts[0].rows), dict(parts[0].about)
    seconds = dict(parts[0].seconds)
    for part in parts[1:]:
        if tally is not None and part.tally is not None:
            tally.merge(part.tally)
        rows |= part.rows
        about |= part.about
        for stage, spent in part.seconds.items():
            seconds[stage] = seconds.get(stage, 0.0) + spent
    return replace(
        parts[0], tally=tally, rows=rows, about=about, seconds=seconds, memory_mb=max(one.memory_mb for one in parts)
    )


def dataset_of(ref: Ref) -> Dataset:
    built: Dataset = ref.build()
    return built


def peak_memory() -> float:
    """Peak resident memory of this process so far, in megabytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
