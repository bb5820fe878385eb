"""Cells to results: check, plan, one pass per model and data set, second phases, figures, resume.

A pass is a generator: it yields stages, whose tasks the dispatcher hands to workers, and results. Several passes are
open at a time where there are several workers. What fails, fails its own cells; the others go on.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from bench import metrics, ops
from bench.api import Dataset, Protocol, Refinement, Undefined
from bench.contract.progress import Reporter
from bench.core.errors import CellsFailed, UserError
from bench.fit import fitted_store
from bench.models import numerics
from bench.models.numerics import Numerics
from bench.results import operating, store, summary
from bench.results.store import Plan, Result
from bench.run import gallery_pass, preflight, provenance, refinement, shard_files
from bench.run.blame import failure_of
from bench.run.executors import select
from bench.run.executors.dispatch import Dispatcher, RayOptions, Stage, WorkerPool
from bench.run.messages import CellTask, Failure, Figures, Finish, Fit, Outcome, Task, Work
from bench.run.refinement import RefinementJob
from bench.suite import registry
from bench.suite.expansion import Cell, Ref, Suite

SHARD_PIXELS = 2**23  # of labels; what a kill can cost, and how many exact keys a process holds per cell
SHARD_IMAGES = 16
LISTED = 20  # failed cells that an error names


@dataclass(frozen=True)
class Options:
    """What changes how a run is done, and no number."""

    limit: int | None = None  # first N images only; marks results partial
    executor: Literal["local", "ray"] = "local"
    processes: int | None = None  # that hold the network; None is one per GPU, or what a cluster has room for
    workers: int = 1
    retries: int = 2  # of a task whose worker died
    address: str | None = None  # of a Ray cluster
    gpus_per_worker: float | None = None  # of Ray; None is one where the suite computes on GPUs
    cpus_per_worker: float = 1.0
    shard: int | None = None  # images; None is by size
    keep_maps: bool = False
    gallery: int = 0  # images of each network and data set that are drawn
    command: str = ""


@dataclass
class Job:
    """A cell under way."""

    cell: Cell
    key: str
    protocol: Protocol
    depends: dict[str, str]
    images: int
    partial: bool
    fitted: fitted_store.Fitted | None = None
    spool: str | None = None
    refinement: RefinementJob | None = None  # where the method is one
    pixels: int = 0  # counted so far, over all shards
    folded: bool = False
    parameters: Mapping[str, float] = field(default_factory=dict)

    @property
    def stamp(self) -> str:
        """What a shard must have been made with to be merged."""
        return _digest(self.depends | ({"decided": self.refinement.digest} if self.refinement else {}))

    @property
    def map_stamp(self) -> str:
        """What a score map must have been made with to be used: protocols that share the map share this."""
        return _digest({name: digest for name, digest in self.depends.items() if name not in {"protocol", "metrics"}})


def _digest(depends: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Failed:
    """A cell that has no figures, and why."""

    key: str
    labels: Mapping[str, str]
    message: str
    trace: str = ""

    def __str__(self) -> str:
        return f"{' / '.join(self.labels.values())}: {self.message}"


@dataclass
class _Context:
    """What the passes of a run share."""

    run_dir: Path
    how: Numerics
    options: Options
    reporter: Reporter
    checked: preflight.Checked
    failed: dict[str, Failed] = field(default_factory=dict)  # by cell key
    broken: dict[Ref, Failure] = field(default_factory=dict)  # networks that cannot be loaded
    fitting: set[str] = field(default_factory=set)  # keys of fits under way
    unfit: dict[str, Failure] = field(default_factory=dict)  # by the key of a fit

    def tell(self, line: str) -> None:
        self.reporter.tell(line)

    def fail(self, jobs: Iterable[Job], failure: Failure) -> None:
        """Give up cells, and say so at once: the run may take hours more."""
        new = [job for job in jobs if job.key not in self.failed]
        for job in new:
            self.failed[job.key] = Failed(job.key, job.cell.labels(), failure.message, failure.trace)
        if new:
            more = f" and {len(new) - 1} more" if len(new) > 1 else ""
            self.tell(f"failed: {new[0].cell}{more}: {failure.message}")

    def alive(self, jobs: Iterable[Job]) -> list[Job]:
        return [job for job in jobs if job.key not in self.failed]

    @contextmanager
    def failing(self, *jobs: Job) -> Iterator[None]:
        """What plug-ins and data are to blame for fails these cells, not the run."""
        try:
            yield
        except UserError as error:
            self.fail(jobs, failure_of(error, ""))


Pass = Generator[Stage | Result, None, None]


def run(suite: Suite, run_dir: Path, options: Options, reporter: Reporter) -> Iterator[Result]:
    """Yield the result of each cell that has no fresh one yet, writing it first. Owns the directory meanwhile.

    A cell that fails does not stop the others: CellsFailed is raised at the end.
    """
    with store.owned(run_dir):
        checked = preflight.check(suite)
        pool, how = _pool(suite, run_dir, options, reporter, checked)
        context = _Context(run_dir, how, options, reporter, checked)
        try:
            store.write_plan(run_dir, plan_of(suite), suite.text)
            yield from _run(suite, context, pool)
            finished = store.read_run(run_dir)
            store.write_json(run_dir / "summaries.json", summary.compute(finished) + operating.compute(finished))
            if options.gallery:
                pictures = Dispatcher(pool, options.retries, reporter.advance, context.tell)
                alive = replace(suite, cells=tuple(cell for cell in suite.cells if cell.key not in context.failed))
                gallery_pass.draw(finished, alive, options.gallery, how, options.workers, pictures, reporter)
        finally:
            pool.close()
        with suppress(OSError):  # it holds the shards of cells that failed
            (run_dir / "work").rmdir()
        _close_failed(context)


def _pool(
    suite: Suite, run_dir: Path, options: Options, reporter: Reporter, checked: preflight.Checked
) -> tuple[WorkerPool, Numerics]:
    """Who computes, and how: the workers of a cluster say what they are."""
    if options.executor == "local":
        how = numerics.resolve(suite.numerics)
        numerics.apply(how)
        return select.local(options.processes, how, reporter.advance), how
    reporter.stage("waiting for the workers of Ray")
    ray = RayOptions(
        options.address, options.processes, options.gpus_per_worker, options.cpus_per_worker, options.retries
    )
    pool, how = select.ray(ray, suite.numerics, run_dir, checked.model_digests | checked.data_digests, reporter.tell)
    numerics.apply(how)  # for what is decided about all images together: that is done here
    return pool, how


def _close_failed(context: _Context) -> None:
    """Leave the reasons beside the results, and raise them; a run without any takes back those of the run before."""
    path = context.run_dir / "failures.json"
    failed = list(context.failed.values())
    if not failed:
        path.unlink(missing_ok=True)
        return
    store.write_json(path, [asdict(one) for one in failed])
    lines = [str(one) for one in failed[:LISTED]]
    if len(failed) > LISTED:
        lines.append(f"and {len(failed) - LISTED} more")
    seen = " (with tracebacks)" if any(one.trace for one in failed) else ""
    cells = "1 cell has" if len(failed) == 1 else f"{len(failed)} cells have"
    raise CellsFailed(
        "\n  ".join([f"{cells} no figures, all else is done; repair this and run the same command again:", *lines])
        + f"\n  all of them{seen}: {path}"
    )


def plan_of(suite: Suite) -> Plan:
    rules = tuple(suite.summaries_asked())
    keys, cells = tuple(cell.key for cell in suite.planned), tuple(cell.labels() for cell in suite.planned)
    points = tuple(rule.model_dump() for rule in suite.operating_points)
    return Plan(suite.name, suite.title, suite.note, keys, rules, cells, points)


def _run(suite: Suite, context: _Context, pool: WorkerPool) -> Iterator[Result]:
    groups: dict[tuple[Ref, Ref], list[Job]] = {}
    for cell in suite.cells:
        job = _job(cell, context.checked, context.how, context.options, context.run_dir)
        refused = context.checked.refused.get(job.key)
        if _fresh(context.run_dir, job, refused) and not _lacks_maps(
            context.run_dir, job, context.checked, context.options
        ):
            continue
        if refused:
            result = _not_applicable(job, refused, context.options, context.how)
            store.write_result(context.run_dir, result, {})
            yield result
        else:
            groups.setdefault((cell.model, cell.dataset), []).append(job)
    context.reporter.begin(_images(groups))
    dispatcher = Dispatcher(pool, context.options.retries, context.reporter.advance, context.tell)
    yield from _interleaved(groups, context, dispatcher)


def _interleaved(
    groups: Mapping[tuple[Ref, Ref], list[Job]], context: _Context, dispatcher: Dispatcher
) -> Iterator[Result]:
    """Open a pass whenever a worker would else have nothing to do."""
    closed = deque(groups.items())
    waiting: dict[Stage, Pass] = {}

    def on(one: Pass) -> Iterator[Result]:
        """Follow a pass to its next stage."""
        for step in one:
            if isinstance(step, Stage):
                dispatcher.add(step)
                waiting[step] = one
                return
            yield step

    while closed or waiting:
        # Several data sets ask for the same fit: it is made for the first of them, and the others wait for it.
        can = closed and not (_fits_of(closed[0][1]) & context.fitting)
        if can and dispatcher.wants_more():
            (model, dataset), jobs = closed.popleft()
            yield from on(_pass(context, model, dataset, jobs))
            continue
        for stage in dispatcher.step(share=not can):
            yield from on(waiting.pop(stage))


def _fits_of(jobs: Sequence[Job]) -> set[str]:
    return {job.depends["fitted"] for job in jobs if "fitted" in job.depends}


def _job(cell: Cell, checked: preflight.Checked, how: Numerics, options: Options, run_dir: Path) -> Job:
    count = checked.datasets[cell.dataset].count
    images = min(options.limit or count, count)
    protocol: Protocol = checked.built(cell.protocol)
    depends = {
        "protocol": f"{protocol.name} {protocol.version}",
        "metrics": str(metrics.NUMBERS),
        "scoring": str(ops.NUMBERS),
        "model": f"{checked.source(cell.model)} {checked.model_digests[cell.model]}",
        "dataset": f"{checked.source(cell.dataset)} {checked.data_digests[cell.dataset]}",
        "numerics": how.digest(),
    }
    if cell.method:
        depends["method"] = f"{checked.source(cell.method)} {checked.method_digests.get(cell.method, '')}".strip()
        if cell.method.fit:
            depends["fitted"] = fitted_store.key_of(preflight.origin(cell, checked, how))
    job = Job(cell, cell.key, protocol, depends, images, images < count)
    if cell.method and (protocol.second_phase or options.keep_maps):
        refs = (cell.model, cell.dataset, cell.method)
        folder = store.spool_folder(run_dir, [(ref.label, str(ref.spelled())) for ref in refs], protocol.spool)
        job.spool = str(folder.relative_to(run_dir))
    if cell.method and issubclass(registry.plugin("method", cell.method.name, where=cell.method.label), Refinement):
        job.refinement = refinement.job_of(run_dir, cell.model, cell.dataset, cell.method, cell.seed, job.map_stamp)
    return job


def _lacks_maps(run_dir: Path, job: Job, checked: preflight.Checked, options: Options) -> bool:
    """Whether maps are asked for that a finished cell did not leave behind."""
    if not options.keep_maps or not job.spool or job.key in checked.refused:
        return False
    ids = checked.datasets[job.cell.dataset].ids()[: job.images]
    folder = run_dir / job.spool
    if store.spool_stamp(folder) != job.map_stamp:
        return True
    return not all((folder / "scores" / f"{sample}.npy").is_file() for sample in ids)


def _fresh(run_dir: Path, job: Job, refused: str | None) -> bool:
    """Whether a result is there that today's files would make again."""
    path = store.result_path(run_dir, job.key)
    if not path.is_file():
        return False
    old = store.read_result(path)
    if refused or old.not_applicable:
        return old.not_applicable == refused
    # A full result stands in for a limited one: it is the better answer to the same question.
    return dict(old.depends) == job.depends and (not old.partial or (job.partial and old.images == job.images))


def _images(groups: Mapping[tuple[Ref, Ref], list[Job]]) -> int:
    """How many images the run will look at, all phases and fits together."""
    total = 0
    fits: set[str] = set()
    for jobs in groups.values():
        again = any(job.protocol.second_phase for job in jobs), any(job.refinement for job in jobs)
        total += jobs[0].images * (1 + sum(again))
        for job in jobs:
            key = job.depends.get("fitted")
            if key and key not in fits and not fitted_store.path_of(key).is_file() and job.cell.method:
                fits.add(key)
                total += fitted_store.data_of(job.cell.method).count
    return total


def _fit(context: _Context, jobs: Sequence[Job]) -> Iterator[Stage]:
    """Load what was fitted before, and fit what a suite declares and nobody has."""
    fits: dict[str, Fit] = {}
    for job in jobs:
        key, method = job.depends.get("fitted"), job.cell.method
        if key is None or method is None or method.fit is None or key in context.unfit:
            continue
        if not fitted_store.path_of(key).is_file() and key not in fits:
            with context.failing(job):
                origin = preflight.origin(job.cell, context.checked, context.how)
                images = fitted_store.data_of(method).count
                workers = context.options.workers
                fits[key] = Fit(key, method, job.cell.model, origin, context.how, workers, images)

    def done(work: Work, outcome: Outcome) -> None:
        if outcome.state is not None and isinstance(work, Fit):
            fitted_store.write(outcome.state, dict(work.origin))
        context.unfit |= outcome.failures

    if fits:
        context.reporter.stage(f"fitting {', '.join(fit.method.label for fit in fits.values())}")
        context.fitting |= fits.keys()
        pending = iter(list(fits.values()))
        yield Stage(jobs[0].cell.model, pending, pending, done)
        context.fitting -= fits.keys()
    for job in context.alive(jobs):
        if key := job.depends.get("fitted"):
            if key in context.unfit:
                context.fail([job], context.unfit[key])
            else:
                with context.failing(job):
                    job.fitted = fitted_store.load(key)


def _pass(context: _Context, model: Ref, dataset: Ref, jobs: list[Job]) -> Pass:
    """Go over one data set with one network, for all cells that want it."""
    run_dir, options = context.run_dir, context.options
    if model in context.broken:
        context.fail(jobs, context.broken[model])
        return
    yield from _fit(context, jobs)
    jobs = context.alive(jobs)
    if not jobs:
        return
    for job in jobs:
        if job.spool:
            store.open_spool(run_dir / job.spool, job.map_stamp, keep=options.keep_maps)
        (run_dir / "work" / job.key).mkdir(parents=True, exist_ok=True)
    ranges: list[tuple[int, int]] = []
    with context.failing(*jobs):
        ranges = _ranges(jobs[0].images, options.shard or shard_size(dataset))
    context.reporter.stage(f"{model.label} on {dataset.label}")
    refinements = _refinements(run_dir, jobs)
    plain, refined = ([job for job in jobs if bool(job.refinement) == refines] for refines in (False, True))
    yield from _phase(context, 1, model, dataset, plain, ranges, refinements)
    for shared, users in refinements:
        if mates := context.alive(users):
            context.reporter.stage(f"deciding {shared.method.label}")
            with context.failing(*mates):
                refinement.decide(run_dir, shared, ranges)
    if refined:
        context.reporter.stage(f"{model.label} on {dataset.label}")
        yield from _phase(context, 1, model, dataset, context.alive(refined), ranges)
    second = [job for job in jobs if job.protocol.second_phase]
    yield from _finished(context, context.alive(job for job in jobs if not job.protocol.second_phase), ranges)
    yield from _parameters(context, context.alive(second), ranges)
    ready = [job for job in context.alive(second) if job.parameters]
    if ready:
        yield from _phase(context, 2, model, dataset, ready, ranges)
    yield from _finished(context, context.alive(second), ranges)
    begun = [job for job in jobs if job.key in context.failed and any((run_dir / "work" / job.key).iterdir())]
    lost = [job.refinement.spool for job in jobs if job.refinement and job.key in context.failed]
    _drop_spool(run_dir, jobs, {*lost, *(job.spool for job in begun)})
    for shared, users in refinements:
        if len(context.alive(users)) == len(users):
            store.drop_work(run_dir, shared.key)
    for job in jobs:
        with suppress(OSError):  # a cell that failed keeps its shards for the next run
            (run_dir / "work" / job.key).rmdir()


def _finished(context: _Context, jobs: Sequence[Job], ranges: Sequence[tuple[int, int]]) -> Pass:
    """Have the figures of cells read off their counts, and write the results."""
    mine = {job.key: job for job in jobs}
    read: dict[str, Figures] = {}

    def done(work: Work, outcome: Outcome) -> None:
        assert isinstance(work, Finish)  # noqa: S101 - the stage has no other
        if outcome.figures:
            read[work.key] = outcome.figures
            _publish(context, mine[work.key], outcome.figures, ranges)
        for key, failure in outcome.failures.items():
            context.fail([mine[key]], failure)

    yield from _read(context, jobs, ranges, done)
    for job in jobs:
        if job.key in read:
            yield store.read_result(store.result_path(context.run_dir, job.key))


def _parameters(context: _Context, jobs: Sequence[Job], ranges: Sequence[tuple[int, int]]) -> Iterator[Stage]:
    """Have read off the first phase what the second must know. Cells without an answer have no parameters."""
    mine = {job.key: job for job in jobs}

    def done(work: Work, outcome: Outcome) -> None:
        for key, failure in outcome.failures.items():
            context.fail([mine[key]], failure)
        for key in work.keys - outcome.failures.keys():
            mine[key].parameters = {} if isinstance(outcome.parameters, Undefined) else outcome.parameters or {}

    yield from _read(context, jobs, ranges, done, parameters=True)


def _read(
    context: _Context,
    jobs: Sequence[Job],
    ranges: Sequence[tuple[int, int]],
    done: Callable[[Work, Outcome], None],
    *,
    parameters: bool = False,
) -> Iterator[Stage]:
    if not jobs:
        return
    left = iter(list(jobs))

    def tasks() -> Iterator[Finish]:
        for job in left:
            cell, ranged = job.cell, tuple(ranges)
            what = (context.run_dir, job.key, str(cell), cell.model, cell.protocol, cell.method)
            how = (cell.budget, cell.seed, cell.bootstrap, cell.resample)
            yield Finish(*what, *how, ranged, second=bool(job.parameters), parameters=parameters)

    yield Stage(jobs[0].cell.model, tasks(), left, done)


def _refinements(run_dir: Path, jobs: Sequence[Job]) -> list[tuple[RefinementJob, list[Job]]]:
    """The refinements among the cells, each once with its cells, and with a place for their maps."""
    shared: dict[str, tuple[RefinementJob, list[Job]]] = {}
    for job in jobs:
        if job.refinement:
            job.refinement, users = shared.setdefault(job.refinement.key, (job.refinement, []))
            job.refinement.fitted = job.fitted
            users.append(job)
    for one, _ in shared.values():
        store.open_spool(run_dir / one.spool, one.stamp, keep=False)
    return list(shared.values())


def _ranges(images: int, size: int) -> list[tuple[int, int]]:
    return [(start, min(start + size, images)) for start in range(0, images, size)]


def shard_size(dataset: Ref) -> int:
    data: Dataset = dataset.build()
    height, width = data.load(0).size
    return max(1, min(SHARD_IMAGES, SHARD_PIXELS // (height * width)))


def _phase(
    context: _Context,
    phase: int,
    model: Ref,
    dataset: Ref,
    jobs: Sequence[Job],
    ranges: Sequence[tuple[int, int]],
    refinements: Sequence[tuple[RefinementJob, list[Job]]] = (),
) -> Iterator[Stage]:
    """Bring the shards of one phase to disk, as far as they are not there."""
    if not jobs and not refinements:
        return
    run_dir = context.run_dir
    mine = {job.key: job for job in jobs}
    users = {key: [job] for key, job in mine.items()}
    users |= {shared.key: mates for shared, mates in refinements}

    def done(work: Work, outcome: Outcome) -> None:
        assert isinstance(work, Task)  # noqa: S101 - a phase has no other
        for failure in dict.fromkeys(outcome.failures.values()):
            keys = [key for key, one in outcome.failures.items() if one == failure]
            context.fail([job for key in keys for job in users[key]], failure)
            if failure.model:
                context.broken[model] = failure
        for cell in work.cells:
            if cell.key not in outcome.failures and cell.key not in context.failed:
                _account(run_dir, mine[cell.key], work.start, work.stop, phase)

    left = iter(ranges)
    yield Stage(model, _tasks(context, phase, model, dataset, jobs, left, refinements), left, done)


def _tasks(
    context: _Context,
    phase: int,
    model: Ref,
    dataset: Ref,
    jobs: Sequence[Job],
    ranges: Iterator[tuple[int, int]],
    refinements: Sequence[tuple[RefinementJob, list[Job]]],
) -> Iterator[Task]:
    """The tasks of one phase, each made when asked for: cells that are beyond their budget by then fold at once."""
    run_dir, how, workers = context.run_dir, context.how, context.options.workers
    seed = (jobs[0].cell if jobs else refinements[0][0]).seed
    refined = phase == 1 and any(job.refinement for job in jobs)
    ids = tuple(context.checked.datasets[dataset].ids())

    def open_ranges() -> Iterator[tuple[int, int, list[Job], list[tuple[RefinementJob, list[Job]]]]]:
        for start, stop in ranges:
            todo = []
            for job in context.alive(jobs):
                if _shard_there(run_dir, job, start, stop, phase, ids[start:stop]):
                    _account(run_dir, job, start, stop, phase)
                else:
                    todo.append(job)
            looks = [
                one for one in refinements if not refinement.shard_there(run_dir, one[0], start, stop, ids[start:stop])
            ]
            yield start, stop, todo, looks

    coming = deque(islice(following := open_ranges(), 1))
    while coming:
        start, stop, todo, looks = coming.popleft()
        coming.extend(islice(following, 1))
        ahead = coming[0][:2] if coming else (0, 0)
        cells = tuple(map(_cell_task, context.alive(todo)))
        tasks = tuple(shared.task() for shared, users in looks if context.alive(users))
        if cells or tasks:
            where = (run_dir, model, dataset, cells, start, stop)
            yield Task(*where, how, seed, workers, phase, tasks, refined, ahead, ids=ids[start:stop])
        else:
            context.reporter.advance(stop - start)


def _cell_task(job: Job) -> CellTask:
    fitted = job.fitted.key if job.fitted else None
    method = job.cell.method
    budget = job.cell.budget
    parameters, refined = dict(job.parameters), job.refinement.task() if job.refinement else None
    return CellTask(
        job.key, job.cell.protocol, method, fitted, budget, job.folded, job.stamp, job.spool, parameters, refined
    )


def _shard_there(run_dir: Path, job: Job, start: int, stop: int, phase: int, ids: Sequence[str]) -> bool:
    path = shard_files.path_of(run_dir, job.key, start, stop, phase)
    return shard_files.is_there(path, job.stamp, ids, run_dir / job.spool if phase == 1 and job.spool else None)


def _account(run_dir: Path, job: Job, start: int, stop: int, phase: int) -> None:
    """Keep what lies on disk within the budget: once a cell as a whole folds, so do the shards it has."""
    if phase != 1 or not job.protocol.scored:
        return
    path = shard_files.path_of(run_dir, job.key, start, stop, phase)
    job.pixels += shard_files.header_of(path)["pixels"]
    if job.folded:
        _fold_shard(path)
    elif job.pixels * 4 > job.cell.budget:
        job.folded = True
        for other in sorted(path.parent.glob("phase1-*.npz")):
            _fold_shard(other)


def _fold_shard(path: Path) -> None:
    shard = shard_files.read(path)
    if shard.tally is not None and shard.tally.exact:
        shard.tally.fold()
        shard_files.write(path, shard)


def _publish(context: _Context, job: Job, read: Figures, ranges: Sequence[tuple[int, int]]) -> None:
    """Write the result of a cell whose counts are on disk, and forget its shard_files."""
    made = _result(job, context.options, context.how)
    before = refinement.seconds(context.run_dir, job.refinement, ranges) if job.refinement else {}
    result = replace(
        made,
        about={**made.about, "model": {**made.about["model"], **read.network}},
        metrics=read.metrics,
        pixels=read.pixels,
        seconds={**before, **read.seconds},
        memory_mb=read.memory_mb,
        slices=read.slices,
        tags=read.tags,
    )
    store.write_result(context.run_dir, result)
    store.drop_work(context.run_dir, job.key)


def _result(job: Job, options: Options, how: Numerics) -> Result:
    refs = {axis: ref for axis, ref in job.cell.refs().items() if ref}
    about: dict[str, dict[str, Any]] = {
        axis: {"source": registry.plugin(ref.kind, ref.name, where=ref.label).source} for axis, ref in refs.items()
    }
    about["model"] |= job.cell.model.build().about()
    about["protocol"] |= {"version": job.protocol.version, "title": job.protocol.title or job.cell.protocol.label}
    about["protocol"] |= {} if job.protocol.ranked else {"ranked": False}
    if job.cell.method:
        about["method"]["uses_outliers"] = job.cell.method.build().uses_outliers
    return Result(
        key=job.key,
        cell=job.cell.spelled(),
        labels=job.cell.labels(),
        metrics={},
        definitions=job.protocol.metrics,
        about=about,
        images=job.images,
        partial=job.partial,
        depends=job.depends,
        provenance=provenance.of(how, f"{options.command} --only cell={job.key}".strip()),
        fitted=_fitted(job),
    )


def _fitted(job: Job) -> dict[str, Any] | None:
    """What a result says of its fit, and of what was decided about segments."""
    fitted = job.fitted.shown() if job.fitted else None
    if job.refinement is None or job.refinement.report is None:
        return fitted
    return (fitted or {"key": job.refinement.key}) | {"decided": refinement.shown(job.refinement)}


def _not_applicable(job: Job, reason: str, options: Options, how: Numerics) -> Result:
    figures = {name: Undefined(reason) for name in job.protocol.metrics}
    return replace(_result(job, options, how), metrics=figures, images=0, partial=False, not_applicable=reason)


def _drop_spool(run_dir: Path, jobs: Sequence[Job], needed: set[str | None]) -> None:
    """Delete the maps that nobody asked to keep; cells that failed need theirs when the run goes on."""
    refined = {job.refinement.spool for job in jobs if job.refinement}
    for folder in ({job.spool for job in jobs if job.spool} | refined) - needed:
        if folder and not (run_dir / folder / "kept").is_file():
            shutil.rmtree(run_dir / folder, ignore_errors=True)
    spool = run_dir / "spool"
    if spool.is_dir() and not any(path.is_file() for path in spool.rglob("*")):
        shutil.rmtree(spool)
