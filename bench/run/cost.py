"""What work costs: CPU seconds by stage, and memory."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from bench.core.cpu_time import spent


class Clock:
    """CPU seconds of this process by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str, of: str = "") -> Iterator[None]:
        """Time what is done inside the context; a profile shows it by what it was done ``of``."""
        before = time.process_time()
        try:
            with spent(stage, of):
                yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.process_time() - before


def total(parts: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Seconds by stage, added up."""
    seconds: dict[str, float] = {}
    for part in parts:
        for stage, more in part.items():
            seconds[stage] = seconds.get(stage, 0.0) + more
    return seconds


def peak_memory() -> float:
    """Peak resident memory of this process so far, in megabytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
