"""Workers on this machine: processes that each hold the network and have a GPU of their own, and share readers."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from multiprocessing.util import Finalize

from bench.core import child_processes, diagnostics
from bench.core.cpu_time import spent
from bench.core.errors import WorkerDied
from bench.models.numerics import Numerics
from bench.run.executors.dispatch import DEPTH, Died, WorkerPool
from bench.run.messages import Outcome, Work
from bench.run.passes import execute
from bench.run.worker import Worker
from bench.suite.readers import Host, Pool

VISIBLE = "CUDA_VISIBLE_DEVICES"


class ProcessPool(WorkerPool):
    """``size`` processes; ``devices`` are what CUDA_VISIBLE_DEVICES is in each, in turn, empty on a CPU.

    They share their readers, unless each is to read by itself: ``workers`` of 0.
    """

    def __init__(self, size: int, devices: Sequence[str] = (), workers: int | None = None) -> None:
        self.size, self._devices, self._workers = size, devices, workers
        self._pools: dict[int, ProcessPoolExecutor] = {}
        self._under_way: dict[int, deque[Future[Outcome | Died]]] = {worker: deque() for worker in range(size)}
        self._host: Host | None = None  # of the readers

    def room(self) -> list[int]:
        free = [worker for worker, futures in self._under_way.items() if len(futures) < DEPTH]
        return sorted(free, key=lambda worker: len(self._under_way[worker]))

    def give(self, worker: int, work: Work) -> None:
        if worker not in self._pools:
            device = device_of(worker, self._devices)
            if self._host is None and self._workers != 0:
                self._host = Host()
            share = child_processes.cores() / self.size  # of each, for itself and its readers
            readers = self._host.pool if self._host else None
            self._pools[worker] = child_processes.pool(1, _begin, device, str(worker), share, readers)
        try:
            self._under_way[worker].append(self._pools[worker].submit(_execute, work))
        except BrokenProcessPool as error:  # it died between two tasks
            lost: Future[Outcome | Died] = Future()
            lost.set_exception(error)
            self._under_way[worker].append(lost)

    def take(self) -> tuple[int, Outcome | Died]:
        heads = {futures[0]: worker for worker, futures in self._under_way.items() if futures}
        done, _ = wait(heads, return_when=FIRST_COMPLETED)
        worker = min(heads[future] for future in done)
        future = self._under_way[worker][0]
        try:
            outcome = future.result()
        except BrokenProcessPool:
            return worker, Died("was killed")
        self._under_way[worker].popleft()
        if isinstance(outcome, Outcome):
            spent.add(outcome.spent)
        return worker, outcome

    def restart(self, worker: int) -> None:
        self._under_way[worker].clear()
        if pool := self._pools.pop(worker, None):
            pool.shutdown(wait=True, cancel_futures=True)
        if self._host and not self._host.alive:  # somebody killed it, too: the others will find out at their next image
            self._host.close()
            self._host = None

    def close(self) -> None:
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)
        for pool in self._pools.values():
            pool.shutdown(wait=True, cancel_futures=True)
        if self._host:
            self._host.close()
            self._host = None


def gpus(numerics: Numerics) -> list[str]:
    """The GPUs of this machine that compute as ``numerics`` say, as CUDA_VISIBLE_DEVICES names them; none on a CPU."""
    import torch

    if numerics.device != "cuda":
        return []
    names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    return alike(names, numerics.device_name, os.environ.get(VISIBLE))


def alike(names: Sequence[str], device_name: str, visible: str | None) -> list[str]:
    """Those devices among ``names`` that are ``device_name``; ``visible`` is what the user chose from the machine's."""
    chosen = (
        [entry.strip() for entry in visible.split(",")] if visible else [str(number) for number in range(len(names))]
    )
    return [entry for entry, name in zip(chosen, names, strict=False) if name == device_name]


def device_of(worker: int, devices: Sequence[str]) -> str:
    """What CUDA_VISIBLE_DEVICES is for a process; processes share devices where there are more of them."""
    return devices[worker % len(devices)] if devices else ""


_worker = Worker()  # of a pool's process: the network stays loaded between tasks


def _begin(device: str, name: str, cores: float, readers: Pool | None) -> None:
    """Set a pool's process up. What it asked of readers must have come before multiprocessing ends what it needs."""
    if device:
        os.environ[VISIBLE] = device  # nothing has asked CUDA yet: it looks at this when it starts
    _worker.name, _worker.cores, _worker.pool = name, cores, readers
    diagnostics.attach()
    Finalize(_worker, _worker.close, exitpriority=100)


def _execute(work: Work) -> Outcome | Died:
    try:
        return replace(execute(work, _worker), spent=spent.taken())
    except WorkerDied as error:
        return Died.of(error)
