"""ToyNet: good enough to be interesting, wrong often enough to be worth ranking methods on, and the same every time."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from bench.api import CITYSCAPES, IGNORE, Network, Prediction, View
from bench.contract.network import loaded as load
from bench.core.errors import MissingData
from bench.datasets.toytown.scenes import Toytown
from bench.fit import toynet as training
from bench.models import toynet
from bench.models.toynet import ToyNet

SUBSET = 24


@pytest.fixture(scope="module")
def net() -> Network:
    torch.set_num_threads(1)
    return load(ToyNet(), "cpu")


def look(net: Network, pixels: Tensor) -> Prediction:
    size = int(pixels.shape[1]), int(pixels.shape[2])
    return net.predict([View("x", pixels, 1.0, False, (0, 0, *size), size, size)])[0]


def street(index: int = 0, height: int = 128, width: int = 256) -> Tensor:
    return torch.from_numpy(Toytown(height=height, width=width).load(index).image()).permute(2, 0, 1)


def mean_iou(net: Network, count: int) -> float:
    data, table = Toytown(), np.zeros((19, 19), np.int64)
    for index in range(count):
        sample = data.load(index)
        assert sample.labels is not None
        predicted = look(net, torch.from_numpy(sample.image()).permute(2, 0, 1)).labels.numpy()
        valid = sample.labels != IGNORE
        pairs = sample.labels[valid].astype(np.int64) * 19 + predicted[valid]
        table += np.bincount(pairs, minlength=361).reshape(19, 19)
    either = table.sum(0) + table.sum(1) - table.diagonal()
    return float((table.diagonal()[either > 0] / either[either > 0]).mean())


def auroc(net: Network, count: int) -> dict[str, float]:
    """AUROC of four scores over the pooled pixels of the first frames of the anomaly split."""
    data, truths, scores = Toytown(split="anomaly"), [], []
    for index in range(count):
        sample = data.load(index)
        assert sample.anomaly is not None
        seen = look(net, torch.from_numpy(sample.image()).permute(2, 0, 1))
        valid = sample.anomaly != IGNORE
        maps = seen.other_mass(), -seen.max_logit, -seen.logsumexp(), seen.entropy()
        truths.append(sample.anomaly[valid])
        scores.append(np.stack([score.numpy()[valid] for score in maps]))
    truth, score = np.concatenate(truths), np.concatenate(scores, axis=1)
    names = "msp", "maxlogit", "energy", "entropy"
    return {name: float(roc_auc_score(truth, row)) for name, row in zip(names, score, strict=True)}


@pytest.mark.slow
def test_it_is_good_enough_to_be_interesting(net: Network) -> None:
    assert mean_iou(net, SUBSET) > 0.58  # the first frames alone; the slow test asks for 0.6 of all


def test_anomalies_are_neither_hopeless_nor_easy_and_methods_differ(net: Network) -> None:
    values = auroc(net, SUBSET)
    assert 0.6 < values["msp"] < 0.97
    assert all(0.6 < value < 0.99 for value in values.values())
    assert max(values.values()) - min(values.values()) > 0.015


@pytest.mark.slow
def test_the_promises_hold_on_the_whole_splits(net: Network) -> None:
    assert mean_iou(net, 64) > 0.6
    values = auroc(net, 64)
    assert 0.6 < values["msp"] < 0.97
    assert values["maxlogit"] - values["msp"] > 0.02
    assert values["entropy"] - values["msp"] > 0.005


def test_it_gives_what_it_says(net: Network) -> None:
    pixels = street()
    seen = look(net, pixels)
    assert net.model.outputs == {"logits", "features", "raw", "image", "again", "classify", "dropout", "forward"}
    assert seen.size == (128, 256)
    assert {name: tuple(raw.shape) for name, raw in seen.raw.items()} == {
        "logits": (19, 32, 64),
        "features": (48, 32, 64),
    }
    assert seen.logits.shape == (19, 128, 256)
    assert seen.features.shape == (48, 128, 256)
    assert seen.logits.dtype == torch.float32
    assert seen.labels.dtype == torch.uint8
    assert seen.image is pixels
    assert net.model.class_names == CITYSCAPES


def test_logits_are_the_classifier_on_the_features(net: Network) -> None:
    seen = look(net, street())
    assert seen.classify is not None
    torch.testing.assert_close(seen.classify(seen.raw["features"]), seen.raw["logits"], rtol=0, atol=0)


def test_a_second_look_at_the_same_image_is_the_same_opinion(net: Network) -> None:
    pixels = street(3)
    seen = look(net, pixels)
    assert seen.again is not None
    again = seen.again(pixels.float())
    assert torch.equal(again.raw["logits"], seen.raw["logits"])
    assert not torch.equal(seen.again(pixels.float() * 0.9).raw["logits"], seen.raw["logits"])
    assert again.again is not None  # and a third is possible


def test_it_leaves_its_input_alone_and_repeats_itself(net: Network) -> None:
    pixels = street(5)
    copy = pixels.clone()
    first, second = look(net, pixels).raw["logits"], look(net, pixels).raw["logits"]
    assert torch.equal(first, second)
    assert torch.equal(pixels, copy)
    other = load(ToyNet(), "cpu")
    assert torch.equal(look(other, pixels).raw["logits"], first)


def test_nothing_of_it_is_trainable_or_in_training_mode(net: Network) -> None:
    module = net.module()
    assert not module.training
    assert not any(parameter.requires_grad for parameter in module.parameters())
    assert any(isinstance(layer, torch.nn.Dropout2d) for layer in module.modules())


@pytest.mark.parametrize("size", [(128, 256), (120, 200), (97, 131), (126, 255), (33, 17), (5, 3), (1, 1)])
def test_any_size_is_covered_exactly(net: Network, size: tuple[int, int]) -> None:
    seen = look(net, torch.zeros(3, *size, dtype=torch.uint8))
    assert seen.raw["logits"].shape == (19, -(-size[0] // 4), -(-size[1] // 4))
    assert seen.logits.shape == (19, *size)
    assert seen.logits.isfinite().all()


def test_an_odd_size_moves_nothing(net: Network) -> None:
    # The same street drawn a little smaller must be segmented alike up to the right and lower edges.
    whole, odd = look(net, street(2)).labels, look(net, street(2, 126, 252)).labels
    stretched = torch.nn.functional.interpolate(odd[None, None].float(), size=(128, 256), mode="nearest-exact")[0, 0]
    for part in (np.s_[:, :], np.s_[-32:, :], np.s_[:, -32:]):
        assert (stretched[part] == whole[part]).float().mean() > 0.9


def test_a_larger_street_is_still_a_street(net: Network) -> None:
    sample = Toytown(height=192, width=384).load(1)
    predicted = look(net, torch.from_numpy(sample.image()).permute(2, 0, 1)).labels.numpy()
    assert sample.labels is not None
    assert (predicted == sample.labels)[sample.labels != IGNORE].mean() > 0.8


def test_a_frame_takes_milliseconds(net: Network) -> None:
    pixels = street()
    look(net, pixels)
    begin = time.process_time()
    for _ in range(10):
        look(net, pixels)
    assert (time.process_time() - begin) / 10 < 0.1  # about 7 ms; the margin is for slow and shared machines


def test_the_weights_are_small_and_the_digest_follows_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert toynet.WEIGHTS.stat().st_size <= 2_000_000
    before = ToyNet().digest()
    assert len(before) == 16
    altered = tmp_path / "toynet.safetensors"
    content = bytearray(toynet.WEIGHTS.read_bytes())
    content[-1] ^= 1
    altered.write_bytes(content)
    monkeypatch.setattr(toynet, "WEIGHTS", altered)
    assert ToyNet().digest() != before


def test_missing_and_damaged_weights_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ToyNet().check()
    path = tmp_path / "toynet.safetensors"
    whole = toynet.WEIGHTS.read_bytes()
    monkeypatch.setattr(toynet, "WEIGHTS", path)
    with pytest.raises(MissingData, match="does not exist"):
        ToyNet().check()
    for content in (b"", whole[:1000], whole[:-100]):
        path.write_bytes(content)
        with pytest.raises(MissingData, match=r"toynet.safetensors is damaged") as caught:
            ToyNet().load("cpu")
        assert "\n" not in str(caught.value)


def test_listing_the_model_and_its_training_needs_no_torch() -> None:
    code = (
        "import sys, bench.models.toynet as m, bench.fit.toynet; m.ToyNet().check(); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_training_is_seeded_and_writes_what_can_be_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(name: str, seed: int) -> bytes:
        options = ["--iterations", "2", "--images", "4", "--threads", "1", "--seed", str(seed)]
        training.main(["--out", str(tmp_path / name), *options])
        return (tmp_path / name).read_bytes()

    monkeypatch.setattr(training, "draw", drawn_here)
    monkeypatch.setattr(training, "BATCH", 2)
    first = run("a.safetensors", 0)
    assert run("b.safetensors", 0) == first
    assert run("c.safetensors", 1) != first
    monkeypatch.setattr(toynet, "WEIGHTS", tmp_path / "a.safetensors")
    model = load(ToyNet(), "cpu")
    assert look(model, street()).labels.shape == (128, 256)


def drawn_here(data: Toytown, processes: int, progress: Any) -> tuple[Tensor, Tensor]:
    """As ``training.draw``, without processes and with four small frames."""
    samples = [replace(data, height=64, width=128).load(index) for index in range(4)]
    images = torch.stack([torch.from_numpy(sample.image()).permute(2, 0, 1) for sample in samples])
    return images, torch.stack([torch.from_numpy(sample.labels) for sample in samples])


def test_frames_are_drawn_by_processes_in_order() -> None:
    from rich.progress import Progress

    data = Toytown(images=3, height=32, width=64)
    with Progress(disable=True) as progress:
        images, labels = training.draw(data, 1, progress)
    for index in range(3):
        sample = data.load(index)
        np.testing.assert_array_equal(images[index].permute(1, 2, 0), sample.image())
        np.testing.assert_array_equal(labels[index], sample.labels)


def test_rare_classes_weigh_more_but_within_bounds() -> None:
    labels = torch.zeros(1, 10, 10, dtype=torch.uint8)
    labels[0, 0, 0], labels[0, 5:] = 11, IGNORE
    weights = training.balance(labels)
    assert weights[0] == 1.0
    assert weights[11] == pytest.approx((0.1 * 50) ** 0.5)
    assert weights[18] == 4.0


def test_iou_is_counted_over_all_images_and_void_is_left_out() -> None:
    class Road(torch.nn.Module):
        def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
            logits = torch.zeros(len(image), 19, *image.shape[-2:])
            logits[:, 0] = 1
            return logits, logits

    labels = torch.tensor([[[0, 0], [0, 255]], [[0, 2], [255, 255]]], dtype=torch.uint8)
    shares = training.evaluate(Road(), torch.zeros(2, 3, 2, 2, dtype=torch.uint8), labels)
    assert shares == {"road": 4 / 5, "building": 0.0}
