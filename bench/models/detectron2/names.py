"""Mask2Former of detectron2 and of transformers: names of tensors both ways, and the configuration that shapes imply.

The names are those that files of the two projects hold: facebookresearch/Mask2Former with the backbones of detectron2
(``backbone.``, ``sem_seg_head.pixel_decoder.``, ``sem_seg_head.predictor.``), and what ``save_pretrained`` of
transformers writes. Tensors are equal but for the projections of queries, keys and values, which the one stacks and the
other keeps apart.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.core.errors import MissingData
from bench.core.weight_names import COUNTER, groups, matched

BACKBONE = "model.pixel_level_module.encoder."
PIXELS = "model.pixel_level_module.decoder."
QUERIES = "model.transformer_module."
POINTS = 4  # at which deformable attention looks, per head and level; a constant of both projects
RECOMPUTED = ".relative_position_index"  # of Swin: follows from the size of its window
NORMALISATION = ("pixel_mean", "pixel_std")  # that some files hold beside the network
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # of its configs for Cityscapes, pixels in 0..255
STAGES = range(4)
PARTS = ("backbone.", "sem_seg_head.", "criterion.empty_weight", *NORMALISATION)
CORE = (
    *("sem_seg_head.predictor.class_embed.weight", "sem_seg_head.predictor.query_feat.weight"),
    "sem_seg_head.pixel_decoder.mask_features.weight",
)
MOST_LEVELS = 3  # maps of features that queries look at


@dataclass(frozen=True)
class Rule:
    """The name that a tensor has in detectron2 and those of its equal parts in transformers; ``#`` is a number."""

    theirs: str
    ours: tuple[str, ...]

    def split(self, name: str) -> tuple[str, ...]:
        """Return the names in transformers of what is called ``name`` in detectron2; none where it is another."""
        match = _pattern(self.theirs).fullmatch(name)
        return tuple(_numbered(each, match.groups()) for each in self.ours) if match else ()

    def joined(self, name: str) -> str:
        """Return the name in detectron2 of what ``name`` is in transformers, or is a part of; empty for another."""
        matches = (match for each in self.ours if (match := _pattern(each).fullmatch(name)))
        return next((_numbered(self.theirs, match.groups()) for match in matches), "")


@cache
def _pattern(template: str) -> re.Pattern[str]:
    escaped = re.escape(template)
    return re.compile(escaped.replace(r"\#", r"(\d+)").replace(r"\*", r"(weight|bias)").replace(r"\~", _NORM))


_NORM = r"(weight|bias|running_mean|running_var|num_batches_tracked)"


def _numbered(template: str, values: tuple[str, ...]) -> str:
    rest = iter(values)
    return re.sub(r"[#*~]", lambda _: next(rest), template)


def _rules() -> Iterator[Rule]:
    block, inside = "backbone.layers.#.blocks.#.", f"{BACKBONE}encoder.layers.#.blocks.#."
    yield Rule("backbone.patch_embed.proj.*", (f"{BACKBONE}embeddings.patch_embeddings.projection.*",))
    yield Rule("backbone.patch_embed.norm.*", (f"{BACKBONE}embeddings.norm.*",))
    for theirs, ours in (
        ("norm1.*", "layernorm_before.*"), ("norm2.*", "layernorm_after.*"),
        ("mlp.fc1.*", "intermediate.dense.*"), ("mlp.fc2.*", "output.dense.*"),
        ("attn.proj.*", "attention.output.dense.*"),
        ("attn.relative_position_bias_table", "attention.self.relative_position_bias_table"),
    ):  # fmt: skip
        yield Rule(block + theirs, (inside + ours,))
    parts = ("query", "key", "value")
    yield Rule(f"{block}attn.qkv.*", tuple(f"{inside}attention.self.{part}.*" for part in parts))
    for name in ("norm", "reduction"):
        yield Rule(f"backbone.layers.#.downsample.{name}.*", (f"{BACKBONE}encoder.layers.#.downsample.{name}.*",))
    for stage in STAGES:
        yield Rule(f"backbone.norm{stage}.*", (f"{BACKBONE}hidden_states_norms.stage{stage + 1}.*",))
    yield from _of_resnet()
    yield from _of_pixels()
    yield from _of_queries()


def _of_resnet() -> Iterator[Rule]:
    def pair(theirs: str, ours: str) -> Iterator[Rule]:
        yield Rule(f"{theirs}.weight", (f"{ours}.convolution.weight",))
        yield Rule(f"{theirs}.norm.~", (f"{ours}.normalization.~",))

    yield from pair("backbone.stem.conv1", f"{BACKBONE}embedder.embedder")
    for stage in STAGES:
        theirs, ours = f"backbone.res{stage + 2}.#", f"{BACKBONE}encoder.stages.{stage}.layers.#"
        yield from pair(f"{theirs}.shortcut", f"{ours}.shortcut")
        for layer in range(3):
            yield from pair(f"{theirs}.conv{layer + 1}", f"{ours}.layer.{layer}")


def _of_pixels() -> Iterator[Rule]:
    head = "sem_seg_head.pixel_decoder."
    layer, inside = f"{head}transformer.encoder.layers.#.", f"{PIXELS}encoder.layers.#."
    yield Rule(f"{head}input_proj.#.#.*", (f"{PIXELS}input_projections.#.#.*",))
    yield Rule(f"{head}transformer.level_embed", (f"{PIXELS}level_embed",))
    yield Rule(f"{head}mask_features.*", (f"{PIXELS}mask_projection.*",))
    same = [f"self_attn.{name}" for name in ("sampling_offsets", "attention_weights", "value_proj", "output_proj")]
    for theirs, ours in (
        ("norm1", "self_attn_layer_norm"), ("norm2", "final_layer_norm"), ("linear1", "fc1"), ("linear2", "fc2"),
        *zip(same, same, strict=True),
    ):  # fmt: skip
        yield Rule(f"{layer}{theirs}.*", (f"{inside}{ours}.*",))
    for name in ("adapter", "layer"):
        yield Rule(f"{head}{name}_#.weight", (f"{PIXELS}{name}_#.0.weight",))
        yield Rule(f"{head}{name}_#.norm.*", (f"{PIXELS}{name}_#.1.*",))


def _of_queries() -> Iterator[Rule]:
    head, inside = "sem_seg_head.predictor.", f"{QUERIES}decoder.layers.#."
    own, crossed, dense = (
        f"{head}transformer_{kind}_layers.#." for kind in ("self_attention", "cross_attention", "ffn")
    )
    for theirs, ours in (
        ("query_feat.weight", "queries_features.weight"), ("query_embed.weight", "queries_embedder.weight"),
        ("level_embed.weight", "level_embed.weight"), ("input_proj.#.*", "input_projections.#.*"),
        ("decoder_norm.*", "decoder.layernorm.*"),
        ("mask_embed.layers.#.*", "decoder.mask_predictor.mask_embedder.#.0.*"),
    ):  # fmt: skip
        yield Rule(head + theirs, (QUERIES + ours,))
    for kind in ("weight", "bias"):
        parts = tuple(f"{inside}self_attn.{part}_proj.{kind}" for part in "qkv")
        yield Rule(f"{own}self_attn.in_proj_{kind}", parts)
        yield Rule(f"{crossed}multihead_attn.in_proj_{kind}", (f"{inside}cross_attn.in_proj_{kind}",))
    yield Rule(f"{own}self_attn.out_proj.*", (f"{inside}self_attn.out_proj.*",))
    yield Rule(f"{own}norm.*", (f"{inside}self_attn_layer_norm.*",))
    yield Rule(f"{crossed}multihead_attn.out_proj.*", (f"{inside}cross_attn.out_proj.*",))
    yield Rule(f"{crossed}norm.*", (f"{inside}cross_attn_layer_norm.*",))
    for theirs, ours in (("linear1", "fc1"), ("linear2", "fc2"), ("norm", "final_layer_norm")):
        yield Rule(f"{dense}{theirs}.*", (f"{inside}{ours}.*",))
    yield Rule(f"{head}class_embed.*", ("class_predictor.*",))
    yield Rule("criterion.empty_weight", ("criterion.empty_weight",))


RULES = tuple(_rules())


def to_transformers(state: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Return the tensors under the names of transformers. Raise MissingData for one that no Mask2Former has.

    ``path`` is the file that they are from, for messages.
    """
    converted: dict[str, Tensor] = {}
    strange = []
    for name, tensor in state.items():
        if name in NORMALISATION:
            continue
        if name.endswith(RECOMPUTED):
            _check_index(name, tensor, state[name.replace("_index", "_bias_table")], path)
            continue
        named = next((parts for rule in RULES if (parts := rule.split(name))), ())
        if not named:
            strange.append(name)
        elif len(named) == 1:
            converted[named[0]] = tensor
        else:
            converted |= dict(zip(named, (part.clone() for part in tensor.chunk(len(named))), strict=True))
    if strange:
        raise MissingData(
            f"weights {path} are no Mask2Former of detectron2 with a Swin or a ResNet that is known here:"
            f" {len(strange)} tensors are others (first: {min(strange)})"
        )
    return converted


def to_detectron2(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors under the names of detectron2, the inverse of ``to_transformers``. Raise KeyError for others."""
    converted: dict[str, Tensor] = {}
    for name in state:
        joined, rule = next(((theirs, rule) for rule in RULES if (theirs := rule.joined(name))), ("", None))
        if rule is None:
            raise KeyError(name)
        if joined in converted:
            continue
        parts = rule.split(joined)
        converted[joined] = state[name] if len(parts) == 1 else torch.cat([state[part] for part in parts])
        if name.endswith("relative_position_bias_table"):
            converted[joined.replace("_bias_table", "_index")] = _position_index(_window(state[name]))
    return converted


def own(state: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Return what a file holds of one Mask2Former, under the names of detectron2, without what stands before them all.

    An average over the training beside the weights themselves, and what is not the network's, is left. Raise
    MissingData where two networks fit, and for numbers that are no floats.
    """
    state = _present(state)
    match = matched(state, CORE, lambda theirs, name: True)
    if match is None:
        return state
    if match.others:
        prefixes = " and behind ".join([match.prefix, *match.others])
        raise MissingData(
            f"weights {path} fit the network behind {prefixes}; say which is meant, such as part: {match.prefix}"
        )
    begun = tuple(f"{match.prefix}{part}" for part in PARTS)
    held = {name.removeprefix(match.prefix): tensor for name, tensor in state.items() if name.startswith(begun)}
    for name, tensor in held.items():
        if not tensor.is_floating_point() and not name.endswith((RECOMPUTED, COUNTER)):
            raise MissingData(
                f"weights {path}: {name} is {str(tensor.dtype).removeprefix('torch.')}, the network wants float32; save"
                " the weights as they were before they were converted"
            )
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in held.items()}


def normalisation(state: Mapping[str, Tensor]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and deviation of pixels in 0..255, R, G, B: those that stand in the file, else of its configs."""
    mean, std = (
        tuple(state[name].flatten().tolist()) if name in state else known
        for name, known in zip(NORMALISATION, (MEAN, STD), strict=True)
    )
    return mean, std


def described(state: Mapping[str, Tensor], path: Path) -> dict[str, Any]:
    """Return the configuration that the shapes of a state with the names of detectron2 imply.

    Its keys are parameters of transformers' Mask2FormerConfig, but for ``levels``, the maps of features that the
    queries look at: three in Mask2Former, one in the networks of RbA. Raise MissingData where it is no Mask2Former.
    """
    head = "sem_seg_head."
    try:
        classes, queries = state[f"{head}predictor.class_embed.weight"], state[f"{head}predictor.query_feat.weight"]
        levels, width = state[f"{head}pixel_decoder.transformer.level_embed"].shape
        if levels > MOST_LEVELS:
            raise MissingData(f"weights {path} look at {levels} maps of features, wanted at most {MOST_LEVELS}")
        layer = f"{head}pixel_decoder.transformer.encoder.layers.0."
        heads = len(state[f"{layer}self_attn.attention_weights.weight"]) // (levels * POINTS)
        backbone = _swin(state) if "backbone.patch_embed.proj.weight" in state else _resnet(state)
        return {
            "backbone_config": backbone,
            "levels": levels,
            "feature_size": width,
            "mask_feature_size": len(state[f"{head}pixel_decoder.mask_features.weight"]),
            "hidden_dim": queries.shape[1],
            "num_queries": len(queries),
            "num_labels": len(classes) - 1,
            "num_attention_heads": heads,
            "encoder_layers": _count(state, f"{head}pixel_decoder.transformer.encoder.layers."),
            "encoder_feedforward_dim": len(state[f"{layer}linear1.weight"]),
            "decoder_layers": 1 + _count(state, f"{head}predictor.transformer_ffn_layers."),
            "dim_feedforward": len(state[f"{head}predictor.transformer_ffn_layers.0.linear1.weight"]),
            "enforce_input_projection": f"{head}predictor.input_proj.0.weight" in state,
        }
    except KeyError as error:
        raise MissingData(
            f"weights {path} are no Mask2Former of detectron2 with a Swin or a ResNet: they lack {error.args[0]};"
            f" names begin with {groups(state)}"
        ) from None


def _swin(state: Mapping[str, Tensor]) -> dict[str, Any]:
    first = "backbone.layers.0.blocks.0."
    tables = [state[f"backbone.layers.{stage}.blocks.0.attn.relative_position_bias_table"] for stage in STAGES]
    projection = state["backbone.patch_embed.proj.weight"]
    return {
        "model_type": "swin",
        "embed_dim": len(projection),
        "patch_size": projection.shape[-1],
        "depths": [_count(state, f"backbone.layers.{stage}.blocks.") for stage in STAGES],
        "num_heads": [table.shape[1] for table in tables],
        "window_size": _window(tables[0]),
        "mlp_ratio": len(state[f"{first}mlp.fc1.weight"]) / len(projection),
        "qkv_bias": f"{first}attn.qkv.bias" in state,
        "drop_path_rate": 0.0,
        "out_features": [f"stage{stage + 1}" for stage in STAGES],
    }


def _resnet(state: Mapping[str, Tensor]) -> dict[str, Any]:
    return {
        "model_type": "resnet",
        "embedding_size": len(state["backbone.stem.conv1.weight"]),
        "hidden_sizes": [len(state[f"backbone.res{stage + 2}.0.conv3.weight"]) for stage in STAGES],
        "depths": [_count(state, f"backbone.res{stage + 2}.") for stage in STAGES],
        "layer_type": "bottleneck",
        "out_features": [f"stage{stage + 1}" for stage in STAGES],
    }


def _present(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state under the names of today: files before version 2 say static_query for query_feat."""
    return {name.replace(".static_query.", ".query_feat."): tensor for name, tensor in state.items()}


def _count(state: Mapping[str, Tensor], start: str) -> int:
    return len({name.removeprefix(start).partition(".")[0] for name in state if name.startswith(start)})


def _window(table: Tensor) -> int:
    return (math.isqrt(len(table)) + 1) // 2


def _position_index(window: int) -> Tensor:
    """int64 [w w, w w]: the row of the bias table for each pair of places in a window, as Swin numbers them."""
    places = torch.stack(torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")).flatten(1)
    apart = places[:, :, None] - places[:, None] + window - 1
    return apart[0] * (2 * window - 1) + apart[1]


def _check_index(name: str, index: Tensor, table: Tensor, path: Path) -> None:
    if not torch.equal(index.long(), _position_index(_window(table))):
        raise MissingData(f"weights {path}: {name} numbers the places of a window otherwise than Swin does")
