"""The progress of a run: a bar in a terminal or a notebook, now and then a line in a log, else nothing."""

from __future__ import annotations

import importlib
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from html import escape as as_html
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from bench.contract.progress import Reporter
from bench.core.printable import one_line

log = logging.getLogger(__name__)

EVERY = 10.0  # seconds between two lines in a log


def speed(rate: float) -> str:
    """Return how fast images go, so that slow networks do not stand still: ``2.5 images/s`` or ``12.0 s/image``."""
    return f"{rate:.1f} images/s" if rate >= 1 else f"{1 / max(rate, 1e-9):.1f} s/image"


class Pace:
    """The speed of images, counted from the first on: it waits for what is loaded and compiled once."""

    def __init__(self) -> None:
        self._first: tuple[int, float] | None = None  # how many came first, and when

    def rate(self, done: int) -> float | None:
        """Return images per second, of which ``done`` are finished now; None before there is a second one."""
        now = time.monotonic()
        if self._first is None:
            self._first = done, now
        first, then = self._first
        return (done - first) / max(now - then, 1e-9) if done > first else None


def counted(done: int, total: int, rate: float | None) -> str:
    """Return how far images are: ``3 of 40 images, 2.5 images/s, about 15 s left``; the count alone without a rate."""
    count = f"{done} of {total} images"
    return f"{count}, {speed(rate)}, about {(total - done) / rate:.0f} s left" if rate else count


class Bar:
    """A Reporter on standard error."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task: TaskID | None = None
        self._label, self._total, self._done = "", 0, 0
        self._pace, self._spoke = Pace(), time.monotonic()

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def begin(self, images: int) -> None:
        """Add images to those that are ahead."""
        self._total += images
        if self._task is None:
            self._task = self._bar.add_task(escape(self._label), total=images, rate="")
        else:
            self._bar.update(self._task, total=self._total)

    def tell(self, line: str) -> None:
        """Print a line that stays."""
        with suppress(OSError, SystemExit):  # rich ends the process where nobody reads; the work goes on
            self.console.print(one_line(line), highlight=False, markup=False, soft_wrap=True)

    def stage(self, label: str) -> None:
        self._label = one_line(label)
        if self._task is None:  # nothing to count yet: say what takes its time
            self._task = self._bar.add_task(escape(self._label), total=None, rate="")
        else:
            self._bar.update(self._task, description=escape(self._label))

    def advance(self, images: int) -> None:
        self._done += images
        now, rate = time.monotonic(), self._pace.rate(self._done)
        if self._task is not None:
            self._bar.update(self._task, advance=images, rate=speed(rate) if rate else "")
        if not self.console.is_terminal and now - self._spoke >= EVERY:
            self._spoke = now
            self.tell(f"{self._label}: {counted(self._done, self._total, rate)}")


@contextmanager
def waiting(label: str) -> Iterator[None]:
    """Show on a terminal what is waited for before there are images to count."""
    with Bar(Console(stderr=True)) as bar:
        bar.stage(label)
        yield


class NotebookBar:
    """A Reporter below a cell of a notebook: a bar, what is being done, and the last line that was told."""

    REDRAWN = 0.2  # seconds between two

    def __init__(self) -> None:
        self._label, self._line, self._total, self._done = "", "", 0, 0
        self._pace, self._drawn = Pace(), 0.0
        self._rate: float | None = None
        self._ipython: Any = importlib.import_module("IPython.display")  # it is there where a notebook is
        self._handle: Any = self._ipython.display(self._ipython.HTML(self._html()), display_id=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._label = "" if error is None else self._label
        self._draw(at_once=True)

    def begin(self, images: int) -> None:
        self._total += images
        self._draw()

    def tell(self, line: str) -> None:
        self._line = one_line(line)
        self._draw()

    def stage(self, label: str) -> None:
        self._label = one_line(label)
        self._draw()

    def advance(self, images: int) -> None:
        self._done += images
        self._rate = self._pace.rate(self._done)
        self._draw()

    def _draw(self, *, at_once: bool = False) -> None:
        now = time.monotonic()
        if at_once or now - self._drawn >= self.REDRAWN:
            self._drawn = now
            self._handle.update(self._ipython.HTML(self._html()))

    def _html(self) -> str:
        count = counted(self._done, self._total, self._rate) if self._total else ""
        bar = f'<progress value="{self._done}" max="{self._total or 1}"></progress>'
        return f"<div>{bar} {count} {as_html(self._label)}<br>{as_html(self._line)}</div>"


class Logged:
    """A Reporter that logs what is told, for who asked for no progress."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def begin(self, images: int) -> None:
        log.info("%d images are ahead", images)

    def stage(self, label: str) -> None:
        log.info("%s", label)

    def advance(self, images: int) -> None: ...

    def tell(self, line: str) -> None:
        log.info("%s", line)


def shown(progress: bool | None) -> AbstractContextManager[Reporter]:
    """Return the Reporter for a caller in Python: a bar in a notebook or a terminal; elsewhere lines if it is True.

    None: nothing where nobody watches. False: nothing at all.
    """
    if progress is not False and _in_notebook():
        return NotebookBar()
    console = Console(stderr=True)
    if progress or (progress is None and console.is_terminal):
        return Bar(console)
    return Logged()


def _in_notebook() -> bool:
    """Return whether a kernel of Jupyter runs this process."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None and hasattr(ipython, "get_ipython") else None
    return shell is not None and hasattr(shell, "kernel")
