"""A pass as steps: each has work for workers and takes its outcomes; the pass says which step comes next.

A pass is one network over one data set, for all cells that want it:

1. fit what its methods are fitted to and nobody has fitted,
2. count, by ranges of samples; and describe the maps that refinements will change,
3. decide about all images together, and count the maps that refinements changed,
4. read the figures of cells that are finished by then,
5. read off the first phase what the second must know,
6. the second phase, by the same ranges,
7. read the figures of the others, and clean up.

A step makes its work when a worker is free, so that memory does not grow with its amount. What is on disk already is
no work. What fails, fails its own cells; the others go on.
"""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from bench.api import Dataset, TwoPhase, Undefined
from bench.core.cpu_time import spent
from bench.fit import fitted_store
from bench.results import store
from bench.results.store import Result
from bench.run import finalise, fits, jobs, refinement
from bench.run.context import RunContext
from bench.run.executors.dispatch import Step
from bench.run.jobs import Job
from bench.run.messages import Failure, Finish, Fit, Outcome, Task, Work
from bench.run.refinement import RefinementJob
from bench.suite.cells import Ref

SHARD_PIXELS = 2**23  # of labels; what a kill can cost, and how many exact keys a process holds per cell
SHARD_IMAGES = 16

Range = tuple[int, int]  # of samples: the first, and the one after the last


def shard_size(dataset: Ref) -> int:
    """Return how many images of a data set are one shard, by the size of the first."""
    data: Dataset = dataset.build()
    height, width = data.load(0).size
    return max(1, min(SHARD_IMAGES, SHARD_PIXELS // (height * width)))


class Pass:
    """One network over one data set, for the cells that want it."""

    def __init__(self, context: RunContext, model: Ref, dataset: Ref, cells: Sequence[Job]) -> None:
        self.context, self.model, self.dataset = context, model, dataset
        self.jobs = list(cells)
        self.ranges: list[Range] = []
        self.refinements: list[tuple[RefinementJob, list[Job]]] = []  # each once, with its cells
        self._published: set[str] = set()  # keys of cells whose results nobody has taken yet
        self._fits: dict[str, Fit] = {}
        self._looked: dict[Ref, str] = {}  # what changed of each, as of the last look
        self._ahead: deque[Callable[[], Step | None]] = deque(
            [
                self._fit,
                self._first_phase,
                self._refined_phase,
                self._figures_of_first,
                self._parameters,
                self._second_phase,
                self._figures_of_second,
                self._clean_up,
            ]
        )

    def next_step(self) -> Step | None:
        """Return the step after the one that is finished; None at the end of the pass."""
        while self._ahead:
            step = self._ahead.popleft()()
            if step is not None:
                return step
        return None

    def results(self) -> Iterator[Result]:
        """Yield the results that were published since the last call, in the order of the cells."""
        published, self._published = self._published, set()
        for job in self.jobs:
            if job.key in published:
                with spent("write"):
                    result = store.read_result(store.result_path(self.context.run_dir, job.key))
                yield result

    def publish(self, job: Job, outcome: Outcome) -> None:
        """Write the result of a cell whose figures a worker has read, if it has."""
        if outcome.figures:
            context = self.context
            with spent("write"):
                finalise.publish(
                    context.run_dir, job, outcome.figures, self.ranges, context.numerics, context.options.command
                )
            self._published.add(job.key)

    def _fit(self) -> Step | None:
        context = self.context
        if failure := context.broken.get(self.model):
            context.fail(self.jobs, failure)
            self._ahead.clear()
            return None
        for job in self.jobs:
            key = job.fit_key
            if key and key not in self._fits and key not in context.unfit and not fits.is_made(key):
                with context.failing(f"fit {key}", job):
                    options = context.options
                    self._fits[key] = fits.task_of(job.cell, context.checked, context.numerics, options.workers)
        if not self._fits:
            return None
        context.reporter.stage(f"fitting {', '.join(fit.method.label for fit in self._fits.values())}")
        context.fitting |= self._fits.keys()
        return FitStep(context, self.model, self._fits.values())

    def _first_phase(self) -> Step | None:
        context = self.context
        context.fitting -= self._fits.keys()
        self._load_fits()
        self.jobs = context.alive(self.jobs)
        if not self.jobs:
            self._ahead.clear()
            return None
        for job in self.jobs:
            if job.spool:
                store.open_spool(context.run_dir / job.spool, job.map_stamp, keep=context.options.keep_maps)
            (context.run_dir / "work" / job.key).mkdir(parents=True, exist_ok=True)
        with context.failing(f"dataset {self.dataset.label}", *self.jobs):
            size, images = context.options.shard or shard_size(self.dataset), self.jobs[0].images
            if context.checked.models[self.model].state == "ordered":
                size = images  # one shard: where it began in the middle, those before would be shown once more
            size += -size % context.numerics.batch  # whole batches
            self.ranges = [(start, min(start + size, images)) for start in range(0, images, size)]
        context.reporter.stage(f"{self.model.label} on {self.dataset.label}")
        self.refinements = self._shared_refinements()
        plain = [job for job in self.jobs if not job.refinement]
        return CountStep(self, 1, plain, self.refinements) if plain or self.refinements else None

    def _load_fits(self) -> None:
        context = self.context
        for job in context.alive(self.jobs):
            if key := job.fit_key:
                if failure := context.unfit.get(key):
                    context.fail([job], failure)
                else:
                    with context.failing(f"fit {key}", job):
                        job.fitted = fitted_store.load(key)

    def _shared_refinements(self) -> list[tuple[RefinementJob, list[Job]]]:
        """The refinements among the cells, each once with its cells, and with a place for their maps."""
        shared: dict[str, tuple[RefinementJob, list[Job]]] = {}
        for job in self.jobs:
            if job.refinement:
                job.refinement, users = shared.setdefault(job.refinement.key, (job.refinement, []))
                job.refinement.fitted = job.fitted
                users.append(job)
        for refined, _ in shared.values():
            store.open_spool(self.context.run_dir / refined.spool, refined.stamp, keep=False)
        return list(shared.values())

    def _refined_phase(self) -> Step | None:
        context = self.context
        for refined, users in self.refinements:
            if mates := context.alive(users):
                context.reporter.stage(f"deciding {refined.method.label}")
                with context.failing(f"method {refined.method.label}", *mates):
                    refinement.decide(context.run_dir, refined, self.ranges)
        if self.refinements:
            context.reporter.stage(f"{self.model.label} on {self.dataset.label}")
        counted = context.alive(job for job in self.jobs if job.refinement)
        return CountStep(self, 1, counted) if counted else None

    def _hold(self) -> None:
        """Fail the cells whose data or network are no longer those whose digests they carry, and forget what was read.

        Their shards would be merged with others once everything is as it was before.
        """
        context = self.context
        for job in context.alive(self.jobs):
            method = job.cell.method
            for ref in filter(None, [self.dataset, self.model, method, method and method.fit]):
                if why := self._changed(ref):
                    context.fail([job], Failure(f"{ref.kind} {ref.label}: {why} changed under the run; run it again"))
                    for key in [job.key, *([job.refinement.key] if job.refinement else [])]:
                        store.drop_work(context.run_dir, key)

    def _changed(self, ref: Ref) -> str:
        if ref not in self._looked:
            self._looked[ref] = ""
            with self.context.failing(f"{ref.kind} {ref.label}", *self.jobs):
                self._looked[ref] = self.context.checked.changed(ref)
        return self._looked[ref]

    def _figures_of_first(self) -> Step | None:
        self._looked.clear()
        self._hold()
        finished = self.context.alive(job for job in self.jobs if not isinstance(job.protocol, TwoPhase))
        return FigureStep(self, finished) if finished else None

    def _parameters(self) -> Step | None:
        begun = self.context.alive(job for job in self.jobs if isinstance(job.protocol, TwoPhase))
        return ParameterStep(self, begun) if begun else None

    def _second_phase(self) -> Step | None:
        ready = self.context.alive(job for job in self.jobs if isinstance(job.protocol, TwoPhase) and job.parameters)
        return CountStep(self, 2, ready) if ready else None

    def _figures_of_second(self) -> Step | None:
        self._looked.clear()
        self._hold()
        finished = self.context.alive(job for job in self.jobs if isinstance(job.protocol, TwoPhase))
        return FigureStep(self, finished) if finished else None

    def _clean_up(self) -> None:
        """Forget what nobody needs; what failed keeps its shards and its maps for the next run."""
        run_dir, failed = self.context.run_dir, self.context.failed
        begun = [job for job in self.jobs if job.key in failed and any((run_dir / "work" / job.key).glob("*"))]
        lost = [job.refinement.spool for job in self.jobs if job.refinement and job.key in failed]
        self._drop_spool({*lost, *(job.spool for job in begun)})
        for refined, users in self.refinements:
            if len(self.context.alive(users)) == len(users):
                store.drop_work(run_dir, refined.key)
        for job in self.jobs:
            with suppress(OSError):  # it is not empty
                (run_dir / "work" / job.key).rmdir()

    def _drop_spool(self, needed: set[str | None]) -> None:
        """Delete the maps that nobody asked to keep and nobody needs."""
        run_dir = self.context.run_dir
        folders = {job.spool for job in self.jobs} | {job.refinement.spool for job in self.jobs if job.refinement}
        for folder in folders - needed:
            if folder and not (run_dir / folder / "kept").is_file():
                shutil.rmtree(run_dir / folder, ignore_errors=True)
        store.drop_empty_spool(run_dir)


class FitStep(Step):
    """Fits, each kept on disk when it is made."""

    def __init__(self, context: RunContext, model: Ref, missing: Iterable[Fit]) -> None:
        super().__init__(model)
        self._context, self._waiting = context, deque(missing)

    @property
    def remaining(self) -> int:
        return len(self._waiting)

    def next_work(self) -> Work | None:
        return self._waiting.popleft() if self._waiting else None

    def take(self, work: Work, outcome: Outcome) -> None:
        if outcome.state is not None and isinstance(work, Fit):
            for ref in work.refs:
                if why := self._context.checked.changed(ref):
                    failure = Failure(f"{work}: {why} changed under the run; run it again")
                    self._context.unfit[work.key] = failure
                    return
            fits.keep(work, outcome.state)
        self._context.unfit |= outcome.failures


class CountStep(Step):
    """The shards of one phase, as far as they are not on disk.

    Cells that are beyond their budget by the time that a task is made fold at once.
    """

    def __init__(
        self,
        owner: Pass,
        phase: int,
        cells: Sequence[Job],
        refinements: Sequence[tuple[RefinementJob, list[Job]]] = (),
    ) -> None:
        super().__init__(owner.model)
        self._pass, self._phase = owner, phase
        self._jobs = {job.key: job for job in cells}
        self._refinements = refinements
        self._users: Mapping[str, list[Job]] = {job.key: [job] for job in cells} | {
            refined.key: users for refined, users in refinements
        }
        self._seed = (cells[0].cell if cells else refinements[0][0]).seed
        self._refined = phase == 1 and any(job.refinement for job in cells)
        checked = owner.context.checked
        self._ids = tuple(checked.datasets[owner.dataset].ids())
        self._since = max(checked.newest(owner.dataset), checked.newest(owner.model))
        self._ranges = deque(owner.ranges)

    @property
    def remaining(self) -> int:
        return len(self._ranges)

    def next_work(self) -> Work | None:
        context = self._pass.context
        while self._ranges:
            start, stop = self._ranges.popleft()
            cells, refinements = self._lacking(start, stop)
            if cells or refinements:
                return Task(
                    context.run_dir,
                    self._pass.model,
                    self._pass.dataset,
                    tuple(job.task() for job in cells),
                    start,
                    stop,
                    context.numerics,
                    self._seed,
                    context.options.workers,
                    self._phase,
                    tuple(refined.task() for refined in refinements),
                    self._refined,
                    ids=self._ids[start:stop],
                )
            context.reporter.advance(stop - start)
        return None

    def renewed(self, work: Task) -> Task:
        return replace(work, cells=tuple(replace(cell, fold=self._jobs[cell.key].folded) for cell in work.cells))

    def _lacking(self, start: int, stop: int) -> tuple[list[Job], list[RefinementJob]]:
        """Return the cells and the refinements of which a range is not on disk."""
        context, ids = self._pass.context, self._ids[start:stop]
        cells = []
        for job in context.alive(self._jobs.values()):
            if jobs.has_shard(context.run_dir, job, start, stop, self._phase, ids, self._since):
                jobs.account(context.run_dir, job, start, stop, self._phase)
            else:
                cells.append(job)
        refinements = [
            refined
            for refined, users in self._refinements
            if context.alive(users)
            and not refinement.shard_there(context.run_dir, refined, start, stop, ids, self._since)
        ]
        return cells, refinements

    def take(self, work: Work, outcome: Outcome) -> None:
        assert isinstance(work, Task)  # noqa: S101 - the step has no other
        context = self._pass.context
        for failure in dict.fromkeys(outcome.failures.values()):
            keys = [key for key, reason in outcome.failures.items() if reason == failure]
            context.fail([job for key in keys for job in self._users[key]], failure)
            if failure.model:
                context.broken[self.model] = failure
        with spent("shards"):
            for cell in work.cells:
                if cell.key not in outcome.failures and cell.key not in context.failed:
                    jobs.account(context.run_dir, self._jobs[cell.key], work.start, work.stop, self._phase)


class _ReadStep(Step):
    """Something read off the shards of each cell."""

    parameters = False  # only what the second phase must know

    def __init__(self, owner: Pass, cells: Sequence[Job]) -> None:
        super().__init__(owner.model)
        self._pass, self._waiting = owner, deque(cells)
        self._jobs = {job.key: job for job in cells}

    @property
    def remaining(self) -> int:
        return len(self._waiting)

    def next_work(self) -> Work | None:
        if not self._waiting:
            return None
        job = self._waiting.popleft()
        cell = job.cell
        return Finish(
            self._pass.context.run_dir,
            job.key,
            str(cell),
            cell.model,
            cell.protocol,
            cell.method,
            cell.budget,
            cell.seed,
            cell.bootstrap,
            cell.resample,
            tuple(self._pass.ranges),
            second=bool(job.parameters),
            parameters=self.parameters,
        )

    def take(self, work: Work, outcome: Outcome) -> None:
        for key, failure in outcome.failures.items():
            self._pass.context.fail([self._jobs[key]], failure)
        for key in work.keys:
            if key not in outcome.failures:
                self.read(self._jobs[key], outcome)

    def read(self, job: Job, outcome: Outcome) -> None:
        """Take what was read of one cell."""
        raise NotImplementedError


class FigureStep(_ReadStep):
    """The figures of cells, written as results."""

    def read(self, job: Job, outcome: Outcome) -> None:
        self._pass.publish(job, outcome)


class ParameterStep(_ReadStep):
    """What the second phase of cells must know of the first. Cells without an answer have no parameters."""

    parameters = True

    def read(self, job: Job, outcome: Outcome) -> None:
        job.parameters = {} if isinstance(outcome.parameters, Undefined) else outcome.parameters or {}
