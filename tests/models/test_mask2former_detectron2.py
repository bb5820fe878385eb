"""Mask2Former of detectron2: names and tensors forth and back, and the network that its shapes describe."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from typer.testing import CliRunner

from bench.api import Inference, Sample
from bench.cli.main import app
from bench.contract.network import loaded
from bench.core.errors import BadSuite, CannotWrite, MissingData
from bench.models import inference
from bench.suite import checkpoints, registry

pytest.importorskip("transformers", reason="the extra transformers is not installed")

from transformers import Mask2FormerConfig, ResNetConfig, SwinConfig

from bench.models.detectron2 import names, network
from bench.models.detectron2.levels import Mask2FormerWithLevels

HERE = Path("model_final.pth")
STAGES = [f"stage{number}" for number in range(1, 5)]
BACKBONES = {
    "swin": lambda: SwinConfig(
        embed_dim=8, depths=[1, 1, 2, 1], num_heads=[1, 2, 2, 4], window_size=2, out_features=STAGES
    ),
    "resnet": lambda: ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 8, 12, 16], depths=[1, 1, 2, 1], layer_type="bottleneck", out_features=STAGES
    ),
}


@cache
def tiny(backbone="swin", levels=3, layers=1, classes=19):
    """A random network of transformers, and its tensors under the names of detectron2."""
    torch.manual_seed(0)
    config = Mask2FormerConfig(
        backbone_config=BACKBONES[backbone](), hidden_dim=32, mask_feature_size=32, feature_size=32, encoder_layers=2,
        decoder_layers=layers + 1, num_attention_heads=2, encoder_feedforward_dim=24, dim_feedforward=40, num_queries=5,
        num_labels=classes, feature_levels=levels,
    )  # fmt: skip
    net = Mask2FormerWithLevels(config).eval()
    for name, tensor in net.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5)
        elif tensor.is_floating_point() and not name.endswith("empty_weight"):
            tensor.nan_to_num_(0, 0, 0).clamp_(-2, 2)  # some are memory that nobody has written
            tensor += 0.1 * torch.randn(tensor.shape)
    return net, names.to_detectron2(in_files(net))


def in_files(net):
    """The tensors of a network by the names that transformers writes into files."""
    from transformers.core_model_loading import revert_weight_conversion

    state = {name: tensor for name, tensor in net.state_dict().items() if not name.endswith(network.IDLE)}
    return dict(revert_weight_conversion(net, state))


VARIANTS = [("swin", 3, 2), ("swin", 1, 1), ("swin", 2, 1), ("resnet", 3, 1), ("resnet", 1, 1)]


@pytest.mark.parametrize(("backbone", "levels", "layers"), VARIANTS)
def test_names_and_tensors_go_forth_and_back(backbone, levels, layers):
    net, theirs = tiny(backbone, levels, layers)
    back = names.to_transformers(theirs, HERE)
    ours = in_files(net)
    assert back.keys() == ours.keys()
    assert all(torch.equal(back[name], ours[name]) for name in ours)
    again = names.to_detectron2(back)
    assert again.keys() == theirs.keys() and all(torch.equal(again[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize(("backbone", "levels", "layers"), VARIANTS)
def test_the_network_that_the_shapes_describe_gives_the_same_outputs(backbone, levels, layers):
    net, theirs = tiny(backbone, levels, layers)
    made = network.made(theirs, HERE).eval()
    pixels = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        ours, expected = made(pixels), net(pixels)
    assert torch.equal(ours.class_queries_logits, expected.class_queries_logits)
    assert torch.equal(ours.masks_queries_logits, expected.masks_queries_logits)
    assert ours.masks_queries_logits.shape == (1, 5, 16, 24)


# What the files of Mask2Former and RbA hold, by their modules: Swin-B, one decoder layer, one map of features.
PUBLISHED = {
    "backbone.patch_embed.proj.weight": [128, 3, 4, 4],
    "backbone.layers.2.blocks.17.attn.qkv.weight": [1536, 512],
    "backbone.layers.2.blocks.17.attn.relative_position_bias_table": [529, 16],
    "backbone.layers.2.blocks.17.attn.relative_position_index": [144, 144],
    "backbone.layers.0.downsample.reduction.weight": [256, 512],
    "backbone.norm3.weight": [1024],
    "sem_seg_head.pixel_decoder.input_proj.0.0.weight": [256, 1024, 1, 1],
    "sem_seg_head.pixel_decoder.transformer.level_embed": [1, 256],
    "sem_seg_head.pixel_decoder.transformer.encoder.layers.5.self_attn.sampling_offsets.weight": [64, 256],
    "sem_seg_head.pixel_decoder.transformer.encoder.layers.5.linear1.weight": [1024, 256],
    "sem_seg_head.pixel_decoder.adapter_3.weight": [256, 512, 1, 1],
    "sem_seg_head.pixel_decoder.layer_1.norm.bias": [256],
    "sem_seg_head.predictor.transformer_self_attention_layers.0.self_attn.in_proj_weight": [768, 256],
    "sem_seg_head.predictor.transformer_cross_attention_layers.0.multihead_attn.out_proj.bias": [256],
    "sem_seg_head.predictor.transformer_ffn_layers.0.linear1.weight": [2048, 256],
    "sem_seg_head.predictor.query_feat.weight": [100, 256],
    "sem_seg_head.predictor.level_embed.weight": [1, 256],
    "sem_seg_head.predictor.class_embed.weight": [20, 256],
    "sem_seg_head.predictor.mask_embed.layers.2.weight": [256, 256],
    "criterion.empty_weight": [20],
}


def test_the_network_of_rba_has_the_names_and_shapes_of_its_repository():
    swin = SwinConfig(
        embed_dim=128, depths=[2, 2, 18, 2], num_heads=[4, 8, 16, 32], window_size=12, out_features=STAGES
    )
    with torch.device("meta"):
        net = Mask2FormerWithLevels(
            Mask2FormerConfig(backbone_config=swin, decoder_layers=2, num_labels=19, feature_levels=1)
        )
    theirs = {name: list(tensor.shape) for name, tensor in names.to_detectron2(in_files(net)).items()}
    assert {name: theirs.get(name) for name in PUBLISHED} == PUBLISHED
    assert not [name for name in theirs if "transformer_ffn_layers.1" in name or "input_proj.1" in name]


def test_deformable_attention_looks_at_one_map_alone():
    """Its sum over points, spelled out, for the one level that the networks of RbA have."""
    net, _ = tiny("swin", 1, 1)
    attention = net.model.pixel_level_module.decoder.encoder.layers[0].self_attn
    hidden, (rows, columns) = torch.randn(1, 6, 32), (2, 3)
    grid = torch.stack(torch.meshgrid(torch.arange(rows) + 0.5, torch.arange(columns) + 0.5, indexing="ij"), -1)
    reference = (grid.flip(-1) / torch.tensor([columns, rows])).reshape(1, 6, 1, 2)
    with torch.no_grad():
        given, _ = attention(
            hidden, encoder_hidden_states=hidden, reference_points=reference, spatial_shapes_list=[(rows, columns)]
        )
        values = attention.value_proj(hidden).view(6, 2, 16)
        offsets = attention.sampling_offsets(hidden).view(6, 2, 4, 2) / torch.tensor([columns, rows])
        shares = attention.attention_weights(hidden).view(6, 2, 4).softmax(-1)
        heads = []
        for head in range(2):
            at = 2 * (reference[0] + offsets[:, head]) - 1  # [6, 4, 2], of x and y in -1..1
            looked = functional.grid_sample(
                values[:, head].T.reshape(1, 16, rows, columns), at[None], align_corners=False
            )
            heads.append((looked[0] * shares[:, head]).sum(-1).T)
        expected = attention.output_proj(torch.cat(heads, dim=1))
    assert torch.allclose(given[0], expected, atol=1e-5)


def saved(folder, state, name="model_final.pth"):
    torch.save({"model": dict(state), "optimizer": {"lr": 0.1}, "iteration": 1}, folder / name)
    return folder / name


def build(name, **params):
    model = registry.build("model", name, params, where="x.yaml")
    model.check()
    return loaded(model, "cpu")


def view(height, width):
    pixels = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return next(inference.views(Sample("one", (height, width), lambda: pixels), Inference(), "cpu"))


def test_images_are_filled_up_as_the_authors_do_and_cut_again(tmp_path):
    net, theirs = tiny()
    model = build("mask2former_detectron2", weights=str(saved(tmp_path, theirs)))
    seen = view(50, 90)
    (prediction,) = model.predict([seen])
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (names.MEAN, names.STD))
    filled = functional.pad((seen.pixels[None].float() - mean) / std, (0, 6, 0, 14))
    with torch.no_grad():
        expected = net(filled)
    masks = functional.interpolate(expected.masks_queries_logits, size=(64, 96), mode="bilinear")[0, :, :50, :90]
    assert torch.allclose(prediction.raw["query_masks"], masks, atol=1e-5)
    shares = expected.class_queries_logits[0].softmax(dim=1)[:, :-1]
    scores = torch.einsum("qc,qhw->chw", shares, masks.sigmoid())
    assert torch.allclose(prediction.class_scores, scores, atol=1e-5)
    assert torch.equal(prediction.labels.long(), scores.argmax(dim=0))


def test_the_logit_of_a_negative_stands_apart_and_uno_reads_it(tmp_path):
    net, theirs = tiny(classes=20)
    path = str(saved(tmp_path, theirs))
    with pytest.raises(BadSuite, match=r"have 21 logits, wanted 19 classes and 'no object'; say negative: true if"):
        build("mask2former_detectron2", weights=path)
    model = build("mask2former_detectron2", weights=path, negative=True)
    seen = view(64, 96)
    (prediction,) = model.predict([seen])
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (names.MEAN, names.STD))
    with torch.no_grad():
        expected = net((seen.pixels[None].float() - mean) / std)
    logits, masks = expected.class_queries_logits[0], expected.masks_queries_logits[0]
    assert torch.allclose(prediction.raw["query_negative"], logits[:, 19], atol=1e-5)
    assert torch.allclose(prediction.raw["query_logits"], torch.cat([logits[:, :19], logits[:, 20:]], dim=1), atol=1e-5)
    # The inference of matejgrcic/Open-set-M2F: shares of all logits, of which the first 19 are classes.
    large = functional.interpolate(masks[None], size=(64, 96), mode="bilinear")[0].sigmoid()
    shares = logits.softmax(dim=1)
    scores = torch.einsum("qc,qhw->chw", shares[:, :19], large)
    assert torch.allclose(prediction.class_scores, scores, atol=1e-5)
    uno = registry.build("method", "uno", {}, where="x.yaml").score(prediction, {})
    theirs_score = -(large * (shares[:, :-2].amax(dim=1) - shares[:, -2])[:, None, None]).sum(dim=0)
    assert torch.allclose(uno - 1, theirs_score, atol=1e-5)


def test_a_folder_for_transformers_gives_the_same_and_is_read_by_transformers_itself(tmp_path):
    from transformers import AutoModelForUniversalSegmentation

    net, theirs = tiny()
    classes = [f"class {number}" for number in range(19)]
    network.write(theirs, HERE, classes, tmp_path / "out")
    read = AutoModelForUniversalSegmentation.from_pretrained(tmp_path / "out").eval()
    pixels = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        assert torch.equal(read(pixels).masks_queries_logits, net(pixels).masks_queries_logits)
    prepared = json.loads((tmp_path / "out" / "preprocessor_config.json").read_text())
    assert prepared["image_mean"] == pytest.approx([0.485, 0.456, 0.406])
    ours = build("transformers", folder=str(tmp_path / "out"))
    (prediction,) = ours.predict([view(64, 96)])
    (same,) = build("mask2former_detectron2", weights=str(saved(tmp_path, theirs))).predict([view(64, 96)])
    assert torch.allclose(prediction.class_scores, same.class_scores, atol=1e-4)


def test_the_command_converts_into_a_new_folder_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    saved(tmp_path, tiny(classes=20)[1])
    command = ["models", "convert", "model_final.pth", "--to", "out"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0
    assert done.stdout.strip() == (
        "out: Mask2Former on swin, 1 decoder layer, 5 queries, 20 classes; in a suite: transformers: {folder: out}"
    )
    assert json.loads((tmp_path / "out" / "config.json").read_text())["id2label"]["19"] == "negative"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "config.json", "model.safetensors", "preprocessor_config.json",
    ]  # fmt: skip
    refused = CliRunner().invoke(app, command)
    assert isinstance(refused.exception, CannotWrite) and "out is there already" in str(refused.exception)


def test_a_network_with_one_map_of_features_has_no_class_of_transformers(tmp_path):
    _, theirs = tiny("swin", 1, 1)
    with pytest.raises(MissingData, match=r"look at 1 map of features.*by the model mask2former_detectron2$"):
        network.write(theirs, HERE, ["x"] * 19, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_files_before_version_2_say_static_query():
    _, theirs = tiny()
    old = {name.replace("query_feat", "static_query"): tensor for name, tensor in theirs.items()}
    assert names.own(old, HERE).keys() == theirs.keys()


def test_what_is_no_such_network_is_refused_in_one_line(tmp_path):
    _, theirs = tiny()
    with pytest.raises(MissingData, match=r"they lack sem_seg_head\.predictor\.class_embed\.weight; names begin with"):
        names.described(nn.Conv2d(3, 3, 1).state_dict(), HERE)
    more = theirs | {"sem_seg_head.predictor.ood_pred.conv.weight": torch.zeros(2, 32, 1, 1)}
    with pytest.raises(MissingData, match=r"1 tensors are others \(first: sem_seg_head\.predictor\.ood_pred"):
        names.to_transformers(more, HERE)
    index = "backbone.layers.0.blocks.0.attn.relative_position_index"
    with pytest.raises(MissingData, match="numbers the places of a window otherwise"):
        names.to_transformers(theirs | {index: theirs[index].flip(0)}, HERE)
    less = {name: tensor for name, tensor in theirs.items() if "mask_embed.layers.1" not in name}
    with pytest.raises(MissingData, match=r"do not fit the Mask2Former .*: 2 missing"):
        network.made(less, HERE)
    with pytest.raises(MissingData, match="holds a Swin with 8 channels, wanted a Swin with 128; is it the file"):
        build("rba_swin_b", weights=str(saved(tmp_path, theirs)))


NAMED = sorted(
    name
    for name, cls in registry.available("model").items()
    if cls.__module__ == "bench.models.mask2former_detectron2" and name != "mask2former_detectron2"
)


@pytest.mark.parametrize("name", NAMED)
def test_a_published_network_says_which_file_it_wants(name, tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_HOME", str(tmp_path))
    model = registry.build("model", name, {}, where="x.yaml")
    (archive,) = checkpoints.of(model.checkpoint).files
    with pytest.raises(MissingData, match=f"fetch it: 'bench models fetch {model.checkpoint}'"):
        model.check()
    _, theirs = tiny(classes=20 if model.has_negative else 19)
    place = tmp_path / "checkpoints" / (archive.into or archive.file)
    (place if archive.into else place.parent).mkdir(parents=True)
    saved(place, theirs) if archive.into else saved(place.parent, theirs, place.name)
    monkeypatch.setattr(type(model), "width", 8)
    model.check()
    (prediction,) = loaded(model, "cpu").predict([view(32, 64)])
    assert prediction.class_scores.shape == (19, 32, 64)
    assert ("query_negative" in model.outputs) == name.startswith("uno")
    assert bool(model.about().get("uses_outliers")) == name.endswith(("coco", "ade", "uno_swin_l"))


def test_the_names_are_all_of_the_table_that_are_mask2formers():
    of_table = {name for name in checkpoints.sources() if name.startswith(("rba_", "eam_", "uno"))}
    assert {registry.plugin("model", name, where="here").checkpoint for name in NAMED} == of_table
