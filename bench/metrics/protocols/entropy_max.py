"""The figures of entropy maximisation, from a histogram of 100 bins, and the exact ranking beside them.

Source: Chan et al., Entropy Maximization and Meta Classification, arXiv:2012.06575; robin-chan/meta-ood. The score is
the entropy divided by the logarithm of the number of classes, in [0, 1]; values beyond are dropped. AUROC and FPR95
weigh both classes alike, as 100,000 pixels each; AP keeps their ratio among 10,000,000. Counts are truncated to whole
pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.contract.dataset import Sample
from bench.contract.protocol import Protocol
from bench.core.values import Labels, Metric, Row, Rows, Scores, Undefined, Value
from bench.counts.tally import Counts
from bench.metrics import bootstrap, ranking
from bench.metrics.truths import anomaly_of, only_known, score_of

Ints = NDArray[np.int64]

BINS = 100
METRICS: Mapping[str, Metric] = {
    "auroc": Metric("AUROC", "of 100 equal bins on [0, 1], each class as 100,000 pixels"),
    "ap": Metric("AP", "step sum over 100 equal bins on [0, 1], both classes as 10,000,000 pixels in their ratio"),
    "fpr95": Metric("FPR95", "of 100 equal bins: FPR where the TPR is nearest to 0.95, on either side", "lower"),
    **{
        f"{name}_exact": Metric(f"{metric.title} (exact)", metric.definition, metric.better)
        for name, metric in ranking.METRICS.items()
        if name in ("auroc", "ap", "fpr95")
    },
}
OFFICIAL = ("auroc", "ap", "fpr95")
ROW = ("normal", "anomalous")


def histogram(score: Scores, truth: Labels) -> Row:
    """int64 [100] each of ``normal`` and ``anomalous`` pixels; truth 0, 1, 255.

    The edges are those of linspace(0, 1, 101) in float64: NumPy rounds them to float32 for scores of that type.
    """
    return {
        name: np.histogram(score[truth == side].astype(np.float64), BINS, (0, 1))[0].astype(np.int64)
        for name, side in (("normal", 0), ("anomalous", 1))
    }


def figures(normal: Ints, anomalous: Ints) -> dict[str, float]:
    """auroc, ap, fpr95 of counts [100] in ascending order; both classes must be there."""
    in_total, out_total = int(normal.sum()), int(anomalous.sum())
    alike = [np.floor(counts / counts.sum() * 1e5) for counts in (anomalous, normal)]
    hits, alarms = (np.cumsum(counts[::-1]) for counts in alike)
    thresholds = np.flatnonzero((alike[0] + alike[1])[::-1] > 0)  # a threshold is a score that occurs
    hits, alarms = hits[thresholds], alarms[thresholds]
    # scikit-learn drops points on straight lines, which here may be the nearest to 0.95
    bends = np.concatenate([[True], (np.diff(hits, 2) != 0) | (np.diff(alarms, 2) != 0), [True]])[: hits.size]
    tpr, fpr = (np.append(0.0, values[bends] / values[-1]) for values in (hits, alarms))

    share = out_total / (in_total + out_total)
    p, n = (
        np.floor(counts / counts.sum() * 1e7 * part)[::-1] for counts, part in ((anomalous, share), (normal, 1 - share))
    )
    true, false = np.cumsum(p), np.cumsum(n)
    precision = np.divide(true, true + false, out=np.zeros_like(true), where=true + false > 0)
    return {
        "auroc": float((np.diff(fpr) * (tpr[1:] + tpr[:-1])).sum() / 2),
        "ap": float((p * precision).sum() / true[-1]),
        "fpr95": float(fpr[np.argmin(abs(tpr - 0.95))]),
    }


@dataclass(frozen=True)
class EntropyMax(Protocol):
    """The published figures of Meta-OoD. For scores in [0, 1], such as the normalised entropy."""

    name = "entropy_max"
    source = "Chan et al., arXiv:2012.06575; robin-chan/meta-ood, evaluation/ood_segmentation"
    version = 2  # 2: edges of the bins in float64
    metrics = METRICS
    needs = frozenset({"anomaly", "score"})
    category_names = ("normal", "anomaly")

    def categories(self, sample: Sample, predicted: Labels | None) -> Labels:
        return only_known(anomaly_of(sample))

    def row(self, sample: Sample, predicted: Labels | None, score: Scores | None = None) -> Row:
        return histogram(score_of(sample, score), self.categories(sample, predicted))

    def read(self, counts: Counts, rows: Rows) -> Mapping[str, Value | Undefined]:
        normal, anomalous = (sum((row[name] for row in rows.values()), np.zeros(BINS, np.int64)) for name in ROW)
        exact = ranking.ranking(counts, [1], [0])
        named: dict[str, Value | Undefined] = {f"{name}_exact": exact[name] for name in OFFICIAL}
        if isinstance(exact["auroc"], Undefined):
            return {**dict.fromkeys(OFFICIAL, exact["auroc"]), **named}
        if not normal.any() or not anomalous.any():
            return {**dict.fromkeys(OFFICIAL, Undefined("no score of one side lies in [0, 1]")), **named}
        return {**{name: Value(value) for name, value in figures(normal, anomalous).items()}, **named}

    def bootstrap(self, weights: NDArray[np.float64], rows: Rows) -> Mapping[str, NDArray[np.float64]]:
        """Both kinds share their resamples, each shifted to its own figure."""
        ranked = bootstrap.replicate_ranking(weights, rows, [1], [0])
        return {**{name: ranked[name] for name in OFFICIAL}, **{f"{name}_exact": ranked[name] for name in OFFICIAL}}
