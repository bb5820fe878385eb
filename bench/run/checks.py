"""Output of plug-ins held to their word, on every image: each check raises BadPlugin and names the plug-in."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.api import Labels, Method, Prediction, Refinement, Row, Sample, Scored, Scores
from bench.core.errors import BadPlugin
from bench.ops import transfer
from bench.run.blame import Blame

SPATIAL = frozenset({"logits", "members", "class_scores", "features", "mask_features", "query_masks", "score"})
"""Outputs [.., h, w] over a view."""

SPARSE = 32  # every so-manieth row and column decides first
ROUNDED = 0.01  # by which a softmax that was stored in 16 bits may miss 1


class Doubts:
    """Numbers on the device that must be 0: looked at together, after the images of a shard, to wait for them once."""

    def __init__(self) -> None:
        self._numbers: list[Tensor] = []
        self._failing: list[tuple[Collection[str], str, Callable[[int], str]]] = []

    def add(self, number: Tensor, message: Callable[[int], str], keys: Collection[str] = (), who: str = "") -> None:
        """Doubt a number: where it is not 0, ``keys`` fail, or all without keys, with the ``message`` that it has.

        ``who`` is blamed.
        """
        self._numbers.append(number.to(torch.int64).reshape(()))
        self._failing.append((keys, who, message))

    def settle(self, blame: Blame) -> None:
        """Fail the keys of every number that is not 0. Raise BadPlugin where it is everyone's."""
        if not self._numbers:
            return
        numbers, failing = transfer.to_host(torch.stack(self._numbers)), self._failing
        self._numbers, self._failing = [], []
        wrong = [(*each, int(number)) for number, each in zip(numbers, failing, strict=True) if number]
        for keys, _, message, number in wrong:
            if not keys:
                raise BadPlugin(message(number))
        for keys, who, message, number in wrong:
            with blame.of(keys, who):
                raise BadPlugin(message(number))


def outputs(predictions: Iterable[Prediction], who: str, doubts: Doubts | None = None) -> None:
    """Refuse outputs of a network that are not finite everywhere, or do not lie over their view.

    With ``doubts`` what takes a look at the values is left to them.
    """
    for prediction in predictions:
        for name, output in prediction.raw.items():
            if doubts is not None:
                doubts.add((~torch.isfinite(output)).any(), _always(f"{who}: {name} is not finite everywhere"))
            elif not torch.isfinite(output).all():
                raise BadPlugin(f"{who}: {name} is not finite everywhere")
            grid = tuple(output.shape[-2:])
            square = name == "class_scores" and len({*grid}) == 1  # transformers weighs Mask2Former's masks in a square
            if name in SPATIAL and not square and not _leans_as(grid, prediction.size):
                raise BadPlugin(
                    f"{who}: {name} is {list(output.shape)}, which has not the proportions of its view,"
                    f" {list(prediction.size)}; wanted [.., h, w]"
                )
            message = (
                f"{who}: logits lie in [0, 1] and sum to 1 at every pixel: they are probabilities. Give what stands"
                " before the softmax; without it, their logarithm: msp and entropy are the same of it, maxlogit and"
                " energy are not"
            )
            if name == "logits" and len(output) > 1:
                if doubts is not None:
                    doubts.add(_like_probabilities(output), _always(message))
                elif _like_probabilities(output[:, ::SPARSE, ::SPARSE]) and _like_probabilities(output):
                    raise BadPlugin(message)
        if prediction.own_labels is not None:
            _labels(prediction.own_labels, prediction.size, f"{who}: the class map of the network")


def _always(text: str) -> Callable[[int], str]:
    return lambda _: text


def _like_probabilities(logits: Tensor) -> Tensor:
    """Return whether a [C, h, w] output is a softmax already, bool []."""
    values = logits.float()
    return (values >= 0).all() & ((values.sum(0) - 1).abs() < ROUNDED).all()


def class_map(merged: Prediction, sample: Sample) -> Tensor | None:
    """The class map of an image, uint8 [H, W]; None of a network that gives none."""
    if not merged.has_labels:
        return None
    predicted = merged.labels
    if predicted.shape != sample.size:
        raise BadPlugin(f"{sample.id}: the class map is {list(predicted.shape)}, the labels are {list(sample.size)}")
    return predicted


def as_scored(returned: Any, prediction: Prediction, who: str) -> Scored:
    """Return a method's answer to a prediction, its score a float32 [h, w] tensor over the view, at any resolution."""
    scored = returned if isinstance(returned, Scored) else Scored(returned)
    score: Any = scored.score
    if not isinstance(score, torch.Tensor) or score.dtype != torch.float32 or score.ndim != 2:
        shape = f"{score.dtype} {list(score.shape)}" if isinstance(score, torch.Tensor) else type(score).__name__
        raise BadPlugin(f"{who} returned {shape}, wanted torch.float32 [h, w]{_wide(score)}")
    _over_view(tuple(score.shape), prediction, f"{who} returned a score of {list(score.shape)}")
    if scored.labels is not None:
        _labels(scored.labels, prediction.size, f"{who}: its class map")
    if scored.logits is not None:
        volume = list(scored.logits.shape)
        if len(volume) != 3 or volume[0] != prediction.classes:
            raise BadPlugin(f"{who}: its logits are {volume}, wanted [C, h, w] of {prediction.classes} classes")
        _over_view((volume[1], volume[2]), prediction, f"{who} returned logits of {volume}")
    return scored


def _over_view(grid: tuple[int, ...], prediction: Prediction, what: str) -> None:
    """Refuse a grid that neither is one of the network's outputs nor has the proportions of the view."""
    height, width = prediction.size
    if grid == (height, width) or grid in prediction.grids:
        return
    sides = [max(side) for side in zip((height, width), *prediction.grids, strict=True)]
    if grid[0] > sides[0] or grid[1] > sides[1] or not _is_scaled(grid, (height, width)):
        raise BadPlugin(f"{what}, its view is {[height, width]}; wanted [h, w] of the same proportions, no larger")


def _is_scaled(grid: tuple[int, ...], size: tuple[int, int]) -> bool:
    """True if one scale, rounded down, up or to the nearest for both sides alike, makes the grid out of the size."""
    for low, high in ((0.0, 1.0), (-1.0, 0.0), (-0.5, 0.5)):
        bounds = [((side + low) / whole, (side + high) / whole) for side, whole in zip(grid, size, strict=True)]
        if max(first for first, _ in bounds) < min(last for _, last in bounds):
            return min(grid) > 0
    return False


def _leans_as(grid: tuple[int, ...], size: tuple[int, int]) -> bool:
    """True if the sides have about the ratio of those of the size: padding and strides of networks move it a little."""
    if len(grid) != 2 or min(grid) < 1:
        return False
    ratios = [(side - 1) / whole for side, whole in zip(grid, size, strict=True)]
    above = [(side + 1) / whole for side, whole in zip(grid, size, strict=True)]
    return max(ratios) <= 1.25 * min(above)


def _labels(labels: Any, size: tuple[int, int], what: str) -> None:
    """Refuse a class map that is not uint8 [H, W] of that size."""
    if not isinstance(labels, torch.Tensor) or labels.dtype != torch.uint8 or tuple(labels.shape) != size:
        shape = f"{labels.dtype} {list(labels.shape)}" if isinstance(labels, torch.Tensor) else type(labels).__name__
        raise BadPlugin(f"{what} is {shape}, wanted torch.uint8 {list(size)}")


def _wide(score: Any) -> str:
    if getattr(score, "dtype", None) != torch.float64:
        return ""
    return ": call .float(), after a logarithm or another change of scale where float32 would make scores equal"


def scores(score: Scores, who: str) -> None:
    """Refuse a score map with infinities: the price is one pass over it."""
    if not np.isfinite(score).all():
        raise BadPlugin(_not_finite(int((~np.isfinite(score)).sum()), who))


def scores_on_device(score: Tensor, keys: Collection[str], who: str, doubts: Doubts) -> None:
    """The same of a map on the device, later: ``keys`` fail."""
    doubts.add((~torch.isfinite(score)).sum(), lambda bad: _not_finite(bad, who), keys, who)


def _not_finite(bad: int, who: str) -> str:
    return f"{who} returned {bad} scores that are not finite"


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
    if score.shape != before.shape:
        raise BadPlugin(f"{who} returned a map of {list(score.shape)}, the labels are {list(before.shape)}")
    scores(score, who)
    return score


def storable(score: Scores, dtype: str, who: str) -> Scores:
    """A score map in the type that it is kept in; an overflow of float16 is refused, and what float32 would merge."""
    kept = score.astype(dtype)
    if dtype == "float32" and not np.array_equal(kept, score):
        raise BadPlugin(f"{who}: {score.dtype} scores that float32 does not hold, in which maps are kept; rescale them")
    if not np.isfinite(kept).all():
        raise BadPlugin(f"{who}: scores beyond 65504 do not fit float16; rescale them")
    return kept
