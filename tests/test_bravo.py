"""The figures of the BRAVO toolkit, to 1e-9; ECE, whose weights are float32 in the source, to 1e-7."""

import json
from pathlib import Path

import numpy as np
import pytest

from bench.api import Sample, Undefined
from bench.metrics import bravo

CASES = json.loads((Path(__file__).parent / "fixtures" / "bravo" / "metric_cases.json").read_text())


def histogram(pairs):
    counts = np.zeros(bravo.LEVELS, np.int64)
    for level, count in pairs:
        counts[level] += count
    return counts


@pytest.mark.parametrize("case", CASES["curve_cases"], ids=lambda case: case["name"])
def test_curves_and_calibration_are_the_official_ones(case):
    right, wrong = histogram(case["tp"]), histogram(case["fp"])
    wanted = case["expected"]
    if "error" in wanted:  # the source ends there; here the figures are left out
        found = bravo.figures(right, wrong, np.zeros_like(right), np.zeros((19, 20), np.int64))
        assert not {"auroc", "fpr95", "auprc_success", "auprc_error"} & set(found)
        return
    found = bravo.ranked(right, wrong)
    assert found["auroc"] == pytest.approx(wanted["auroc"], abs=1e-9)
    assert found["fpr95"] == pytest.approx(wanted["fpr95"], abs=1e-9)
    assert found["auprc"] == pytest.approx(wanted["auprc_pos"], abs=1e-9)
    assert bravo.ranked(wrong[::-1], right[::-1])["auprc"] == pytest.approx(wanted["auprc_neg"], abs=1e-9)
    assert bravo.ece(right, wrong) == pytest.approx(wanted["ece"], abs=1e-7)


def test_the_limits_of_the_bins_are_the_official_ones():
    assert bravo.LIMITS.tolist() == CASES["ece_bin_limits"]


@pytest.mark.parametrize("case", CASES["aggregation_cases"], ids=lambda case: case["name"])
def test_harmonic_means_are_the_official_ones(case):
    names = {f"{name}_valid": name for name in bravo.SEMANTIC} | {name: name for name in bravo.OOD}
    subsets = {
        subset: {
            ours: case["inputs"][f"{subset}_{theirs}"]
            for theirs, ours in names.items()
            if f"{subset}_{theirs}" in case["inputs"]
        }
        for subset in case["subsets"]
    }
    for name, value in bravo.index(subsets).items():
        wanted = case["expected"].get(name)
        assert value == pytest.approx(float("nan") if wanted is None else wanted, abs=1e-9, nan_ok=True)


def test_sampling_depends_on_the_labels_alone():
    labels = np.full((40, 50), 3, np.uint8)
    labels[:4] = 255
    places = bravo.sampled(labels, 500, 1)
    assert places.size == 500
    assert (np.diff(places) > 0).all()
    assert np.array_equal(places, bravo.sampled(labels, 500, 1))
    assert np.array_equal(bravo.sampled(labels, 5000, 1), np.flatnonzero(labels.reshape(-1) != 255))


def test_invalid_pixels_are_ranked_by_doubt_and_left_out_of_the_class_map():
    labels, invalid = np.uint8([[0, 0, 1, 1, 255]]), np.uint8([[0, 0, 0, 1, 0]])
    sample = Sample(id="a", size=(1, 5), image=lambda: np.zeros((1, 5, 3), np.uint8), labels=labels, anomaly=invalid)
    protocol = bravo.Bravo()
    row = protocol.row(sample, np.uint8([[0, 1, 1, 5, 0]]), np.float32([[0.9, 0.4, 0.8, 0.1, 1.0]]))
    found = protocol.read(None, {"a": row})
    assert found["auroc"].value == found["auprc_error"].value == found["auroc_ood"].value == 1
    assert found["miou"].value == pytest.approx((1 / 2 + 1 / 2) / 2)
    assert found["fpr95_ood"].value == 0


def test_what_is_undefined_says_why():
    labels = np.uint8([[0, 0]])
    sample = Sample(id="a", size=(1, 2), image=lambda: np.zeros((1, 2, 3), np.uint8), labels=labels)
    protocol = bravo.Bravo()
    found = protocol.read(None, {"a": protocol.row(sample, labels, np.float32([[1.0, 0.5]]))})
    assert found["auroc"] == Undefined("no wrong pixels")
    assert found["auroc_ood"] == Undefined("no invalid pixels")
