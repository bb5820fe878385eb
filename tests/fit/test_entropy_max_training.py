"""Retraining on outliers: the loss, what an epoch shows, going on after a kill, networks that name their parents."""

import json
import math
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from running import PATIENCE, until

from bench.api import CITYSCAPES, IGNORE, Sample, Source, View
from bench.cli.main import main
from bench.contract.network import loaded as load
from bench.core.errors import BadPlugin, BadSuite, MissingData, UsageError
from bench.datasets.toytown.outliers import ToytownOutliers
from bench.datasets.toytown.scenes import Toytown
from bench.fit.outliers import loop, mixture, objective
from bench.fit.outliers.mixture import OUTLIER
from bench.models import retrained
from bench.models.toynet_entropy_max import WEIGHTS
from bench.results import seeds, store
from bench.run import finetune, train
from bench.suite import expansion, registry

NETWORK = '''
from torch import nn


def build():
    """Batch normalisation and dropout: what a training that is taken up must not lose."""
    import torch

    torch.manual_seed(3)
    layers = [nn.Conv2d(3, 8, 3, padding=1, stride=4), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout2d(0.2)]
    return nn.Sequential(*layers, nn.Conv2d(8, 19, 1))
'''
IDLE = """
import torch
from torch import nn


class Idle(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.main, self.aside = nn.Conv2d(3, 19, 4, 4), nn.Conv2d(3, 19, 4, 4)

    def forward(self, image):
        return self.main(image)


def build():
    return Idle()
"""
SMALL = {"outliers": {"toytown_outliers": {"images": 6, "height": 32, "width": 64}}, "crop": 32, "share": 0.5}
DATA = ("toytown", {"split": "train", "images": 10, "height": 32, "width": 64})


class Silent:
    """A reporter that counts, and may stop."""

    def __init__(self, stop=None):
        self.total, self.done, self.stop = 0, 0, stop

    def begin(self, images):
        self.total = images

    def stage(self, label):
        pass

    def advance(self, images):
        self.done += images
        if self.stop is not None and self.done >= self.stop:
            raise KeyboardInterrupt


@pytest.fixture
def network(tmp_path):
    (tmp_path / "net.py").write_text(NETWORK)
    return ("python", {"factory": f"{tmp_path / 'net.py'}:build"})


def trained(network, out, reporter=None, *, seeds=(0,), data=DATA, **params):
    recipe = ("entropy_max", SMALL | {"epochs": 2, "batch": 4, "rate": 1e-2} | params)
    options = train.Options("cpu", 1, 0)
    return list(finetune.run(recipe, network, data, list(seeds), options, reporter or Silent(), out))


def tensors(path):
    from safetensors.numpy import load_file

    return load_file(path)


def dense(logits, target, weight):
    """The loss as the source writes it: a soft target of every class at every pixel, in double precision."""
    z = torch.as_tensor(logits, dtype=torch.float64)
    classes = z.shape[1]
    q = torch.zeros_like(z)
    for index in np.ndindex(*target.shape):
        n, place = index[0], index[1:]
        if target[index] < classes:
            q[(n, int(target[index]), *place)] = 1 - weight
        elif target[index] == OUTLIER:
            q[(n, slice(None), *place)] = weight / classes
    return float((-q * z.log_softmax(dim=1)).mean())


def test_the_check_value():
    target = torch.tensor([[[0, OUTLIER], [IGNORE, 5]]], dtype=torch.uint8)
    found = float(objective.loss(torch.zeros(1, 19, 2, 2), target, 0.9))
    assert found == pytest.approx(1.1 * math.log(19) / (19 * 4), rel=1e-6)
    assert found == pytest.approx(0.0426168800, abs=5e-9)


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.25, 0.5, 0.9, 1.0]))
def test_the_closed_form_is_the_mean_over_soft_targets(seed, weight):
    dice = np.random.default_rng(seed)
    logits = dice.normal(0, 5, (2, 4, 3, 5)).astype(np.float32)
    target = dice.choice([0, 1, 2, 3, OUTLIER, IGNORE], (2, 3, 5)).astype(np.uint8)
    found = float(objective.loss(torch.from_numpy(logits), torch.from_numpy(target), weight))
    assert found == pytest.approx(dense(logits, target, weight), rel=2e-5, abs=1e-7)


def test_what_is_ignored_moves_nothing_but_counts_in_the_denominator():
    logits = torch.randn(1, 3, 2, 4, requires_grad=True)
    target = torch.tensor([[[0, 1, 2, OUTLIER], [IGNORE] * 4]], dtype=torch.uint8)
    whole = objective.loss(logits, target, 0.9)
    above = objective.loss(logits[:, :, :1], target[:, :1], 0.9)
    assert whole.item() == pytest.approx(above.item() / 2, rel=1e-5)
    whole.backward()
    assert not logits.grad[0, :, 1].any()
    assert logits.grad[0, :, 0].any()
    nothing = objective.loss(logits, torch.full_like(target, IGNORE), 0.9)
    assert nothing.item() == 0


def test_an_outlier_is_content_at_the_uniform_distribution_alone():
    target = torch.full((1, 1, 1), OUTLIER, dtype=torch.uint8)
    at_rest = torch.full((1, 5, 1, 1), 2.0, requires_grad=True)
    value = objective.loss(at_rest, target, 0.9)
    assert value.item() == pytest.approx(0.9 * math.log(5) / 5)
    value.backward()
    assert torch.allclose(at_rest.grad, torch.zeros_like(at_rest), atol=1e-7)
    sure = torch.tensor([4.0, 0, 0, 0, 0]).view(1, 5, 1, 1)
    assert objective.loss(sure, target, 0.9) > value


def test_smaller_logits_are_resized_as_predictions_are():
    logits = torch.randn(1, 19, 8, 16)
    target = torch.randint(0, 19, (1, 32, 64), dtype=torch.uint8)
    large = torch.nn.functional.interpolate(logits, size=(32, 64), mode="bilinear", align_corners=False)
    assert torch.equal(objective.loss(logits, target, 0.9), objective.loss(large, target, 0.9))


def test_an_epoch_is_every_labelled_image_and_a_new_draw_of_outliers():
    first, second = (mixture.epoch(2975, 500, 297, 0, number) for number in (0, 1))
    assert len(first) == 3272  # 409 batches of 8, as published
    assert sorted(place.index for place in first if not place.outlier) == list(range(2975))
    drawn = [{place.index for place in epoch if place.outlier} for epoch in (first, second)]
    assert [len(chosen) for chosen in drawn] == [297, 297]
    assert drawn[0] != drawn[1]
    assert first == mixture.epoch(2975, 500, 297, 0, 0) != mixture.epoch(2975, 500, 297, 1, 0)
    # Shuffled together: no third of the epoch is without, or full of, outliers.
    shares = [np.mean([place.outlier for place in first[at : at + 1000]]) for at in (0, 1000, 2000)]
    assert 0.05 < min(shares) <= max(shares) < 0.14


def test_of_an_outlier_picture_what_has_no_label_is_ignored():
    anomaly = np.array([[0, 1], [255, 0]], np.uint8)
    sample = Sample("a", (2, 2), lambda: np.zeros((2, 2, 3), np.uint8), anomaly=anomaly)
    assert mixture.target(sample, 19, outlier=True).tolist() == [[255, 254], [255, 255]]
    as_road = replace(sample, labels=np.array([[0, 255], [0, 0]], np.uint8))  # the source's reading
    assert mixture.target(as_road, 19, outlier=True).tolist() == [[0, 254], [0, 0]]
    with pytest.raises(MissingData, match=r"sample a has no labels"):
        mixture.target(sample, 19, outlier=False)
    with pytest.raises(MissingData, match=r"sample a has the label 19, the network has classes 0 to 18"):
        mixture.target(replace(sample, labels=np.full((2, 2), 19, np.uint8)), 19, outlier=False)
    with pytest.raises(MissingData, match=r"sample a has the label 254"):
        mixture.target(replace(sample, labels=np.full((2, 2), 254, np.uint8)), 19, outlier=False)


def test_crops_keep_image_and_target_together_and_reach_every_place():
    height, width, side = 40, 50, 30
    rows, cols = np.mgrid[:height, :width].astype(np.uint8)
    image = np.stack([rows, cols, rows], axis=2)
    labels = (rows.astype(int) * 7 + cols).astype(np.uint8)
    tops, lefts, mirrored = set(), set(), 0
    for place in range(300):
        seen, target = mixture.cut(image, labels, side, mixture.dice("test", place))
        assert seen.shape == (side, side, 3) and target.shape == (side, side)
        assert np.array_equal(target, (seen[:, :, 0].astype(int) * 7 + seen[:, :, 1]).astype(np.uint8))
        flipped = seen[0, 0, 1] > seen[0, -1, 1]
        mirrored += flipped
        tops.add(int(seen[0, 0, 0]))
        lefts.add(int(seen[0, -1 if flipped else 0, 1]))
    assert tops == set(range(height - side + 1))
    assert lefts == set(range(width - side + 1))
    assert 110 < mirrored < 190


def test_an_image_of_exactly_the_crop_is_taken_whole_and_a_smaller_one_resized():
    image = np.arange(30 * 30 * 3, dtype=np.uint8).reshape(30, 30, 3)
    labels = np.arange(900, dtype=np.uint16).reshape(30, 30).astype(np.uint8)
    seen, target = mixture.cut(image, labels, 30, mixture.dice("any"))
    assert sorted(target.ravel().tolist()) == sorted(labels.ravel().tolist())
    seen, target = mixture.cut(
        image[:20], np.where(labels[:20] > 100, 254, 3).astype(np.uint8), 30, mixture.dice("any")
    )
    assert seen.shape == (30, 30, 3)
    assert set(target.ravel().tolist()) <= {3, 254}  # labels are never mixed


def test_a_killed_training_goes_on_to_the_same_bits(network, tmp_path, monkeypatch):
    """Interrupted in the middle of an epoch, with Adam's moments, dropout and batch statistics on the way."""
    monkeypatch.setattr(loop, "KEEP_SECONDS", 0.0)
    trained(network, tmp_path / "whole.safetensors")
    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "other"))
    for stop in (8, 12):
        with pytest.raises(KeyboardInterrupt):
            trained(network, tmp_path / "resumed.safetensors", Silent(stop))
        assert not (tmp_path / "resumed.safetensors").exists()
    reporter = Silent()
    trained(network, tmp_path / "resumed.safetensors", reporter)
    assert reporter.done == reporter.total == 30
    one, other = (tensors(tmp_path / f"{name}.safetensors") for name in ("whole", "resumed"))
    assert one.keys() == other.keys()
    assert all(np.array_equal(one[name], other[name]) for name in one)
    curves = [
        retrained.read_origin(tmp_path / f"{name}.safetensors")["about"]["losses"] for name in ("whole", "resumed")
    ]
    assert curves[0] == curves[1]
    assert not list((tmp_path / "other" / "training").iterdir())  # the checkpoint went when the weights were written


def test_reference_begins_adam_anew_with_every_epoch(network, tmp_path):
    """And so ends elsewhere: what the test above keeps, the moments, does matter."""
    trained(network, tmp_path / "corrected.safetensors")
    trained(network, tmp_path / "reference.safetensors", fidelity="reference")
    one, other = (tensors(tmp_path / f"{name}.safetensors") for name in ("corrected", "reference"))
    assert any(not np.array_equal(one[name], other[name]) for name in one)


def test_seeds_give_different_networks_and_the_same_seed_the_same(network, tmp_path):
    first = trained(network, tmp_path / "a.safetensors", seeds=(0, 1))
    assert [done.path.name for done in first] == ["a-seed0.safetensors", "a-seed1.safetensors"]
    assert [done.origin["seed"] for done in first] == [0, 1]
    again = trained(network, tmp_path / "b.safetensors", seeds=(1,))
    zero, one, other = (tensors(path) for path in (first[0].path, first[1].path, again[0].path))
    assert all(np.array_equal(one[name], other[name]) for name in one)
    assert any(not np.array_equal(zero[name], one[name]) for name in one)
    assert [done.new for done in trained(network, tmp_path / "a.safetensors", seeds=(0, 1))] == [False, False]
    with pytest.raises(UsageError, match=r"a-seed0\.safetensors holds weights that were trained otherwise"):
        trained(network, tmp_path / "a.safetensors", seeds=(0, 1), rate=1e-3)


def test_all_weights_learn_and_batch_statistics_follow_or_stay(network, tmp_path):
    before = load(registry.build("model", *network, where="x"), "cpu")
    start = {name: tensor.numpy() for name, tensor in before.module().state_dict().items()}
    learned = tensors(trained(network, tmp_path / "train.safetensors")[0].path)
    assert all(not np.array_equal(start[name], learned[name]) for name in start)
    frozen = tensors(trained(network, tmp_path / "frozen.safetensors", batch_norm="frozen")[0].path)
    stayed = {name for name in start if np.array_equal(start[name], frozen[name])}
    assert stayed == {"1.running_mean", "1.running_var", "1.num_batches_tracked"}


def test_accumulated_shares_add_up_to_the_batch(tmp_path):
    """Of a network without batch statistics and dropout, whose gradients do add up."""
    build = "def build():\n    torch.manual_seed(0)\n    return nn.Conv2d(3, 19, 4, 4)\n"
    (tmp_path / "net.py").write_text(f"import torch\nfrom torch import nn\n\n\n{build}")
    network = ("python", {"factory": f"{tmp_path / 'net.py'}:build"})
    whole = tensors(trained(network, tmp_path / "a.safetensors", rate=1e-3)[0].path)
    shares = tensors(trained(network, tmp_path / "b.safetensors", rate=1e-3, accumulate=2)[0].path)
    for name in whole:
        assert np.allclose(whole[name], shares[name], atol=2e-5)
    half = tensors(trained(network, tmp_path / "c.safetensors", rate=1e-3, precision="bfloat16")[0].path)
    for name in whole:
        assert half[name].dtype == np.float32
        assert np.allclose(whole[name], half[name], atol=5e-2)


def test_toynet_learns_to_be_unsure_of_outliers_and_its_file_names_its_parents(tmp_path):
    """And the model ``retrained`` gives what its base gives and predicts with the new weights."""
    data = ("toytown", {"split": "train", "images": 16, "height": 64, "width": 128})
    outliers = {"toytown_outliers": {"images": 8, "height": 64, "width": 128}}
    (done,) = trained(
        ("toynet", {}), tmp_path / "t.safetensors", data=data, outliers=outliers, crop=64, epochs=3, rate=1e-3
    )
    said = done.origin
    assert said["by"]["training"]["outlier_weight"] == 0.9
    assert said["model"]["name"] == "toynet" and said["data"]["name"] == "toytown"
    assert said["outliers"]["name"] == "toytown_outliers" and len(said["outliers_digest"]) == 16
    assert said["seed"] == 0 and said["about"]["versions"]["torch"] == torch.__version__
    base, model = (
        registry.build("model", *entry, where="x")
        for entry in (("toynet", {}), ("retrained", {"base": "toynet", "weights": str(done.path)}))
    )
    assert model.outputs == base.outputs and model.class_names == base.class_names and model.digest() != base.digest()
    assert model.about() == {"parents": said, "uses_outliers": True}
    model.check()
    risen = []
    for network in (load(base, "cpu"), load(model, "cpu")):
        rises = []
        for index in range(8):
            sample = ToytownOutliers(images=8, height=64, width=128).load(index)
            pixels = torch.from_numpy(sample.image()).permute(2, 0, 1)
            entropy = network.predict([as_view(pixels)])[0].entropy().numpy()
            rises.append(entropy[sample.anomaly == 1].mean() - entropy[sample.anomaly == 0].mean())
        risen.append(np.mean(rises))
    assert risen[1] > risen[0] + 0.2  # nats


@pytest.fixture
def weights(network, tmp_path):
    return trained(network, tmp_path / "w.safetensors")[0].path


def test_a_retrained_network_refuses_another_base(network, weights, tmp_path):
    def model(entry):
        return registry.build("model", "retrained", {"base": entry, "weights": str(weights)}, where="x")

    with pytest.raises(MissingData, match=r"were trained from the model python, not from toynet"):
        model("toynet").check()
    with pytest.raises(
        MissingData, match=r"were trained from python with mean=\[0\.0, 0\.0, 0\.0\], the base has \[0\.5"
    ):
        model({"python": network[1] | {"mean": [0.5, 0.5, 0.5]}}).check()
    elsewhere = model({"python": network[1] | {"inference": {"size": [16, 32]}}})
    elsewhere.check()  # how it looks at images may differ
    assert elsewhere.inference.size == (16, 32)
    (tmp_path / "net.py").write_text(NETWORK.replace("manual_seed(3)", "manual_seed(4)"))
    sys.modules.pop("bench_models.net")
    with pytest.raises(
        MissingData, match=r"trained from a network whose tensors have the digest [0-9a-f]{16}, those of"
    ):
        model({"python": network[1]}).load("cpu")


def test_files_that_are_no_retrained_weights_are_refused(weights, tmp_path):
    from safetensors.numpy import save_file

    def check(path):
        registry.build("model", "retrained", {"base": "toynet", "weights": str(path)}, where="x").check()

    with pytest.raises(MissingData, match=r"weights .*absent\.safetensors do not exist"):
        check(tmp_path / "absent.safetensors")
    save_file({"a": np.zeros(2)}, tmp_path / "plain.safetensors")
    with pytest.raises(MissingData, match=r"do not say what they were trained from"):
        check(tmp_path / "plain.safetensors")
    (tmp_path / "short.safetensors").write_bytes(weights.read_bytes()[:50])
    with pytest.raises(MissingData, match=r"short\.safetensors cannot be read"):
        check(tmp_path / "short.safetensors")
    with pytest.raises(BadSuite, match=r"inference stands in the entry of its base"):
        given = {"base": "toynet", "weights": str(weights), "inference": {"flip": True}}
        registry.build("model", "retrained", given, where="x")


def test_a_suite_runs_base_and_retrained_side_by_side_and_marks_the_one_that_saw_anomalies(weights, tmp_path, capsys):
    (tmp_path / "s.yaml").write_text(
        """
protocols: [anomaly]
models:
  - python: {factory: "net.py:build", label: base}
  - retrained: {base: {python: {factory: "net.py:build"}}, weights: w.safetensors}
datasets: [{toytown: {split: anomaly, images: 4, height: 32, width: 64}}]
methods: [entropy]
bootstrap: 0
"""
    )
    loaded = expansion.load(tmp_path / "s.yaml")
    refs = [cell.model for cell in loaded.cells]
    assert refs[1].label == "retrained[base=python[factory=net.py:build],weights=w.safetensors]"
    assert str(tmp_path) not in refs[1].identity  # files by name, also inside
    again = tmp_path / "moved" / "s.yaml"
    again.parent.mkdir()
    again.write_text(loaded.text)
    assert [cell.key for cell in expansion.load(again).cells] == [cell.key for cell in loaded.cells]
    assert main(["run", str(tmp_path / "s.yaml"), "--out", str(tmp_path / "run"), "--workers", "0", "--verbose"]) == 0
    base, new = sorted(store.read_run(tmp_path / "run").results, key=lambda result: result.labels.model)
    assert new.about["model"]["parents"]["by"]["trainer"] == "entropy_max"
    assert new.about["model"]["uses_outliers"] and "uses_outliers" not in base.about["model"]
    assert "saw anomalies" in capsys.readouterr().out


def test_bench_fit_trains_and_says_how_a_suite_names_the_result(network, tmp_path, capsys):
    out = tmp_path / "a.safetensors"
    outliers = "toytown_outliers: {images: 6, height: 32, width: 64}"
    command = ["fit", "entropy_max", "--model", f"python:factory={tmp_path / 'net.py'}:build", "--out", str(out)]
    command += ["--data", "toytown:split=train,images=10,height=32,width=64", "--set", f"outliers={{{outliers}}}"]
    command += ["--set", "crop=32,share=0.5,epochs=1", "--workers", "1", "--threads", "1"]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "entropy_max, seed 0: loss 0." in said
    assert f"weights: {out}" in said
    entry = yaml.safe_load(said.partition("is\n")[2])
    registry.build("model", "retrained", entry["retrained"], where="x").check()
    assert main(command) == 0
    assert "was there already" in capsys.readouterr().out


def as_view(pixels):
    height, width = pixels.shape[1:]
    return View("a", pixels, 1.0, False, (0, 0, height, width), (height, width), (height, width))


def check_back_end(entry, out, data=DATA):
    """What is trained is what is predicted, the training moves it, and the result is a network like its base."""
    base = load(registry.build("model", *entry, where="x"), "cpu")
    pixels = torch.randint(0, 256, (2, 3, 32, 64), dtype=torch.uint8)
    with torch.no_grad():
        forward = base.forward(pixels.float())
    for index in range(2):
        predicted = base.predict([as_view(pixels[index])])[0].raw["logits"]
        assert torch.allclose(forward[index], predicted, atol=1e-5)
    (done,) = trained(entry, out, data=data, epochs=1, rate=1e-3)
    name, params = entry
    new = registry.build("model", "retrained", {"base": {name: params}, "weights": str(done.path)}, where="x")
    new.check()
    new = load(new, "cpu")
    assert not new.module().training
    moved = new.predict([as_view(pixels[0])])[0].raw["logits"]
    assert moved.shape == forward[0].shape and not torch.allclose(moved, forward[0], atol=1e-3)


def test_a_network_of_a_file_is_trained_as_it_predicts(network, tmp_path):
    scaled = {"scale": 58.0, "mean": [2.0, 2.1, 1.9], "std": [1.0, 1.1, 0.9], "channels": "bgr"}
    check_back_end((network[0], network[1] | scaled), tmp_path / "a.safetensors")


def test_toynet_is_trained_as_it_predicts(tmp_path):
    check_back_end(("toynet", {}), tmp_path / "a.safetensors")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")  # of mmsegmentation's own
def test_a_network_of_mmsegmentation_is_trained_as_it_predicts(tmp_path):
    pytest.importorskip("mmseg", reason="the extra mmseg is not installed")
    from bench.models import mmseg_network

    backbone = "dict(type='MixVisionTransformer', embed_dims=8, num_layers=[1, 1, 1, 1], num_heads=[1, 2, 5, 8])"
    head = "dict(type='SegformerHead', in_channels=[8, 16, 40, 64], in_index=[0, 1, 2, 3], channels=16, num_classes=19)"
    steps = "dict(type='SegDataPreProcessor', mean=[123.7, 116.3, 103.5], std=[58.4, 57.1, 57.4], bgr_to_rgb=True)"
    config = tmp_path / "tiny.py"
    config.write_text(
        f"model = dict(type='EncoderDecoder', data_preprocessor={steps}, backbone={backbone}, decode_head={head},"
        " test_cfg=dict(mode='whole'))\n"
    )
    torch.manual_seed(0)
    made = mmseg_network.build(mmseg_network.read_config(config, "x"), config.name, "x")
    torch.save({"state_dict": made.state_dict()}, tmp_path / "tiny.pth")
    entry = ("mmseg", {"config": str(config), "checkpoint": str(tmp_path / "tiny.pth")})
    check_back_end(entry, tmp_path / "a.safetensors")


def test_a_network_of_transformers_is_trained_as_it_predicts(tmp_path):
    transformers = pytest.importorskip("transformers", reason="the extra transformers is not installed")
    names = dict(enumerate(CITYSCAPES))
    sizes = {"depths": [1] * 4, "hidden_sizes": [8, 8, 16, 16], "num_attention_heads": [1, 1, 2, 2]}
    torch.manual_seed(0)
    made = transformers.SegformerForSemanticSegmentation(
        transformers.SegformerConfig(**sizes, decoder_hidden_size=16, id2label=names)
    )
    made.save_pretrained(tmp_path / "tiny")
    preparation = {"do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True}
    preparation |= {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
    (tmp_path / "tiny" / "preprocessor_config.json").write_text(json.dumps(preparation))
    check_back_end(("transformers", {"folder": str(tmp_path / "tiny")}), tmp_path / "a.safetensors")


def test_figures_over_seeds(network, tmp_path, capsys):
    """Mean and sample deviation over networks whose parents are the same but for the seed, by hand."""
    for rate, name in ((1e-2, "a"), (2e-2, "b")):
        trained(network, tmp_path / f"{name}.safetensors", seeds=(0, 4) if name == "a" else (0,), rate=rate, epochs=1)
    base = {"python": {"factory": "net.py:build"}}
    files = ("a-seed0", "a-seed4", "b")
    models = [{"retrained": {"base": base, "weights": f"{name}.safetensors", "label": name}} for name in files]
    content = {
        "protocols": ["anomaly"],
        "models": [{"python": {"factory": "net.py:build"}}, *models],
        "datasets": [{"toytown": {"split": "anomaly", "images": 4, "height": 32, "width": 64}}],
        "methods": ["entropy"],
        "bootstrap": 0,
    }
    (tmp_path / "s.yaml").write_text(json.dumps(content))
    assert main(["run", str(tmp_path / "s.yaml"), "--out", str(tmp_path / "run"), "--workers", "0"]) == 0
    capsys.readouterr()
    assert main(["show", str(tmp_path / "run"), "--seeds", "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)["seeds"]
    results = {result.labels.model: result for result in store.read_run(tmp_path / "run").results}
    found = {row["metric"]: row for row in rows}
    assert found.keys() == results["b"].metrics.keys()  # one record each: b has another rate, the base no parents
    one, other = (results[name].metrics["ap"].value for name in ("a-seed0", "a-seed4"))
    assert found["ap"]["seeds"] == {"0": one, "4": other}
    assert found["ap"]["mean"] == pytest.approx((one + other) / 2)
    assert found["ap"]["std"] == pytest.approx(abs(one - other) / math.sqrt(2))
    assert main(["show", str(tmp_path / "run"), "--seeds"]) == 0
    assert f"{found['ap']['mean']:.4f}" in capsys.readouterr().out
    with pytest.raises(BadSuite, match=r"no two networks of this run differ in their seed alone"):
        seeds.spread([results["b"], results["a-seed0"]])


def test_the_network_that_ships_belongs_to_the_toynet_that_ships():
    model = registry.build("model", "toynet_entropy_max", {}, where="x")
    model.check()
    model = load(model, "cpu")
    assert model.model.about()["parents"]["outliers"]["name"] == "coco_proxy"
    assert WEIGHTS.stat().st_size < 2_000_000
    asked = registry.build("model", "toynet_entropy_max", {"inference": {"size": [64, 128]}}, where="x")
    assert asked.inference.size == (64, 128)
    sample = Toytown(split="anomaly", images=1).load(0)
    pixels = torch.from_numpy(sample.image()).permute(2, 0, 1)
    assert model.predict([as_view(pixels)])[0].logits.shape == (19, 128, 256)


def test_outliers_are_none_of_the_anomalies_and_lie_in_another_town():
    data = ToytownOutliers(images=12, height=64, width=128)
    streets = Toytown(split="train", images=12, height=64, width=128)
    for index in range(12):
        sample, plain = data.load(index), streets.load(index)
        assert (sample.anomaly == 1).any() and set(np.unique(sample.anomaly)) <= {0, 1}
        assert (sample.labels[sample.anomaly == 1] == IGNORE).all()
        assert not np.array_equal(sample.image(), plain.image())
        again = data.load(index)
        assert np.array_equal(sample.image(), again.image()) and sample.id == data.ids()[index]
    assert len({data.digest(), ToytownOutliers(images=12, height=64, width=128, seed=2).digest()}) == 2
    with pytest.raises(BadSuite, match=r"toytown is drawn from 32x32 on, not at 8x8"):
        registry.build("dataset", "toytown_outliers", {"height": 8, "width": 8}, where="x")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"outliers": "toytown"}, r"outliers is toytown, which shows no anomalies"),
        ({"batch": 3, "accumulate": 2}, r"batch is 3, wanted a multiple of accumulate x devices, 2"),
        ({"share": 0.01}, r"share 0\.01 of 10 images is 0 outlier images in an epoch, there are 6; say share"),
        ({"share": 0.7}, r"share 0\.7 of 10 images is 7 outlier images in an epoch, there are 6; say share"),
        ({"outlier_weight": 0.0}, r"outlier_weight .* is 0\.0"),
        ({"precision": "float16"}, r"float16, which needs a GPU"),
    ],
)
def test_what_cannot_be_trained_is_refused(network, tmp_path, change, said):
    with pytest.raises(BadSuite, match=said):
        trained(network, tmp_path / "x.safetensors", **change)


def test_reference_takes_outliers_on_a_labelled_background_alone(network, tmp_path, monkeypatch):
    from bench.data.layouts import writers

    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    writers.write("coco_outliers", Toytown(split="train", images=8, height=32, width=64, seed=3), tmp_path / "coco")
    coco = {"frames": 6, "minimum": 32}
    with pytest.raises(BadSuite, match=r"fidelity is reference, but coco ignores what is not annotated; the source"):
        trained(network, tmp_path / "a.safetensors", fidelity="reference", outliers={"coco": coco})
    outliers = {"coco": coco | {"background": "road"}}
    assert trained(network, tmp_path / "b.safetensors", fidelity="reference", outliers=outliers)[0].new


def test_networks_without_gradients_are_refused(tmp_path):
    torch.jit.script(torch.nn.Conv2d(3, 19, 1)).save(str(tmp_path / "x.pt"))
    with pytest.raises(BadPlugin, match=r"model torchscript cannot be trained: it gives no gradients"):
        trained(("torchscript", {"file": str(tmp_path / "x.pt")}), tmp_path / "x.safetensors")


def test_the_loss_that_explodes_is_said(network, tmp_path):
    with pytest.raises(BadSuite, match=r"the loss is (nan|inf) in step \d+; lower its rate"):
        trained(network, tmp_path / "x.safetensors", rate=1e30, epochs=4)


@pytest.mark.slow
def test_a_process_that_is_killed_goes_on_too(network, tmp_path):
    """The same through the command line and SIGKILL."""
    code = (
        "import sys; from bench.fit.outliers import loop; loop.KEEP_SECONDS = 0.0;"
        " from bench.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    entry = json.dumps({"toytown_outliers": {"images": 30, "height": 32, "width": 64}})
    command = [
        sys.executable,
        "-c",
        code,
        "fit",
        "entropy_max",
        "--model",
        f"python:factory={tmp_path / 'net.py'}:build",
    ]
    command += ["--data", "toytown:split=train,images=120,height=32,width=64", "--set", f"outliers={entry}"]
    command += ["--set", "crop=32,epochs=3,rate=0.01", "--threads", "1", "--workers", "1"]
    killed = subprocess.Popen([*command, "--out", str(tmp_path / "a.safetensors")], stderr=subprocess.DEVNULL)
    folder = tmp_path / "home" / "training"
    until(lambda: list(folder.glob("*/checkpoint.pt")) or killed.poll() is not None)
    assert killed.poll() is None, "it was over before it could be killed"
    killed.kill()
    killed.wait()
    assert list(folder.glob("*/checkpoint.pt"))
    for name in ("a", "b"):
        subprocess.run([*command, "--out", str(tmp_path / f"{name}.safetensors")], check=True, capture_output=True)
    one, other = (tensors(tmp_path / f"{name}.safetensors") for name in ("a", "b"))
    assert all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.slow
def test_two_devices_share_every_batch_and_end_where_one_does(tmp_path):
    """Two processes on the CPU; a branch that takes no part in the loss stands aside."""
    pytest.importorskip("lightning_fabric", reason="the extra train is not installed")
    (tmp_path / "net.py").write_text(IDLE)
    (tmp_path / "go.py").write_text("import sys\nfrom bench.cli.main import main\nsys.exit(main(sys.argv[1:]))\n")
    command = [
        sys.executable,
        "go.py",
        "fit",
        "entropy_max",
        "--model",
        "python:factory=net.py:build",
        "--device",
        "cpu",
    ]
    command += ["--data", "toytown:split=train,images=8,height=32,width=64", "--threads", "1", "--workers", "0"]
    command += ["--set", "outliers={toytown_outliers: {images: 4, height: 32, width: 64}}"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    for devices in (1, 2):
        recipe = f"crop=32,share=0.5,epochs=1,batch=4,rate=1e-3,devices={devices}"
        out = ["--set", recipe, "--out", f"{devices}.safetensors"]
        subprocess.run(
            [*command, *out], cwd=tmp_path, env=environment, check=True, capture_output=True, timeout=PATIENCE
        )
    one, two = (tensors(tmp_path / f"{devices}.safetensors") for devices in (1, 2))
    assert all(np.allclose(one[name], two[name], atol=1e-6) for name in one)


def test_sources_are_read_in_the_order_of_the_places():
    """Images of two data sets, interleaved; each place gets its own."""
    inside, outside = Toytown(split="train", images=4, height=32, width=64), ToytownOutliers(4, 32, 64)

    def reader(data):
        return Source(data, lambda indices, ahead: (data.load(index) for index in indices))

    places = mixture.epoch(4, 4, 3, 0, 0)
    found = list(mixture.examples(places, [], {False: reader(inside), True: reader(outside)}, 32, 19, "x"))
    for place, (image, target) in zip(places, found, strict=True):
        sample = (outside if place.outlier else inside).load(place.index)
        wanted = mixture.target(sample, 19, outlier=place.outlier)
        expected = mixture.cut(sample.image(), wanted, 32, mixture.dice("x", place.at))
        assert np.array_equal(image, expected[0]) and np.array_equal(target, expected[1])
        assert (target == OUTLIER).any() <= place.outlier
