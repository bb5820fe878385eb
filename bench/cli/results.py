"""``bench show``, ``bench compare`` and ``bench report``: parse, call, print. Heavy modules are imported late."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperOption

from bench.cli import tracking
from bench.cli.commands import Command
from bench.cli.options import GallerySize, Log
from bench.cli.output import echo
from bench.core.errors import Status, UnknownName, UsageError
from bench.suite import arguments

if TYPE_CHECKING:
    import pandas as pd

    from bench.report.selection import Choice
    from bench.results.compare import ImageDifference
    from bench.results.gates import Condition, Judgement
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
    """Print the results of a run or of several. docs/reference/files.md describes the records of the JSON."""
    from bench.core import files
    from bench.report import claims, merge_runs, selection, writing
    from bench.results import operating, records

    choice = _choice(only, metrics, digits=digits, baseline=baseline)
    run = merge_runs.opened(folders)
    selected = selection.select(run, choice)
    if per_image:
        with files.writing(per_image) as file:
            _images_of_runs(selected, records.per_image(selected)).to_parquet(file, index=False)
        echo(per_image)
    elif over_seeds:
        from bench.results import seeds

        rows = seeds.spread(selected.results)
        schema = {"schema": records.SCHEMA, "seeds": rows}
        echo(json.dumps(schema, indent=1) if format_ == "json" else seeds.lines(rows))
    elif by:
        _show_slices(selected, by.split(","), format_)
    elif format_ == "json":
        listed = _by_run(selected, records.records(selected.results))
        points = {"operating_points": operating.compute(selected)} if selected.plan.operating_points else {}
        compared = {"claims": claims.of_run(selected).records()} if selected.plan.claims else {}
        echo(json.dumps({"schema": records.SCHEMA, "records": listed, **points, **compared}, indent=1))
    elif format_ == "md":
        echo(writing.rendered(run, "md", "all", choice))
    else:
        echo(writing.printed(run, choice, styled=sys.stdout.isatty()), styled=sys.stdout.isatty())


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
    from bench.report import listings
    from bench.results import records

    known = sorted({axis for result in run.results for axis in result.slices})
    for axis in axes:
        if axis not in known:
            raise UnknownName("slice", axis, known, "--by")
    rows = _by_run(run, records.slices(run.results, axes))
    if format_ == "json":
        echo(json.dumps({"schema": records.SCHEMA, "records": [*rows]}, indent=1, default=asdict))
    else:
        definitions = {
            (result.labels.protocol, name): m for result in run.results for name, m in result.definitions.items()
        }
        echo(listings.slices(rows, definitions, markdown=format_ == "md"))


def compare(
    first: Annotated[str, typer.Argument(metavar="A", help="A run directory, or RUN@AXIS=GLOB,... for some cells.")],
    second: Annotated[str, typer.Argument(metavar="B", help="What to compare with it.")],
    fail_if: Annotated[
        str, typer.Option(metavar="EXPR", help="Exit with 4 if B - A meets it: 'ap < -1% or auroc.hi < 0'.")
    ] = "",
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Let --fail-if pass cells and figures that one of them lacks.")
    ] = False,
    junit: Annotated[Path | None, typer.Option(help="Write what --fail-if found to this file, as JUnit XML.")] = None,
    github: Annotated[
        bool, typer.Option("--github", help="Add it to $GITHUB_STEP_SUMMARY, and print annotations.")
    ] = False,
    every: Annotated[bool, typer.Option("--all", help="Print figures that are equal in both, too.")] = False,
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
    from bench.report import listings
    from bench.results import compare as comparing
    from bench.results import gates

    if (junit or github or allow_missing) and not fail_if:
        raise UsageError("--junit, --github and --allow-missing say more of --fail-if; give a condition to it")
    sides = comparing.side(first), comparing.side(second)
    if per_image:
        if fail_if:
            raise UsageError("--fail-if judges differences of cells, which have intervals; leave out --per-image")
        _compare_images(comparing.by_image(*sides, _names(metrics)), format_, top, export)
        return
    differences = comparing.compare(*sides, _names(metrics))
    lacking = comparing.unpaired(*sides)
    if export:
        _export(differences, export)
    elif format_ == "json":
        entries = [comparing.fields_of(entry) for entry in differences]
        echo(json.dumps({"schema": 1, "differences": entries, "only": {"A": lacking[0], "B": lacking[1]}}, indent=1))
    else:
        echo(listings.differences(differences, every=every))
        for line in listings.beside(comparing.made_with(*sides), lacking):
            echo(line)
    if fail_if:
        everything = comparing.compare(*sides) if metrics else differences
        conditions = gates.parse(fail_if, everything)
        judgements = gates.judge(conditions, everything, lacking[0], allow_missing=allow_missing)
        _gate(conditions, judgements, junit, github=github, beside=format_ == "json")


def _gate(
    conditions: Sequence[Condition], judgements: Sequence[Judgement], junit: Path | None, *, github: bool, beside: bool
) -> None:
    """Say what the conditions came to; Exit with 4 where one is met or cannot be judged.

    Annotations stand ``beside`` standard output, on that of errors, where it holds JSON.
    """
    from bench.core import files
    from bench.report import gate_files

    counts = {
        name: sum(each.outcome == name for each in judgements) for name in ("met", "unknown", "skipped", "passed")
    }
    verdict = (
        f"--fail-if {' or '.join(map(str, conditions))}: {counts['met']} met, {counts['unknown']} cannot be judged,"
        f" {counts['skipped']} left out, {counts['passed']} passed"
    )
    failed = [each for each in judgements if each.outcome in ("met", "unknown")]
    if junit:
        with files.writing(junit, "w") as file:
            file.write(gate_files.junit(judgements))
    if github:
        summary = os.environ.get("GITHUB_STEP_SUMMARY")
        if not summary:
            raise UsageError("--github: $GITHUB_STEP_SUMMARY is not set; it is in a step of GitHub Actions")
        try:
            with Path(summary).open("a", encoding="utf-8") as file:
                file.write(gate_files.summary("bench compare", verdict, judgements))
        except OSError as error:
            raise files.cannot_write(Path(summary), error) from error
        for line in gate_files.commands(judgements):
            echo(line, err=beside)
    for each in failed:
        echo(f"bench: {each.name}: {each.words}", err=True)
    echo(f"bench: {verdict}", err=True)
    if failed:
        raise typer.Exit(Status.GATE_MET)


def _compare_images(differences: Sequence[ImageDifference], format_: str, top: int, export: Path | None) -> None:
    from bench.report import listings

    if export:
        _export(differences, export)
    elif format_ == "json":
        echo(json.dumps({"schema": 1, "images": [asdict(entry) for entry in differences]}, indent=1))
    else:
        echo(listings.images(differences, top))


def _export(differences: Sequence[Any], path: Path) -> None:
    from bench.core import files
    from bench.report import columns
    from bench.results.compare import ImageDifference

    if path.suffix not in {".csv", ".parquet"}:
        raise UsageError(f"--export {path}: the name must end in .csv or .parquet")
    types = columns.IMAGES if isinstance(differences[0], ImageDifference) else columns.DIFFERENCES
    rows = columns.differences(differences, types)
    content = columns.to_csv(types, rows) if path.suffix == ".csv" else columns.to_parquet(types, rows)
    with files.writing(path, "w" if isinstance(content, str) else "wb") as file:
        file.write(content)
    echo(path)


def merge(
    folders: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Run directories; nothing in them is changed.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the merged run; must not exist.")],
) -> None:
    """Write one run directory with the cells of several; the same cell with two results is refused."""
    from bench.results import merging, store

    if len({folder.resolve() for folder in folders}) < max(len(folders), 2):
        raise UsageError(f"{' '.join(map(str, folders))}: wanted two run directories or more, each once")
    made = merging.merge([store.read_run(folder) for folder in folders], out)
    echo(f"{out}: {len(made.results)} of {len(made.plan.keys)} cells; 'bench report {out}' writes its page")


def report(
    folders: Runs,
    format_: Annotated[str, typer.Option("--format", metavar="NAME", help="The kind of page.")] = "html",
    out: Annotated[
        Path | None,
        typer.Option(
            help="Where to write it. Default: RUN/report.<format>, for figures the folder RUN/figures; of several runs "
            "the same in this folder."
        ),
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
    gallery_size: GallerySize = "medium",
    anonymous: Annotated[
        bool, typer.Option("--anonymous", help="Leave out paths, commands, names of machines, users and runs.")
    ] = False,
    log: Log = None,
) -> None:
    """Write a page or a file from the results of one run or of several."""
    to = tracking.trackers(log)
    choice = _choice(
        only,
        metrics,
        columns=_names(columns),
        digits=digits,
        intervals=intervals,
        captions=captions,
        baseline=baseline,
        images=images,
        gallery_size=gallery_size,
        anonymous=anonymous,
    )
    from bench.report import writing

    echo(writing.write(folders, format_, out, table_, choice))
    tracking.tracked(folders, to)


class ReportCommand(Command):
    """``bench report``, whose help names the formats that are found."""

    def get_help(self, ctx: Any) -> str:
        from bench.report import writing

        for parameter in self.params:
            if isinstance(parameter, TyperOption) and parameter.name == "format_":
                parameter.help = (
                    f"The kind of page: {', '.join(writing.formats())}; NAME:PARAMETER=VALUE,... where it has any."
                )
        return super().get_help(ctx)


def _choice(only: str | None, metrics: str, **others: Any) -> Choice:
    from bench.report.selection import Choice

    return Choice(only=arguments.patterns(only) if only else {}, metrics=_names(metrics), **others)


def _names(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())
