"""Networks of mmsegmentation: any of its configs with a checkpoint, and three of its published ones by name."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator

from bench.api import CITYSCAPES, File, Inference, Network, Prediction, SegModel, View
from bench.core import files, weight_files
from bench.core.errors import BadSuite, MissingData
from bench.models import mmseg_network as network
from bench.models import sizing
from bench.suite import checkpoints

if TYPE_CHECKING:
    from torch import Tensor, nn

SLIDING = Inference(window=(1024, 1024), stride=(768, 768))  # of SegFormer's configs for Cityscapes
FLOWENEDET = "decode_head.class_means"  # what only checkpoints of FlowEneDet's fork hold


@dataclass(frozen=True)
class _Segmentor(SegModel):
    """What every segmentor of mmsegmentation 1.x shares; its subclasses say which config and which checkpoint."""

    trust_checkpoint: bool = field(default=False, kw_only=True)  # run whatever is in the checkpoint
    part: str = field(default="", kw_only=True)  # of the checkpoint: an entry, or what names begin with, such as ema_

    @property
    @abstractmethod
    def _config(self) -> str:
        """A name in mmsegmentation, or a file."""

    @property
    @abstractmethod
    def _weights(self) -> Path:
        """The checkpoint."""

    @property
    def outputs(self) -> frozenset[str]:
        inside = self._inside()
        names = {"logits", "raw", "image", "again", "forward"}
        if inside.classifier:
            names |= {"features", "classify"}
        if inside.dropout is not None:
            names |= {"dropout"}
        return frozenset(names)

    def check(self) -> None:
        path = self._found()
        self._compare(*_skeleton(path, self._who), path)

    def digest(self) -> str:
        recipe = network.read_config(network.config_file(self._config, self._who), self._who)
        code = [files.digest(Path(str(module))) for module in (__file__, network.__file__)]
        return hashlib.sha256(" ".join([recipe.text, weight_files.digest(self._weights), *code]).encode()).hexdigest()[
            :16
        ]

    def load(self, device: str) -> Network:
        from bench.core.weights import fill, read_checkpoint

        path = self._found()
        recipe = network.read_config(path, self._who)
        segmentor = network.build(recipe, path.name, self._who)
        self._compare(recipe, network.look_inside(segmentor, recipe), path)
        state, meta = read_checkpoint(
            self._weights,
            trusted=self.trust_checkpoint,
            advice="save the state dict alone in a place that you trust, or, if you trust who made them, say "
            "trust_checkpoint: true",
            part=self.part,
        )
        if FLOWENEDET in state:
            raise MissingData(
                f"{self._who}: {self._weights} is a checkpoint of FlowEneDet, it holds {FLOWENEDET}; name the "
                "checkpoint that its network was taken from"
            )
        fill(segmentor, state, self._weights, unused=(network.AUXILIARY,))
        self._compare_classes(meta)
        return SegmentorNetwork(network.Runner(segmentor, recipe, device, self._who))

    def _inside(self) -> network.Inside:
        network.require_packages(self._who)
        return _skeleton(network.config_file(self._config, self._who), self._who)[1]

    @property
    def _who(self) -> str:
        return f"model {self.name}"

    def _found(self) -> Path:
        """The config, once packages, config and checkpoint are known to be there."""
        network.require_packages(self._who)
        path = network.config_file(self._config, self._who)
        if not self._weights.exists():
            raise MissingData(self._missing())
        weight_files.check(self._weights, self._who, "checkpoint")
        return path

    def _missing(self) -> str:
        return f"{self._who}: checkpoint {self._weights} does not exist; paths in a suite are relative to its file"

    def _compare(self, recipe: network.Recipe, inside: network.Inside, path: Path) -> None:
        """Whether what the suite says is what the config describes."""
        if inside.classes != len(self.class_names):
            raise BadSuite(
                f"{self._who}: config {path.name} has {inside.classes} classes, the suite names "
                f"{len(self.class_names)}; name them all, in their order: classes"
            )
        if recipe.divisor > 1 and self.inference.window:
            raise BadSuite(
                f"{self._who}: config {path.name} extends whole images to multiples of {recipe.divisor}, not windows; "
                "drop inference.window"
            )

    def _compare_classes(self, meta: Mapping[str, Any]) -> None:
        """A checkpoint may name the classes that it was trained for."""
        newer = meta.get("dataset_meta")
        named = meta.get("CLASSES") or (newer.get("classes") if isinstance(newer, Mapping) else None)  # 0.x, 1.x
        if not named or tuple(map(str, named)) == self.class_names:
            return
        pairs = zip(map(str, named), self.class_names, strict=False)
        difference = next(
            (f"{theirs!r} where {ours!r} is wanted" for theirs, ours in pairs if theirs != ours), f"{len(named)}"
        )
        raise BadSuite(f"{self._who}: {self._weights} was trained for other classes: {difference}")


class SegmentorNetwork(Network):
    """A segmentor with its weights."""

    batched = True

    def __init__(self, runner: network.Runner) -> None:
        self._runner = runner

    def about(self) -> Mapping[str, Any]:
        return {"backbone": self._runner.backbone}

    def _compiled_part(self) -> nn.Module:
        return self._runner.segmentor.get_submodule("backbone")  # the head is asked for more than its forward

    def module(self) -> nn.Module:
        return self._runner.segmentor

    def forward(self, pixels: Tensor) -> Tensor:
        return self._runner.logits(pixels)

    def predict(self, views: Sequence[View]) -> Sequence[Prediction]:
        import torch

        outputs = self._runner(torch.stack([view.pixels for view in views]).float())
        return [
            self._prediction({name: batch[index] for name, batch in outputs.items()}, view.pixels)
            for index, view in enumerate(views)
        ]

    def _again(self, pixels: Tensor, image: Tensor) -> Prediction:
        outputs = self._runner(pixels[None])
        return self._prediction({name: batch[0] for name, batch in outputs.items()}, image)

    def _prediction(self, outputs: Mapping[str, Tensor], image: Tensor) -> Prediction:
        runner, size = self._runner, (int(image.shape[1]), int(image.shape[2]))
        return Prediction(
            outputs,
            size,
            image=image,
            again=lambda other: self._again(other, image),
            classify=(lambda features: runner.classify(features, size)) if runner.inside.classifier else None,
            dropout=runner.inside.dropout,
        )


@cache
def _built(path: Path, stamp: int, who: str) -> tuple[network.Recipe, network.Inside]:
    recipe = network.read_config(path, who)
    return recipe, network.look_inside(network.build(recipe, path.name, who), recipe)


def _skeleton(path: Path, who: str) -> tuple[network.Recipe, network.Inside]:
    """A config and what its network lets be seen, without weights: seconds, once in a process."""
    return _built(path, path.stat().st_mtime_ns, who)


@dataclass(frozen=True)
class MMSeg(_Segmentor):
    """Any config of mmsegmentation 1.x with a checkpoint of 0.x or 1.x.

    It gives logits, and where one convolution makes them of features: these, that convolution and the dropout before
    it. Images are normalised as the config says and resized as ``inference`` says. Checkpoints load strictly.
    """

    name = "mmseg"
    source = "https://github.com/open-mmlab/mmsegmentation"

    config: File  # a file, or without .py the name of one that mmsegmentation brings
    checkpoint: File
    classes: tuple[str, ...] = CITYSCAPES
    test_cfg: Literal["checked", "ignored"] = "checked"  # whether inference must slide as the config says

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.classes

    @property
    def _config(self) -> str:
        return self.config

    @property
    def _weights(self) -> Path:
        return Path(self.checkpoint)

    def _compare(self, recipe: network.Recipe, inside: network.Inside, path: Path) -> None:
        super()._compare(recipe, inside, path)
        described, declared = (recipe.window, recipe.stride), (self.inference.window, self.inference.stride)
        if self.test_cfg == "checked" and described != declared:
            raise BadSuite(
                f"{self._who}: config {path.name} is tested on {_spelled(*described)},"
                f" inference says {_spelled(*declared)}; "
                f"{_remedy(*described)}, or say test_cfg: ignored"
            )


def _spelled(window: tuple[int, int] | None, stride: tuple[int, int] | None) -> str:
    return f"windows of {list(window)} at strides of {list(stride or window)}" if window else "whole images"


def _remedy(window: tuple[int, int] | None, stride: tuple[int, int] | None) -> str:
    if window is None:
        return "drop its window"
    return f"write inference: {{window: {list(window)}, stride: {list(stride or window)}}}"


@dataclass(frozen=True)
class _Published(_Segmentor):
    """A network of mmsegmentation's model zoo, whose checkpoint is fetched once."""

    config_name: ClassVar[str]

    checkpoint: File | None = None  # None is the published file in the folder ``checkpoints`` of $BENCH_HOME

    @property
    def _config(self) -> str:
        return self.config_name

    @property
    def _weights(self) -> Path:
        if self.checkpoint:
            return Path(self.checkpoint)
        (archive,) = checkpoints.of(self.name).files
        return checkpoints.root() / archive.file

    def _missing(self) -> str:
        if self.checkpoint:
            return super()._missing()
        return (
            f"{self._who}: {self._weights.name} is not in {self._weights.parent}; fetch it: 'bench models fetch"
            f" {self.name}', or say where it is: checkpoint: FILE"
        )


@dataclass(frozen=True)
class DeepLabV3PlusR101(_Published):
    """DeepLabV3+ with a ResNet-101 at stride 8, trained on Cityscapes; seen as a whole."""

    name = "deeplabv3plus_r101_cityscapes"
    source = "Chen et al., ECCV 2018; mmsegmentation's model zoo, mIoU 80.97"
    config_name = "deeplabv3plus_r101-d8_4xb2-80k_cityscapes-512x1024"


@dataclass(frozen=True)
class _SegFormer(_Published):
    """SegFormer for Cityscapes: windows of 1024 x 1024 at strides of 768."""

    inference: Annotated[Inference, BeforeValidator(sizing.completed(SLIDING))] = field(default=SLIDING, kw_only=True)


@dataclass(frozen=True)
class SegFormerB2(_SegFormer):
    """SegFormer with MiT-B2, trained on Cityscapes; windows of 1024 x 1024 at strides of 768."""

    name = "segformer_b2_cityscapes"
    source = "Xie et al., NeurIPS 2021; mmsegmentation's model zoo, mIoU 81.08"
    config_name = "segformer_mit-b2_8xb1-160k_cityscapes-1024x1024"


@dataclass(frozen=True)
class SegFormerB5(_SegFormer):
    """SegFormer with MiT-B5, trained on Cityscapes; windows of 1024 x 1024 at strides of 768."""

    name = "segformer_b5_cityscapes"
    source = "Xie et al., NeurIPS 2021; mmsegmentation's model zoo, mIoU 82.25"
    config_name = "segformer_mit-b5_8xb1-160k_cityscapes-1024x1024"
