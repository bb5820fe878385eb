"""Detectors that read features: their formulas, worked out by hand, and fits that no order and no sharding changes."""

import math

import numpy as np
import pytest
import torch
from running import run
from torch import nn

from bench.api import Network, Prediction, Sample
from bench.contract.network import loaded
from bench.core.errors import BadSuite, MissingData
from bench.fit.features import head, samples
from bench.fit.features.bank import Bank
from bench.fit.features.moments import Moments
from bench.fit.features.samples import Pixels
from bench.fit.trainers.feature_moments import FeatureMoments
from bench.models.toynet import ToyNet
from bench.ops.tiles import Tiles
from bench.suite import registry


def build(name, **parameters):
    return registry.build("method", name, parameters, where="suite.yaml")


def linear(weight, offset):
    """Return a last layer that is a matrix, on features [D, h, w]."""
    weight, offset = torch.tensor(weight), torch.tensor(offset)
    return lambda features: torch.einsum("cd,dhw->chw", weight, features) + offset[:, None, None]


IDENTITY = linear(torch.eye(4).tolist(), [0.0] * 4)


def row(*features, classify=IDENTITY, logits=None):
    """Return a prediction of one row of pixels; the logits are what the last layer says unless they are given."""
    maps = torch.tensor(features, dtype=torch.float32).T[:, None]
    said = classify(maps) if logits is None else torch.tensor(logits, dtype=torch.float32).T[:, None]
    return Prediction({"features": maps, "logits": said}, (1, len(features)), classify=classify)


def image(prediction, *labels, name="a"):
    labels = np.array([labels], np.uint8)
    return prediction, Sample(name, labels.shape, lambda: None, labels=labels)


def scores(method, state, *features, **given):
    return method.score(row(*features, **given), state)[0].tolist()


CROSS = np.array([(1, 0), (-1, 0), (0, 2), (0, -2)], np.float32)  # variance 1/2 and 2


def crosses():
    """Yield class 0 around (0, 0) and class 1 around (10, 0), with a dead channel; what has no label is far away."""
    for label, centre, name in ((0, (0, 0), "a"), (1, (10, 0), "b")):
        points = np.column_stack([CROSS + np.array(centre, np.float32), np.full(4, 3.0)])
        yield image(row(*points.tolist(), (99, 99, 99), logits=[[0, 0]] * 5), *[label] * 4, 255, name=name)


def test_mahalanobis_distance_to_the_nearest_class():
    """(2, 2) lies 2^2 / (1/2) + 2^2 / 2 from class 0, and a channel that never varies says nothing."""
    state = FeatureMoments().fit(crosses(), 0)
    assert state["pixels"].tolist() == [4, 4] and state["means"].tolist() == [[0, 0, 3], [10, 0, 3]]
    got = scores(build("mahalanobis"), state, (2, 2, 3), (10, 0, 3), (11, 0, 7), logits=[[0, 0]] * 3)
    assert got == pytest.approx([10, 0, 2], abs=1e-4)


def test_relative_mahalanobis_takes_the_distance_to_all_away():
    """All pixels lie around (5, 0) with variance 25 + 1/2 and 2."""
    state = FeatureMoments().fit(crosses(), 0)
    got = scores(build("relative_mahalanobis"), state, (2, 2, 3), (10, 0, 3), logits=[[0, 0]] * 2)
    assert got == pytest.approx([10 - 9 / 25.5 - 2, -25 / 25.5], abs=1e-4)


def drawn(count=4, channels=6, classes=3, size=(9, 11)):
    """Yield images of correlated features and logits that are linear in them; class 2 is never a label."""
    generator = torch.Generator().manual_seed(1)
    mixing = torch.randn(channels, channels, generator=generator)
    weight = torch.randn(classes, channels, generator=generator).tolist()
    layer = linear(weight, [0.5, -0.25, 1.0])
    for number in range(count):
        maps = torch.einsum("ed,dhw->ehw", mixing, torch.randn(channels, *size, generator=generator)) + 3
        labels = torch.randint(2, size, generator=generator).byte().numpy()
        labels[:2] = 255
        seen = Prediction({"features": maps, "logits": layer(maps)}, size, classify=layer)
        yield seen, Sample(f"s{number}", size, lambda: None, labels=labels)


def flat(parts):
    """Return features, float64 [n, D], and labels [n] of all labelled pixels."""
    features = torch.cat([seen.raw["features"].flatten(1).T for seen, _ in parts])
    labels = torch.cat([torch.from_numpy(sample.labels.reshape(-1)) for _, sample in parts])
    keep = labels != 255
    return features[keep].double().numpy(), labels[keep].numpy()


def test_both_distances_are_those_of_inverted_covariances():
    parts = list(drawn())
    state = FeatureMoments().fit(iter(parts), 0)
    features, labels = flat(parts)
    means = np.stack([features[labels == k].mean(axis=0) for k in (0, 1)])
    centred = features - means[labels]
    inverse, whole = (np.linalg.inv(np.cov(rows.T, bias=True)) for rows in (centred, features))
    seen = parts[0][0]
    pixels = seen.raw["features"].flatten(1).T.double().numpy()
    near = np.min([np.einsum("nd,de,ne->n", pixels - m, inverse, pixels - m) for m in means], axis=0)
    moved = pixels - features.mean(axis=0)
    far = np.einsum("nd,de,ne->n", moved, whole, moved)
    np.testing.assert_allclose(build("mahalanobis").score(seen, state).flatten(), near, rtol=2e-4)
    np.testing.assert_allclose(build("relative_mahalanobis").score(seen, state).flatten(), near - far, atol=2e-3)


SQUARE = [(0, 0), (3, 0), (0, 4), (100, 100)]


def test_nearest_neighbours():
    """Of (0, 0) the three nearest are 0, 3 and 4 away."""
    stream = [image(row(*SQUARE, (0, 1), logits=[[0]] * 5), 0, 0, 1, 1, 255)]
    state = build("knn").fit(iter(stream), 0)
    assert sorted(map(tuple, state["bank"].tolist())) == sorted(SQUARE)
    ask = {"logits": [[0]]}
    assert scores(build("knn"), state, (0, 0), **ask) == pytest.approx([7 / 3])
    assert scores(build("knn", k=1), state, (100, 103), **ask) == pytest.approx([3])
    assert scores(build("knn", k=9), state, (0, 0), **ask) == pytest.approx([(7 + math.hypot(100, 100)) / 4])
    turned = (0 + math.sqrt(2 - math.sqrt(2)) + 1) / 3  # from (1, 0) to itself, to the diagonal, and to 0, which stays
    assert scores(build("knn", normalised=True), state, (5, 0), **ask) == pytest.approx([turned])


def test_near_neighbours_far_from_the_origin_keep_their_digits():
    """A square of |a|^2 - 2ab + |b|^2 in float32 would be off by as much as the distance itself."""
    stream = [image(row((1000.0, 1000.01), (1000.0, -1000.0), logits=[[0]] * 2), 0, 0)]
    state = build("knn").fit(iter(stream), 0)
    assert scores(build("knn", k=1), state, (1000.0, 1000.0), logits=[[0]])[0] == pytest.approx(0.01, rel=0.01)


def test_distance_and_energy_combined():
    """Energies are -1 and -3; of points at 0, 3 and 7 the last is farthest from the two others: (4 + 7) / 2."""
    stream = [image(row((0.0,), (3.0,), (7.0,), logits=[[1], [3], [1]]), 0, 0, 0)]
    method = build("cdnp", k=2)
    state = method.fit(iter(stream), 0)
    assert state["energies"].tolist() == [-3, -1] and float(state["farthest"]) == 5.5
    got = scores(method, state, (1.0,), logits=[[2.5]])
    assert got == pytest.approx([(-2.5 + 3) / 2 + 1.5 / 5.5])


def test_virtual_logit():
    """W = (1 0 0; 0 1 0), b = (2, 0): the origin is (-2, 0, 0), and x and y are the principal space."""
    layer = linear([[1.0, 0, 0], [0, 1.0, 0]], [2.0, 0.0])
    stream = [image(row((8, 0, 1), (-12, 0, 1), (-2, 10, 3), (-2, -10, -1), classify=layer), 0, 0, 1, 1)]
    method = build("vim", dims=2)
    with pytest.raises(MissingData, match="dims is 3, and the features have 3 channels"):
        build("vim", dims=3).fit(iter(stream), 0)
    state = method.fit(iter(stream), 0)
    assert state["origin"].tolist() == pytest.approx([-2, 0, 0])
    moved = np.array([(10, 0, 1), (-10, 0, 1), (0, 10, 3), (0, -10, -1)])
    normal = np.linalg.eigh(moved.T @ moved / 4)[1][:, 0]  # nearly z
    assert abs(normal[2]) > 0.9
    alpha = np.mean([10, 0, 10, 0]) / np.abs(moved @ normal).mean()
    assert float(state["alpha"]) == pytest.approx(alpha)
    got = scores(method, state, (0, 1, 5), classify=layer)
    assert got[0] == pytest.approx(alpha * abs(normal @ (2, 1, 5)) - np.logaddexp(2, 1), rel=1e-5)


def test_features_without_a_residual_have_no_virtual_logit():
    layer = linear([[1.0, 0], [0, 1.0]], [0.0, 0.0])
    stream = [image(row((1, 0), (2, 0), (-3, 0), classify=layer), 0, 0, 0)]
    with pytest.raises(MissingData, match=r"all features lie in the 1 principal directions; say fewer"):
        build("vim").fit(iter(stream), 0)


@pytest.mark.parametrize(("percentile", "cut"), [(50, 5.0), (90, 9.0), (91, 10.0), (10, -7.0), (20, 0.0)])
def test_activations_are_cut_off_at_a_percentile_of_training(percentile, cut):
    """Of -7, -0, 3, 4, 5, 6, 7, 8, 9, 10 the n-th is the 10 n-th percentile."""
    values = [(-7.0, -0.0), (3.0, 4.0), (5.0, 6.0), (7.0, 8.0), (9.0, 10.0), (999.0, 999.0)]
    state = build("react", percentile=percentile).fit(
        iter([image(row(*values, classify=linear([[1.0, 0]], [0.0])), 0, 0, 0, 0, 0, 255)]), 0
    )
    assert cut <= float(state["cut"]) <= cut + abs(cut) * 2.0**-11 + 1e-37


def test_free_energy_of_cut_activations():
    got = scores(build("react"), {"cut": np.array(2.0, np.float32)}, (4.0, 3.0, 2.0, 1.0))
    assert got == pytest.approx([-np.logaddexp.reduce([2, 2, 2, 1])])


@pytest.mark.parametrize(
    ("name", "parameters", "shaped"),
    [
        ("ash", {"variant": "p"}, [4, 3, 0, 0]),
        ("ash", {"variant": "b"}, [5, 5, 0, 0]),
        ("ash", {}, [4 * math.exp(10 / 7), 3 * math.exp(10 / 7), 0, 0]),
        ("scale", {}, [value * math.exp(10 / 7) for value in (4, 3, 2, 1)]),
    ],
)
def test_shaped_activations(name, parameters, shaped):
    """Of (4, 3, 2, 1) half is pruned: s1 = 10, s2 = 7."""
    got = scores(build(name, percentile=50, **parameters), {}, (4.0, 3.0, 2.0, 1.0), (0.0, 0.0, 0.0, 0.0))
    assert got[0] == pytest.approx(-np.logaddexp.reduce(shaped), rel=1e-6)
    assert got[1] == pytest.approx(-math.log(4))  # nothing is active: nothing is shaped


def test_sparse_weights():
    """Mean features (1, 1), so that contributions are the weights (1 2; 3 -4): above their median are 2 and 3."""
    layer = linear([[1.0, 2.0], [3.0, -4.0]], [0.5, -1.0])
    method = build("dice", percentile=50)
    state = method.fit(iter([image(row((0, 2), (2, 0), (9, 9), classify=layer), 0, 1, 255)]), 0)
    assert state["kept"].tolist() == [[0, 1], [1, 0]]
    got = scores(method, state, (5.0, 7.0), classify=layer)
    assert got == pytest.approx([-np.logaddexp(2 * 7 + 0.5, 3 * 5 - 1)])


def test_inner_product_with_the_stored_pattern():
    """Class 0 is rightly predicted at (2, 0) and (4, 0), class 1 at none."""
    features = [(2.0, 0.0), (4.0, 0.0), (9.0, 9.0), (0.0, 3.0)]
    stream = [image(row(*features, logits=[[1, 0], [1, 0], [0, 1], [0, 1]]), 0, 0, 0, 255)]
    state = build("she").fit(iter(stream), 0)
    assert state["patterns"].tolist() == [[3, 0], [0, 0]] and state["pixels"].tolist() == [2, 0]
    assert scores(build("she"), state, (5.0, 1.0), (5.0, 1.0), logits=[[1, 0], [0, 1]]) == [-15, 0]


def test_guidance_by_neighbours():
    """The bank is (1, 0) with energy 2 and (0.6, 0.8) with energy 1; a query along x is guided by 2 and 0.6."""
    stream = [image(row((7.0, 0.0), (3.0, 4.0), logits=[[2], [1]]), 0, 0)]
    state = build("nnguide").fit(iter(stream), 0)
    ask = {"logits": [[3]]}
    assert scores(build("nnguide"), state, (5.0, 0.0), **ask) == pytest.approx([-3 * 1.3])
    assert scores(build("nnguide", k=1), state, (5.0, 0.0), **ask) == pytest.approx([-6])


def test_angle_to_the_nearest_class():
    layer = linear([[3.0, 0.0], [4.0, 4.0]], [100.0, -7.0])
    got = scores(build("max_cosine"), {}, (0.0, 9.0), (2.0, 0.0), (-1.0, 0.0), (0.0, 0.0), classify=layer)
    assert got == pytest.approx([1 - math.sqrt(0.5), 0, 1 + math.sqrt(0.5), 1], abs=1e-6)


def test_length_of_the_gradient_is_that_of_autograd():
    """Softmax cross-entropy with a uniform target, of one pixel and a linear layer."""
    torch.manual_seed(0)
    layer, features = nn.Linear(5, 3), torch.randn(5)
    with torch.enable_grad():
        loss = nn.functional.cross_entropy(layer(features), torch.full((3,), 1 / 3))
        (gradient,) = torch.autograd.grad(loss, layer.weight)
    got = scores(build("gradnorm"), {}, features.tolist(), logits=[layer(features).tolist()])
    assert got == pytest.approx([-float(gradient.abs().sum())], rel=1e-5)


FITTED = ["mahalanobis", "knn", "cdnp", "vim", "react", "dice", "she", "nnguide"]


def fit(name, parts):
    method = build(name, **({"size": 50} if name in {"knn", "cdnp", "nnguide"} else {}))
    return (FeatureMoments() if method.fitting.trainer else method).fit(iter(parts), 3)


@pytest.mark.parametrize("name", FITTED)
def test_no_order_of_the_images_changes_a_digit_of_a_fit(name):
    parts = list(drawn(6))
    first = fit(name, parts)
    for seed in range(3):
        other = fit(name, [parts[at] for at in np.random.default_rng(seed).permutation(len(parts))])
        assert first.keys() == other.keys() and all(np.array_equal(first[part], other[part]) for part in first)


def some(name, count, channels=2, seed=0):
    features = np.random.default_rng(seed).standard_normal((count, channels)).astype(np.float32)
    labels = (np.arange(count) % 3).astype(np.uint8)
    return Pixels(name, 0, np.arange(count), features, labels, np.empty((count, 0), np.float32))


def test_shards_of_moments_and_of_banks_merge_to_the_whole():
    images = [some(f"s{number}", 40 + number, seed=number) for number in range(6)]
    whole, left, right = Moments(), Moments(), Moments()
    banks = [Bank(30, 1) for _ in range(3)]
    for number, pixels in enumerate(images):
        for moments, bank in ((whole, banks[0]), ((left, right)[number % 2], banks[1 + number % 2])):
            moments.add(pixels.features, pixels.labels)
            bank.add(pixels, pixels.features)
    right.merge(left)
    banks[2].merge(banks[1])
    assert np.array_equal(whole.covariances(), right.covariances()) and np.array_equal(whole.means(), right.means())
    assert np.array_equal(banks[0].rows(), banks[2].rows()) and len(banks[0].rows()) == 30


def test_a_bank_draws_every_pixel_alike_and_another_seed_others():
    images = [some("large", 9000, seed=1), some("small", 1000, seed=2)]
    rows = {}
    for seed in (0, 1):
        bank = Bank(1000, seed)
        for number, pixels in enumerate(images):
            bank.add(pixels, np.full((len(pixels.index), 1), number, np.float32))
        rows[seed] = bank.rows()
    assert all(0.07 < drawn_rows.mean() < 0.13 for drawn_rows in rows.values())  # a tenth are of the small image
    assert not np.array_equal(rows[0], rows[1])
    everything = Bank(10**6, 0)
    everything.add(images[1], images[1].features)
    assert np.array_equal(np.sort(everything.rows(), axis=0), np.sort(images[1].features, axis=0))


def test_moments_of_an_image_larger_than_a_block():
    pixels = some("a", 40_000, channels=3)
    moments = Moments()
    moments.add(pixels.features, pixels.labels)
    np.testing.assert_allclose(moments.covariances()[1], np.cov(pixels.features.T.astype(float), bias=True), rtol=1e-10)


def test_windows_are_fitted_at_their_own_resolution_with_the_labels_of_their_centres():
    """An image of 4 x 8 in two windows, each with features of 2 x 2; windows overlap by none."""
    truth = np.arange(32, dtype=np.uint8).reshape(4, 8)
    windows = [(0, 0, 4, 4), (0, 4, 4, 8)]
    parts = [{"features": torch.full((1, 2, 2), float(number))} for number in range(2)]
    tiles = Prediction(Tiles(windows, parts, (4, 8)), (4, 8))
    pixels = list(samples.labelled([(tiles, Sample("a", (4, 8), lambda: None, labels=truth))], "knn"))
    assert [each.labels.tolist() for each in pixels] == [[9, 11, 25, 27], [13, 15, 29, 31]]
    assert [each.features[:, 0].tolist() for each in pixels] == [[0] * 4, [1] * 4]
    assert [each.window for each in pixels] == [0, 1]


def test_logits_on_another_grid_are_brought_to_that_of_the_features():
    maps = torch.arange(8.0).reshape(1, 2, 4)
    seen = Prediction({"features": torch.zeros(3, 1, 2), "logits": maps}, (2, 4))
    (pixels,) = samples.labelled(
        [(seen, Sample("a", (2, 4), lambda: None, labels=np.zeros((2, 4), np.uint8)))], "x", logits=True
    )
    assert pixels.logits.tolist() == [[2.5], [4.5]]


@pytest.mark.parametrize(
    ("stream", "said"),
    [
        ([], "knn cannot be fitted: no labelled pixel in the data"),
        ([(Prediction({"logits": torch.ones(2, 1, 1)}, (1, 1)), "0")], "the network gives no features"),
        ([(Prediction({"features": torch.ones(2, 1, 1)}, (1, 1)), None)], "knn needs labels, sample a has none"),
    ],
)
def test_what_cannot_be_fitted_is_said(stream, said):
    given = [
        (seen, Sample("a", (1, 1), lambda: None, labels=None if labels is None else np.zeros((1, 1), np.uint8)))
        for seen, labels in stream
    ]
    with pytest.raises(MissingData, match=said):
        build("knn").fit(iter(given), 0)


def test_averaged_probabilities_are_refused_with_the_way_out():
    averaged = Prediction({"features": torch.ones(2, 1, 1), "probabilities": torch.ones(2, 1, 1) / 2}, (1, 1))
    with pytest.raises(MissingData, match="no logits; say average: logits"):
        build("she").fit(iter([(averaged, Sample("a", (1, 1), lambda: None, labels=np.zeros((1, 1), np.uint8)))]), 0)


@pytest.mark.parametrize(
    ("layer", "weight"),
    [
        (nn.Conv2d(70, 3, 1), lambda kernel: kernel[:, :, 0, 0]),
        (nn.Conv2d(70, 3, 3, padding=1), lambda kernel: kernel.sum(dim=(2, 3))),
        (
            nn.ConvTranspose2d(70, 3, 3, stride=2, padding=1, output_padding=1),
            lambda kernel: kernel.sum(dim=(2, 3)).T / 4,
        ),
    ],
    ids=["1 x 1", "3 x 3", "upsampling"],
)
def test_weights_are_read_off_what_a_last_layer_answers(layer, weight):
    with torch.no_grad():
        got, offset = head.affine(lambda features: layer(features[None])[0], torch.zeros(70, 5, 6))
        torch.testing.assert_close(got, weight(layer.weight), rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(offset, layer.bias, rtol=1e-5, atol=1e-6)
        head.refuse_curved(lambda features: layer(features[None])[0], torch.randn(70, 5, 6), "dice")


@pytest.mark.parametrize("name", ["dice", "vim"])
def test_a_last_layer_that_is_not_linear_is_refused_with_the_way_out(name):
    features = torch.randn(4, 1, 6, generator=torch.Generator().manual_seed(0))
    seen = Prediction({"features": features, "logits": features.relu()}, (1, 6), classify=torch.relu)
    with pytest.raises(
        BadSuite, match=rf"{name} needs a last layer that is linear .* such as knn, mahalanobis or react"
    ):
        build(name).fit(iter([(seen, Sample("a", (1, 6), lambda: None, labels=np.zeros((1, 6), np.uint8)))]), 0)


class Answering(Network):
    """A network that classifies its features, [3, h, w] pixels, as it is told."""

    def __init__(self, classify):
        self.model, self._classify = ToyNet(), classify

    def predict(self, views):
        maps = [{"features": view.pixels / 255, "logits": view.pixels / 255} for view in views]
        return [
            Prediction(each, view.input_size, classify=self._classify) for each, view in zip(maps, views, strict=True)
        ]

    def module(self):
        return nn.Identity()


@pytest.mark.parametrize("name", ["dice", "max_cosine", "vim"])
def test_a_loaded_network_is_tried_out_before_it_is_scored(name):
    method = build(name)
    method.check(ToyNet())
    method.check(ToyNet(), loaded(ToyNet(), "cpu"))
    method.check(ToyNet(), Answering(lambda features: 2 * features + 1))
    with pytest.raises(BadSuite, match=f"{name} needs a last layer that is linear"):
        method.check(ToyNet(), Answering(torch.square))


SUITE = """
protocols: [anomaly]
models:
  - toynet: {{label: whole}}
  - toynet: {{label: windows, inference: {{window: [32, 48], stride: [32, 40]}}}}
datasets:
  - toytown: {{split: anomaly, images: 2, height: 64, width: 128}}
methods:
{methods}
bootstrap: 0
"""


def test_every_detector_runs_on_whole_images_and_windows_with_the_same_digits_anywhere(tmp_path):
    fit = "fit: {data: {toytown: {split: train, images: 2, height: 64, width: 128}}}"
    entries = [f"  - {name}: {{{fit}}}" for name in [*FITTED, "relative_mahalanobis", "kl_matching"]]
    entries += [f"  - {name}" for name in ("ash", "scale", "max_cosine", "gradnorm", "gen")]
    (tmp_path / "suite.yaml").write_text(SUITE.format(methods="\n".join(entries)))
    figures = []
    for number, options in enumerate(({"workers": 0}, {"workers": 1, "processes": 2})):
        results = run(tmp_path / "suite.yaml", tmp_path / f"run{number}", **options)
        figures.append({(r.labels.model, r.labels.method): r.metrics["auroc"].value for r in results})
    assert figures[0] == figures[1] and len(figures[0]) == 2 * len(entries)
