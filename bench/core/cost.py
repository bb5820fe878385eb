"""What work costs: CPU seconds by stage, and memory."""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from bench.core.cpu_time import spent


class Clock:
    """CPU seconds by stage, of the thread that is in it; see ``bench.core.cpu_time``."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str, of: str = "") -> Iterator[None]:
        """Time what is done inside the context; a profile shows it by what it was done ``of``."""
        before = spent.now()
        try:
            with spent(stage, of):
                yield
        finally:
            self.add({stage: spent.now() - before})

    def add(self, seconds: Mapping[str, float]) -> None:
        """Add what another thread spent."""
        self.seconds = total((self.seconds, seconds))


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
