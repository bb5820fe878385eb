"""Which workers a run gets."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.core.errors import MissingPackage
from bench.models.numerics import Numerics
from bench.run.executors.dispatch import Crew
from bench.run.executors.local import Here, Processes, gpus
from bench.suite.expansion import NumericsRule, Ref


@dataclass(frozen=True)
class Asked:
    """What of a Ray cluster a run is to use."""

    address: str | None = None  # None: $RAY_ADDRESS, or a cluster of this machine that ends with the run
    workers: int | None = None  # None: as many as there is room for now
    gpus: float | None = None  # of each; None: one where the suite computes on GPUs
    cpus: float = 1.0
    retries: int = 2  # how often in a row workers may die before they do anything


def local(processes: int | None, how: Numerics, advance: Callable[[int], None]) -> Crew:
    """One process or several; without a number, one for each GPU that computes as ``how`` says."""
    devices = gpus(how)
    size = processes or max(1, len(devices))
    return Here(advance) if size == 1 else Processes(size, devices)


def loopback() -> None:
    """Let a Ray of this machine listen on 127.0.0.1 alone. It looks at this when it is imported, on Linux too."""
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")


def ray(
    asked: Asked, rule: NumericsRule, run_dir: Path, digests: Mapping[Ref, str], say: Callable[[str], None]
) -> tuple[Crew, Numerics]:
    """Actors of a Ray cluster, and the numerics that they have."""
    if not (asked.address or os.environ.get("RAY_ADDRESS")):
        loopback()
    try:
        from bench.run.executors.ray import Actors
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise MissingPackage("--executor ray needs Ray; pip install 'ood-seg-bench[ray]'") from None
    crew = Actors(asked, rule, run_dir, digests, say)
    return crew, crew.numerics
