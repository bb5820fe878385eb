"""Mask2Former as detectron2 stores it: any checkpoint with a Swin or a ResNet; those of RbA, EAM and UNO by name."""

from __future__ import annotations

import hashlib
import importlib.util
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from bench.api import CITYSCAPES, File, Network, Prediction, SegModel, View
from bench.core import files, weight_files
from bench.core.errors import BadSuite, MissingData, MissingPackage
from bench.models.huggingface import INSTALL
from bench.models.preprocessing import failed
from bench.models.published_file import PublishedFile

if TYPE_CHECKING:
    from torch import Tensor, nn

RBA = "Nayal et al., RbA: Segmenting Unknown Regions Rejected by All, ICCV 2023, arXiv:2211.14293"
EAM = "Grcic et al., On Advantages of Mask-level Recognition for Outlier-aware Segmentation, arXiv:2301.03407"
UNO = "Delic et al., Outlier detection by ensembling uncertainty with negative objectness, arXiv:2402.15374"
ZOO = "MODEL_ZOO.md of NazirNayal8/RbA*"  # the source of its figures, as bench list published has it
BASE, LARGE = 128, 192  # channels of the first stage of Swin-B and Swin-L


@dataclass(frozen=True)
class _Mask2Former(SegModel):
    """What all of them share; a subclass says which file."""

    part: str = field(default="", kw_only=True)  # of the file: an entry, or what names begin with

    @property
    @abstractmethod
    def path(self) -> Path:
        """The file of the weights."""

    @property
    @abstractmethod
    def has_negative(self) -> bool:
        """True where the queries have a logit for "a negative" between those of the classes and of "no object"."""

    width: ClassVar[int | None] = None  # channels of the first stage of its Swin; None is any backbone

    @property
    def outputs(self) -> frozenset[str]:
        negative = {"query_negative"} if self.has_negative else set()
        return frozenset({"class_scores", "query_logits", "query_masks", "raw", "image", "again"} | negative)

    def check(self) -> None:
        if importlib.util.find_spec("transformers") is None:
            raise MissingPackage(f"{self._who}: transformers is not installed; {INSTALL}")
        self.check_file(self._who)

    def check_file(self, who: str) -> None:
        """Raise MissingData where the weights are absent or something else."""
        weight_files.check(self.path, who)

    def digest(self) -> str:
        code = sorted((Path(__file__).with_name("detectron2")).glob("*.py"))
        parts = [weight_files.digest(self.path), *map(files.digest, [Path(__file__), *code])]
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]

    def load(self, device: str) -> Network:
        from bench.core.weights import read_state_dict
        from bench.models.detectron2 import names, network

        self.check()
        state = names.own(read_state_dict(self.path, part=self.part), self.path)
        described = names.described(state, self.path)
        self._compare(described)
        mean, std = names.normalisation(state)
        module = network.made(state, self.path).eval().requires_grad_(False).to(device)
        return Mask2FormerNetwork(module, mean, std, len(self.class_names), self._who)

    @property
    def _who(self) -> str:
        return f"model {self.name}"

    def _compare(self, described: Mapping[str, Any]) -> None:
        """Raise where the file is of another network than the entry says."""
        held, classes = described["num_labels"], len(self.class_names)
        if held != classes + self.has_negative:
            kinds = f"{classes} classes" + (", 'a negative'" if self.has_negative else "")
            cure = "say negative: true if the last is one" if held == classes + 1 else "name them all: classes"
            raise BadSuite(
                f"{self._who}: the queries of {self.path} have {held + 1} logits, wanted {kinds} and "
                f"'no object'; {cure}"
            )
        width = described["backbone_config"].get("embed_dim")
        if self.width is not None and width != self.width:
            has = f"a Swin with {width} channels" if width else "a ResNet"
            raise MissingData(
                f"{self._who}: {self.path} holds {has}, wanted a Swin with {self.width}; is it the file"
                " of another name?"
            )


class Mask2FormerNetwork(Network):
    """Such a network with its weights."""

    def __init__(self, module: nn.Module, mean: Sequence[float], std: Sequence[float], classes: int, who: str) -> None:
        import torch

        self._module: Any = module
        self._classes, self._who = classes, who
        device = next(module.parameters()).device
        self._mean, self._std = (torch.tensor(values, device=device).reshape(3, 1, 1) for values in (mean, std))

    def module(self) -> nn.Module:
        module: nn.Module = self._module
        return module

    def _compiled_part(self) -> nn.Module:
        part: nn.Module = self._module.model.pixel_level_module.encoder
        return part

    def about(self) -> Mapping[str, Any]:
        return {"backbone": str(self._module.config.backbone_config.model_type)}

    def predict(self, views: Sequence[View]) -> Sequence[Prediction]:
        return [self._prediction(view.pixels.float(), view.pixels) for view in views]

    def _prediction(self, pixels: Tensor, image: Tensor | None) -> Prediction:
        """Return what one forward pass of float32 [3, h, w] in 0..255 says; ``image`` are the pixels of the view."""
        import torch

        from bench.ops import queries

        size = int(pixels.shape[1]), int(pixels.shape[2])
        try:
            with torch.no_grad():
                logits, masks = self._queries((pixels[None] - self._mean) / self._std)
        except (RuntimeError, ValueError) as error:
            raise failed(self._who, pixels[None], error) from error
        outputs = {"query_masks": masks, "class_scores": queries.class_scores(logits, masks, size)[: self._classes]}
        if logits.shape[1] > self._classes + 1:
            outputs["query_negative"] = logits[:, -2]
            logits = torch.cat([logits[:, :-2], logits[:, -1:]], dim=1)
        outputs["query_logits"] = logits
        return Prediction(outputs, size, image=image, again=lambda other: self._prediction(other, image))

    def _queries(self, prepared: Tensor) -> tuple[Tensor, Tensor]:
        """Return float32 [Q, K] and [Q, h', w'] of a normalised image [1, 3, h, w].

        As in the authors' inference, the image is filled up with zeros to multiples of 32, and masks are brought to
        that size before what was filled up is cut off.
        """
        from torch.nn import functional

        from bench.models.detectron2.network import STRIDE

        height, width = prepared.shape[-2:]
        below, beside = -height % STRIDE, -width % STRIDE
        returned = self._module(pixel_values=functional.pad(prepared, (0, beside, 0, below)))
        masks = returned.masks_queries_logits.float()
        if below or beside:
            whole = (height + below, width + beside)
            masks = functional.interpolate(masks, size=whole, mode="bilinear", align_corners=False)
            masks = masks[..., :height, :width]
        return returned.class_queries_logits[0].float(), masks[0]


@dataclass(frozen=True)
class Mask2FormerDetectron2(_Mask2Former):
    """A checkpoint of Mask2Former from detectron2 with a Swin or a ResNet, of any size and number of layers.

    Everything else about the network is read off the shapes of its tensors. ``negative: true`` says that the queries
    have a logit of "a negative" before the one of "no object", as those of UNO do: it becomes ``query_negative``.
    ``class_scores`` are the authors': shares of all logits. Images are normalised as Mask2Former's configs say.
    """

    name = "mask2former_detectron2"
    source = "Cheng et al., Masked-attention Mask Transformer for Universal Image Segmentation, arXiv:2112.01527"

    weights: File
    negative: bool = False
    classes: tuple[str, ...] = CITYSCAPES

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.classes

    @property
    def path(self) -> Path:
        return Path(self.weights)

    @property
    def has_negative(self) -> bool:
        return self.negative


@dataclass(frozen=True)
class _Published(PublishedFile, _Mask2Former):
    """One of Cityscapes that a paper's repository offers."""

    has_negative: ClassVar[bool] = False  # a plain attribute for the property


@dataclass(frozen=True)
class RbaSwinB(_Published):
    """RbA's Swin-B with one decoder layer, trained on Cityscapes alone; for the method ``rba``."""

    name, source, checkpoint, width = "rba_swin_b", RBA, "rba_swin_b_1dl", BASE
    claims = (("rba", {"source": ZOO, "protocol": "anomaly", "variant": "Swin-B, 1 decoder layer"}),)


@dataclass(frozen=True)
class RbaSwinL(_Published):
    """RbA's Swin-L with one decoder layer, trained on Cityscapes alone; for the method ``rba``."""

    name, source, checkpoint, width = "rba_swin_l", RBA, "rba_swin_l_1dl", LARGE
    claims = (("rba", {"source": ZOO, "protocol": "anomaly", "variant": "Swin-L, 1 decoder layer"}),)


@dataclass(frozen=True)
class RbaSwinBCoco(_Published):
    """RbA's Swin-B, its last layers trained further with outliers of COCO; for the method ``rba``."""

    name, source, checkpoint, width = "rba_swin_b_coco", RBA, "rba_swin_b_1dl_ood_coco", BASE
    claims = (("rba", {"source": ZOO, "protocol": "anomaly", "variant": "Swin-B, 1 decoder layer, COCO"}),)
    outliers = True


@dataclass(frozen=True)
class RbaSwinLMapillaryCoco(_Published):
    """RbA's Swin-L, trained further on Mapillary Vistas and with outliers of COCO; for the method ``rba``."""

    name, source, checkpoint, width = "rba_swin_l_mapillary_coco", RBA, "rba_swin_l_1dl_ood_map_coco", LARGE
    claims = (("rba", {"source": ZOO, "protocol": "anomaly", "variant": "Swin-L, 1 decoder layer, Mapillary + COCO"}),)
    outliers = True


@dataclass(frozen=True)
class EamSwinL(_Published):
    """EAM's Mask2Former with a Swin-L, trained on Cityscapes alone; for the method ``eam``."""

    name, source, checkpoint, width = "eam_swin_l", EAM, "eam_cityscapes", LARGE


@dataclass(frozen=True)
class EamSwinLVistas(_Published):
    """EAM's Mask2Former with a Swin-L, trained on Cityscapes and Mapillary Vistas; for the method ``eam``."""

    name, source, checkpoint, width = "eam_swin_l_vistas", EAM, "eam_cityscapes_mapillary", LARGE


@dataclass(frozen=True)
class EamSwinLAde(_Published):
    """EAM's Mask2Former with a Swin-L, trained further with negatives of ADE20K; for the method ``eam``."""

    name, source, checkpoint, width = "eam_swin_l_ade", EAM, "eam_ade_negatives", LARGE
    outliers = True


@dataclass(frozen=True)
class UnoSwinL(_Published):
    """UNO's Mask2Former with a Swin-L and a logit of negatives, which were of ADE20K; for the method ``uno``."""

    name, source, checkpoint, width = "uno_swin_l", UNO, "uno", LARGE
    has_negative, outliers = True, True


@dataclass(frozen=True)
class UnoSwinLSynthetic(_Published):
    """UNO's Mask2Former with a Swin-L and a logit of negatives, which a flow made; for the method ``uno``."""

    name, source, checkpoint, width = "uno_swin_l_synthetic", UNO, "uno_synthetic_negatives", LARGE
    has_negative = True
