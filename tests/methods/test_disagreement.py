"""Measures over members and over passes with dropout: one formula, held to its definition and to mc_dropout."""

import pytest
import torch

import bench
from bench.api import Prediction
from bench.core.errors import BadSuite
from bench.suite import registry

NAMES = ["mutual_information", "expected_entropy", "variance"]
SIZE = (6, 8)


def build(name, **parameters):
    return registry.build("method", name, parameters, where="suite.yaml")


def entropy(probabilities, dim):
    return -torch.xlogy(probabilities, probabilities).sum(dim)


def members(count=4):
    return 3 * torch.randn(count, 5, *SIZE, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("name", NAMES)
def test_over_members_they_are_what_they_say(name):
    p = members().double().softmax(dim=1)
    expected = {
        "expected_entropy": entropy(p, 1).mean(0),
        "mutual_information": entropy(p.mean(0), 0) - entropy(p, 1).mean(0),
        "variance": p.var(0, unbiased=False).sum(0),
    }[name]
    score = build(name).score(Prediction({"members": members()}, SIZE), {})
    assert score.shape == SIZE and score.dtype == torch.float32 and score.std() > 0.01
    torch.testing.assert_close(score.double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_over_dropout_they_have_every_bit_of_mc_dropout(name):
    generator = torch.Generator().manual_seed(0)
    features, weight = torch.rand(24, *SIZE, generator=generator), torch.randn(5, 24, generator=generator)

    def classify(maps):
        return torch.einsum("cd,dhw->chw", weight, maps)

    seen = Prediction({"logits": classify(features), "features": features}, SIZE, classify=classify, dropout=0.3)
    score = build(name, over="dropout", passes=9).score(seen, {})
    assert torch.equal(score, build("mc_dropout", measure=name, passes=9).score(seen, {}))
    assert not torch.equal(score, build(name, over="dropout", passes=10).score(seen, {}))


@pytest.mark.parametrize("name", NAMES)
def test_members_that_agree_leave_nothing_to_disagree_about(name):
    same = members(1).expand(3, -1, -1, -1)
    score = build(name).score(Prediction({"members": same}, SIZE), {})
    if name == "expected_entropy":
        assert torch.allclose(score, entropy(same[0].softmax(dim=0), 0), atol=1e-6)
    else:
        assert score.abs().max() < 1e-6


def test_what_dropout_draws_with_is_refused_where_members_are_asked():
    with pytest.raises(BadSuite, match="passes and rate are those of dropout; leave them out, or say over: dropout"):
        build("variance", passes=8)
    assert build("variance").needs == {"members", "raw"} and build("variance").merge == "views"
    assert build("variance", over="dropout", rate=0.2).needs == {"logits", "features", "raw", "classify"}


def test_a_notebook_scores_members_of_one_image_and_of_several():
    scorer = bench.method("mutual_information")
    one, other = members(), members().flip(0) * 0.5
    alone = scorer({"members": one})
    assert alone.shape == SIZE
    together = scorer({"members": torch.stack([one, other])})
    assert torch.equal(together, torch.stack([alone, scorer({"members": other})]))
