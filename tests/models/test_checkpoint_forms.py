"""Every network that reads weights and every form that checkpoints have: it is filled, or one line says why not."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import oddities
import pytest
import torch
from torch import Tensor, nn

from bench.api import SegModel
from bench.contract.network import loaded
from bench.core.errors import MissingData, UserError
from bench.suite import parameters, registry

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")  # of mmsegmentation's own


@dataclass(frozen=True)
class Reader:
    """A network that reads weights, small enough for a test."""

    state: Callable[[], dict[str, Tensor]]  # as its publishers name the tensors
    entry: Callable[[Path, Path], tuple[str, dict[str, str]]]  # name and parameters, of a folder and the weights
    held: Callable[[nn.Module], dict[str, Tensor]] = nn.Module.state_dict  # of a filled network, by the same names


def _void(name: str) -> Reader:
    def state() -> dict[str, Tensor]:
        return registry.plugin("model", name, where="here")(weights="w").network().state_dict()

    return Reader(state, lambda folder, weights: (name, {"weights": str(weights)}))


FACTORY = """
from torch import nn
from bench.core.weights import load_strictly

def network():
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 19, 1))

def build(path):
    return load_strictly(network(), path)
"""


def _python(folder: Path, weights: Path) -> tuple[str, dict[str, str]]:
    (folder / "net.py").write_text(FACTORY)
    return "python", {"factory": f"{folder / 'net.py'}:build", "weights": str(weights)}


def _own() -> dict[str, Tensor]:
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 19, 1)).state_dict()


CONFIG = """
norm = dict(type="BN")
model = dict(
    type="EncoderDecoder",
    data_preprocessor=dict(type="SegDataPreProcessor", mean=[0.0] * 3, std=[1.0] * 3, bgr_to_rgb=True),
    backbone=dict(type="MixVisionTransformer", embed_dims=8, num_layers=[1] * 4, num_heads=[1, 2, 5, 8]),
    decode_head=dict(
        type="SegformerHead", in_channels=[8, 16, 40, 64], in_index=[0, 1, 2, 3], channels=16, num_classes=19,
        norm_cfg=norm, loss_decode=dict(type="CrossEntropyLoss")),
    test_cfg=dict(mode="whole"))
"""


def _segmentor(folder: Path, weights: Path) -> tuple[str, dict[str, str]]:
    (folder / "tiny.py").write_text(CONFIG)
    return "mmseg", {"config": str(folder / "tiny.py"), "checkpoint": str(weights)}


@cache
def _of_mmseg() -> dict[str, Tensor]:
    pytest.importorskip("mmseg", reason="the extra mmseg is not installed")
    from bench.models import mmseg_network as network

    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "tiny.py")
        path.write_text(CONFIG)
        recipe = network.read_config(path, "the test")
        return network.build(recipe, path.name, "the test").state_dict()


@cache
def _of_detectron2() -> dict[str, Tensor]:
    pytest.importorskip("transformers", reason="the extra transformers is not installed")
    from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinConfig

    stages = [f"stage{number}" for number in range(1, 5)]
    swin = SwinConfig(embed_dim=8, depths=[1] * 4, num_heads=[1, 1, 2, 2], window_size=2, out_features=stages)
    config = Mask2FormerConfig(
        backbone_config=swin, hidden_dim=32, mask_feature_size=32, feature_size=32, encoder_layers=1, decoder_layers=2,
        num_attention_heads=2, encoder_feedforward_dim=8, dim_feedforward=8, num_queries=5, num_labels=19,
    )  # fmt: skip
    return _named_by_detectron2(Mask2FormerForUniversalSegmentation(config))


def _named_by_detectron2(net: nn.Module) -> dict[str, Tensor]:
    from transformers.core_model_loading import revert_weight_conversion

    from bench.models.detectron2 import names, network

    state = {name: tensor for name, tensor in net.state_dict().items() if not name.endswith(network.IDLE)}
    return names.to_detectron2(dict(revert_weight_conversion(net, state)))


def _of_deeplab() -> dict[str, Tensor]:
    from bench.ops.networks.deeplab_wideresnet38 import DeepLab

    return DeepLab(19).state_dict()


@pytest.fixture(autouse=True)
def few_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    """DeepLab with few channels: the published file has 550 MB."""
    small = [(1, (128, 128), 1, 1, 0.0), *((1, (4, 4), 1, 1, 0.0),) * 5]
    monkeypatch.setattr("bench.ops.networks.deeplab_wideresnet38.MODULES", small)


READERS = {
    "mask2former_detectron2": Reader(
        _of_detectron2,
        lambda folder, weights: ("mask2former_detectron2", {"weights": str(weights)}),
        _named_by_detectron2,
    ),
    "enet": _void("enet"),
    "deeplab_wideresnet38": Reader(
        _of_deeplab, lambda folder, weights: ("deeplab_wideresnet38", {"weights": str(weights)})
    ),
    "python": Reader(_own, _python),
    "mmseg": Reader(_of_mmseg, _segmentor),
}
# What else names files in a suite and does not load as one of these, and why no checkpoint of a training is among them.
OTHERS = {
    "transformers": "a folder whose files have names of their own, in test_transformers",
    "segformer_b0_cityscapes_hf": "the same, with all that are published on the hub",
    "dino": "a folder of transformers, too",
    "torchscript": "a program",
    "exported": "a program",
    "onnx": "a program",
    "command": "a program in another environment",
    "precomputed": "outputs, and no network",
    "retrained": "what bench fit wrote, with a header that is asked for first",
}


def make(reader: Reader, folder: Path, weights: Path) -> SegModel:
    name, params = reader.entry(folder, weights)
    model: SegModel = registry.build("model", name, params, where="x.yaml")
    return model


@pytest.mark.parametrize("form", oddities.READ)
@pytest.mark.parametrize("name", READERS)
def test_every_form_that_is_understood_fills_the_network(name, form, tmp_path):
    torch.manual_seed(0)
    reader = READERS[name]
    state = {key: tensor + 0.125 if tensor.is_floating_point() else tensor for key, tensor in reader.state().items()}
    if "teacher." in form and any(key.startswith("teacher.") for key in state):
        pytest.fail("this network has a part of that name: take another prefix for it")
    (tmp_path / "weights").mkdir()
    path = oddities.READ[form](state, tmp_path / "weights")
    model = make(reader, tmp_path, path)
    model.check()
    held = reader.held(loaded(model, "cpu").module())
    precision = 0.01 if form in oddities.LOSSY else 0.0
    assert held.keys() == state.keys()
    numbers = [key for key in state if not key.endswith("num_batches_tracked")]
    assert all(torch.allclose(held[key], state[key], precision, precision) for key in numbers)


@pytest.mark.parametrize("form", oddities.REFUSED)
@pytest.mark.parametrize("name", READERS)
def test_every_other_form_is_refused_in_one_line(name, form, tmp_path, capsys):
    reader = READERS[name]
    write, words = oddities.REFUSED[form]
    (tmp_path / "weights").mkdir()
    path = write(reader.state(), tmp_path / "weights")
    model = make(reader, tmp_path, path)
    with pytest.raises(UserError, match=words) as caught:
        model.check()
        loaded(model, "cpu")
    assert "\n" not in str(caught.value) and isinstance(caught.value, MissingData)
    assert "code ran" not in capsys.readouterr().out


def test_no_network_that_reads_weights_is_left_out():
    shipped = {
        name: cls for name, cls in registry.available("model").items() if cls.__module__.startswith("bench.models")
    }
    loads = {shipped[name].load for name in (*READERS, *OTHERS)}
    assert [name for name, cls in shipped.items() if parameters.file_fields(cls) and cls.load not in loads] == []
