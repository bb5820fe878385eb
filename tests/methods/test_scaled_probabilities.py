"""Vector scaling and Dirichlet calibration: their formulas, their optima, and fits that no order changes."""

import math

import numpy as np
import pytest
import torch
from running import run

from bench.api import Prediction, Sample
from bench.core.errors import MissingData
from bench.suite import registry

NAMES = ["vector_scaling", "dirichlet"]


def build(name, **parameters):
    return registry.build("method", name, parameters, where="suite.yaml")


def pixels(*logits):
    return Prediction({"logits": torch.tensor(logits, dtype=torch.float32).T[:, None]}, (1, len(logits)))


def state(weight, offset):
    return {"weight": np.array(weight, float), "offset": np.array(offset, float)}


def test_vector_scaling_is_a_factor_and_an_offset_of_each_logit():
    """Logits (1, 3) become (2 + 0, 1.5 + log 2): the first is behind by 1.5 + log 2 - 2."""
    behind = math.exp(2 - 1.5 - math.log(2))
    given = state([[2, 0], [0, 0.5]], [0, math.log(2)])
    score = build("vector_scaling").score(pixels((1, 3)), given).item()
    assert score == pytest.approx(behind / (1 + behind) if behind < 1 else 1 / (1 + behind), rel=1e-6)
    entropy = build("vector_scaling", measure="entropy").score(pixels((1, 3)), given).item()
    assert entropy == pytest.approx(-score * math.log(score) - (1 - score) * math.log(1 - score), rel=1e-5)
    assert build("vector_scaling").confidence(np.float32([0.25])).tolist() == [0.75]
    assert build("vector_scaling", measure="entropy").confidence(np.float32([0.25])) is None


def test_dirichlet_maps_the_logarithms_of_the_probabilities():
    """Of p = (1/4, 3/4), W = (1 1/2; 0 2) and b = (0, 1) make (log 1/4 + log(3/4) / 2, 2 log(3/4) + 1)."""
    first, second = math.log(1 / 4) + math.log(3 / 4) / 2, 2 * math.log(3 / 4) + 1
    score = build("dirichlet").score(pixels((5, 5 + math.log(3))), state([[1, 0.5], [0, 2]], [0, 1])).item()
    assert score == pytest.approx(1 / (1 + math.exp(second - first)), rel=1e-5)


FACTORS, OFFSETS = np.array([0.5, 1.5, 1.0]), np.array([1.0, -0.5, -0.5])


def drawn(images=4, size=(40, 60), classes=3):
    """Yield images whose labels are drawn from softmax(w z + b), of which the first row has none."""
    draws = np.random.default_rng(0)
    for number in range(images):
        logits = 2 * draws.standard_normal((classes, *size)).astype(np.float32)
        mapped = logits[:3] * FACTORS[:, None, None] + OFFSETS[:, None, None]
        labels = (mapped + draws.gumbel(size=mapped.shape)).argmax(axis=0).astype(np.uint8)
        labels[0] = 255
        sample = Sample(f"s{number}", size, lambda: None, labels=labels)
        yield Prediction({"logits": torch.from_numpy(logits)}, size), sample


def labelled(parts):
    logits = np.concatenate([seen.raw["logits"].flatten(1).numpy().T for seen, _ in parts]).astype(float)
    labels = np.concatenate([sample.labels.reshape(-1) for _, sample in parts])
    return logits[labels != 255], labels[labels != 255].astype(int)


def softmax(logits):
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def test_vector_scaling_finds_the_map_that_labels_were_drawn_from_and_its_likelihood_is_greatest_there():
    """There the probabilities of a class add up to its pixels, with and without its logit as a weight."""
    parts = list(drawn())
    fitted = build("vector_scaling").fit(iter(parts), 0)
    weight, offset = np.diag(fitted["weight"]), fitted["offset"]
    np.testing.assert_allclose(weight, FACTORS, atol=0.06)
    np.testing.assert_allclose(offset, OFFSETS - OFFSETS.mean(), atol=0.06)
    logits, labels = labelled(parts)
    amiss = softmax(logits * weight + offset) - np.eye(3)[labels]
    np.testing.assert_allclose(amiss.mean(axis=0), 0, atol=2e-5)
    np.testing.assert_allclose((amiss * logits).mean(axis=0), 0, atol=2e-5)
    assert fitted["pixels"].tolist() == np.bincount(labels).tolist()


@pytest.mark.parametrize(("off_diagonal", "intercept"), [(1.0, 1.0), (0.25, 4.0)])
def test_dirichlet_minimises_the_papers_loss(off_diagonal, intercept):
    parts = list(drawn())
    fitted = build("dirichlet", off_diagonal=off_diagonal, intercept=intercept).fit(iter(parts), 0)
    logits, labels = labelled(parts)
    inputs = np.log(softmax(logits))

    def loss(weight, offset):
        shares = softmax(inputs @ weight.T + offset)
        beside = weight - np.diag(np.diag(weight))
        penalty = off_diagonal / (3 * 2) * (beside**2).sum() + intercept / 3 * (offset**2).sum()
        return -np.log(shares[np.arange(len(labels)), labels]).mean() + penalty

    best = loss(fitted["weight"], fitted["offset"])
    assert best < loss(np.eye(3), np.zeros(3))
    draws = np.random.default_rng(1)
    for _ in range(20):
        step = 1e-2 * draws.standard_normal((4, 3))
        assert best < loss(fitted["weight"] + step[:3], fitted["offset"] + step[3])


@pytest.mark.parametrize("name", NAMES)
def test_a_fit_is_of_pixels_that_the_seed_draws_whatever_their_order(name):
    method = build(name, size=900)
    first, again = method.fit(drawn(), 0), method.fit(reversed(list(drawn())), 0)
    assert all(np.array_equal(first[key], again[key]) for key in first)
    assert first["pixels"].sum() == 900
    assert not np.array_equal(first["weight"], method.fit(drawn(), 1)["weight"])
    assert method.fitting.reads >= {"size"} and "measure" not in method.fitting.reads


@pytest.mark.parametrize("name", NAMES)
def test_a_class_that_no_pixel_has_is_mapped_as_an_average_class_is(name):
    fitted = build(name).fit(drawn(classes=4), 0)
    weight = fitted["weight"]
    assert fitted["pixels"][3] == 0 and fitted["offset"][3] == 0
    assert weight[3, 3] == pytest.approx(np.diag(weight)[:3].mean())
    assert not weight[3, :3].any() and not weight[:3, 3].any()


@pytest.mark.parametrize("name", NAMES)
def test_what_cannot_be_fitted_is_said(name):
    (seen, sample), *_ = drawn(1)
    sure = Sample("b", seen.size, lambda: None, labels=seen.argmax.numpy())
    with pytest.raises(MissingData, match=f"{name} cannot be fitted: its likelihood has no optimum on these pixels"):
        build(name).fit(iter([(seen, sure)]), 0)
    unlabelled = Sample("c", seen.size, lambda: None, labels=np.full(seen.size, 255, np.uint8))
    with pytest.raises(MissingData, match=f"{name} cannot be fitted: no labelled pixel in the data"):
        build(name).fit(iter([(seen, unlabelled)]), 0)
    with pytest.raises(MissingData, match=f"{name} needs labels, sample d has none"):
        build(name).fit(iter([(seen, Sample("d", seen.size, lambda: None))]), 0)
    averaged = Prediction({"probabilities": torch.ones(3, *seen.size) / 3}, seen.size)
    with pytest.raises(MissingData, match="gives no logits; say average: logits"):
        build(name).fit(iter([(averaged, sample)]), 0)


SUITE = """
protocols: [misclassification, calibration]
models: [toynet]
datasets:
  - toytown: {split: val, images: 2, height: 64, width: 128}
methods:
  - msp
  - vector_scaling: {size: 2000, fit: &labelled {data: {toytown: {split: train, images: 2, height: 64, width: 128}}}}
  - vector_scaling: {size: 2000, measure: entropy, fit: *labelled}
  - dirichlet: {size: 2000, fit: *labelled}
bootstrap: 0
"""


def test_measures_share_a_fit_and_calibrated_probabilities_are_confidences(tmp_path, home):
    (tmp_path / "suite.yaml").write_text(SUITE)
    results = run(tmp_path / "suite.yaml", tmp_path / "run")
    assert len(list((home / "fitted").glob("*.safetensors"))) == 2
    methods = {(r.labels.protocol, r.cell.method.name, r.cell.method.params.get("measure")): r.metrics for r in results}
    for name in NAMES:
        assert 0.5 < methods["misclassification", name, "msp"]["auroc"].value < 1
        assert 0 < methods["calibration", name, "msp"]["ece"].value < 0.1
    assert methods["misclassification", "vector_scaling", "entropy"]["auroc"].value > 0.5
    assert "needs" in methods["calibration", "vector_scaling", "entropy"]["ece"].reason
