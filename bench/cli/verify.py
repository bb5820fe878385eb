"""``bench verify``: parse, call, print."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from bench.cli.output import echo
from bench.core.errors import MissingData, Status
from bench.suite import limits


def verify(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory; nothing in it is changed.")],
    cell: Annotated[
        list[str] | None, typer.Option("--cell", metavar="KEY", help="This cell alone, by its key. Repeatable.")
    ] = None,
    processes: Annotated[int | None, typer.Option(min=1, help="Processes that each hold the network.")] = None,
    workers: Annotated[
        int, typer.Option(min=0, max=limits.PROCESSES, help="Processes that read images ahead of each of those.")
    ] = 1,
    format_: Annotated[Literal["table", "json"], typer.Option("--format", help="How to print it.")] = "table",
) -> None:
    """Compute cells again elsewhere, and compare every figure; exit with 4 if one is another."""
    from rich.console import Console

    from bench.results import store
    from bench.run import verify as verifying
    from bench.run.engine import Options
    from bench.run.progress import Bar
    from bench.suite import expansion

    run = store.read_run(folder)
    keys = cell or [result.key for result in run.results]
    if not keys:
        raise MissingData(f"{folder} has no finished cell; 'bench run {folder / 'suite.yaml'} --out {folder}' goes on")
    path = folder / "suite.yaml"
    if not path.is_file():
        raise MissingData(f"{path} does not exist: what was merged of several suites is verified run by run")
    suite = expansion.load(path)
    with Bar(Console(stderr=True)) as bar:
        options = Options(workers=workers, processes=processes, gallery=0)
        verdicts = list(verifying.verify(run, suite, list(dict.fromkeys(keys)), options, bar))
    counts = {name: sum(each.outcome == name for each in verdicts) for name in ("equal", "near", "other", "failed")}
    if format_ == "json":
        entries = [{name: _plain(getattr(each, name)) for name in FIELDS} for each in verdicts]
        echo(json.dumps({"schema": 1, "figures": entries}, indent=1))
    else:
        for each in verdicts:
            if each.outcome != "equal" or len(verdicts) <= LISTED:
                words = f"  {each.outcome}" + (f": {each.words}" if each.words else "")
                echo(f"{each.cell}: {each.metric} {_shown(each.before)}, again {_shown(each.after)}{words}")
        cells = len({each.key for each in verdicts})
        echo(
            f"{len(verdicts)} figures of {cells} {'cell' if cells == 1 else 'cells'} computed again:"
            f" {counts['equal']} equal to the last bit, {counts['near']} equal to 1e-6, {counts['other']} others,"
            f" {counts['failed']} that failed"
        )
    if counts["failed"]:
        raise typer.Exit(Status.CELLS_FAILED)
    if counts["other"]:
        raise typer.Exit(Status.GATE_MET)


FIELDS = ("cell", "key", "metric", "before", "after", "outcome", "words")
LISTED = 20  # figures that are printed though they are equal


def _plain(value: Any) -> Any:
    from dataclasses import asdict

    return asdict(value) if hasattr(value, "__dataclass_fields__") else value


def _shown(figure: Any) -> str:
    if figure is None:
        return "nothing"
    return f"{figure.value!r}" if hasattr(figure, "value") else f"n/a ({figure.reason})"
