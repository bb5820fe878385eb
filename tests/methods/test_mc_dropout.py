"""Monte Carlo dropout: its measures against their definitions, its draws, and whose class map stays."""

import numpy as np
import pytest
import torch

from bench.api import Context, Inference, Prediction, Sample, View
from bench.cli.main import main
from bench.contract.network import loaded as load
from bench.core.errors import BadPlugin, BadSuite
from bench.models import inference
from bench.suite import registry

D, C, SIZE = 24, 5, (6, 8)
MEASURES = ["predictive_entropy", "mutual_information", "expected_entropy", "variance"]


def build(**parameters):
    return registry.build("method", "mc_dropout", parameters, where="suite.yaml")


def network(seed=0, scale=1.0):
    """Features and a linear classifier behind a dropout of 0.3."""
    g = torch.Generator().manual_seed(seed)
    features = torch.rand(D, *SIZE, generator=g)
    weight = scale * torch.randn(C, D, generator=g)

    def classify(given):
        return torch.einsum("cd,dhw->chw", weight, given)

    made = Prediction({"logits": classify(features), "features": features}, SIZE, classify=classify, dropout=0.3)
    made.context = Context(SIZE, seed=11)
    return made, weight


def passes(seen, weight, rate=0.3, count=32):
    """float64 [N, C, h, w] logits, from masks drawn once more."""
    kept = torch.rand(count - 1, D, 1, 1, generator=torch.Generator().manual_seed(seen.context.seed)) >= rate
    masks = torch.cat([torch.ones(1, D, 1, 1), kept.float() / (1 - rate)]).double()
    return torch.einsum("cd,ndhw->nchw", weight.double(), masks * seen.raw["features"].double())


def entropy(probabilities, dim):
    return -torch.xlogy(probabilities, probabilities).sum(dim)


@pytest.mark.parametrize("measure", MEASURES)
def test_the_measures_are_what_they_say(measure):
    seen, weight = network()
    p = passes(seen, weight).softmax(dim=1)
    expected = {
        "predictive_entropy": entropy(p.mean(0), 0),
        "expected_entropy": entropy(p, 1).mean(0),
        "mutual_information": entropy(p.mean(0), 0) - entropy(p, 1).mean(0),
        "variance": p.var(0, unbiased=False).sum(0),
    }[measure]
    given = build(measure=measure).score(seen, {})
    assert given.shape == SIZE and given.dtype == torch.float32
    torch.testing.assert_close(given.double(), expected, rtol=1e-5, atol=1e-6)
    assert given.std() > 0.01


@pytest.mark.parametrize("measure", MEASURES)
def test_sure_pixels_keep_their_digits(measure):
    """Where one class is some 20 logits ahead, every measure is below the rounding of 1 and still no tie."""
    seen, weight = network(scale=0.3)
    weight[0] += 18 / D
    seen.raw["logits"].copy_(torch.einsum("cd,dhw->chw", weight, seen.raw["features"] + 1))
    seen.raw["features"].add_(1)
    given = build(measure=measure, rate=0.05).score(seen, {})
    if measure == "mutual_information":
        assert (given >= 0).all() and given.max() < 1e-6
    else:
        assert (given > 0).all() and given.median() < 6e-8 and given.unique().numel() == given.numel()
    if measure in {"predictive_entropy", "expected_entropy"}:
        p = passes(seen, weight, 0.05).softmax(dim=1)
        exact = entropy(p.mean(0), 0) if measure == "predictive_entropy" else entropy(p, 1).mean(0)
        torch.testing.assert_close(given.double(), exact, rtol=1e-3, atol=0)


def test_equal_passes_have_nothing_to_disagree_about():
    seen, _ = network()
    for measure in ("mutual_information", "variance"):
        given = build(measure=measure, rate=1e-9).score(seen, {})
        assert (given >= 0).all() and given.max() < 1e-6


def test_it_draws_from_the_seed_of_the_view_alone():
    seen, _ = network()
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = build().score(seen, {})
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(build().score(seen, {}), first)
    seen.context = Context(SIZE, seed=12)
    assert not torch.equal(build().score(seen, {}), first)


def test_only_what_comes_after_the_dropout_is_repeated_on_whole_channels():
    seen, _ = network()
    given = []
    classify = seen.classify
    seen.classify = lambda features: given.append(features.clone()) or classify(features)
    before = seen.raw["features"].clone()
    build(passes=200, rate=0.25).score(seen, {})
    assert len(given) == 199 and torch.equal(seen.raw["features"], before)
    ratios = torch.stack(given) / before
    shares = ratios.flatten(2)
    assert ((shares - shares[..., :1]).abs() < 1e-6).all()  # a channel is dropped everywhere or nowhere
    values = shares[..., 0]
    assert torch.all((values == 0) | ((values - 1 / 0.75).abs() < 1e-6))
    assert (values == 0).float().mean().item() == pytest.approx(0.25, abs=0.02)


def test_the_rate_is_the_network_s_own_unless_given():
    seen, _ = network()
    own = build().score(seen, {})
    assert torch.equal(build(rate=0.3).score(seen, {}), own)
    assert not torch.equal(build(rate=0.5).score(seen, {}), own)
    seen.dropout = 0.0
    assert torch.equal(build(rate=0.3).score(seen, {}), own)
    with pytest.raises(BadSuite, match=r"rate 0, so that all passes are equal; say the rate .* mc_dropout: \{rate"):
        build().score(seen, {})
    seen.dropout = None
    with pytest.raises(BadPlugin, match=r"says that it gives dropout, but its prediction has no rate"):
        build().score(seen, {})
    seen.classify = None
    with pytest.raises(BadPlugin, match=r"says that it gives classify"):
        build(rate=0.3).score(seen, {})


def test_a_network_needs_no_dropout_of_its_own_where_a_rate_is_given():
    assert build().needs - build(rate=0.3).needs == {"dropout"}
    seen, _ = network()
    own = build(rate=0.3).score(seen, {})
    seen.dropout = None
    assert torch.equal(build(rate=0.3).score(seen, {}), own)


@pytest.mark.parametrize("given", [{"rate": 0}, {"rate": 1.0}, {"passes": 1}, {"measure": "mean"}])
def test_what_makes_no_sense_is_refused(given):
    with pytest.raises(BadSuite, match=r"of method 'mc_dropout'"):
        build(**given)


def test_the_reference_is_the_source_s_form_with_the_class_map_of_the_last_pass():
    from bench.ops import smoothing

    seen, weight = network(scale=0.3)
    z = passes(seen, weight).float()
    mean = z.softmax(dim=1).mean(0)
    confidence = (mean * (mean + 1e-8).log()).sum(0).exp()
    scored = build(fidelity="reference").score(seen, {})
    torch.testing.assert_close(scored.score, 1 - smoothing.gaussian(confidence).sigmoid(), rtol=0, atol=1e-6)
    torch.testing.assert_close(scored.logits, z[-1], rtol=1e-5, atol=1e-5)
    assert not torch.equal(scored.logits.argmax(0), seen.labels.long())


def view(window, scale=1.0, flip=False):
    top, left, bottom, right = window
    pixels = torch.zeros(3, bottom - top, right - left, dtype=torch.uint8)
    scaled = (round(16 * scale), round(32 * scale))
    return View("s", pixels, scale, flip, window, scaled, (16, 32))


def drawn(height, width, seed):
    return torch.randn(C, height, width, generator=torch.Generator().manual_seed(seed))


def test_logits_of_a_method_are_merged_as_those_of_the_network():
    """Two windows at scale 1, one of them altered, and one view at scale 0.5, altered too."""
    views = [view((0, 0, 16, 20)), view((0, 12, 16, 32)), view((0, 0, 8, 16), 0.5)]
    network = [drawn(4, 5, 0), drawn(4, 5, 1), drawn(2, 4, 2)]
    own = [drawn(4, 5, 3), None, drawn(8, 16, 4)]
    seen = [(one, Prediction({"logits": logits}, one.input_size)) for one, logits in zip(views, network, strict=True)]
    given = inference.relabelled(seen, own, Inference(window=(16, 20), stride=(16, 12), scales=(1.0, 0.5)))

    def up(logits, size):
        return torch.nn.functional.interpolate(logits[None], size=size, mode="bilinear", align_corners=False)[0]

    total, count = torch.zeros(C, 16, 32), torch.zeros(32)
    for left, logits in ((0, own[0]), (12, network[1])):
        total[:, :, left : left + 20] += up(logits, (16, 20))
        count[left : left + 20] += 1
    votes = (total / count).softmax(0) + up(own[2], (16, 32)).softmax(0)
    assert torch.equal(given, votes.argmax(0).byte())
    assert not torch.equal(given, inference.relabelled(seen, [None] * 3, Inference(scales=(1.0, 0.5))))


SUITE = """
protocols: [misclassification, anomaly]
models:
  - toynet
  - toynet: {label: scales, inference: {scales: [1.0, 0.5], average: logits}}
  - python: {factory: "net.py:build", label: tiny}
datasets:
  - toytown: {split: anomaly, images: 2}
methods:
  - msp
  - mc_dropout: {passes: 4, label: corrected}
  - mc_dropout: {passes: 4, fidelity: reference, label: reference}
  - mc_dropout: {passes: 4, measure: mutual_information, post: boundary, label: smoothed}
bootstrap: 0
"""


def test_a_run_keeps_the_class_map_but_for_the_reference(tiny, tmp_path, capsys):
    tiny.write_text(SUITE)
    assert main(["run", str(tiny), "--out", str(tmp_path / "run"), "--workers", "0", "--keep-maps"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    for model in ("toynet", "scales"):
        folder = next((tmp_path / "run" / "spool" / model).iterdir())

        def maps(method, kind, folder=folder):
            return np.stack([np.load(path) for path in sorted((folder / method / "float16" / kind).glob("*.npy"))])

        plain = maps("msp", "predictions")
        for method in ("corrected", "smoothed"):
            assert np.array_equal(maps(method, "predictions"), plain)
        changed = (maps("reference", "predictions") != plain).mean()
        assert 0 < changed < 0.3
        assert maps("corrected", "scores").shape == plain.shape and maps("corrected", "scores").std() > 0
    assert "needs classify, dropout, features; tiny gives" in said


def test_the_contract_names_what_is_drawn_per_view():
    """Every view of a sample has a seed of its own, which depends on the suite's seed and the names alone."""
    from bench.models.numerics import Numerics
    from bench.models.toynet import ToyNet

    pixels = np.random.RandomState(0).randint(0, 255, (32, 64, 3)).astype(np.uint8)
    sample = Sample("s", (32, 64), lambda: pixels)
    model = load(ToyNet(inference=Inference(scales=(1.0, 0.5), flip=True)), "cpu")
    numerics = Numerics("cpu", "cpu", 1, "")
    seeds = [one.context.seed for _, one in inference.look(model, sample, numerics, 3, {})[0]]
    assert len(set(seeds)) == 4 and seeds == [
        one.context.seed for _, one in inference.look(model, sample, numerics, 3, {})[0]
    ]
    assert seeds[0] != inference.look(model, sample, numerics, 4, {})[0][0][1].context.seed


ALTERING = '''
from bench.api import Method, Scored


class Altering(Method):
    """Gives logits or labels of its own."""

    name = "altering"
    source = "written for this test alone"
    merge = "{merge}"

    def score(self, prediction, state):
        own = {{"logits": prediction.logits}} if "{what}" == "logits" else {{"labels": prediction.labels}}
        return Scored(-prediction.max_logit, **own)
'''


@pytest.mark.parametrize(
    ("merge", "what", "said"),
    [
        ("merged", "logits", "logits are merged where views are scored; return labels, or say merge = 'views'"),
        ("views", "labels", "a method that alters the class map of views must return their logits"),
    ],
)
def test_a_class_map_in_the_wrong_form_is_refused(tiny, tmp_path, monkeypatch, capsys, merge, what, said):
    (tmp_path / "plugins" / "methods").mkdir(parents=True)
    (tmp_path / "plugins" / "methods" / "altering.py").write_text(ALTERING.format(merge=merge, what=what))
    monkeypatch.setenv("BENCH_PLUGINS", str(tmp_path / "plugins"))
    registry.forget()
    try:
        text = tiny.read_text().replace("[msp, maxlogit, {energy: {temperature: 2}}, entropy]", "[altering]")
        tiny.write_text(text.replace("label: tiny}", "label: tiny, inference: {window: [32, 32]}}"))
        assert main(["run", str(tiny), "--out", str(tmp_path / "run"), "--workers", "0"]) == 3
        assert said in " ".join(capsys.readouterr().err.split())
    finally:
        registry.forget()
