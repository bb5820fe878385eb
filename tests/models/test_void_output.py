"""ENet, ESPNet and ERFNet: layers by their published names, void apart from the classes, any image size they take."""

from __future__ import annotations

import pytest
import torch

from bench.api import View
from bench.contract.network import loaded
from bench.core.errors import MissingData
from bench.models.enet import ENet
from bench.models.erfnet import ERFNet
from bench.models.espnet import ESPNet
from bench.models.void_output import VoidOutputModel

NETWORKS = [ENet, ESPNet, ERFNet]

# Of the state dicts that authors and users publish: how many tensors, and names and shapes of each kind of layer.
PUBLISHED = {
    ENet: (
        622,
        {
            "initial_block.main_branch.weight": [13, 3, 3, 3],
            "downsample1_0.ext_conv1.0.weight": [4, 16, 2, 2],
            "regular1_4.ext_conv3.1.running_var": [64],
            "dilated2_8.ext_conv2.0.weight": [32, 32, 3, 3],
            "asymmetric3_6.ext_conv2.3.weight": [32, 32, 1, 5],
            "upsample5_0.ext_tconv1.weight": [16, 16, 2, 2],
            "regular5_1.ext_conv1.0.weight": [4, 16, 1, 1],
            "transposed_conv.weight": [16, 20, 3, 3],
        },
    ),
    ESPNet: (
        189 + 21,  # counters of batches, which the published file is too old to hold
        {
            "encoder.level1.conv.weight": [16, 3, 3, 3],
            "encoder.level2_0.d1.conv.weight": [16, 12, 3, 3],
            "encoder.level3.7.bn.act.weight": [128],
            "encoder.classifier.conv.weight": [20, 256, 1, 1],
            "level3_C.conv.weight": [20, 131, 1, 1],
            "combine_l2_l3.1.d16.conv.weight": [4, 4, 3, 3],
            "up_l2.1.act.weight": [20],
            "classifier.weight": [20, 20, 2, 2],
        },
    ),
    ERFNet: (
        345,
        {
            "encoder.initial_block.conv.weight": [13, 3, 3, 3],
            "encoder.layers.5.conv1x3_2.weight": [64, 64, 1, 3],
            "encoder.layers.6.bn.running_mean": [128],
            "encoder.layers.14.conv3x1_2.bias": [128],
            "encoder.output_conv.weight": [20, 128, 1, 1],
            "decoder.layers.3.conv.weight": [64, 16, 3, 3],
            "decoder.output_conv.weight": [16, 20, 2, 2],
        },
    ),
}


def stored(kind: type[VoidOutputModel], folder, *, prefix=""):
    """Write random weights of a network, with the layers' means and variances of one batch, and return their file."""
    torch.manual_seed(3)
    module = kind(weights="").network().train()
    with torch.no_grad():
        module(torch.randn(2, 3, 64, 64))
    path = folder / f"{kind.name}.pth"
    torch.save({prefix + name: tensor for name, tensor in module.state_dict().items()}, path)
    return str(path)


def seen(network, pixels):
    size = int(pixels.shape[1]), int(pixels.shape[2])
    return network.predict([View("x", pixels, 1.0, False, (0, 0, *size), size, size)])[0]


def street(height, width):
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", NETWORKS)
def test_layers_have_their_published_names_and_shapes(kind):
    state = kind(weights="").network().state_dict()
    number, shapes = PUBLISHED[kind]
    assert len(state) == number
    assert {name: list(state[name].shape) for name in shapes} == shapes


@pytest.mark.parametrize("kind", NETWORKS)
def test_void_is_an_output_of_its_own_and_no_class(kind, tmp_path):
    network = loaded(kind(weights=stored(kind, tmp_path)), "cpu")
    prediction = seen(network, street(64, 96))
    assert prediction.raw["logits"].shape == (19, 64, 96)
    assert prediction.raw["void_logit"].shape == (64, 96)
    assert prediction.labels.max() < 19
    prepared = network._prepared(street(64, 96)[None].float())
    with torch.no_grad():
        every = network.module()(prepared)[1][0]
    assert torch.equal(torch.cat([prediction.raw["logits"], prediction.raw["void_logit"][None]]), every)


@pytest.mark.parametrize("kind", NETWORKS)
def test_the_last_layer_on_the_features_gives_the_logits(kind, tmp_path):
    prediction = seen(loaded(kind(weights=stored(kind, tmp_path)), "cpu"), street(64, 96))
    torch.testing.assert_close(prediction.classify(prediction.raw["features"]), prediction.raw["logits"])


def test_enet_takes_sides_that_are_no_multiple_of_8(tmp_path):
    prediction = seen(loaded(ENet(weights=stored(ENet, tmp_path)), "cpu"), street(67, 101))
    assert prediction.raw["logits"].shape == (19, 67, 101)


def test_espnet_sees_blue_first_and_each_network_its_own_scale(tmp_path):
    pixels = street(16, 16).float()[None]
    prepared = {
        kind: loaded(kind(weights=stored(kind, tmp_path)), "cpu")._prepared(pixels)[0, :, 0, 0] for kind in NETWORKS
    }
    red, green, blue = pixels[0, :, 0, 0].tolist()
    torch.testing.assert_close(prepared[ENet], torch.tensor([red, green, blue]) / 255)
    torch.testing.assert_close(prepared[ERFNet], prepared[ENet])
    expected = [(blue - 72.3923111) / 45.3192215 / 255, (red - 73.15840149) / 44.91483307 / 255]
    torch.testing.assert_close(prepared[ESPNet][[0, 2]], torch.tensor(expected))


def test_names_behind_the_prefix_of_parallel_training_are_read(tmp_path):
    plain, prefixed = (tmp_path / name for name in ("plain", "prefixed"))
    plain.mkdir(), prefixed.mkdir()
    networks = [ENet(weights=stored(ENet, plain)), ENet(weights=stored(ENet, prefixed, prefix="module."))]
    first, second = (seen(loaded(network, "cpu"), street(32, 32)).raw["logits"] for network in networks)
    assert torch.equal(first, second)


@pytest.mark.parametrize("kind", NETWORKS)
def test_absent_weights_are_named(kind):
    with pytest.raises(MissingData, match=rf"^model {kind.name}: weights nowhere.pth do not exist"):
        kind(weights="nowhere.pth").check()
