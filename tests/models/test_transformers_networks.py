"""Every network class of transformers, tiny and with random weights: whole and by windows, as transformers has it."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml

from bench.api import Sample
from bench.cli.main import main
from bench.contract.network import loaded as load
from bench.core.errors import BadSuite, MissingData
from bench.models import huggingface_heads, inference
from bench.ops import dense
from bench.run import checks
from bench.suite import registry

transformers = pytest.importorskip("transformers", reason="the extra transformers is not installed")

CLASSES = ("road", "tree", "sky", "car", "dog", "mug", "rug")
LABELS = dict(enumerate(CLASSES))
PREPARATION = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
SIDE = 64
VIT = {
    "hidden_size": 16,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "image_size": SIDE,
    "patch_size": 16,
    "id2label": LABELS,
}


def swin(kind="SwinConfig"):
    stages = ["stage1", "stage2", "stage3", "stage4"]
    return getattr(transformers, kind)(
        image_size=64, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 1, 1], window_size=4, out_features=stages
    )


def uper(name):
    more = {"out_indices": [1, 2, 3, 4], "pool_scales": [1, 2], "use_mean_pooling": True, "use_auxiliary_head": False}
    config = getattr(transformers, f"{name}Config")(
        **VIT, **more, use_relative_position_bias=True, hidden_dropout_prob=0
    )
    return getattr(transformers, f"{name}ForSemanticSegmentation")(config)


def segformer():
    sizes = {"depths": [1] * 4, "hidden_sizes": [8, 8, 16, 16], "num_attention_heads": [1, 1, 2, 2]}
    config = transformers.SegformerConfig(**sizes, decoder_hidden_size=16, id2label=LABELS)
    return transformers.SegformerForSemanticSegmentation(config)


def upernet():
    sizes = {"hidden_size": 16, "pool_scales": [1, 2], "auxiliary_in_channels": 32}
    return transformers.UperNetForSemanticSegmentation(
        transformers.UperNetConfig(backbone_config=swin(), **sizes, id2label=LABELS)
    )


def dpt():
    config = transformers.DPTConfig(
        **VIT, backbone_out_indices=[0, 1, 2, 3], neck_hidden_sizes=[4] * 4, fusion_hidden_size=4, is_hybrid=False,
        use_auxiliary_head=False, semantic_classifier_dropout=0.2,
    )  # fmt: skip
    return transformers.DPTForSemanticSegmentation(config)


def mobilevit():
    config = transformers.MobileViTConfig(
        image_size=SIDE, hidden_sizes=[8, 8, 8], neck_hidden_sizes=[4, 4, 8, 8, 8, 8, 16], num_attention_heads=2,
        aspp_out_channels=8, id2label=LABELS, classifier_dropout_prob=0.1,
    )  # fmt: skip
    return transformers.MobileViTForSemanticSegmentation(config)


def mobilenet():
    config = transformers.MobileNetV2Config(image_size=SIDE, depth_multiplier=0.1, output_stride=16, id2label=LABELS)
    return transformers.MobileNetV2ForSemanticSegmentation(config)


def mask2former():
    config = transformers.Mask2FormerConfig(
        backbone_config=swin(), feature_size=32, mask_feature_size=32, hidden_dim=32, encoder_feedforward_dim=32,
        encoder_layers=1, decoder_layers=2, num_attention_heads=2, dim_feedforward=32, num_queries=6, id2label=LABELS,
    )  # fmt: skip
    return transformers.Mask2FormerForUniversalSegmentation(config)


def maskformer(auxiliary=False):
    decoder = {"model_type": "detr", "d_model": 16, "num_queries": 6, "decoder_layers": 2, "encoder_layers": 1}
    decoder |= {"decoder_attention_heads": 2, "encoder_attention_heads": 2}
    config = transformers.MaskFormerConfig(
        backbone_config=swin(), fpn_feature_size=32, mask_feature_size=32, decoder_config=decoder, id2label=LABELS,
        use_auxiliary_loss=auxiliary,
    )  # fmt: skip
    return transformers.MaskFormerForInstanceSegmentation(config)


def oneformer():
    config = transformers.OneFormerConfig(
        backbone_config=swin(), num_queries=6, conv_dim=32, mask_dim=32, hidden_dim=32, encoder_feedforward_dim=32,
        encoder_layers=1, decoder_layers=3, num_attention_heads=2, dim_feedforward=32, query_dec_layers=1,
        task_seq_len=9, id2label=LABELS,
    )  # fmt: skip
    return transformers.OneFormerForUniversalSegmentation(config)


def eomt(name="Eomt"):
    sizes = VIT | {"image_size": SIDE, "num_queries": 6, "num_blocks": 2, "num_upscale_blocks": 1}
    sizes |= {"intermediate_size": 16} if name == "EomtDinov3" else {}
    network = getattr(transformers, f"{name}ForUniversalSegmentation")(
        getattr(transformers, f"{name}Config")(**{key: value for key, value in sizes.items() if key != "none"})
    )
    network.attn_mask_probs.zero_()  # as training ends
    return network


NETWORKS = {
    "SegformerForSemanticSegmentation": segformer,
    "UperNetForSemanticSegmentation": upernet,
    "BeitForSemanticSegmentation": lambda: uper("Beit"),
    "Data2VecVisionForSemanticSegmentation": lambda: uper("Data2VecVision"),
    "DPTForSemanticSegmentation": dpt,
    "MobileViTForSemanticSegmentation": mobilevit,
    "MobileNetV2ForSemanticSegmentation": mobilenet,
    "MaskFormerForInstanceSegmentation": maskformer,
    "Mask2FormerForUniversalSegmentation": mask2former,
    "OneFormerForUniversalSegmentation": oneformer,
    "EomtForUniversalSegmentation": eomt,
    "EomtDinov3ForUniversalSegmentation": lambda: eomt("EomtDinov3"),
}
DENSE = [name for name in NETWORKS if name.endswith(huggingface_heads.SEMANTIC)]
MASKS = [name for name in NETWORKS if name not in DENSE]
WORDS = ("the", "task", "is", "semantic")


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Images this small gain nothing from more, and on a busy machine their threads wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A network with random weights by architecture, and the folder it is saved to."""
    kept = {}

    def make_one(name):
        if name not in kept:
            torch.manual_seed(5)
            network = NETWORKS[name]().eval()
            spread(network)
            kept[name] = network, save(network, tmp_path_factory.mktemp(name))
        return kept[name]

    return make_one


def spread(network):
    """Draw weights, and statistics of batches, of a size that lets signals through, so that pixels differ."""
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 1.2 * parameter[0].numel() ** -0.5)
        for norm in norms:
            norm.momentum = 1.0
        if norms:
            network.train()(pixel_values=torch.randn(2, 3, SIDE, SIDE))
    network.eval()


def save(network, folder):
    transformers.utils.logging.disable_progress_bar()
    network.save_pretrained(folder)
    transformers.utils.logging.enable_progress_bar()
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPARATION))
    if type(network).__name__.startswith("OneFormer"):
        letters = sorted({*"".join(WORDS)})
        merged, merges = [], []
        for word in WORDS:  # each word becomes one token, letter by letter
            left = word[0]
            for place, letter in enumerate(word[1:], 1):
                letter += "</w>" * (place == len(word) - 1)
                merges.append(f"{left} {letter}")
                left += letter
                merged.append(left)
        entries = dict.fromkeys([*letters, *(f"{letter}</w>" for letter in letters), *merged])
        vocabulary = [*entries, "<|startoftext|>", "<|endoftext|>"]
        (folder / "vocab.json").write_text(json.dumps({entry: number for number, entry in enumerate(vocabulary)}))
        (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *dict.fromkeys(merges), ""]))
    return folder


def loaded(folder, **given):
    if "Eomt" in json.loads((folder / "config.json").read_text())["architectures"][0]:
        given.setdefault("inference", {"size": [SIDE, SIDE]})
    model = registry.build("model", "transformers", {"folder": str(folder)} | given, where="x.yaml")
    model.check()
    return load(model, "cpu")


def image(height=SIDE, width=SIDE, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def seen(network, pixels):
    """What a network says of an image, by its inference: the views and all of it."""
    sample = Sample("one", pixels.shape[:2], lambda: pixels)
    views = list(inference.views(sample, network.model.inference, "cpu"))
    pairs = [(view, network.predict([view])[0]) for view in views]
    return pairs, inference.merge(pairs, network.model.inference)


def family_of(name):
    return re.split("For(?=Semantic|Universal|Instance)", name)[0]


def processor(name):
    """Transformers' own image processor: the one that needs no torchvision."""
    family = {"UperNet": "Segformer", "Data2VecVision": "Beit", "EomtDinov3": "Eomt"}.get(
        family_of(name), family_of(name)
    )
    plain = getattr(transformers, f"{family}ImageProcessorPil", None)
    return plain or getattr(transformers, f"{family}ImageProcessor")


def words(folder):
    tokenizer = transformers.CLIPTokenizer.from_pretrained(folder)
    padded = tokenizer(["the task is semantic"], padding="max_length", max_length=9, truncation=True)
    return torch.tensor(padded["attention_mask"]) * torch.tensor(padded["input_ids"])


def theirs(name, network, folder, pixels):
    """What transformers makes of pixels, at their size: [C, H, W]."""
    mean, std = (np.array(PREPARATION[key], np.float32) for key in ("image_mean", "image_std"))
    prepared = torch.from_numpy((pixels * np.float32(1 / 255) - mean) / std).permute(2, 0, 1)[None]
    more = {"task_inputs": words(folder)} if name.startswith("OneFormer") else {}
    with torch.no_grad():
        returned = network(pixel_values=prepared, **more)
    kind, size = processor(name), pixels.shape[:2]
    own = getattr(kind, "post_process_semantic_segmentation", None)
    assert own, name
    stand_in = SimpleNamespace(size={"shortest_edge": SIDE, "longest_edge": None})  # what EoMT's reads of itself
    (answer,) = own(stand_in, returned, target_sizes=[size], return_segmentation_scores=True)
    return answer["segmentation_scores"]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_whole_image_is_what_transformers_makes_of_it(made, name):
    network, folder = made(name)
    given = {"post_processing": "transformers"} if name in MASKS else {}
    model = loaded(folder, **given)
    pixels = image()
    _, merged = seen(model, pixels)
    wanted = theirs(name, network, folder, pixels)
    assert wanted.std() > 1e-3, "pixels differ"
    scores = merged.class_scores if name in MASKS else merged.logits
    torch.testing.assert_close(scores, wanted, rtol=1e-5, atol=1e-5)
    assert set(merged.raw) | {"raw", "image", "again"} == model.model.outputs - {"classify", "dropout", "forward"}


@pytest.mark.parametrize("name", NETWORKS)
def test_windows_average_what_transformers_makes_of_each(made, name):
    network, folder = made(name)
    given = {"post_processing": "transformers"} if name in MASKS else {}
    how = {"shortest": SIDE, "window": [SIDE, SIDE], "stride": [SIDE, 48]}
    model = loaded(folder, inference=how, **given)
    pixels = image(SIDE, 128, seed=1)
    _, merged = seen(model, pixels)
    total, count = torch.zeros(len(CLASSES), SIDE, 128), torch.zeros(SIDE, 128)
    for left in (0, 48, 64):
        total[:, :, left : left + SIDE] += theirs(name, network, folder, pixels[:, left : left + SIDE].copy())
        count[:, left : left + SIDE] += 1
    scores = merged.class_scores if name in MASKS else merged.logits
    torch.testing.assert_close(scores, total / count, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", MASKS)
def test_masks_are_mask_features_times_query_embeddings(made, name):
    (view,), _ = seen(loaded(made(name)[1]), image())
    raw = view[1].raw
    product = torch.einsum("qe,ehw->qhw", raw["query_embeddings"], raw["mask_features"])
    torch.testing.assert_close(product, raw["query_masks"], rtol=1e-4, atol=1e-4)
    assert raw["features"].shape[1:] == ((4, 4) if name.startswith("Eomt") else (2, 2)) and raw["features"].std() > 0
    assert raw["query_logits"].shape == (6, 8) and raw["class_scores"].shape == (7, SIDE, SIDE)


def test_embeddings_of_the_last_layer_count_where_all_layers_are_asked(tmp_path):
    torch.manual_seed(5)
    network = maskformer(auxiliary=True).eval()
    (view,), _ = seen(loaded(save(network, tmp_path)), image())
    raw = view[1].raw
    product = torch.einsum("qe,ehw->qhw", raw["query_embeddings"], raw["mask_features"])
    torch.testing.assert_close(product, raw["query_masks"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", DENSE)
def test_the_classifier_makes_logits_of_the_features_before_it(made, name):
    network, folder = made(name)
    model = loaded(folder)
    (view,), _ = seen(model, image())
    prediction = view[1]
    logits = prediction.classify(prediction.raw["features"])
    assert logits.shape == (7, *prediction.raw["features"].shape[1:])
    if name.startswith("DPT"):  # whose head doubles them in its own way
        logits = network.head.head[5](logits[None])[0]
    whole = dense.resize(logits, tuple(prediction.raw["logits"].shape[1:]))
    torch.testing.assert_close(whole, prediction.raw["logits"], rtol=1e-4, atol=1e-5)
    dropped = {"Segformer", "DPT", "MobileViT", "MobileNetV2"}
    assert (prediction.dropout is not None) == (family_of(name) in dropped)
    assert ("dropout" in model.model.outputs) == (prediction.dropout is not None)


def test_a_network_that_is_not_known_by_name_gives_its_logits():
    assert huggingface_heads.of("SomeNewForSemanticSegmentation").outputs == {"logits", "forward"}
    assert huggingface_heads.of("SwinForImageClassification") is None


@pytest.mark.parametrize("name", ["MaskFormerForInstanceSegmentation", "Mask2FormerForUniversalSegmentation"])
def test_ours_weighs_masks_at_the_size_of_the_view(made, name):
    folder = made(name)[1]
    ours, other = seen(loaded(folder), image())[1], seen(loaded(folder, post_processing="transformers"), image())[1]
    masks = torch.nn.functional.interpolate(ours.raw["query_masks"][None], (SIDE, SIDE), mode="bilinear")[0].sigmoid()
    votes = torch.einsum("qc,qhw->chw", ours.raw["query_logits"].softmax(dim=1)[:, :-1], masks)
    torch.testing.assert_close(ours.class_scores, votes, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(ours.class_scores, other.class_scores, atol=1e-6)


def test_post_processing_of_logits_is_refused(made):
    with pytest.raises(BadSuite, match=r"post_processing is of masks, and .* gives logits"):
        loaded(made("SegformerForSemanticSegmentation")[1], post_processing="transformers")


def test_oneformer_reads_its_task_and_wants_a_tokenizer(made, tmp_path):
    network, folder = made("OneFormerForUniversalSegmentation")
    model = loaded(folder)
    assert torch.equal(model._words, words(folder)) and model._words.unique().numel() > 4
    before = model.model.digest()
    bare = save(network, tmp_path / "bare")
    assert registry.build("model", "transformers", {"folder": str(bare)}, where="x.yaml").digest() == before
    (bare / "merges.txt").write_text("#version: 0.2\nt h\n")
    assert registry.build("model", "transformers", {"folder": str(bare)}, where="x.yaml").digest() != before
    for name in ("vocab.json", "merges.txt"):
        (bare / name).unlink()
    with pytest.raises(MissingData, match=r"holds no tokenizer, which OneFormer reads its task with.*vocab\.json"):
        loaded(bare)


def test_weights_that_only_training_reads_are_left_out(made, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = save(made("OneFormerForUniversalSegmentation")[0], tmp_path)
    state = load_file(folder / "model.safetensors") | {"model.text_mapper.prompt_ctx.weight": torch.zeros(2, 2)}
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    loaded(folder)


def test_a_delta_and_a_checkpoint_of_the_middle_of_training_are_refused(made, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = save(made("EomtDinov3ForUniversalSegmentation")[0], tmp_path)
    state = load_file(folder / "model.safetensors")
    save_file(state | {"attn_mask_probs": torch.tensor([0.0, 0.4])}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(BadSuite, match=r"attn_mask_probs are \[0\.0, 0\.4\]: it would draw at random"):
        loaded(folder)
    theirs = {f"network.encoder.backbone.{name}": tensor for name, tensor in state.items()}
    save_file(theirs, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(
        MissingData, match=r"names of EoMT's own code, .* \(a delta\), not weights: convert them"
    ) as said:
        loaded(folder)
    assert "\n" not in str(said.value)


def test_the_preparation_can_be_said_with_its_scale_and_order(made, tmp_path):
    network, folder = made("SegformerForSemanticSegmentation")
    expected = seen(loaded(folder), image())[1].logits
    bare = save(network, tmp_path)
    (bare / "preprocessor_config.json").unlink()
    mean, std = PREPARATION["image_mean"], PREPARATION["image_std"]
    said = {"mean": [255 * value for value in mean], "std": [255 * value for value in std], "scale": 1}
    torch.testing.assert_close(seen(loaded(bare, **said), image())[1].logits, expected, rtol=1e-4, atol=1e-4)
    turned = loaded(bare, mean=mean[::-1], std=std[::-1], channels="bgr")
    prepared = turned._prepared(torch.from_numpy(image()).permute(2, 0, 1)[None].float())
    plain = loaded(folder)._prepared(torch.from_numpy(image()).permute(2, 0, 1)[None].float())
    torch.testing.assert_close(prepared, plain.flip(1))
    with pytest.raises(BadSuite, match="scale and channels go with mean and std"):
        registry.build("model", "transformers", {"folder": str(bare), "scale": 1}, where="x.yaml")


def test_younger_parameters_are_no_part_of_a_key_at_their_default(made):
    from bench.suite import parameters

    folder = str(made("SegformerForSemanticSegmentation")[1])
    plain = registry.build("model", "transformers", {"folder": folder}, where="x.yaml")
    assert not {"scale", "channels", "post_processing"} & parameters.values(plain).keys()
    assert not {"scale", "channels", "post_processing"} & parameters.defaults(type(plain)).keys()
    said = {"folder": folder, "mean": [0, 0, 0], "std": [1, 1, 1], "channels": "bgr"}
    assert parameters.values(registry.build("model", "transformers", said, where="x.yaml"))["channels"] == "bgr"


PROCESSORS = {
    "SegformerForSemanticSegmentation": ({"size": {"height": 64, "width": 96}}, {"size": [64, 96]}),
    "DPTForSemanticSegmentation": ({"size": 64, "resample": 2, "ensure_multiple_of": 1}, {"size": [64, 64]}),
    "Mask2FormerForUniversalSegmentation": (
        {"size": {"shortest_edge": 70, "longest_edge": 100}},
        {"shortest": 70, "longest": 100, "multiple": 32},
    ),
    "MaskFormerForInstanceSegmentation": (
        {"size": {"shortest_edge": 70, "longest_edge": 100}, "size_divisor": 16},
        {"shortest": 70, "longest": 100, "multiple": 16},
    ),
    "OneFormerForUniversalSegmentation": (
        {"size": {"shortest_edge": 64, "longest_edge": 90}},
        {"shortest": 64, "longest": 90},
    ),
    "EomtForUniversalSegmentation": (
        {"size": {"shortest_edge": 64, "longest_edge": None}, "do_split_image": True},
        {"shortest": 64, "window": [64, 64], "spacing": "even"},
    ),
}


@pytest.mark.parametrize("size", [(83, 131), (131, 83), (50, 170)], ids=str)
@pytest.mark.parametrize("name", PROCESSORS)
def test_sizes_by_the_processors_rule_give_what_processor_network_and_post_processing_give(made, tmp_path, name, size):
    """From the pixels of a file to scores at its size, by transformers alone and by this program."""
    network, folder = made(name)
    settings, rule = PROCESSORS[name]
    place = save(network, tmp_path)
    (place / "preprocessor_config.json").write_text(json.dumps(PREPARATION | settings))
    given = {"post_processing": "transformers"} if name in MASKS else {}
    model = loaded(place, inference=rule | {"resize": "pil"}, sizes="processor", **given)
    own = processor(name)(**PREPARATION | settings)
    pixels = image(*size)
    inputs = own(images=pixels, **({"task_inputs": ["semantic"]} if "OneFormer" in name else {}))
    views, merged = seen(model, pixels)
    prepared = [torch.as_tensor(np.asarray(part)) for part in inputs["pixel_values"]]
    assert len(prepared) == len(views)
    more = {"task_inputs": words(folder)} if name.startswith("OneFormer") else {}
    with torch.no_grad():
        returned = [network(pixel_values=part[None], **more) for part in prepared]
    answer = returned[0]
    if name in MASKS:
        answer.class_queries_logits = torch.cat([part.class_queries_logits for part in returned])
        answer.masks_queries_logits = torch.cat([part.masks_queries_logits for part in returned])
        answer.patch_offsets = [tuple(offset) for offset in inputs.get("patch_offsets", [])] or None
    (wanted,) = own.post_process_semantic_segmentation(answer, target_sizes=[size], return_segmentation_scores=True)
    checks.outputs([prediction for _, prediction in views], name)
    scores = merged.class_scores if name in MASKS else merged.logits
    wanted = wanted["segmentation_scores"]
    # The processor normalises in float64: what that moves is small beside the largest score.
    torch.testing.assert_close(scores, wanted, rtol=1e-5, atol=1e-5 * max(1, float(wanted.abs().max())))


def test_edges_are_those_of_transformers():
    from transformers.image_transforms import get_size_with_aspect_ratio

    from bench.models import sizing

    rng = np.random.default_rng(0)
    for height, width in rng.integers(20, 4000, (500, 2)).tolist():
        rule = inference.Inference(shortest=800, longest=1333)
        assert sizing.resized((height, width), rule) == get_size_with_aspect_ratio((height, width), 800, 1333)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"size": 64},
            r"gives images other sizes than inference does; say inference: \{size: \[64, 64\], resize: pil\}",
        ),
        ({"size": {"height": 64, "width": 64}, "do_center_crop": True}, r"it crops images; leave sizes out"),
        ({"size": {"height": 64, "width": 64}, "resample": 3}, r"it resizes by the filter 3 of Pillow"),
        ({"size": {"max_height": 4}}, r"its size is \{'max_height': 4\}"),
        ({}, r"it says no size"),
        ({"size": 64, "keep_aspect_ratio": True}, r"it keeps the proportions that are nearest"),
    ],
    ids=str,
)
def test_an_inference_that_is_not_the_processors_is_refused_where_it_must_be(made, tmp_path, settings, said):
    folder = save(made("SegformerForSemanticSegmentation")[0], tmp_path)
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPARATION | settings))
    loaded(folder)
    with pytest.raises(BadSuite, match=said):
        loaded(folder, sizes="processor")
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPARATION | {"do_resize": False}))
    loaded(folder, sizes="processor")


CHECKED = """
protocols: [misclassification]
models:
  - transformers: {folder: net, inference: INFERENCE}
datasets:
  - toytown: {split: anomaly, images: 2, height: 64, width: 128}
methods: [mask_max]
bootstrap: 0
"""


@pytest.mark.parametrize(
    ("how", "fits"),
    [
        ("{}", False),
        ("{window: [64, 64]}", False),  # an image of 50 rows would be seen as it is
        ("{shortest: 64, longest: 90, window: [64, 64]}", False),
        ("{shortest: 64, window: [64, 64]}", True),
        ("{shortest: 64, window: [64, 64], spacing: even}", True),
        ("{shortest: 128, window: [64, 64], scales: [0.5, 1.0]}", True),
        ("{shortest: 64, window: [64, 64], scales: [0.5, 1.0]}", False),
        ("{size: [64, 64]}", True),
        ("{shortest: 64, longest: 64, pad: [64, 64]}", True),
        ("{pad: [64, 64]}", False),
        ("{size: [64, 128], window: [64, 64]}", True),
        ("{multiple: 64, fit: pad, window: [64, 64]}", True),
    ],
)
def test_a_network_of_squares_says_beforehand_how_to_give_them(made, tmp_path, capsys, how, fits):
    save(made("EomtForUniversalSegmentation")[0], tmp_path / "net")
    named = str(list(CLASSES))
    text = CHECKED.replace("INFERENCE", how).replace("misclassification", "anomaly")
    (tmp_path / "x.yaml").write_text(text.replace("net,", f"net, classes: {named},"))
    model = {"folder": str(tmp_path / "net"), "inference": yaml.safe_load(how)}
    built = registry.build("model", "transformers", model, where="x.yaml")
    if fits:
        built.check()
        (made_of,) = {view.input_size for view, _ in seen(load(built, "cpu"), image(50, 120))[0]}
        assert made_of == (SIDE, SIDE)
        return
    assert main(["check", str(tmp_path / "x.yaml")]) == 2
    shown = capsys.readouterr()
    assert (
        "takes 64 x 64 pixels alone, images have many sizes; say inference: {shortest: 64, window: [64, 64], s"
        in shown.err
    )
