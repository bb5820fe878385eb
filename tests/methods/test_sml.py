"""Standardised maximum logit: statistics that no order can change, the source's rule, and what is refused."""

import json
import math

import numpy as np
import pytest
import torch

from bench.api import CITYSCAPES, Constants, Prediction, Sample
from bench.cli.main import main
from bench.core.errors import MissingData
from bench.methods.sml import PUBLISHED
from bench.ops import smoothing
from bench.suite import registry

CLASSES, SIZE = 6, (20, 30)


def build(**parameters):
    return registry.build("method", "sml", parameters, where="suite.yaml")


def images(count=5, seed=0, size=SIZE):
    """Class 4 is never predicted, class 5 in one pixel of all."""
    generator = torch.Generator().manual_seed(seed)
    for index in range(count):
        logits = torch.randn(CLASSES, *size, generator=generator) * (1 + index) + torch.arange(CLASSES)[:, None, None]
        logits[4:] = -100
        if index == 2:
            logits[5, 3, 3] = 50
        labels = torch.randint(4, size, generator=generator).byte().numpy()
        labels[:2] = 255
        yield Prediction({"logits": logits}, size), Sample(f"s{index}", size, lambda: None, labels=labels)


def by_class(given):
    """Maximum logits of all images, by predicted class."""
    tops = torch.cat([one.raw["logits"].flatten(1) for one, _ in given], dim=1).max(dim=0)
    return [tops.values[tops.indices == k].double().numpy() for k in range(CLASSES)], tops.values.double().numpy()


def test_the_fit_is_the_mean_and_variance_over_all_pixels():
    given = list(images())
    state = build().fit(iter(given), 0)
    values, _ = by_class(given)
    assert state["pixels"].tolist() == [len(one) for one in values] and state["pixels"].sum() == 5 * 600
    for k in range(4):
        assert state["mean"][k] == pytest.approx(values[k].mean(), rel=1e-13)
        assert state["variance"][k] == pytest.approx(values[k].var(), rel=1e-12)


def test_a_class_that_was_hardly_predicted_is_an_average_one():
    given = list(images())
    state = build().fit(iter(given), 0)
    _, everything = by_class(given)
    for k in (4, 5):
        assert state["pixels"][k] == k - 4
        assert state["mean"][k] == pytest.approx(everything.mean(), rel=1e-13)
        assert state["variance"][k] == pytest.approx(everything.var(), rel=1e-12)


def test_no_order_of_the_images_changes_a_digit():
    given = list(images(40, size=(6, 7)))
    first = build().fit(iter(given), 0)
    for seed in range(5):
        order = np.random.RandomState(seed).permutation(len(given))
        other = build().fit((given[at] for at in order), 0)
        assert all(np.array_equal(first[name], other[name]) for name in first)


def test_large_logits_keep_their_variance():
    """Sums of squares would lose it: the logits lie at 10000 and vary by 0.01."""
    generator = torch.Generator().manual_seed(0)
    logits = 10000 + 0.01 * torch.randn(1, *SIZE, generator=generator)
    given = [(Prediction({"logits": logits}, SIZE), Sample("s", SIZE, lambda: None))]
    assert build().fit(iter(given), 0)["variance"][0] == pytest.approx(logits.double().numpy().var(), rel=1e-9)


def test_the_score_is_the_distance_to_the_mean_in_deviations():
    given = list(images(1))
    seen = given[0][0]
    state = {"mean": np.arange(6.0), "variance": np.array([1.0, 4.0, 9.0, 16.0, 25.0, 36.0])}
    plain = build(post="none").score(seen, state)
    k = seen.argmax.long()
    torch.testing.assert_close(plain, (k - seen.max_logit) / (k + 1), rtol=1e-6, atol=1e-6)
    assert torch.equal(build().score(seen, state), smoothing.boundary(plain, seen.labels))


def momentum(given):
    """The rule written down once more, class by class."""
    found = []
    for k in range(CLASSES):
        mean, variance, hits = 0.0, 1.0, 0
        for prediction, sample in given:
            tops = prediction.raw["logits"].max(dim=0)
            right = (tops.indices.numpy() == k) & (sample.labels == k)
            if right.sum() > 1:
                values = tops.values.double().numpy()[right]
                old = 0.99 if hits else 0.0
                mean = old * mean + (1 - old) * values.mean()
                variance = old * variance + (1 - old) * values.var()
                hits += 1
        found.append((mean, variance))
    return np.array(found).T


def test_the_rule_of_the_source():
    given = list(images())
    state = build(fidelity="reference").fit(iter(given), 0)
    mean, variance = momentum(given)
    np.testing.assert_allclose(state["mean"], mean, rtol=1e-12)
    np.testing.assert_allclose(state["variance"], variance, rtol=1e-12)
    assert (state["mean"][4], state["variance"][4]) == (0, 1)  # never seen
    backwards = build(fidelity="reference").fit(reversed(given), 0)
    assert not np.allclose(backwards["mean"][:4], state["mean"][:4], rtol=1e-3)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_statistics(name):
    mean, variance = (np.array(values) for values in PUBLISHED[name])
    assert mean.shape == variance.shape == (19,) and (variance > 0).all()
    logits = torch.full((19, 1, 19), -5.0)
    for k in range(19):
        logits[k, 0, k] = mean[k] + 2 * math.sqrt(variance[k])
    method = build(statistics=name, post="none")
    given = method.score(Prediction({"logits": logits}, (1, 19)), {})
    np.testing.assert_allclose(given, np.full((1, 19), -2.0), rtol=1e-5)
    assert method.fitting == Constants(CITYSCAPES)


def test_published_statistics_to_the_digit():
    """First, last and sum of each set: no number can be mistyped alone."""
    ends = {name: (mean[0], mean[-1], variance[0], variance[-1]) for name, (mean, variance) in PUBLISHED.items()}
    assert ends == {
        "deeplabv3plus_r101": (9.08941269, 6.20896339, 2.55288291, 1.87817681),
        "deeplabv3plus_r101_older": (9.245036, 7.2537894, 0.20769611, 1.2293454),
        "segformer_b2": (5.3805456, 2.6950345, 2.1149895, 1.3940778),
        "segformer_b5": (5.5343714, 3.1708856, 2.6823127, 1.9024252),
    }
    sums = {name: [round(math.fsum(values), 6) for values in pair] for name, pair in PUBLISHED.items()}
    assert sums == {
        "deeplabv3plus_r101": [128.565455, 37.640955],
        "deeplabv3plus_r101_older": [152.370731, 19.709324],
        "segformer_b2": [56.538575, 24.799316],
        "segformer_b5": [65.283197, 32.835776],
    }


def same(value):
    return Prediction({"logits": torch.full((3, 4, 5), value)}, (4, 5)), Sample(
        "s", (4, 5), lambda: None, labels=np.zeros((4, 5), np.uint8)
    )


@pytest.mark.parametrize(
    ("fidelity", "stream", "said"),
    [
        ("corrected", [], r"there is no image in the data"),
        ("corrected", [same(1.0), same(1.0)], r"maximum logit is the same in every pixel"),
        ("reference", [], r"no two pixels of a class are predicted rightly"),
        ("reference", [same(1.0)], r"the maximum logit of class 0 never varies"),
    ],
)
def test_what_cannot_be_fitted_is_said(fidelity, stream, said):
    with pytest.raises(MissingData, match=said):
        build(fidelity=fidelity).fit(iter(stream), 0)


def test_averaged_probabilities_are_refused_with_the_way_out():
    sample = next(images(1))[1]
    averaged = Prediction({"probabilities": torch.full((6, *SIZE), 1 / 6)}, SIZE)
    with pytest.raises(MissingData, match=r"say average: logits"):
        build().fit(iter([(averaged, sample)]), 0)


FIT = "fit: {data: {toytown: {split: train, images: 3, height: 32, width: 64}}}"


def rewrite(tiny, methods):
    tiny.write_text(tiny.read_text().replace("[msp, maxlogit, {energy: {temperature: 2}}, entropy]", methods))


def test_a_suite_fits_once_whatever_is_done_to_the_map_afterwards(tiny, tmp_path, home):
    forms = ["post: none", "post: boundary", "fidelity: reference"]
    rewrite(tiny, "[" + ", ".join(f"{{sml: {{{form}, {FIT}}}}}" for form in forms) + "]")
    out = tmp_path / "run"
    assert main(["run", str(tiny), "--out", str(out), "--only", "protocol=anomaly", "--workers", "0"]) == 0
    assert len(list((home / "fitted").glob("*.safetensors"))) == 2  # one for each fidelity
    figures = {json.loads(path.read_text())["metrics"]["auroc"]["value"] for path in (out / "cells").glob("*.json")}
    assert len(figures) == 3


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("{sml: {}}", "sml means nothing unfitted; say in the suite on what"),
        (
            f"{{sml: {{statistics: segformer_b2, {FIT}}}}}",
            "has nothing to fit with these parameters",
        ),
        (f"{{msp: {{fidelity: reference, {FIT}}}}}", "has nothing to fit with these parameters"),
    ],
)
def test_fits_that_make_no_sense_are_refused_before_anything_runs(tiny, capsys, entry, said):
    rewrite(tiny, f"[{entry}]")
    assert main(["check", str(tiny)]) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_published_statistics_are_for_their_classes_alone(tiny, capsys):
    names = [f"class {k}" for k in range(19)]
    rewrite(tiny, "[{sml: {statistics: segformer_b2}}]")
    text = tiny.read_text().replace("label: tiny}", f"label: tiny, classes: {json.dumps(names)}}}")
    tiny.write_text(text.replace("misclassification, miou, ", ""))
    assert main(["check", str(tiny)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "holds constants for other classes than those of tiny" in said
