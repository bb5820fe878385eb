"""The name that somebody meant, or none."""

import pytest

from bench.core import suggestions

MODELS = [
    "command",
    "exported",
    "mmseg",
    "onnx",
    "precomputed",
    "python",
    "segformer_b2_cityscapes",
    "toynet",
    "transformers",
]
METRICS = ["ap", "auroc", "fpr95", "miou"]


@pytest.mark.parametrize(
    ("name", "known", "near"),
    [
        ("eomt", MODELS, None),
        ("erfnet", MODELS, None),
        ("acdc", ["coco", "cityscapes"], None),
        ("ToyNet", MODELS, "toynet"),
        ("tonet", MODELS, "toynet"),
        ("segformer", MODELS, "segformer_b2_cityscapes"),
        ("Segformer-B2-Cityscapes", MODELS, "segformer_b2_cityscapes"),
        ("temp", ["temperature", "label"], "temperature"),
        ("thesis.yml", ["thesis.yaml", "demo.yaml"], "thesis.yaml"),
        ("", MODELS, None),
        ("x", [], None),
        ("mps", ["sml", "msp", "odin"], "msp"),
        ("xyz", ["sml", "msp", "odin"], None),
    ],
)
def test_only_what_is_like_a_name_is_suggested(name, known, near):
    assert suggestions.nearest(name, known) == near


@pytest.mark.parametrize("name", ["auprc", "AUPRC", "aupr", "pr_auc", "average_precision"])
def test_other_words_for_average_precision_lead_to_it_with_a_note(name):
    assert suggestions.advice("metric", name, METRICS).startswith("here it is 'ap'; areas under the same curve differ")
    assert "'ap'" not in suggestions.advice("metric", name, ["auroc"])


def test_what_is_not_built_in_is_said_to_be_so_with_the_next_step():
    assert "'bench list models'" in suggestions.advice("model", "eomt", MODELS)
    assert "'bench new model NAME'" in suggestions.advice("model", "eomt", MODELS)
    assert suggestions.advice("axis", "zzz", ["method", "model"]) == "known: method, model"


def test_a_file_of_a_like_name_is_suggested(tmp_path):
    (tmp_path / "thesis").mkdir()
    assert suggestions.sibling(tmp_path / "thesi") == f"; did you mean '{tmp_path / 'thesis'}'?"
    assert suggestions.sibling(tmp_path / "other") == ""
    assert suggestions.sibling(tmp_path / "absent" / "other") == ""
