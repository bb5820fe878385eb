"""``bench run`` and ``bench check``: parse, call, print. Heavy modules are imported late."""

from __future__ import annotations

import io
import json
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from bench.cli import ahead, tracking
from bench.cli.fetch import Accept, Urls, fetch_missing
from bench.cli.options import (
    CHOSEN,
    KEPT,
    PRINTED,
    RAY,
    SPEED,
    GallerySize,
    Log,
    Methods,
    Models,
    Only,
    Suites,
    load_suite,
)
from bench.cli.output import echo, number
from bench.core.cpu_time import Total, spent
from bench.core.errors import BadSuite, CellsFailed, UsageError
from bench.core.printable import shortened
from bench.suite import limits

if TYPE_CHECKING:
    from bench.results.store import Run
    from bench.run.engine import Options
    from bench.run.preflight import Checked
    from bench.suite.cells import Ref, Suite


def run(
    suites: Suites,
    only: Only = None,
    method: Methods = None,
    model: Models = None,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="First N images only; marks results partial.", rich_help_panel=CHOSEN),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Run directory. Default: runs/<suite>.", rich_help_panel=KEPT)
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=limits.PROCESSES,
            help="Processes that each hold the network. Default: one per GPU; on Ray what fits.",
            rich_help_panel=SPEED,
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=limits.PROCESSES,
            help="Processes that read images ahead of each of those. Default: as many as keep up, if cores allow.",
            rich_help_panel=SPEED,
        ),
    ] = None,
    executor: Annotated[
        Literal["local", "ray"], typer.Option(help="This machine, or a Ray cluster.", rich_help_panel=RAY)
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option(
            help="Of a Ray cluster, such as auto. Default: $RAY_ADDRESS, or one of our own.", rich_help_panel=RAY
        ),
    ] = None,
    gpus_per_worker: Annotated[
        float | None,
        typer.Option(
            min=0, help="On Ray; parts such as 0.5 share one. Default: 1 where there are any.", rich_help_panel=RAY
        ),
    ] = None,
    cpus_per_worker: Annotated[
        float | None, typer.Option(min=0, help="On Ray. Default: 1.", rich_help_panel=RAY)
    ] = None,
    retries: Annotated[
        int, typer.Option(min=0, help="How often a shard is tried again whose worker died.", rich_help_panel=SPEED)
    ] = 2,
    shard: Annotated[
        int | None,
        typer.Option(min=1, help="Images per shard, the unit of resume. Default: by size.", rich_help_panel=SPEED),
    ] = None,
    keep_maps: Annotated[
        bool, typer.Option("--keep-maps", help="Keep the score maps in RUN/spool.", rich_help_panel=KEPT)
    ] = False,
    gallery: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=0,
            max=32,
            help="Images of each data set to show, worst first; 0: none.",
            rich_help_panel=KEPT,
        ),
    ] = 4,
    gallery_size: GallerySize = "medium",
    cache: Annotated[
        Path | None, typer.Option(help="Folder that keeps corrupted images for the next run.", rich_help_panel=KEPT)
    ] = None,
    cache_gb: Annotated[
        float, typer.Option("--cache-gb", min=0.001, help="How much it may hold.", rich_help_panel=KEPT)
    ] = 50.0,
    log: Log = None,
    verbose: Annotated[
        bool,
        typer.Option("--verbose", help="Print every table, as 'bench show' does.", rich_help_panel=PRINTED),
    ] = False,
    profile: Annotated[
        bool,
        typer.Option(
            "--profile",
            help="Print where the CPU time of all processes went; also RUN/profile.json.",
            rich_help_panel=PRINTED,
        ),
    ] = False,
) -> None:
    """Run what is missing, then write the report. Kill it at any time: the same command goes on."""
    from bench.run.progress import waiting

    if not (only or method or model or limit):
        for name in suites:
            if line := ahead.at_once(name, _run_folder(out, name, len(suites))):
                echo(line, err=True)
    with waiting("loading PyTorch"), spent("start"):
        from bench.report import writing
        from bench.run import engine
        from bench.suite.wrappers import corruption_cache

    if executor == "local" and (address or gpus_per_worker is not None or cpus_per_worker is not None):
        raise UsageError("--address, --gpus-per-worker and --cpus-per-worker belong to Ray; say --executor ray")
    if cache:
        corruption_cache.use(cache, cache_gb)
    trackers = tracking.trackers(log)
    failed: list[str] = []  # lines
    before = Total(0.0, {})
    for name in suites:
        with spent("plan"):
            suite = load_suite(name, only, method, model)
        folder = _run_folder(out, suite.name, len(suites))
        options = engine.Options(
            limit=limit,
            executor=executor,
            processes=processes,
            workers=workers,
            retries=retries,
            address=address,
            gpus_per_worker=gpus_per_worker,
            cpus_per_worker=1.0 if cpus_per_worker is None else cpus_per_worker,
            shard=shard,
            keep_maps=keep_maps,
            gallery=gallery,
            command=_command(folder),
        )
        finished, page, lines = _complete(suite, folder, options, gallery_size)
        failed += lines
        styled = sys.stdout.isatty()
        with spent("report"):
            printed = writing.printed(finished, styled=styled, brief=not verbose)
        echo(printed, styled=styled)
        if not verbose:
            echo(f"every table: bench show {shlex.quote(str(folder))}")
        echo(f"report: {page}")
        tracking.tracked([str(folder)], trackers)
        if profile:
            before = _print_profile(folder, before)
    if failed:
        raise CellsFailed(*failed)


def _print_profile(folder: Path, before: Total) -> Total:
    """Print and write where CPU time went since ``before``, and return where it went until now."""
    from bench.results import cpu_profile

    total = spent.total()
    listed = cpu_profile.records(total, before)
    path = cpu_profile.write(folder, listed)
    echo(cpu_profile.text(listed))
    echo(f"profile: {path}")
    return total


def _complete(suite: Suite, folder: Path, options: Options, gallery_size: str) -> tuple[Run, Path, Sequence[str]]:
    """Compute what is missing and write the page; return the run, the page, and lines on cells without figures.

    A damaged file of a finished cell that the page alone reads is put aside, and the cell computed again.
    """
    from rich.console import Console

    from bench.report import merge_runs, writing
    from bench.report.selection import Choice
    from bench.results import store
    from bench.results.run_files import Damaged
    from bench.run import engine
    from bench.run.progress import Bar

    aside: set[Path] = set()
    while True:
        memo = store.Memo()
        failed: Sequence[str] = ()
        with Bar(Console(stderr=True)) as bar:
            try:
                for result in engine.run(suite, folder, options, bar, memo):
                    bar.tell(_finished(result))
            except CellsFailed as error:  # the report shows the others
                failed = error.args
        try:
            with spent("report"):
                run = replace(merge_runs.opened([str(folder)]), memo=memo)
                return (
                    run,
                    writing.write([str(folder)], "html", choice=Choice(gallery_size=gallery_size), run=run),
                    failed,
                )
        except Damaged as error:
            if error.path in aside or error.path.parent != folder / "cells":
                raise
            aside.add(error.path)
            with store.owned(folder):
                renamed = ", ".join(path.name for path in store.put_aside(folder, error.path.stem))
            echo(f"{error.path} {error.problem}; put aside as {renamed}, and computed again", err=True)


def _command(folder: Path) -> str:
    return shlex.join(["bench", "run", str(folder / "suite.yaml"), "--out", str(folder)])


def _run_folder(out: Path | None, name: str, suites: int) -> Path:
    if out is None:
        return Path("runs", name)
    return out / name if suites > 1 else out


def _finished(result: Any) -> str:
    from bench.api import Value
    from bench.suite import registry

    name, figure = next(iter(result.metrics.items()))
    if not isinstance(figure, Value):
        return f"{result.labels}: n/a: {result.not_applicable or figure.reason}"
    metric = registry.plugin("protocol", result.cell.protocol.name, where="run").metrics.get(name)
    shown = f"{100 * figure.value:.2f} %" if metric and metric.in_percent else f"{figure.value:.4f}"
    return f"{result.labels}: {name} {shown}"


def check(
    suites: Suites,
    only: Only = None,
    method: Methods = None,
    model: Models = None,
    network: Annotated[
        bool,
        typer.Option("--network/--no-network", help="Load each network and put an image of each data set through it."),
    ] = True,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Say what it will cost: time, disk and memory, from what was measured.")
    ] = False,
    from_: Annotated[
        list[Path] | None,
        typer.Option("--from", metavar="RUN", help="Take costs from the finished cells of this run. Repeatable."),
    ] = None,
    probe: Annotated[
        int, typer.Option(min=0, help="Images of each data set to time for what no run says; 0: none.")
    ] = 4,
    processes: Annotated[str, typer.Option(metavar="N,...", help="Numbers of processes to say the time for.")] = (
        "1,2,4,8"
    ),
    workers: Annotated[
        int, typer.Option(min=0, max=limits.PROCESSES, help="Processes that read images ahead of each of those.")
    ] = 1,
    limit: Annotated[int | None, typer.Option(min=1, help="The costs of a run with the first N images only.")] = None,
    shard: Annotated[int | None, typer.Option(min=1, help="Images per shard. Default: by size.")] = None,
    format_: Annotated[Literal["table", "json"], typer.Option("--format", help="How to print an estimate.")] = "table",
    fetch: Annotated[bool, typer.Option("--fetch", help="Fetch published data that is missing, first.")] = False,
    accept: Accept = False,
    url: Urls = None,
) -> None:
    """Say what would go wrong in 'bench run': names, parameters, files, labels, impossible pairs, and each network.

    One image of each data set goes through each network, and each method scores it. Nothing is written but data that
    --fetch asks for.
    """
    from bench.run.progress import waiting

    with waiting("loading PyTorch"):
        from bench.run import preflight

    if (accept or url) and not fetch:
        raise UsageError("--accept and --url are for data that is fetched; say --fetch as well")
    fetched = partial(fetch_missing, accept=accept, urls=url) if fetch else None
    if estimate:
        counts = _numbers(processes, "--processes")
        options = _EstimateOptions(from_ or [], probe, counts, workers, limit, shard)
        loads = [partial(load_suite, name, only, method, model, fetched) for name in suites]
        estimates = [_estimate(load, options, format_) for load in loads]
        if format_ == "json":
            echo(json.dumps({"schema": 1, "estimates": estimates}, indent=1))
        return
    for name in suites:
        suite = load_suite(name, only, method, model, fetched)
        checked = preflight.check(suite)
        for cell in suite.cells:
            reason = checked.refused.get(cell.key)
            echo(f"{cell.key}  {cell}" + (f"  n/a: {reason}" if reason else ""))
        if network:
            _try_networks(suite, checked)
        images = sum(
            data.count for data in {cell.dataset: checked.datasets[cell.dataset] for cell in suite.cells}.values()
        )
        cells = number(len(suite.cells), "cell") + (f" ({len(checked.refused)} n/a)" if checked.refused else "")
        models = number(len(checked.models), "model")
        echo(f"{suite.name}: {cells}, {models}, {number(images, 'image')}; ready to run")


def _try_networks(suite: Suite, checked: Checked) -> None:
    """Put one image of each data set through each network. Raises BadSuite with all causes of failures."""
    from rich.console import Console

    from bench.models import numerics
    from bench.run import trial
    from bench.run.progress import Bar

    with Bar(Console(stderr=True)) as bar:
        causes = trial.causes(suite, checked, numerics.resolve(suite.numerics), bar)
    if causes:
        failed = {cell.key for cause in causes for cell in cause.cells}
        first = f"{suite.name}: {len(failed)} of {len(suite.cells)} cells would have no figures; repair this first:"
        raise BadSuite(first, *map(str, causes))


@dataclass(frozen=True)
class _EstimateOptions:
    runs: list[Path]
    probe: int
    processes: list[int]
    workers: int
    limit: int | None
    shard: int | None


def _estimate(load: Callable[[], Suite], options: _EstimateOptions, format_: str) -> dict[str, Any]:
    """Check a suite, measure what is not known of its costs, print what it comes to; return it as JSON has it."""
    import tempfile
    import time

    from rich.console import Console

    from bench.models import numerics
    from bench.results import store
    from bench.run import engine, preflight, steps
    from bench.run.estimate import measure, text, total
    from bench.run.estimate.workload import Plan
    from bench.run.progress import Bar

    if options.probe == 1:
        raise UsageError("--probe is 1, wanted 2 or more, since the bootstrap begins with 2 images; 0 tries nothing")
    runs = [store.read_run(folder) for folder in options.runs]
    worker = time.process_time()  # everything is imported: where a further process begins
    suite = load()
    checked = preflight.check(suite)
    resolved = numerics.resolve(suite.numerics)
    driver = time.process_time()

    def shard_of(ref: Ref) -> int:
        return options.shard or steps.shard_size(ref)

    plan = Plan(shard_of, options.processes, options.workers, options.limit)
    with Bar(Console(stderr=True)) as bar, tempfile.TemporaryDirectory() as folder:

        def probe(part: Suite, run_dir: Path, limit: int) -> None:
            for _ in engine.run(part, run_dir, engine.Options(limit=limit, workers=0), bar):
                pass

        measured = measure.measure(suite, checked, resolved, plan, runs, options.probe, probe, Path(folder), bar.stage)
    measured.driver, measured.worker = driver, worker
    estimated = total.of(suite, checked, resolved, plan, measured)
    if format_ == "table":
        width = min(shutil.get_terminal_size((80, 24)).columns, 100)
        console = Console(file=io.StringIO(), highlight=False, markup=False, width=width)
        with console.capture() as capture:
            for part in text.tables(estimated, plan):
                console.print(part)
        echo(capture.get(), nl=False)
    return estimated.record()


def _numbers(text: str, option: str) -> list[int]:
    """Return the numbers of a text such as ``1,2,4``, sorted, each once. Raises UsageError for anything else."""
    parts = text.split(",")
    if not all(re.fullmatch(r"\s*[1-9][0-9]{0,3}\s*", part) for part in parts):
        raise UsageError(f"{option} is {shortened(text)!r}, wanted numbers from 1 to 9999, such as 1,2,4")
    return sorted({int(part) for part in parts})
