"""ODIN: the paper's formula on a network that is worked out by hand, and through the program."""

import math

import pytest
import torch
from running import run

from bench.api import Prediction
from bench.core.errors import BadPlugin
from bench.methods.odin import doubt
from bench.suite import registry

WEIGHT = torch.tensor([[2.0, -1.0, 0.5], [-1.0, 1.0, 0.0]]) / 255  # two classes of three channels, a pixel for itself


def build(**parameters):
    return registry.build("method", "odin", parameters, where="suite.yaml")


def linear(pixels):
    return torch.einsum("kc,nchw->nkhw", WEIGHT, pixels)


def seen(*columns, forward=linear):
    image = torch.tensor(columns, dtype=torch.uint8).T[:, None]
    return Prediction({}, (1, len(columns)), image=image, forward=forward)


def doubted(*logits, temperature):
    """Return the score of logits of one pixel, worked out in float64."""
    shares = [math.exp((logit - max(logits)) / temperature) for logit in logits]
    q = (sum(shares) - 1) / (len(shares) - 1)
    return math.log(q) - math.log(1 - q)


@pytest.mark.parametrize("temperature", [1.0, 1000.0])
def test_the_image_moves_against_the_gradient_of_the_cross_entropy_to_its_own_class(temperature):
    """Logits are (2 r - g + b / 2, g - r): the first pixel is class 0, whose p rises with r and b and falls with g.

    With epsilon 0.01 the difference of its logits grows by 0.01 (3 + 2 + 1/2); the other, class 1, moves the other way.
    """
    scores = build(temperature=temperature, epsilon=0.01).score(seen((200, 100, 50), (10, 200, 20)), {})[0].tolist()
    first = (3 * 200 - 2 * 100 + 50 / 2) / 255 + 0.01 * 5.5
    second = (-3 * 10 + 2 * 200 - 20 / 2) / 255 + 0.01 * 5.5
    assert scores == pytest.approx([doubted(d, 0, temperature=temperature) for d in (first, second)], rel=1e-5)


def test_the_score_ranks_as_the_largest_softmax_does_and_keeps_its_digits():
    """At T = 1000 the largest of 19 softmax values is 1/19 and little more; in float64 all of these are apart."""
    logits = torch.randn(19, 1, 500, generator=torch.Generator().manual_seed(0)) * 3
    score = doubt(logits, 1000.0)[0]
    exact = 1 - (logits.double() / 1000).softmax(dim=0).amax(dim=0)[0]
    assert torch.equal(score.argsort(), exact.argsort()) and len(score.unique()) == 500
    recovered = 1 / (1 + 18 * score.double().sigmoid())  # p of q = sigmoid(score)
    torch.testing.assert_close(1 - recovered, exact, rtol=1e-6, atol=0)


def test_without_a_step_at_temperature_1_it_ranks_as_the_maximum_softmax():
    logits = torch.randn(5, 3, 4, generator=torch.Generator().manual_seed(1))
    there = Prediction({}, (3, 4), image=torch.zeros(3, 3, 4, dtype=torch.uint8), forward=lambda _: logits[None])
    score = build(temperature=1.0, epsilon=0.0).score(there, {})
    p = logits.softmax(dim=0).amax(dim=0)
    assert torch.equal(score.flatten().argsort(), (-p).flatten().argsort())


def test_a_network_whose_logits_do_not_depend_on_its_pixels_is_named():
    with pytest.raises(BadPlugin, match=r"odin: the logits that .* forward gives do not depend on its pixels"):
        build().score(seen((0, 0, 0), forward=lambda pixels: linear(pixels.detach())), {})


SUITE = """
protocols: [anomaly]
models:
  - toynet: {label: whole}
  - toynet: {label: windows, inference: {window: [32, 48], stride: [32, 40], flip: true}}
  - toyquery: {label: queries}
datasets:
  - toytown: {split: anomaly, images: 2, height: 64, width: 128}
methods: [odin, {odin: {label: still, epsilon: 0, temperature: 1}}, msp]
bootstrap: 0
"""


@pytest.mark.slow
def test_networks_with_gradients_are_scored_anywhere_alike_and_others_are_left_out_with_the_reason(tmp_path):
    (tmp_path / "suite.yaml").write_text(SUITE)
    figures = []
    for number, options in enumerate(({"workers": 0}, {"workers": 1, "processes": 2})):
        results = run(tmp_path / "suite.yaml", tmp_path / f"run{number}", **options)
        figures.append({(r.labels.model, r.labels.method): r.metrics["auroc"] for r in results})
    assert figures[0] == figures[1]
    by_pair = figures[0]
    assert by_pair["whole", "still"].value == pytest.approx(by_pair["whole", "msp"].value, abs=0.02)
    assert by_pair["whole", "odin"].value != by_pair["whole", "still"].value
    assert 0 < by_pair["windows", "odin"].value < 1
    assert by_pair["queries", "odin"].reason.startswith("odin needs forward; queries gives ")
