"""Shards on this machine: in this process, or in several that each hold the network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from multiprocessing.util import Finalize

from bench import shards
from bench.errors import WorkerDied
from bench.loading import die_with_parent, spawning
from bench.shards import Task, Worker


class Local:
    """Run tasks; yield each when its shards are on disk. ``processes`` of 1 runs them here."""

    def __init__(self, processes: int = 1) -> None:
        self.processes = processes
        self.worker = Worker()  # of this process; fits use it too
        self._pool: ProcessPoolExecutor | None = None

    def run(
        self, tasks: Sequence[Task], advance: Callable[[int], None], up_to_date: Callable[[Task], Task]
    ) -> Iterator[Task]:
        """Tasks in any order, each as ``up_to_date`` has it when it begins. What is finished stays on disk."""
        if self.processes == 1 or len(tasks) <= 1:
            for place, task in enumerate(tasks):
                following = tasks[place + 1] if place + 1 < len(tasks) else None
                same = following is not None and following.dataset == task.dataset and following.phase == task.phase
                ahead = (following.start, following.stop) if following is not None and same else (0, 0)
                shards.run(replace(up_to_date(task), ahead=ahead), self.worker, advance)
                yield task
            return
        yield from self._spread(tasks, advance, up_to_date)

    def _spread(
        self, tasks: Sequence[Task], advance: Callable[[int], None], up_to_date: Callable[[Task], Task]
    ) -> Iterator[Task]:
        if self._pool is None:
            self._pool = ProcessPoolExecutor(self.processes, spawning(), initializer=_begin)
        waiting = list(reversed(tasks))
        flying: dict[Future[None], Task] = {}
        try:
            while waiting or flying:
                while waiting and len(flying) < 2 * self.processes:
                    task = up_to_date(waiting.pop())
                    flying[self._pool.submit(_run_here, task)] = task
                done, _ = wait(flying, return_when=FIRST_COMPLETED)
                for future in done:
                    task = flying.pop(future)
                    future.result()
                    advance(task.stop - task.start)
                    yield task
        except BrokenProcessPool:
            raise WorkerDied(
                "a model process was killed, perhaps for want of memory; run the same command again to go on, "
                "with fewer --processes if it happens again"
            ) from None

    def close(self) -> None:
        """Let go of the network and of every process."""
        self.worker.close()
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)


_worker = Worker()  # of a pool's process: the network stays loaded between shards


def _begin() -> None:
    """Set a pool's process up. Its readers must be gone before multiprocessing waits for them at the exit."""
    die_with_parent()
    Finalize(_worker, _worker.close, exitpriority=100)


def _run_here(task: Task) -> None:
    shards.run(task, _worker)
