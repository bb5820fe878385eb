"""The two networks of Meta-OoD: layers by the names of their files, and files that do not fit."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional

from bench.contract.network import loaded as load
from bench.core.errors import MissingData
from bench.suite import registry
from bench.suite.registry import from_file

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def deeplab():
    return from_file(EXAMPLES / "deeplab_wideresnet38.py", "examples_deeplab")


@pytest.fixture
def dualgcn():
    return from_file(EXAMPLES / "dualgcn_resnet50.py", "examples_dualgcn")


@pytest.fixture
def small(deeplab, monkeypatch):
    """The same layers with few channels: the published file has 550 MB."""
    modules = [(1, (128, 128), 1, 1, 0.0), (1, (8, 8), 1, 1, 0.0), (2, (12, 12), 2, 1, 0.0), (1, (12, 16), 1, 2, 0.0)]
    monkeypatch.setattr(deeplab, "MODULES", [*modules, (1, (8, 8, 16), 1, 4, 0.3), (1, (8, 8, 16), 1, 4, 0.5)])
    return deeplab


def shapes(network):
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def test_the_layers_of_deeplab_have_the_names_and_shapes_of_the_published_files(deeplab):
    with torch.device("meta"):
        found = shapes(deeplab.DeepLab(19))
    assert {name.split(".")[0] for name in found} == {
        *(f"mod{number}" for number in range(1, 8)), "aspp", "bot_fine", "bot_aspp", "final",
    }  # fmt: skip
    expected = {
        "mod1.conv1.weight": (64, 3, 3, 3),
        "mod2.block1.bn1.0.running_var": (64,),
        "mod2.block1.proj_conv.weight": (128, 64, 1, 1),
        "mod2.block3.convs.bn2.0.weight": (128,),
        "mod4.block1.convs.conv1.weight": (512, 256, 3, 3),
        "mod4.block6.convs.conv2.weight": (512, 512, 3, 3),
        "mod5.block1.proj_conv.weight": (1024, 512, 1, 1),
        "mod5.block2.convs.conv1.weight": (512, 1024, 3, 3),
        "mod6.block1.convs.conv1.weight": (512, 1024, 1, 1),
        "mod6.block1.convs.bn3.0.bias": (1024,),
        "mod7.block1.convs.conv3.weight": (4096, 2048, 1, 1),
        "aspp.features.0.0.weight": (256, 4096, 1, 1),
        "aspp.features.3.0.weight": (256, 4096, 3, 3),
        "aspp.features.3.1.running_mean": (256,),
        "aspp.img_conv.0.weight": (256, 4096, 1, 1),
        "bot_fine.weight": (48, 128, 1, 1),
        "bot_aspp.weight": (256, 1280, 1, 1),
        "final.0.weight": (256, 304, 3, 3),
        "final.4.num_batches_tracked": (),
        "final.6.weight": (19, 256, 1, 1),
    }
    assert {name: found.get(name) for name in expected} == expected
    # Only the first block of a module projects, and module 3 to 7 all do; no convolution has a bias.
    assert sorted(name for name in found if "proj_conv" in name) == [
        f"mod{number}.block1.proj_conv.weight" for number in range(2, 8)
    ]
    assert not any(name.endswith("conv1.bias") or name == "final.6.bias" for name in found)


def test_the_parameters_of_deeplab_add_up(deeplab):
    """By hand: 3x3 and 1x1 convolutions without bias, two numbers for each normalised channel."""

    def plain(inputs, first, last):
        return 9 * (inputs * first + first * last) + 2 * (inputs + first) + (inputs * last if inputs != last else 0)

    def bottleneck(inputs, first, middle, last):
        weights = inputs * first + 9 * first * middle + middle * last + inputs * last
        return weights + 2 * (inputs + first + middle)

    trunk = 27 * 64
    for inputs, first, last, blocks in ((64, 128, 128, 3), (128, 256, 256, 3), (256, 512, 512, 6), (512, 512, 1024, 3)):
        trunk += plain(inputs, first, last) + (blocks - 1) * plain(last, first, last)
    trunk += bottleneck(1024, 512, 1024, 2048) + bottleneck(2048, 1024, 2048, 4096)
    pyramid = 2 * (4096 * 256 + 512) + 3 * (9 * 4096 * 256 + 512)
    head = 128 * 48 + 1280 * 256 + 9 * 304 * 256 + 512 + 9 * 256 * 256 + 512 + 256 * 19
    with torch.device("meta"):
        network = deeplab.DeepLab(19)
    assert sum(parameter.numel() for parameter in network.parameters()) == trunk + pyramid + head


def test_deeplab_sees_images_of_any_size_at_an_eighth(deeplab):
    with torch.device("meta"):
        network = deeplab.DeepLab(19)
        seen = {}
        network.mod2.register_forward_hook(lambda *given: seen.update(mod2=tuple(given[2].shape)))
        network.mod7.register_forward_hook(lambda *given: seen.update(mod7=tuple(given[2].shape)))
        assert network(torch.zeros(2, 3, 72, 104)).shape == (2, 19, 72, 104)
        assert seen == {"mod2": (2, 128, 36, 52), "mod7": (2, 4096, 9, 13)}
        assert network(torch.zeros(2, 3, 73, 101)).shape == (2, 19, 73, 101)


@pytest.mark.parametrize(("channels", "stride", "dilation"), [((6, 8), 2, 1), ((8, 8), 1, 2), ((4, 6, 8), 1, 4)])
def test_a_block_normalises_first_and_projects_what_it_has_normalised(deeplab, channels, stride, dilation):
    torch.manual_seed(0)
    block = deeplab.Block(8, channels, stride, dilation, 0.3).eval()
    for name, buffer in block.named_buffers():
        if name.endswith(("mean", "var")):
            buffer.uniform_(0.5, 1.5)
    x = torch.randn(1, 8, 12, 10)
    state = block.state_dict()

    def normalised(at, given):
        named = (state[f"{at}.0.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return functional.batch_norm(given, *named).relu()

    ready = normalised("bn1", x)
    if len(channels) == 2:
        inner = functional.conv2d(ready, state["convs.conv1.weight"], None, stride, dilation, dilation)
        inner = normalised("convs.bn2", inner)
        inner = functional.conv2d(inner, state["convs.conv2.weight"], None, 1, dilation, dilation)
    else:
        inner = normalised("convs.bn2", functional.conv2d(ready, state["convs.conv1.weight"], None, stride))
        inner = functional.conv2d(inner, state["convs.conv2.weight"], None, 1, dilation, dilation)
        inner = functional.conv2d(normalised("convs.bn3", inner), state["convs.conv3.weight"])
    projected = "proj_conv.weight" in state
    assert projected == (stride != 1 or channels[-1] != 8)
    kept = functional.conv2d(ready, state["proj_conv.weight"], None, stride) if projected else x
    assert torch.allclose(block(x), kept + inner, atol=1e-5)


def test_the_pyramid_has_the_image_in_front(deeplab):
    torch.manual_seed(0)
    pyramid = deeplab.Pyramid(5, 4, (1, 2, 3)).eval()
    x = torch.randn(1, 5, 7, 9)
    whole = pyramid.img_conv(x.mean(dim=(2, 3), keepdim=True))
    found = pyramid(x)
    assert found.shape == (1, 20, 7, 9)
    assert torch.allclose(found[:, :4], whole.expand(1, 4, 7, 9), atol=1e-6)
    assert torch.allclose(found[:, 4:8], pyramid.features[0](x))
    assert torch.allclose(found[:, 16:], pyramid.features[3](x))


def test_a_checkpoint_in_the_published_form_is_read(small, tmp_path):
    torch.manual_seed(0)
    network = small.DeepLab(19).eval()
    path = tmp_path / "DeepLabV3+_WideResNet38_epoch_4_alpha_0.9.pth"
    state = {f"module.{name}": tensor for name, tensor in network.state_dict().items()}
    optimiser = torch.optim.Adam(network.parameters()).state_dict()
    loss = torch.tensor(0.1)
    torch.save({"epoch": 4, "state_dict": state, "optimizer_state_dict": optimiser, "loss": loss}, path)
    image = torch.randn(1, 3, 33, 49)
    assert torch.equal(small.build(path).eval()(image), network(image))


def test_what_is_missing_or_left_over_is_named(small, tmp_path):
    state = small.DeepLab(19).state_dict()
    del state["mod7.block1.convs.conv3.weight"]
    torch.save({"state_dict": state | {"bn_out.weight": torch.zeros(3)}}, tmp_path / "a.pth")
    with pytest.raises(
        MissingData, match=r"1 missing \(first: mod7\.block1\.convs\.conv3\.weight\).*1 surplus .*bn_out"
    ):
        small.build(tmp_path / "a.pth")
    state = small.DeepLab(20).state_dict()
    torch.save({"state_dict": state}, tmp_path / "b.pth")
    with pytest.raises(
        MissingData, match=r"final\.6\.weight is \[20, 256, 1, 1\], the network wants \[19, 256, 1, 1\]"
    ):
        small.build(tmp_path / "b.pth")


def test_the_layers_of_dualgcn_have_the_names_and_shapes_of_the_published_files(dualgcn):
    with torch.device("meta"):
        network = dualgcn.DualGCNNet(19)
    found = shapes(network)
    assert {name.split(".")[0] for name in found} == {
        "conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "head", "dsn",
    }  # fmt: skip
    expected = {
        "conv1.0.weight": (64, 3, 3, 3),
        "conv1.6.weight": (128, 64, 3, 3),
        "layer1.0.downsample.0.weight": (256, 128, 1, 1),
        "layer3.5.conv2.weight": (256, 256, 3, 3),
        "layer4.2.bn3.weight": (2048,),
        "head.conva.0.weight": (512, 2048, 3, 3),
        "head.dualgcn.phi.weight": (256, 512, 1, 1),
        "head.dualgcn.theta.weight": (128, 512, 1, 1),
        "head.dualgcn.conv_adj.weight": (128, 128, 1),
        "head.dualgcn.conv_wg.weight": (256, 256, 1),
        "head.dualgcn.conv3.weight": (512, 256, 1, 1),
        "head.dualgcn.local.4.weight": (512, 1, 3, 3),
        "head.dualgcn.local.5.running_var": (512,),
        "head.dualgcn.gcn_local_attention.node_q.bias": (256,),
        "head.dualgcn.gcn_local_attention.conv_wg.weight": (256, 256, 1),
        "head.dualgcn.gcn_local_attention.out.0.bias": (512,),
        "head.dualgcn.final.0.weight": (512, 1024, 1, 1),
        "head.bottleneck.0.weight": (512, 2560, 3, 3),
        "head.bottleneck.3.bias": (19,),
        "dsn.0.bias": (512,),
        "dsn.3.weight": (19, 512, 1, 1),
    }
    assert {name: found.get(name) for name in expected} == expected
    assert not {"head.conva.0.bias", "head.dualgcn.gcn_local_attention.conv_wg.bias"} & found.keys()
    dilations = [block.conv2.dilation[0] for block in [*network.layer3, *network.layer4]]
    assert dilations == [2] * 6 + [4, 8, 16]


def test_dualgcn_reasons_as_written_down(dualgcn):
    """Its two graphs against sums spelled out place by place, and about an eighth of the resolution."""
    torch.manual_seed(0)
    graph = dualgcn.SpatialGraph(4).eval()
    x = torch.randn(1, 4, 3, 2)
    k, v, q = (node(x)[0].flatten(1) for node in (graph.node_k, graph.node_v, graph.node_q))
    share = torch.stack([torch.stack([(q[c] * v[d]).sum() for d in range(2)]).softmax(0) for c in range(2)])
    moved = torch.stack([sum(k[c] * share[c, d] for c in range(2)) for d in range(2)])
    moved = graph.bn_wg(graph.conv_wg(moved[None])).view(1, 2, 3, 2)
    assert torch.allclose(graph(x), (graph.out(moved) + x).relu(), atol=1e-5)
    with torch.device("meta"):
        network = dualgcn.DualGCNNet(19)
        seen = {}
        network.layer4.register_forward_hook(lambda *given: seen.update(layer4=tuple(given[2].shape)))
        assert network(torch.zeros(2, 3, 72, 104)).shape == (2, 19, 72, 104)
    assert seen == {"layer4": (2, 2048, 10, 14)}  # its pooling rounds up


def test_a_suite_names_them_as_networks_of_ones_own(small, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "bench_models.deeplab_wideresnet38", small)
    torch.save({"state_dict": small.DeepLab(19).state_dict()}, tmp_path / "a.pth")
    params = {"factory": str(EXAMPLES / "deeplab_wideresnet38.py:build"), "weights": str(tmp_path / "a.pth")}
    model = registry.build("model", "python", params, where="x.yaml")
    model.check()
    model = load(model, "cpu")
    assert model.forward(torch.rand(2, 3, 40, 56) * 255).shape == (2, 19, 40, 56)
