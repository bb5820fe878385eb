"""DINOv2 and DINOv3 of the package transformers: features of patches, learned without labels, and no classes."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.api import CITYSCAPES, File, Network, Prediction, SegModel, View
from bench.core import files
from bench.core.errors import BadSuite, MissingData, MissingPackage
from bench.models import huggingface, huggingface_folder
from bench.models.huggingface_folder import CONFIG, PREPARATIONS, Preparation, read_settings

if TYPE_CHECKING:
    from torch import Tensor, nn

KINDS = ("Dinov2Model", "Dinov2WithRegistersModel", "DINOv3ViTModel")
WHO = "model dino"


@dataclass(frozen=True)
class Dino(SegModel):
    """A vision transformer of DINO as it was trained, from ``folder`` or by its name on ``hub``.

    It gives ``features`` [D, h / p, w / p], the tokens of its patches of p x p pixels after the last normalisation, and
    neither logits nor a class map: for detectors that read features, such as ``prowl`` and ``knn``. An image whose
    sides are no multiples of p is resampled to the nearest ones. ``classes`` are those of the labels that such a
    detector is fitted on.
    """

    name = "dino"
    source = (
        "Oquab et al., DINOv2: Learning Robust Visual Features without Supervision, arXiv:2304.07193;"
        " https://github.com/huggingface/transformers"
    )

    folder: File | None = None  # with config.json, preprocessor_config.json and weights
    hub: str | None = None  # such as facebook/dinov2-base
    revision: str | None = None  # of what is on the hub: a commit, a tag, a branch
    classes: tuple[str, ...] = CITYSCAPES

    def __post_init__(self) -> None:
        if (self.folder is None) == (self.hub is None):
            raise ValueError("it needs a folder or the name of one on the hub, and not both")
        if self.revision is not None and self.hub is None:
            raise ValueError("a revision is one of the hub, a folder has none")

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.classes

    @property
    def outputs(self) -> frozenset[str]:
        return frozenset({"features", "raw", "image", "again"})

    def check(self) -> None:
        if importlib.util.find_spec("transformers") is None:
            raise MissingPackage(f"{WHO}: transformers is not installed; {huggingface.INSTALL}")
        folder = self._place()
        if not folder.is_dir():
            raise MissingData(f"{WHO}: folder {folder} does not exist; paths in a suite are relative to its file")
        _kind(folder)
        huggingface.weight_files(folder)
        Preparation.read(folder)

    def digest(self) -> str:
        folder = self._place()
        settings = [folder / name for name in (CONFIG, *PREPARATIONS) if (folder / name).is_file()]
        code = (__file__, str(huggingface.__file__), str(huggingface_folder.__file__))
        parts = [*settings, *huggingface.weight_files(folder), *map(Path, code)]
        return hashlib.sha256(" ".join(map(files.digest, parts)).encode()).hexdigest()[:16]

    def load(self, device: str) -> Network:
        self.check()
        folder = self._place()
        network = huggingface.read_network(folder, _kind(folder)).to(device).eval().requires_grad_(False)
        return DinoNetwork(network, Preparation.read(folder))

    def _place(self) -> Path:
        if self.folder is not None:
            return Path(self.folder)
        return huggingface.snapshot(str(self.hub), self.revision)


class DinoNetwork(Network):
    """Such a network with its weights, and how its images are prepared."""

    batched = True

    def __init__(self, net: nn.Module, prepared: Preparation) -> None:
        self._net: Any = net
        self._prepared = prepared

    def module(self) -> nn.Module:
        module: nn.Module = self._net
        return module

    def predict(self, views: Sequence[View]) -> Sequence[Prediction]:
        import torch

        features = self._features(torch.stack([view.pixels for view in views]).float())
        return [self._prediction(each, view.pixels) for each, view in zip(features, views, strict=True)]

    def _again(self, pixels: Tensor, image: Tensor) -> Prediction:
        return self._prediction(self._features(pixels[None])[0], image)

    def _prediction(self, features: Tensor, image: Tensor) -> Prediction:
        size = int(image.shape[1]), int(image.shape[2])
        return Prediction({"features": features}, size, image=image, again=lambda other: self._again(other, image))

    def _features(self, pixels: Tensor) -> Tensor:
        """Return float32 [n, D, h / p, w / p] of float32 [n, 3, h, w], RGB in 0..255."""
        import torch
        from torch.nn import functional

        config, height, width = self._net.config, int(pixels.shape[2]), int(pixels.shape[3])
        grid = [max(1, round(side / config.patch_size)) for side in (height, width)]
        size = [count * config.patch_size for count in grid]
        if size != [height, width]:
            pixels = functional.interpolate(pixels, size=size, mode="bilinear", align_corners=False, antialias=True)
        with torch.no_grad():
            tokens = self._net(pixel_values=self._prepared(pixels)).last_hidden_state
        leading = 1 + int(getattr(config, "num_register_tokens", 0) or 0)  # of the class, and of none
        patches: Tensor = tokens[:, leading:].transpose(1, 2).unflatten(2, grid).float().contiguous()
        return patches


def _kind(folder: Path) -> str:
    named = read_settings(folder, CONFIG).get("architectures")
    kind = str(named[0]) if isinstance(named, list) and named else "no architecture"
    if kind not in KINDS:
        raise BadSuite(
            f"{WHO}: {folder}/{CONFIG} is of {kind}, wanted {' or '.join(KINDS)}; networks with classes are read by the"
            " model transformers"
        )
    return kind
