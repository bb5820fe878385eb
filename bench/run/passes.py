"""The work of one process: what every executor runs.

A pass goes over a range of samples once for all cells of a task and leaves one file per cell, by rename. Nothing in it
depends on other ranges, so they may run anywhere and in any order. There are four, each on top of ``_each``:

* the first: network, score maps, counts; and what refinements write down of their maps before they change them,
* the refined: counts of maps that were changed as was decided about all images, without the network,
* the second: figures of one image that need a parameter of the whole data set, from the maps of the first,
* the pictures: the network and the score maps once more, and pictures in place of counts.

A sample that cannot be read or scored fails the cells that need it, by name, and no others: see ``Blame``.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from bench.api import (
    Labels,
    Protocol,
    Refinement,
    RefinementAware,
    Row,
    Sample,
    Scores,
)
from bench.contract.protocol import quantized, wants_exact
from bench.core import files
from bench.core.cost import Clock, peak_memory
from bench.core.cpu_time import spent
from bench.core.errors import BadPlugin
from bench.core.file_names import file_name
from bench.core.sharing import read_only
from bench.metrics.accumulate import NEAR, Accumulator, ScoredImage, Truth
from bench.models.pipeline import Pipeline, Seen
from bench.results import pictures, store
from bench.run import checks, finalise, fits, scoring, shard_files
from bench.run.blame import Blame
from bench.run.lending import Lender
from bench.run.messages import Advance, CellTask, Fit, MapTask, Outcome, PictureTask, Task, Work
from bench.run.scored_cells import (
    CellLane,
    DevicePass,
    Image,
    RefinementLane,
    Scorer,
    count,
    host_score,
    score_and_count,
    spared,
    spool,
    spool_counted,
    truth_of,
)
from bench.run.shard_files import Shard
from bench.run.worker import Worker, network_of


def execute(work: Work, worker: Worker, advance: Advance | None = None) -> Outcome:
    """Do some work here, and write its files, but for those of what failed. ``advance`` is told of every image.

    Raises only what is no fault of plug-ins or data: CannotWrite, WorkerDied.
    """
    blame = Blame(work)
    outcome = Outcome()
    with blame.everyone():
        if isinstance(work, Task):
            _go_over(work, worker, advance or _untold, blame)
        elif isinstance(work, Fit):
            network = worker.network(work.model, work.numerics)
            with spent("fit", work.method.label):
                state = fits.estimate(work, network, worker.readers(work.workers), advance or _untold)
                outcome = Outcome(state=state)
        elif work.parameters:
            with spent("merge"):
                outcome = Outcome(parameters=finalise.parameters(work))
        else:
            outcome = Outcome(figures=finalise.finish(work))
    return replace(outcome, failures=blame.failures)


def _untold(images: int) -> None: ...


def _go_over(task: Task, worker: Worker, advance: Advance, blame: Blame) -> None:
    if task.phase == 2:
        _second_pass(task, worker, advance, blame)
    elif task.refined:
        _refined_pass(task, worker, advance, blame)
    else:
        with torch.no_grad():  # a method that needs gradients turns them on for itself
            if task.pictures:
                with spent("gallery"):
                    _picture_pass(task, task.pictures, worker, advance, blame)
            else:
                _first_pass(task, worker, advance, blame)


Item = TypeVar("Item", Sample, Seen)


def _each(task: Task, items: Iterator[Item], advance: Advance, blame: Blame) -> Iterator[Item]:
    """Yield the samples of a task in order, to its end or until all that it is for has failed.

    A failure that nobody else takes is blamed on the sample that is out.
    """
    for item in items:
        blame.sample = item.id
        yield item
        if blame.failures.keys() >= set(task.keys):
            return
        blame.sample = ""
        advance(1)


def _samples(task: Task, worker: Worker, advance: Advance, blame: Blame) -> Iterator[Sample]:
    """Yield the samples of a task without their images."""
    loader = worker.loader(task.dataset, task.workers, images=False)
    return _each(task, loader.samples(range(task.start, task.stop), range(*task.ahead)), advance, blame)


def _first_pass(task: Task, worker: Worker, advance: Advance, blame: Blame, *, waits: bool = False) -> None:
    """``waits``: after each method, for the device of the network to say whether it wrote into a prediction."""
    clock = Clock()
    with clock("setup"):
        blame.loading = True
        network = worker.network(task.model, task.numerics)
        blame.loading = False
        pipeline = worker.pipeline(task)
        cells = [_cell_lane(cell) for cell in task.cells]
        refinements = [RefinementLane(refinement) for refinement in task.refinements]
        _meet(task, worker, blame)
    failed_before = dict(blame.failures)
    clock.add({"load": 0.0})
    about: dict[str, dict[str, Any]] = {}
    first: Sample | None = None  # of the data set
    device_pass = DevicePass(waits=waits) if task.numerics.on_device else None
    for seen in _each(task, pipeline.images(range(task.start, task.stop), range(*task.ahead)), advance, blame):
        sample = seen.sample
        first = sample if first is None and task.start == 0 else first
        about[sample.id] = _about(sample)
        clock.add({"load": seen.load, "predict": seen.predict})
        with clock("predict"):
            image = _image(task, seen, device_pass)
        truth = truth_of(image, device_pass)
        for scorer, lanes in _by_method(spared(cells, blame)):
            if image.lender.changed:  # by a method, which has failed: the others get what the network says
                image = _look_again(task, pipeline, seen, device_pass)
                truth = truth_of(image, device_pass)
            score_and_count(task, worker, image, truth, scorer, lanes, blame, device_pass)
        if device_pass is not None:
            device_pass.finish_image()
        for refinement in spared(refinements, blame):
            if image.lender.changed:
                image = _look_again(task, pipeline, seen, device_pass)
            who = f"method {refinement.task.method.label} on {task.dataset.label}/{sample.id}"
            with blame.of([refinement.task.key], who):
                _describe(task, worker, image, refinement, who)
    if device_pass is not None:
        if device_pass.written():
            blame.failures = failed_before
            _first_pass(task, worker, _untold, blame, waits=True)
            return
        device_pass.doubts.settle(blame)
    for lane in spared(cells, blame):
        who = f"protocol {lane.task.protocol.label} on {task.dataset.label}"
        with blame.of([lane.task.key], who), lane.clock("count"):
            lane.accumulator.collect()
    facts = network_of(network)
    if first is not None and (count_of_first := pipeline.multiply_adds(first)):
        facts["multiply_adds"] = count_of_first
    for lane in spared(cells, blame):
        _write_counts(task, 1, lane, clock.seconds, about, facts)
    for refinement in spared(refinements, blame):
        seconds = clock.seconds | refinement.clock.seconds
        shard = Shard(refinement.task.stamp, None, refinement.rows, seconds, peak_memory(), about)
        shard_files.write(shard_files.path_of(task.run, refinement.task.key, task.start, task.stop, 0), shard)


def _refined_pass(task: Task, worker: Worker, advance: Advance, blame: Blame) -> None:
    cells = [_cell_lane(cell) for cell in task.cells]
    keys = {cell.refinement.key for cell in task.cells if cell.refinement}
    decided = {key: shard_files.read_decided(task.inputs or task.run, key) for key in keys}
    about: dict[str, dict[str, Any]] = {}
    for sample in _samples(task, worker, advance, blame):
        about[sample.id] = _about(sample)
        for _, lanes in _by_method(spared(cells, blame)):
            _refine_and_count(task, worker, sample, decided, lanes, blame)
    for lane in spared(cells, blame):
        _write_counts(task, 1, lane, {}, about, {})


def _second_pass(task: Task, worker: Worker, advance: Advance, blame: Blame) -> None:
    cells = [_cell_lane(cell) for cell in task.cells]
    for sample in _samples(task, worker, advance, blame):
        for lane in spared(cells, blame):
            who = f"protocol {lane.task.protocol.label} on {task.dataset.label}/{sample.id}"
            with blame.of([lane.task.key], who), lane.clock("second", lane.task.protocol.label):
                assert lane.task.spool is not None  # noqa: S101 - the engine spools cells that have a second phase
                score, predicted = _spooled((task.inputs or task.run) / lane.task.spool, sample.id)
                lane.accumulator.add_second(sample, predicted, score, lane.task.parameters)
    for lane in spared(cells, blame):
        _write_counts(task, 2, lane, {}, {}, {})


def _picture_pass(task: Task, drawing: PictureTask, worker: Worker, advance: Advance, blame: Blame) -> None:
    """The list of the files of each sample is written last."""
    network = worker.network(task.model, task.numerics)
    pipeline = worker.pipeline(task)
    for drawn in drawing.maps:
        worker.meet(drawn.method, task.model, task.numerics)
    for seen in _each(task, pipeline.images(drawing.indices), advance, blame):
        sample, image = seen.sample, _image(task, seen)
        folder = task.run / drawing.folder / file_name(sample.id)
        shutil.rmtree(folder, ignore_errors=True)  # what a worker that died may have left
        scene = pictures.write_scene(folder, sample, image.predicted, pipeline.loader.dataset, network.model)
        for drawn in drawing.maps:
            pictures.write_map(folder / drawn.file, _drawable(task, worker, image, drawn), drawn.limits)
        digests = {path.name: files.digest(path) for path in sorted(folder.iterdir())}
        about = {"stamp": drawing.stamp, "size": sample.size, "drawn": pictures.size_of(sample.size), "files": digests}
        store.write_json(folder / pictures.LIST, about | scene)


def _about(sample: Sample) -> dict[str, Any]:
    return {"group": sample.group, "tags": dict(sample.tags)}


def _cell_lane(cell: CellTask) -> CellLane:
    protocol = cell.protocol.build()
    budget = max(cell.budget, NEAR) if wants_exact(protocol) else cell.budget  # of a shard, which is asked again
    return CellLane(cell, Accumulator(protocol, budget, fold=cell.fold))


def _meet(task: Task, worker: Worker, blame: Blame) -> None:
    pairs = [(cell.method, cell.key) for cell in task.cells]
    pairs += [(refinement.method, refinement.key) for refinement in task.refinements]
    for method in dict.fromkeys(method for method, _ in pairs if method):
        users = [key for user, key in pairs if user == method]
        with blame.of(users, f"method {method.label} on {task.model.label}"):
            worker.meet(method, task.model, task.numerics)


def _image(task: Task, seen: Seen, device_pass: DevicePass | None = None) -> Image:
    views, merged = seen.predictions
    doubts, writes = (None, None) if device_pass is None else (device_pass.doubts, device_pass.writes)
    checks.outputs((prediction for _, prediction in views), f"{task.where}/{seen.id}", doubts)
    return Image(seen.sample, Lender(views, merged, writes), checks.class_map(merged, seen.sample))


def _look_again(task: Task, pipeline: Pipeline, seen: Seen, device_pass: DevicePass | None) -> Image:
    again = pipeline.look_again(seen, task.start + task.ids.index(seen.id), task.stop)
    return _image(task, again, device_pass)


def _by_method(lanes: Sequence[CellLane]) -> Iterable[tuple[Scorer, list[CellLane]]]:
    groups: dict[Scorer, list[CellLane]] = {}
    for lane in lanes:
        groups.setdefault((lane.task.method, lane.task.fitted), []).append(lane)
    return groups.items()


def _describe(task: Task, worker: Worker, image: Image, lane: RefinementLane, who: str) -> None:
    """The map of a refinement as it is before, and what it writes down of it."""
    sample = image.sample
    method = worker.method(lane.task.method)
    assert isinstance(method, Refinement)  # noqa: S101 - the engine sends nothing else
    with lane.clock("score", lane.task.method.label):
        score, _ = host_score(task, worker, image, (lane.task.method, lane.task.fitted), who)
    with lane.clock("segments"):
        if sample.id in lane.rows:
            raise BadPlugin(f"dataset {task.dataset.label} gives the id {sample.id} twice")
        with image.lender.lend(who) as (_, merged):
            row = method.describe(merged, read_only(score), sample.anomaly)
        lane.rows[sample.id] = checks.columns(row, lane.rows, who)
    with lane.clock("spool"):
        spool(task.run / lane.task.spool, sample.id, score, image.predicted, "float32", who)


def _refine_and_count(
    task: Task,
    worker: Worker,
    sample: Sample,
    decided: Mapping[str, Mapping[str, Row]],
    lanes: Sequence[CellLane],
    blame: Blame,
) -> None:
    """Change the map of one image once for all cells of one refinement, then count in each."""
    refinement, sample = lanes[0].task.refinement, sample.sealed()
    assert refinement is not None  # noqa: S101 - the engine sends cells of refinements alone
    method = worker.method(refinement.method)
    assert isinstance(method, Refinement)  # noqa: S101 - as above
    who = f"method {refinement.method.label} on {task.dataset.label}/{sample.id}"
    decision = {name: read_only(values) for name, values in decided[refinement.key][sample.id].items()}
    with blame.of([lane.task.key for lane in lanes], who):
        with lanes[0].clock("refine"):
            before, predicted = _spooled((task.inputs or task.run) / refinement.spool, sample.id)
            before = read_only(before)
            score = checks.refined(method, before, sample.anomaly, decision, who)
        scored = ScoredImage(Truth(sample, predicted), {"score": score})
        for lane in lanes:
            with lane.clock("count", lane.task.protocol.label):
                protocol, also = lane.accumulator.protocol, None
                if isinstance(protocol, RefinementAware):
                    also = protocol.refined(sample, before, decision)
                count(task, lane, scored, also)
            spool_counted(task, lane, scored, who)


def _drawable(task: Task, worker: Worker, image: Image, drawn: MapTask) -> Scores:
    """The score map that the cells of a method counted, as its protocol takes it."""
    sample = image.sample
    who = f"method {drawn.method.label} on {task.dataset.label}/{sample.id}"
    score, _ = host_score(task, worker, image, (drawn.method, drawn.fitted), who)
    method = worker.method(drawn.method)
    if isinstance(method, Refinement):
        with image.lender.lend(who) as (_, merged), worker.lent(drawn.fitted, who) as state:
            score = scoring.refined_alone(method, state, merged, score, sample.id, task.seed, who)
    protocol: Protocol = drawn.protocol.build()
    return quantized(protocol, read_only(score))


def _spooled(folder: Path, sample: str) -> tuple[Scores, Labels | None]:
    """A score map as float32 and the class map beside it, if there is one."""
    score = np.load(store.map_path(folder, sample), allow_pickle=False).astype(np.float32)
    labels_file = store.map_path(folder, sample, "predictions")
    return score, np.load(labels_file, allow_pickle=False) if labels_file.is_file() else None


def _write_counts(
    task: Task,
    phase: int,
    lane: CellLane,
    shared: Mapping[str, float],
    about: dict[str, dict[str, Any]],
    network: dict[str, Any],
) -> None:
    """Write what one cell got from the range; ``shared`` are the seconds of all its cells together."""
    seconds = {**shared, **lane.clock.seconds}
    tally, rows = lane.accumulator.tally if phase == 1 else None, dict(lane.accumulator.rows)
    shard = Shard(lane.task.stamp, tally, rows, seconds, peak_memory(), about, network)
    with spent("shards"):
        shard_files.write(shard_files.path_of(task.run, lane.task.key, task.start, task.stop, phase), shard)
