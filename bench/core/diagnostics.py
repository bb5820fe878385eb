"""Diagnostics: the loggers under ``bench`` write to standard error what an option or $BENCH_LOG asks for.

A module logs with ``logging.getLogger(__name__)`` what it decides without being asked: WARNING for a choice that the
user may want otherwise (weights beside others that fit as well), which is said unasked; INFO for what explains a result
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
    """Write what is logged from ``level`` on, or $BENCH_LOG, or warnings alone; return the function that ends it.

    Processes that are started meanwhile find the level in $BENCH_LOG. Raises UsageError for an unknown level.
    """
    before = os.environ.get(VARIABLE, "")
    chosen = (level or before).lower()
    if chosen and chosen not in LEVELS:
        raise UsageError(f"${VARIABLE} is {chosen!r}, wanted debug, info, warning or error")
    logger = logging.getLogger("bench")
    handler = StandardError()
    form = "%(asctime)s %(levelname)s %(name)s: %(message)s" if chosen else "bench: %(message)s"
    handler.setFormatter(logging.Formatter(form, "%H:%M:%S"))
    logger.addHandler(handler)
    logger.setLevel(chosen.upper() or logging.WARNING)
    if chosen:
        os.environ[VARIABLE] = chosen

    def detach() -> None:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
        if before:
            os.environ[VARIABLE] = before
        else:
            os.environ.pop(VARIABLE, None)

    return detach
