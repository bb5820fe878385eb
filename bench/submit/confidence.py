"""Confidences out of any score: a decreasing map to [0, 1], fitted on labelled images by isotonic regression.

For each image the pixels are counted, right and wrong apart, by the leading 16 bits of their scores; of all images
together scikit-learn's isotonic regression makes the share of right pixels a falling staircase. Between the middles of
its stairs the map is a line, so that what the score tells apart stays apart (Oron and Flournoy, Centered Isotonic
Regression, arXiv:1701.05964). Beyond the scores of those images it goes on falling towards 0, and rising towards 1: an
unknown object scores higher than anything there, and is still ranked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.api import CITYSCAPES, IGNORE, Dataset, Labels, Part, Scores, Submission
from bench.core import files
from bench.core.errors import BadSuite
from bench.core.file_names import file_name
from bench.counts.keys import key_value, order_key
from bench.results import store

ENDING = ".counts.npz"
FILE = "confidence.json"
BINS = 1 << 16
LEAST = 2**-8  # of the lowest stair: 256 of BRAVO's 65,536 levels are left for scores beyond it

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Confidence:
    """A map from scores to the probability that a pixel is right: knots [k], scores ascending, values descending."""

    scores: Floats
    values: Floats

    def __call__(self, score: Scores) -> Scores:
        """Return float32 of the same shape, in [0, 1], lower where the score is higher."""
        at = score.astype(np.float64)
        first, last = self.scores[0], self.scores[-1]
        share = (last - first) / (last - first + np.abs(at - np.clip(at, first, last)))  # 1 within the knots
        inside = np.interp(at, self.scores, self.values)
        made: Scores = np.where(at < first, 1 - (1 - inside) * share, inside * share).astype(np.float32)
        return made


def fitted(right: Ints, wrong: Ints) -> Confidence:
    """Return the map of counts [65536] of right and wrong pixels by the leading 16 bits of the keys of their scores.

    Raise ValueError where they do not tell right from wrong.
    """
    from sklearn.isotonic import IsotonicRegression

    total = right + wrong
    used = np.flatnonzero(total)
    if not right.any() or not wrong.any():
        raise ValueError(f"{int(right.sum())} pixels are right and {int(wrong.sum())} wrong, wanted some of both")
    weights = total[used].astype(np.float64)
    scores = key_value((used.astype(np.uint32) << np.uint32(16)) | np.uint32(1 << 15)).astype(np.float64)
    stairs = IsotonicRegression(increasing=False).fit_transform(scores, right[used] / weights, sample_weight=weights)
    number = np.cumsum(np.diff(stairs, prepend=stairs[0]) != 0)
    if number[-1] == 0:
        raise ValueError("pixels with higher scores are not wrong more often")
    middles = np.bincount(number, scores * weights) / np.bincount(number, weights)
    values = stairs[np.flatnonzero(np.diff(number, prepend=-1))]
    return Confidence(middles, LEAST + (1 - LEAST) * values)


@dataclass(frozen=True)
class Count:
    """Count right and wrong pixels of one labelled image by score, into a file of its own."""

    folder: Path
    reader: Dataset

    def __call__(self, sample: str, score: Scores | None, labels: Labels | None) -> None:
        truth = self.reader.load(self._places[sample]).labels
        if score is None or labels is None or truth is None:
            raise BadSuite(f"{sample}: a confidence is fitted to scores, class maps and labels, and one is not there")
        labelled = truth != IGNORE
        bins = (order_key(np.ascontiguousarray(score[labelled])) >> 16).astype(np.int64)
        right = labels[labelled] == truth[labelled]
        counts = [np.bincount(bins[side], minlength=BINS) for side in (right, ~right)]
        used = np.flatnonzero(counts[0] + counts[1])
        with files.writing(self.folder / f"{sample}{ENDING}") as file:
            np.savez(file, bins=used.astype(np.uint16), counts=np.array(counts)[:, used])

    @cached_property
    def _places(self) -> Mapping[str, int]:
        return {file_name(sample): place for place, sample in enumerate(self.reader.ids())}


@dataclass(frozen=True)
class Fit:
    """A fitted map, and what a method card says of it."""

    confidence: Confidence
    about: Mapping[str, Any]
    stamp: str  # 16 hex digits of what it was fitted with


def of(submission: Submission, reader: Dataset, label: str, processes: int = 1) -> Fit:
    """Fit the map of a submission's method on labelled images, or read it where this was done before.

    It stands beside the archive. Killed and called again it goes on with the images that are missing.
    """
    if "labels" not in reader.annotations or reader.class_names != CITYSCAPES:
        raise BadSuite(f"{label} has no labels of Cityscapes' 19 classes, which a confidence is fitted to")
    reader.check()
    part = Part(
        name=f"confidence on {label}",
        reader=reader,
        ending=ENDING,
        member=lambda sample: sample,  # nothing of it is packed
        sink=lambda folder: Count(folder, reader),
        made_with=files.digest(Path(__file__)),
    )
    stamp, path = submission.stamp(part), submission.out / FILE
    if not path.is_file() or store.read_json(path)["stamp"] != stamp:
        folder = submission.maps(part, processes)
        right, wrong = np.zeros((2, BINS), np.int64)
        for sample in reader.ids():
            with np.load(folder / f"{file_name(sample)}{ENDING}") as counted:
                right[counted["bins"]] += counted["counts"][0]
                wrong[counted["bins"]] += counted["counts"][1]
        try:
            made = fitted(right, wrong)
        except ValueError as error:
            raise BadSuite(f"{submission.method_label} on {label}: no confidence can be fitted: {error}") from None
        about = {
            "map": "isotonic",
            "fitted_on": label,
            "images": len(reader.ids()),
            "pixels": int((right + wrong).sum()),
        }
        knots = {"scores": made.scores.tolist(), "values": made.values.tolist()}
        store.write_json(path, {"schema": 1, "stamp": stamp, **about, **knots})
    stored = store.read_json(path)
    made = Confidence(np.array(stored["scores"]), np.array(stored["values"]))
    about = {key: stored[key] for key in ("map", "fitted_on", "images", "pixels")} | {"file": FILE}
    return Fit(made, about | {"knots": len(made.scores)}, hashlib.sha256(path.read_bytes()).hexdigest()[:16])
