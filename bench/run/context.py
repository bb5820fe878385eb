"""Everything that all passes of a run share: options, numerics, what was checked, and who has failed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from bench.contract.progress import Reporter
from bench.core.errors import UserError
from bench.models.numerics import Numerics
from bench.results import store
from bench.results.failures import Failed
from bench.results.run_files import Damaged
from bench.run.blame import failure_of
from bench.run.jobs import Job
from bench.run.messages import Failure
from bench.run.preflight import Checked
from bench.suite.cells import Ref


@dataclass(frozen=True)
class Options:
    """Everything that changes how a run is done, and no number."""

    limit: int | None = None  # first N images only; marks results partial
    executor: Literal["local", "ray"] = "local"
    processes: int | None = None  # that hold the network; None is one per GPU, or what a cluster has room for
    workers: int | None = None  # that read for each process; None is as many as keep its network busy, if cores allow
    retries: int = 2  # of a task whose worker died
    address: str | None = None  # of a Ray cluster
    gpus_per_worker: float | None = None  # of Ray; None is one where the suite computes on GPUs
    cpus_per_worker: float = 1.0
    shard: int | None = None  # images; None is by size
    keep_maps: bool = False
    gallery: int = 0  # images of each network and data set that are drawn
    command: str = ""


@dataclass
class RunContext:
    """One run, as its passes see it."""

    run_dir: Path
    numerics: Numerics
    options: Options
    reporter: Reporter
    checked: Checked
    memo: store.Memo = field(default_factory=store.Memo)  # of the finished run
    failed: dict[str, Failed] = field(default_factory=dict)  # by cell key
    broken: dict[Ref, Failure] = field(default_factory=dict)  # networks that cannot be loaded
    fitting: set[str] = field(default_factory=set)  # keys of fits under way
    unfit: dict[str, Failure] = field(default_factory=dict)  # by the key of a fit
    aside: set[str] = field(default_factory=set)  # keys of cells whose files were damaged

    def fail(self, jobs: Iterable[Job], failure: Failure) -> None:
        """Give up cells, and say so at once: the run may take hours more."""
        new = [job for job in jobs if job.key not in self.failed]
        for job in new:
            self.failed[job.key] = Failed(job.key, job.cell.labels.by_axis, failure.message, failure.trace)
        if new:
            more = f" and {len(new) - 1} more" if len(new) > 1 else ""
            self.reporter.tell(f"failed: {new[0].cell}{more}: {failure.message}")

    def put_aside(self, damaged: Damaged) -> None:
        """Rename the files of a finished cell one of which is damaged, and say so; raise it if it comes again."""
        key = damaged.path.stem
        if damaged.path.parent != self.run_dir / "cells" or key in self.aside:
            raise damaged
        self.aside.add(key)
        renamed = ", ".join(path.name for path in store.put_aside(self.run_dir, key))
        self.reporter.tell(f"{damaged.path} {damaged.problem}; put aside as {renamed}, and computed again")

    def alive(self, jobs: Iterable[Job]) -> list[Job]:
        """Those that have not failed."""
        return [job for job in jobs if job.key not in self.failed]

    @contextmanager
    def failing(self, who: str, *jobs: Job) -> Iterator[None]:
        """Fail these cells, not the run, with what plug-ins and data are to blame for; ``who`` is named."""
        try:
            yield
        except BaseException as error:
            self.fail(jobs, failure_of(error, "" if isinstance(error, UserError) else who, alone=True))
