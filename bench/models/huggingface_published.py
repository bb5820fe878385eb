"""Networks of the hub by name, with the sizes that they were published for. Which commit of them is said by a suite."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator

from bench.api import CITYSCAPES, File, Inference, Network, SegModel
from bench.core import files
from bench.core.errors import BadSuite
from bench.models import huggingface_folder, sizing
from bench.models.huggingface import Transformers
from bench.suite.wrappers import class_map

COMMIT = re.compile(r"[0-9a-f]{40}")
UNNAMED = re.compile(r"LABEL_\d+")  # what transformers writes where nobody named a class
SLIDING = Inference(window=(1024, 1024), stride=(768, 768))  # of SegFormer's configs for Cityscapes
# Of configs/cityscapes/semantic-segmentation/Base-Cityscapes-SemanticSegmentation.yaml of Mask2Former, INPUT; the
# multiple is that of transformers' processor.
WHOLE = Inference(shortest=1024, longest=2048, multiple=32, resize="pil")
SQUARES = Inference(shortest=1024, window=(1024, 1024), spacing="even", resize="pil")  # of EoMT, and it takes no other


@dataclass(frozen=True)
class _Published(SegModel):
    """A network of the hub, trained on Cityscapes: a commit of its repository, or a ``folder`` that is a copy of it."""

    repository: ClassVar[str]

    revision: str | None = None  # a commit: 40 hexadecimal digits
    folder: File | None = None

    def __post_init__(self) -> None:
        if self.revision is not None and not COMMIT.fullmatch(self.revision):
            raise ValueError("revision is a commit, 40 hexadecimal digits: a branch or a tag can move")
        if self.revision is not None and self.folder is not None:
            raise ValueError("a revision is one of the hub, a folder has none")

    @property
    def class_names(self) -> tuple[str, ...]:
        return CITYSCAPES

    @property
    def outputs(self) -> frozenset[str]:
        return self._network().outputs

    def check(self) -> None:
        network = self._network()
        network.check()
        named = huggingface_folder.id2label(network.place())
        theirs = [str(named.get(str(index))) for index in range(len(named))]
        if not all(map(UNNAMED.fullmatch, theirs)) and not class_map.same(theirs, CITYSCAPES):
            pairs = zip(theirs, CITYSCAPES, strict=True)
            name, wanted = next(pair for pair in pairs if not class_map.same(pair[:1], pair[1:]))
            raise BadSuite(
                f"model {self.name}: {network.place()} names the class {name!r} where Cityscapes has {wanted!r}; say"
                " transformers: {folder: ..., classes: [NAME, ...]} for a network of other classes"
            )

    def digest(self) -> str:
        parts = self._network().digest(), files.digest(Path(__file__))
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]

    def load(self, device: str) -> Network:
        self.check()
        return self._network().load(device)

    def _network(self) -> Transformers:
        if self.folder is None and self.revision is None:
            raise BadSuite(
                f"model {self.name}: say which commit of {self.repository} on the hub it is, revision: the 40 digits"
                " that its page shows under Files, History; or folder: a copy of it"
            )
        hub = None if self.folder else self.repository
        return Transformers(
            folder=self.folder,
            hub=hub,
            revision=self.revision,
            classes=CITYSCAPES,
            inference=self.inference,
        )


@dataclass(frozen=True)
class _SegFormer(_Published):
    inference: Annotated[Inference, BeforeValidator(sizing.completed(SLIDING))] = field(default=SLIDING, kw_only=True)


@dataclass(frozen=True)
class _Mask2Former(_Published):
    inference: Annotated[Inference, BeforeValidator(sizing.completed(WHOLE))] = field(default=WHOLE, kw_only=True)

    post_processing: Literal["ours", "transformers"] = field(default="ours", kw_only=True)

    def _network(self) -> Transformers:
        return replace(super()._network(), post_processing=self.post_processing)


@dataclass(frozen=True)
class SegFormerB0(_SegFormer):
    """SegFormer with MiT-B0, trained on Cityscapes by its authors; windows of 1024 x 1024 at strides of 768."""

    name = "segformer_b0_cityscapes_hf"
    source = "Xie et al., SegFormer, NeurIPS 2021, arXiv:2105.15203"
    repository = "nvidia/segformer-b0-finetuned-cityscapes-1024-1024"


@dataclass(frozen=True)
class SegFormerB1(_SegFormer):
    """SegFormer with MiT-B1, trained on Cityscapes by its authors; windows of 1024 x 1024 at strides of 768."""

    name = "segformer_b1_cityscapes_hf"
    source = SegFormerB0.source
    repository = "nvidia/segformer-b1-finetuned-cityscapes-1024-1024"


@dataclass(frozen=True)
class SegFormerB2(_SegFormer):
    """SegFormer with MiT-B2, trained on Cityscapes by its authors; windows of 1024 x 1024 at strides of 768."""

    name = "segformer_b2_cityscapes_hf"
    source = SegFormerB0.source
    repository = "nvidia/segformer-b2-finetuned-cityscapes-1024-1024"


@dataclass(frozen=True)
class SegFormerB3(_SegFormer):
    """SegFormer with MiT-B3, trained on Cityscapes by its authors; windows of 1024 x 1024 at strides of 768."""

    name = "segformer_b3_cityscapes_hf"
    source = SegFormerB0.source
    repository = "nvidia/segformer-b3-finetuned-cityscapes-1024-1024"


@dataclass(frozen=True)
class SegFormerB4(_SegFormer):
    """SegFormer with MiT-B4, trained on Cityscapes by its authors; windows of 1024 x 1024 at strides of 768."""

    name = "segformer_b4_cityscapes_hf"
    source = SegFormerB0.source
    repository = "nvidia/segformer-b4-finetuned-cityscapes-1024-1024"


@dataclass(frozen=True)
class SegFormerB5(_SegFormer):
    """SegFormer with MiT-B5, trained on Cityscapes by its authors; windows of 1024 x 1024 at strides of 768."""

    name = "segformer_b5_cityscapes_hf"
    source = SegFormerB0.source
    repository = "nvidia/segformer-b5-finetuned-cityscapes-1024-1024"


@dataclass(frozen=True)
class Mask2FormerTiny(_Mask2Former):
    """Mask2Former with Swin-T, trained on Cityscapes by its authors; whole images of 1024 pixels at least."""

    name = "mask2former_swin_tiny_cityscapes"
    source = "Cheng et al., Masked-attention Mask Transformer..., CVPR 2022, arXiv:2112.01527"
    repository = "facebook/mask2former-swin-tiny-cityscapes-semantic"


@dataclass(frozen=True)
class Mask2FormerSmall(_Mask2Former):
    """Mask2Former with Swin-S, trained on Cityscapes by its authors; whole images of 1024 pixels at least."""

    name = "mask2former_swin_small_cityscapes"
    source = Mask2FormerTiny.source
    repository = "facebook/mask2former-swin-small-cityscapes-semantic"


@dataclass(frozen=True)
class Mask2FormerBase(_Mask2Former):
    """Mask2Former with Swin-B, trained on Cityscapes by its authors; whole images of 1024 pixels at least."""

    name = "mask2former_swin_base_cityscapes"
    source = Mask2FormerTiny.source
    repository = "facebook/mask2former-swin-base-IN21k-cityscapes-semantic"


@dataclass(frozen=True)
class Mask2FormerLarge(_Mask2Former):
    """Mask2Former with Swin-L, trained on Cityscapes by its authors; whole images of 1024 pixels at least."""

    name = "mask2former_swin_large_cityscapes"
    source = Mask2FormerTiny.source
    repository = "facebook/mask2former-swin-large-cityscapes-semantic"


@dataclass(frozen=True)
class EomtLarge(_Published):
    """EoMT with a ViT-L of DINOv2, trained on Cityscapes by its authors; squares of 1024 x 1024."""

    name = "eomt_large_cityscapes"
    source = "Kerssies et al., Your ViT is Secretly an Image Segmentation Model, CVPR 2025, arXiv:2503.19108"
    repository = "tue-mps/cityscapes_semantic_eomt_large_1024"

    inference: Annotated[Inference, BeforeValidator(sizing.completed(SQUARES))] = field(default=SQUARES, kw_only=True)
