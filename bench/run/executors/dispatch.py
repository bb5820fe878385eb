"""Who does which task, and what becomes of it when a worker dies. The same for processes of this machine and for Ray.

Several passes (one network over one data set each) are open at a time, as many as the workers need to stay busy. Tasks
are made when a worker is free, so memory does not grow with their number. A worker goes on with the stage that it is
at: its network is loaded and its readers know the data set.

A task whose worker died runs again, at most ``retries`` times. Then it is cut in halves until the image is found that
no worker survives; what the halves left is joined, so that no file on disk tells of it.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from operator import length_hint
from typing import Any

from bench.core.errors import BadPlugin
from bench.run import shards
from bench.run.shards import Failure, Task
from bench.run.tasks import Done, Work
from bench.suite.expansion import Ref

Say = Callable[[str], None]

DEPTH = 2  # tasks at a worker, the one that it does included: the next is there when it has finished


@dataclass(frozen=True)
class Died:
    """A worker ended in the middle of its first task; those that waited at it are lost, too."""

    why: str  # after "a worker": "was killed"


class Crew(ABC):
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
    def take(self) -> tuple[int, Done | Died] | None:
        """Wait for the next outcome; None if it is something else that changed, such as a worker that joined."""

    @abstractmethod
    def restart(self, worker: int) -> None:
        """Put a new worker in the place of one that died."""

    @abstractmethod
    def close(self) -> None:
        """Let go of networks, processes and machines."""


class Stage:
    """Tasks that may run in any order. ``ranges`` is what ``tasks`` are made from: it tells about how many are left."""

    def __init__(
        self, model: Ref, tasks: Iterable[Work], ranges: Iterator[Any], done: Callable[[Work, Done], None]
    ) -> None:
        self._tasks, self._ranges = iter(tasks), ranges
        self.model, self.done = model, done
        self.away = 0  # tasks that somebody has
        self.exhausted = False
        self.workers: set[int] = set()

    @property
    def left(self) -> int:
        """How many tasks nobody has, at most; at least 1 until it is known that there are none."""
        return 0 if self.exhausted else length_hint(self._ranges) + 1

    @property
    def finished(self) -> bool:
        return self.exhausted and not self.away

    def pull(self) -> Work | None:
        work = next(self._tasks, None)
        self.exhausted = work is None
        return work


@dataclass
class _Try:
    """A task on its way."""

    work: Work
    stage: Stage
    deaths: int = 0
    parent: _Split | None = None
    abandoned: bool = False  # nobody waits for it any more


@dataclass
class _Split:
    """A task in parts."""

    whole: _Try
    parts: list[Task]
    missing: int
    failures: dict[str, Failure] = field(default_factory=dict)


class Dispatcher:
    """Keeps a crew busy."""

    def __init__(self, crew: Crew, retries: int, advance: Callable[[int], None], say: Say) -> None:
        self.crew, self.retries, self.advance, self.say = crew, retries, advance, say
        self._stages: list[Stage] = []
        self._again: deque[_Try] = deque()
        self._flying: dict[int, deque[_Try]] = {}
        self._models: dict[int, Ref] = {}  # the network that each worker has

    def add(self, stage: Stage) -> None:
        self._stages.append(stage)

    def run(
        self, tasks: Sequence[Task], advance: Callable[[int], None], up_to_date: Callable[[Task], Task]
    ) -> Iterator[Task]:
        """Some tasks as one stage, each yielded when it is done. Raises BadPlugin with the first failure at the end."""
        finished: list[Task] = []
        failed: list[Failure] = []

        def done(work: Work, outcome: Done) -> None:
            failed.extend(outcome.failures.values())
            assert isinstance(work, Task)  # noqa: S101 - there are no others
            if not outcome.failures:
                finished.append(work)

        left = iter(tasks)
        if tasks:
            self.add(Stage(tasks[0].model, map(up_to_date, left), left, done))
        while self._stages:
            self.step(share=True)
            yield from finished
            finished.clear()
        if failed:
            raise BadPlugin(failed[0].message)

    def wants_more(self) -> bool:
        """Whether a worker has room, and what is open would not keep it busy."""
        return not self._again and any(self._stage_of(worker) is None for worker in self.crew.room())

    def step(self, share: bool) -> list[Stage]:
        """Hand out tasks and wait for one outcome; the stages that are finished now.

        ``share`` lets workers crowd on few tasks: there is nothing else to open.
        """
        self._fill(share)
        if not any(stage.finished for stage in self._stages):
            news = self.crew.take()
            if news is not None:
                worker, outcome = news
                if isinstance(outcome, Died):
                    self._bury(worker, outcome)
                else:
                    self._settle(self._flying[worker].popleft(), outcome)
        finished = [stage for stage in self._stages if stage.finished]
        self._stages = [stage for stage in self._stages if not stage.finished]
        return finished

    def _fill(self, share: bool) -> None:
        while rooms := self.crew.room():
            if not any(self._hand_out(worker, share) for worker in rooms):
                return

    def _hand_out(self, worker: int, share: bool) -> bool:
        one = self._again.popleft() if self._again else self._pulled(worker, share)
        if one is None:
            return False
        if self.crew.size > 1:
            one.work = replace(one.work, ahead=(0, 0)) if isinstance(one.work, Task) else one.work
        self._flying.setdefault(worker, deque()).append(one)
        self._models[worker] = one.work.model
        self.crew.give(worker, one.work)
        return True

    def _pulled(self, worker: int, share: bool) -> _Try | None:
        while (stage := self._stage_of(worker) or (self._fullest() if share else None)) is not None:
            stage.workers.add(worker)
            if (work := stage.pull()) is not None:
                stage.away += 1
                return _Try(work, stage)
        return None

    def _stage_of(self, worker: int) -> Stage | None:
        """The stage that a worker is at, or one with enough tasks for one more; best of the network that it has."""
        there = [stage for stage in self._stages if stage.left]
        there.sort(key=lambda stage: (stage.model != self._models.get(worker), len(stage.workers)))
        for stage in there:
            if worker in stage.workers:
                return stage
        return next((stage for stage in there if stage.left > DEPTH * len(stage.workers)), None)

    def _fullest(self) -> Stage | None:
        return max((stage for stage in self._stages if stage.left), key=lambda stage: stage.left, default=None)

    def _settle(self, one: _Try, outcome: Done) -> None:
        if one.abandoned:
            return
        if one.parent is not None:
            one.parent.failures.update(outcome.failures)
            self._joined(one.parent)
            return
        if not self.crew.alone:
            self.advance(one.work.images)
        one.stage.away -= 1
        one.stage.done(one.work, outcome)

    def _joined(self, split: _Split) -> None:
        split.missing -= 1
        if split.missing:
            return
        whole = split.whole
        assert isinstance(whole.work, Task)  # noqa: S101 - nothing else is cut
        shards.join(whole.work, split.parts, set(whole.work.keys) - split.failures.keys())
        self._settle(whole, Done(split.failures))

    def _bury(self, worker: int, death: Died) -> None:
        """Blame the task that was under way; the others that waited there just run elsewhere."""
        lost = self._flying.pop(worker)
        guilty = lost.popleft()
        self._again.extend(lost)
        for stage in self._stages:
            stage.workers.discard(worker)
        self.crew.restart(worker)
        guilty.deaths += 1
        if guilty.abandoned:
            return
        if guilty.deaths <= (self.retries if guilty.parent is None else 0):
            self.say(f"a worker {death.why} at {guilty.work}; once more ({guilty.deaths} of {self.retries})")
            self._again.append(guilty)
        elif isinstance(guilty.work, Task) and guilty.work.images > 1 and not guilty.work.pictures:
            self.say(f"a worker {death.why} at {guilty.work} again; looking for the image that no worker survives")
            self._halve(guilty)
        else:
            self._give_up(guilty, death)

    def _halve(self, one: _Try) -> None:
        assert isinstance(one.work, Task)  # noqa: S101 - the caller looked
        parts = shards.halves(one.work)
        split = _Split(one, parts, len(parts))
        self._again.extend(_Try(part, one.stage, parent=split) for part in parts)

    def _give_up(self, one: _Try, death: Died) -> None:
        failure = Failure(
            f"{one.work}: a worker {death.why} there every time; give it more memory, or leave the image out"
            if isinstance(one.work, Task)
            else f"{one.work}: a worker {death.why} there {one.deaths} times; give it more memory"
        )
        # What else there is of the same range cannot save these cells: their other parts need not run.
        whole = _whole(one)
        self._again = deque(other for other in self._again if _whole(other) is not whole)
        for other in itertools.chain.from_iterable(self._flying.values()):
            other.abandoned = _whole(other) is whole
        self._settle(whole, Done(dict.fromkeys(whole.work.keys, failure)))


def _whole(one: _Try) -> _Try:
    """The task that this is a part of, or itself."""
    while one.parent is not None:
        one = one.parent.whole
    return one
