"""``bench score``: parse, call, print. Heavy modules are imported late."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from bench.cli.output import echo
from bench.core.errors import UsageError
from bench.suite import arguments, limits


def score(
    protocol: Annotated[
        list[str],
        typer.Option(metavar="NAME[:k=v,...]", help="The definitions; see 'bench list protocols'. Repeatable, or a,b."),
    ],
    labels: Annotated[Path | None, typer.Option(help="Folder of PNG labels: 0, 1, 255, or train ids.")] = None,
    pair: Annotated[
        str, typer.Option(metavar="PATTERN", help="How its files are named, such as {id}_mask.png. Default: {id}.png.")
    ] = "",
    dataset: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME[:k=v,...]", help="Instead of --labels: frames of a data set. Repeatable, or a,b."),
    ] = None,
    scores: Annotated[
        Path | None, typer.Option(help="Folder or .zip of maps, in any layout of docs/score.md; higher is suspicious.")
    ] = None,
    predictions: Annotated[Path | None, typer.Option(help="The same of class maps, if a protocol needs them.")] = None,
    label_values: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|V=W,...",
            help="What labels hold: train_ids, label_ids, from_1, or such as 19=ignore or 255=anomaly.",
        ),
    ] = None,
    prediction_values: Annotated[
        str | None, typer.Option(metavar="NAME|V=W,...", help="What class maps hold: the same, or such as 24=0.")
    ] = None,
    invalid: Annotated[
        str,
        typer.Option(
            metavar="PATTERN",
            help="For bravo: masks that are not 0 where a pixel is invalid, such as masks/{id}_gt_invIds.png.",
        ),
    ] = "",
    resize: Annotated[bool, typer.Option("--resize", help="Upsample smaller maps bilinearly (loads torch).")] = False,
    allow_missing: Annotated[bool, typer.Option("--allow-missing", help="Evaluate the frames with a map.")] = False,
    definitions: Annotated[
        bool, typer.Option("--definitions", help="Add every definition of FPR95 and AP in use, side by side.")
    ] = False,
    format_: Annotated[Literal["table", "json"], typer.Option("--format", help="How to print it.")] = "table",
    seed: Annotated[int, typer.Option(min=0, max=limits.SEED, help="Of the bootstrap.")] = 0,
    bootstrap: Annotated[int, typer.Option(min=0, max=limits.RESAMPLES, help="Resamples; 0 for no interval.")] = 1000,
    budget: Annotated[int, typer.Option(min=2**16, help="Bytes of exact keys before counts are certified.")] = 2**30,
) -> None:
    """Evaluate score maps made elsewhere, matched to labelled frames by file name."""
    from bench.evaluate import evaluation
    from bench.evaluate import text as score_text
    from bench.evaluate.conventions import Said
    from bench.evaluate.frames import Folder, Frames, Published

    if (labels is None) == (not dataset):
        raise UsageError("say what the maps are held against: either --labels FOLDER or --dataset NAME")
    if label_values and labels is None:
        raise UsageError("--label-values is about --labels; of a data set say --dataset 'NAME:values=...'")
    if invalid and labels is None:
        raise UsageError("--invalid goes with --labels; a data set has masks of its own")
    conventions = Said.parsed(label_values, prediction_values)
    protocols = [evaluation.protocol_named(*named) for named in _several(protocol, "--protocol")]
    sets: list[Frames] = [Published.named(*named) for named in _several(dataset or [], "--dataset")]
    if labels is not None:
        sets = [Folder(labels, pair, conventions.labels, invalid)]
    options = evaluation.Options(
        seed=seed,
        resamples=bootstrap,
        budget=budget,
        resize=resize,
        allow_missing=allow_missing,
        definitions=definitions,
        said=conventions,
    )
    evaluated = evaluation.score(protocols, sets, scores, predictions, options)
    if format_ == "json":
        echo(json.dumps(score_text.record(evaluated), indent=1, allow_nan=False))
    else:
        echo("\n".join(score_text.lines(evaluated)))


def _several(texts: Sequence[str], where: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the names, with their parameters, of ``a,b:k=v,l=w`` said once or often.

    A part with '=' and without a name before it is a parameter of the last name.
    """
    named: list[str] = []
    for part in (part for text in texts for part in arguments.split(text)):
        name, equals, _ = part.partition("=")
        if named and equals and ":" not in name:
            named[-1] += f",{part}"
        else:
            named.append(part.strip())
    return [arguments.named(text, where) for text in named]
