"""The method card: what a board and a reader ask of a submission, once for machines and once for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from bench.api import Claim, Value
from bench.core import files, yaml_text
from bench.core.errors import UsageError
from bench.results import store
from bench.run import score_maps

UNSAID = "not stated"


@dataclass(frozen=True)
class Stated:
    """What only the user knows."""

    title: str
    paper: str = ""
    code: str = ""
    ood_data: bool | None = None  # trained with any data beyond Cityscapes, the network included
    retraining: bool | None = None  # whether the segmentation network was trained for this method


def claims(run: store.Run, choice: score_maps.Choice, protocols: Sequence[str]) -> list[Claim]:
    """The results of a run that stand for this method on this network; limited ones are left out."""
    wanted = {"model": choice.model.label} | ({"method": choice.method.label} if choice.method else {})
    return [
        Claim(
            protocol=result.labels.protocol,
            dataset=result.labels.dataset,
            dataset_entry=result.cell.dataset.spelled(),
            images=result.images,
            cell=result.key,
            figures=result.metrics,
            seconds=sum(result.seconds.get(stage, 0.0) for stage in ("predict", "score")),
        )
        for result in run.results
        if result.cell.protocol.name in protocols
        and not result.partial
        and not result.not_applicable
        and all(result.labels.on(axis) == label for axis, label in wanted.items())
    ]


def made(
    board: str,
    stated: Stated,
    choice: score_maps.Choice,
    claims: Sequence[Claim],
    seconds: float | None,
    more: Mapping[str, Any],
) -> dict[str, Any]:
    """The content of a card."""
    about = score_maps.described(choice)
    trained_on_outliers = about.pop("uses_outliers")
    retrained = about.pop("retrained")
    if trained_on_outliers and stated.ood_data is False:
        raise UsageError("--no-ood-data: the method was trained with outliers, which the board counts as such data")
    return {
        "schema": 1,
        "board": board,
        "title": stated.title,
        "paper": stated.paper or UNSAID,
        "code": stated.code or UNSAID,
        "requires_ood_data": True if trained_on_outliers else UNSAID if stated.ood_data is None else stated.ood_data,
        "requires_retraining": True if retrained else UNSAID if stated.retraining is None else stated.retraining,
        **about,
        "seconds_per_image": seconds if seconds is not None else UNSAID,
        "claims": [
            {
                "protocol": claim.protocol,
                "dataset": claim.dataset,
                "images": claim.images,
                "cell": claim.cell,
                "figures": {name: figure.value for name, figure in claim.figures.items() if isinstance(figure, Value)},
            }
            for claim in claims
        ],
        **more,
    }


def write(folder: Path, card: Mapping[str, Any]) -> None:
    """Write ``card.yaml`` and ``card.md``; the two say the same."""
    import jinja2

    with files.writing(folder / "card.yaml", "w") as file:
        file.write(yaml_text.dump(_plain(card), width=120, ascii_only=False))
    template = resources.files("bench.submit").joinpath("templates/card.md").read_text(encoding="utf-8")
    environment = jinja2.Environment(  # noqa: S701 - Markdown for a repository, not a page for a browser
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    with files.writing(folder / "card.md", "w") as file:
        file.write(environment.from_string(template).render(card=_plain(card)))


def _plain(value: Any) -> Any:
    """Mappings and sequences as YAML's safe writer takes them."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value
