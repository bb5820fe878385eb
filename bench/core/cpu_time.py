"""CPU seconds of this process by stage, so that all stages together are all of its time.

What is spent in a stage that lies inside another one counts for the inner alone. What threads spend in stages of their
own counts there; what else they spend counts for the stage that the main thread is at: torch computes in such threads.
"""

from __future__ import annotations

import resource
import threading
import time
from collections import Counter
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
        self._seconds: Counter[Stage] = Counter()  # of this process
        self._children: Counter[Stage] = Counter()  # of those that it started, as far as they told
        self._elsewhere: Counter[Stage] = Counter()  # of others
        self._taken: Counter[Stage] = Counter()
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
            (self._children if child else self._elsewhere).update(told)

    def taken(self) -> dict[Stage, float]:
        """Return what was spent since this was asked before, here and by processes that told. In the main thread."""
        self._settle()
        spent = self._seconds + self._children + self._elsewhere
        fresh = {stage: seconds - self._taken[stage] for stage, seconds in spent.items()}
        self._taken = spent
        return {stage: seconds for stage, seconds in fresh.items() if seconds}

    def total(self) -> Total:
        """Return all that was spent here, by processes that this one started and that ended, and elsewhere."""
        self._settle()
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        children = used.ru_utime + used.ru_stime
        by_stage = Counter(self._seconds)
        by_stage.update(self._children)
        by_stage.update(self._elsewhere)
        by_stage[OTHER] += children - sum(self._children.values())
        return Total(sum(by_stage.values()), by_stage)


spent = Ledger()  # of this process
