"""Workers on this machine: processes that each hold the network and have a GPU of their own."""

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

VISIBLE = "CUDA_VISIBLE_DEVICES"


class ProcessPool(WorkerPool):
    """``size`` processes; ``devices`` are what CUDA_VISIBLE_DEVICES is in each, in turn, empty on a CPU."""

    def __init__(self, size: int, devices: Sequence[str] = ()) -> None:
        self.size, self._devices = size, devices
        self._pools: dict[int, ProcessPoolExecutor] = {}
        self._under_way: dict[int, deque[Future[Outcome | Died]]] = {worker: deque() for worker in range(size)}

    def room(self) -> list[int]:
        free = [worker for worker, futures in self._under_way.items() if len(futures) < DEPTH]
        return sorted(free, key=lambda worker: len(self._under_way[worker]))

    def give(self, worker: int, work: Work) -> None:
        if worker not in self._pools:
            device = device_of(worker, self._devices)
            share = child_processes.cores() // self.size  # the readers of a machine are shared out among its processes
            self._pools[worker] = child_processes.pool(1, _begin, device, share)
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

    def close(self) -> None:
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)
        for pool in self._pools.values():
            pool.shutdown(wait=True, cancel_futures=True)


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


def _begin(device: str, cores: int) -> None:
    """Set a pool's process up. Its readers must be gone before multiprocessing waits for them at the exit."""
    if device:
        os.environ[VISIBLE] = device  # nothing has asked CUDA yet: it looks at this when it starts
    _worker.cores = cores
    diagnostics.attach()
    Finalize(_worker, _worker.close, exitpriority=100)


def _execute(work: Work) -> Outcome | Died:
    try:
        return replace(execute(work, _worker), spent=spent.taken())
    except WorkerDied as error:
        return Died.of(error)
