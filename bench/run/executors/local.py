"""Workers on this machine: this process, or several that each hold the network and have a GPU of their own."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.util import Finalize

from bench.core.errors import OutOfMemory, WorkerDied
from bench.models.numerics import Numerics
from bench.run.executors.dispatch import DEPTH, Crew, Died
from bench.run.shards import Worker
from bench.run.tasks import Done, Work, perform
from bench.suite.loader import die_with_parent, spawning

VISIBLE = "CUDA_VISIBLE_DEVICES"


def died_of(error: WorkerDied) -> Died:
    """The death of a worker that could still say why."""
    return Died("ran out of memory" if isinstance(error, OutOfMemory) else "lost a process that reads its images")


class Here(Crew):
    """The process that asks."""

    alone = True

    def __init__(self, advance: Callable[[int], None]) -> None:
        self._worker, self._advance = Worker(), advance
        self._given: Work | None = None

    def room(self) -> list[int]:
        return [] if self._given else [0]

    def give(self, worker: int, work: Work) -> None:
        self._given = work

    def take(self) -> tuple[int, Done | Died]:
        work, self._given = self._given, None
        assert work is not None  # noqa: S101 - the dispatcher waits for what it gave
        try:
            return 0, perform(work, self._worker, self._advance)
        except WorkerDied as error:
            return 0, died_of(error)

    def restart(self, worker: int) -> None:
        self._worker.forget()

    def close(self) -> None:
        self._worker.close()


class Processes(Crew):
    """``size`` processes; ``devices`` are what CUDA_VISIBLE_DEVICES is in each, in turn, empty on a CPU."""

    def __init__(self, size: int, devices: Sequence[str] = ()) -> None:
        self.size, self._devices = size, devices
        self._pools: dict[int, ProcessPoolExecutor] = {}
        self._given: dict[int, deque[Future[Done | Died]]] = {worker: deque() for worker in range(size)}

    def room(self) -> list[int]:
        free = [worker for worker, given in self._given.items() if len(given) < DEPTH]
        return sorted(free, key=lambda worker: len(self._given[worker]))

    def give(self, worker: int, work: Work) -> None:
        if worker not in self._pools:
            device = device_of(worker, self._devices)
            self._pools[worker] = ProcessPoolExecutor(1, spawning(), initializer=_begin, initargs=(device,))
        try:
            self._given[worker].append(self._pools[worker].submit(_perform, work))
        except BrokenProcessPool as error:  # it died between two tasks
            lost: Future[Done | Died] = Future()
            lost.set_exception(error)
            self._given[worker].append(lost)

    def take(self) -> tuple[int, Done | Died]:
        heads = {given[0]: worker for worker, given in self._given.items() if given}
        done, _ = wait(heads, return_when=FIRST_COMPLETED)
        future = min(done, key=lambda one: heads[one])
        worker = heads[future]
        try:
            outcome = future.result()
        except BrokenProcessPool:
            return worker, Died("was killed")
        self._given[worker].popleft()
        return worker, outcome

    def restart(self, worker: int) -> None:
        self._given[worker].clear()
        if pool := self._pools.pop(worker, None):
            pool.shutdown(wait=True, cancel_futures=True)

    def close(self) -> None:
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)
        for pool in self._pools.values():
            pool.shutdown(wait=True, cancel_futures=True)


def gpus(how: Numerics) -> list[str]:
    """The GPUs of this machine that compute as ``how`` says, as CUDA_VISIBLE_DEVICES names them; none on a CPU."""
    import torch

    if how.device != "cuda":
        return []
    names = [torch.cuda.get_device_name(place) for place in range(torch.cuda.device_count())]
    return alike(names, how.device_name, os.environ.get(VISIBLE))


def alike(names: Sequence[str], wanted: str, visible: str | None) -> list[str]:
    """Those devices among ``names`` that are a ``wanted``; ``visible`` is what the user chose from the machine's."""
    chosen = [entry.strip() for entry in visible.split(",")] if visible else [str(place) for place in range(len(names))]
    return [entry for entry, name in zip(chosen, names, strict=False) if name == wanted]


def device_of(worker: int, devices: Sequence[str]) -> str:
    """What CUDA_VISIBLE_DEVICES is for a process; processes share devices where there are more of them."""
    return devices[worker % len(devices)] if devices else ""


_worker = Worker()  # of a pool's process: the network stays loaded between tasks


def _begin(device: str) -> None:
    """Set a pool's process up. Its readers must be gone before multiprocessing waits for them at the exit."""
    if device:
        os.environ[VISIBLE] = device  # nothing has asked CUDA yet: it looks at this when it starts
    die_with_parent()
    Finalize(_worker, _worker.close, exitpriority=100)


def _perform(work: Work) -> Done | Died:
    try:
        return perform(work, _worker)
    except WorkerDied as error:
        return died_of(error)
