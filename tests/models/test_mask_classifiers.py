"""Scores of mask classifiers and of extra heads: definitions by hand, blocks of rows, views."""

import json
from dataclasses import fields

import numpy as np
import pytest
import torch

from bench.api import Inference, Prediction, Sample, View
from bench.cli.main import main
from bench.core.errors import BadSuite
from bench.models import inference
from bench.ops import dense, queries
from bench.suite import parameters, registry

NAMES = ("rba", "mask_max", "eam", "void_channel", "ood_head", "own")
SIZE = (24, 40)


def method(name):
    return registry.build("method", name, {}, where="x")


def classifier(seed=0, scale=1.0, size=SIZE):
    """A prediction with all that these methods read, at a quarter of the resolution."""
    g = torch.Generator().manual_seed(seed)
    small = size[0] // 4, size[1] // 4
    outputs = {
        "query_logits": torch.randn(7, 6, generator=g) * scale,
        "query_masks": torch.randn(7, *small, generator=g) * scale,
        "logits": torch.randn(5, *small, generator=g) * scale,
        "void_logit": torch.randn(small, generator=g) * scale,
        "ood_logit": torch.randn(small, generator=g) * scale,
        "score": torch.randn(small, generator=g) * scale,
    }
    scores = queries.class_scores(outputs["query_logits"], outputs["query_masks"], size)
    return Prediction(outputs | {"class_scores": scores}, size)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4], ids=lambda scale: f"outputs x {scale:g}")
def test_each_scores_every_pixel_with_a_finite_float_and_leaves_its_input_alone(name, scale):
    given = classifier(scale=scale)
    before = {key: value.clone() for key, value in given.raw.items()}
    score = dense.resize(method(name).score(given, {}), SIZE)
    assert score.dtype == torch.float32 and score.shape == SIZE and torch.isfinite(score).all()
    assert torch.equal(score, dense.resize(method(name).score(classifier(scale=scale), {}), SIZE))
    assert all(torch.equal(value, given.raw[key]) for key, value in before.items())


@pytest.mark.parametrize("name", NAMES)
def test_each_says_where_it_comes_from(name):
    made = method(name)
    assert len(made.source) > 20 and type(made).__module__ == f"bench.methods.{name}" and not fields(made)
    assert made.uses_outliers == (name in {"void_channel", "ood_head"})


def by_hand():
    """One pixel, two queries, two classes: softmax (5, 3, 2) / 10 and (1, 8, 1) / 10, sigmoids 3/4 and 1/2."""
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.8, 0.1]]))
    masks = torch.tensor([np.log(3.0), 0.0], dtype=torch.float32).reshape(2, 1, 1)
    outputs = {"query_logits": logits, "query_masks": masks, "class_scores": queries.class_scores(logits, masks)}
    known = torch.log(torch.tensor([2.0, 3.0])).reshape(2, 1, 1)
    extra = {name: torch.log(torch.tensor([[5.0]])) for name in ("void_logit", "ood_logit")}
    return Prediction(outputs | extra | {"logits": known, "score": torch.tensor([[0.25]])}, (1, 1))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # class scores: 5/10 3/4 + 1/10 1/2 = 0.425 and 3/10 3/4 + 8/10 1/2 = 0.625
        ("rba", np.tanh(1) - np.tanh(0.425) - np.tanh(0.625)),
        ("mask_max", 1 - 0.625),
        ("eam", 1 - (0.5 * 0.75 + 0.8 * 0.5)),
        ("void_channel", 5 / (2 + 3 + 5)),
        ("ood_head", 5 / 6),
        ("own", 0.25),
    ],
)
def test_scores_worked_out_by_hand(name, expected):
    assert method(name).score(by_hand(), {}).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", ["rba", "mask_max", "eam"])
def test_a_pixel_that_one_query_is_sure_of_lies_near_zero_and_one_that_nobody_claims_far_above(name):
    logits = torch.full((3, 4), -12.0)
    logits[[0, 1, 2], [0, 1, 2]] = 12.0
    masks = torch.full((3, 1, 2), -12.0)
    masks[1, 0, 0] = 12.0
    scores = queries.class_scores(logits, masks)
    sure, unclaimed = method(name).score(
        Prediction({"query_logits": logits, "query_masks": masks, "class_scores": scores}, (1, 2)), {}
    )[0]
    assert abs(sure) < 1e-4 and unclaimed > 0.7


@pytest.mark.parametrize(
    ("small", "size"),
    [((7, 9), (20, 31)), ((8, 16), (32, 64)), ((30, 40), (17, 13)), ((5, 5), (5, 5)), ((1, 1), (6, 3))],
    ids=str,
)
def test_blocks_of_rows_give_what_whole_masks_give(small, size, monkeypatch):
    g = torch.Generator().manual_seed(0)
    logits, masks = torch.randn(6, 5, generator=g), torch.randn(6, *small, generator=g) * 6
    whole = torch.einsum("qc,qhw->chw", logits.softmax(1)[:, :-1], dense.resize(masks, size).sigmoid())
    for cells in (1, 6 * size[1] * 3, 10**9):
        monkeypatch.setattr(queries, "CELLS", cells)
        torch.testing.assert_close(queries.class_scores(logits, masks, size), whole, rtol=1e-5, atol=1e-6)


def test_half_precision_masks_are_scored_in_single():
    g = torch.Generator().manual_seed(0)
    logits, masks = torch.randn(3, 4, generator=g).half(), torch.randn(3, 4, 4, generator=g).half()
    scores = queries.class_scores(logits, masks, (8, 8))
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores, queries.class_scores(logits.float(), masks.float(), (8, 8)))


def test_a_hundred_masks_are_never_whole_at_label_size(monkeypatch):
    """What is resized at a time stays within the block: the peak is the scores themselves and a block."""
    largest = 0
    resize = torch.nn.functional.interpolate

    def watched(part, **how):
        nonlocal largest
        found = resize(part, **how)
        largest = max(largest, found.numel())
        return found

    monkeypatch.setattr(queries.functional, "interpolate", watched)
    queries.class_scores(torch.randn(100, 20), torch.randn(100, 16, 32), (64, 128))
    assert 0 < largest <= queries.CELLS < 100 * 1024 * 2048 / 300


IMAGE = np.random.RandomState(0).randint(0, 256, (24, 40, 3)).astype(np.uint8)
SAMPLE = Sample("one", (24, 40), lambda: IMAGE)


def views(how):
    """A mask classifier whose masks depend on each pixel alone."""
    weights = torch.randn(7, 3, generator=torch.Generator().manual_seed(1))
    logits = torch.randn(7, 6, generator=torch.Generator().manual_seed(2))

    def look(view: View) -> Prediction:
        masks = torch.einsum("qc,chw->qhw", weights, view.pixels.float() / 64 - 2)
        scores = queries.class_scores(logits, masks, view.input_size)
        outputs = {"query_logits": logits, "query_masks": masks, "class_scores": scores}
        return Prediction(outputs, view.input_size, labels=scores.argmax(0).byte())

    return [(view, look(view)) for view in inference.views(SAMPLE, how, "cpu")]


@pytest.mark.parametrize("how", [Inference(window=(16, 16), stride=(8, 12)), Inference(flip=True)], ids=str)
def test_windows_and_mirror_images_average_the_scores_of_masks(how):
    plain = views(Inference())
    for name in ("rba", "mask_max", "eam"):
        made, seen = method(name), views(how)
        if made.merge == "views":
            given = inference.merge_scores([v for v, _ in seen], [made.score(p, {}) for _, p in seen])
        else:
            given = made.score(inference.merge(seen, how), {})
        torch.testing.assert_close(given, made.score(plain[0][1], {}), rtol=1e-5, atol=1e-5)


def test_a_merged_prediction_has_class_scores_but_no_queries():
    how = Inference(window=(16, 16))
    merged = inference.merge(views(how), how)
    assert set(merged.raw) == {"class_scores"}
    assert torch.equal(merged.labels, views(Inference())[0][1].labels)


def on_class_scores(name, **more):
    return registry.build("method", name, {"on": "class_scores"} | more, where="x")


SHARES = np.array([0.425, 0.625]) / 1.05  # of the class scores by hand


@pytest.mark.parametrize(
    ("name", "more", "expected"),
    [
        ("msp", {}, SHARES[0]),
        ("maxlogit", {}, -0.625),
        ("entropy", {}, -(SHARES * np.log(SHARES)).sum()),
        ("entropy", {"normalised": True}, -(SHARES * np.log2(SHARES)).sum()),
    ],
)
def test_scores_of_logits_have_a_declared_variant_on_class_scores(name, more, expected):
    made = on_class_scores(name, **more)
    assert made.score(by_hand(), {}).item() == pytest.approx(expected, rel=1e-6)
    assert made.needs == {"class_scores"} and made.fitting is None
    plain = method(name)
    assert plain.needs == {"logits"} and "on" not in parameters.values(plain)
    assert parameters.label(made).startswith(f"{name}[") and "on=class_scores" in parameters.label(made)


@pytest.mark.parametrize("name", ["msp", "maxlogit", "entropy"])
def test_a_pixel_that_no_query_claims_is_the_most_suspicious_and_a_sure_one_keeps_its_digits(name):
    scores = torch.zeros(3, 70, 2)  # more rows than are reduced at once
    scores[0, :, 0], scores[1, :, 0] = 1.0, 1e-9
    score = on_class_scores(name).score(Prediction({"class_scores": scores}, (70, 2)), {})
    largest = {"msp": 2 / 3, "maxlogit": 0.0, "entropy": np.log(3)}[name]
    assert torch.allclose(score[:, 1], torch.tensor(largest, dtype=torch.float32))
    if name != "maxlogit":
        assert (score[:, 0] > 0).all() and (score[:, 0] < 1e-7).all()


@pytest.mark.parametrize(
    ("name", "more", "said"),
    [
        ("msp", {"fidelity": "reference"}, "reference fidelity is of logits"),
        ("msp", {"temperature": 2.0}, "class scores have no temperature"),
        ("entropy", {"temperature": 2.0}, "class scores have no temperature"),
    ],
)
def test_what_class_scores_do_not_have_is_refused(name, more, said):
    with pytest.raises(BadSuite, match=said):
        on_class_scores(name, **more)


SUITE = """
protocols: [anomaly, misclassification]
models: [toyquery, {masks_alone: {}}]
datasets:
  - toytown: {split: anomaly, images: 3, height: 64, width: 128}
methods: [msp, {msp: {on: class_scores}}, {entropy: {on: class_scores}}, {maxlogit: {on: class_scores}}]
bootstrap: 0
"""
MASKS_ALONE = """
from dataclasses import dataclass
from bench.models.toyquery import ToyQuery

@dataclass(frozen=True)
class MasksAlone(ToyQuery):
    name = "masks_alone"
    source = "toyquery without logits"

    @property
    def outputs(self):
        return super().outputs - {"logits"}
"""


def test_the_variants_run_and_what_is_not_applicable_names_them(tmp_path, capsys, monkeypatch):
    (tmp_path / "plugins" / "models").mkdir(parents=True)
    (tmp_path / "plugins" / "models" / "masks_alone.py").write_text(MASKS_ALONE)
    monkeypatch.setenv("BENCH_PLUGINS", str(tmp_path / "plugins"))
    registry.forget()
    (tmp_path / "x.yaml").write_text(SUITE)
    assert (
        main(["run", str(tmp_path / "x.yaml"), "--out", str(tmp_path / "run"), "--workers", "0", "--gallery", "0"]) == 0
    )
    shown = capsys.readouterr()
    assert "say msp: {on: class_scores} for what papers report of mask classifiers" in shown.out + shown.err
    assert main(["show", str(tmp_path / "run"), "--format", "json"]) == 0
    records = json.loads(capsys.readouterr().out)["records"]
    values = {
        (one["model"], one["method"]): one["value"]
        for one in records
        if (one["metric"], one["protocol"]) == ("auroc", "anomaly")
    }
    assert values["toyquery", "msp[on=class_scores]"] > 0.5
    assert values["toyquery", "msp[on=class_scores]"] == values["masks_alone", "msp[on=class_scores]"]
    assert values["toyquery", "msp"] != values["toyquery", "msp[on=class_scores]"]
    monkeypatch.undo()
    registry.forget()
