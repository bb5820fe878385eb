"""Overlap of connected components, by hand and against masks taken one component at a time."""

import numpy as np
import pytest
from scipy import ndimage

from bench.api import Undefined
from bench.metrics.components import NOTHING, TAUS, figures, find, pooled, read


def found(predicted, truth, min_predicted=1, min_truth=1):
    return find(np.array(predicted, bool), np.array(truth, np.uint8), min_predicted=min_predicted, min_truth=min_truth)


def plainly(predicted, truth, min_predicted, min_truth):
    """One mask per component, as the definition is written."""
    structure = np.ones((3, 3))
    objects, n_objects = ndimage.label(truth == 1, structure)
    predictions, n_predictions = ndimage.label(predicted & (truth != 255), structure)
    for k in range(1, n_predictions + 1):
        if (predictions == k).sum() < min_predicted:
            predictions[predictions == k] = 0
    region = truth != 255
    for k in range(n_objects + 1):
        if (objects == k).sum() < min_truth:
            region = region & (objects != k)
    objects, predictions = objects[region], predictions[region]
    siou, ppv = [], []
    for k in sorted(set(objects[objects > 0])):
        touching = sorted(set(predictions[(objects == k) & (predictions > 0)]))
        union = np.isin(predictions, touching) if touching else np.zeros(objects.shape, bool)
        others = (objects > 0) & (objects != k)
        inter = ((objects == k) & union).sum()
        siou.append(inter / (((objects == k) | union).sum() - (union & others).sum()))
    for p in sorted(set(predictions[predictions > 0])):
        ppv.append(((predictions == p) & (objects > 0)).sum() / (predictions == p).sum())
    return siou, ppv


def test_two_objects_under_one_prediction_by_hand():
    # objects of 2 and 3 pixels, one prediction over both and 2 pixels beside
    # first: 2 / (2 + 7 - 2 - 3) = 2/4; second: 3 / (3 + 7 - 3 - 2) = 3/5; PPV 5/7
    row = found([[1, 1, 1, 1, 1, 1, 1, 0]], [[1, 1, 0, 1, 1, 1, 0, 0]])
    assert row["siou"] == pytest.approx([2 / 4, 3 / 5])
    assert row["ppv"] == pytest.approx([5 / 7])


def test_corners_connect():
    row = found([[1, 0], [0, 1]], [[1, 0], [0, 1]])
    assert row["siou"].tolist() == [1]
    assert row["ppv"].tolist() == [1]


def test_ignored_pixels_cut_a_prediction_in_two():
    row = found([[1, 1, 1, 1, 1]], [[1, 1, 255, 0, 0]])
    assert row["siou"].tolist() == [1]
    assert row["ppv"].tolist() == [1, 0]


def test_components_below_their_minimum_do_not_count():
    truth = [[1, 1, 1, 0, 0, 1, 0, 0, 0, 0]]
    row = found([[1, 1, 0, 0, 1, 1, 1, 0, 1, 0]], truth, min_predicted=2, min_truth=2)
    assert row["siou"] == pytest.approx([2 / 3])  # the single pixel is no object, and out of the prediction over it
    assert row["ppv"].tolist() == [1, 0]


@pytest.mark.parametrize("seed", range(40))
def test_it_is_what_one_mask_per_component_gives(seed):
    generator = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(generator.normal(size=(2, 48, 64)), (0, 1.5, 1.5))
    truth = (smooth[0] > 0.15).astype(np.uint8)
    truth[generator.random(truth.shape) < 0.05] = 255
    minima = int(generator.integers(1, 12)), int(generator.integers(1, 12))
    row = found(smooth[0] + smooth[1] > 0.2, truth, *minima)
    siou, ppv = plainly(smooth[0] + smooth[1] > 0.2, truth, *minima)
    assert row["siou"] == pytest.approx(siou, abs=1e-15)
    assert row["ppv"] == pytest.approx(ppv, abs=1e-15)


def test_counts_are_pooled_before_f1():
    # image 1: one object, sIoU 1; image 2: one object missed, one false alarm: F1 is 2 / (2 + 1 + 1) for every tau
    rows = [found([[1, 0]], [[1, 0]]), found([[0, 0, 1]], [[1, 0, 0]])]
    values = read(rows)
    assert (values["siou"].value, values["ppv"].value, values["mean_f1"].value) == (0.5, 0.5, 0.5)


def test_an_siou_on_a_grid_value_is_found_at_it():
    row = found([[1, 0, 0, 0]], [[1, 1, 1, 1]])
    assert row["siou"].tolist() == [0.25]
    assert pooled(row)[4:15].tolist() == (TAUS <= 0.25).astype(float).tolist()


def test_no_object_and_no_prediction_have_no_value_and_say_so():
    assert read([]) == NOTHING
    false_alarm = read([found([[1, 0]], [[0, 0]])])
    assert false_alarm["siou"] == Undefined("no object large enough")
    assert (false_alarm["ppv"].value, false_alarm["mean_f1"].value) == (0, 0)
    nothing = read([found([[0, 0]], [[1, 0]])])
    assert (nothing["siou"].value, nothing["mean_f1"].value) == (0, 0)
    assert nothing["ppv"] == Undefined("nothing large enough is predicted")


def test_resampled_counts_give_figures_of_their_own():
    rows = [found([[1, 0]], [[1, 0]]), found([[0, 0, 1]], [[1, 0, 0]])]
    counts = np.array([[1.0, 1.0], [2.0, 0.0], [0.0, 0.0]]) @ np.array([pooled(row) for row in rows])
    assert figures(counts)["siou"] == pytest.approx([0.5, 1, np.nan], nan_ok=True)
    assert figures(counts)["mean_f1"] == pytest.approx([0.5, 1, np.nan], nan_ok=True)
