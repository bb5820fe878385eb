"""Readers of a node of a Ray cluster: one actor keeps them, and all workers of the node ask it.

What is read travels through memory of the node, as between processes of one machine; Ray carries the rest. Nothing here
imports torch: the actor needs none.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import ray
from ray import exceptions
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from bench.core.parcels import Parcel
from bench.suite.cells import Ref
from bench.suite.readers import ReaderPool

TOGETHER = 256  # calls that wait in the actor at a time, others wait for these
SECONDS = 10.0  # for readers to end; then they end with their actor


class RayReaders(ReaderPool):
    """The actor."""

    def __init__(self, folder: str, environment: Mapping[str, str]) -> None:
        begin(folder, environment)
        super().__init__()


class NodePool:
    """A RayReaders as a worker of its node sees it. Raises BrokenProcessPool where it is gone; another follows it."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    def claim(self, asker: str, wanted: float, most: float) -> float:
        share: float = _answer(self._actor.claim.remote(asker, wanted, most))
        return share

    def keep_up(self, asker: str, share: float, short: float) -> float:
        grown: float = _answer(self._actor.keep_up.remote(asker, share, short))
        return grown

    def read(self, ref: Ref, index: int, images: bool) -> Parcel:
        parcel: Parcel = _answer(self._actor.read.remote(ref, index, images))
        return parcel


def _answer(reference: Any) -> Any:
    try:
        return ray.get(reference)
    except exceptions.RayTaskError as error:
        raise error.cause from error
    except exceptions.RayError as error:
        raise BrokenProcessPool("the actor that keeps the readers of this node is gone") from error


def start(node: str, environment: Mapping[str, Any], *arguments: Any) -> Any:
    """Start the actor of a node, which has no CPU for itself: workers bring those of their readers."""
    actor = ray.remote(RayReaders).options(
        num_cpus=0,
        max_concurrency=TOGETHER,
        max_restarts=-1,
        max_task_retries=0,
        scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
        runtime_env=environment,
    )
    return actor.remote(*arguments)


def end(actor: Any) -> None:
    """End the readers, then their actor."""
    with contextlib.suppress(exceptions.RayError):
        ray.get(actor.end.remote(), timeout=SECONDS)
    with contextlib.suppress(exceptions.RayError):
        ray.kill(actor)


def begin(folder: str, environment: Mapping[str, str]) -> None:
    """Set an actor up."""
    os.environ.update(environment)
    with contextlib.suppress(OSError):  # relative paths of plug-ins, where the machine has that folder
        os.chdir(folder)
    # Readers are spawned: they would run the main module of this process, Ray's, to find a data set in it.
    vars(sys.modules["__main__"]).pop("__file__", None)
