"""Cells to results: check, plan, one pass per model and data set, several open at a time where there are workers.

What fails, fails its own cells; the others go on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path

from bench.api import TwoPhase
from bench.contract.progress import Reporter
from bench.core import child_processes
from bench.core.cpu_time import spent
from bench.core.errors import CellsFailed
from bench.fit import fitted_store
from bench.models import numerics
from bench.models.numerics import Numerics
from bench.results import failures, operating, store, summary
from bench.results.run_files import Damaged
from bench.results.store import Plan, Result
from bench.run import finalise, fits, gallery_pass, jobs, preflight
from bench.run.context import Options as Options
from bench.run.context import RunContext
from bench.run.executors import select
from bench.run.executors.dispatch import Dispatcher, RayOptions, Step, WorkerPool
from bench.run.jobs import Job
from bench.run.preflight import Refusal
from bench.run.steps import Pass
from bench.suite.cells import Ref, Suite

Groups = dict[tuple[Ref, Ref], list[Job]]  # by network and data set

LISTED = 20  # causes that an error names


def run(
    suite: Suite, run_dir: Path, options: Options, reporter: Reporter, memo: store.Memo | None = None
) -> Iterator[Result]:
    """Yield the result of each cell that has no fresh one yet, writing it first. Owns the directory meanwhile.

    A cell that fails does not stop the others: CellsFailed is raised at the end. ``memo`` takes what was computed of
    the finished run, for who looks at it next.
    """
    store.refuse_foreign(run_dir, suite.text)
    reporter.stage("checking names, files and labels")
    with spent("plan"):
        checked = preflight.check(suite)  # before there is a folder: what is refused leaves none
    with store.owned(run_dir):
        pool, resolved = _pool(suite, run_dir, options, reporter, checked)
        context = RunContext(run_dir, resolved, options, reporter, checked, memo or store.Memo())
        try:
            store.write_plan(run_dir, plan_of(suite), suite.text)
            for path in store.put_broken_aside(run_dir, _unasked(suite)):
                reporter.tell(f"{path}: put aside, it cannot be read")
            dispatcher = Dispatcher(pool, options.retries, reporter.advance, reporter.tell)
            yield from _whole(suite, context, dispatcher)
        except (KeyboardInterrupt, GeneratorExit):
            child_processes.end_all()  # nobody waits for what they are at
            raise
        finally:
            pool.close()
        if not context.failed and all(store.result_path(run_dir, cell.key).is_file() for cell in suite.planned):
            store.drop_leftovers(run_dir)
        _close_failed(context)


def _pool(
    suite: Suite, run_dir: Path, options: Options, reporter: Reporter, checked: preflight.Checked
) -> tuple[WorkerPool, Numerics]:
    """The workers, and the numerics they have: those of a cluster say what they are."""
    if options.executor == "local":
        resolved = numerics.resolve(suite.numerics)
        numerics.apply(resolved)
        return select.local(options.processes, resolved, reporter.advance, options.workers), resolved
    reporter.stage("waiting for the workers of Ray")
    ray = RayOptions(
        options.address,
        options.processes,
        options.gpus_per_worker,
        options.cpus_per_worker,
        options.retries,
        options.workers,
    )
    digests = checked.model_digests | checked.data_digests
    pool, resolved = select.ray(ray, suite.numerics, run_dir, digests, reporter.tell)
    numerics.apply(resolved)  # for what is decided about all images together: that is done here
    return pool, resolved


def _close_failed(context: RunContext) -> None:
    """Leave the reasons beside the results, and raise them; a run without any takes back those of the run before."""
    failed = list(context.failed.values())
    path = failures.write(context.run_dir, failed)
    if path is None:
        return
    causes = failures.causes(failed)
    lines = [str(cause) for cause in causes[:LISTED]]
    if len(causes) > LISTED:
        lines.append(f"and {len(causes) - LISTED} more causes")
    traced = " (with tracebacks)" if any(cell.trace for cell in failed) else ""
    cells = "1 cell has" if len(failed) == 1 else f"{len(failed)} cells have"
    raise CellsFailed(
        f"{cells} no figures, all else is done; repair this and run the same command again:",
        *lines,
        f"all of them{traced}: {path}",
    )


def plan_of(suite: Suite) -> Plan:
    rules = tuple(suite.summaries_asked())
    keys, cells = tuple(cell.key for cell in suite.planned), tuple(cell.labels for cell in suite.planned)
    points = tuple(rule.model_dump() for rule in suite.operating_points)
    claims = tuple(rule.model_dump() for rule in suite.claims)
    return Plan(suite.name, suite.title, suite.note, keys, rules, cells, points, claims, suite.left_out)


def _unasked(suite: Suite) -> list[str]:
    """The keys of planned cells that are not to run now."""
    asked = {cell.key for cell in suite.cells}
    return [cell.key for cell in suite.planned if cell.key not in asked]


def _whole(suite: Suite, context: RunContext, dispatcher: Dispatcher) -> Iterator[Result]:
    """Compute what is missing and what is drawn from it; once more where a file of before turns out to be damaged."""
    while True:
        try:
            groups = yield from _planned(suite, context)
            context.reporter.begin(_images(groups))
            yield from _interleaved(groups, context, dispatcher)
            _conclude(suite, context, dispatcher)
        except Damaged as error:
            context.put_aside(error)
        else:
            return


def _conclude(suite: Suite, context: RunContext, dispatcher: Dispatcher) -> None:
    """Write the figures over several cells, and draw the gallery."""
    options = context.options
    with spent("summaries"):
        finished = replace(store.read_run(context.run_dir), memo=context.memo)
        store.write_json(context.run_dir / "summaries.json", summary.compute(finished) + operating.compute(finished))
    if options.gallery:
        alive = replace(suite, cells=tuple(cell for cell in suite.cells if cell.key not in context.failed))
        shown = options.gallery, context.numerics, options.workers
        with spent("gallery"):
            gallery_pass.draw(finished, alive, *shown, dispatcher, context.reporter)


def _planned(suite: Suite, context: RunContext) -> Generator[Result, None, Groups]:
    """Yield the results of cells that mean nothing, and return those to compute, by network and data set."""
    run_dir, checked, options = context.run_dir, context.checked, context.options
    groups: Groups = {}
    for cell in suite.cells:
        with spent("plan"):
            job = jobs.job_of(
                cell, checked, context.numerics, run_dir, limit=options.limit, keep_maps=options.keep_maps
            )
            refused = checked.refused.get(job.key)
            kept = not options.keep_maps or refused or jobs.has_maps(run_dir, job, checked)
            if _is_fresh(context, job, refused) and kept:
                store.drop_work(run_dir, job.key)  # a run that was killed while it forgot them left some
                continue
        if refused:
            result = finalise.not_applicable(job, refused, context.numerics, options.command)
            store.write_result(run_dir, result, {})
            yield result
        else:
            groups.setdefault((cell.model, cell.dataset), []).append(job)
    return groups


def _is_fresh(context: RunContext, job: Job, refused: Refusal | None) -> bool:
    try:
        return jobs.is_fresh(context.run_dir, job, refused)
    except Damaged as error:
        context.put_aside(error)
        return False


def _interleaved(groups: Groups, context: RunContext, dispatcher: Dispatcher) -> Iterator[Result]:
    """Open a pass whenever a worker would else have nothing to do, and follow each from step to step."""
    closed = deque(groups.items())
    open_passes: dict[Step, Pass] = {}
    while closed or open_passes:
        # Several data sets ask for the same fit: it is made for the first of them, and the others wait for it.
        can_open = bool(closed) and not any(job.fit_key in context.fitting for job in closed[0][1])
        if can_open and dispatcher.wants_more():
            (model, dataset), cells = closed.popleft()
            ready = [Pass(context, model, dataset, cells)]
        else:
            ready = [open_passes.pop(step) for step in dispatcher.step(share=not can_open)]
        for follows in ready:
            yield from follows.results()
            if (step := follows.next_step()) is not None:
                dispatcher.add(step)
                open_passes[step] = follows


def _images(groups: Groups) -> int:
    """How many images the run will look at, all phases and fits together."""
    total = 0
    missing: set[str] = set()
    for cells in groups.values():
        again = any(isinstance(job.protocol, TwoPhase) for job in cells), any(job.refinement for job in cells)
        total += cells[0].images * (1 + sum(again))
        for job in cells:
            key = job.fit_key
            if key and key not in missing and not fits.is_made(key) and job.cell.method:
                missing.add(key)
                total += fitted_store.data_of(job.cell.method).count
    return total
