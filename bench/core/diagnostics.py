"""Diagnostics: the loggers under ``bench`` write to standard error once an option or $BENCH_LOG asks for it.

A module logs with ``logging.getLogger(__name__)`` what it decides without being asked: INFO for what explains a result
or a cost (a cell computed again, a worker started anew), DEBUG for what goes as planned (a cache that was used).
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable

from bench.core.errors import UsageError
from bench.core.printable import printable

VARIABLE = "BENCH_LOG"
LEVELS = ("debug", "info", "warning", "error")


class StandardError(logging.Handler):
    """Writes to whatever standard error is at that moment: a progress bar puts a stream of its own there."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(printable(self.format(record), keep="\n") + "\n")
        except Exception:  # as in logging.StreamHandler: what cannot be logged ends no run
            self.handleError(record)


def attach(level: str = "") -> Callable[[], None]:
    """Write what is logged from ``level`` on, or from that of $BENCH_LOG; return the function that ends it.

    Processes that are started meanwhile find the level in $BENCH_LOG. Raises UsageError for an unknown level.
    """
    before = os.environ.get(VARIABLE, "")
    chosen = (level or before).lower()
    if not chosen:
        return lambda: None
    if chosen not in LEVELS:
        raise UsageError(f"${VARIABLE} is {chosen!r}, wanted debug, info, warning or error")
    logger = logging.getLogger("bench")
    handler = StandardError()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s", "%H:%M:%S"))
    logger.addHandler(handler)
    logger.setLevel(chosen.upper())
    os.environ[VARIABLE] = chosen

    def detach() -> None:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
        os.environ[VARIABLE] = before
        if not before:
            del os.environ[VARIABLE]

    return detach
