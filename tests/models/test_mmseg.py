"""mmsegmentation: the same logits as its own inference, checkpoints loaded strictly, and refusals in one line."""

import importlib
import importlib.util
import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from running import PATIENCE

from bench.api import CITYSCAPES, Sample
from bench.contract.network import loaded as load
from bench.core.errors import BadPlugin, BadSuite, MissingData, MissingPackage, UnknownName
from bench.models import inference
from bench.suite import checkpoints, registry

pytest.importorskip("mmseg", reason="the extra mmseg is not installed")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")  # of mmsegmentation's own

ROOT = Path(__file__).parents[2]
MIT = "dict(type='MixVisionTransformer', embed_dims=8, num_layers=[1, 1, 1, 1], num_heads=[1, 2, 5, 8])"
RESNET = "dict(type='ResNetV1c', depth=18, base_channels=4, stem_channels=8, norm_cfg=dict(type='SyncBN'))"
LOSS = "dict(type='CrossEntropyLoss')"
COMMON = f"norm_cfg=dict(type='BN'), num_classes=19, loss_decode={LOSS}"
SEGFORMER = f"dict(type='SegformerHead', in_channels=[8, 16, 40, 64], in_index=[0, 1, 2, 3], channels=16, {COMMON})"
FCN = f"dict(type='FCNHead', in_channels=32, in_index=3, channels=8, num_convs=1, {COMMON})"
STEPS = (
    "type='SegDataPreProcessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], "
    "bgr_to_rgb=True, pad_val=0, seg_pad_val=255"
)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Images this small gain nothing from more, and on a busy machine their threads wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def write_config(folder, *, backbone=MIT, head=SEGFORMER, test="mode='whole'", steps=STEPS, more="", name="tiny.py"):
    """A config small enough for milliseconds."""
    path = folder / name
    kind = "CascadeEncoderDecoder" if head.startswith("[") else "EncoderDecoder"
    path.write_text(
        f"model = dict(type={kind!r}, data_preprocessor=dict({steps}), backbone={backbone}, decode_head={head}, "
        f"test_cfg=dict({test}), {more})\n"
    )
    return path


def theirs(config, **options):
    """The network as mmsegmentation itself makes it, with weights that are neither zero nor one."""
    from mmseg.apis import init_model

    network = init_model(str(config), device="cpu", cfg_options=options or None)
    generator = torch.Generator().manual_seed(3)
    for name, tensor in network.state_dict().items():
        if name.endswith("running_mean"):
            tensor.normal_(0, 0.1, generator=generator)
        elif name.endswith("conv_seg.weight"):
            tensor.normal_(0, 1, generator=generator)  # so that logits differ by units, not by hundredths
        elif name.endswith("running_var") or (tensor.ndim == 1 and name.endswith("weight")):
            tensor.uniform_(0.5, 1.5, generator=generator)
    return network


def their_logits(network, image):
    """What mmsegmentation's predict gives for an RGB image, after its own preparation; float32 [C, H, W]."""
    from mmseg.structures import SegDataSample

    size = image.shape[:2]
    sample = SegDataSample(metainfo={"ori_shape": size, "img_shape": size, "pad_shape": size})
    pixels = torch.from_numpy(np.ascontiguousarray(image[:, :, ::-1])).permute(2, 0, 1)  # it reads B, G, R
    with torch.no_grad():
        (given,) = network.test_step({"inputs": [pixels], "data_samples": [sample]})
    return given.seg_logits.data


def our_prediction(model, image):
    sample = Sample("one", image.shape[:2], lambda: image)
    seen = [(view, model.predict([view])[0]) for view in inference.views(sample, model.model.inference, "cpu")]
    return inference.merge(seen, model.model.inference)


def save(network, path, **more):
    """A checkpoint as mmsegmentation 0.x wrote it."""
    meta = {"mmseg_version": "0.11.0", "config": "model = dict()", "epoch": 3, "CLASSES": list(CITYSCAPES)}
    torch.save({"meta": meta, "state_dict": network.state_dict(), "optimizer": {"lr": 0.1}} | more, path)
    return path


def make(name="mmseg", **given):
    params = {key: str(value) if isinstance(value, Path) else value for key, value in given.items()}
    return registry.build("model", name, params, where="x.yaml")


def loaded(*args, **given):
    model = make(*args, **given)
    model.check()
    return load(model, "cpu")


def image(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def view(pixels):
    sample = Sample("one", pixels.shape[:2], lambda: pixels)
    return next(inference.views(sample, make("segformer_b2_cityscapes", inference={"window": None}).inference, "cpu"))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A config, the network that mmsegmentation makes of it, and its checkpoint."""
    folder = tmp_path_factory.mktemp("mmseg")
    config = write_config(folder, more=f"auxiliary_head={FCN.replace('32', '64')}")
    network = theirs(config)
    return config, network, save(network, folder / "tiny.pth")


PUBLISHED = {"deeplabv3plus_r101_cityscapes": 512, "segformer_b2_cityscapes": 256}  # and the features' channels


@pytest.fixture(scope="module", params=PUBLISHED)
def published(request, tmp_path_factory):
    """One of the published networks with random weights."""
    from bench.models import mmseg_network

    cls = registry.plugin("model", request.param, where="")
    config = mmseg_network.config_file(cls.config_name, "")
    network = theirs(config)
    checkpoint = save(network, tmp_path_factory.mktemp("zoo") / zoo_file(cls.name).file)
    yield request.param, config, network, checkpoint
    checkpoint.unlink()  # pytest keeps its folders, and this is 250 MB


@pytest.mark.parametrize("window", [None, [64, 64]])
def test_logits_of_published_networks_equal_those_of_mmsegmentation(published, window):
    name, _, network, checkpoint = published
    how = {"window": window, "stride": [48, 48]} if window else {"window": None}
    model = loaded(name, checkpoint=checkpoint, inference=how)
    network.test_cfg.update({"mode": "slide", "crop_size": window, "stride": [48, 48]} if window else {"mode": "whole"})
    for size in ((96, 160), (97, 161)):
        wanted, given = their_logits(network, image(*size)), our_prediction(model, image(*size))
        assert wanted.std() > 0.5
        torch.testing.assert_close(given.logits, wanted, rtol=0, atol=1e-5)


def test_a_published_network_is_seen_as_its_config_says_unless_told_otherwise(published):
    from bench.models import mmseg_network

    name, config, _, _ = published
    recipe = mmseg_network.read_config(config, "")
    assert (make(name).inference.window, make(name).inference.stride) == (recipe.window, recipe.stride)
    assert make(name, inference={"flip": True}).inference.window == recipe.window
    assert make(name, inference={"window": [512, 512]}).inference.stride is None
    assert make(name, inference={"window": None}).inference.window is None


def test_features_classifier_and_dropout_of_published_networks_are_offered(published):
    name, _, _, checkpoint = published
    model = loaded(name, checkpoint=checkpoint)
    given = model.predict([view(image(64, 96))])[0]
    assert model.model.outputs == {"logits", "features", "classify", "dropout", "raw", "image", "again", "forward"}
    assert given.raw["features"].shape == (PUBLISHED[name], 16, 24)
    assert given.raw["logits"].shape == (19, 16, 24)
    assert given.dropout == 0.1
    torch.testing.assert_close(given.classify(given.raw["features"]), given.raw["logits"], rtol=0, atol=1e-5)


def zoo_file(name):
    """The file of a network of the model zoo."""
    (archive,) = checkpoints.of(name).files
    return archive


def test_names_and_addresses_are_those_of_the_model_zoo():
    import mmseg
    import yaml

    zoo = Path(mmseg.__file__).parent / ".mim" / "configs"
    for folder, names in {
        "deeplabv3plus": ["deeplabv3plus_r101_cityscapes"],
        "segformer": ["segformer_b2_cityscapes", "segformer_b5_cityscapes"],
    }.items():
        listed = {one["Name"]: one for one in yaml.safe_load((zoo / folder / "metafile.yaml").read_text())["Models"]}
        for name in names:
            cls = registry.plugin("model", name, where="")
            host, _, path = listed[cls.config_name]["Weights"].partition(
                "/mmsegmentation/"
            )  # distributors differ in it
            assert all(url.endswith(f"/mmsegmentation/{path}") for url in zoo_file(name).url)
            assert zoo_file(name).url[0].startswith("https://") and host.startswith("https://")
            assert str(listed[cls.config_name]["Results"]["Metrics"]["mIoU"]) in cls.source


@pytest.mark.parametrize(("heading", "name"), [("Any config", "mmseg"), ("Parameters", "transformers")])
def test_the_tables_of_the_pages_name_every_parameter(heading, name):
    page = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2]
    rows = [line for line in page.partition("\n## ")[0].splitlines() if line.startswith("| `")]
    listed = [parameter for row in rows for parameter in re.findall(r"`(\w+)`", row.split("|")[1])]
    assert sorted(listed) == sorted(field.name for field in fields(registry.plugin("model", name, where="")))


def test_an_absent_published_checkpoint_says_what_to_download_and_where_to_put_it(home):
    with pytest.raises(MissingData) as refusal:
        make("segformer_b2_cityscapes").check()
    said = str(refusal.value)
    name = "segformer_mit-b2_8x1_1024x1024_160k_cityscapes_20211207_134205-6096669a.pth"
    assert said.startswith(
        f"model segformer_b2_cityscapes: {name} is not in {home / 'checkpoints'}; fetch it: 'bench models fetch"
        f" segformer_b2_cityscapes'"
    )
    assert "\n" not in said


def test_a_published_checkpoint_is_found_at_home(home):
    from bench.models import mmseg_network

    cls = registry.plugin("model", "segformer_b2_cityscapes", where="")
    network = theirs(mmseg_network.config_file(cls.config_name, ""))
    (home / "checkpoints").mkdir(parents=True)
    save(network, home / "checkpoints" / zoo_file(cls.name).file)
    make("segformer_b2_cityscapes").check()


# Heads that differ in what their forward returns, in how they resize it, and in what comes before it.
PSP = f"dict(type='PSPHead', in_channels=32, in_index=3, channels=8, pool_scales=(1, 2), {COMMON}"
CASCADE = (
    f"[{FCN}, dict(type='OCRHead', in_channels=32, in_index=3, channels=8, ocr_channels=8, dropout_ratio=0, {COMMON})]"
)
OTHERS = {
    "align_corners": ({"head": f"{PSP}, align_corners=True)"}, {"features", "classify", "dropout"}),
    "cascade": ({"head": CASCADE, "more": "num_stages=2"}, {"features", "classify"}),
    "tuple": (
        {"head": f"dict(type='DAHead', in_channels=32, in_index=3, channels=8, pam_channels=4, {COMMON})"},
        {"features", "classify", "dropout"},
    ),
    "padded": ({"head": FCN, "steps": f"{STEPS}, test_cfg=dict(size_divisor=32)"}, set()),
    "blue first": (
        {"head": FCN, "steps": STEPS.replace("bgr_to_rgb=True", "bgr_to_rgb=False")},
        {"features", "classify", "dropout"},
    ),
    "raw pixels": ({"head": FCN, "steps": "type='SegDataPreProcessor'"}, {"features", "classify", "dropout"}),
    "no classifier": (
        {
            "backbone": "dict(type='VisionTransformer', img_size=(64, 64), patch_size=16, embed_dims=8, num_layers=1, "
            "num_heads=2, final_norm=True)",
            "head": "dict(type='SegmenterMaskTransformerHead', in_channels=8, channels=8, num_classes=19, "
            f"num_layers=1, num_heads=2, embed_dims=8, dropout_ratio=0.0, loss_decode={LOSS})",
        },
        set(),
    ),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_other_heads_too_equal_mmsegmentation(tmp_path, kind):
    parts, offered = OTHERS[kind]
    config = write_config(tmp_path, **({"backbone": RESNET} | parts))
    network = theirs(config)
    model = loaded(config=config, checkpoint=save(network, tmp_path / "w.pth"))
    pixels = image(64, 64) if kind == "no classifier" else image(83, 101)
    given = our_prediction(model, pixels)
    torch.testing.assert_close(given.logits, their_logits(network, pixels), rtol=0, atol=1e-5)
    assert model.model.outputs == {"logits", "raw", "image", "again", "forward"} | offered
    assert ("features" in given.raw, given.classify is not None) == ("features" in offered, "classify" in offered)
    assert (given.dropout is not None) == ("dropout" in offered)
    if given.classify:
        torch.testing.assert_close(given.classify(given.raw["features"]), given.raw["logits"], rtol=0, atol=1e-5)


def test_equal_views_go_through_the_network_together(tiny):
    config, _, checkpoint = tiny
    model = loaded(config=config, checkpoint=checkpoint)
    views = [view(image(64, 96, seed)) for seed in range(3)]
    for one, stacked in zip(views, model.predict(views), strict=True):
        alone = model.predict([one])[0]
        assert stacked.image is one.pixels
        for name in ("logits", "features"):
            torch.testing.assert_close(stacked.raw[name], alone.raw[name], rtol=0, atol=1e-4)  # of values up to 15


def test_again_takes_float_pixels(tiny):
    config, _, checkpoint = tiny
    model = loaded(config=config, checkpoint=checkpoint)
    one = view(image(64, 96))
    given = model.predict([one])[0]
    assert torch.equal(given.again(one.pixels.float()).raw["logits"], given.raw["logits"])
    assert not torch.equal(given.again(one.pixels.float() + 0.25).raw["logits"], given.raw["logits"])


def test_logits_to_train_by_have_gradients_and_are_those_of_predict(tiny):
    config, _, checkpoint = tiny
    model = loaded(config=config, checkpoint=checkpoint)
    one = view(image(64, 96))
    model.module().requires_grad_(True)
    logits = model.forward(one.pixels.float()[None])
    assert torch.equal(logits[0].detach(), model.predict([one])[0].raw["logits"])
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in model.module().decode_head.parameters())


def test_a_head_with_several_logits_in_training_says_so(tmp_path):
    head = f"dict(type='DDRHead', in_channels=32, channels=8, {COMMON.replace(LOSS, f'[{LOSS}, {LOSS}]')})"
    backbone = "dict(type='DDRNet', in_channels=3, channels=8, ppm_channels=16, norm_cfg=dict(type='BN'))"
    config = write_config(tmp_path, backbone=backbone, head=head)
    model = loaded(config=config, checkpoint=save(theirs(config), tmp_path / "w.pth"))
    pixels = torch.zeros(2, 3, 64, 64)
    assert model.forward(pixels).shape[:2] == (2, 19)
    model.module().train()
    with pytest.raises(BadPlugin, match=r"DDRHead gives no single logits while it is in training mode"):
        model.forward(pixels)


def test_outputs_are_float32_under_autocast(tiny):
    config, _, checkpoint = tiny
    model = loaded(config=config, checkpoint=checkpoint)
    with torch.autocast("cpu", torch.bfloat16):
        given = model.predict([view(image(64, 96))])[0]
        again = given.classify(given.raw["features"])
    assert {tensor.dtype for tensor in (*given.raw.values(), again)} == {torch.float32}


def test_checkpoints_in_the_format_before_zip_load(tiny, tmp_path):
    config, network, _ = tiny
    torch.save({"state_dict": network.state_dict()}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    model = loaded(config=config, checkpoint=tmp_path / "old.pth")
    pixels = image(64, 96)
    assert torch.equal(our_prediction(model, pixels).logits, their_logits(network, pixels))


def test_records_of_the_training_beside_the_weights_are_passed_over(tiny, tmp_path):
    config, network, _ = tiny
    meta = {"best": np.float64(0.8), "hist": np.zeros(3), "CLASSES": CITYSCAPES}
    save(network, tmp_path / "np.pth", meta=meta)
    model = loaded(config=config, checkpoint=tmp_path / "np.pth")
    pixels = image(64, 96)
    assert torch.equal(our_prediction(model, pixels).logits, their_logits(network, pixels))


def test_an_average_beside_the_weights_is_taken_where_the_suite_says_so(tiny, tmp_path, caplog):
    """Of mmcv's hook, ``ema_`` and underscores beside the plain names; of mmengine's an entry of its own."""
    config, network, _ = tiny
    averaged = theirs(config)
    with torch.no_grad():
        for parameter in averaged.parameters():
            parameter.mul_(1.5)
    averages = {f"ema_{name.replace('.', '_')}": each.detach() for name, each in averaged.named_parameters()}
    save(network, tmp_path / "mmcv.pth", state_dict=network.state_dict() | averages)
    wrapped = {f"module.{name}": value for name, value in averaged.state_dict().items()}
    save(network, tmp_path / "mmengine.pth", ema_state_dict=wrapped)
    pixels = image(64, 96)
    for name, part, unused in (("mmcv", "ema_", "ema_*"), ("mmengine", "ema_state_dict", "ema_state_dict")):
        plain = loaded(config=config, checkpoint=tmp_path / f"{name}.pth")
        assert torch.equal(our_prediction(plain, pixels).logits, their_logits(network, pixels))
        assert unused in caplog.messages[-1]
        chosen = loaded(config=config, checkpoint=tmp_path / f"{name}.pth", part=part)
        assert torch.equal(our_prediction(chosen, pixels).logits, their_logits(averaged.eval(), pixels))


class Evil:
    def __reduce__(self):
        return (print, ("code ran",))


def test_code_in_a_checkpoint_does_not_run(tiny, tmp_path, capsys):
    config, network, _ = tiny
    save(network, tmp_path / "evil.pth", more=Evil())
    with pytest.raises(MissingData, match=r"would run code when read \(print\).*trust_checkpoint: true"):
        make(config=config, checkpoint=tmp_path / "evil.pth").load("cpu")
    assert "code ran" not in capsys.readouterr().out


class Elsewhere:
    def __reduce__(self):
        return (importlib.import_module, ("a_package_that_is_not_here",))


def test_a_trusted_checkpoint_that_needs_another_package_says_which(tiny, tmp_path):
    config, network, _ = tiny
    save(network, tmp_path / "w.pth", more=Elsewhere())
    with pytest.raises(MissingData, match=r"w\.pth cannot be read: No module named 'a_package_that_is_not_here'"):
        make(config=config, checkpoint=tmp_path / "w.pth", trust_checkpoint=True).load("cpu")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: state.pop("backbone.layers.0.0.projection.bias"), r"1 missing \(first: backbone\.layers\.0\.0"),
        (lambda state: state.pop("decode_head.conv_seg.weight"), r"1 missing \(first: decode_head\.conv_seg\.weight\)"),
        (lambda state: state.update({"decode_head.more": torch.zeros(1)}), r"1 surplus \(first: decode_head\.more\)"),
        (lambda state: state.update({"neck.more": torch.zeros(1)}), r"1 surplus \(first: neck\.more\)"),
        (
            lambda state: state.update({"decode_head.conv_seg.bias": torch.zeros(20)}),
            r"decode_head\.conv_seg\.bias is \[20\], the network wants \[19\]",
        ),
        (
            lambda state: state.update({"decode_head.class_means": torch.zeros(19)}),
            r"is a checkpoint of FlowEneDet, it holds decode_head\.class_means; name the checkpoint",
        ),
    ],
)
def test_a_key_that_does_not_fit_is_refused(tiny, tmp_path, change, said):
    config, network, _ = tiny
    state = dict(network.state_dict())
    change(state)
    torch.save({"state_dict": state}, tmp_path / "w.pth")
    with pytest.raises(MissingData, match=said):
        make(config=config, checkpoint=tmp_path / "w.pth").load("cpu")


def test_only_the_auxiliary_head_may_be_left_over(tiny):
    config, network, checkpoint = tiny
    assert any(name.startswith("auxiliary_head.") for name in network.state_dict())
    model = loaded(config=config, checkpoint=checkpoint)
    assert not any(name.startswith("auxiliary_head.") for name in model.module().state_dict())


@pytest.mark.parametrize(
    "meta", [{"CLASSES": ["pavement", *CITYSCAPES[1:]]}, {"dataset_meta": {"classes": ("pavement", *CITYSCAPES[1:])}}]
)
def test_a_checkpoint_of_other_classes_is_refused(tiny, tmp_path, meta):
    config, network, _ = tiny
    save(network, tmp_path / "w.pth", meta=meta)
    with pytest.raises(BadSuite, match=r"was trained for other classes: 'pavement' where 'road' is wanted"):
        make(config=config, checkpoint=tmp_path / "w.pth").load("cpu")
    loaded(config=config, checkpoint=tmp_path / "w.pth", classes=["pavement", *CITYSCAPES[1:]])


def test_as_many_classes_are_named_as_the_config_has(tiny):
    config, _, checkpoint = tiny
    with pytest.raises(BadSuite, match=r"config tiny\.py has 19 classes, the suite names 2; name them all"):
        make(config=config, checkpoint=checkpoint, classes=["a", "b"]).check()


def test_windows_are_those_of_the_config_unless_it_is_ignored(tiny, tmp_path):
    _, network, checkpoint = tiny
    config = write_config(tmp_path, test="mode='slide', crop_size=(64, 64), stride=(48, 48)")
    wanted = (
        r"is tested on windows of \[64, 64\] at strides of \[48, 48\], inference says whole images; write inference: "
    )
    with pytest.raises(BadSuite, match=wanted):
        make(config=config, checkpoint=checkpoint).check()
    make(config=config, checkpoint=checkpoint, test_cfg="ignored").check()
    model = loaded(config=config, checkpoint=checkpoint, inference={"window": [64, 64], "stride": [48, 48]})
    network.test_cfg.update(mode="slide", crop_size=(64, 64), stride=(48, 48))
    pixels = image(97, 161)
    torch.testing.assert_close(our_prediction(model, pixels).logits, their_logits(network, pixels), rtol=0, atol=1e-5)
    network.test_cfg.update(mode="whole")


def test_padded_windows_are_refused(tmp_path, tiny):
    steps = f"{STEPS}, test_cfg=dict(size_divisor=32)"
    config = write_config(tmp_path, steps=steps, test="mode='slide', crop_size=(64, 64), stride=(48, 48)")
    model = make(config=config, checkpoint=tiny[2], inference={"window": [64, 64], "stride": [48, 48]})
    with pytest.raises(BadSuite, match=r"extends whole images to multiples of 32, not windows; drop inference\.window"):
        model.check()


def test_a_config_is_found_by_its_name_or_file_and_never_guessed(tiny, tmp_path):
    checkpoint = tiny[2]
    with pytest.raises(
        UnknownName, match=r"unknown mmsegmentation config .*; did you mean 'segformer_mit-b2_8xb1-160k_"
    ):
        make(config="segformer_mit-b2_8xb1-160k_cityscape-1024x1024", checkpoint=checkpoint).check()
    absent = tmp_path / "segformer_mit-b2_8xb1-160k_cityscapes-1024x1024.py"  # mmsegmentation has one of this name
    with pytest.raises(MissingData, match=r"config .*\.py does not exist; paths in a suite are relative to its file"):
        make(config=absent, checkpoint=checkpoint).check()
    with pytest.raises(MissingData, match=r"checkpoint .*nowhere\.pth does not exist"):
        make(config=tiny[0], checkpoint=tmp_path / "nowhere.pth").check()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("psanet_r50-d8_4xb2-40k_cityscapes-512x1024", r"PSAMask.*; this mmcv is without its compiled operators"),
        ("ccnet_r50-d8_4xb2-40k_cityscapes-512x1024", r"CrissCrossAttention.*; this mmcv is without its compiled"),
        ("pointrend_r50_4xb2-80k_cityscapes-512x1024", r"point_sample.*; this mmcv is without its compiled operators"),
    ],
)
def test_a_network_that_needs_operators_says_so_in_one_line(tiny, name, said):
    if importlib.util.find_spec("mmcv._ext"):
        pytest.skip("this mmcv has its operators")
    with pytest.raises(BadPlugin, match=rf"config {name}\.py does not build: RuntimeError: .*{said}") as refusal:
        make(config=name, checkpoint=tiny[2], test_cfg="ignored").check()
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("model = 1 / 0", r"config c\.py cannot be read: ZeroDivisionError: division by zero"),
        ("model = dict(type='DepthEstimator')", r"describes DepthEstimator, wanted EncoderDecoder or Cascade"),
        ("x = 1", r"describes nothing, wanted EncoderDecoder"),
        ("model = dict(type='EncoderDecoder', data_preprocessor=dict(type='Other'))", r"prepares images by Other"),
        (
            "model = dict(type='EncoderDecoder', backbone=dict(type='No'), decode_head=dict())",
            r"c\.py does not build: ",
        ),
    ],
)
def test_a_config_that_cannot_be_used_is_one_line(tiny, tmp_path, code, said):
    (tmp_path / "c.py").write_text(code)
    with pytest.raises((BadSuite, BadPlugin), match=said) as refusal:
        make(config=tmp_path / "c.py", checkpoint=tiny[2]).check()
    assert "\n" not in str(refusal.value)


def distribution(folder, name, version):
    """What an installed distribution leaves behind for importlib.metadata."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def test_two_mmcv_over_each_other_are_refused(tiny, tmp_path, monkeypatch):
    distribution(tmp_path / "site", "mmcv-full", "1.7.2")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    wanted = r"mmcv is installed 2 times, as \S+ \S+ and mmcv-full 1\.7\.2, which overwrite each other's files; pip un"
    with pytest.raises(MissingPackage, match=wanted):
        make(config=tiny[0], checkpoint=tiny[2]).check()


def test_absent_and_old_packages_are_named(tiny, tmp_path, monkeypatch):
    model = make(config=tiny[0], checkpoint=tiny[2])
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.setattr(sys, "path", [str(site)])
    with pytest.raises(MissingPackage, match=r'mmcv is not installed; pip install "ood-seg-bench\[mmseg\]"'):
        model.check()
    for name, version in {"mmcv": "2.1.0", "mmengine": "0.10.7", "mmsegmentation": "0.30.0"}.items():
        distribution(site, name, version)
    with pytest.raises(MissingPackage, match=r"mmsegmentation 0\.30\.0 has another interface, wanted 1\.x"):
        model.check()


def test_the_digest_is_that_of_what_is_computed_not_of_where_it_lies(tiny, tmp_path):
    config, network, checkpoint = tiny
    first = make(config=config, checkpoint=checkpoint).digest()
    moved = tmp_path / "moved.py"
    moved.write_text(config.read_text())
    assert make(config=moved, checkpoint=checkpoint).digest() == first
    moved.write_text(config.read_text().replace("123.675", "0.0"))
    assert make(config=moved, checkpoint=checkpoint).digest() != first
    save(network, tmp_path / "w.pth", meta={})
    assert make(config=config, checkpoint=tmp_path / "w.pth").digest() != first


SUITE = """
protocols: [anomaly, miou]
models:
  - mmseg: {config: tiny.py, checkpoint: tiny.pth, label: tiny}
datasets:
  - toytown: {split: anomaly, images: 4, height: 64, width: 128}
methods: [msp, entropy]
bootstrap: 20
"""


def test_a_suite_runs_without_a_word_of_mmsegmentation(tiny, tmp_path):
    """In a process of its own: what is printed is printed when a module is imported for the first time."""
    (tmp_path / "tiny.py").write_text(tiny[0].read_text())
    save(tiny[1], tmp_path / "tiny.pth")
    (tmp_path / "tiny.yaml").write_text(SUITE)
    argv = [sys.executable, "-m", "bench", "run", str(tmp_path / "tiny.yaml"), "--out", str(tmp_path / "run")]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*argv, "--workers", "0"], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, done.stderr
    said = (done.stdout + done.stderr).lower()
    assert [word for word in ("onedl", "mmcv", "mmengine", "warn") if word in said] == []
    assert len(list((tmp_path / "run" / "cells").glob("*.json"))) == 3
