"""Scores in ``reference`` fidelity are those of FlowEneDet's code; ``fed_scores.npz`` holds what that code gave."""

from pathlib import Path

import numpy as np
import pytest
import torch

from bench.api import Context, Prediction
from bench.contract.logit_score import LogitScore
from bench.core.errors import BadSuite
from bench.ops import dense
from bench.suite import registry

GIVEN = np.load(Path(__file__).parents[1] / "fixtures" / "fed_scores.npz", allow_pickle=False)
SIZE = (64, 80)  # of the image; logits and features are 16 x 20
STATISTICS = {"mean": GIVEN["class_means"], "variance": GIVEN["class_vars"]}
METHODS = {"MLG": "maxlogit", "MSP": "msp", "ENE": "energy", "STD": "softmax_std", "SML": "sml", "MCD": "mc_dropout"}
POSTS = {0: "none", 1: "boundary"}


def classify(features):
    return torch.nn.functional.conv2d(features[None], torch.from_numpy(GIVEN["mcd_conv_w"]))[0]


def prediction(size, *, fused=False, image_size=SIZE, classified=False):
    features = torch.from_numpy(GIVEN["feats"][0])
    logits = classify(features) if classified else torch.from_numpy(GIVEN["logits"][0])
    outputs = {"logits": logits, "features": features}
    made = Prediction(outputs, size, classify=classify, dropout=1e-12)  # nothing is ever dropped
    made.context = Context(image_size, fused=fused)
    return made


def build(name, post, **parameters):
    return registry.build("method", name, {"fidelity": "reference", "post": POSTS[post], **parameters}, where="")


@pytest.mark.parametrize("fused", [False, True], ids=["torch", "compiled"])
@pytest.mark.parametrize("post", POSTS)
@pytest.mark.parametrize("name", METHODS)
def test_every_score_of_the_source(name, post, fused):
    """Head level: without post-processing its map is 16 x 20, with it 64 x 80."""
    expected = GIVEN[f"{name}_post{post}"][0, 0]
    seen = prediction(expected.shape, fused=fused, image_size=SIZE if post else (16, 20), classified=name == "MCD")
    state = STATISTICS if name == "SML" else {}
    scored = build(METHODS[name], post).score(seen, state)
    np.testing.assert_allclose(scored.score.numpy(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("post", POSTS)
def test_a_constant_confidence_is_the_source_s_dummy(post):
    class Dummy(LogitScore):
        name, source = "dummy", "the source's DUM"

        def score(self, prediction, state):
            return self.by_source(prediction, lambda logits: torch.zeros(logits.shape[1:]))

    expected = GIVEN[f"DUM_post{post}"][0, 0]
    given = Dummy(fidelity="reference", post=POSTS[post]).score(prediction(expected.shape), {})
    np.testing.assert_allclose(given.score.numpy(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["msp", "maxlogit", "energy", "softmax_std"])
def test_inside_a_window_the_logits_go_to_image_size_first(name):
    """A window of half the image: the map is made at 64 x 80 and squeezed to 64 x 40, and so are the logits."""
    whole, window = prediction(SIZE), prediction((64, 40))
    there, here = (build(name, 1).score(seen, {}) for seen in (whole, window))
    torch.testing.assert_close(here.score, dense.resize(there.score, (64, 40)), rtol=0, atol=0)
    torch.testing.assert_close(
        here.logits, dense.resize(dense.resize(whole.raw["logits"], SIZE), (64, 40)), rtol=0, atol=0
    )
    assert there.logits is None and there.labels is None


@pytest.mark.parametrize("name", ["msp", "softmax_std"])
def test_at_another_scale_all_goes_by_way_of_the_network_s_input_size(name):
    """Half the scale: the map of 16 x 20 is made as ever, brought to 32 x 40 and only then to the image's size."""
    half, plain = prediction((32, 40)), prediction((16, 20), image_size=(16, 20))
    given, expected = (build(name, 0).score(seen, {}) for seen in (half, plain))
    torch.testing.assert_close(given.score, dense.resize(expected.score, (32, 40)), rtol=0, atol=0)
    torch.testing.assert_close(given.logits, dense.resize(half.raw["logits"], (32, 40)), rtol=0, atol=0)


def test_what_the_reference_needs_of_a_network():
    method = build("msp", 0)
    assert method.needs == {"logits", "raw"} and method.merge == "views" and method.fitting is None
    plain = registry.build("method", "msp", {}, where="")
    assert plain.needs == {"logits"} and plain.merge == "merged" and not plain.fitting.must
    assert method.confidence(np.zeros((1, 1), np.float32)) is None


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("msp", {"post": "gaussian"}, r"the Gaussian is part of the score; say post: none, or boundary"),
        ("energy", {"temperature": 2.0}, r"reference fidelity has no temperature; leave it out"),
        ("mc_dropout", {"measure": "variance"}, r"reference fidelity has no variance; leave measure out"),
    ],
)
def test_what_the_source_does_not_have_is_refused(name, given, said):
    with pytest.raises(BadSuite, match=said):
        registry.build("method", name, {"fidelity": "reference"} | given, where="suite.yaml")


@pytest.mark.parametrize("post", ["gaussian", "boundary"])
@pytest.mark.parametrize("name", ["msp", "maxlogit", "energy", "entropy", "softmax_std"])
def test_post_processing_follows_the_plain_score(name, post):
    from bench.ops import smoothing

    seen = prediction(SIZE)
    plain = registry.build("method", name, {}, where="").score(seen, {})
    given = registry.build("method", name, {"post": post}, where="").score(seen, {})
    expected = smoothing.gaussian(plain) if post == "gaussian" else smoothing.boundary(plain, seen.labels)
    assert torch.equal(given, expected) and not torch.equal(given, plain)


def test_the_standard_deviation_is_ranked_backwards():
    """1 - sum p^2 of three classes by hand, and against torch on random logits."""
    method = registry.build("method", "softmax_std", {}, where="")
    z = torch.tensor([0, np.log(2), np.log(5)], dtype=torch.float32).reshape(3, 1, 1)
    assert method.score(Prediction({"logits": z}, (1, 1)), {}).item() == pytest.approx(1 - (1 + 4 + 25) / 64)
    logits = 3 * torch.randn(19, 20, 30, generator=torch.Generator().manual_seed(0))
    given = method.score(Prediction({"logits": logits}, (20, 30)), {}).double()
    deviation = ((1 - given - 1 / 19) / 18).clamp(min=0).sqrt()
    torch.testing.assert_close(deviation, logits.double().softmax(0).std(0), rtol=1e-5, atol=1e-7)
    sure = Prediction({"logits": torch.tensor([30.0, 0.0, 0.0]).reshape(3, 1, 1)}, (1, 1))
    assert method.score(sure, {}).item() == pytest.approx(4 * np.exp(-30.0), rel=1e-5)
