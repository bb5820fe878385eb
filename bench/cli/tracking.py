"""``--log``: runs given to experiment trackers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.cli.output import echo
from bench.suite import arguments

if TYPE_CHECKING:
    from bench.report.trackers import Tracker


def trackers(log: Sequence[str] | None) -> list[Tracker]:
    """Return the trackers of ``--log``, each with its package imported, so that what is missing is said before work."""
    if not log:
        return []
    from bench.report.trackers import tracker

    return [tracker(*arguments.named(spelled, "--log")) for spelled in log]


def tracked(folders: Sequence[str], to: Sequence[Tracker]) -> None:
    """Give runs to trackers and print where each can be looked at."""
    if not to:
        return
    from bench.report import merge_runs
    from bench.report.trackers import log

    run = merge_runs.opened(folders)
    for tracker in to:
        echo(f"{tracker.name}: {log(run, tracker)}")
