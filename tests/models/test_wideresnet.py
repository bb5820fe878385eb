"""DeepLabv3+ on WideResNet38 and DualGCN: layers by the names of their files, heads, and files that do not fit."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from bench.api import Inference, Sample
from bench.contract.network import loaded as load
from bench.core.errors import MissingData
from bench.models import inference
from bench.ops.networks import deeplab_wideresnet38, dualgcn_resnet50
from bench.suite import checkpoints, registry


@pytest.fixture
def deeplab():
    return deeplab_wideresnet38


@pytest.fixture
def dualgcn():
    return dualgcn_resnet50


@pytest.fixture
def small(deeplab, monkeypatch):
    """The same layers with few channels: the published file has 550 MB."""
    modules = [(1, (128, 128), 1, 1, 0.0), (1, (8, 8), 1, 1, 0.0), (2, (12, 12), 2, 1, 0.0), (1, (12, 16), 1, 2, 0.0)]
    monkeypatch.setattr(deeplab, "MODULES", [*modules, (1, (8, 8, 16), 1, 4, 0.3), (1, (8, 8, 16), 1, 4, 0.5)])
    return deeplab


def built(path, name="deeplab_wideresnet38", **params):
    model = registry.build("model", name, {"weights": str(path)} | params, where="x.yaml")
    model.check()
    return load(model, "cpu")


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
    assert torch.equal(built(path).module()(image), network(image))
    assert torch.equal(built(path, "meta_ood_deeplab").module()(image), network(image))


def test_what_is_missing_or_left_over_is_named(small, tmp_path):
    state = small.DeepLab(19).state_dict()
    del state["mod7.block1.convs.conv3.weight"]
    torch.save({"state_dict": state | {"bn_out.weight": torch.zeros(3)}}, tmp_path / "a.pth")
    with pytest.raises(
        MissingData, match=r"1 missing \(first: mod7\.block1\.convs\.conv3\.weight\).*1 surplus .*bn_out"
    ):
        built(tmp_path / "a.pth")
    state = small.DeepLab(20).state_dict()
    torch.save({"state_dict": state}, tmp_path / "b.pth")
    with pytest.raises(
        MissingData, match=r"final\.6\.weight is \[20, 256, 1, 1\], the network wants \[19, 256, 1, 1\]"
    ):
        built(tmp_path / "b.pth")


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


def seen(height, width):
    pixels = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return next(inference.views(Sample("one", (height, width), lambda: pixels), Inference(), "cpu"))


def random(network):
    """The network with weights that are neither zero nor one, in evaluation mode."""
    for name, tensor in network.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5)
        elif tensor.is_floating_point():
            tensor += 0.05 * torch.randn(tensor.shape)
    return network.eval()


def normalised(view):
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    return (view.pixels[None].float() / 255 - mean) / std


def decoded(network, x):
    """The 304 channels before the last three convolutions, and what the trunk gives, spelled out."""
    fine = network.mod2(network.pool2(network.mod1(x)))
    trunk = network.mod7(network.mod6(network.mod5(network.mod4(network.mod3(network.pool3(fine))))))
    coarse = functional.interpolate(
        network.bot_aspp(network.aspp(trunk)), size=fine.shape[2:], mode="bilinear", align_corners=True
    )
    return torch.cat([network.bot_fine(fine), coarse], dim=1), trunk


def large(x, size):
    return functional.interpolate(x, size=size, mode="bilinear", align_corners=True)


def test_the_output_to_abstain_of_pebal_is_no_class(small, tmp_path):
    torch.manual_seed(0)
    network = random(small.DeepLab(20))
    state = {f"module.branch1.{name}": tensor for name, tensor in network.state_dict().items()}
    torch.save({"model": state}, tmp_path / "pebal.pth")
    view = seen(33, 49)
    (prediction,) = built(tmp_path / "pebal.pth", "pebal_deeplab").predict([view])
    with torch.no_grad():
        expected = network(normalised(view))[0]
    assert torch.allclose(prediction.logits, expected[:19], atol=1e-5)
    assert torch.allclose(prediction.raw["void_logit"], expected[19], atol=1e-5)
    assert torch.equal(prediction.labels.long(), expected[:19].argmax(dim=0))
    with pytest.raises(MissingData, match=r"final\.6\.weight is \[20, 256, 1, 1\], the network wants \[19,"):
        built(tmp_path / "pebal.pth")


def test_rpl_corrects_what_is_scored_and_not_the_class_map(small, tmp_path):
    torch.manual_seed(0)
    network = random(small.DeepLab(19, residual=True))
    state = {f"branch1.{name}": tensor for name, tensor in network.state_dict().items()}
    projection = {"branch1.residual_block.proj_head.proj.weight": torch.zeros(304, 256, 1, 1)}
    view = seen(33, 49)
    with torch.no_grad():
        before, trunk = decoded(network, normalised(view))
        block = network.residual_block
        added = large(block.bot_atten_aspp(block.atten_aspp(trunk)), before.shape[2:])
        corrected = large(network.final(before + block.atten_aspp_final(added)), (33, 49))[0]
        plain = large(network.final(before), (33, 49))[0]
    for name, more in (("rpl_deeplab", {}), ("rpl_corocl_deeplab", projection)):
        torch.save(state | more, tmp_path / f"{name}.pth")
        (prediction,) = built(tmp_path / f"{name}.pth", name).predict([view])
        assert torch.allclose(prediction.logits, corrected, atol=1e-4)
        assert torch.equal(prediction.labels.long(), plain.argmax(dim=0))
    assert not torch.equal(plain.argmax(dim=0), corrected.argmax(dim=0))


def test_the_head_of_dense_hybrid_is_outlier_less_inlier(small, tmp_path):
    torch.manual_seed(0)
    network = random(small.DeepLab(19, outliers=True))
    assert {name: list(tensor.shape) for name, tensor in network.logits_ood.state_dict().items()} == {
        "norm.weight": [304], "norm.bias": [304], "norm.running_mean": [304], "norm.running_var": [304],
        "norm.num_batches_tracked": [], "conv.weight": [2, 304, 1, 1], "conv.bias": [2],
    }  # fmt: skip
    torch.save({"model": network.state_dict(), "epochs": 3}, tmp_path / "a.pth")
    view = seen(33, 49)
    (prediction,) = built(tmp_path / "a.pth", "dense_hybrid_deeplab").predict([view])
    with torch.no_grad():
        before, _ = decoded(network, normalised(view))
        pair = large(network.logits_ood(before), (33, 49))[0]
        logits = large(network.final(before), (33, 49))[0]
    assert torch.allclose(prediction.raw["ood_logit"], pair[1] - pair[0], atol=1e-4)
    score = registry.build("method", "dense_hybrid", {}, where="x.yaml").score(prediction, {})
    theirs = pair.softmax(dim=0)[1].log() - logits.logsumexp(dim=0)  # evaluations.py of matejgrcic/DenseHybrid
    assert torch.allclose(score, theirs, atol=1e-3)


PUBLISHED = {
    "meta_ood_deeplab": r"get it from https://uni-wuppertal\.sciebo\.de/s/kCgnr0LQuTbrArA",
    "meta_ood_dualgcn": r"get it from https://uni-wuppertal\.sciebo\.de/s/VAXiKxZ21eAF68q",
    "pebal_deeplab": "fetch it: 'bench models fetch pebal'",
    "rpl_deeplab": r"rpl\.pth is not in .*; get it from https://drive\.google\.com/drive/folders/1XHyvdT2",
    "rpl_corocl_deeplab": r"get it from https://drive\.google\.com/drive/folders/1rVaBRdOpS2JkAo",
    "dense_hybrid_deeplab": "fetch it: 'bench models fetch dense_hybrid'",
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_network_says_which_file_it_wants_and_where_it_is(name, tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_HOME", str(tmp_path))
    model = registry.build("model", name, {}, where="x.yaml")
    with pytest.raises(MissingData, match=PUBLISHED[name]):
        model.check()
    assert model.about() == {"uses_outliers": True}
    assert not model.checkpoint or model.checkpoint in checkpoints.sources()


def test_dualgcn_is_read_with_and_without_the_wrapping_of_meta_ood(dualgcn, tmp_path, monkeypatch):
    monkeypatch.setattr(dualgcn, "LAYERS", [(64, 1, (1,)), (128, 2, (1,)), (256, 1, (2,)), (512, 1, (4,))])
    torch.manual_seed(0)
    network = dualgcn.DualGCNNet(19).eval()
    image = torch.randn(1, 3, 33, 49)
    for content in (network.state_dict(), {"state_dict": network.state_dict(), "epoch": 11}):
        torch.save(content, tmp_path / "a.pth")
        assert torch.equal(built(tmp_path / "a.pth", "meta_ood_dualgcn").module()(image), network(image))


def test_it_can_be_trained_further(small, tmp_path):
    torch.save({"state_dict": small.DeepLab(19).state_dict()}, tmp_path / "a.pth")
    assert built(tmp_path / "a.pth").forward(torch.rand(2, 3, 40, 56) * 255).shape == (2, 19, 40, 56)
