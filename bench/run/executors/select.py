"""The workers that a run gets."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from bench.core.errors import MissingPackage
from bench.models.numerics import Numerics
from bench.run.executors.dispatch import InProcessPool, RayOptions, WorkerPool
from bench.run.executors.local import ProcessPool, gpus
from bench.run.messages import Advance
from bench.suite.cells import Ref
from bench.suite.schema import NumericsRule


def local(processes: int | None, numerics: Numerics, advance: Advance, workers: int | None = None) -> WorkerPool:
    """One process or several; without a number, one for each GPU that computes as ``numerics`` say."""
    devices = gpus(numerics)
    size = processes or max(1, len(devices))
    return InProcessPool(advance) if size == 1 else ProcessPool(size, devices, workers)


def loopback() -> None:
    """Let a Ray of this machine listen on 127.0.0.1 alone. It looks at this when it is imported, on Linux too."""
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")


def ray(
    options: RayOptions, rule: NumericsRule, run_dir: Path, digests: Mapping[Ref, str], say: Callable[[str], None]
) -> tuple[WorkerPool, Numerics]:
    """Actors of a Ray cluster, and the numerics that they have."""
    if not (options.address or os.environ.get("RAY_ADDRESS")):
        loopback()
    try:
        from bench.run.executors.ray import RayPool
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise MissingPackage("--executor ray needs Ray; pip install 'ood-seg-bench[ray]'") from None
    pool = RayPool(options, rule, run_dir, digests, say)
    return pool, pool.numerics
