"""One image of each data set through each network before a run: what fails there fails in every cell.

It is the pass of a run over a range of one image, into a folder that is thrown away. Networks come one after the other,
so memory holds one. Of a grid of corruptions one stands for all. Methods that are to be fitted first are not tried.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from bench.contract.progress import Reporter
from bench.fit import fitted_store
from bench.models.numerics import Numerics
from bench.results import store
from bench.run import fits, jobs, passes
from bench.run.messages import CellTask, Failure, RefinementTask, Task
from bench.run.preflight import Checked
from bench.run.worker import Worker
from bench.suite.cells import Cell, Ref, Suite


@dataclass(frozen=True)
class Cause:
    """Why cells would have no figures."""

    text: str  # one line, without the image that it was seen on
    where: str  # the first image that it was seen on
    cells: tuple[Cell, ...]

    def __str__(self) -> str:
        count = "1 cell" if len(self.cells) == 1 else f"{len(self.cells)} cells"
        return f"{count}: {self.text} (seen on {self.where})"


def causes(suite: Suite, checked: Checked, numerics: Numerics, reporter: Reporter) -> list[Cause]:
    """Return why cells of a checked suite would fail, each cause once with all its cells; nothing where none would."""
    groups: dict[Ref, dict[tuple[Ref, bool], list[Cell]]] = {}
    for cell in suite.cells:
        if cell.key not in checked.refused:
            kinds = groups.setdefault(cell.model, {})
            kinds.setdefault((cell.dataset.plain, cell.dataset.corruption is None), []).append(cell)
    failed: dict[str, tuple[str, str, list[Cell]]] = {}  # what is alike in causes: the first, where it was seen, cells
    reporter.begin(sum(map(len, groups.values())))
    with closing(Worker()) as worker, tempfile.TemporaryDirectory() as folder:
        for model, kinds in groups.items():
            for cells in kinds.values():
                reporter.stage(f"{model.label} on {cells[0].dataset.label}")
                trial = _Trial(cells, checked, numerics, Path(folder))
                broken = False
                for cell, failure in trial.failures(worker):
                    shared = _all(kinds) if failure.model else trial.alike(cell)
                    text = trial.cause(failure)
                    # Images of other sizes are no other cause.
                    *_, known = failed.setdefault(re.sub(r"\d+", "0", text), (text, trial.where, []))
                    known.extend(other for other in shared if other not in known)
                    broken = failure.model
                reporter.advance(1)
                if broken:  # no other data set will fare better
                    break
    return [Cause(text, where, tuple(cells)) for text, where, cells in failed.values()]


def _all(kinds: dict[tuple[Ref, bool], list[Cell]]) -> list[Cell]:
    return [cell for cells in kinds.values() for cell in cells]


class _Trial:
    """The first image of one data set through one network, for all ``cells`` that this stands for."""

    def __init__(self, cells: Sequence[Cell], checked: Checked, numerics: Numerics, folder: Path) -> None:
        self._cells, self._checked, self._numerics, self._folder = cells, checked, numerics, folder
        self._model, self._dataset = cells[0].model, cells[0].dataset
        self._sample = str(checked.datasets[self._dataset].ids()[0])

    @property
    def where(self) -> str:
        return f"{self._dataset.label}/{self._sample}"

    def alike(self, tried: Cell) -> list[Cell]:
        """The cells that the same would happen to: with the same protocol and method."""
        return [cell for cell in self._cells if (cell.protocol, cell.method) == (tried.protocol, tried.method)]

    def cause(self, failure: Failure) -> str:
        """The complaint without the image."""
        return failure.message.replace(f" on {self.where}", "").replace(f" on {self._dataset.label}:", ":")

    def failures(self, worker: Worker) -> list[tuple[Cell, Failure]]:
        """The complaints of the cells of the first data set; those that went well are not in it."""
        task, cells = self._task()
        outcome = passes.execute(task, worker)
        worker.close()  # the data set is not asked for again
        return [
            (cell, outcome.failures[key]) for key, users in cells.items() if key in outcome.failures for cell in users
        ]

    def _task(self) -> tuple[Task, dict[str, list[Cell]]]:
        """The work, and the cells by the key under which their failure is found."""
        cells: dict[str, list[Cell]] = {}
        lanes: list[CellTask] = []
        refinements: dict[str, RefinementTask] = {}
        for cell in self._cells:
            if cell.dataset != self._dataset:
                continue
            job = jobs.job_of(cell, self._checked, self._numerics, self._folder, limit=1)
            key = job.key
            if job.fit_key and fits.is_made(job.fit_key):
                job.fitted = fitted_store.load(job.fit_key)
            if job.fit_key and job.fitted is None:
                pass  # the network alone is tried
            elif job.refinement:
                key = job.refinement.key
                job.refinement.fitted = job.fitted
                store.open_spool(self._folder / job.refinement.spool, job.refinement.stamp, keep=False)
                refinements[key] = job.refinement.task()
            else:
                lanes.append(replace(job.task(), spool=None))
            cells.setdefault(key, []).append(cell)
        task = Task(
            *(self._folder, self._model, self._dataset, tuple(lanes), 0, 1, self._numerics, self._cells[0].seed),
            workers=0,
            refinements=tuple(refinements.values()),
            ids=(self._sample,),
            others=tuple(cells.keys() - {lane.key for lane in lanes} - refinements.keys()),
        )
        return task, cells
