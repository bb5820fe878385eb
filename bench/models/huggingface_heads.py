"""What the architectures of transformers give beside their logits, and where in them it stands."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

SEMANTIC = "ForSemanticSegmentation"  # how the architectures with logits end


@dataclass(frozen=True)
class Dense:
    """A network of logits. Where one 1 x 1 convolution makes them, it is named, and the dropout before it."""

    classifier: str = ""
    dropout: str = ""

    @property
    def outputs(self) -> frozenset[str]:
        named = {"features", "classify"} if self.classifier else set()
        return frozenset({"logits", "forward"} | named | ({"dropout"} if self.dropout else set()))


@dataclass(frozen=True)
class Masks:
    """A mask classifier: submodules whose answers are its mask features and the embeddings of its queries.

    ``whole`` is called at once, with nothing listened to inside it. ``scored_at`` is where transformers'
    post-processing weighs masks: at a size, at that of the ``view``, or at the masks' ``own``.
    """

    pixels: str
    embeddings: str
    whole: str
    scored_at: tuple[int, int] | str
    fixed: bool = False  # takes squares of ``image_size`` alone
    text: bool = False  # wants the words of a task beside the image
    training_alone: tuple[str, ...] = ()  # how names of weights begin that only training reads

    outputs = frozenset(
        {"class_scores", "query_logits", "query_masks", "query_embeddings", "mask_features", "features"}
    )


EOMT = Masks("upscale_block", "mask_head", "embeddings", "view", fixed=True)
UPER = Dense("decode_head.classifier")
DEEPLAB = Dense("segmentation_head.classifier", "segmentation_head.dropout")
KNOWN: Mapping[str, Dense | Masks] = {
    "SegformerForSemanticSegmentation": Dense("decode_head.classifier", "decode_head.dropout"),
    "UperNetForSemanticSegmentation": UPER,
    "BeitForSemanticSegmentation": UPER,
    "Data2VecVisionForSemanticSegmentation": UPER,
    "DPTForSemanticSegmentation": Dense("head.head.4", "head.head.3"),
    "MobileViTForSemanticSegmentation": DEEPLAB,
    "MobileViTV2ForSemanticSegmentation": DEEPLAB,
    "MobileNetV2ForSemanticSegmentation": DEEPLAB,
    "MaskFormerForInstanceSegmentation": Masks(
        "model.pixel_level_module", "mask_embedder", "model.pixel_level_module.encoder", "own"
    ),
    "Mask2FormerForUniversalSegmentation": Masks(
        "model.pixel_level_module",
        "model.transformer_module.decoder.mask_predictor.mask_embedder",
        "model.pixel_level_module.encoder",
        (384, 384),
    ),
    "OneFormerForUniversalSegmentation": Masks(
        "model.pixel_level_module",
        "model.transformer_module.decoder.mask_embed",
        "model.pixel_level_module.encoder",
        "own",
        text=True,
        training_alone=("model.text_mapper.",),
    ),
    "EomtForUniversalSegmentation": EOMT,
    "EomtDinov3ForUniversalSegmentation": EOMT,
}


def of(architecture: str) -> Dense | Masks | None:
    """Return what an architecture gives; None of one that gives no map of classes."""
    return KNOWN.get(architecture) or (Dense() if architecture.endswith(SEMANTIC) else None)


def outputs(network: nn.Module, head: Dense | Masks, pixels: Tensor, words: Tensor | None = None) -> dict[str, Tensor]:
    """Return what a network says of prepared float32 [n, 3, h, w] by name, each with a batch axis.

    ``features`` [n, D, h', w'] are what the classifier sees; of a mask classifier the last of its backbone.
    ``mask_features`` [n, E, h', w'] times ``query_embeddings`` [n, Q, E] are ``query_masks`` [n, Q, h', w'].
    ``words`` [1, length] are the tokens of a task.
    """
    paths = [head.pixels, head.embeddings] if isinstance(head, Masks) else [head.classifier] if head.classifier else []
    given: dict[str, Any] = {} if words is None else {"task_inputs": words.expand(len(pixels), -1)}
    with _listening(network, paths) as heard:
        returned = network(pixel_values=pixels, **given)
    if isinstance(head, Dense):
        return {"logits": returned.logits} | ({"features": heard[head.classifier][0]} if head.classifier else {})
    features, mask_features = _maps(network, heard[head.pixels][1], returned)
    embeddings = heard[head.embeddings][1]
    return {
        "query_logits": returned.class_queries_logits,
        "query_masks": returned.masks_queries_logits,
        "query_embeddings": embeddings[-1] if embeddings.ndim == 4 else embeddings,  # of all layers, the last
        "mask_features": mask_features,
        "features": features,
    }


def _maps(network: Any, answer: Any, returned: Any) -> tuple[Tensor, Tensor]:
    """Return the features and the mask features, [n, D, h, w] each."""
    if hasattr(network, "upscale_block"):  # EoMT, whose backbone is all of it: the patches among its tokens
        start = network.config.num_queries + network.embeddings.num_prefix_tokens
        patches = returned.last_hidden_state[:, start:].transpose(1, 2)
        return patches.unflatten(2, network.grid_size), answer
    if hasattr(answer, "decoder_last_feature"):
        return answer.encoder_features[-1], answer.decoder_last_feature
    return answer.encoder_last_hidden_state, answer.decoder_last_hidden_state


@contextlib.contextmanager
def _listening(network: nn.Module, paths: Collection[str]) -> Iterator[dict[str, tuple[Any, Any]]]:
    """Inside the context, the first input and the answer of submodules are kept by path; of several calls, the last."""
    heard: dict[str, tuple[Any, Any]] = {}

    def listener(path: str) -> Any:
        def keep(_: nn.Module, inputs: tuple[Any, ...], answer: Any) -> None:
            heard[path] = inputs[0] if inputs else None, answer

        return keep

    hooks = [network.get_submodule(path).register_forward_hook(listener(path)) for path in paths]
    try:
        yield heard
    finally:
        for hook in hooks:
            hook.remove()
