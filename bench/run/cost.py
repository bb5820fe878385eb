"""What work costs: CPU seconds by stage, and memory."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager


class Clock:
    """CPU seconds of this process by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        before = time.process_time()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.process_time() - before


def total(parts: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Seconds by stage, added up."""
    seconds: dict[str, float] = {}
    for part in parts:
        for stage, spent in part.items():
            seconds[stage] = seconds.get(stage, 0.0) + spent
    return seconds


def peak_memory() -> float:
    """Peak resident memory of this process so far, in megabytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
