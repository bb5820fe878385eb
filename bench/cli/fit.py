"""``bench fit``: parse, call, print. Heavy modules are imported late."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from bench.cli.options import parse_entry
from bench.cli.output import echo
from bench.core.errors import UsageError
from bench.suite import arguments, limits

if TYPE_CHECKING:
    from bench.run.train import Options
    from bench.suite.cells import Suite


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
    seed: Annotated[int, typer.Option(min=0, max=limits.SEED, help="Of everything that is drawn.")] = 0,
    seeds: Annotated[
        str | None, typer.Option(metavar="N,N,...", help="Several networks of a trainer, one for each seed.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Also write it to this .safetensors file.")] = None,
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="Where long trainings run.")] = "auto",
    threads: Annotated[
        int | None, typer.Option(min=1, max=limits.PROCESSES, help="Of torch, in long trainings. Default: all cores.")
    ] = None,
    workers: Annotated[int, typer.Option(min=0, max=limits.PROCESSES, help="Processes that read images ahead.")] = 1,
    tensorboard: Annotated[Path | None, typer.Option(help="Folder for curves; needs tensorboard.")] = None,
) -> None:
    """Train a method, a network further, or whatever a suite declares. Kill it: the same command goes on."""
    import os

    from rich.console import Console

    from bench.core.files import writing
    from bench.run import finetune, train
    from bench.run.progress import Bar

    if finetune.is_finetuner(parse_entry(what, "fit")[0]):
        options = train.Options(device, threads or os.cpu_count() or 1, workers, tensorboard)
        _retrain(what, model, data_, settings or [], seeds or str(seed), options, out)
        return
    if seeds:
        raise UsageError(f"{what}: --seeds is for trainers of networks; say --seed")
    suite = _to_fit(what, model, data_, settings or [], seed)
    if out and len({cell.method for cell in suite.cells if cell.method and cell.method.fit}) > 1:
        raise UsageError(f"{what}: --out is one file, and several methods are fitted; they are all kept, say no --out")
    options = train.Options(device, threads or os.cpu_count() or 1, workers, tensorboard)
    with Bar(Console(stderr=True)) as bar:
        for done in train.run(suite, options, bar):
            if out:
                with writing(out) as file:
                    file.write(done.path.read_bytes())
            note = "" if done.new else " (was there already)"
            losses = done.fitted.about.get("losses")
            loss = f", loss {losses[0][1]:.4f} to {losses[-1][1]:.4f}" if losses else ""
            echo(f"{done.label}{note}{loss}: {out or done.path}")


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

    from bench.run import finetune
    from bench.run.progress import Bar

    name, params = parse_entry(what, "fit")
    if not model or not data:
        raise UsageError(f"fit {name}: wanted the network and the data: --model NAME --data NAME")
    params |= arguments.settings(settings, "--set")
    try:
        numbers = [int(seed) for seed in seeds.split(",")]
    except ValueError:
        raise UsageError(f"--seeds is {seeds!r}, wanted numbers such as 0,1,2") from None
    if min(numbers) < 0 or len(set(numbers)) < len(numbers):
        raise UsageError(f"--seeds is {seeds!r}, wanted each number once, from 0 on")
    named = parse_entry(model, "--model"), parse_entry(data, "--data")
    with Bar(Console(stderr=True)) as bar:
        for done in finetune.run((name, params), *named, numbers, options, bar, out):
            losses = done.origin["about"]["losses"]
            note = "was there already" if not done.new else f"loss {losses[0][1]:.5f} to {losses[-1][1]:.5f}"
            echo(f"{name}, seed {done.origin['seed']}: {note}; in a suite this network is\n{done.entry}")


def _to_fit(what: str, model: str | None, data: str | None, settings: Sequence[str], seed: int) -> Suite:
    """Return a suite as it is, or one made of a method, a network and data."""
    import dataclasses

    from bench.suite import expansion as suites
    from bench.suite import registry

    name, params = parse_entry(what, "fit")
    methods = registry.available("method")
    if name not in methods:
        if name in registry.available("trainer"):
            from bench.fit import fitted_store

            trains = ", ".join(fitted_store.methods_of(name))
            raise UsageError(f"fit {name}: is a trainer; name a method that it trains: {trains}")
        if model or data or settings:
            raise UsageError(f"{what}: is no method, and a suite says itself what its models, data and parameters are")
        return suites.load(suites.locate(what))
    if not model or not data:
        raise UsageError(f"fit {name}: wanted the network and the data: --model NAME --data NAME")
    own = {entry.name for entry in dataclasses.fields(registry.plugin("method", name, where="fit"))}
    training: dict[str, Any] = {}
    for key, value in arguments.settings(settings, "--set").items():
        (params if key in own else training)[key] = value
    source = dict([parse_entry(data, "--data")])
    raw: dict[str, Any] = {
        "protocols": ["misclassification"],
        "models": [dict([parse_entry(model, "--model")])],
        "datasets": [source],
        "methods": [{name: params | {"fit": {"data": source, **training}}}],
        "seed": seed,
    }
    return suites.expanded(raw, Path("fit"))
