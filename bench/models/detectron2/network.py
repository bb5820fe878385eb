"""A Mask2Former made of a state with the names of detectron2, and the folder that transformers reads it from."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import transformers
from safetensors.torch import save
from torch import Tensor

from bench.api import CITYSCAPES
from bench.core import files
from bench.core.errors import MissingData
from bench.models.detectron2 import names
from bench.models.detectron2.levels import Mask2FormerWithLevels

# Of transformers' own that no forward pass reads: the last normalisation of Swin, and a weight of its loss.
IDLE = (".swin.layernorm.weight", ".swin.layernorm.bias", "encoder.layernorm.weight", "encoder.layernorm.bias")
LOSS = "criterion.empty_weight"
STRIDE = 32  # images are extended to multiples of it, as its configs say (size_divisibility)
PROCESSOR = "Mask2FormerImageProcessor"


def made(state: Mapping[str, Tensor], path: Path) -> Mask2FormerWithLevels:
    """Return the network that a state describes, with its weights, on the CPU. Raise MissingData for any other.

    ``path`` is the file that the state is from, for messages.
    """
    config = configuration(state, path)
    converted = names.to_transformers(state, path)
    with _quiet():
        network, report = Mask2FormerWithLevels.from_pretrained(
            None, config=config, state_dict=converted, output_loading_info=True, ignore_mismatched_sizes=True,
            dtype="float32",
        )  # fmt: skip
    wrong = [str(key[0] if isinstance(key, tuple) else key) for key in report["mismatched_keys"]]
    missing = [name for name in report["missing_keys"] if not name.endswith((*IDLE, LOSS, "num_batches_tracked"))]
    amiss = {"missing": missing, "surplus": report["unexpected_keys"], "of another shape": wrong}
    parts = [f"{len(each)} {what} (first: {min(each)})" for what, each in amiss.items() if each]
    if parts:
        raise MissingData(f"weights {path} do not fit the Mask2Former that their shapes describe: {', '.join(parts)}")
    loaded: Mask2FormerWithLevels = network
    return loaded


def configuration(state: Mapping[str, Tensor], path: Path, classes: Sequence[str] = ()) -> Any:
    """Return transformers' configuration for a state with the names of detectron2, with ``feature_levels`` in it."""
    described = names.described(state, path)
    backbone, count, levels = (described.pop(name) for name in ("backbone_config", "num_labels", "levels"))
    kinds = {"swin": transformers.SwinConfig, "resnet": transformers.ResNetConfig}
    labels = list(classes) or [f"LABEL_{number}" for number in range(count)]
    if len(labels) != count:
        raise MissingData(f"weights {path} tell {count} classes apart, {len(labels)} are named")
    with _quiet():
        return transformers.Mask2FormerConfig(
            backbone_config=kinds[backbone.pop("model_type")](**backbone),
            id2label=dict(enumerate(labels)),
            label2id={label: number for number, label in enumerate(labels)},
            feature_levels=levels,
            **described,
        )


def classes_of(state: Mapping[str, Tensor], path: Path) -> tuple[str, ...]:
    """Return names for the classes that a state tells apart, by their number."""
    count = names.described(state, path)["num_labels"]
    known = {len(CITYSCAPES): CITYSCAPES, len(CITYSCAPES) + 1: (*CITYSCAPES, "negative")}
    return known.get(count) or tuple(f"LABEL_{number}" for number in range(count))


def write(state: Mapping[str, Tensor], path: Path, classes: Sequence[str], folder: Path) -> str:
    """Write what transformers reads a Mask2Former from: its configuration, its normalisation and its weights.

    Return what was written, in one line. Raise MissingData for a network that no class of transformers has.
    """
    config = configuration(state, path, classes)
    if config.feature_levels != names.MOST_LEVELS:
        raise MissingData(
            f"weights {path} are of a Mask2Former whose queries look at {config.feature_levels} map of features, where"
            f" every one of transformers looks at {names.MOST_LEVELS}; name the file itself in a suite, by the model"
            " mask2former_detectron2"
        )
    network = made(state, path)
    config.architectures = ["Mask2FormerForUniversalSegmentation"]
    mean, std = names.normalisation(state)
    prepared = {
        "image_processor_type": PROCESSOR,
        "do_normalize": True,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "image_mean": [value / 255 for value in mean],
        "image_std": [value / 255 for value in std],
        "do_resize": False,
        "size_divisor": STRIDE,
        "num_labels": len(classes),
    }
    held = names.to_transformers(state, path)
    own = {name: tensor for name, tensor in network.state_dict().items() if name.endswith((*IDLE, LOSS))}
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (("config.json", config.to_dict()), ("preprocessor_config.json", prepared)):
        with files.writing(folder / name, "w") as file:
            json.dump(content, file, indent=2, sort_keys=True)
    tensors = {name: tensor.contiguous().clone() for name, tensor in (own | held).items()}
    with files.writing(folder / "model.safetensors") as file:
        file.write(save(tensors, metadata={"format": "pt"}))
    layers = config.decoder_layers - 1
    return (
        f"{folder}: Mask2Former on {config.backbone_config.model_type}, {layers} decoder layer{'s' * (layers != 1)},"
        f" {config.num_queries} queries, {len(classes)} classes; in a suite: transformers: {{folder: {folder}}}"
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No bars, no report and no warnings of its own: what is wrong is said by us, in one line."""
    from transformers.utils import logging

    bars, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
