"""What a worker can be given: samples to look at, something to fit, a cell to finish."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.api import State, Undefined
from bench.core.errors import OutOfMemory, UserError
from bench.fit import fitted_store
from bench.run import finalise, shards
from bench.run.finalise import Figures, Finish
from bench.run.shards import FATAL, Advance, Failure, Fit, Task, Worker, raised, said, short_of_memory
from bench.suite.expansion import Ref
from bench.suite.loader import Loader

Work = Task | Fit | Finish


@dataclass(frozen=True)
class Done:
    """What became of it. Files are written, but for those of what failed."""

    failures: Mapping[str, Failure] = field(default_factory=dict)  # by the key of a cell, a refinement or a fit
    state: State | None = None  # of a fit
    figures: Figures | None = None
    parameters: Mapping[str, float] | Undefined | None = None  # of the second phase


def perform(work: Work, worker: Worker, advance: Advance | None = None) -> Done:
    """Do it here. ``advance`` is told of every image.

    Raises only what is no fault of plug-ins or data: CannotWrite, WorkerDied.
    """
    if isinstance(work, Task):
        return Done(shards.run(work, worker, advance))
    if isinstance(work, Fit):
        fit = work
        return _blamed(work, lambda: Done(state=_estimate(fit, worker, advance or (lambda _: None))))
    finish = work
    if work.parameters:
        return _blamed(work, lambda: Done(parameters=finalise.parameters(finish)))
    return _blamed(work, lambda: Done(figures=finalise.finish(finish)))


def _blamed(work: Fit | Finish, what: Callable[[], Done]) -> Done:
    try:
        return what()
    except FATAL:
        raise
    except UserError as error:
        return Done(dict.fromkeys(work.keys, Failure(" ".join(said(error, str(work)).split()))))
    # Plug-ins are somebody's code: whatever they raise fails the cells that need them, and leaves its traceback.
    except Exception as error:
        if short_of_memory(error):
            raise OutOfMemory(f"{work}: ran out of memory") from error
        failure = Failure(" ".join(f"{work}: {raised(error)}".split()), traceback.format_exc())
        return Done(dict.fromkeys(work.keys, failure))


def _estimate(fit: Fit, worker: Worker, advance: Advance) -> State:
    model = worker.model(fit.model, fit.numerics)
    data = fitted_store.data_of(fit.method)
    assert fit.method.fit is not None  # noqa: S101 - ``data_of`` looked
    with Loader(data, (fit.method.fit.name, fit.method.fit.given), fit.workers) as loader:
        return fitted_store.estimate(fit.method, model, fit.origin, loader, fit.numerics, advance)


def wanted_files(work: Work) -> list[str]:
    """Files of earlier steps that it reads, relative to the run; those that may be absent included."""
    if isinstance(work, Task):
        return shards.wanted_files(work)
    return work.wanted_files if isinstance(work, Finish) else []


def moved(work: Work, run: Path, found: Path) -> Work:
    """The same with its files written below ``run`` and those of earlier steps read below ``found``."""
    return work if isinstance(work, Fit) else replace(work, run=run, found=found)


def refs_of(work: Work) -> list[Ref]:
    """The network and the data sets that it opens."""
    if isinstance(work, Task):
        return [work.model, work.dataset]
    if isinstance(work, Fit):
        return [work.model, *filter(None, [work.method.fit])]
    return []


def fits_of(work: Work) -> set[str]:
    """Keys of what was fitted before and is needed for it."""
    if not isinstance(work, Task):
        return set()
    keys = [cell.fitted for cell in work.cells] + [draft.fitted for draft in work.drafts]
    keys += [drawn.fitted for drawn in work.pictures.maps] if work.pictures else []
    return {key for key in keys if key}
