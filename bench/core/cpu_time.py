"""CPU seconds of this process by stage, so that all stages together are all of its time.

What is spent in a stage that lies inside another one counts for the inner alone. What threads spend in stages of their
own counts there; what else they spend counts for the stage that the main thread is at: torch computes in such threads.
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


class Ledger:
    """Where the CPU time of one process went since it began, and that of others which told it."""

    def __init__(
        self, own: Callable[[], float] = time.process_time, of_thread: Callable[[], float] = time.thread_time
    ) -> None:
        """``own`` is the clock of this process, ``of_thread`` that of the thread which asks."""
        self._own, self._of_thread = own, of_thread
        self._threads = _Thread()
        self._lock = threading.Lock()
        self._seconds: dict[Stage, float] = defaultdict(float)  # of this process
        self._children: dict[Stage, float] = defaultdict(float)  # of those that it started, as far as they told
        self._elsewhere: dict[Stage, float] = defaultdict(float)  # of others
        self._taken: Mapping[Stage, float] = {}
        self._beside = 0.0  # seconds in stages of other threads than the first
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

    def _settle(self) -> None:
        """Account the time since the last change for the stage that this thread is at."""
        thread, stage = self._threads, self._threads.stages[-1] if self._threads.stages else self._rest
        with self._lock:
            if threading.current_thread() is threading.main_thread():
                now = self._own() - self._beside
                self._seconds[stage] += now - self._at
                self._at = now
                return
            now = self._of_thread()
            if thread.stages:
                self._seconds[stage] += now - thread.at
                self._beside += now - thread.at
            thread.at = now

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
