"""What every method must do. A new file in methods/ is tested by being there."""

from dataclasses import fields
from typing import ClassVar, get_origin, get_type_hints

import numpy as np
import pytest
import torch

from bench.api import Fitting, Method, Prediction, Scored
from bench.counts.tally import Tally, key_pixels
from bench.metrics import ranking
from bench.suite import registry

METHODS = registry.available("method")


@pytest.fixture(params=METHODS, ids=str)
def method(request):
    entry = METHODS[request.param]
    if isinstance(entry, registry.Unavailable):
        pytest.skip(entry.reason)
    if lacking := entry().needs - {"logits", "features", "raw", "classify", "dropout"}:
        pytest.skip(f"needs {', '.join(sorted(lacking))}, which this test's prediction does not give")
    if isinstance(entry().fitting, Fitting) and entry().fitting.must:
        pytest.skip("means nothing unfitted")
    return entry()


def says(logits):
    """What a network with these logits says, each of which is the mean of 8 features."""

    def classify(features):
        return features.reshape(8, -1, *size).mean(dim=0)

    size = (logits.shape[1], logits.shape[2])
    outputs = {"logits": logits, "features": logits.repeat(8, 1, 1)}
    return Prediction(outputs, size, classify=classify, dropout=0.2)


def prediction(scale=1.0):
    return says(torch.randn(19, 5, 7, generator=torch.Generator().manual_seed(0)) * scale)


def score(method, prediction):
    returned = method.score(prediction, {})
    return returned.score if isinstance(returned, Scored) else returned


def test_it_says_where_it_comes_from(method):
    assert type(method).__module__ == f"bench.methods.{method.name}"
    assert len(method.source) > 20 and type(method).__doc__


def test_its_parameters_are_fields_with_defaults(method):
    declared = {name for name, hint in get_type_hints(type(method)).items() if ClassVar not in (hint, get_origin(hint))}
    assert declared == {f.name for f in fields(method)}


@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4], ids=lambda scale: f"logits x {scale:g}")
def test_it_scores_every_pixel_with_a_finite_float(method, scale):
    given = score(method, prediction(scale))
    assert given.shape == (5, 7) and given.dtype == torch.float32
    assert torch.isfinite(given).all()


def test_it_neither_changes_its_input_nor_its_mind(method):
    one = prediction()
    before = one.logits.clone()
    assert torch.equal(score(method, one), score(method, prediction()))
    assert torch.equal(one.logits, before)


def test_it_rates_a_sure_pixel_below_an_unsure_one(method):
    logits = torch.zeros(19, 1, 2)
    logits[3, 0, 0] = 12.0  # left pixel: one class far ahead; right pixel: all equal
    sure, unsure = score(method, says(logits))[0]
    assert sure < unsure


def test_the_leading_24_bits_hold_its_ranking(method):
    """On a confident network, whose softmax is nearly always nearly one."""
    g = torch.Generator().manual_seed(1)
    truth = (torch.rand(40, 100, generator=g) < 0.1).to(torch.uint8)
    logits = torch.randn(19, 40, 100, generator=g)
    logits[4] += 14 - 6 * truth + 2 * torch.randn(40, 100, generator=g)
    given = score(method, says(logits)).numpy()
    exact, folded = Tally(2), Tally(2)
    exact.add(key_pixels(given, truth.numpy(), 2))
    folded.add(key_pixels(given, truth.numpy(), 2))
    folded.fold()
    right, near = ranking.ranking(exact.counts(), [1], [0]), ranking.ranking(folded.counts(), [1], [0])
    assert right["auroc"].value > 0.9
    for name in ("auroc", "ap", "fpr95"):
        assert near[name].value == pytest.approx(right[name].value, abs=1e-3)


def test_its_confidence_is_a_probability_that_falls_as_the_score_rises(method):
    given = np.sort(score(method, prediction(3.0)).numpy().reshape(-1))
    confidence = method.confidence(given)
    if confidence is None:
        pytest.skip("it has no such reading")
    assert confidence.min() >= 0 and confidence.max() <= 1
    assert (np.diff(confidence) <= 0).all()


def logits_of(*values):
    return Prediction({"logits": torch.tensor(values, dtype=torch.float32).reshape(-1, 1, 1)}, (1, 1))


@pytest.mark.parametrize(
    ("name", "params", "expected"),
    [
        # softmax of (0, log 2, log 5) is 1/8, 2/8, 5/8
        ("msp", {}, 3 / 8),
        ("maxlogit", {}, -np.log(5)),
        ("energy", {}, -np.log(8)),
        ("energy", {"temperature": 2.0}, -2 * np.log(1 + np.sqrt(2) + np.sqrt(5))),
        ("entropy", {}, np.log(8) / 8 + np.log(4) / 4 + 5 * np.log(8 / 5) / 8),
        ("msp", {"temperature": 0.5}, 5 / 30),
    ],
)
def test_scores_worked_out_by_hand(name, params, expected):
    method: Method = registry.build("method", name, params, where="")
    assert score(method, logits_of(0, np.log(2), np.log(5))).item() == pytest.approx(expected, rel=1e-6)


def test_a_fitted_temperature_takes_the_place_of_the_parameter():
    method = registry.build("method", "msp", {"temperature": 3.0}, where="")
    fitted = method.score(logits_of(0, np.log(2), np.log(5)), {"temperature": np.array(0.5, np.float32)})
    assert fitted.item() == pytest.approx(5 / 30, rel=1e-6)


def test_a_confident_pixel_keeps_its_digits():
    """1 - max softmax computed so is 0 here in float32; what the other classes hold is not."""
    given = score(registry.build("method", "msp", {}, where=""), logits_of(0, 40))
    assert given.item() == pytest.approx(np.exp(-40), rel=1e-5)
