"""ToyQuery: a mask classifier small enough for the demo, on which every score of its kind means something."""

from __future__ import annotations

import subprocess
import sys
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
from bench.fit import toyquery as training
from bench.models import toyquery
from bench.models.toynet import ToyNet
from bench.models.toyquery import ToyQuery
from bench.ops import queries
from bench.suite import registry

SUBSET = 16
FLOOR = {"rba": 0.55, "mask_max": 0.8, "eam": 0.7, "void_channel": 0.9, "ood_head": 0.9}  # AUROC


@pytest.fixture(scope="module")
def net() -> Network:
    torch.set_num_threads(1)
    return load(ToyQuery(), "cpu")


def look(net: Network, pixels: Tensor) -> Prediction:
    size = int(pixels.shape[1]), int(pixels.shape[2])
    return net.predict([View("x", pixels, 1.0, False, (0, 0, *size), size, size)])[0]


def street(index: int = 0) -> Tensor:
    return torch.from_numpy(Toytown().load(index).image()).permute(2, 0, 1)


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
    """AUROC over the pooled pixels of the first frames of the anomaly split."""
    data, truths = Toytown(split="anomaly"), []
    scores: dict[str, list[Any]] = {name: [] for name in FLOOR}
    for index in range(count):
        sample = data.load(index)
        assert sample.anomaly is not None
        seen = look(net, torch.from_numpy(sample.image()).permute(2, 0, 1))
        valid = sample.anomaly != IGNORE
        truths.append(sample.anomaly[valid])
        for name, found in scores.items():
            found.append(registry.build("method", name, {}, where="x").score(seen, {}).numpy()[valid])
    truth = np.concatenate(truths)
    return {name: float(roc_auc_score(truth, np.concatenate(found))) for name, found in scores.items()}


def test_it_segments_and_every_score_finds_anomalies(net: Network) -> None:
    assert mean_iou(net, SUBSET) > 0.5
    values = auroc(net, SUBSET)
    assert all(value > FLOOR[name] for name, value in values.items()), values
    trained, not_trained = ("void_channel", "ood_head"), ("rba", "mask_max", "eam")
    assert min(values[name] for name in trained) > max(values[name] for name in not_trained), values


@pytest.mark.slow
def test_the_figures_of_the_page_hold_on_the_whole_splits(net: Network) -> None:
    page = (Path(__file__).parents[2] / "docs" / "toytown.md").read_text()
    assert f"Its mean IoU on `val` is {mean_iou(net, 64):.3f}" in page
    for name, value in auroc(net, 64).items():
        assert f"| `{name}` | {value:.3f} |" in page, (name, value)


def test_it_gives_what_it_says(net: Network) -> None:
    pixels = street()
    seen = look(net, pixels)
    assert set(seen.raw) | {"labels", "raw", "image", "again"} == net.model.outputs
    assert {name: tuple(raw.shape) for name, raw in seen.raw.items()} == {
        "logits": (19, 32, 64),
        "class_scores": (19, 128, 256),
        "query_logits": (19, 20),
        "query_masks": (19, 32, 64),
        "void_logit": (32, 64),
        "ood_logit": (32, 64),
    }
    assert all(raw.dtype == torch.float32 for raw in seen.raw.values())
    assert seen.size == (128, 256) and seen.image is pixels and net.model.class_names == CITYSCAPES
    assert torch.equal(seen.labels, seen.class_scores.argmax(0).byte())
    scores = queries.class_scores(seen.raw["query_logits"], seen.raw["query_masks"], (128, 256))
    assert torch.equal(seen.class_scores, scores)


def test_its_logits_are_those_of_toynet_which_saw_no_outlier(net: Network) -> None:
    trunk = load(ToyNet(), "cpu")
    assert torch.equal(look(net, street(2)).raw["logits"], look(trunk, street(2)).raw["logits"])


def test_query_k_speaks_for_class_k(net: Network) -> None:
    seen = look(net, street(1))
    certain = seen.raw["query_logits"].softmax(1)
    assert certain[0, 0] > 0.9, "there is a road in every street"
    own = certain.diagonal() + certain[:, -1]
    assert (own > 0.9).all(), "each query answers for its class, or that there is none of it"


def test_it_repeats_itself_and_can_be_asked_again(net: Network) -> None:
    pixels = street(3)
    seen = look(net, pixels)
    assert seen.again is not None
    again = seen.again(pixels.float())
    assert all(torch.equal(again.raw[name], raw) for name, raw in seen.raw.items())


@pytest.mark.parametrize("size", [(97, 131), (33, 17), (5, 3), (1, 1)])
def test_any_size_is_covered_exactly(net: Network, size: tuple[int, int]) -> None:
    seen = look(net, torch.zeros(3, *size, dtype=torch.uint8))
    assert seen.class_scores.shape == (19, *size) and seen.labels.shape == size
    assert all(raw.isfinite().all() for raw in seen.raw.values())


def test_nothing_of_it_is_trainable_or_in_training_mode(net: Network) -> None:
    module = net.module()
    assert not module.training and not any(parameter.requires_grad for parameter in module.parameters())


def test_the_weights_are_small_and_the_digest_follows_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert toyquery.WEIGHTS.stat().st_size <= 200_000
    before = ToyQuery().digest()
    altered = tmp_path / "toyquery.safetensors"
    content = bytearray(toyquery.WEIGHTS.read_bytes())
    content[-1] ^= 1
    altered.write_bytes(content)
    monkeypatch.setattr(toyquery, "WEIGHTS", altered)
    assert ToyQuery().digest() != before


def test_missing_and_damaged_weights_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ToyQuery().check()
    path, whole = tmp_path / "toyquery.safetensors", toyquery.WEIGHTS.read_bytes()
    monkeypatch.setattr(toyquery, "WEIGHTS", path)
    with pytest.raises(MissingData, match="does not exist"):
        ToyQuery().check()
    path.write_bytes(whole[:1000])
    with pytest.raises(MissingData, match=r"toyquery.safetensors is damaged") as caught:
        ToyQuery().load("cpu")
    assert "\n" not in str(caught.value)


def test_listing_the_model_and_its_training_needs_no_torch() -> None:
    code = (
        "import sys, bench.models.toyquery as m, bench.fit.toyquery; m.ToyQuery().check();"
        " sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def drawn_here(data: Toytown, processes: int, progress: Any) -> tuple[Tensor, Tensor]:
    """As ``draw`` of ToyNet's training, without processes and with eight small frames."""
    samples = [Toytown(split=data.split, height=64, width=128).load(index) for index in range(8)]
    images = torch.stack([torch.from_numpy(sample.image()).permute(2, 0, 1) for sample in samples])
    return images, torch.stack([torch.from_numpy(sample.labels) for sample in samples])


def test_training_is_seeded_and_writes_what_can_be_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(name: str, seed: int) -> bytes:
        options = ["--iterations", "2", "--images", "8", "--threads", "1", "--seed", str(seed)]
        training.main(["--out", str(tmp_path / name), *options])
        return (tmp_path / name).read_bytes()

    monkeypatch.setattr(training, "draw", drawn_here)
    first = run("a.safetensors", 0)
    assert run("b.safetensors", 0) == first
    assert run("c.safetensors", 1) != first
    monkeypatch.setattr(toyquery, "WEIGHTS", tmp_path / "a.safetensors")
    model = load(ToyQuery(), "cpu")
    assert look(model, street()).labels.shape == (128, 256)


def test_patches_are_void_and_change_the_image_there_alone() -> None:
    dice = np.random.RandomState(0)
    pool = torch.randint(0, 256, (5, 3, 64, 128), dtype=torch.uint8)
    images = torch.full((4, 3, 64, 128), 100.0)
    labels = torch.zeros(4, 64, 128, dtype=torch.uint8)
    labels[:, 50:] = IGNORE
    pasted, truth = training.paste(images.clone(), labels.clone(), pool, dice)
    assert set(truth.unique().tolist()) == {0, training.VOID, IGNORE}
    assert torch.equal(truth == IGNORE, labels == IGNORE), "what is ignored stays so"
    share = (truth == training.VOID).float().mean(dim=(1, 2))
    assert (share > 0).all() and (share < 0.5).all()
    untouched = (truth != training.VOID)[:, None].expand_as(pasted)
    assert torch.equal(pasted[untouched], images[untouched])
    assert not torch.equal(pasted, images) and pasted.isfinite().all()


def test_the_loss_of_a_perfect_answer_is_next_to_nothing() -> None:
    truth = torch.zeros(1, 16, 16, dtype=torch.uint8)
    truth[:, 8:] = 13
    small = truth[:, 2::4, 2::4]
    masks = torch.where(small[:, None] == torch.arange(19)[:, None, None], 30.0, -30.0)
    kinds = torch.full((1, 19, 20), -30.0)
    kinds[0, torch.arange(19), 19] = 30.0
    for k in (0, 13):
        kinds[0, k, 19], kinds[0, k, k] = -30.0, 30.0
    assert training.query_loss({"query_logits": kinds, "query_masks": masks}, truth) < 1e-6
    assert training.query_loss({"query_logits": kinds.flip(1), "query_masks": masks}, truth) > 1
    assert training.query_loss({"query_logits": kinds, "query_masks": -masks}, truth) > 1
