"""Detectors that read logits, or logits and a head: their formulas, worked out by hand."""

import math

import numpy as np
import pytest
import torch

from bench.api import Prediction, Sample
from bench.core.errors import MissingData
from bench.suite import registry


def build(name, **parameters):
    return registry.build("method", name, parameters, where="suite.yaml")


def pixels(*columns, **heads):
    """Return a prediction of one row of pixels, whose softmax is given, and outputs [pixels] beside it."""
    logits = torch.tensor(columns, dtype=torch.float64).log().T[:, None].float()
    outputs = {name: torch.tensor(values)[None] for name, values in heads.items()}
    return Prediction({"logits": logits} | outputs, (1, len(columns)))


def sample(name, labels):
    labels = np.array([labels], np.uint8)
    return Sample(name, labels.shape, lambda: None, labels=labels)


P = (0.5, 0.3, 0.2)


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"gamma": 0.5}, math.sqrt(0.25) + math.sqrt(0.21) + math.sqrt(0.16)),
        ({"gamma": 0.5, "top_classes": 2}, math.sqrt(0.25) + math.sqrt(0.21)),
        ({"gamma": 0.5, "top_classes": 9}, math.sqrt(0.25) + math.sqrt(0.21) + math.sqrt(0.16)),
        ({}, 0.25**0.1 + 0.21**0.1 + 0.16**0.1),
    ],
)
def test_generalised_entropy(parameters, expected):
    assert build("gen", **parameters).score(pixels(P), {}).item() == pytest.approx(expected, rel=1e-6)


def test_generalised_entropy_of_a_sure_pixel_keeps_its_digits():
    """In float32 1 - p is 0 for p = 1 - 1e-9."""
    score = build("gen", gamma=0.5).score(Prediction({"logits": torch.tensor([[[20.0]], [[0.0]]])}, (1, 1)), {})
    assert score.item() == pytest.approx(2 * math.exp(-10), rel=1e-4)


def test_generalised_entropy_is_that_of_the_authors_for_every_pixel_of_a_map():
    """Their sum of p^0.1 (1 - p)^0.1 is over the last M of sorted p."""
    logits = 3 * torch.randn(7, 70, 5, generator=torch.Generator().manual_seed(0))
    largest = logits.double().softmax(dim=0).sort(dim=0).values[-4:]
    expected = (largest**0.1 * (1 - largest) ** 0.1).sum(dim=0).float()
    score = build("gen", top_classes=4).score(Prediction({"logits": logits}, (70, 5)), {})
    torch.testing.assert_close(score, expected, rtol=1e-5, atol=1e-6)


def kl(p, d):
    return sum(a * math.log(a / b) for a, b in zip(p, d, strict=True))


def test_kl_matching():
    """Class 0 is predicted twice, class 1 once, class 2 never; the last pixel has no label."""
    images = [
        (pixels((0.6, 0.3, 0.1), (0.2, 0.7, 0.1)), sample("a", [0, 0])),
        (pixels((0.8, 0.1, 0.1), (0.1, 0.1, 0.8)), sample("b", [1, 255])),
    ]
    method = build("kl_matching")
    state = method.fit(iter(images), 0)
    assert state["pixels"].tolist() == [2, 1]
    np.testing.assert_allclose(state["distributions"], [[0.7, 0.2, 0.1], [0.2, 0.7, 0.1]], rtol=1e-6)
    scores = method.score(pixels(P, (0.1, 0.1, 0.8), (0.2, 0.7, 0.1)), state)[0].tolist()
    assert scores[0] == pytest.approx(kl(P, (0.7, 0.2, 0.1)), rel=1e-5)
    assert scores[1] == pytest.approx(kl((0.1, 0.1, 0.8), (0.7, 0.2, 0.1)), rel=1e-5)  # both are as far
    assert scores[2] == pytest.approx(0, abs=1e-6) and scores[2] >= 0
    backwards = method.fit(reversed(images), 0)
    assert all(np.array_equal(state[name], backwards[name]) for name in state)


@pytest.mark.parametrize(
    ("stream", "said"),
    [
        ([], "no labelled pixel in the data"),
        ([(pixels(P), sample("a", [255]))], "no labelled pixel in the data"),
        ([(pixels(P), Sample("a", (1, 1), lambda: None))], "kl_matching needs labels, sample a has none"),
        ([(Prediction({"probabilities": torch.ones(3, 1, 1)}, (1, 1)), sample("a", [0]))], "say average: logits"),
    ],
)
def test_what_kl_matching_cannot_be_fitted_on_is_said(stream, said):
    with pytest.raises(MissingData, match=said):
        build("kl_matching").fit(iter(stream), 0)


def test_dense_hybrid_is_the_log_of_the_posterior_over_the_likelihood():
    """Logits (1, 3), so that log sum exp z = 1 + log(1 + e^2); the head is sure by (0, 2): sigmoid(2)."""
    prediction = Prediction({"logits": torch.tensor([[[1.0]], [[3.0]]]), "ood_logit": torch.tensor([[2.0]])}, (1, 1))
    expected = -math.log(1 + math.exp(-2)) - 1 - math.log(1 + math.exp(2))
    assert build("dense_hybrid").score(prediction, {}).item() == pytest.approx(expected, rel=1e-6)


def test_uem_is_the_ratio_of_the_head_over_the_best_class():
    prediction = Prediction({"logits": torch.tensor([[[1.0]], [[3.0]]]), "ood_logit": torch.tensor([[2.0]])}, (1, 1))
    assert build("uem").score(prediction, {}).item() == -1


@pytest.mark.parametrize("name", ["dense_hybrid", "uem"])
def test_what_was_trained_with_outliers_is_ranked_apart(name):
    assert build(name).uses_outliers
