"""The command line: parse, call, print. Heavy modules are imported by the command that needs them."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from bench import __version__
from bench.cli import results
from bench.cli.submit import submit
from bench.core.errors import BadScores, BadSuite, CellsFailed, UnknownName, UserError
from bench.suite import arguments

if TYPE_CHECKING:
    from rich.console import Console

    from bench.run.train import Options
    from bench.suite.expansion import Ref, Suite

app = typer.Typer(
    help="Evaluate anomaly and misclassification detection in semantic segmentation.",
    epilog="Start with: bench run demo",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
new = typer.Typer(help="Write a plug-in to start from.", no_args_is_help=True)
data = typer.Typer(help="Write data sets to disk.", no_args_is_help=True)
app.add_typer(new, name="new")
app.add_typer(data, name="data")
app.add_typer(submit, name="submit")

INTERRUPTED = 130  # what typer returns for a Ctrl-C that it caught itself
PLUGINS = ("methods", "models", "datasets", "protocols", "trainers")
KINDS = (*PLUGINS, "corruptions", "suites", "leaderboards", "published")


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0 done, 1 our bug, 2 the user can fix it, 3 --fail-if was met, 130 interrupted, the rest on disk."""
    try:
        returned = app(list(sys.argv[1:] if argv is None else argv), prog_name="bench", standalone_mode=False)
    except UserError as error:
        _say(f"bench: {error}")
        return 2
    except typer.TyperException as error:
        formatted = getattr(error, "format_message", None)
        message = formatted() if formatted else str(error)
        if type(error).__name__ == "NoArgsIsHelpError":  # the message is the help itself
            _say(message)
        else:
            _say(f"bench: {message} Try 'bench --help'.")
        return 2
    except (KeyboardInterrupt, typer.Abort):
        returned = INTERRUPTED
    if returned == INTERRUPTED:
        _say("bench: interrupted; what was finished is on disk, the same command goes on from there")
    return int(returned or 0)


def _say(line: str) -> None:
    typer.echo(line, err=True)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"ood-seg-bench {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which one.")
    ] = False,
) -> None:
    pass


Suites = Annotated[list[str], typer.Argument(metavar="SUITE...", help="Suite files, or names of shipped suites.")]
Only = Annotated[
    str | None,
    typer.Option(metavar="AXIS=GLOB,...", help="Keep these cells; axes: protocol, model, dataset, method, cell."),
]
Methods = Annotated[
    list[str] | None,
    typer.Option("--method", metavar="NAME[:k=v,...]", help="Replace the suite's methods. Repeatable."),
]
Models = Annotated[
    list[str] | None, typer.Option("--model", metavar="NAME[:k=v,...]", help="Replace the suite's models. Repeatable.")
]


@app.command()
def run(
    suites: Suites,
    out: Annotated[Path | None, typer.Option(help="Run directory. Default: runs/<suite>.")] = None,
    only: Only = None,
    method: Methods = None,
    model: Models = None,
    limit: Annotated[int | None, typer.Option(min=1, help="First N images only; marks results partial.")] = None,
    processes: Annotated[
        int | None,
        typer.Option(min=1, help="Processes that each hold the network. Default: one per GPU; on Ray what fits."),
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read images ahead of each of those.")] = 1,
    executor: Annotated[Literal["local", "ray"], typer.Option(help="This machine, or a Ray cluster.")] = "local",
    address: Annotated[
        str | None, typer.Option(help="Of a Ray cluster, such as auto. Default: $RAY_ADDRESS, or one of our own.")
    ] = None,
    gpus_per_worker: Annotated[
        float | None, typer.Option(min=0, help="On Ray; parts such as 0.5 share one. Default: 1 where there are any.")
    ] = None,
    cpus_per_worker: Annotated[float | None, typer.Option(min=0, help="On Ray. Default: 1.")] = None,
    retries: Annotated[int, typer.Option(min=0, help="How often a shard is tried again whose worker died.")] = 2,
    shard: Annotated[
        int | None, typer.Option(min=1, help="Images per shard, the unit of resume. Default: by size.")
    ] = None,
    keep_maps: Annotated[bool, typer.Option("--keep-maps", help="Keep the score maps in RUN/spool.")] = False,
    gallery: Annotated[
        int, typer.Option(metavar="N", min=0, max=32, help="Images of each data set to show, worst first; 0: none.")
    ] = 4,
    cache: Annotated[Path | None, typer.Option(help="Folder that keeps corrupted images for the next run.")] = None,
    cache_gb: Annotated[float, typer.Option("--cache-gb", min=0.001, help="How much it may hold.")] = 50.0,
) -> None:
    """Run what is missing, then write the report. Kill it at any time: the same command goes on."""
    from rich.console import Console

    from bench.cli.progress import Bar
    from bench.datasets.wrappers import corruption_cache
    from bench.run import engine

    if executor == "local" and (address or gpus_per_worker is not None or cpus_per_worker is not None):
        raise BadSuite("--address, --gpus-per-worker and --cpus-per-worker belong to Ray; say --executor ray")
    if cache:
        corruption_cache.use(cache, cache_gb)
    failed: list[str] = []
    for name in suites:
        suite = _suite(name, only, method, model)
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
        console = Console(stderr=True)
        with Bar(console) as bar:
            try:
                for result in engine.run(suite, folder, options, bar):
                    _progress_line(console, result)
            except CellsFailed as error:  # the report shows the others
                failed.append(str(error))
        page = results.write([str(folder)], "html")
        typer.echo(results.table([str(folder)]))
        typer.echo(f"report: {page}")
    if failed:
        raise CellsFailed("\n".join(failed))


def _command(folder: Path) -> str:
    return shlex.join(["bench", "run", str(folder / "suite.yaml"), "--out", str(folder)])


def _run_folder(out: Path | None, name: str, suites: int) -> Path:
    if out is None:
        return Path("runs", name)
    return out / name if suites > 1 else out


def _progress_line(console: Console, result: Any) -> None:
    from bench.api import Value

    name, figure = next(iter(result.metrics.items()))
    shown = (
        f"{name} {figure.value:.4f}" if isinstance(figure, Value) else f"n/a: {result.not_applicable or figure.reason}"
    )
    label = " / ".join(result.labels.values())
    console.print(f"{label}: {shown}", highlight=False, markup=False, soft_wrap=True)


@app.command()
def check(
    suites: Suites,
    only: Only = None,
    method: Methods = None,
    model: Models = None,
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
    workers: Annotated[int, typer.Option(min=0, help="Processes that read images ahead of each of those.")] = 1,
    limit: Annotated[int | None, typer.Option(min=1, help="The costs of a run with the first N images only.")] = None,
    shard: Annotated[int | None, typer.Option(min=1, help="Images per shard. Default: by size.")] = None,
    format_: Annotated[Literal["table", "json"], typer.Option("--format", help="How to print an estimate.")] = "table",
) -> None:
    """Do all that 'bench run' does before it computes: names, parameters, files, labels, impossible pairs."""
    from bench.run import preflight

    if estimate:
        counts = _numbers(processes, "--processes")
        how = _Asked(from_ or [], probe, counts, workers, limit, shard)
        found = [_estimate(partial(_suite, name, only, method, model), how, format_) for name in suites]
        if format_ == "json":
            typer.echo(json.dumps({"schema": 1, "estimates": found}, indent=1))
        return
    for name in suites:
        suite = _suite(name, only, method, model)
        checked = preflight.check(suite)
        for cell in suite.cells:
            reason = checked.refused.get(cell.key)
            typer.echo(f"{cell.key}  {cell}" + (f"  n/a: {reason}" if reason else ""))
        images = sum(
            data.count for data in {cell.dataset: checked.datasets[cell.dataset] for cell in suite.cells}.values()
        )
        typer.echo(
            f"{suite.name}: {len(suite.cells)} cells, {len(checked.models)} models, {images} images; ready to run"
        )


@dataclass(frozen=True)
class _Asked:
    """The options of an estimate."""

    runs: list[Path]
    probe: int
    processes: list[int]
    workers: int
    limit: int | None
    shard: int | None


def _estimate(load: Callable[[], Suite], asked: _Asked, format_: str) -> dict[str, Any]:
    """Check a suite, measure what is not known of its costs, print what it comes to."""
    import tempfile
    import time

    from rich.console import Console

    from bench.cli.progress import Bar
    from bench.models import numerics
    from bench.results import store
    from bench.run import engine, estimate, preflight

    if asked.probe == 1:
        raise BadSuite("--probe is 1, wanted 2 or more, since the bootstrap begins with 2 images; 0 tries nothing")
    runs = [store.read_run(folder) for folder in asked.runs]
    worker = time.process_time()  # everything is imported: where a further process begins
    suite = load()
    checked = preflight.check(suite)
    how = numerics.resolve(suite.numerics)
    driver = time.process_time()

    def shard_of(ref: Ref) -> int:
        return asked.shard or engine.shard_size(ref)

    plan = estimate.Plan(shard_of, asked.processes, asked.workers, asked.limit)
    with Bar(Console(stderr=True)) as bar, tempfile.TemporaryDirectory() as folder:

        def tried(part: Suite, run_dir: Path, limit: int) -> None:
            for _ in engine.run(part, run_dir, engine.Options(limit=limit, workers=0), bar):
                pass

        measured = estimate.measure(suite, checked, how, plan, runs, asked.probe, tried, Path(folder), bar.stage)
    measured.driver, measured.worker = driver, worker
    found = estimate.of(suite, checked, how, plan, measured)
    if format_ == "table":
        console = Console(highlight=False, markup=False, width=min(shutil.get_terminal_size((80, 24)).columns, 100))
        for part in estimate.tables(found, plan):
            console.print(part)
    return found.record()


def _numbers(text: str, option: str) -> list[int]:
    """Such as ``1,2,4``."""
    parts = text.split(",")
    if not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise BadSuite(f"{option} is {text!r}, wanted numbers from 1 on, such as 1,2,4")
    return sorted({int(part) for part in parts})


@app.command()
def fit(
    what: Annotated[
        str, typer.Argument(metavar="METHOD|TRAINER|SUITE", help="NAME[:k=v,...], an entry in braces, or a suite.")
    ],
    model: Annotated[str | None, typer.Option(metavar="NAME[:k=v,...]", help="The network.")] = None,
    data_: Annotated[
        str | None, typer.Option("--data", metavar="NAME[:k=v,...]", help="A labelled training split.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="K=V", help="A parameter of method or trainer. Repeatable.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of everything that is drawn.")] = 0,
    seeds: Annotated[
        str | None, typer.Option(metavar="N,N,...", help="Several networks of a trainer, one for each seed.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Also write it to this .safetensors file.")] = None,
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="Where long trainings run.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="Of torch, in long trainings. Default: all cores.")] = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read images ahead.")] = 1,
    tensorboard: Annotated[Path | None, typer.Option(help="Folder for curves; needs tensorboard.")] = None,
) -> None:
    """Train a method, a network further, or whatever a suite declares. Kill it: the same command goes on."""
    import os

    from rich.console import Console

    from bench.cli.progress import Bar
    from bench.core.files import writing
    from bench.run import finetune, train

    if finetune.is_retrainer(_entry(what, "fit")[0]):
        options = train.Options(device, threads or os.cpu_count() or 1, workers, tensorboard)
        _retrain(what, model, data_, settings or [], seeds or str(seed), options, out)
        return
    if seeds:
        raise BadSuite(f"{what}: --seeds is for trainers of networks; say --seed")
    suite = _to_fit(what, model, data_, settings or [], seed)
    if out and len({cell.method for cell in suite.cells if cell.method and cell.method.fit}) > 1:
        raise BadSuite(f"{what}: --out is one file, and several methods are fitted; they are all kept, say no --out")
    options = train.Options(device, threads or os.cpu_count() or 1, workers, tensorboard)
    with Bar(Console(stderr=True)) as bar:
        for done in train.run(suite, options, bar):
            if out:
                with writing(out) as file:
                    file.write(done.path.read_bytes())
            said = "" if done.new else " (was there already)"
            losses = done.fitted.about.get("losses")
            course = f", loss {losses[0][1]:.4f} to {losses[-1][1]:.4f}" if losses else ""
            typer.echo(f"{done.label}{said}{course}: {out or done.path}")


def _retrain(
    what: str,
    model: str | None,
    data: str | None,
    settings: Sequence[str],
    seeds: str,
    options: Options,
    out: Path | None,
) -> None:
    """Train networks further, and say how a suite names them."""
    from rich.console import Console

    from bench.cli.progress import Bar
    from bench.run import finetune

    name, params = _entry(what, "fit")
    if not model or not data:
        raise BadSuite(f"fit {name}: wanted the network and the data: --model NAME --data NAME")
    for setting in settings:
        params |= _entry(f"x:{setting}", "--set")[1]
    try:
        numbers = [int(seed) for seed in seeds.split(",")]
    except ValueError:
        raise BadSuite(f"--seeds is {seeds!r}, wanted numbers such as 0,1,2") from None
    if min(numbers) < 0 or len(set(numbers)) < len(numbers):
        raise BadSuite(f"--seeds is {seeds!r}, wanted each number once, from 0 on")
    named = _entry(model, "--model"), _entry(data, "--data")
    with Bar(Console(stderr=True)) as bar:
        for done in finetune.run((name, params), *named, numbers, options, bar, out):
            losses = done.origin["about"]["losses"]
            said = "was there already" if not done.new else f"loss {losses[0][1]:.5f} to {losses[-1][1]:.5f}"
            typer.echo(f"{name}, seed {done.origin['seed']}: {said}; in a suite this network is\n{done.entry}")


def _to_fit(what: str, model: str | None, data: str | None, settings: Sequence[str], seed: int) -> Suite:
    """A suite as it is, or one made of a method, a network and data."""
    import dataclasses

    from bench.suite import expansion as suites
    from bench.suite import registry

    name, params = _entry(what, "fit")
    methods = registry.available("method")
    if name not in methods:
        if name in registry.available("trainer"):
            fits = [key for key, entry in methods.items() if getattr(entry, "trainer", None) == name]
            raise BadSuite(f"fit {name}: is a trainer; name a method that it trains: {', '.join(fits)}")
        if model or data or settings:
            raise BadSuite(f"{what}: is no method, and a suite says itself what its models, data and parameters are")
        return suites.load(suites.locate(what))
    if not model or not data:
        raise BadSuite(f"fit {name}: wanted the network and the data: --model NAME --data NAME")
    own = {entry.name for entry in dataclasses.fields(registry.plugin("method", name, where="fit"))}
    training: dict[str, Any] = {}
    for setting in settings:
        given = _entry(f"x:{setting}", "--set")[1]
        for key, value in given.items():
            (params if key in own else training)[key] = value
    source = dict([_entry(data, "--data")])
    raw: dict[str, Any] = {
        "protocols": ["misclassification"],
        "models": [dict([_entry(model, "--model")])],
        "datasets": [source],
        "methods": [{name: params | {"fit": {"data": source, **training}}}],
        "seed": seed,
    }
    return suites.expanded(raw, Path("fit"))


def _entry(text: str, where: str) -> tuple[str, dict[str, Any]]:
    """``NAME[:k=v,...]``, or one name with its parameters as YAML has it."""
    if not text.lstrip().startswith("{"):
        return arguments.named(text, where)
    import yaml

    try:
        entry = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise BadSuite(f"{where}: {text!r} is not YAML: {getattr(error, 'problem', error)}") from None
    if not isinstance(entry, dict) or len(entry) != 1 or not isinstance(next(iter(entry.values())) or {}, dict):
        raise BadSuite(f"{where}: {text!r} must be one name with its parameters, as in a suite")
    ((name, given),) = entry.items()
    return str(name), dict(given or {})


@app.command()
def describe(
    dataset: Annotated[
        str, typer.Argument(metavar="DATASET", help="NAME[:k=v,...], an entry such as '{folder: {...}}', or a suite.")
    ],
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="K=V", help="A parameter of the data set. Repeatable.")
    ] = None,
    format_: Annotated[Literal["table", "json"], typer.Option("--format", help="How to print it.")] = "table",
) -> None:
    """Say what a data set holds, whether it is whole, and how to get what is missing."""
    import shutil

    from rich.console import Console

    from bench.cli.progress import Bar
    from bench.core.errors import MissingData
    from bench.data import describe as describing

    name, params = (dataset, {}) if dataset.lstrip().startswith("{") else arguments.named(dataset, "describe")
    for setting in settings or []:
        params |= arguments.named(f"x:{setting}", "--set")[1]
    width = shutil.get_terminal_size((describing.WIDEST, 24)).columns
    cards = []
    for number, data_set in enumerate(describing.asked(dataset, name, params)):
        with Bar(Console(stderr=True)) as bar:
            bar.stage(describing.plain(data_set).name)
            card = describing.describe(data_set, bar.begin, bar.advance)
        cards.append(card)
        if format_ == "table":
            typer.echo("\n".join(["", *describing.lines(card, width)] if number else describing.lines(card, width)))
    if format_ == "json":
        records = [describing.record(card) for card in cards]
        typer.echo(json.dumps({"schema": 1, "datasets": records}, indent=1))
    if wrong := [card.label for card in cards if not card.complete]:
        raise MissingData(f"{', '.join(wrong)}: not complete; the description says what is wrong")


@app.command("list")
def list_(
    kind: Annotated[str, typer.Argument(help=f"One of: {', '.join(KINDS)}.")] = "methods",
    bibtex: Annotated[bool, typer.Option("--bibtex", help="Of plug-ins: the works that they are made after.")] = False,
    only: Annotated[
        str, typer.Option(metavar="AXIS=GLOB,...", help="Of published figures: those whose columns match.")
    ] = "",
    format_: Annotated[
        Literal["table", "json", "csv"], typer.Option("--format", help="How to print published figures.")
    ] = "table",
) -> None:
    """List plug-ins, corruptions, shipped suites, leaderboards and published figures."""
    if kind not in KINDS:
        raise UnknownName("kind", kind, KINDS, "list")
    if bibtex and kind not in PLUGINS:
        raise UserError(f"--bibtex: {kind} name no source; ask for {', '.join(PLUGINS)}")
    if (only or format_ != "table") and kind != "published":
        raise UserError(f"--only and --format are for published figures; list {kind} has one form")
    if kind == "published":
        _list_published(only, format_)
    elif bibtex:
        _list_bibtex(kind)
    else:
        rows = _listing(kind)
        width = max((len(name) for name, _ in rows), default=0)
        for name, text in rows:
            typer.echo(f"{name:<{width}}  {text}")


def _listing(kind: str) -> Sequence[tuple[str, str]]:
    if kind == "suites":
        from bench.suite.expansion import shipped

        return [(name, _first_comment(path)) for name, path in shipped().items()]
    if kind == "leaderboards":
        from bench.submit import boards

        known: Sequence[tuple[str, str]] = boards.listing()
        return known
    if kind == "corruptions":
        from bench import corruptions

        return list(corruptions.FAMILIES.items())
    from bench.suite import registry

    singular: Any = kind.removesuffix("s")
    return [(name, _about(entry)) for name, entry in registry.available(singular).items()]


def _list_published(only: str, format_: str) -> None:
    import shutil

    from bench.report import published, published_text

    rows = published_text.chosen(published.load(), arguments.patterns(only) if only else {})
    if format_ == "json":
        typer.echo(json.dumps(published_text.records(rows), indent=1, ensure_ascii=False))
    elif format_ == "csv":
        typer.echo(published_text.table(rows), nl=False)
    else:
        typer.echo("\n".join(published_text.lines(rows, shutil.get_terminal_size((100, 40)).columns)))


def _list_bibtex(kind: str) -> None:
    from bench.report import bibliography
    from bench.suite import registry

    singular: Any = kind.removesuffix("s")
    usable = [(name, entry) for name, entry in registry.available(singular).items() if not hasattr(entry, "reason")]
    typer.echo(bibliography.render((name, entry.source) for name, entry in usable))


def _about(entry: Any) -> str:
    if hasattr(entry, "reason"):
        return f"cannot be used: {entry.reason}"
    return next(iter(str(entry.__doc__ or "").strip().splitlines()), "says nothing of itself")


def _first_comment(path: Path) -> str:
    return path.read_text(encoding="utf-8").splitlines()[0].lstrip("# ")


app.command()(results.show)
app.command()(results.compare)
app.command()(results.report)


@app.command()
def score(
    protocol: Annotated[
        list[str],
        typer.Option(metavar="NAME[:k=v,...]", help="The definitions; see 'bench list protocols'. Repeatable, or a,b."),
    ],
    labels: Annotated[Path | None, typer.Option(help="Folder of PNG labels: 0, 1, 255, or train ids.")] = None,
    pair: Annotated[str, typer.Option(metavar="PATTERN", help="How its files are named.")] = "{id}.png",
    dataset: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME[:k=v,...]", help="Instead of --labels: frames of a data set. Repeatable, or a,b."),
    ] = None,
    scores: Annotated[
        Path | None, typer.Option(help="Folder or .zip of maps, in any layout of docs/score.md; higher is suspicious.")
    ] = None,
    predictions: Annotated[Path | None, typer.Option(help="The same of class maps, if a protocol needs them.")] = None,
    resize: Annotated[bool, typer.Option("--resize", help="Upsample smaller maps bilinearly (loads torch).")] = False,
    allow_missing: Annotated[bool, typer.Option("--allow-missing", help="Evaluate the frames with a map.")] = False,
    definitions: Annotated[
        bool, typer.Option("--definitions", help="Add every definition of FPR95 and AP in use, side by side.")
    ] = False,
    format_: Annotated[Literal["table", "json"], typer.Option("--format", help="How to print it.")] = "table",
    seed: Annotated[int, typer.Option(help="Of the bootstrap.")] = 0,
    bootstrap: Annotated[int, typer.Option(min=0, help="Resamples; 0 for no interval.")] = 1000,
    budget: Annotated[int, typer.Option(min=2**16, help="Bytes of exact keys before counts are certified.")] = 2**30,
) -> None:
    """Evaluate score maps made elsewhere, matched to labelled frames by file name."""
    from bench.evaluate import evaluation
    from bench.evaluate import text as score_text
    from bench.evaluate.frames import Folder, Frames, Published

    if (labels is None) == (not dataset):
        raise BadScores("say what the maps are held against: either --labels FOLDER or --dataset NAME")
    protocols = [evaluation.protocol_named(*named) for named in _several(protocol, "--protocol")]
    sets: list[Frames] = [Published.named(*named) for named in _several(dataset or [], "--dataset")]
    if labels is not None:
        sets = [Folder(labels, pair)]
    options = evaluation.Options(
        seed=seed,
        resamples=bootstrap,
        budget=budget,
        resize=resize,
        allow_missing=allow_missing,
        definitions=definitions,
    )
    found = evaluation.score(protocols, sets, scores, predictions, options)
    if format_ == "json":
        typer.echo(json.dumps(score_text.record(found), indent=1, allow_nan=False))
    else:
        typer.echo("\n".join(score_text.lines(found)))


def _several(texts: Sequence[str], where: str) -> list[tuple[str, dict[str, Any]]]:
    """``a,b:k=v,l=w`` given once or often; a part with '=' and without a name before it is a parameter of the last."""
    named: list[str] = []
    for part in (part for text in texts for part in arguments.split(text)):
        name, equals, _ = part.partition("=")
        if named and equals and ":" not in name:
            named[-1] += f",{part}"
        else:
            named.append(part.strip())
    return [arguments.named(text, where) for text in named]


@new.command("method")
def new_method(
    name: Annotated[str, typer.Argument(help="Lower case, such as my_score.")],
    folder: Annotated[
        Path | None, typer.Option(help="Where to write it. Default: methods/ of a clone, else $BENCH_PLUGINS.")
    ] = None,
) -> None:
    """Write methods/NAME.py, a method that runs, to change into yours."""
    from bench.suite import scaffold

    typer.echo(str(scaffold.write_method(name, folder)))


@data.command()
def toytown(
    layout: Annotated[str, typer.Option(help="On-disk layout to write, as docs/data.md lists them.")],
    out: Annotated[Path, typer.Option(help="The folder of that data set, such as data/fishyscapes.")],
    images: Annotated[int, typer.Option(min=1, help="How many.")] = 20,
    size: Annotated[str, typer.Option(metavar="HxW", help="Pixels, such as 256x512.")] = "256x512",
    split: Annotated[
        Literal["train", "val", "anomaly"] | None, typer.Option(help="Which scenes. Default: what the layout holds.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the scenes.")] = 0,
) -> None:
    """Draw the synthetic street scenes into the folders and label values of a real data set."""
    from bench.datasets.layouts import writers
    from bench.suite import registry

    try:
        height, width = (int(side) for side in size.lower().split("x"))
    except ValueError:
        raise BadSuite(f"--size is {size!r}, wanted HxW such as 256x512") from None
    chosen = split or writers.find(layout).split
    params = {"split": chosen, "images": images, "height": height, "width": width, "seed": seed}
    scenes = registry.build("dataset", "toytown", params, where="bench data toytown")
    writers.write(layout, scenes, out)
    typer.echo(f"{images} images of {height}x{width} in {out}")


@data.command("coco-proxy")
def coco_proxy(
    coco: Annotated[Path, typer.Option(help="The folder of COCO, with annotations/ and train2017/ inside.")],
    out: Annotated[Path, typer.Option(help="Where the masks and their index go, such as data/coco_proxy.")],
    split: Annotated[Literal["train2017", "val2017"], typer.Option(help="Which photographs.")] = "train2017",
    background: Annotated[
        Literal["ignored", "road"], typer.Option(help="What is not annotated: 255, or 0 as in the source.")
    ] = "ignored",
    minimum: Annotated[int, typer.Option(min=1, help="Pixels of the shorter side.")] = 480,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes that draw. Default: all cores.")] = None,
) -> None:
    """Write outlier masks of COCO as files, with an index. Kill it at any time: the same command goes on."""
    import os

    from rich.console import Console

    from bench.cli.progress import Bar
    from bench.data import coco_proxy as proxy

    if background == "road":
        _say(
            "bench: background road trains whatever COCO does not annotate as road, as the source does: its 0 there is"
            " the train id of road; the default ignores it"
        )
    choice = proxy.Choice(split=split, minimum=minimum, background=background)
    with Bar(Console(stderr=True)) as bar:
        shown: list[int] = []

        def progress(done: int, images: int) -> None:
            if not shown:
                bar.stage("masks")
                bar.begin(images)
            bar.advance(done - sum(shown))
            shown.append(done - sum(shown))

        images = proxy.write(coco, out, choice, workers=workers or os.cpu_count() or 1, progress=progress)
    typer.echo(f"{images} masks in {out}")


def _suite(name: str, only: str | None, methods: Sequence[str] | None, models: Sequence[str] | None) -> Suite:
    from bench.suite import expansion as suites

    replacing: dict[str, list[Any]] = {}
    for axis, given in (("methods", methods), ("models", models)):
        if given:
            named = [arguments.named(text, f"--{axis.removesuffix('s')}") for text in given]
            replacing[axis] = [{entry: params} if params else entry for entry, params in named]
    loaded = suites.load(suites.locate(name), replacing)
    return loaded.only(arguments.patterns(only)) if only else loaded
