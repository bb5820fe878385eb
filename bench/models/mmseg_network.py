"""What the models of ``mmseg.py`` stand on: installed packages, configs, and a segmentor with its inside open.

Nothing here relies on mmengine's runner or its checkpoint loader. Only names that every mmcv 2.x, mmengine and
mmsegmentation 1.x have are used, whoever distributes them.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from bench.core.errors import BadPlugin, BadSuite, MissingData, MissingPackage, UnknownName
from bench.models.preprocessing import failed

if TYPE_CHECKING:
    from torch import Tensor, nn

DISTRIBUTIONS = {  # module: who distributes it. They overwrite each other's files, and pip does not notice
    "mmcv": ("onedl-mmcv", "mmcv", "mmcv-lite", "mmcv-full"),
    "mmengine": ("onedl-mmengine", "mmengine", "mmengine-lite"),
    "mmseg": ("onedl-mmsegmentation", "mmsegmentation"),
}
INSTALL = 'pip install "ood-seg-bench[mmseg]"'
SEGMENTORS = ("EncoderDecoder", "CascadeEncoderDecoder")
AUXILIARY = "auxiliary_head."  # a loss in training, nothing in inference


def require_packages(who: str) -> None:
    """Refuse a missing, a doubled and a too old package, by their metadata: nothing is imported."""
    for module, names in DISTRIBUTIONS.items():
        installed = [(name, version) for name in names if (version := _version(name))]
        if not installed:
            raise MissingPackage(f"{who}: {module} is not installed; {INSTALL}")
        if len(installed) > 1:
            both = " and ".join(" ".join(pair) for pair in installed)
            raise MissingPackage(
                f"{who}: {module} is installed {len(installed)} times, as {both}, which overwrite each other's files; "
                f"pip uninstall {' '.join(name for name, _ in installed)}, then install one"
            )
        name, version = installed[0]
        if module == "mmseg" and version.startswith("0."):
            raise MissingPackage(f"{who}: {name} {version} has another interface, wanted 1.x; {INSTALL}")


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def config_file(config: str, who: str) -> Path:
    """The file that ``config`` names: itself if it ends in .py, else one of those that mmsegmentation brings."""
    if config.endswith(".py"):
        if not Path(config).is_file():
            raise MissingData(f"{who}: config {config} does not exist; paths in a suite are relative to its file")
        return Path(config)
    known = _shipped()
    name = Path(config).name  # a suite makes every path absolute, also what turns out to be a name
    if name not in known:
        raise UnknownName("mmsegmentation config", name, known, who)
    return known[name]


@cache
def _shipped() -> Mapping[str, Path]:
    """The configs inside the installed mmsegmentation by name."""
    spec = importlib.util.find_spec("mmseg")
    roots = spec.submodule_search_locations if spec else None
    files = [path for root in roots or () for path in sorted(Path(root, ".mim", "configs").glob("*/*.py"))]
    return {path.stem: path for path in files if path.parent.name != "_base_"}


@dataclass(frozen=True)
class Recipe:
    """A config as far as inference needs it."""

    model: Mapping[str, Any]  # mmengine's ConfigDict
    scope: str
    mean: tuple[float, ...] | None  # on the scale of 0 to 255, in the order of the network's channels
    std: tuple[float, ...] | None
    rgb: bool  # whether the network takes R, G, B
    divisor: int  # images are extended to multiples of this
    pad_value: float  # after normalisation
    window: tuple[int, int] | None  # (h, w) of the sliding window of ``test_cfg``
    stride: tuple[int, int] | None

    @property
    def backbone(self) -> str:
        """Type and depth, such as ``ResNetV1c-101``; the type alone where the config gives no depth."""
        settings = self.model.get("backbone", {})
        return "-".join(str(settings[key]) for key in ("type", "depth") if settings.get(key))

    @property
    def text(self) -> str:
        """The resolved config as text, the same wherever its files lie."""
        return json.dumps(self.model, sort_keys=True, default=str)


def read_config(path: Path, who: str) -> Recipe:
    """Resolve a config with everything it inherits. A config is code, and runs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            from mmengine.config import Config

            config = Config.fromfile(path)
        # A config is somebody's code and may import somebody's package: whatever it raises is why it cannot be used.
        except Exception as error:
            raise BadSuite(f"{who}: config {path.name} cannot be read: {_first_line(error)}") from None
    model = config.get("model")
    if not isinstance(model, dict) or _named(model.get("type")) not in SEGMENTORS:
        kind = _named(model.get("type")) if isinstance(model, dict) else "nothing"
        raise BadSuite(f"{who}: config {path.name} describes {kind}, wanted {' or '.join(SEGMENTORS)}")
    steps = model.get("data_preprocessor") or config.get("data_preprocessor") or {}
    if steps and _named(steps.get("type")) != "SegDataPreProcessor":
        raise BadSuite(
            f"{who}: config {path.name} prepares images by {_named(steps.get('type'))}, wanted SegDataPreProcessor"
        )
    test, padding = model.get("test_cfg") or {}, steps.get("test_cfg") or {}
    if padding.get("size") is not None:
        raise BadSuite(f"{who}: config {path.name} extends images to a fixed size, which is not supported")
    slides = test.get("mode", "whole") == "slide"
    return Recipe(
        model,
        str(config.get("default_scope") or "mmseg"),
        _three(steps.get("mean")),
        _three(steps.get("std")),
        # mmsegmentation reads images as B, G, R; either flag turns them round.
        rgb=bool(steps.get("bgr_to_rgb") or steps.get("rgb_to_bgr")),
        divisor=int(padding.get("size_divisor") or 1),
        pad_value=float(steps.get("pad_val", 0)),
        window=cast("tuple[int, int]", tuple(test["crop_size"])) if slides else None,
        stride=cast("tuple[int, int]", tuple(test["stride"])) if slides else None,
    )


def _three(values: Sequence[float] | None) -> tuple[float, ...] | None:
    return None if values is None else tuple(float(value) for value in values)


def _named(kind: Any) -> str:
    """The name of a class that a config gives as text or, in the newer style, as the class itself."""
    return str(getattr(kind, "__name__", kind)).rpartition(".")[2]


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}"


def build(recipe: Recipe, name: str, who: str) -> nn.Module:
    """The segmentor with random weights, on the CPU, without the heads that only training uses."""
    from copy import deepcopy

    model: Any = deepcopy(recipe.model)
    model.pretrained = None
    model.train_cfg = None
    for unused in ("auxiliary_head", "data_preprocessor"):
        model.pop(unused, None)
    for key in ("init_cfg", "pretrained"):  # would name a download
        if key in model.get("backbone", {}):
            model.backbone[key] = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of operators that this network may not need, and of defaults of losses
        try:
            import mmseg.models  # noqa: F401 - registers them
            from mmengine.registry import DefaultScope
            from mmseg.models.decode_heads.decode_head import BaseDecodeHead
            from mmseg.registry import MODELS

            with DefaultScope.overwrite_default_scope(recipe.scope):
                segmentor = cast("nn.Module", MODELS.build(model))
        # What is built is somebody's code: whatever it raises is why it cannot be used.
        except Exception as error:
            raise BadPlugin(f"{who}: config {name} does not build: {_first_line(error)}{_operators()}") from None
    if not isinstance(_head(segmentor), BaseDecodeHead):
        raise BadPlugin(
            f"{who}: {type(_head(segmentor)).__name__} of config {name} gives masks of queries, not logits of pixels; "
            "the model transformers takes such networks"
        )
    return segmentor


def _operators() -> str:
    if importlib.util.find_spec("mmcv._ext") is not None:
        return ""
    return "; this mmcv is without its compiled operators, which some networks need: see docs/mmseg.md"


def _head(segmentor: nn.Module) -> Any:
    """The decode head whose logits count: of a cascade the last one."""
    from torch import nn

    head: Any = segmentor.decode_head
    return head[-1] if isinstance(head, nn.ModuleList) else head


@dataclass(frozen=True)
class Inside:
    """What a segmentor lets be seen of it."""

    classes: int
    classifier: bool  # one 1x1 convolution over features makes the logits
    dropout: float | None  # rate of the channel dropout right before it


def look_inside(segmentor: nn.Module, recipe: Recipe) -> Inside:
    """Which of its parts can be offered."""
    from torch import nn

    head = _head(segmentor)
    # Where images are extended, features cover more than the image: nothing at their resolution could be cut to it.
    classifier = isinstance(getattr(head, "conv_seg", None), nn.Conv2d) and recipe.divisor == 1
    dropout = getattr(head, "dropout", None)
    rate = float(dropout.p) if classifier and isinstance(dropout, nn.Dropout2d) else None
    return Inside(int(head.out_channels), classifier, rate)


class Runner:
    """A segmentor, how images are prepared for it, and what it says about them."""

    def __init__(self, segmentor: nn.Module, recipe: Recipe, device: str, who: str) -> None:
        import torch

        self.backbone = recipe.backbone
        self.segmentor = segmentor.to(device).eval().requires_grad_(False)
        self.inside = look_inside(segmentor, recipe)
        self._recipe, self._who, self._head = recipe, who, _head(segmentor)
        shape = (-1, 1, 1)
        self._mean = None if recipe.mean is None else torch.tensor(recipe.mean, device=device).view(shape)
        self._std = None if recipe.std is None else torch.tensor(recipe.std, device=device).view(shape)

    def __call__(self, pixels: Tensor) -> dict[str, Tensor]:
        """``logits`` and, of a head with a classifier, ``features`` of float32 [n, 3, h, w], RGB in 0..255."""
        import torch

        seen: list[tuple[Tensor, Tensor]] = []  # what goes into the classifier and what comes out

        def watch(_: nn.Module, inputs: tuple[Tensor, ...], made: Tensor) -> None:
            seen.append((inputs[0], made))

        hook = self._head.conv_seg.register_forward_hook(watch) if self.inside.classifier else None
        try:
            with torch.no_grad():
                outputs = {"logits": self.logits(pixels).float()}
        finally:
            if hook:
                hook.remove()
        if self.inside.classifier:
            if len(seen) != 1 or seen[0][1].shape[1] != self.inside.classes:
                raise BadPlugin(f"{self._who}: the logits of {type(self._head).__name__} do not come from its conv_seg")
            outputs["features"] = seen[0][0].float()
        return outputs

    def logits(self, pixels: Tensor) -> Tensor:
        """The logits of float32 [n, 3, h, w], RGB in 0..255, with gradients where they are on."""
        import torch

        x, padded = self._prepared(pixels)
        made = self._at_own_resolution(x)
        if not isinstance(made, torch.Tensor):
            raise BadPlugin(
                f"{self._who}: {type(self._head).__name__} gives no single logits while it is in training mode"
            )
        return self._fitted(made, padded, (int(pixels.shape[-2]), int(pixels.shape[-1])))

    def classify(self, features: Tensor, size: tuple[int, int]) -> Tensor:
        """Logits [C, h', w'] of features [D, h, w] of a view of ``size``."""
        import torch

        with torch.no_grad():
            logits: Tensor = self._head.conv_seg(features[None]).float()
        return self._fitted(logits, size, size)[0]

    def _prepared(self, pixels: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """As the config's data_preprocessor does it, in the same order of operations."""
        from torch.nn import functional

        x = pixels if self._recipe.rgb else pixels.flip(1)
        if self._mean is not None and self._std is not None:
            x = (x - self._mean) / self._std
        bottom, right = (-side % self._recipe.divisor for side in x.shape[-2:])
        if bottom or right:
            x = functional.pad(x, (0, right, 0, bottom), value=self._recipe.pad_value)
        return x, (int(x.shape[-2]), int(x.shape[-1]))

    def _at_own_resolution(self, x: Tensor) -> object:
        """The head's own prediction, before it resizes it to the image."""
        size = tuple(x.shape[-2:])
        metas = [{"img_shape": size, "pad_shape": size, "ori_shape": size} for _ in x]
        # Heads differ in what their forward returns; their ``predict`` sorts that out and then calls this.
        self._head.predict_by_feat = lambda logits, *_, **__: logits
        try:
            return cast("Any", self.segmentor).encode_decode(x, metas)
        except (RuntimeError, ValueError, AssertionError) as error:
            raise failed(f"{self._who}: {type(self._head).__name__}", x, error) from error
        finally:
            del self._head.predict_by_feat

    def _fitted(self, logits: Tensor, padded: tuple[int, int], size: tuple[int, int]) -> Tensor:
        """Logits that cover the view as half-pixel bilinear resizing reads them: left alone wherever they already do.

        Heads with ``align_corners`` put the centres of the outermost cells on those of the outermost pixels, and what
        was added to an image must be cut off where it ends: both need logits at the size of the image.
        """
        from torch.nn import functional

        corners = bool(self._head.align_corners)
        if not corners and padded == size:
            return logits
        full = functional.interpolate(logits, size=padded, mode="bilinear", align_corners=corners)
        return full[..., : size[0], : size[1]]
