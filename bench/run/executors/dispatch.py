"""Who does which task, and what becomes of it when a worker dies. The same for processes of this machine and for Ray.

Several passes (one network over one data set each) are open at a time, as many as the workers need to stay busy. Tasks
are made when a worker is free, so memory does not grow with their number. A worker goes on with the step that it is
at: its network is loaded and its readers know the data set. One task more is kept for each, so that what it is given
says which samples come next; a worker that would stand idle gets the one that is kept for another.

A task whose worker died runs again, at most ``retries`` times. Then it is cut in halves until the image is found that
no worker survives; what the halves left is joined, so that no file on disk tells of it.
"""

from __future__ import annotations

import itertools
import logging
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from bench.core.errors import BadPlugin, OutOfMemory, WorkerDied
from bench.run import shard_files
from bench.run.messages import Advance, Failure, Outcome, Task, Work
from bench.run.passes import execute
from bench.run.worker import Worker
from bench.suite.cells import Ref

Say = Callable[[str], None]

log = logging.getLogger(__name__)

DEPTH = 2  # tasks at a worker, the one that it does included: the next is there when it has finished


@dataclass(frozen=True)
class RayOptions:
    """The part of a Ray cluster that a run is to use."""

    address: str | None = None  # None: $RAY_ADDRESS, or a cluster of this machine that ends with the run
    workers: int | None = None  # None: as many as there is room for now
    gpus: float | None = None  # of each; None: one where the suite computes on GPUs
    cpus: float = 1.0
    retries: int = 2  # how often in a row workers may die before they do anything
    readers: int | None = None  # of each worker, 0 where it reads itself; None: as many as turn out to be needed


@dataclass(frozen=True)
class Died:
    """A worker ended in the middle of its first task; those that waited at it are lost, too."""

    why: str  # after "a worker": "was killed"

    @classmethod
    def of(cls, error: WorkerDied) -> Died:
        """The death of a worker that could still say why."""
        return cls("ran out of memory" if isinstance(error, OutOfMemory) else "lost a process that reads its images")


class WorkerPool(ABC):
    """Workers by number. Each does what it is given in that order."""

    size = 1
    alone = False  # one worker in this process: tasks are done when ``take`` is called, and told of image by image

    @abstractmethod
    def room(self) -> list[int]:
        """Workers that take one more task now, the idle ones first."""

    @abstractmethod
    def give(self, worker: int, work: Work) -> None:
        """Hand a task to a worker that has room."""

    @abstractmethod
    def take(self) -> tuple[int, Outcome | Died] | None:
        """Wait for the next outcome; None if it is something else that changed, such as a worker that joined."""

    @abstractmethod
    def restart(self, worker: int) -> None:
        """Put a new worker in the place of one that died."""

    @abstractmethod
    def close(self) -> None:
        """Let go of networks, processes and machines."""


class InProcessPool(WorkerPool):
    """The process that asks, as the only worker."""

    alone = True

    def __init__(self, advance: Advance) -> None:
        self._worker, self._advance = Worker(), advance
        self._waiting: Work | None = None

    def room(self) -> list[int]:
        return [] if self._waiting else [0]

    def give(self, worker: int, work: Work) -> None:
        self._waiting = work

    def take(self) -> tuple[int, Outcome | Died]:
        work, self._waiting = self._waiting, None
        assert work is not None  # noqa: S101 - the dispatcher waits for what it gave
        try:
            return 0, execute(work, self._worker, self._advance)
        except WorkerDied as error:
            return 0, Died.of(error)

    def restart(self, worker: int) -> None:
        self._worker.forget()

    def close(self) -> None:
        self._worker.close()


class Step(ABC):
    """Work that workers may do in any order, each piece made when one of them is free."""

    def __init__(self, model: Ref) -> None:
        self.model = model  # the network of its work
        self.under_way = 0  # pieces that workers have; the dispatcher counts them
        self.workers: set[int] = set()  # that were given some

    @property
    @abstractmethod
    def remaining(self) -> int:
        """How many pieces of work nobody has yet, at most."""

    @abstractmethod
    def next_work(self) -> Work | None:
        """Return one more piece; None if nothing remains after all."""

    def renewed(self, work: Task) -> Task:
        """Return a task that was kept for a while as it is now."""
        return work

    @abstractmethod
    def take(self, work: Work, outcome: Outcome) -> None:
        """Keep what became of a piece of work."""

    @property
    def finished(self) -> bool:
        return not self.remaining and not self.under_way


class _Known(Step):
    """Tasks that are known beforehand."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        super().__init__(tasks[0].model)
        self._waiting = deque(tasks)
        self.failures: list[Failure] = []

    @property
    def remaining(self) -> int:
        return len(self._waiting)

    def next_work(self) -> Work | None:
        return self._waiting.popleft() if self._waiting else None

    def take(self, work: Work, outcome: Outcome) -> None:
        self.failures.extend(outcome.failures.values())


@dataclass
class _Attempt:
    """A task on its way."""

    work: Work
    step: Step
    deaths: int = 0
    parent: _Split | None = None
    abandoned: bool = False  # nobody waits for it any more

    @property
    def whole(self) -> _Attempt:
        """The task that this is a part of, or itself."""
        return self if self.parent is None else self.parent.whole.whole


@dataclass
class _Split:
    """A task in parts."""

    whole: _Attempt
    parts: list[Task]
    missing: int
    failures: dict[str, Failure] = field(default_factory=dict)


class Dispatcher:
    """Keeps a pool of workers busy."""

    def __init__(self, pool: WorkerPool, retries: int, advance: Advance, say: Say) -> None:
        self.pool, self.retries, self.advance, self.say = pool, retries, advance, say
        self._steps: list[Step] = []
        self._again: deque[_Attempt] = deque()
        self._under_way: dict[int, deque[_Attempt]] = {}  # by worker
        self._next: dict[int, _Attempt] = {}  # by worker
        self._models: dict[int, Ref] = {}  # the network that each worker has

    def add(self, step: Step) -> None:
        self._steps.append(step)

    def run(self, tasks: Sequence[Task]) -> None:
        """Have some tasks done, and nothing else. Raises BadPlugin with the first failure at the end."""
        step = _Known(tasks)
        self.add(step)
        while self._steps:
            self.step(share=True)
        if step.failures:
            raise BadPlugin(step.failures[0].message)

    def wants_more(self) -> bool:
        """Whether a worker has room, and what is open would not keep it busy."""
        return not self._again and any(
            worker not in self._next and self._step_of(worker) is None for worker in self.pool.room()
        )

    def step(self, share: bool) -> list[Step]:
        """Hand out work and wait for one outcome; return the steps that are finished now.

        ``share`` lets workers crowd on few tasks: there is nothing else to open.
        """
        self._fill(share)
        if not any(step.finished for step in self._steps):
            news = self.pool.take()
            if news is not None:
                worker, outcome = news
                if isinstance(outcome, Died):
                    self._bury(worker, outcome)
                else:
                    self._settle(self._under_way[worker].popleft(), outcome)
        finished = [step for step in self._steps if step.finished]
        self._steps = [step for step in self._steps if not step.finished]
        return finished

    def _fill(self, share: bool) -> None:
        while workers := self.pool.room():
            if not any(self._hand_out(worker, share) for worker in workers):
                return

    def _hand_out(self, worker: int, share: bool) -> bool:
        attempt = self._again.popleft() if self._again else self._next.pop(worker, None) or self._pulled(worker, share)
        if attempt is None and self._next:
            attempt = self._next.pop(next(iter(self._next)))
        if attempt is None:
            return False
        if worker not in self._next and attempt.step.remaining and (work := attempt.step.next_work()) is not None:
            attempt.step.under_way += 1
            self._next[worker] = _Attempt(work, attempt.step)
        if isinstance(attempt.work, Task):
            follows = self._next[worker].work if worker in self._next else None
            attempt.work = replace(attempt.step.renewed(attempt.work), ahead=attempt.work.range_of(follows))
        self._under_way.setdefault(worker, deque()).append(attempt)
        self._models[worker] = attempt.work.model
        self.pool.give(worker, attempt.work)
        return True

    def _pulled(self, worker: int, share: bool) -> _Attempt | None:
        while (step := self._step_of(worker) or (self._fullest() if share else None)) is not None:
            step.workers.add(worker)
            if (work := step.next_work()) is not None:
                step.under_way += 1
                return _Attempt(work, step)
        return None

    def _step_of(self, worker: int) -> Step | None:
        """The step that a worker is at, or one with enough work for one more; best of the network that it has."""
        steps = [step for step in self._steps if step.remaining]
        steps.sort(key=lambda step: (step.model != self._models.get(worker), len(step.workers)))
        for step in steps:
            if worker in step.workers:
                return step
        return next((step for step in steps if step.remaining > DEPTH * len(step.workers)), None)

    def _fullest(self) -> Step | None:
        return max((step for step in self._steps if step.remaining), key=lambda step: step.remaining, default=None)

    def _settle(self, attempt: _Attempt, outcome: Outcome) -> None:
        if attempt.abandoned:
            return
        if attempt.parent is not None:
            attempt.parent.failures.update(outcome.failures)
            self._joined(attempt.parent)
            return
        if not self.pool.alone:
            self.advance(attempt.work.images)
        attempt.step.under_way -= 1
        attempt.step.take(attempt.work, outcome)

    def _joined(self, split: _Split) -> None:
        split.missing -= 1
        if split.missing:
            return
        task = split.whole.work
        assert isinstance(task, Task)  # noqa: S101 - nothing else is cut
        shard_files.join(task, split.parts, set(task.keys) - split.failures.keys())
        self._settle(split.whole, Outcome(split.failures))

    def _bury(self, worker: int, death: Died) -> None:
        """Blame the task that was under way; the others that waited there just run elsewhere."""
        lost = self._under_way.pop(worker)
        guilty = lost.popleft()
        if worker in self._next:
            lost.append(self._next.pop(worker))
        self._again.extend(lost)
        for step in self._steps:
            step.workers.discard(worker)
        log.info("worker %d %s at %s; another takes its place", worker, death.why, guilty.work)
        self.pool.restart(worker)
        guilty.deaths += 1
        if guilty.abandoned:
            return
        if guilty.deaths <= (self.retries if guilty.parent is None else 0):
            self.say(f"a worker {death.why} at {guilty.work}; once more ({guilty.deaths} of {self.retries})")
            self._again.append(guilty)
        elif isinstance(guilty.work, Task) and guilty.work.images > 1 and not guilty.work.pictures:
            self.say(f"a worker {death.why} at {guilty.work} again; looking for the image that no worker survives")
            parts = guilty.work.halves()
            split = _Split(guilty, parts, len(parts))
            self._again.extend(_Attempt(part, guilty.step, parent=split) for part in parts)
        else:
            self._give_up(guilty, death)

    def _give_up(self, attempt: _Attempt, death: Died) -> None:
        failure = Failure(
            f"{attempt.work}: a worker {death.why} there every time; give it more memory, or leave the image out"
            if isinstance(attempt.work, Task)
            else f"{attempt.work}: a worker {death.why} there {attempt.deaths} times; give it more memory"
        )
        # What else there is of the same range cannot save these cells: their other parts need not run.
        whole = attempt.whole
        self._again = deque(other for other in self._again if other.whole is not whole)
        for other in itertools.chain.from_iterable(self._under_way.values()):
            other.abandoned = other.whole is whole
        self._settle(whole, Outcome(dict.fromkeys(whole.work.keys, failure)))
