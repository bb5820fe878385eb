"""CPU seconds of this process by stage, so that all stages together are all of its time.

What is spent in a stage that lies inside another one counts for the inner alone. What threads spend in stages of their
own counts there; what else they spend counts for the stage that the main thread is at: torch computes in such threads.
A thread that is in the middle of a stage is looked at from outside, where the system can: else what it spent so far
counts for the main thread until it leaves the stage.
"""

from __future__ import annotations

import resource
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

Stage = tuple[str, str]  # its name, and what it was for: a method, a protocol, or empty

START: Stage = ("start", "")  # before the first stage of a process
OTHER: Stage = ("other", "")


class Total(NamedTuple):
    """CPU time of all processes of a run."""

    seconds: float
    by_stage: Mapping[Stage, float]  # all of it: what no process accounted for is with ``OTHER``


class _Thread(threading.local):
    """The stages that one thread is in, the innermost last."""

    def __init__(self) -> None:
        self.stages: list[Stage] = []
        self.at = 0.0  # until when its time is accounted for


def _seconds_of(thread: int) -> float:
    """CPU seconds of a thread of this process by its identifier, as ``time.thread_time`` is in it."""
    return time.clock_gettime(time.pthread_getcpuclockid(thread))


OF_OTHER = _seconds_of if hasattr(time, "pthread_getcpuclockid") else None  # macOS has none


class Ledger:
    """Where the CPU time of one process went since it began, and that of others which told it."""

    def __init__(
        self,
        own: Callable[[], float] = time.process_time,
        of_thread: Callable[[], float] = time.thread_time,
        of_other: Callable[[int], float] | None = OF_OTHER,
    ) -> None:
        """``own`` is the clock of this process, ``of_thread`` of the thread that asks, ``of_other`` of another one."""
        self._own, self._of_thread, self._of_other = own, of_thread, of_other
        self._threads = _Thread()
        self._lock = threading.Lock()
        self._seconds: dict[Stage, float] = defaultdict(float)  # of this process
        self._children: dict[Stage, float] = defaultdict(float)  # of those that it started, as far as they told
        self._elsewhere: dict[Stage, float] = defaultdict(float)  # of others
        self._taken: Mapping[Stage, float] = {}
        self._beside = 0.0  # seconds in stages of other threads than the first
        self._staged: dict[int, float] = {}  # until when each of those that is in a stage is accounted for
        self._at = 0.0  # seconds of this process that are accounted for
        self._rest = START

    @contextmanager
    def __call__(self, stage: str, of: str = "") -> Iterator[None]:
        """Account what is spent inside the context for a stage; ``of`` is a method or a protocol."""
        self.begin(stage, of)
        try:
            yield
        finally:
            self.end()

    def begin(self, stage: str, of: str = "") -> None:
        """Enter a stage in the thread that calls."""
        self._settle()
        self._rest = OTHER
        self._threads.stages.append((stage, of))

    def end(self) -> None:
        """Leave the innermost stage of the thread that calls."""
        self._settle()
        self._threads.stages.pop()
        if not self._threads.stages:
            with self._lock:
                self._staged.pop(threading.get_ident(), None)

    def now(self) -> float:
        """Return CPU seconds of the thread that calls; of the main thread all but what others spend in stages.

        Their differences are what stages are accounted with.
        """
        if threading.current_thread() is not threading.main_thread():
            return self._of_thread()
        with self._lock:
            return self._own_alone()

    def _own_alone(self) -> float:
        """CPU seconds of this process without those that other threads spent in stages of their own."""
        spent = self._beside
        if self._of_other is not None:
            spent += sum(self._of_other(thread) - until for thread, until in self._staged.items())
        return self._own() - spent

    def _settle(self) -> None:
        """Account the time since the last change for the stage that this thread is at."""
        thread, stage = self._threads, self._threads.stages[-1] if self._threads.stages else self._rest
        with self._lock:
            if threading.current_thread() is threading.main_thread():
                now = self._own_alone()
                self._seconds[stage] += now - self._at
                self._at = now
                return
            now = self._of_thread()
            if thread.stages:
                self._seconds[stage] += now - thread.at
                self._beside += now - thread.at
            thread.at = self._staged[threading.get_ident()] = now

    def add(self, told: Mapping[Stage, float], *, child: bool = True) -> None:
        """Take what another process spent: one that this one started, or one that somebody else did."""
        with self._lock:
            to = self._children if child else self._elsewhere
            for stage, seconds in told.items():
                to[stage] += seconds

    def taken(self) -> dict[Stage, float]:
        """Return what was spent since this was asked before, here and by processes that told. In the main thread."""
        self._settle()
        before, self._taken = self._taken, self._together()
        fresh = {stage: seconds - before.get(stage, 0.0) for stage, seconds in self._taken.items()}
        return {stage: seconds for stage, seconds in fresh.items() if seconds}

    def total(self) -> Total:
        """Return all that was spent here, by processes that this one started and that ended, and elsewhere."""
        self._settle()
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        children = used.ru_utime + used.ru_stime
        by_stage = self._together()
        by_stage[OTHER] = by_stage.get(OTHER, 0.0) + children - sum(self._children.values())
        return Total(sum(by_stage.values()), by_stage)

    def _together(self) -> dict[Stage, float]:
        spent: dict[Stage, float] = {}
        for part in (self._seconds, self._children, self._elsewhere):
            for stage, seconds in part.items():
                spent[stage] = spent.get(stage, 0.0) + seconds
        return spent


spent = Ledger()  # of this process
