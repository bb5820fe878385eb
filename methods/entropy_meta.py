"""Entropy whose segments a linear classifier has judged: what it holds for false alarms falls below the rest."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import torch
from annotated_types import Ge, Gt, Le
from numpy.typing import NDArray
from torch import Tensor

from bench.api import IGNORE, Decision, Fitting, Labels, Prediction, Refinement, Row, Rows, Sample, Scores, State
from bench.core.errors import BadPlugin, MissingData
from bench.ops import segment_classifier, segments, transfer

HIT, FALSE, UNKNOWN = 1, 0, 255  # a segment that lies on an object, on none, or is ignored as a whole
GAP = 2.0**-9  # two units in the last place of float16: below stays below where maps are stored so


@dataclass(frozen=True)
class EntropyMeta(Refinement):
    """Score = entropy / log C; in segments (entropy >= threshold) that a classifier takes for false alarms, lowered.

    Each 8-connected segment is described by 75 figures (``bench.ops.segments``). A logistic regression gives the
    probability that it lies on no object; above one half it is kicked. Its scores, from ``threshold`` to 1, then become
    those from threshold x (1 - depth) to threshold x (1 - 2^-9): below all that is kept, in their order. With a small
    ``depth`` they stay above nearly all that was in no segment, and at lower thresholds the map is what it was; a large
    one mixes them with that, which takes false alarms further down and tears holes into what is found there.

    Unfitted, segments are judged by the truth of other drives of the same data: ``folds`` parts, groups of images
    together. Such figures show what a classifier of this kind can do there; with ``fit: {data: ...}`` it learns on
    another data set, sees no truth of this one, and is what could be deployed.

    ``fidelity: reference`` is the source's way: ignored pixels are cut out before segments are made, each segment is
    left out alone, and all of them are standardised together.
    """

    name = "entropy_meta"
    source = "Chan et al., Entropy Maximization and Meta Classification, arXiv:2012.06575, section 4"
    refines = "entropy"
    fitting = Fitting(needs=frozenset({"anomaly"}), reads=frozenset({"threshold", "fidelity"}))
    computations = Refinement.computations | {"segments", "meta"}
    uses_outliers = True  # unfitted, too: it learns from the anomalies of other drives

    threshold: Annotated[float, Gt(0), Le(1)] = 0.7
    depth: Annotated[float, Gt(GAP), Le(1)] = 2.0**-5
    folds: Annotated[int, Ge(2)] = 5
    fidelity: Literal["corrected", "reference"] = "corrected"

    def score(self, prediction: Prediction, state: State) -> Tensor:
        return prediction.normalised_entropy()

    def describe(self, prediction: Prediction, score: Scores, truth: Labels | None) -> Row:
        components = self._components(score, truth)
        predicted, at, classes = transfer.to_host(prediction.argmax), _asker(prediction), prediction.classes
        columns = {"id": np.arange(1, components.max(initial=0) + 1)}
        columns |= segments.features(components, predicted, at, classes)
        row = {f"segments.{name}": values for name, values in columns.items()}
        if truth is not None:
            targets = segments.targets(components, truth)
            row |= {f"segments.{name}": values for name, values in (targets | {"hit": _hit(targets)}).items()}
            objects = segments.objects(truth, components, predicted, at, classes)
            row |= {f"objects.{name}": values for name, values in objects.items()}
        return row

    def decide(self, rows: Rows, groups: Mapping[str, str], state: State, seed: int) -> Decision:
        counts = [row["segments.id"].size for row in rows.values()]
        names, table = _table(rows)
        hit = _column(rows, "segments.hit") if all("segments.hit" in row for row in rows.values()) else None
        report: dict[str, Any] = {"threshold": self.threshold, "fidelity": self.fidelity, "segments": len(table)}
        models: Mapping[str, segment_classifier.Linear | None]
        if state:
            known = state["weights"].size
            if len(names) != known:
                raise BadPlugin(f"{self.name} was fitted on segments of {known} figures, these have {len(names)}")
            models = {"fitted": _restored(state)}
            judged = _judged(models["fitted"], table)
            report["judged by"] = "a classifier fitted on other data"
        elif hit is None:
            raise BadPlugin(f"{self.name} was given no truth to learn from")
        elif self.fidelity == "reference":
            judged, whole = segment_classifier.leave_one_out(table, hit == FALSE)
            models = {"all segments": whole}
            report["judged by"] = "classifiers of all other segments, single segments left out"
        else:
            names_of = [groups[sample] or sample for sample in rows]
            fold = np.repeat(segment_classifier.folds(names_of, self.folds, seed), counts)
            judged, by_fold = segment_classifier.across_groups(table, hit == FALSE, hit != UNKNOWN, fold)
            models = {f"without fold {part}": model for part, model in by_fold.items()}
            report["judged by"] = f"classifiers of other groups of images, {self.folds} folds"
        kicked = judged > 0.5  # NaN, where nothing could be learned, keeps
        report |= _outcome(judged, kicked, hit)
        report["largest weights"] = _largest(list(models.values()), names)
        report["classifiers"] = {name: _told(model, names) for name, model in models.items()}
        ends = np.cumsum(counts)[:-1]
        decided = zip(np.split(judged, ends), np.split(kicked, ends), strict=True) if rows else ()
        columns = {
            sample: {"segments.p_false": p, "segments.kicked": k} for sample, (p, k) in zip(rows, decided, strict=True)
        }
        return Decision(columns, report)

    def apply(self, score: Scores, truth: Labels | None, decided: Row) -> Scores:
        components = self._components(score, truth)
        kicked = decided["segments.kicked"].astype(bool)
        if int(components.max(initial=0)) != kicked.size:
            raise BadPlugin(f"{self.name}: {components.max(initial=0)} segments, decided were {kicked.size}")
        if not kicked.any():
            return score
        fallen = np.concatenate([[False], kicked])[components]
        share = (score - self.threshold) / (1 - self.threshold) if self.threshold < 1 else np.ones_like(score)
        lowered = self.threshold * (1 - self.depth + (self.depth - GAP) * share)
        return np.where(fallen, lowered, score).astype(np.float32)

    def fit(self, stream: Iterable[tuple[Prediction, Sample]], seed: int) -> State:
        """Return a classifier as arrays: ``mean``, ``scale``, ``weights`` [F], in the order of ``segments.names``."""
        rows = {}
        for prediction, sample in stream:
            heat = transfer.to_host(self.score(prediction, {}))
            row = self.describe(prediction, heat, sample.anomaly)
            rows[sample.id] = {name: values for name, values in row.items() if name.startswith("segments.")}
        rows = dict(sorted(rows.items()))
        table = _table(rows)[1]
        hit = _column(rows, "segments.hit")
        model = segment_classifier.learn(table[hit != UNKNOWN], hit[hit != UNKNOWN] == FALSE)
        if model is None:
            hits, alarms = int((hit == HIT).sum()), int((hit == FALSE).sum())
            raise MissingData(
                f"{self.name} cannot be fitted: at threshold {self.threshold} there are {hits} segments on objects and"
                f" {alarms} false alarms, and both are needed; lower the threshold, or take more data"
            )
        counts = {"segments": np.array(float(model.segments)), "false": np.array(float(model.false))}
        figures = {"mean": model.mean, "scale": model.scale, "weights": model.weights}
        return counts | figures | {"intercept": np.array(model.intercept)}

    def _components(self, score: Scores, truth: Labels | None) -> segments.Components:
        mask = score >= np.float32(self.threshold)
        if self.fidelity == "reference" and truth is not None:
            mask &= truth != IGNORE
        return segments.label(mask)


def _asker(prediction: Prediction) -> Callable[[NDArray[np.int64]], NDArray[np.float32]]:
    device = next(iter(prediction.raw.values())).device

    def at(index: NDArray[np.int64]) -> NDArray[np.float32]:
        probabilities: NDArray[np.float32] = transfer.to_host(prediction.softmax_at(torch.from_numpy(index).to(device)))
        return probabilities

    return at


def _hit(targets: segments.Columns) -> NDArray[np.uint8]:
    right = np.where(targets["I"] > 0, np.uint8(HIT), np.uint8(FALSE))
    return np.where(targets["inside"] > 0, right, np.uint8(UNKNOWN))


def _column(rows: Rows, name: str) -> NDArray[Any]:
    return np.concatenate([np.empty(0, np.uint8), *(row[name] for row in rows.values())])


def _table(rows: Rows) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Return the names of the figures and all segments, [n, F], image by image."""
    first = next(iter(rows.values()), {})
    classes = sum(name.startswith("segments.cprob") for name in first)
    names = segments.names(classes)
    columns = [_column(rows, f"segments.{name}").astype(np.float64) for name in names]
    return names, np.stack(columns, axis=1)


def _judged(model: segment_classifier.Linear | None, table: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.full(len(table), np.nan) if model is None else model.probabilities(table)


def _restored(state: State) -> segment_classifier.Linear:
    mean, scale, weights = (state[name] for name in ("mean", "scale", "weights"))
    counts = (int(state[name]) for name in ("segments", "false"))
    return segment_classifier.Linear(mean, scale, weights, float(state["intercept"]), *counts)


def _largest(models: Sequence[segment_classifier.Linear | None], names: tuple[str, ...]) -> dict[str, float]:
    """Return the ten weights of the largest size, averaged over the classifiers that learned something."""
    learned = [model.weights for model in models if model is not None]
    if not learned:
        return {}
    weights = np.mean(learned, axis=0)
    return {names[index]: float(weights[index]) for index in np.argsort(-np.abs(weights), kind="stable")[:10]}


def _outcome(
    judged: NDArray[np.float64], kicked: NDArray[np.bool_], hit: NDArray[np.uint8] | None
) -> dict[str, int | None]:
    """Return how many segments were kicked, and how right that was where there is a truth."""
    counts: dict[str, int | None] = {"not judged": int(np.isnan(judged).sum()), "kicked": int(kicked.sum())}
    for name, kind in (("on objects", HIT), ("false alarms", FALSE), ("ignored", UNKNOWN)):
        counts[name] = None if hit is None else int((hit == kind).sum())
        counts[f"{name}, kicked"] = None if hit is None else int((kicked & (hit == kind)).sum())
    return counts


def _told(model: segment_classifier.Linear | None, names: tuple[str, ...]) -> dict[str, Any]:
    """Return a classifier as JSON has it, its figures by the size of their weight."""
    if model is None:
        return {"nothing learned": "the segments to learn from are all right, all wrong, or none"}
    order = np.argsort(-np.abs(model.weights), kind="stable")
    told = {
        names[index]: {
            "weight": float(model.weights[index]),
            "mean": float(model.mean[index]),
            "scale": float(model.scale[index]),
        }
        for index in order
    }
    return {"segments": model.segments, "false": model.false, "intercept": model.intercept, "figures": told}
