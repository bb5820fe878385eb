"""transformers: outputs as the network gives them, from a folder, offline, without running code that lies there."""

import json
import logging

import numpy as np
import pytest
import torch

from bench.api import CITYSCAPES, Sample
from bench.cli.main import main
from bench.contract.network import loaded as load
from bench.core.errors import BadPlugin, BadSuite, MissingData, MissingPackage
from bench.models import huggingface, inference
from bench.suite import registry

transformers = pytest.importorskip("transformers", reason="the extra transformers is not installed")

CLASSES = ("road", "tree", "sky", "car", "dog", "mug", "rug")
PREPARATION = {
    "do_resize": True,
    "size": {"height": 512, "width": 512},
    "resample": 2,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Images this small gain nothing from more, and on a busy machine their threads wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def labels():
    return dict(enumerate(CLASSES))


def swin():
    stages = ["stage1", "stage2", "stage3", "stage4"]
    return transformers.SwinConfig(
        image_size=64, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 1, 1], window_size=4, out_features=stages
    )


def segformer():
    config = transformers.SegformerConfig(
        depths=[1, 1, 1, 1],
        hidden_sizes=[8, 8, 16, 16],
        num_attention_heads=[1, 1, 2, 2],
        decoder_hidden_size=16,
        classifier_dropout_prob=0.15,
        id2label=labels(),
    )
    return transformers.SegformerForSemanticSegmentation(config)


def upernet():
    config = transformers.UperNetConfig(
        backbone_config=swin(), hidden_size=16, pool_scales=[1, 2], auxiliary_in_channels=32, id2label=labels()
    )
    return transformers.UperNetForSemanticSegmentation(config)


def mask2former(names=None):
    config = transformers.Mask2FormerConfig(
        backbone_config=swin(),
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_feedforward_dim=32,
        encoder_layers=1,
        decoder_layers=2,
        num_attention_heads=2,
        dim_feedforward=32,
        num_queries=6,
        id2label=names or labels(),
    )
    return transformers.Mask2FormerForUniversalSegmentation(config)


def maskformer():
    decoder = {"model_type": "detr", "d_model": 16, "num_queries": 6, "decoder_layers": 1, "encoder_layers": 1}
    decoder |= {
        "decoder_attention_heads": 2,
        "encoder_attention_heads": 2,
        "decoder_ffn_dim": 16,
        "encoder_ffn_dim": 16,
    }
    config = transformers.MaskFormerConfig(
        backbone_config=swin(), fpn_feature_size=32, mask_feature_size=32, decoder_config=decoder, id2label=labels()
    )
    return transformers.MaskFormerForInstanceSegmentation(config)


KINDS = {kind.__name__: kind for kind in (segformer, upernet, mask2former, maskformer)}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A network with random weights by kind, and the folder it is saved to."""
    given = {}

    def make_one(kind):
        if kind not in given:
            torch.manual_seed(5)
            network = KINDS[kind]().eval()
            with torch.no_grad():
                for parameter in network.parameters():
                    if parameter.ndim > 1:
                        parameter.mul_(10 if kind == "segformer" else 3)  # so that pixels differ
            given[kind] = network, save(network, tmp_path_factory.mktemp(kind))
        return given[kind]

    return make_one


def save(network, folder):
    transformers.utils.logging.disable_progress_bar()
    network.save_pretrained(folder)
    transformers.utils.logging.enable_progress_bar()
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPARATION))
    return folder


def edit(path, **settings):
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


@pytest.fixture
def folder(made, tmp_path):
    """A SegFormer to spoil."""
    return save(made("segformer")[0], tmp_path / "segformer")


def make(folder=None, **given):
    params = given | ({"folder": str(folder)} if folder else {})
    return registry.build("model", "transformers", params, where="x.yaml")


def loaded(folder=None, **given):
    model = make(folder, **given)
    model.check()
    return load(model, "cpu")


def image(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def views(model, pixels):
    sample = Sample("one", pixels.shape[:2], lambda: pixels)
    return list(inference.views(sample, model.model.inference, "cpu"))


def prepared(pixels):
    """float32 [1, 3, h, w] as transformers' own processor makes it, at the size of the image."""
    try:
        from transformers.models.segformer.image_processing_pil_segformer import SegformerImageProcessorPil as Processor
    except ImportError:  # an older release, whose one processor needs no torchvision
        from transformers import SegformerImageProcessor as Processor

    processor = Processor(**PREPARATION | {"do_resize": False})
    return torch.as_tensor(np.stack(processor(images=pixels)["pixel_values"]))


@pytest.mark.parametrize("size", [(64, 96), (83, 101)])
@pytest.mark.parametrize("kind", ["segformer", "upernet"])
def test_logits_are_those_of_the_network_on_what_its_own_processor_prepares(made, kind, size):
    network, place = made(kind)
    model = loaded(place)
    given = model.predict([views(model, image(*size))[0]])[0]
    with torch.no_grad():
        wanted = network(pixel_values=prepared(image(*size))).logits[0]
    assert wanted.std() > 0.05
    torch.testing.assert_close(given.raw["logits"], wanted, rtol=1e-5, atol=1e-5)
    assert given.logits.shape == (7, *size)


def test_features_classifier_and_dropout_of_segformer_are_offered(made):
    model = loaded(made("segformer")[1])
    given = model.predict([views(model, image(64, 96))[0]])[0]
    assert model.model.outputs == {"logits", "features", "classify", "dropout", "raw", "image", "again", "forward"}
    assert given.raw["features"].shape == (16, 16, 24) and given.raw["logits"].shape == (7, 16, 24)
    assert given.dropout == 0.15
    torch.testing.assert_close(given.classify(given.raw["features"]), given.raw["logits"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["mask2former", "maskformer"])
def test_a_mask_classifier_gives_queries_and_scores_per_class_and_no_logits(made, kind):
    network, place = made(kind)
    model = loaded(place)
    given = model.predict([views(model, image(83, 101))[0]])[0]
    named = {"class_scores", "query_logits", "query_masks", "query_embeddings", "mask_features", "features"}
    assert set(given.raw) == named and model.model.outputs == named | {"raw", "image", "again"}
    with torch.no_grad():
        wanted = network(pixel_values=prepared(image(83, 101)))
    torch.testing.assert_close(given.raw["query_logits"], wanted.class_queries_logits[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(given.raw["query_masks"], wanted.masks_queries_logits[0], rtol=1e-4, atol=1e-4)
    queries = given.raw["query_logits"].shape[0]
    assert given.raw["query_logits"].shape == (queries, 8)  # "no object" is the last
    masks = torch.nn.functional.interpolate(given.raw["query_masks"][None], (83, 101), mode="bilinear")[0].sigmoid()
    votes = torch.einsum("qc,qhw->chw", given.raw["query_logits"].softmax(dim=1)[:, :-1], masks)
    torch.testing.assert_close(given.class_scores, votes, rtol=1e-4, atol=1e-5)
    assert torch.equal(given.labels, given.class_scores.argmax(dim=0).byte())


def test_equal_views_go_through_the_network_together(made):
    for kind in ("segformer", "mask2former"):
        model = loaded(made(kind)[1], inference={"window": [64, 64], "stride": [40, 32]})
        seen = views(model, image(104, 96))
        assert len(seen) == 4
        for one, stacked in zip(seen, model.predict(seen), strict=True):
            alone = model.predict([one])[0]
            assert stacked.image is one.pixels
            for name in alone.raw:
                torch.testing.assert_close(stacked.raw[name], alone.raw[name], rtol=1e-4, atol=1e-4)


def test_again_takes_float_pixels(made):
    model = loaded(made("segformer")[1])
    (one,) = views(model, image(64, 96))
    given = model.predict([one])[0]
    assert torch.equal(given.again(one.pixels.float()).raw["logits"], given.raw["logits"])
    assert not torch.equal(given.again(one.pixels.float() + 0.25).raw["logits"], given.raw["logits"])


def test_logits_to_train_by_have_gradients_and_are_those_of_predict(made):
    model = loaded(made("segformer")[1])
    (one,) = views(model, image(64, 96))
    model.module().requires_grad_(True)
    logits = model.forward(one.pixels.float()[None])
    assert torch.equal(logits[0].detach(), model.predict([one])[0].raw["logits"])
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in model.module().decode_head.parameters())
    with pytest.raises(BadPlugin, match=r"Mask2Former\S+ gives masks of queries, not logits of pixels to train"):
        loaded(made("mask2former")[1]).forward(one.pixels.float()[None])


def test_outputs_are_float32_under_autocast(made):
    for kind in ("segformer", "mask2former"):
        model = loaded(made(kind)[1])
        with torch.autocast("cpu", torch.bfloat16):
            given = model.predict([views(model, image(64, 96))[0]])[0]
            tensors = [*given.raw.values(), *([given.classify(given.raw["features"])] if given.classify else [])]
        assert {tensor.dtype for tensor in tensors} == {torch.float32}


def test_half_precision_weights_are_computed_in_float32(made, tmp_path):
    torch.manual_seed(5)
    place = save(segformer().half(), tmp_path / "half")
    assert {parameter.dtype for parameter in loaded(place).module().parameters()} == {torch.float32}


def test_channels_turned_round_and_pixels_left_as_they_are(folder):
    plain = loaded(folder)
    pixels = image(64, 96)
    turned = pixels[:, :, ::-1].copy()
    settings = {"do_flip_channel_order": True, "image_mean": PREPARATION["image_mean"]}
    edit(folder / "preprocessor_config.json", **settings)
    flipped = loaded(folder)
    first, second = plain.predict([views(plain, turned)[0]])[0], flipped.predict([views(flipped, pixels)[0]])[0]
    assert torch.equal(first.raw["logits"], second.raw["logits"])
    edit(folder / "preprocessor_config.json", do_normalize=False, do_rescale=False, do_flip_channel_order=False)
    bare = loaded(folder)
    with torch.no_grad():
        wanted = bare.module()(pixel_values=torch.from_numpy(pixels).permute(2, 0, 1)[None].float()).logits[0]
    assert torch.equal(bare.predict([views(bare, pixels)[0]])[0].raw["logits"], wanted)


def test_classes_are_those_of_the_config_unless_named(folder):
    assert make(folder).class_names == CLASSES
    assert make(folder, classes=list("abcdefg")).class_names == tuple("abcdefg")
    with pytest.raises(BadSuite, match=r"has 7 classes, the suite names 2; name all 7, in their order: classes: \["):
        make(folder, classes=["a", "b"]).check()
    edit(folder / "config.json", id2label={"0": "road", "2": "sky"})
    with pytest.raises(BadSuite, match=r"does not name its classes 0, 1, \.\.\. in id2label; name them: classes"):
        make(folder).check()


SUITE = """
protocols: [anomaly, misclassification]
models:
  - transformers: {folder: net, label: masks, inference: {window: [64, 64], stride: [32, 32]}}
datasets:
  - toytown: {split: anomaly, images: 4, height: 64, width: 128}
methods: [rba, msp]
bootstrap: 20
"""


def test_a_mask_classifier_runs_in_a_suite_and_methods_of_logits_are_not_applicable(tmp_path, capsys):
    torch.manual_seed(5)
    save(mask2former(dict(enumerate(CITYSCAPES))), tmp_path / "net")
    (tmp_path / "masks.yaml").write_text(SUITE)
    assert main(["run", str(tmp_path / "masks.yaml"), "--out", str(tmp_path / "run"), "--workers", "0"]) == 0
    capsys.readouterr()
    assert main(["show", str(tmp_path / "run"), "--format", "json"]) == 0
    records = json.loads(capsys.readouterr().out)["records"]
    values = {(one["method"], one["protocol"]): one["value"] for one in records if one["metric"] == "auroc"}
    assert 0 < values["rba", "anomaly"] < 1 and 0 < values["rba", "misclassification"] < 1
    assert values.get(("msp", "anomaly")) is None


def test_a_folder_or_a_name_on_the_hub_and_not_both(folder):
    with pytest.raises(BadSuite, match=r"needs a folder or the name of one on the hub, and not both"):
        make()
    with pytest.raises(BadSuite, match=r"needs a folder or the name of one on the hub, and not both"):
        make(folder, hub="a/b")
    with pytest.raises(BadSuite, match=r"a revision is one of the hub, a folder has none"):
        make(folder, revision="main")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda at: (at / "config.json").unlink(), r"config\.json does not exist; it comes with the weights"),
        (lambda at: (at / "config.json").write_text("{"), r"config\.json is no JSON"),
        (
            lambda at: (at / "preprocessor_config.json").unlink(),
            r"holds no preprocessor_config\.json or processor_config\.json, .*, or say mean and std of pixels in",
        ),
        (
            lambda at: edit(at / "preprocessor_config.json", rescale_factor="x"),
            r"the rescale_factor 'x', wanted a number",
        ),
        (lambda at: edit(at / "config.json", architectures="Segformer"), r"is of no architecture, wanted"),
        (lambda at: edit(at / "config.json", id2label=["road"]), r"does not name its classes 0, 1"),
        (lambda at: (at / "config.json").write_text("<html><title>Log in</title>"), r"no JSON: it is an HTML page"),
        (
            lambda at: (at / "model.safetensors").write_text(
                "version https://git-lfs.github.com/spec/v1\noid sha256:1\n"
            ),
            r"model\.safetensors cannot be read: it is a Git LFS pointer.*git lfs pull",
        ),
        (lambda at: edit(at / "preprocessor_config.json", image_mean=None), r"without three numbers in image_mean"),
        (
            lambda at: (at / "model.safetensors").unlink(),
            r"holds no weights, wanted model\.safetensors or pytorch_model",
        ),
        (
            lambda at: edit(at / "config.json", architectures=["SwinForImageClassification"]),
            r"is of SwinForImageClassification, wanted \.\.\.ForSemanticSegmentation, MaskFormer",
        ),
    ],
)
def test_what_is_wrong_with_a_folder_is_found_before_anything_is_computed(folder, spoil, said):
    spoil(folder)
    with pytest.raises((MissingData, BadSuite), match=said) as refusal:
        make(folder).check()
    assert "\n" not in str(refusal.value)


def test_images_are_prepared_as_either_file_or_the_suite_says(made, folder):
    pixels = image(64, 96)
    first = loaded(folder)
    expected = first.predict([views(first, pixels)[0]])[0].raw["logits"]
    (folder / "preprocessor_config.json").unlink()
    said = loaded(folder, mean=PREPARATION["image_mean"], std=PREPARATION["image_std"])
    assert torch.equal(said.predict([views(said, pixels)[0]])[0].raw["logits"], expected)
    (folder / "processor_config.json").write_text(json.dumps({"image_processor": PREPARATION, "other": 1}))
    nested = loaded(folder)
    assert torch.equal(nested.predict([views(nested, pixels)[0]])[0].raw["logits"], expected)
    with pytest.raises(BadSuite, match="mean and std go together"):
        make(folder, mean=[0, 0, 0])


@pytest.mark.parametrize("dtype", [torch.int8, torch.bool, torch.complex64])
@pytest.mark.parametrize("form", ["safetensors", "bin"])
def test_numbers_of_another_kind_are_refused(folder, dtype, form):
    from safetensors.torch import load_file, save_file

    state = load_file(folder / "model.safetensors")
    state["decode_head.classifier.weight"] = state["decode_head.classifier.weight"].to(dtype)
    if form == "safetensors":
        save_file(state, folder / "model.safetensors", {"format": "pt"})
    else:
        (folder / "model.safetensors").unlink()
        torch.save(state, folder / "pytorch_model.bin")
    with pytest.raises(
        (MissingData, BadPlugin), match=r"classifier\.weight holds \w+ numbers, .* wants float|cannot be lo"
    ):
        make(folder).load("cpu")


def test_a_network_of_one_size_says_how_to_give_it(tmp_path):
    torch.manual_seed(5)
    config = transformers.DPTConfig(
        image_size=32, patch_size=16, hidden_size=16, num_hidden_layers=4, num_attention_heads=2, intermediate_size=16,
        backbone_out_indices=[0, 1, 2, 3], neck_hidden_sizes=[4, 4, 4, 4], fusion_hidden_size=4, is_hybrid=False,
        use_auxiliary_head=False, id2label=labels(),
    )  # fmt: skip
    place = save(transformers.DPTForSemanticSegmentation(config).eval(), tmp_path / "dpt")
    model = loaded(place)
    with pytest.raises(
        BadPlugin, match=r"DPTFor\S+ fails on \[1, 3, 32, 64\]: .*say so by inference: \{size: \[h, w\]\}"
    ):
        model.predict([views(model, image(32, 64))[0]])
    sized = loaded(place, inference={"size": [32, 32]})
    assert sized.predict([views(sized, image(32, 64))[0]])[0].raw["logits"].shape[0] == len(CLASSES)


NAMES = """
protocols: [misclassification]
models:
  - transformers: {folder: net, label: theirs}
datasets:
  - toytown: {split: anomaly, images: 2, height: 64, width: 128}
methods: [msp]
bootstrap: 0
"""


@pytest.mark.parametrize("spell", [str.title, lambda name: name.replace(" ", "_"), lambda name: name.upper()])
def test_names_of_classes_are_those_of_cityscapes_however_they_are_spelled(spell, made, tmp_path, capsys):
    config = made("segformer")[0].config
    config = transformers.SegformerConfig(**config.to_dict() | {"id2label": dict(enumerate(map(spell, CITYSCAPES)))})
    save(transformers.SegformerForSemanticSegmentation(config), tmp_path / "net")
    (tmp_path / "names.yaml").write_text(NAMES)
    argv = ["run", str(tmp_path / "names.yaml"), "--out", str(tmp_path / "run"), "--workers", "0", "--gallery", "0"]
    assert main(argv) == 0
    assert "n/a" not in capsys.readouterr().out


def test_classes_without_names_are_to_be_named(made, tmp_path, capsys):
    config = made("segformer")[0].config
    config = transformers.SegformerConfig(**{**config.to_dict(), "id2label": None, "label2id": None, "num_labels": 19})
    save(transformers.SegformerForSemanticSegmentation(config), tmp_path / "net")
    (tmp_path / "names.yaml").write_text(NAMES)
    assert main(["check", str(tmp_path / "names.yaml")]) in (0, 2)
    shown = capsys.readouterr()
    wanted = (
        "its classes have no names (LABEL_0, LABEL_1 and 17 more); name them in its entry, in their order: classes: ["
    )
    assert f"{wanted}road, " in shown.out + shown.err


def test_an_absent_folder_is_named(tmp_path):
    with pytest.raises(
        MissingData, match=r"folder .*nowhere does not exist; paths in a suite are relative to its file"
    ):
        make(tmp_path / "nowhere").check()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: state.pop("decode_head.classifier.bias"), r"1 missing \(first: decode_head\.classifier\.bias\)"),
        (lambda state: state.update({"decode_head.more": torch.zeros(1)}), r"1 surplus \(first: decode_head\.more\)"),
        (
            lambda state: state.update({"decode_head.classifier.bias": torch.zeros(9)}),
            r"1 of another shape \(first: decode_head\.classifier\.bias\)",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused(made, folder, change, said, capfd):
    from safetensors.torch import load_file, save_file

    state = load_file(folder / "model.safetensors")
    change(state)
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises((MissingData, BadPlugin), match=said) as refusal:
        make(folder).load("cpu")
    assert "\n" not in str(refusal.value)
    assert capfd.readouterr() == ("", "")


def test_loading_is_silent_and_leaves_logging_as_it_was(folder, capfd):
    before = transformers.utils.logging.get_verbosity(), transformers.utils.logging.is_progress_bar_enabled()
    loaded(folder)
    assert capfd.readouterr() == ("", "")
    assert before == (transformers.utils.logging.get_verbosity(), transformers.utils.logging.is_progress_bar_enabled())
    assert before[0] < logging.CRITICAL


def test_torch_files_are_read_as_weights_alone(made, folder, capsys):
    network, _ = made("segformer")
    (folder / "model.safetensors").unlink()
    torch.save(network.state_dict(), folder / "pytorch_model.bin")
    model = loaded(folder)
    (one,) = views(model, image(64, 96))
    first = model.predict([one])[0].raw["logits"]
    assert torch.equal(first, loaded(made("segformer")[1]).predict([one])[0].raw["logits"])

    class Evil:
        def __reduce__(self):
            return (print, ("code ran",))

    torch.save(network.state_dict() | {"more": Evil()}, folder / "pytorch_model.bin")
    with pytest.raises(BadPlugin, match=r"cannot be loaded: UnpicklingError: Weights only load failed"):
        make(folder).load("cpu")
    assert "code ran" not in capsys.readouterr().out


def test_code_of_a_folder_does_not_run(folder, capsys):
    (folder / "theirs.py").write_text("print('code ran')\nclass Config: ...\nclass Net: ...\n")
    mapped = {"AutoConfig": "theirs.Config", "AutoModelForSemanticSegmentation": "theirs.Net"}
    edit(folder / "config.json", model_type="theirs", auto_map=mapped, architectures=["NetForSemanticSegmentation"])
    with pytest.raises(BadSuite, match=r"has no NetForSemanticSegmentation; install a newer one"):
        make(folder).load("cpu")
    edit(folder / "config.json", architectures=["SegformerForSemanticSegmentation"])
    loaded(folder)
    assert "code ran" not in capsys.readouterr().out


def test_weights_in_several_files_are_all_wanted_and_all_in_the_digest(made, folder):
    (folder / "model.safetensors").unlink()
    made("segformer")[0].save_pretrained(folder, max_shard_size="20KB")
    shards = sorted(folder.glob("model-*.safetensors"))
    assert len(shards) > 1
    before = loaded(folder).model.digest()
    shards[0].write_bytes(shards[0].read_bytes() + b"\0")
    assert make(folder).digest() != before
    shards[0].unlink()
    with pytest.raises(
        MissingData, match=r"model-00001-\S+ does not exist, which model\.safetensors\.index\.json names"
    ):
        make(folder).check()


def test_the_digest_is_that_of_the_files(folder, made, tmp_path):
    first = make(folder).digest()
    assert make(save(made("segformer")[0], tmp_path / "copy")).digest() == first
    edit(folder / "preprocessor_config.json", image_mean=[0.5, 0.5, 0.5])
    assert make(folder).digest() != first


def test_a_name_is_looked_up_in_the_cache_of_the_hub(made, tmp_path, monkeypatch):
    """The cache as huggingface_hub lays it out; nothing is asked of the network."""
    import huggingface_hub

    repository = tmp_path / "hub" / "models--someone--segformer"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("a" * 40)
    save(made("segformer")[0], repository / "snapshots" / ("a" * 40))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.HfApi, "repo_info", lambda *_, **__: pytest.fail("asked the network"))
    model = loaded(hub="someone/segformer")
    assert model.model.class_names == CLASSES
    assert loaded(hub="someone/segformer", revision="a" * 40).model.digest() == model.model.digest()


def test_an_absent_name_is_one_line_when_there_is_no_network(tmp_path, monkeypatch):
    import huggingface_hub

    def unreachable(*_, **__):
        raise huggingface_hub.errors.OfflineModeIsEnabled("no network\nat all")

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.HfApi, "repo_info", unreachable)
    wanted = r"someone/absent is not in the cache of huggingface_hub and cannot be downloaded: .*; copy its folder from"
    with pytest.raises(MissingData, match=wanted) as refusal:
        make(hub="someone/absent").check()
    assert "\n" not in str(refusal.value)


def test_only_settings_and_tensors_are_downloaded_and_torch_files_only_without_them(made, tmp_path, monkeypatch):
    import huggingface_hub

    asked = []

    def download(name, *, revision, allow_patterns, local_files_only):
        if local_files_only:
            raise huggingface_hub.errors.LocalEntryNotFoundError("not here")
        asked.append((name, revision, allow_patterns))
        place = save(made("segformer")[0], tmp_path / "snapshot")
        if "pytorch_model*.bin*" in allow_patterns:
            torch.save(made("segformer")[0].state_dict(), place / "pytorch_model.bin")
        (place / "model.safetensors").unlink()
        return str(place)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    make(hub="someone/else", revision="v1").check()
    settings = ["config.json", "preprocessor_config.json", "processor_config.json", *huggingface.TOKENS]
    assert asked == [
        ("someone/else", "v1", [*settings, "model*.safetensors*"]),
        ("someone/else", "v1", [*settings, "pytorch_model*.bin*"]),
    ]


def test_an_absent_package_is_named(folder, monkeypatch):
    monkeypatch.setattr(huggingface.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        MissingPackage, match=r'transformers is not installed; pip install "ood-seg-bench\[transformers\]"'
    ):
        make(folder).check()
