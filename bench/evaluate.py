"""Score maps made elsewhere, against labels in a folder. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from bench import files, registry
from bench.api import IGNORE, Labels, Protocol, Row, Sample, Scores, Undefined, Value
from bench.errors import BadScores, MissingData
from bench.intervals import intervals
from bench.metrics.tally import Tally, key_pixels

SUFFIXES = (".npy", ".npz")


@dataclass(frozen=True)
class Evaluation:
    """What ``bench score`` prints."""

    protocol: str
    version: int
    images: int
    figures: Mapping[str, Value | Undefined]
    pixels: Mapping[str, int]
    notes: tuple[str, ...] = ()
    ids: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Pair:
    """The files of one image."""

    id: str
    score: Path | None
    labels: Path
    prediction: Path | None


def evaluate(
    protocol: Protocol,
    scores: Path | None,
    labels: Path,
    predictions: Path | None,
    *,
    seed: int,
    resamples: int,
    budget: int,
) -> Evaluation:
    """Pair by stem, count image by image, read off the figures. Memory holds one image and the tally."""
    if protocol.scored and scores is None:
        raise BadScores(f"protocol {protocol.name} ranks scores; say where they are with --scores")
    if protocol.needs_prediction and predictions is None:
        raise BadScores(f"protocol {protocol.name} needs class maps; say where they are with --predictions")
    pairs = _pairs(scores if protocol.scored else None, labels, predictions if protocol.needs_prediction else None)
    tally = Tally(len(protocol.category_names), budget) if protocol.scored else None
    rows: dict[str, Row] = {}
    infinite: list[str] = []
    for pair in pairs:
        sample, predicted = _sample(pair, protocol), _prediction(pair)
        score = read_map(pair.score, sample.size) if pair.score else None
        row: dict[str, Any] = dict(protocol.row(sample, predicted, score))
        if tally is not None and score is not None:
            if np.isinf(score).any():
                infinite.append(pair.id)
            keyed = key_pixels(score, protocol.categories(sample, predicted), len(protocol.category_names))
            tally.add(keyed)
            row["bins"], row["bin_counts"] = keyed.bins()
        rows[pair.id] = row
    if protocol.second_phase and tally is not None:
        found = protocol.parameters(tally, rows)
        if not isinstance(found, Undefined):
            rows = {pair.id: {**rows[pair.id], **_second(pair, protocol, found)} for pair in pairs}
    figures, _ = intervals(protocol, protocol.read(tally, rows), rows, seed, resamples)
    columns = tally.counts() if tally is not None else None
    pixels = {name: columns.column([i]).total for i, name in enumerate(protocol.category_names)} if columns else {}
    notes = tuple(_notes(infinite))
    return Evaluation(protocol.name, protocol.version, len(rows), figures, pixels, notes, tuple(rows))


def _notes(infinite: list[str]) -> Iterable[str]:
    if infinite:
        yield (
            f"{len(infinite)} score maps hold infinities (first: {infinite[0]}); they are ranked at the ends, "
            "equal ones as ties. 'bench run' and submissions refuse them"
        )


def _second(pair: Pair, protocol: Protocol, parameters: Mapping[str, float]) -> Row:
    sample = _sample(pair, protocol)
    return protocol.frame(read_map(cast(Path, pair.score), sample.size), sample, _prediction(pair), parameters)


def _pairs(scores: Path | None, labels: Path, predictions: Path | None) -> list[Pair]:
    """Files of the same stem, sorted; every file without a partner is named."""
    wanted = _by_stem(labels, (".png",), "labels")
    folders = {"score map": (scores, SUFFIXES), "prediction": (predictions, (*SUFFIXES, ".png"))}
    found = {what: _by_stem(folder, suffixes, what) for what, (folder, suffixes) in folders.items() if folder}
    for what, entries in found.items():
        lone = [f"{path.name} has no labels in {labels}" for stem, path in entries.items() if stem not in wanted]
        lone += [
            f"{path.name} has no {what} in {folders[what][0]}" for stem, path in wanted.items() if stem not in entries
        ]
        if lone:
            more = f"; and {len(lone) - 3} more" if len(lone) > 3 else ""
            raise BadScores(f"{'; '.join(lone[:3])}{more}")
    return [
        Pair(stem, found.get("score map", {}).get(stem), path, found.get("prediction", {}).get(stem))
        for stem, path in wanted.items()
    ]


def _by_stem(folder: Path, suffixes: tuple[str, ...], what: str) -> dict[str, Path]:
    if not folder.is_dir():
        raise MissingData(f"{folder} is not a folder; wanted one {what} per image in it")
    # A spool keeps its maps in scores/ and predictions/: both the spool and its folder of maps are understood.
    inner = {"score map": "scores", "prediction": "predictions"}.get(what)
    if inner and (folder / inner).is_dir():
        folder = folder / inner
    entries: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in suffixes:
            if path.stem in entries:
                raise BadScores(
                    f"{path.name} and {entries[path.stem].name} in {folder} are both the {what} of {path.stem}"
                )
            entries[path.stem] = path
    if not entries:
        raise MissingData(f"{folder} holds no {what}; wanted files ending in {' or '.join(suffixes)}")
    return entries


def _sample(pair: Pair, protocol: Protocol) -> Sample:
    stored = files.read_gray(pair.labels)
    if "anomaly" in protocol.needs:
        illegal = np.setdiff1d(stored, np.array([0, 1, IGNORE], np.uint8))
        if illegal.size:
            raise MissingData(f"{pair.labels} holds the value {illegal[0]}, wanted 0 usual, 1 anomaly, 255 ignored")
        return Sample(pair.id, stored.shape, _no_image, anomaly=stored)
    return Sample(pair.id, stored.shape, _no_image, labels=stored)


def _no_image() -> NDArray[np.uint8]:
    raise AssertionError("score maps are evaluated without images")


def _prediction(pair: Pair) -> Labels | None:
    if pair.prediction is None:
        return None
    path = pair.prediction
    stored = files.read_gray(path) if path.suffix.lower() == ".png" else _array(path)
    size = files.read_gray(pair.labels).shape
    if stored.shape != size or stored.dtype.kind not in "ui":
        raise BadScores(f"{path} is {stored.dtype} {list(stored.shape)}, wanted whole numbers {list(size)}")
    if stored.size and (stored.min() < 0 or stored.max() > IGNORE):
        raise BadScores(f"{path} holds classes beyond 0..255")
    return stored.astype(np.uint8)


def read_map(path: Path, size: tuple[int, int]) -> Scores:
    """float32 [H, W]; NaN and any other size are refused by name, infinities are not."""
    stored = _array(path)
    if stored.dtype.kind not in "fui":
        raise BadScores(f"{path} holds {stored.dtype}, wanted numbers")
    if stored.shape != size:
        raise BadScores(f"{path} is {list(stored.shape)}, its labels are {list(size)}; write maps at label size")
    if stored.dtype.kind == "f" and np.isnan(stored).any():
        raise BadScores(f"{path} holds {int(np.isnan(stored).sum())} NaN; a score must order pixels")
    with np.errstate(over="ignore"):  # a float64 beyond float32 ranks at the end, with the infinities
        return stored.astype(np.float32)


def _array(path: Path) -> NDArray[Any]:
    try:
        opened = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise BadScores(f"{path} is not a NumPy file of plain numbers: {error}") from None
    if isinstance(opened, np.ndarray):
        return opened
    with opened:
        if len(opened.files) != 1:
            raise BadScores(f"{path} holds {len(opened.files)} arrays, wanted one")
        array: NDArray[Any] = opened[opened.files[0]]
        return array


def protocol_named(name: str, params: Mapping[str, Any]) -> Protocol:
    built: Protocol = registry.build("protocol", name, params, where="--protocol")
    return built
