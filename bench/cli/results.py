"""``bench show``, ``bench compare`` and ``bench report``: parse, call, print. Heavy modules are imported late."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from bench.core.errors import Status, UnknownName, UsageError
from bench.suite import arguments

if TYPE_CHECKING:
    import pandas as pd

    from bench.report.selection import Choice
    from bench.results.compare import ImageDifference
    from bench.results.store import Run

Runs = Annotated[list[str], typer.Argument(metavar="RUN...", help="Run directories, or NAME=RUN.")]
Only = Annotated[
    str | None,
    typer.Option(metavar="AXIS=GLOB,...", help="These cells; axes: protocol, model, dataset, method, cell."),
]
Metrics = Annotated[str, typer.Option(metavar="NAME,...", help="These figures in this order; the first one ranks.")]
Baseline = Annotated[
    str | None, typer.Option(metavar="GLOB", help="Also the difference to this method of the same network.")
]


def show(
    folders: Runs,
    format_: Annotated[Literal["table", "json", "md"], typer.Option("--format", help="How to print it.")] = "table",
    only: Only = None,
    metrics: Metrics = "",
    digits: Annotated[int | None, typer.Option(min=0, max=10, help="After the point of a percent. Default: 2.")] = None,
    baseline: Baseline = None,
    by: Annotated[str, typer.Option(metavar="AXIS,...", help="By slice: a tag of the images, class or size.")] = "",
    per_image: Annotated[
        Path | None, typer.Option(help="Write the figures of every image to this Parquet file.")
    ] = None,
    over_seeds: Annotated[
        bool, typer.Option("--seeds", help="Mean and deviation over networks that differ in their seed alone.")
    ] = False,
) -> None:
    """Print the results of a run or of several. The JSON is a list of records; docs/results.md describes them."""
    from bench.core import files
    from bench.report import merge_runs, selection
    from bench.results import records

    choice = _choice(only, metrics, digits=digits, baseline=baseline)
    run = merge_runs.opened(folders)
    found = selection.select(run, choice)
    if per_image:
        with files.writing(per_image) as file:
            _images_of_runs(found, records.per_image(found)).to_parquet(file, index=False)
        typer.echo(str(per_image))
    elif over_seeds:
        from bench.results import seeds

        rows = seeds.spread(found.results)
        schema = {"schema": records.SCHEMA, "seeds": rows}
        typer.echo(json.dumps(schema, indent=1) if format_ == "json" else seeds.lines(rows))
    elif by:
        _show_slices(found, by.split(","), format_)
    elif format_ == "json":
        listed = _by_run(found, records.records(found.results))
        typer.echo(json.dumps({"schema": records.SCHEMA, "records": listed}, indent=1))
    elif format_ == "md":
        typer.echo(rendered(run, "md", "all", choice))
    else:
        typer.echo(table(folders, choice))


def _by_run(run: Run, listed: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Records of several runs name theirs, and the file that holds the result."""
    from bench.report.merge_runs import Merged

    if not isinstance(run, Merged):
        return listed
    by_key = {result.key: result for result in run.results}
    names = {key: {"run": run.names(result), "key": run.home(result).stem} for key, result in by_key.items()}
    return [record | names[record["key"]] for record in listed]


def _images_of_runs(run: Run, images: pd.DataFrame) -> pd.DataFrame:
    """The same for the figures of every image."""
    from bench.report.merge_runs import Merged

    if isinstance(run, Merged):
        by_key = {result.key: result for result in run.results}
        images.insert(0, "run", [run.names(by_key[key]) for key in images["key"]])
        images["key"] = [run.home(by_key[key]).stem for key in images["key"]]
    return images


def _show_slices(run: Run, axes: Sequence[str], format_: str) -> None:
    from bench.reports import terminal
    from bench.results import records

    known = sorted({axis for result in run.results for axis in result.slices})
    for axis in axes:
        if axis not in known:
            raise UnknownName("slice", axis, known, "--by")
    rows = _by_run(run, records.slices(run.results, axes))
    if format_ == "json":
        typer.echo(json.dumps({"schema": records.SCHEMA, "records": [*rows]}, indent=1, default=asdict))
    else:
        typer.echo(terminal.slices(rows, markdown=format_ == "md"))


def compare(
    first: Annotated[str, typer.Argument(metavar="A", help="A run directory, or RUN@AXIS=GLOB,... for some cells.")],
    second: Annotated[str, typer.Argument(metavar="B", help="What to compare with it.")],
    fail_if: Annotated[
        str, typer.Option(metavar="EXPR", help="Exit with 4 if B - A meets it: 'ap < -0.01 or auroc.hi < 0'.")
    ] = "",
    format_: Annotated[Literal["table", "json"], typer.Option("--format", help="How to print it.")] = "table",
    metrics: Annotated[str, typer.Option(metavar="NAME,...", help="These figures only.")] = "",
    per_image: Annotated[
        bool, typer.Option("--per-image", help="The images that changed most, of the leading figure or of --metrics.")
    ] = False,
    top: Annotated[int, typer.Option(min=1, help="How many of them to print.")] = 10,
    export: Annotated[
        Path | None, typer.Option(help="Write all differences to this .csv or .parquet instead of printing them.")
    ] = None,
) -> None:
    """Differences B - A with paired 95 % intervals, cell by cell; or image by image."""
    from bench.reports import terminal
    from bench.results import compare as comparing

    sides = comparing.side(first), comparing.side(second)
    if per_image:
        if fail_if:
            raise UsageError("--fail-if judges differences of cells, which have intervals; leave out --per-image")
        _compare_images(comparing.by_image(*sides, _words(metrics)), format_, top, export)
        return
    found = comparing.compare(*sides, _words(metrics))
    if export:
        _export(found, export)
    elif format_ == "json":
        entries = [asdict(one) | {"clear": one.clear} for one in found]
        typer.echo(json.dumps({"schema": 1, "differences": entries}, indent=1))
    else:
        typer.echo(terminal.differences(found))
    if fail_if and (failed := comparing.failing(fail_if, found)):
        for one in failed:
            typer.echo(
                f"bench: {one.cell}: {one.metric} differs by {one.difference:+.4g}, which meets {fail_if!r}", err=True
            )
        raise typer.Exit(Status.GATE_MET)


def _compare_images(found: Sequence[ImageDifference], format_: str, top: int, export: Path | None) -> None:
    from bench.reports import terminal

    if export:
        _export(found, export)
    elif format_ == "json":
        typer.echo(json.dumps({"schema": 1, "images": [asdict(one) for one in found]}, indent=1))
    else:
        typer.echo(terminal.images(found, top))


def _export(found: Sequence[Any], place: Path) -> None:
    from bench.core import files
    from bench.reports import tidy
    from bench.results.compare import ImageDifference

    if place.suffix not in {".csv", ".parquet"}:
        raise UsageError(f"--export {place}: the name must end in .csv or .parquet")
    types = tidy.IMAGES if isinstance(found[0], ImageDifference) else tidy.DIFFERENCES
    make: Callable[..., str | bytes] = tidy.differences_csv if place.suffix == ".csv" else tidy.differences_parquet
    content = make(found, types)
    with files.writing(place, "w" if isinstance(content, str) else "wb") as file:
        file.write(content)
    typer.echo(str(place))


def report(
    folders: Runs,
    format_: Annotated[
        Literal["html", "md", "tex", "csv", "parquet"], typer.Option("--format", help="The kind of page.")
    ] = "html",
    out: Annotated[
        Path | None,
        typer.Option(help="Where to write it. Default: RUN/report.<format>; of several runs ./report.<format>."),
    ] = None,
    table_: Annotated[
        Literal["all", "paper", "means"],
        typer.Option("--table", help="paper: methods by data sets. means: figures over several cells (csv, parquet)."),
    ] = "all",
    only: Only = None,
    metrics: Metrics = "",
    columns: Annotated[
        str, typer.Option(metavar="NAME,...", help="md, tex: beside the figures. csv, parquet: instead of all.")
    ] = "",
    digits: Annotated[int | None, typer.Option(min=0, max=10, help="After the point of a percent. Default: 2.")] = None,
    intervals: Annotated[
        bool | None, typer.Option("--intervals/--no-intervals", help="md, tex: beside figures. Default: not in paper.")
    ] = None,
    captions: Annotated[
        bool, typer.Option("--captions", help="tex: each table in an environment with a caption.")
    ] = False,
    baseline: Baseline = None,
    images: Annotated[bool, typer.Option("--images/--no-images", help="html: pictures of the data.")] = True,
    anonymous: Annotated[
        bool, typer.Option("--anonymous", help="Leave out paths, commands, names of machines, users and runs.")
    ] = False,
) -> None:
    """Write a page or a file from the results of one run or of several."""
    choice = _choice(
        only,
        metrics,
        columns=_words(columns),
        digits=digits,
        intervals=intervals,
        captions=captions,
        baseline=baseline,
        images=images,
        anonymous=anonymous,
    )
    typer.echo(str(write(folders, format_, out, table_, choice)))


def _choice(only: str | None, metrics: str, **others: Any) -> Choice:
    from bench.report.selection import Choice

    return Choice(only=arguments.patterns(only) if only else {}, metrics=_words(metrics), **others)


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def write(
    folders: Sequence[str], format_: str, out: Path | None = None, what: str = "all", choice: Choice | None = None
) -> Path:
    """Write what ``rendered`` gives; the path."""
    from bench.core import files
    from bench.report import merge_runs
    from bench.report.selection import Choice

    chosen_ = choice or Choice()
    run = merge_runs.opened(folders, anonymous=chosen_.anonymous)
    page = out or (run.path if len(folders) == 1 else Path()) / f"report.{format_}"
    content = rendered(run, format_, what, chosen_, _command(folders, format_, what, chosen_))
    with files.writing(page, "w" if isinstance(content, str) else "wb") as file:
        file.write(content)
    return page


def _command(folders: Sequence[str], format_: str, what: str, choice: Choice) -> str:
    """What makes the page again."""
    argv = ["bench", "report", *folders, "--format", format_, *(["--table", what] if what != "all" else [])]
    argv += ["--only", ",".join(f"{a}={p}" for a, p in choice.only.items())] if choice.only else []
    argv += ["--metrics", ",".join(choice.metrics)] if choice.metrics else []
    argv += ["--columns", ",".join(choice.columns)] if choice.columns else []
    argv += ["--digits", str(choice.digits)] if choice.digits is not None else []
    if choice.intervals is not None:
        argv.append("--intervals" if choice.intervals else "--no-intervals")
    argv += ["--captions"] if choice.captions else []
    argv += ["--baseline", choice.baseline] if choice.baseline else []
    return shlex.join(argv)


def rendered(run: Run, format_: str, what: str, choice: Choice, command: str = "") -> str | bytes:
    """A run as one of the formats has it."""
    from bench.results.store import uncollected

    with uncollected():
        content: str | bytes = _rendered(run, format_, what, choice, command)
    return content


def _rendered(run: Run, format_: str, what: str, choice: Choice, command: str) -> Any:
    from bench.report import paper, selection
    from bench.report.anonymous import anonymous
    from bench.reports import html, latex, markdown, tidy
    from bench.results import operating, summary

    run = anonymous(run) if choice.anonymous else run
    shown = selection.select(run, choice)
    if what == "paper" and format_ == "html":
        raise UsageError("--table paper is for md, tex, csv and parquet; the HTML page has its own tables")
    if what == "means" and format_ not in {"csv", "parquet"}:
        raise UsageError("--table means is for csv and parquet; the other formats show means beside the tables")
    if what == "paper":
        if format_ == "md":
            return markdown.render_paper(shown, choice)
        if format_ == "tex":
            return latex.render_paper(shown, choice, command)
        pivot = paper.pivot(shown, choice)
        return tidy.paper_csv(pivot) if format_ == "csv" else tidy.paper_parquet(pivot)
    if what == "all" and format_ in {"csv", "parquet"}:
        return tidy.csv_text(shown, choice) if format_ == "csv" else tidy.parquet(shown, choice)
    # Before data sets are left out: a mean keeps its meaning.
    whole = selection.select(run, selection.wide(choice))
    entries = selection.figures(shown, choice, summary.compute(whole) + operating.compute(whole))
    if what == "means":
        return tidy.summaries_csv(shown, entries) if format_ == "csv" else tidy.summaries_parquet(shown, entries)
    if format_ == "html":
        return html.render(shown, entries, choice)
    return markdown.render(shown, entries, choice) if format_ == "md" else latex.render(shown, entries, choice, command)


def table(folders: Sequence[str], choice: Choice | None = None) -> str:
    """What ``bench show`` prints."""
    from bench.report import merge_runs, selection
    from bench.report.selection import Choice
    from bench.reports import terminal

    chosen_ = choice or Choice()
    run = selection.select(merge_runs.opened(folders), chosen_)
    text: str = terminal.render(run, choice=chosen_, styled=sys.stdout.isatty())
    return text
