"""A linear classifier of segments that can be read: which of them are false alarms, judged by those of other places.

Source: Chan et al., Entropy Maximization and Meta Classification, arXiv:2012.06575, section 4; robin-chan/meta-ood.
Figures are standardised, then a logistic regression with an L2 penalty of strength 1 gives the probability of a false
alarm. What is judged was never learned from: whole groups of images are left out together (``across_groups``), as
frames of one drive show the same things again; or single segments, which is the source's way and flatters itself
(``leave_one_out``).

Where the segments to learn from are all right or all wrong, or there is none, nothing is learned: the probability is
NaN, and such segments are kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Linear:
    """A fitted classifier: probability of a false alarm = 1 / (1 + exp(-intercept - sum (x - mean) / scale * w))."""

    mean: Floats  # [F]
    scale: Floats  # [F]; 1 for a figure that never varies
    weights: Floats  # [F], per standard deviation
    intercept: float
    segments: int  # learned from
    false: int  # of them, false alarms

    def probabilities(self, features: Floats) -> Floats:
        """Return float64 [n], the probability that each segment is a false alarm, of figures [n, F]."""
        from scipy.special import expit

        # Row by row: a matrix product may round otherwise when more rows stand beside.
        terms = (features - self.mean) / self.scale * self.weights
        return np.asarray(expit(terms.sum(axis=1) + self.intercept))


def learn(features: Floats, false: Bools) -> Linear | None:
    """Return the classifier of figures [n, F] and of which are false alarms, [n]; None unless there are both kinds."""
    if not false.any() or false.all():
        return None
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    pipeline = make_pipeline(StandardScaler(), LogisticRegression(solver="lbfgs", max_iter=10_000, tol=1e-8))
    with threadpool_limits(1):  # the number of threads moves the last digits of a sum
        pipeline.fit(features, false)
    standard, model = (step for _, step in pipeline.steps)
    weights, intercept = model.coef_[0], float(model.intercept_[0])
    return Linear(standard.mean_, standard.scale_, weights, intercept, len(false), int(false.sum()))


def folds(groups: Sequence[str], number: int, seed: int) -> Ints:
    """Return which of ``number`` parts each entry is in, int64 [n]. Entries of one group stay together.

    It depends on the set of group names and the seed alone. Where there are fewer groups than parts, each is one.
    """
    keys = {name: hashlib.sha256(f"{seed} {name}".encode()).digest() for name in set(groups)}
    part_of = {name: index % number for index, name in enumerate(sorted(keys, key=keys.__getitem__))}
    return np.array([part_of[name] for name in groups], np.int64)


def across_groups(features: Floats, false: Bools, known: Bools, fold: Ints) -> tuple[Floats, dict[int, Linear | None]]:
    """Return probabilities [n], each by a classifier that saw no segment of its fold, and the classifiers by fold.

    Only ``known`` segments are learned from; the others are judged all the same.
    """
    judged = np.full(len(features), np.nan)
    models: dict[int, Linear | None] = {}
    for part in np.unique(fold).tolist():
        taught, left_out = known & (fold != part), fold == part
        models[part] = learn(features[taught], false[taught])
        if (model := models[part]) is not None:
            judged[left_out] = model.probabilities(features[left_out])
    return judged, models


def leave_one_out(features: Floats, false: Bools) -> tuple[Floats, Linear | None]:
    """Return the source's probabilities [n], and its classifier of all segments.

    All segments are standardised together, by the population's deviation + 1e-10; liblinear penalises the intercept,
    too. As many fits as segments: a minute for two thousand, an hour for ten thousand.
    """
    from sklearn.linear_model import LogisticRegression

    judged = np.full(len(features), np.nan)
    if not false.any() or false.all():
        return judged, None
    mean, scale = features.mean(axis=0), features.std(axis=0) + 1e-10
    standard = (features - mean) / scale
    kept = np.ones(len(features), bool)
    for index in range(len(features)):
        kept[index] = False
        if false[kept].any() and not false[kept].all():
            model = LogisticRegression(solver="liblinear").fit(standard[kept], false[kept])
            judged[index] = model.predict_proba(standard[index : index + 1])[0, 1]
        kept[index] = True
    model = LogisticRegression(solver="liblinear").fit(standard, false)
    whole = Linear(mean, scale, model.coef_[0], float(model.intercept_[0]), len(false), int(false.sum()))
    return judged, whole
