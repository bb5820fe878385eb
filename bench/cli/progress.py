"""How far a run is: a bar with images per second and time left, or a line now and then where nobody watches."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from bench.core.printable import one_line

EVERY = 10.0  # seconds between two lines in a log


def speed(rate: float) -> str:
    """Return how fast images go, so that slow networks do not stand still: ``2.5 images/s`` or ``12.0 s/image``."""
    return f"{rate:.1f} images/s" if rate >= 1 else f"{1 / max(rate, 1e-9):.1f} s/image"


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
        self._began = self._spoke = time.monotonic()

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def begin(self, images: int) -> None:
        """So many images are ahead, beside those that were before."""
        if not self._total:
            self._began = time.monotonic()
        self._total += images
        if self._task is None:
            self._task = self._bar.add_task(escape(self._label), total=images, rate="")
        else:
            self._bar.update(self._task, total=self._total)

    def tell(self, line: str) -> None:
        """A line that stays."""
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
        now = time.monotonic()
        rate = self._done / max(now - self._began, 1e-9)
        if self._task is not None:
            self._bar.update(self._task, advance=images, rate=speed(rate))
        if not self.console.is_terminal and now - self._spoke >= EVERY:
            self._spoke = now
            left = (self._total - self._done) / rate
            line = f"{self._label}: {self._done} of {self._total} images, {speed(rate)}, about {left:.0f} s left"
            self.tell(line)


@contextmanager
def waiting(label: str) -> Iterator[None]:
    """Show on a terminal what is waited for before there are images to count."""
    with Bar(Console(stderr=True)) as bar:
        bar.stage(label)
        yield
