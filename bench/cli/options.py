"""Arguments that several commands share, and how they are read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from bench.cli.output import echo
from bench.suite import arguments

if TYPE_CHECKING:
    from bench.suite.cells import Suite

# Titles of the groups in which help lists options.
CHOSEN = "What is computed"
SPEED = "How fast"
RAY = "On a Ray cluster"
KEPT = "What is kept"
PRINTED = "What is printed and passed on"


def _suites(incomplete: str) -> list[str]:
    """Return the shipped suites that begin so, for a shell that completes."""
    from bench.suite import expansion

    return [name for name in expansion.shipped() if name.startswith(incomplete)]


Suites = Annotated[
    list[str],
    typer.Argument(metavar="SUITE...", help="Suite files, or names of shipped suites.", autocompletion=_suites),
]
Only = Annotated[
    str | None,
    typer.Option(
        metavar="AXIS=GLOB,...",
        help="Keep these cells; axes: protocol, model, dataset, method, cell.",
        rich_help_panel=CHOSEN,
    ),
]
Methods = Annotated[
    list[str] | None,
    typer.Option(
        "--method",
        metavar="NAME[:k=v,...]",
        help="Replace the suite's methods. Repeatable.",
        rich_help_panel=CHOSEN,
    ),
]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model", metavar="NAME[:k=v,...]", help="Replace the suite's models. Repeatable.", rich_help_panel=CHOSEN
    ),
]
GallerySize = Annotated[
    Literal["small", "medium", "large"],
    typer.Option(
        "--gallery-size",
        help="Of a page's pictures: at most 320, 640 or 1024 pixels, and 3, 6 or all score maps of an image.",
        rich_help_panel=KEPT,
    ),
]
Log = Annotated[
    list[str] | None,
    typer.Option(
        "--log",
        metavar="NAME[:k=v,...]",
        help="Give the figures to wandb, mlflow, tensorboard or trackio too. Repeatable.",
        rich_help_panel=PRINTED,
    ),
]


def load_suite(
    name: str,
    only: str | None,
    methods: Sequence[str] | None,
    models: Sequence[str] | None,
    before: Callable[[Suite], None] | None = None,
) -> Suite:
    """Return a suite by its file or its name, with the methods, models and cells that the options ask for.

    Cells whose optional data is absent are left out, which is said; ``before`` sees them all.
    """
    from bench.run.progress import waiting

    with waiting(f"reading {name}"):
        from bench.suite import placing

        loaded = _loaded(name, methods, models)
        whole = loaded.only(arguments.patterns(only)) if only else loaded
    if before:
        before(whole)
    suite = placing.present(whole)
    if suite.claims:
        from bench.report import claims

        for rule in suite.claims:
            claims.chosen(rule.model_dump())
    for remark in (*loaded.remarks, *suite.left_out):
        echo(f"bench: {remark}", err=True)
    return suite


def _loaded(name: str, methods: Sequence[str] | None, models: Sequence[str] | None) -> Suite:
    """Return a suite with the methods and models of the options; what is imported for it takes seconds."""
    from bench.suite import expansion as suites

    replacing: dict[str, list[Any]] = {}
    for axis, texts in (("methods", methods), ("models", models)):
        if texts:
            named = [arguments.named(text, f"--{axis.removesuffix('s')}") for text in texts]
            replacing[axis] = [{entry: params} if params else entry for entry, params in named]
    return suites.load(suites.locate(name), replacing)


def parse_entry(text: str, where: str) -> tuple[str, dict[str, Any]]:
    """Return name and parameters of ``NAME[:k=v,...]``, or of one name with its parameters as YAML has it."""
    return arguments.entry(text, where) if arguments.is_entry(text) else arguments.named(text, where)
