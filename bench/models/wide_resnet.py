"""DeepLabv3+ on WideResNet38, and DualGCN: the networks of Meta-OoD, PEBAL, RPL and DenseHybrid, from their files."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from bench.api import CITYSCAPES, File, Network, Prediction, SegModel, View
from bench.core import files, weight_files
from bench.models.published_file import PublishedFile
from bench.ops import networks

if TYPE_CHECKING:
    from torch import Tensor, nn

Head = Literal["plain", "abstention", "residual", "outliers"]

CLASSES = len(CITYSCAPES)
GIVEN: Mapping[Head, frozenset[str]] = {
    "plain": frozenset({"logits"}),
    "abstention": frozenset({"logits", "void_logit"}),
    "residual": frozenset({"logits", "labels"}),
    "outliers": frozenset({"logits", "ood_logit"}),
}
TRAINING_ALONE = ("residual_block.proj_head.",)  # of RPL with CoroCL: a loss in training, nothing in inference
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of pixels in 0..1, R, G, B
SCIEBO = "https://uni-wuppertal.sciebo.de/s"
SMOOTHED = {"energy": {"post": "gaussian"}}  # of valid.py in both: GaussianBlur(7, sigma=1) of the free energy
META_OOD = "Chan et al., Entropy Maximization and Meta Classification, ICCV 2021, arXiv:2012.06575"


@dataclass(frozen=True)
class _Trained(SegModel):
    """What all of them share: pixels as ImageNet has them, whole images of any size, checkpoints loaded strictly."""

    part: str = field(default="", kw_only=True)  # of the file: an entry, or what names begin with

    @property
    @abstractmethod
    def path(self) -> Path:
        """The file of the weights."""

    @property
    @abstractmethod
    def kind(self) -> Head:
        """What stands behind the decoder."""

    @property
    def outputs(self) -> frozenset[str]:
        return GIVEN[self.kind] | {"raw", "image", "again"}

    def check(self) -> None:
        self.check_file(f"model {self.name}")

    def check_file(self, who: str) -> None:
        """Raise MissingData where the weights are absent or something else."""
        weight_files.check(self.path, who)

    def digest(self) -> str:
        code = [Path(__file__), *sorted(Path(networks.__path__[0]).glob("*.py"))]
        parts = [weight_files.digest(self.path), *map(files.digest, code)]
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]

    def network(self) -> nn.Module:
        """Return the network with random weights."""
        from bench.ops.networks.deeplab_wideresnet38 import DeepLab

        classes = CLASSES + (self.kind == "abstention")
        return DeepLab(classes, residual=self.kind == "residual", outliers=self.kind == "outliers")

    def load(self, device: str) -> Network:
        from bench.core.weights import load_strictly

        self.check()
        module = load_strictly(self.network(), self.path, part=self.part, unused=TRAINING_ALONE)
        return TrainedNetwork(module.eval().requires_grad_(False).to(device), device)


class TrainedNetwork(Network):
    """Such a network with its weights."""

    def __init__(self, module: nn.Module, device: str) -> None:
        import torch

        self._module: Any = module
        self._mean, self._std = (torch.tensor(values, device=device).reshape(3, 1, 1) for values in (MEAN, STD))

    def module(self) -> nn.Module:
        module: nn.Module = self._module
        return module

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self._module(self._prepared(pixels))
        return logits[:, :CLASSES]

    def predict(self, views: Sequence[View]) -> Sequence[Prediction]:
        return [self._prediction(view.pixels.float(), view.pixels) for view in views]

    def _prepared(self, pixels: Tensor) -> Tensor:
        """Return float32 [n, 3, h, w], RGB in 0..255, as the network was trained to see it."""
        return (pixels / 255 - self._mean) / self._std

    def _prediction(self, pixels: Tensor, image: Tensor | None) -> Prediction:
        """Return what one forward pass of float32 [3, h, w] in 0..255 says; ``image`` are the pixels of the view."""
        import torch

        with torch.no_grad():
            prepared = self._prepared(pixels[None])
            computed = self._module.outputs(prepared) if hasattr(self._module, "outputs") else None
            outputs = {"logits": self._module(prepared)} if computed is None else computed
        named = {name: output[0] for name, output in outputs.items()}
        logits, labels = named["logits"][:CLASSES], None
        prediction = {"logits": logits}
        if len(named["logits"]) > CLASSES:
            prediction["void_logit"] = named["logits"][CLASSES]
        if "corrected" in named:  # for anomalies; the class map stays that of the network before it was corrected
            prediction["logits"], labels = named["corrected"], logits.argmax(dim=0).byte()
        if "outliers" in named:
            prediction["ood_logit"] = named["outliers"]
        size = int(pixels.shape[1]), int(pixels.shape[2])
        return Prediction(
            prediction, size, labels=labels, image=image, again=lambda other: self._prediction(other, image)
        )


@dataclass(frozen=True)
class DeepLabWideResNet38(_Trained):
    """DeepLabv3+ on WideResNet38 with 19 classes of Cityscapes, and what ``head`` says.

    ``abstention`` is PEBAL's 20th output, which becomes ``void_logit``; ``residual`` the block of RPL, whose corrected
    logits become ``logits`` while the class map is that of the others; ``outliers`` the head of DenseHybrid, whose
    outlier less inlier becomes ``ood_logit``.
    """

    name = "deeplab_wideresnet38"
    source = "Zhu et al., Improving Semantic Segmentation via Video Propagation and Label Relaxation, arXiv:1812.01593"

    weights: File
    head: Head = "plain"

    @property
    def path(self) -> Path:
        return Path(self.weights)

    @property
    def kind(self) -> Head:
        return self.head


@dataclass(frozen=True)
class _Published(PublishedFile, _Trained):
    """One that a paper's repository offers."""

    kind: ClassVar[Head] = "plain"


@dataclass(frozen=True)
class MetaOodDeepLab(_Published):
    """DeepLabv3+ on WideResNet38, trained further by Meta-OoD to be unsure of COCO; for the method ``entropy``."""

    name, source, outliers = "meta_ood_deeplab", META_OOD, True
    file, page = "DeepLabV3+_WideResNet38_epoch_4_alpha_0.9.pth", f"{SCIEBO}/kCgnr0LQuTbrArA"
    claims = (("entropy", {"method": "Meta-OoD", "variant": "maximised entropy", "split": "val"}),)


@dataclass(frozen=True)
class MetaOodDualGcn(_Published):
    """DualGCNNet on a ResNet-50, trained further by Meta-OoD to be unsure of COCO; for the method ``entropy``."""

    name, source, outliers = "meta_ood_dualgcn", META_OOD, True
    file, page = "DualGCNNet_res50_epoch_11_alpha_0.25.pth", f"{SCIEBO}/VAXiKxZ21eAF68q"

    def network(self) -> nn.Module:
        from bench.ops.networks.dualgcn_resnet50 import DualGCNNet

        return DualGCNNet(CLASSES)


@dataclass(frozen=True)
class Pebal(_Published):
    """PEBAL's DeepLabv3+, its last output to abstain; for the method ``energy`` with ``post: gaussian``."""

    name, checkpoint, outliers, kind = "pebal_deeplab", "pebal", True, "abstention"
    source = "Tian et al., Pixel-wise Energy-biased Abstention Learning, ECCV 2022, arXiv:2111.12264"
    claims = (
        (SMOOTHED, {"method": "PEBAL", "dataset": "Fishyscapes*", "split": "val"}),
        (SMOOTHED, {"method": "PEBAL", "dataset": "RoadAnomaly"}),
    )


@dataclass(frozen=True)
class Rpl(_Published):
    """RPL's DeepLabv3+ on WideResNet38 with a residual block; for the method ``energy`` with ``post: gaussian``."""

    name, outliers, kind = "rpl_deeplab", True, "residual"
    source = "Liu et al., Residual Pattern Learning, ICCV 2023, arXiv:2211.14512"
    file, page = "rpl.pth", "https://drive.google.com/drive/folders/1XHyvdT2LJzbzVJyoNOUHVtReKGg6HkLq"


@dataclass(frozen=True)
class RplCoroCl(_Published):
    """RPL with CoroCL, else as ``rpl_deeplab``; for the method ``energy`` with ``post: gaussian``."""

    name, outliers, kind = "rpl_corocl_deeplab", True, "residual"
    source = "Liu et al., Residual Pattern Learning, ICCV 2023, arXiv:2211.14512"
    file, page = "rpl_corocl.pth", "https://drive.google.com/drive/folders/1rVaBRdOpS2JkAo-ZRO64jSZU0VbdZsDn"
    claims = ((SMOOTHED, {"method": "RPL + CoroCL", "split": "val"}),)


@dataclass(frozen=True)
class DenseHybridDeepLab(_Published):
    """DenseHybrid's DeepLabv3+ on WideResNet38, trained with negatives of ADE20K; for the method ``dense_hybrid``."""

    name, checkpoint, outliers, kind = "dense_hybrid_deeplab", "dense_hybrid", True, "outliers"
    source = "Grcic et al., DenseHybrid, ECCV 2022, arXiv:2207.02606"
