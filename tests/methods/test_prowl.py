"""PROWL and the network that its authors take, written here small and at random."""

import numpy as np
import pytest
import torch
from running import run
from transformers import Dinov2Config, Dinov2Model, Dinov2WithRegistersConfig, Dinov2WithRegistersModel

from bench.api import Prediction, View
from bench.contract.network import loaded
from bench.core.errors import BadSuite, MissingData
from bench.models.dino import Dino
from bench.suite import registry

PREPARATION = '{"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}'


def test_the_angle_to_the_nearest_prototype():
    """Prototypes (3, 4) and (0, 2): of (4, 3) the cosines are 24/25 and 3/5, of (0, -1) they are -4/5 and -1."""
    state = {"means": np.array([[3.0, 4.0], [0.0, 2.0]])}
    features = torch.tensor([[4.0, 0.0], [3.0, -1.0]])[:, None]
    method = registry.build("method", "prowl", {}, where="suite.yaml")
    score = method.score(Prediction({"features": features}, (1, 2)), state)[0].tolist()
    assert score == pytest.approx([1 - 24 / 25, 1 + 4 / 5])
    assert method.fitting.trainer == "feature_moments" and method.needs == {"features", "raw"}


def write(folder, kind=Dinov2Model, **more):
    """Write a network of patches of 4 x 4 pixels with eight features."""
    config = {Dinov2Model: Dinov2Config, Dinov2WithRegistersModel: Dinov2WithRegistersConfig}[kind](
        hidden_size=8, num_hidden_layers=2, num_attention_heads=2, image_size=16, patch_size=4, mlp_ratio=2, **more
    )
    torch.manual_seed(0)
    network = kind(config).eval()
    network.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(PREPARATION)
    return network


def view(height, width):
    pixels = torch.randint(256, (3, height, width), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    return View("a", pixels, 1.0, False, (0, 0, height, width), (height, width), (height, width))


@pytest.mark.parametrize(
    ("kind", "more", "leading"), [(Dinov2Model, {}, 1), (Dinov2WithRegistersModel, {"num_register_tokens": 2}, 3)]
)
def test_features_are_the_tokens_of_the_patches(tmp_path, kind, more, leading):
    network = write(tmp_path, kind, **more)
    model = Dino(folder=str(tmp_path))
    assert model.outputs == {"features", "raw", "image", "again"}
    seen = view(16, 24)
    first, second = loaded(model, "cpu").predict([seen, seen])
    assert first.raw["features"].shape == (8, 4, 6) and not first.has_labels
    assert torch.equal(first.raw["features"], second.raw["features"])
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    with torch.no_grad():
        tokens = network(((seen.pixels / 255 - mean) / std)[None]).last_hidden_state[0, leading:]
    torch.testing.assert_close(first.raw["features"].flatten(1).T, tokens, rtol=1e-5, atol=1e-5)
    odd = loaded(model, "cpu").predict([view(15, 26)])[0]
    assert odd.raw["features"].shape == (8, 4, 6) and odd.size == (15, 26)  # 26 / 4 rounds to the even neighbour
    again = first.again(seen.pixels.float())
    torch.testing.assert_close(again.raw["features"], first.raw["features"])


def test_a_network_with_classes_and_a_folder_that_is_absent_are_refused(tmp_path):
    with pytest.raises(MissingData, match=r"model dino: folder .* does not exist"):
        Dino(folder=str(tmp_path / "absent")).check()
    (tmp_path / "config.json").write_text('{"architectures": ["SegformerForSemanticSegmentation"]}')
    with pytest.raises(
        BadSuite, match=r"is of SegformerForSemanticSegmentation, wanted Dinov2Model or .* transformers"
    ):
        Dino(folder=str(tmp_path)).check()


SUITE = """
protocols: [anomaly]
models:
  - dino: {label: whole, folder: net}
  - dino: {label: windows, folder: net, inference: {window: [32, 64]}}
datasets:
  - toytown: {split: anomaly, images: 2, height: 32, width: 96}
methods:
  - prowl: {fit: {data: {toytown: {split: train, images: 2, height: 32, width: 96}}}}
  - msp
bootstrap: 0
"""


def test_anomalies_are_ranked_without_logits_and_without_a_class_map(tmp_path):
    (tmp_path / "net").mkdir()
    write(tmp_path / "net")
    (tmp_path / "suite.yaml").write_text(SUITE)
    results = run(tmp_path / "suite.yaml", tmp_path / "run")
    figures = {(r.labels.model, r.cell.method.name): r.metrics["auroc"] for r in results}
    assert all(0 < figures[model, "prowl"].value < 1 for model in ("whole", "windows"))
    assert figures["whole", "msp"].reason.startswith("msp needs logits; whole gives ")
