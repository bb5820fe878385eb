"""What every method must do. A file in methods/, or in a folder of $BENCH_PLUGINS, is tested by being there."""

import os
import re
import subprocess
import sys
from dataclasses import fields, replace
from functools import cache
from typing import ClassVar, get_origin, get_type_hints

import numpy as np
import pytest
import torch
from small_sam import write_sam

from bench.api import Estimator, Fitting, Method, Prediction, Refinement, Sample, Scored
from bench.counts.tally import Tally, key_pixels
from bench.fit.flow import checkpoint
from bench.fit.flow.detector import FlowDetector
from bench.fit.sam import SamRefinement
from bench.metrics import ranking
from bench.ops import queries
from bench.suite import registry, scaffold

METHODS = registry.available("method")
USABLE = {name: entry() for name, entry in METHODS.items() if not isinstance(entry, registry.Unavailable)}
CLASSES = 19
OFFSETS = torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0])  # there are two features for each of them and each logit
UNREAD = 34  # features that no class reads, all but one of them dead
AMPLE = 16.0  # a logit that is sure
UNSURE = np.zeros((24, 32), bool)  # in images to fit on: two segments for those that describe segments
UNSURE[8:20, 4:20] = UNSURE[1:6, 24:29] = True


@pytest.fixture(params=METHODS, ids=str)
def method(request):
    entry = METHODS[request.param]
    assert not isinstance(entry, registry.Unavailable), entry.reason
    return entry()


def says(logits):
    """Return the prediction of a network with every output that the contract names, all of which say the same.

    ``features`` [224, h, w] are not negative: the positive and the negative part of each logit, moved by five offsets
    that add up to 0, whose differences ``classify`` averages, one that rises where no class leads by 10, and dead ones.
    Of a mask classifier query k is sure of class k, and its mask is where the softmax of class k is large. Heads for
    outliers, and the network's own score, rise where the softmax is spread. Each of three members favours a class.
    """

    def classify(features):
        positive, negative = features[:-UNREAD].reshape(2, len(OFFSETS), CLASSES, *features.shape[1:]).mean(dim=1)
        return positive - negative

    size = (logits.shape[1], logits.shape[2])
    shares = logits.softmax(dim=0)
    best = logits.topk(2, dim=0).values
    astray = (10 - (best[0] - best[1])).clamp(min=0)[None]
    moved = (logits + OFFSETS[:, None, None, None]).flatten(0, 1)
    unsure = 1 - shares.amax(dim=0)
    query_logits = torch.full((CLASSES, CLASSES + 1), -AMPLE).fill_diagonal_(AMPLE)
    query_masks = shares.square().clamp(1e-6, 1 - 1e-6).logit()  # where nobody is sure, no mask is
    favoured = 2 * torch.eye(CLASSES)[[0, 6, 12], :, None, None]
    outputs = {
        "logits": logits,
        "members": logits + favoured,
        "features": torch.cat([moved.relu(), (-moved).relu(), astray, torch.zeros(UNREAD - 1, *size)]),
        "query_logits": query_logits,
        "query_masks": query_masks,
        "query_negative": torch.full((CLASSES,), -AMPLE),
        "class_scores": queries.class_scores(query_logits, query_masks, size),
        "void_logit": logits.logsumexp(dim=0) + unsure.clamp(1e-6, 1 - 1e-6).logit(),
        "ood_logit": unsure.clamp(1e-6, 1 - 1e-6).logit(),
        "score": unsure,
    }
    image = torch.arange(size[1], dtype=torch.uint8).expand(3, *size)

    def again(pixels):
        return says(logits.flip(-1) if torch.equal(pixels, image.float().flip(-1)) else logits)

    def forward(pixels):
        return logits[None] * (1 + (pixels - image).mean(dim=1, keepdim=True) / 255)

    return Prediction(outputs, size, image=image, again=again, classify=classify, dropout=0.2, forward=forward)


def prediction(scale=1.0):
    return says(torch.randn(CLASSES, 5, 7, generator=torch.Generator().manual_seed(0)) * scale)


def sample(name, seen):
    """Return an image with labels, and anomalies: in two of three pixels the label is the network's class, else any.

    Where the network is unsure there is no label.
    """
    draws = np.random.default_rng(len(name))
    labels, size = seen.argmax.numpy().copy(), seen.size
    other = draws.random(size) < 1 / 3
    labels[other] = draws.integers(CLASSES, size=size, dtype=np.uint8)[other]
    labels[UNSURE] = 255
    anomaly = (draws.random(size) < 0.3).astype(np.uint8)
    anomaly[:8] = 0
    return Sample(name, size, lambda: np.zeros((*size, 3), np.uint8), labels, anomaly)


def stream():
    """Yield images to fit on, with logits as those of a network that knows its training images."""
    generator = torch.Generator().manual_seed(2)
    for name in ("a", "bb", "ccc"):
        logits = torch.randn(CLASSES, 24, 32, generator=generator)
        leading = torch.randint(CLASSES, (1, 24, 32), generator=generator)
        logits.scatter_add_(0, leading, 14 + 2 * torch.randn(1, 24, 32, generator=generator))
        logits[:, torch.from_numpy(UNSURE)] *= 0.1
        seen = says(logits)
        yield seen, sample(name, seen)


@cache
def fitted(method, also=False):
    """Return a method as its fit leaves it, and the state: where it means nothing otherwise, ``also`` elsewhere."""
    fitting = method.fitting
    if not isinstance(fitting, Fitting) or not (fitting.must or also):
        return method, {}
    if fitting.trainer is None:
        return method, method.fit(stream(), 0)
    trainer = registry.build("trainer", fitting.trainer, {}, where="test")
    if isinstance(trainer, Estimator):
        return method, trainer.fit(stream(), 0)
    if isinstance(method, FlowDetector):  # trained for hours: the flow that ships for ToyNet
        shipped = checkpoint.read(checkpoint.find(f"toynet_{method.name}"))
        return replace(method, evidence=shipped.evidence, upsample=shipped.upsample), shipped.state
    pytest.skip(f"{fitting.trainer} trains for long: nothing fitted is at hand")


def score(method, prediction):
    method, state = fitted(method)
    returned = method.score(prediction, state)
    return returned.score if isinstance(returned, Scored) else returned


def test_it_says_where_it_comes_from(method):
    module = type(method).__module__
    assert module == f"bench.methods.{method.name}" or module.startswith(registry.FOREIGN)
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
    if hasattr(method, "post"):
        method = replace(method, post="none")  # neighbours are drawn by themselves: smoothing would mix them
    given = score(method, says(logits)).numpy()
    exact, folded = Tally(2), Tally(2)
    exact.add(key_pixels(given, truth.numpy(), 2))
    folded.add(key_pixels(given, truth.numpy(), 2))
    folded.fold()
    right, near = ranking.ranking(exact.counts(), [1], [0]), ranking.ranking(folded.counts(), [1], [0])
    assert right["auroc"].value > (0.5 if "features" in method.needs else 0.9)  # features are similar where logits are
    for name in ("auroc", "ap", "fpr95"):
        assert near[name].value == pytest.approx(right[name].value, abs=1e-3)


def test_its_confidence_is_a_probability_that_falls_as_the_score_rises(method):
    given = np.sort(score(method, prediction(3.0)).numpy().reshape(-1))
    confidence = method.confidence(given)
    if confidence is None:  # it has no such reading, of any score
        assert method.confidence(given[:1]) is None
        return
    assert confidence.shape == given.shape and confidence.min() >= 0 and confidence.max() <= 1
    assert (np.diff(confidence) <= 0).all()


FITTED = [name for name, method in USABLE.items() if isinstance(method.fitting, Fitting)]
SEEN_BY_A_RANDOM_SAM = {
    "objectomaly": {"points_per_side": 3, "least_iou": -10.0, "least_stability": 0.0},
    "sam_boxes": {"threshold": 0.3, "pixels": 4},
}
REFINED = [name for name, method in USABLE.items() if isinstance(method, Refinement)]


def test_no_method_that_ships_is_left_out():
    assert set(METHODS) == set(USABLE) and len(METHODS) >= 45
    assert {"eam", "entropy_meta", "fed_c", "mc_dropout", "mutual_information", "ood_head", "variance"} <= set(USABLE)
    assert set(FITTED) >= {"energy", "entropy", "entropy_meta", "fed_c", "fed_u", "msp", "sml", "softmax_std"}


@pytest.mark.slow
def test_a_method_in_a_folder_of_ones_own_is_tested_by_the_same_tests(tmp_path):
    scaffold.write("method", "plugged", tmp_path / "methods")
    command = [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", "-k", "plugged", __file__]
    environment = os.environ | {"BENCH_PLUGINS": str(tmp_path)}

    def outcome():
        return subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True).stdout

    assert re.search(r"\n10 passed, \d+ deselected in", outcome())
    path = tmp_path / "methods" / "plugged.py"
    path.write_text(path.read_text().replace("(-prediction", "(prediction"))
    assert "FAILED" in (said := outcome()) and "test_it_rates_a_sure_pixel_below_an_unsure_one[plugged]" in said


@pytest.mark.parametrize("name", METHODS)
def test_it_needs_nothing_that_a_network_cannot_offer(name):
    """And it scores a prediction that has no more than that."""
    method, seen = USABLE[name], prediction()
    beside = {"raw", "image", "again", "classify", "dropout", "forward", "labels"}
    seen.raw = {output: tensor for output, tensor in seen.raw.items() if output in method.needs}
    assert method.needs - beside == set(seen.raw) and method.merge in {"merged", "views"}
    for part in {"image", "again", "classify", "dropout", "forward"} - method.needs:
        setattr(seen, part, None)
    assert torch.isfinite(score(method, seen)).all()


@pytest.mark.parametrize("name", FITTED)
def test_what_its_fit_leaves_behind_is_finite_arrays_that_it_can_be_scored_with(name):
    method = USABLE[name]
    fitting = method.fitting
    own = fitting.trainer is None
    if not isinstance(method, SamRefinement):  # it is fitted as the method is that its map begins with
        assert own == (type(method).fit is not Method.fit), "it names a trainer, or has a fit, and not both"
    assert fitting.reads is None or fitting.reads <= {field.name for field in fields(method)}
    method, state = fitted(method, also=True)
    assert state and all(isinstance(array, np.ndarray) and np.isfinite(array).all() for array in state.values())
    returned = method.score(prediction(2.0), state)
    scores = returned.score if isinstance(returned, Scored) else returned
    assert scores.dtype == torch.float32 and torch.isfinite(scores).all()


@pytest.mark.parametrize("fit", [False, True], ids=["unfitted", "fitted"])
@pytest.mark.parametrize("name", REFINED)
def test_a_refinement_decides_about_every_segment_and_changes_the_map_within_its_shape(name, fit, tmp_path):
    method = USABLE[name]
    if isinstance(method, SamRefinement):
        write_sam(tmp_path)
        method = replace(method, sam=str(tmp_path), **SEEN_BY_A_RANDOM_SAM[name])
    state = fitted(method, also=True)[1] if fit else {}
    maps, truths, rows = {}, {}, {}
    for seen, image in stream():
        maps[image.id] = score(method, seen).numpy()
        truths[image.id] = image.anomaly
        rows[image.id] = method.describe(seen, maps[image.id], image.anomaly)
        assert all(len(column) == len(next(iter(rows[image.id].values()))) for column in columns_of(rows[image.id]))
    decision = method.decide(rows, dict.fromkeys(rows, ""), state, 0)
    assert decision.rows.keys() == rows.keys()
    for name_, before in maps.items():
        after = method.apply(before.copy(), truths[name_], decision.rows[name_])
        assert after.shape == before.shape and after.dtype == np.float32 and np.isfinite(after).all()


def columns_of(row):
    """Return the columns of the table that decisions are about."""
    table = next(iter(row)).partition(".")[0]
    return [column for name, column in row.items() if name.startswith(f"{table}.")]


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
