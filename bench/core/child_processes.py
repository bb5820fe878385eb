"""Processes that this one starts for its work: they end with it, whatever ends it."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.managers import BaseManager
from typing import Any

LOOK_AGAIN = 1.0  # seconds
# Never forked: a forked child hangs in the first convolution after its parent ran one.
SPAWNING = multiprocessing.get_context("spawn")
# Python's own process that clears semaphores warns of those which it had to clear after a kill: nothing to mend.
QUIET = "ignore:resource_tracker:UserWarning"


def pool(processes: int, begin: Callable[..., object] | None = None, *arguments: Any) -> ProcessPoolExecutor:
    """Return a pool whose processes end when this one does, killed or not; each calls ``begin`` with ``arguments``."""
    _quieten()
    return ProcessPoolExecutor(processes, SPAWNING, initializer=_begin, initargs=(os.getpid(), begin, arguments))


def start(manager: BaseManager, begin: Callable[..., object] | None = None, *arguments: Any) -> None:
    """Start the process of a manager, which ends as those of a pool do."""
    _quieten()
    manager.start(_begin, (os.getpid(), begin, arguments))


def cores() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def end_all() -> None:
    """End every process that this one started by ``pool``, in the middle of what it does."""
    for child in multiprocessing.active_children():
        child.terminate()


def _quieten() -> None:
    known = os.environ.get("PYTHONWARNINGS", "")
    if QUIET not in known:
        os.environ["PYTHONWARNINGS"] = f"{known},{QUIET}".strip(",")


def _begin(parent: int, begin: Callable[..., object] | None, arguments: tuple[Any, ...]) -> None:
    _follow(parent)
    if begin:
        begin(*arguments)


def _follow(parent: int) -> None:
    """End this process when ``parent`` is gone: a pool's queue alone would keep it waiting for ever.

    The parent says its number: who asks for it may be told that of the process which adopted the orphan.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK_AGAIN)
        os._exit(1)

    if os.getppid() != parent:
        os._exit(1)
    threading.Thread(target=watch, daemon=True).start()
