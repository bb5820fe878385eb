"""mIoU and pixel accuracy from a confusion matrix."""

import numpy as np
import pytest

from bench.core.errors import BadPlugin
from bench.counts import counting
from bench.metrics.segmentation import class_iou, confusion, miou, pixel_accuracy


def test_six_pixels_by_hand():
    # labels 0 0 1 1 2 and one ignored; predicted 0 1 1 1 3 3
    # class 0: 1 of 2; class 1: 2 of 3; class 2: 0 of 1; class 3: predicted once on a label: 0 of 1
    counts = confusion(np.uint8([[0, 0, 1], [1, 2, 255]]), np.uint8([[0, 1, 1], [1, 3, 3]]), 5)
    assert class_iou(counts) == pytest.approx([1 / 2, 2 / 3, 0, 0, np.nan], nan_ok=True)
    assert miou(counts) == pytest.approx((1 / 2 + 2 / 3) / 4)
    assert pixel_accuracy(counts) == pytest.approx(3 / 5)


def test_a_class_that_is_nowhere_is_left_out():
    assert miou(confusion(np.uint8([[0, 3]]), np.uint8([[0, 3]]), 19)) == 1


def test_a_prediction_outside_the_classes_is_a_miss_and_no_false_alarm():
    counts = confusion(np.uint8([[0, 0, 1]]), np.uint8([[0, 19, 1]]), 19)
    assert class_iou(counts)[:2] == pytest.approx([0.5, 1])
    assert pixel_accuracy(counts) == pytest.approx(2 / 3)


def test_all_ignored_has_no_value():
    counts = confusion(np.full((2, 2), 255, np.uint8), np.zeros((2, 2), np.uint8), 3)
    assert np.isnan(miou(counts))
    assert np.isnan(pixel_accuracy(counts))


def test_it_agrees_with_counting_by_class():
    generator = np.random.default_rng(0)
    labels = generator.choice([0, 1, 2, 3, 255], (60, 70)).astype(np.uint8)
    predicted = generator.integers(0, 5, (60, 70)).astype(np.uint8)
    valid = labels != 255
    wanted = []
    for name in range(4):
        truth, found = (labels == name) & valid, (predicted == name) & valid
        wanted.append((truth & found).sum() / (truth | found).sum())
    counts = confusion(labels, predicted, 4)
    assert class_iou(counts) == pytest.approx(wanted, abs=1e-15)
    assert np.array_equal(class_iou(np.stack([counts, 2 * counts])), np.stack([class_iou(counts)] * 2))


def test_without_numba_the_counts_are_the_same(monkeypatch):
    generator = np.random.default_rng(1)
    labels, predicted = generator.choice([0, 5, 255], (2, 40, 50)).astype(np.uint8)
    compiled = confusion(labels, predicted, 6)
    monkeypatch.setattr(counting, "kernels", None)
    assert np.array_equal(compiled, confusion(labels, predicted, 6))


def test_what_does_not_fit_is_refused():
    with pytest.raises(BadPlugin, match="the labels hold the class 2, and 2 are counted"):
        confusion(np.uint8([[2]]), np.uint8([[0]]), 2)
    with pytest.raises(ValueError, match="differ in size"):
        confusion(np.uint8([[0]]), np.uint8([[0, 0]]), 2)
