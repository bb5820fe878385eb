"""Images that show what the figures mean: which were chosen, why, and the pictures that were made of them.

    RUN/gallery/MODEL/DATASET/index.json      what is shown, and what it was made with
    RUN/gallery/MODEL/DATASET/SAMPLE/*.webp   the photograph
    RUN/gallery/MODEL/DATASET/SAMPLE/*.png    truth, class map, and the score map of each method

Which images are worst is known when all cells of a network and a data set are finished, so the pictures are made then.
A gallery names the cells it was made from, each with a digest of what that result stands on: once a result was made
with other code, weights or images, its picture is not shown, and the next run draws it again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bench.api import Metric, Value
from bench.core import versions
from bench.core.errors import MissingData
from bench.results import pictures, store
from bench.results.pictures import thumbnail as thumbnail
from bench.results.store import Result, Run

SCHEMA = 1  # of index.json
INDEX = "index.json"
HEAVIEST = 2**24  # bytes of it
FURTHER = 2  # samples that protocols beside the first may add
MOST = 64  # samples that a gallery may have
BEFORE_THE_MIDDLE = ("worst", "best", "median")  # in which order places are given; what is left goes to the next worst
NUMBERS = ("", "", "second ", "third ", "fourth ", "fifth ", "sixth ", "seventh ", "eighth ")

Key = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
Folder = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,199}$")]
Photograph = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,199}\.webp$")]
Drawing = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,199}\.png$")]
Text = Annotated[str, Field(max_length=2000)]
Kind = Annotated[str, Field(pattern=r"^(anomaly|classes|errors)$")]  # of truth
Side = Annotated[int, Field(ge=1, le=2**16)]
Figures = Mapping[str, Mapping[str, Mapping[str, float]]]  # method (empty: the class map alone), protocol, metric


@dataclass(frozen=True)
class Pick:
    """A sample worth looking at."""

    sample: str
    reasons: tuple[str, ...]  # such as "worst AP of msp, 12.3 %"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class _Entry(_Part):
    """A name of a legend."""

    name: Text
    colour: Annotated[str, Field(pattern=r"^#[0-9a-f]{6}$")]


class _Map(_Part):
    file: Drawing
    cell: Key  # whose counts are the scale of the map


class _Shot(_Part):
    sample: Text
    reasons: Annotated[list[Text], Field(max_length=64)]
    figures: dict[Key, dict[str, float]]  # by cell and metric
    folder: Folder
    size: tuple[Side, Side]
    drawn: tuple[Side, Side]
    image: Photograph
    truths: dict[Kind, Drawing]
    prediction: Drawing | None
    maps: dict[str, _Map]


class _Request(_Part):
    """The content that a gallery depends on, beside the drawing: equal requests give equal galleries."""

    drawing: int
    count: int
    cells: dict[Key, str]  # results by key, with the digest of what they stand on
    samples: Annotated[list[tuple[str, list[str]]], Field(max_length=MOST)]  # chosen on another data set; else none


class _Scale(_Part):
    decades: float
    levels: int
    meaning: Text
    ticks: Annotated[list[tuple[int, Text]], Field(max_length=16)]


class _Index(_Part):
    """index.json."""

    schema_: Annotated[int, Field(alias="schema")]
    model: Text
    dataset: Text
    note: Text
    request: _Request
    scale: _Scale
    legends: dict[Kind, Annotated[list[_Entry], Field(max_length=300)]]
    left_out: dict[str, Text]
    shots: Annotated[list[_Shot], Field(max_length=MOST)]


@dataclass(frozen=True)
class Scale:
    """The meaning of the colours of all score maps; see ``bench.results.pictures``."""

    meaning: str
    ticks: tuple[tuple[int, str], ...]  # level and share of the pixels of the data set, as text
    colours: tuple[str, ...]  # of the levels from 0 on, as #rrggbb


@dataclass(frozen=True)
class Shot:
    """One sample. All pictures of it have the same size and show the same pixels."""

    sample: str
    reasons: tuple[str, ...]
    figures: Figures  # of this image alone
    size: tuple[int, int]  # (H, W) of the labels
    drawn: tuple[int, int]  # (h, w) of the pictures
    image: Path
    truths: Mapping[str, Path]  # by "anomaly", "classes", "errors" (of the class map), as far as there are
    prediction: Path | None  # the class map of the network
    maps: Mapping[str, Path]  # by label of the method, in the order of the run

    @property
    def reason(self) -> str:
        return "; ".join(self.reasons)

    @property
    def truth(self) -> Path | None:
        """The anomalies, or the classes where the data set knows no anomalies."""
        return self.truths.get("anomaly") or self.truths.get("classes")


@dataclass(frozen=True)
class Gallery:
    """The samples of one network and one data set that are shown."""

    model: str  # labels
    dataset: str
    note: str  # why this data set, where it is one of a grid; else empty
    shots: tuple[Shot, ...]
    legends: Mapping[str, tuple[tuple[str, str], ...]]  # name and colour, by the kind of truth; "classes" also serves
    # the class map. Pixels without a truth are black and in no legend.
    left_out: Mapping[str, str]  # methods without a map, and why
    scale: Scale


def read(run: Run) -> list[Gallery]:
    """Return every gallery of a run that its results still vouch for, in the order of the results.

    Raise MissingData for a file that is not what this program writes. Paths lead to PNG and WebP files inside the run,
    at most 1024 x 1024 pixels each. A merged run has the galleries of all.
    """
    galleries: dict[tuple[int, str], Gallery] = {}
    shelf = _Shelf(run)
    roots = dict.fromkeys(run.home(result).parent.parent for result in run.results)
    for path in (path for root in roots for path in sorted((root / "gallery").glob(f"*/*/{INDEX}"))):
        index = _parsed(path)
        if results := shelf.vouching(path.parent, index):
            # Runs that were merged may hold the very same gallery.
            position = min(shelf.places[result.key] for result in results.values())
            galleries.setdefault((position, index.request.model_dump_json()), _gallery(path.parent, index, results))
    return [galleries[key] for key in sorted(galleries, key=lambda key: key[0])]


def stands(run: Run, folder: Path) -> bool:
    """Return True if a gallery is in that folder that ``read`` would show; one that cannot be read is none."""
    try:
        index = _parsed(folder / INDEX)
        results = _Shelf(run).vouching(folder, index)
        return bool(results) and bool(_gallery(folder, index, results))
    except MissingData:
        return False


class _Shelf:
    """The results of a run by the file that they are in, and by key: those of a merged run lie in several folders."""

    def __init__(self, run: Run) -> None:
        self.places = {result.key: position for position, result in enumerate(run.results)}
        self._by_file = {run.home(result): result for result in run.results}
        self._by_key = {result.key: result for result in run.results}

    def vouching(self, folder: Path, index: _Index) -> dict[str, Result]:
        """The results by key that a gallery was made from and that are still the same; empty if one is not.

        A cell that is no longer asked for does no harm; one that was computed anew may have changed the choice.
        """
        results = {}
        for key, stood in index.request.cells.items():
            result = self._by_file.get(store.result_path(_root(folder), key)) or self._by_key.get(key)
            if result and stands_on(result) != stood:
                return {}
            if result:
                results[key] = result
        return results if index.request.drawing == versions.NUMBERS["gallery"] else {}


def _root(folder: Path) -> Path:
    """The run that a gallery belongs to."""
    return folder.parents[2]


def stands_on(result: Result) -> str:
    """16 hex digits of what the counts and figures of a result were made from."""
    return digest([sorted(result.depends.items()), result.images])


def digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def _parsed(path: Path) -> _Index:
    try:
        if not path.resolve().is_relative_to(_root(path.parent).resolve()):
            raise ValueError("it is a link that leads out of the run")
        if path.exists() and not path.is_file():
            raise ValueError("it is no regular file")
        if path.stat().st_size > HEAVIEST:
            raise ValueError(f"it has more than {HEAVIEST} bytes")
        index = _Index.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else None
        problem = f"{'.'.join(map(str, first['loc']))}: {first['msg']}" if first else error
        raise MissingData(f"{path} is not a gallery of this program: {problem}; delete {path.parent}") from None
    if index.schema_ != SCHEMA:
        raise MissingData(f"{path} has schema {index.schema_}, this version reads {SCHEMA}; update ood-seg-bench")
    return index


def _gallery(folder: Path, index: _Index, results: Mapping[str, Result]) -> Gallery:
    """Return the content of the index, under the labels of the results."""
    root = _root(folder).resolve()
    shots = []
    for shot in index.shots:
        home = folder / shot.folder
        maps = {
            results[drawn.cell].labels.method or method: drawn.file
            for method, drawn in shot.maps.items()
            if drawn.cell in results
        }
        shots.append(
            Shot(
                shot.sample,
                tuple(shot.reasons),
                _by_method(results, shot.figures),
                shot.size,
                shot.drawn,
                _picture(root, home / shot.image, shot),
                {kind: _picture(root, home / name, shot) for kind, name in shot.truths.items()},
                _picture(root, home / shot.prediction, shot) if shot.prediction else None,
                {method: _picture(root, home / name, shot) for method, name in maps.items()},
            )
        )
    legends = {kind: tuple((entry.name, entry.colour) for entry in entries) for kind, entries in index.legends.items()}
    colours = tuple(map(pictures.hexadecimal, pictures.heat()))
    scale = Scale(index.scale.meaning, tuple(index.scale.ticks), colours)
    labels = next(iter(results.values())).labels
    return Gallery(labels.model, labels.dataset, index.note, tuple(shots), legends, dict(index.left_out), scale)


def _by_method(results: Mapping[str, Result], by_cell: Mapping[str, Mapping[str, float]]) -> Figures:
    """Figures by method, protocol and metric."""
    by_method: dict[str, dict[str, Mapping[str, float]]] = {}
    for key, of_cell in by_cell.items():
        if key in results:
            labels = results[key].labels
            by_method.setdefault(labels.method or "", {})[labels.protocol] = of_cell
    return by_method


def _picture(root: Path, path: Path, shot: _Shot) -> Path:
    """Hold a file to what the index says of it, and keep it inside the run."""
    if not path.resolve().is_relative_to(root):
        raise MissingData(f"{path} leads out of the run; delete {path.parent}")
    if path.exists() and not path.is_file():  # a pipe would keep its reader waiting
        raise MissingData(f"{path} is no file; delete {path.parent}")
    return pictures.checked(path, shot.drawn)


def scale() -> dict[str, Any]:
    """Return the meaning of the colours, for index.json."""
    shares = ("100 %", "10 %", "1 %", "0.1 % or less")
    return {
        "decades": float(pictures.DECADES),
        "levels": pictures.LEVELS,
        "meaning": "share of the counted pixels of the data set that the method scores at least as high",
        "ticks": [list(tick) for tick in zip(pictures.TICKS, shares, strict=True)],
    }


def figures(run: Run, results: Sequence[Result], samples: Sequence[str]) -> dict[str, dict[str, dict[str, float]]]:
    """Figures of single images by sample, cell and metric; a metric without a value is absent."""
    by_sample: dict[str, dict[str, dict[str, float]]] = {sample: {} for sample in samples}
    for result in results:
        ids, by_metric = _by_image(run, result)
        places = {sample: position for position, sample in enumerate(ids)}
        for sample in samples:
            if sample in places:
                of_image = {name: float(values[places[sample]]) for name, values in by_metric.items()}
                by_sample[sample][result.key] = {name: value for name, value in of_image.items() if np.isfinite(value)}
    return by_sample


def _by_image(run: Run, result: Result) -> tuple[list[str], dict[str, Any]]:
    arrays = run.arrays(result, "images.", "ids")
    ids = [str(sample) for sample in arrays.pop("ids", np.array([], str))]
    arrays.pop("images.pixels", None)
    return ids, {name.removeprefix("images."): values for name, values in arrays.items()}


def leading(run: Run, results: Sequence[Result]) -> tuple[Result, str] | None:
    """Return the result that ranks first among those of one protocol and data set, and the metric that ranks.

    Full results go before partial ones, and the first in the order of the run before its equals. None where no result
    has a value, or none of its metrics has figures of single images.
    """
    able = [result for result in results if not result.not_applicable]
    full = [result for result in able if not result.partial] or able
    for name, metric in (full[0].definitions if full else {}).items():
        if metric.better == "neither":
            continue
        valued = [(result, figure) for result in full if isinstance(figure := result.metrics.get(name), Value)]
        if valued:
            sign = 1 if metric.better == "higher" else -1
            best = max(valued, key=lambda entry: sign * entry[1].value)[0]
            values = _by_image(run, best)[1].get(name)
            if values is not None and np.isfinite(values).any():
                return best, name
    return None


def choose(run: Run, results: Sequence[Result], count: int) -> list[Pick]:
    """Return samples of one network and data set: by the figure of single images of the best ranked method.

    Of the first protocol that scores pixels the worst, the best, the median and then the next worst, ``count`` in all;
    of each further protocol the worst, ``FURTHER`` more at most. Worst first. Where no image has a figure of its own,
    the first images.
    """
    protocols: dict[str, list[Result]] = {}
    for result in sorted(results, key=lambda result: not result.labels.method):
        if not result.not_applicable and result.about["protocol"].get("ranked", True):
            protocols.setdefault(result.labels.protocol, []).append(result)
    picked: dict[str, list[str]] = {}
    for members in protocols.values():
        lead = leading(run, members)
        if lead is None:
            continue
        places = _places(run, *lead, 1 if picked else count, named=len(protocols) > 1)
        for sample, reason in places:
            if sample in picked or len(picked) < count + FURTHER:
                picked.setdefault(sample, []).append(reason)
    if not picked and protocols:
        ids, _ = _by_image(run, next(iter(protocols.values()))[0])
        return [Pick(sample, ("no image has a figure of its own; the first by name",)) for sample in ids[:count]]
    return [Pick(sample, tuple(reasons)) for sample, reasons in picked.items()]


def _places(run: Run, result: Result, name: str, count: int, *, named: bool) -> list[tuple[str, str]]:
    """Samples with the reason for each, worst first."""
    ids, by_metric = _by_image(run, result)
    metric, values = result.definitions[name], by_metric[name]
    sign = 1 if metric.better == "higher" else -1
    order = [int(index) for index in np.lexsort((np.arange(len(ids)), sign * values)) if np.isfinite(values[index])]
    ranks = {"worst": 0, "best": len(order) - 1, "median": (len(order) - 1) // 2}
    chosen: dict[int, str] = {}
    for word in BEFORE_THE_MIDDLE[:count]:
        chosen.setdefault(ranks[word], word)
    for rank in range(1, len(order)):
        if len(chosen) < count:
            chosen.setdefault(rank, f"{NUMBERS[rank + 1]}worst" if rank + 1 < len(NUMBERS) else f"worst but {rank}")
    who = (result.labels.method or "the class map") + (f" ({result.labels.protocol})" if named else "")
    return [
        (ids[order[rank]], f"{word} {metric.title} of {who}, {shown(metric, values[order[rank]])}")
        for rank, word in sorted(chosen.items())
    ]


def shown(metric: Metric, value: float) -> str:
    """A figure in a sentence."""
    return f"{100 * value:.1f} %" if metric.unit == "rate" else f"{value:.4g}"


def request(results: Sequence[Result], count: int, samples: Sequence[Pick]) -> dict[str, Any]:
    """Return all that a gallery of these results depends on, for index.json."""
    cells = {result.key: stands_on(result) for result in results}
    chosen = [[pick.sample, list(pick.reasons)] for pick in samples]
    return {"drawing": versions.NUMBERS["gallery"], "count": count, "cells": cells, "samples": chosen}


def is_there(run: Run, folder: Path, asked_for: Mapping[str, Any]) -> bool:
    """Return True if a whole gallery of that request is there."""
    if not stands(run, folder):
        return False
    asked: Any = json.loads(_parsed(folder / INDEX).request.model_dump_json())
    return bool(asked == asked_for)


def write(folder: Path, index: Mapping[str, Any]) -> None:
    """Write index.json last: with it the gallery is there."""
    store.write_json(folder / INDEX, {"schema": SCHEMA} | dict(index))
