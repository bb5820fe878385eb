"""The truth of a sample as a protocol is told it; raises BadPlugin where there is none."""

from __future__ import annotations

import numpy as np

from bench.contract.dataset import Sample
from bench.core.errors import BadPlugin
from bench.core.values import IGNORE, Labels, Scores


def anomaly_of(sample: Sample) -> Labels:
    """uint8 [H, W]: 0 normal, 1 anomaly, 255 ignored."""
    if sample.anomaly is None:
        raise BadPlugin(f"{sample.id} has no anomaly mask")
    return sample.anomaly


def labels_of(sample: Sample) -> Labels:
    """uint8 [H, W]: train ids, 255 ignored."""
    if sample.labels is None:
        raise BadPlugin(f"{sample.id} has no labels")
    return sample.labels


def classes_of(sample: Sample, predicted: Labels | None) -> Labels:
    """uint8 [H, W]: the class map."""
    if predicted is None:
        raise BadPlugin(f"{sample.id} has no class map")
    return predicted


def wrong_pixels(labels: Labels, predicted: Labels) -> Labels:
    """uint8 [H, W]: 0 where the class map is right, 1 where it is wrong, 255 where there is no label."""
    return np.where(labels == IGNORE, np.uint8(IGNORE), (labels != predicted).astype(np.uint8))


def score_of(sample: Sample, score: Scores | None) -> Scores:
    """float32 [H, W]."""
    if score is None:
        raise BadPlugin(f"{sample.id} has no score, and the figures of its row need one")
    return score


def only_known(truth: Labels) -> Labels:
    """uint8 [H, W]: 0 and 1 as they are, every other value ignored."""
    return truth if (truth[truth > 1] == IGNORE).all() else np.where(truth > 1, np.uint8(IGNORE), truth)
