"""``bench describe`` and ``bench data``: parse, call, print. Heavy modules are imported late."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Annotated, Literal

import typer

from bench.cli.commands import Commands
from bench.cli.fetch import fetch
from bench.cli.output import echo
from bench.core.errors import UsageError
from bench.suite import arguments, limits

data = typer.Typer(cls=Commands, help="Fetch data sets, or write them to disk.", no_args_is_help=True)
data.command("fetch")(fetch)


def describe(
    dataset: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="A data set, NAME[:k=v,...], an entry such as 'folder: {...}', or a suite; or any plug-in.",
        ),
    ],
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="K=V", help="A parameter of the data set. Repeatable.")
    ] = None,
    format_: Annotated[Literal["table", "json"], typer.Option("--format", help="How to print it.")] = "table",
    kind: Annotated[
        Literal["dataset", "method", "protocol", "model", "trainer", "format"] | None,
        typer.Option(help="Of plug-ins that share a name. Default: the data set."),
    ] = None,
) -> None:
    """Say what a data set holds, whether it is whole, and how to get what is missing; or what a plug-in does."""
    from rich.console import Console

    from bench.core.errors import MissingData
    from bench.data import describe as describing
    from bench.data import plugin_card
    from bench.run.progress import Bar

    is_entry = arguments.is_entry(dataset)
    name, params = (dataset, {}) if is_entry else arguments.named(dataset, "describe")
    params |= arguments.settings(settings or [], "--set")
    width = min(shutil.get_terminal_size((describing.WIDEST, 24)).columns, describing.WIDEST)
    is_name = not is_entry and not Path(name).suffix
    described = kind or (plugin_card.kind_of(name) if is_name else None)
    if described not in (None, "dataset"):
        if params:
            raise UsageError(f"describe {name}: only a data set is described with parameters; leave them out")
        about = plugin_card.record(described, name)
        echo(json.dumps(about, indent=1) if format_ == "json" else "\n".join(plugin_card.lines(about, width)))
        return
    cards = []
    for number, data_set in enumerate(describing.asked(dataset, name, params)):
        with Bar(Console(stderr=True)) as bar:
            bar.stage(describing.plain(data_set).name)
            card = describing.describe(data_set, bar.begin, bar.advance)
        cards.append(card)
        if format_ == "table":
            echo("\n".join(["", *describing.lines(card, width)] if number else describing.lines(card, width)))
    if format_ == "json":
        records = [describing.record(card) for card in cards]
        echo(json.dumps({"schema": 1, "datasets": records}, indent=1))
    if wrong := [card.label for card in cards if not card.complete]:
        raise MissingData(f"{', '.join(wrong)}: not complete; the description says what is wrong")


def init(
    folder: Annotated[Path, typer.Argument(help="Your images and masks, in whatever folders.")],
    out: Annotated[Path | None, typer.Option(help="The suite to write. Default: its name, .yaml, here.")] = None,
) -> None:
    """Look into a folder of your own and write a suite that evaluates it, saying what was taken for what."""
    from bench.data import own_folder

    for line in own_folder.write(folder, out):
        echo(line)


@data.command()
def toytown(
    layout: Annotated[str, typer.Option(help="On-disk layout to write, as docs/data.md lists them.")],
    out: Annotated[Path, typer.Option(help="The folder of that data set, such as data/fishyscapes.")],
    images: Annotated[int, typer.Option(min=1, help="How many.")] = 20,
    size: Annotated[str, typer.Option(metavar="HxW", help="Pixels, such as 256x512.")] = "256x512",
    split: Annotated[
        Literal["train", "val", "anomaly"] | None, typer.Option(help="Which scenes. Default: what the layout holds.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=limits.SEED, help="Of the scenes.")] = 0,
) -> None:
    """Draw the synthetic street scenes into the folders and label values of a real data set."""
    from bench.data.layouts import writers
    from bench.suite import registry

    try:
        height, width = (int(side) for side in size.lower().split("x"))
    except ValueError:
        raise UsageError(f"--size is {size!r}, wanted HxW such as 256x512") from None
    chosen = split or writers.find(layout).split
    params = {"split": chosen, "images": images, "height": height, "width": width, "seed": seed}
    scenes = registry.build("dataset", "toytown", params, where="bench data toytown")
    writers.write(layout, scenes, out)
    echo(f"{images} images of {height}x{width} in {out}")


@data.command("coco-proxy")
def coco_proxy(
    coco: Annotated[Path, typer.Option(help="The folder of COCO, with annotations/ and train2017/ inside.")],
    out: Annotated[Path, typer.Option(help="Where the masks and their index go, such as data/coco_proxy.")],
    split: Annotated[Literal["train2017", "val2017"], typer.Option(help="Which photographs.")] = "train2017",
    background: Annotated[
        Literal["ignored", "road"], typer.Option(help="What is not annotated: 255, or 0 as in the source.")
    ] = "ignored",
    minimum: Annotated[int, typer.Option(min=1, help="Pixels of the shorter side.")] = 480,
    workers: Annotated[
        int | None, typer.Option(min=1, max=limits.PROCESSES, help="Processes that draw. Default: all cores.")
    ] = None,
) -> None:
    """Write outlier masks of COCO as files, with an index. Kill it at any time: the same command goes on."""
    import os

    from rich.console import Console

    from bench.data import coco_proxy as proxy
    from bench.run.progress import Bar

    if background == "road":
        echo(
            "bench: background road trains whatever COCO does not annotate as road, as the source does: its 0 there is"
            " the train id of road; the default ignores it",
            err=True,
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
    echo(f"{images} masks in {out}")
