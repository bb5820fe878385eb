"""Output of plug-ins held to their word, on every image: each check raises BadPlugin and names the plug-in."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch

from bench.api import Labels, Method, Prediction, Refinement, Row, Sample, Scored, Scores
from bench.core.errors import BadPlugin


def outputs(predictions: Iterable[Prediction], who: str) -> None:
    """Refuse outputs of a network that are not finite everywhere."""
    for name, output in itertools.chain.from_iterable(prediction.raw.items() for prediction in predictions):
        if not torch.isfinite(output).all():
            raise BadPlugin(f"{who}: {name} is not finite everywhere")


def class_map(merged: Prediction, sample: Sample) -> Labels | None:
    """The class map of an image, uint8 [H, W]; None of a network that gives none."""
    if not merged.has_labels:
        return None
    predicted: Labels = merged.labels.cpu().numpy()
    if predicted.shape != sample.size:
        raise BadPlugin(f"{sample.id}: the class map is {list(predicted.shape)}, the labels are {list(sample.size)}")
    return predicted


def as_scored(returned: Any, who: str) -> Scored:
    """What a method returned, its score a float32 [h, w] tensor at any resolution."""
    scored = returned if isinstance(returned, Scored) else Scored(returned)
    score: Any = scored.score
    if not isinstance(score, torch.Tensor) or score.dtype != torch.float32 or score.ndim != 2:
        shape = f"{score.dtype} {list(score.shape)}" if isinstance(score, torch.Tensor) else type(score).__name__
        raise BadPlugin(f"{who} returned {shape}, wanted torch.float32 [h, w]")
    return scored


def scores(score: Scores, size: tuple[int, int], who: str) -> None:
    """Refuse a score map of another size than the labels, or with infinities: the price is one pass over it."""
    if score.shape != size:
        raise BadPlugin(f"{who} returned a map of {list(score.shape)}, the labels are {list(size)}")
    if not np.isfinite(score).all():
        bad = int((~np.isfinite(score)).sum())
        raise BadPlugin(f"{who} returned {bad} scores that are not finite")


def confidence(method: Method, score: Scores, who: str) -> Scores:
    """The probability of being right that a method reads off its score, float32 [H, W] within 0 and 1."""
    probability = method.confidence(score)
    if probability is None or probability.shape != score.shape or not ((probability >= 0) & (probability <= 1)).all():
        raise BadPlugin(f"{who}: its confidence must be a probability for every pixel")
    return probability.astype(np.float32, copy=False)


def columns(row: Row, before: Mapping[str, Row], who: str) -> Row:
    """The columns that a refinement wrote down of one image; ``before`` are those of the images before."""
    lengths: dict[str, set[int]] = {}
    for name, values in row.items():
        table, dot, column = name.partition(".")
        if not (table and dot and column) or not isinstance(values, np.ndarray) or values.ndim != 1:
            raise BadPlugin(f"{who} wrote down {name!r}, wanted table.column with an array of one dimension")
        lengths.setdefault(table, set()).add(len(values))
    for table, counts in lengths.items():
        if len(counts) > 1:
            raise BadPlugin(f"{who} wrote down columns of {table!r} with {min(counts)} to {max(counts)} lines")
    first = next(iter(before.values()), row)
    if row.keys() != first.keys():
        raise BadPlugin(f"{who} wrote down other columns than before: {min(row.keys() ^ first.keys())!r}")
    return row


def refined(method: Refinement, before: Scores, truth: Labels | None, decided: Row, who: str) -> Scores:
    """The score map that a refinement makes of the one ``before`` it, float32 [H, W]."""
    score = method.apply(before, truth, decided)
    if not isinstance(score, np.ndarray) or score.dtype != np.float32:
        raise BadPlugin(f"{who} refined its map to {getattr(score, 'dtype', type(score).__name__)}, wanted float32")
    scores(score, before.shape, who)
    return score


def storable(score: Scores, dtype: str, who: str) -> Scores:
    """A score map in the type that it is kept in; an overflow of float16 is refused."""
    kept = score.astype(dtype)
    if not np.isfinite(kept).all():
        raise BadPlugin(f"{who}: scores beyond 65504 do not fit float16; rescale them")
    return kept
