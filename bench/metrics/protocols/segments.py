"""Errors that are counted in segments: false alarms and missed objects at a threshold, before and after a refinement.

Source: Chan et al., Entropy Maximization and Meta Classification, arXiv:2012.06575, section 5; robin-chan/meta-ood.
Segments are the 8-connected components of score >= threshold. One that lies on no object is a false alarm, however
small; an object that no segment touches is missed, and one pixel is enough to find it. Segments that are ignored as a
whole count nowhere.

The source prints a figure named "FP after" that is the number of kicked segments minus the kicked false alarms: it
counts the segments on objects that were wrongly kicked. Here it is ``true_kicked``, and ``false_alarms`` are those that
are left.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import fsum
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Gt
from numpy.typing import NDArray

from bench.contract.dataset import Sample
from bench.contract.method import Method, Refinement
from bench.contract.protocol import Breakdown, RefinementAware
from bench.core.errors import BadPlugin
from bench.core.values import IGNORE, Labels, Metric, Row, Rows, Scores, Undefined, Value
from bench.counts.tally import Counts
from bench.metrics import components
from bench.metrics.truths import anomaly_of, only_known, score_of
from bench.ops import segments

Floats = NDArray[np.float64]

METRICS: Mapping[str, Metric] = {
    "errors": Metric("errors", "false alarms + missed objects", "lower", "number"),
    "false_alarms": Metric("false alarms", "segments on no object", "lower", "number"),
    "missed": Metric("missed", "objects that no segment touches", "lower", "number"),
    "precision": Metric("precision", "share of the segments that lie on an object"),
    "recall": Metric("recall", "share of the objects that a segment touches"),
    "f1": Metric("F1", "harmonic mean of precision and recall of segments"),
    "siou": Metric("sIoU", "mean over objects of the overlap with the segments that touch them"),
    "ppv": Metric("PPV", "mean over segments of the share that lies on an object"),
    "mean_f1": Metric("mean F1", "of components: over 11 thresholds of sIoU and PPV, at this threshold of the score"),
    "segment_ap": Metric(
        "AP of segments",
        "step sum, positives the segments on objects, among those before any was kicked; ranked by the probability of"
        " being one where a refinement gives it, else by their mean score",
    ),
    "objects": Metric("objects", "8-connected objects of the truth", "neither", "number"),
    "kicked": Metric("kicked", "segments that the refinement takes for false alarms", "neither", "number"),
    "true_kicked": Metric(
        "true kicked", "segments on objects that were kicked; what the source prints as its FP after", "lower", "number"
    ),
    "errors_before": Metric("errors before", "false alarms + missed objects of the unrefined map", "neither", "number"),
    "false_alarms_before": Metric("false alarms before", "of the unrefined map", "neither", "number"),
    "missed_before": Metric("missed before", "of the unrefined map", "neither", "number"),
    "errors_change": Metric("change of errors", "errors - errors before, over errors before", "lower", "number"),
    "judged_auroc": Metric("AUROC of the judgement", "of P(false alarm), positives the false alarms"),
    "judged_ap": Metric("AP of the judgement", "of P(false alarm), positives the false alarms"),
    "judged_accuracy": Metric("accuracy of the judgement", "share of the segments rightly kept or kicked"),
}
COUNTS = ("alarms", "hits", "objects", "missed")  # of the map as it is, then of what the refinement did
REFINED = ("alarms_before", "missed_before", "kicked", "true_kicked", "judged", "rightly")
NOT_REFINED = Undefined("the method is no refinement: it kicks nothing")


@dataclass(frozen=True)
class Segments(Breakdown, RefinementAware):
    """Segments of score >= threshold against objects. For scores in [0, 1], such as the normalised entropy.

    ``thresholds`` are further ones at which errors are counted, for a sweep of maps that are not refined.
    ``min_predicted`` and ``min_truth`` are for sIoU, PPV and mean F1 alone.

    ``fidelity: reference`` cuts ignored pixels out before segments are made, as the source does: one segment may
    become several, and the truth has a say in their shape. ``corrected`` makes them of the whole map, as one has to
    where there is no truth. A refinement must agree with ``threshold`` and ``fidelity``.
    """

    name = "segments"
    source = "Chan et al., arXiv:2012.06575, section 5; robin-chan/meta-ood, evaluation/ood_segmentation"
    version = 1
    computations = Breakdown.computations | {"segments"}
    metrics = METRICS
    needs = frozenset({"anomaly", "score"})
    category_names = ("normal", "anomaly")

    threshold: Annotated[float, Gt(0)] = 0.7
    fidelity: Literal["corrected", "reference"] = "corrected"
    min_predicted: Annotated[int, Ge(1)] = 50  # pixels
    min_truth: Annotated[int, Ge(1)] = 10  # pixels
    thresholds: tuple[Annotated[float, Gt(0)], ...] = ()

    def refuses(self, method: Method) -> str:
        if not isinstance(method, Refinement):
            return ""
        if not method.learns:
            return f"{method.name} has masks in place of segments that a classifier judges"
        for name in ("threshold", "fidelity"):
            own, other = getattr(self, name), getattr(method, name, None)
            if other is not None and other != own:
                return f"{method.name} makes its segments with {name} {other}, {self.name} with {own}; say the same"
        return ""

    def categories(self, sample: Sample, predicted: Labels | None) -> Labels:
        return only_known(anomaly_of(sample))

    def row(self, sample: Sample, predicted: Labels | None, score: Scores | None = None) -> Row:
        heat, truth = score_of(sample, score), self.categories(sample, predicted)
        labelled, hit = self._segments(heat, truth, self.threshold)
        sweep = [_counts(truth, *self._segments(heat, truth, threshold)) for threshold in self.thresholds]
        swept = np.array(sweep, np.int64).reshape(-1, len(COUNTS)).T
        return {
            "pixels": np.array((truth != IGNORE).sum(), np.int64),
            **{name: np.array(count) for name, count in zip(COUNTS, _counts(truth, labelled, hit), strict=True)},
            **{f"sweep.{name}": counts.copy() for name, counts in zip(COUNTS, swept, strict=True)},
            **_ranked(_means(heat, labelled), hit),
            **components.find(labelled > 0, truth, min_predicted=self.min_predicted, min_truth=self.min_truth),
        }

    def refined(self, sample: Sample, before: Scores, decided: Row) -> Row:
        truth = self.categories(sample, None)
        labelled, hit = self._segments(before, truth, self.threshold)
        kicked, judged = decided["segments.kicked"].astype(bool), decided["segments.p_false"]
        if kicked.shape != hit.shape:
            raise BadPlugin(f"{sample.id}: {hit.size} segments, the refinement decided about {kicked.size}")
        known = np.isfinite(judged) & (hit < 2)
        counts = {
            "alarms_before": (hit == 0).sum(),
            "missed_before": segments.missed(truth, labelled > 0)[1],
            "kicked": kicked.sum(),
            "true_kicked": (kicked & (hit == 1)).sum(),
            "judged": known.sum(),
            "rightly": (known & (kicked == (hit == 0))).sum(),
        }
        return {**{name: np.array(count, np.int64) for name, count in counts.items()}, **_ranked(1 - judged, hit)}

    def _segments(
        self, score: Scores, truth: Labels, threshold: float
    ) -> tuple[segments.Components, NDArray[np.uint8]]:
        """Components [H, W], and for each 1 where it lies on an object, 0 on none, 255 ignored as a whole."""
        mask = score >= score.dtype.type(threshold)
        if self.fidelity == "reference":
            mask &= truth != IGNORE
        labelled = segments.label(mask)
        inside, shared = segments.shared(labelled, truth)
        return labelled, np.where(inside > 0, (shared > 0).astype(np.uint8), np.uint8(IGNORE))

    def read(self, counts: Counts, rows: Rows) -> Mapping[str, Value | Undefined]:
        if not any(row["pixels"] for row in rows.values()):
            return dict.fromkeys(METRICS, Undefined("no pixel has a truth"))
        figures: dict[str, Value | Undefined] = {}
        for name, values in self._figures(np.ones((1, len(rows))), rows).items():
            value = float(values[0])
            figures[name] = Value(value) if np.isfinite(value) else _UNDEFINED[name]
        figures |= components.read([rows[image] for image in sorted(rows)])
        ranks, hits = (
            np.concatenate([np.empty(0), *(row[f"ranked.{name}"] for row in rows.values())]) for name in ("by", "hit")
        )
        figures["segment_ap"] = _ap(ranks, hits == 1, "segment on an object")
        refined = bool(rows) and all("kicked" in row for row in rows.values())
        figures["judged_ap"] = _ap(-ranks, hits == 0, "false alarm") if refined else NOT_REFINED
        figures["judged_auroc"] = _auroc(-ranks, hits == 0) if refined else NOT_REFINED
        for name in METRICS:
            figures.setdefault(name, NOT_REFINED)
        return {name: figures[name] for name in METRICS}

    def breakdown(self, counts: Counts, rows: Rows) -> Mapping[str, Mapping[str, Mapping[str, Value | Undefined]]]:
        """The errors at each of ``thresholds``. A map that was refined at one is not a map to try others on."""
        swept: dict[str, Mapping[str, Value | Undefined]] = {}
        if any("kicked" in row for row in rows.values()):
            return {}
        for column, threshold in enumerate(self.thresholds):
            at_threshold = {
                image: {"pixels": row["pixels"], **{name: row[f"sweep.{name}"][column] for name in COUNTS}}
                for image, row in rows.items()
            }
            figures = {
                name: float(value) for name, (value,) in self._figures(np.ones((1, len(rows))), at_threshold).items()
            }
            swept[f"{threshold:g}"] = {
                name: Value(value) if np.isfinite(value) else _UNDEFINED.get(name, Undefined("no pixel has a truth"))
                for name, value in figures.items()
            }
        return {"threshold": swept} if swept else {}

    def bootstrap(self, weights: Floats, rows: Rows) -> Mapping[str, Floats]:
        """Rankings of segments have no interval."""
        figures = self._figures(weights, rows)
        if rows:
            counts = np.array([components.pooled(row) for row in rows.values()])
            figures |= components.figures(weights @ counts)
        return figures

    def _figures(self, weights: Floats, rows: Rows) -> dict[str, Floats]:
        """Everything that is made of sums over images, [R] each, NaN where undefined."""

        def total(name: str) -> Floats:
            return np.asarray(weights @ np.array([float(row[name]) for row in rows.values()]).reshape(len(rows)))

        alarms, hits, objects, missed = (total(name) for name in COUNTS)
        precision, recall = _share(hits, hits + alarms), _share(objects - missed, objects)
        figures = {
            "errors": alarms + missed,
            "false_alarms": alarms,
            "missed": missed,
            "precision": precision,
            "recall": recall,
            "f1": _share(2 * precision * recall, precision + recall),
            "objects": objects,
        }
        if rows and all("kicked" in row for row in rows.values()):
            alarms_before, missed_before, kicked, true_kicked, judged, rightly = (total(name) for name in REFINED)
            before = alarms_before + missed_before
            figures |= {
                "kicked": kicked,
                "true_kicked": true_kicked,
                "errors_before": before,
                "false_alarms_before": alarms_before,
                "missed_before": missed_before,
                "errors_change": _share(alarms + missed - before, before),
                "judged_accuracy": _share(rightly, judged),
            }
        return {name: np.where(total("pixels") > 0, values, np.nan) for name, values in figures.items()}


_UNDEFINED: Mapping[str, Undefined] = {
    "precision": Undefined("no segment at this threshold"),
    "recall": Undefined("no object"),
    "f1": Undefined("no segment and no object found, or none to find"),
    "errors_change": Undefined("there was no error before"),
    "judged_accuracy": Undefined("no segment was judged: those to learn from are all right, all wrong, or none"),
}


def _counts(truth: Labels, labelled: segments.Components, hit: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """In the order of ``COUNTS``."""
    objects, missed = segments.missed(truth, labelled > 0)
    return int((hit == 0).sum()), int((hit == 1).sum()), objects, missed


def _share(part: Floats, whole: Floats) -> Floats:
    return np.asarray(np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole != 0))


def _means(heat: Scores, labelled: segments.Components) -> Floats:
    marked = np.flatnonzero(labelled)
    which = labelled.reshape(-1)[marked]
    sums, sizes = np.bincount(which, heat.reshape(-1)[marked]), np.bincount(which)
    return np.asarray(sums[1:] / sizes[1:], np.float64) if marked.size else np.empty(0)


def _ranked(by: Floats, hit: NDArray[np.uint8]) -> Row:
    """Segments with a truth: what they are ranked by, NaN where they were not judged, and whether they are right."""
    return {"ranked.by": by[hit != IGNORE].astype(np.float64), "ranked.hit": hit[hit != IGNORE]}


def _ap(ranks: Floats, positive: NDArray[np.bool_], what: str) -> Value | Undefined:
    if np.isnan(ranks).any():
        return Undefined("some segments were not judged: those to learn from are all right, all wrong, or none")
    if not positive.any():
        return Undefined(f"no {what}")
    order = np.argsort(-ranks, kind="stable")
    ranked = ranks[order]
    ends = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), ranks.size - 1)  # equal ranks count together
    true = np.cumsum(positive[order])[ends]
    return Value(fsum(np.diff(true, prepend=0) / true[-1] * true / (ends + 1)))


def _auroc(ranks: Floats, positive: NDArray[np.bool_]) -> Value | Undefined:
    if np.isnan(ranks).any():
        return Undefined("some segments were not judged: those to learn from are all right, all wrong, or none")
    if not positive.any() or positive.all():
        return Undefined("all segments are right, or all are false alarms")
    from scipy.stats import rankdata

    ranked = rankdata(ranks)
    ones, zeros = int(positive.sum()), int((~positive).sum())
    return Value(float((ranked[positive].sum() - ones * (ones + 1) / 2) / (ones * zeros)))
