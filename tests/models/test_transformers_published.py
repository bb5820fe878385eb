"""Ready names of the hub: what they take, what they refuse, and that they are the network of the repository."""

import json

import pytest
import torch

from bench.api import CITYSCAPES
from bench.cli.main import main
from bench.contract.network import loaded
from bench.core.errors import BadSuite
from bench.models import huggingface_published
from bench.suite import parameters, registry

transformers = pytest.importorskip("transformers", reason="the extra transformers is not installed")

NAMES = [f"segformer_b{size}_cityscapes_hf" for size in range(6)]
NAMES += [f"mask2former_swin_{size}_cityscapes" for size in ("tiny", "small", "base", "large")]
NAMES += ["eomt_large_cityscapes"]
COMMIT = "0123456789" * 4


def make(name, **given):
    return registry.build("model", name, given, where="x.yaml")


def segformer(labels=None):
    sizes = {"depths": [1] * 4, "hidden_sizes": [8, 8, 16, 16], "num_attention_heads": [1, 1, 2, 2]}
    names = dict(enumerate(labels or CITYSCAPES))
    return transformers.SegformerForSemanticSegmentation(
        transformers.SegformerConfig(**sizes, decoder_hidden_size=16, id2label=names)
    )


def save(network, folder):
    transformers.utils.logging.disable_progress_bar()
    network.save_pretrained(folder)
    transformers.utils.logging.enable_progress_bar()
    settings = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_a_name_wants_a_commit_or_a_folder_and_says_of_what(name):
    cls = registry.plugin("model", name, where="x")
    with pytest.raises(BadSuite, match=rf"say which commit of {cls.repository} on the hub it is, revision: .* folder:"):
        make(name).check()
    with pytest.raises(BadSuite, match=r"revision is a commit, 40 hexadecimal digits: a branch or a tag can move"):
        make(name, revision="main")
    with pytest.raises(BadSuite, match=r"a revision is one of the hub, a folder has none"):
        make(name, revision=COMMIT, folder="x")
    network = make(name, revision=COMMIT)._network()
    assert (network.hub, network.revision, network.classes) == (cls.repository, COMMIT, CITYSCAPES)
    assert network.inference == make(name).inference


def test_sizes_stay_those_it_was_published_for_where_a_suite_does_not_say_them():
    plain = make("mask2former_swin_large_cityscapes").inference
    assert (plain.shortest, plain.longest, plain.multiple, plain.resize) == (1024, 2048, 32, "pil")
    flipped = make("mask2former_swin_large_cityscapes", inference={"flip": True}).inference
    assert flipped.flip and (flipped.shortest, flipped.longest) == (1024, 2048)
    sized = make("mask2former_swin_large_cityscapes", inference={"size": [512, 1024]}).inference
    assert sized.size == (512, 1024) and sized.shortest is sized.longest is None
    assert make("segformer_b5_cityscapes_hf").inference.stride == (768, 768)
    windows = make("eomt_large_cityscapes", inference={"stride": [512, 512]}).inference
    assert (windows.window, windows.stride, windows.spacing) == ((1024, 1024), (512, 512), "stride")


def test_a_copy_in_a_folder_is_the_network_of_transformers(tmp_path):
    torch.manual_seed(0)
    folder = str(save(segformer(), tmp_path))
    ready, plain = make("segformer_b0_cityscapes_hf", folder=folder), make("transformers", folder=folder)
    ready.check()
    assert ready.outputs == plain.outputs and ready.class_names == plain.class_names == CITYSCAPES
    assert ready.digest() != plain.digest()
    assert parameters.values(ready)["inference"]["window"] == [1024, 1024]
    weights = [dict(loaded(model, "cpu").module().state_dict()) for model in (ready, plain)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[1])
    assert loaded(ready, "cpu").model is ready


def test_names_of_classes_may_be_absent_but_not_others(tmp_path):
    unnamed = save(segformer([f"LABEL_{index}" for index in range(19)]), tmp_path / "unnamed")
    make("segformer_b0_cityscapes_hf", folder=str(unnamed)).check()
    turned = [CITYSCAPES[1], CITYSCAPES[0], *CITYSCAPES[2:]]
    other = save(segformer(turned), tmp_path / "other")
    with pytest.raises(BadSuite, match=r"names the class 'sidewalk' where Cityscapes has 'road'"):
        make("segformer_b0_cityscapes_hf", folder=str(other)).check()
    fewer = save(segformer(CITYSCAPES[:5]), tmp_path / "fewer")
    with pytest.raises(BadSuite, match=r"has 5 classes, the suite names 19; name all 5, in their order: classes:"):
        make("segformer_b0_cityscapes_hf", folder=str(fewer)).check()


def test_what_class_scores_are_made_of_can_be_chosen_of_mask_classifiers_alone():
    ready = make("mask2former_swin_tiny_cityscapes", revision=COMMIT, post_processing="transformers")
    assert ready._network().post_processing == "transformers"
    with pytest.raises(Exception, match=r"unknown parameter of model 'segformer_b0_cityscapes_hf': 'post_processing'"):
        make("segformer_b0_cityscapes_hf", revision=COMMIT, post_processing="transformers")
    assert huggingface_published.SQUARES.window == (1024, 1024)


SUITE = """
protocols: [misclassification]
models:
  - segformer_b0_cityscapes_hf: {folder: net, inference: {window: [64, 64], stride: [32, 32]}, label: ready}
  - MISSING
datasets:
  - toytown: {split: anomaly, images: 2, height: 64, width: 128}
methods: [msp]
bootstrap: 0
"""


def test_a_suite_runs_a_copy_and_check_says_what_is_missing(tmp_path, capsys):
    save(segformer(), tmp_path / "net")
    (tmp_path / "x.yaml").write_text(SUITE.replace("  - MISSING\n", ""))
    argv = ["run", str(tmp_path / "x.yaml"), "--out", str(tmp_path / "run"), "--workers", "0", "--gallery", "0"]
    assert main(argv) == 0
    (tmp_path / "y.yaml").write_text(SUITE.replace("MISSING", "eomt_large_cityscapes"))
    capsys.readouterr()
    assert main(["check", str(tmp_path / "y.yaml")]) == 2
    assert "say which commit of tue-mps/cityscapes_semantic_eomt_large_1024 on the hub it is" in capsys.readouterr().err
