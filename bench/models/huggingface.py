"""Networks of the package transformers, from a folder or by their name on the hub."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.api import File, Network, Positive, Prediction, SegModel, View
from bench.core import files
from bench.core.disguised_files import disguise
from bench.core.errors import BadPlugin, BadSuite, MissingData, MissingPackage
from bench.models.preprocessing import failed

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

INSTALL = 'pip install "ood-seg-bench[transformers]"'
WHO = "model transformers"
SEMANTIC = "ForSemanticSegmentation"  # how the architectures with logits end
QUERIES = ("MaskFormerForInstanceSegmentation", "Mask2FormerForUniversalSegmentation")
OPEN_HEADS = ("SegformerForSemanticSegmentation",)  # a classifier and the dropout before it, in the decode head
STORES = (  # in the order in which transformers looks for them: one file, or an index of several
    ("model.safetensors", "model.safetensors.index.json"),
    ("pytorch_model.bin", "pytorch_model.bin.index.json"),
)
CONFIG = "config.json"
PREPARATIONS = ("preprocessor_config.json", "processor_config.json")  # the second since release 5, with more in it
RECOMPUTED = ".relative_position_index"  # of Swin: follows from the window's size, stored by older releases


@dataclass(frozen=True)
class Transformers(SegModel):
    """A semantic segmentation network or a mask classifier of transformers, from ``folder`` or by its name on ``hub``.

    A ``...ForSemanticSegmentation`` gives logits; SegFormer also the features before its classifier, the classifier
    and the dropout between them. Mask classifiers (MaskFormer, Mask2Former) give ``query_logits``, ``query_masks`` and
    ``class_scores``, which are no logits. Images are normalised as ``preprocessor_config.json`` says, or ``mean`` and
    ``std``; they are not resized as it says, but as ``inference`` does. Weights load strictly; no code of a checkpoint
    ever runs.
    """

    name = "transformers"
    source = "https://github.com/huggingface/transformers"

    folder: File | None = None  # with config.json, preprocessor_config.json and weights
    hub: str | None = None  # such as nvidia/segformer-b2-finetuned-cityscapes-1024-1024
    revision: str | None = None  # of what is on the hub: a commit, a tag, a branch
    classes: tuple[str, ...] | None = None  # None are those of config.json
    mean: tuple[float, float, float] | None = None  # of pixels in 0..1, in place of what preprocessor_config.json says
    std: tuple[Positive, Positive, Positive] | None = None

    def __post_init__(self) -> None:
        if (self.folder is None) == (self.hub is None):
            raise ValueError("it needs a folder or the name of one on the hub, and not both")
        if self.revision is not None and self.hub is None:
            raise ValueError("a revision is one of the hub, a folder has none")
        if (self.mean is None) != (self.std is None):
            raise ValueError("mean and std go together")

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.classes or _classes(self._place())

    @property
    def outputs(self) -> frozenset[str]:
        kind = _architecture(self._place())
        if kind in QUERIES:
            return frozenset({"class_scores", "query_logits", "query_masks", "raw", "image", "again"})
        more = {"features", "classify", "dropout"} if kind in OPEN_HEADS else set()
        return frozenset({"logits", "raw", "image", "again"} | more)

    def check(self) -> None:
        for package in ("transformers", "huggingface_hub"):
            if importlib.util.find_spec(package) is None:
                raise MissingPackage(f"{WHO}: {package} is not installed; {INSTALL}")
        folder = self._place()
        if not folder.is_dir():
            raise MissingData(f"{WHO}: folder {folder} does not exist; paths in a suite are relative to its file")
        _architecture(folder)
        _weights(folder)
        self._preparation(folder)
        known = len(_id2label(folder))
        if self.classes and known and len(self.classes) != known:
            raise BadSuite(f"{WHO}: {folder}/{CONFIG} has {known} classes, the suite names {len(self.classes)}")
        if not self.classes:
            _classes(folder)

    def digest(self) -> str:
        folder = self._place()
        settings = [folder / name for name in (CONFIG, *PREPARATIONS) if (folder / name).is_file()]
        parts = [*settings, *_weights(folder), Path(__file__)]
        return hashlib.sha256(" ".join(map(files.digest, parts)).encode()).hexdigest()[:16]

    def load(self, device: str) -> Network:
        self.check()
        folder = self._place()
        network = _read(folder, _architecture(folder)).to(device).eval().requires_grad_(False)
        count = int(network.config.num_labels)
        if count != len(self.class_names):
            raise BadSuite(f"{WHO}: the network in {folder} has {count} classes, {len(self.class_names)} are named")
        return TransformersNetwork(network, self._preparation(folder))

    def _preparation(self, folder: Path) -> _Preparation:
        if self.mean is None or self.std is None:
            return _Preparation.read(folder)
        return _Preparation(1 / 255, self.mean, self.std, bgr=False)

    def _place(self) -> Path:
        return Path(self.folder) if self.folder is not None else _snapshot(str(self.hub), self.revision)


class TransformersNetwork(Network):
    """A network of transformers with its weights, and how its images are prepared."""

    batched = True

    def __init__(self, net: nn.Module, prepared: _Preparation) -> None:
        self._net: Any = net
        self._prepared = prepared

    def about(self) -> Mapping[str, Any]:
        config = self._net.config
        return {"backbone": str(getattr(getattr(config, "backbone_config", None) or config, "model_type", ""))}

    def module(self) -> nn.Module:
        module: nn.Module = self._net
        return module

    def _compiled_part(self) -> nn.Module:
        module: nn.Module = self._net.base_model  # features are hooked out of the head
        return module

    def forward(self, pixels: Tensor) -> Tensor:
        if type(self._net).__name__ in QUERIES:
            raise BadPlugin(f"{WHO}: {type(self._net).__name__} gives masks of queries, not logits of pixels to train")
        logits: Tensor = self._net(pixel_values=self._prepared(pixels)).logits
        return logits

    def predict(self, views: Sequence[View]) -> Sequence[Prediction]:
        import torch

        outputs = self._outputs(torch.stack([view.pixels for view in views]).float())
        return [
            self._prediction({name: batch[index] for name, batch in outputs.items()}, view.pixels)
            for index, view in enumerate(views)
        ]

    def _again(self, pixels: Tensor, image: Tensor) -> Prediction:
        outputs = self._outputs(pixels[None])
        return self._prediction({name: batch[0] for name, batch in outputs.items()}, image)

    def _outputs(self, pixels: Tensor) -> dict[str, Tensor]:
        """Return outputs by name, of float32 [n, 3, h, w], RGB in 0..255."""
        import torch

        features: list[Tensor] = []
        head = _open_head(self._net)
        hook = head and head.classifier.register_forward_pre_hook(lambda _, inputs: features.append(inputs[0]))
        try:
            with torch.no_grad():
                returned = self._net(pixel_values=self._prepared(pixels))
        except (RuntimeError, ValueError, AssertionError) as error:
            raise failed(f"{WHO}: {type(self._net).__name__}", pixels, error) from error
        finally:
            if hook:
                hook.remove()
        if type(self._net).__name__ in QUERIES:
            outputs = {"query_logits": returned.class_queries_logits, "query_masks": returned.masks_queries_logits}
        else:
            outputs = {"logits": returned.logits} | ({"features": features[0]} if head else {})
        return {name: output.float() for name, output in outputs.items()}

    def _prediction(self, outputs: Mapping[str, Tensor], image: Tensor) -> Prediction:
        size = int(image.shape[1]), int(image.shape[2])
        if "query_masks" in outputs:
            from bench.ops.queries import class_scores

            scores = class_scores(outputs["query_logits"], outputs["query_masks"], size)
            outputs = {**outputs, "class_scores": scores}
        head = _open_head(self._net)
        return Prediction(
            outputs,
            size,
            image=image,
            again=lambda other: self._again(other, image),
            classify=self._classify if head else None,
            dropout=float(head.dropout.p) if head else None,
        )

    def _classify(self, features: Tensor) -> Tensor:
        import torch

        with torch.no_grad():
            logits: Tensor = _open_head(self._net).classifier(features[None])[0]
        return logits.float()


def _open_head(network: nn.Module) -> Any:
    return network.decode_head if type(network).__name__ in OPEN_HEADS else None


@cache
def _snapshot(name: str, revision: str | None) -> Path:
    """The folder of a repository in the hub's cache, which is asked first; what is not in it is downloaded."""
    if importlib.util.find_spec("huggingface_hub") is None:
        raise MissingPackage(f"{WHO}: huggingface_hub is not installed; {INSTALL}")
    from huggingface_hub import snapshot_download

    # Files of tensors alone come first; a torch file only where there are none, and it is read as weights alone.
    for cached, pattern in product((True, False), ("model*.safetensors*", "pytorch_model*.bin*")):
        patterns = [CONFIG, *PREPARATIONS, pattern]
        try:
            folder = Path(snapshot_download(name, revision=revision, allow_patterns=patterns, local_files_only=cached))
        # Which library's exception says that there is no network depends on the release of the hub's client.
        except Exception as error:
            if cached:
                continue
            reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise MissingData(
                f"{WHO}: {name} is not in the cache of huggingface_hub and cannot be downloaded: {reason}; copy its "
                "folder from elsewhere and say folder: PATH"
            ) from None
        # What is cached may lack a file of the hub; what was downloaded has all that there are.
        prepared = not cached or any((folder / name).is_file() for name in PREPARATIONS)
        if any(folder.glob(pattern)) and (folder / CONFIG).is_file() and prepared:
            return folder
    raise MissingData(
        f"{WHO}: {name} on the hub lacks {CONFIG} or weights as {' or '.join(suffix for suffix, _ in STORES)}"
    )


def _settings(folder: Path, name: str) -> dict[str, Any]:
    path = folder / name
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MissingData(f"{WHO}: {path} does not exist; it comes with the weights") from None
    except (OSError, ValueError, RecursionError) as error:
        raise MissingData(f"{WHO}: {path} is no JSON: {disguise(path, 'json') or error}") from None
    if not isinstance(read, dict):
        raise MissingData(f"{WHO}: {path} holds no settings by name")
    return read


def _id2label(folder: Path) -> dict[str, Any]:
    labels = _settings(folder, CONFIG).get("id2label") or {}
    return labels if isinstance(labels, dict) else {}


def _architecture(folder: Path) -> str:
    named = _settings(folder, CONFIG).get("architectures")
    kind = str(named[0]) if isinstance(named, list) and named else "no architecture"
    if not kind.endswith(SEMANTIC) and kind not in QUERIES:
        raise BadSuite(f"{WHO}: {folder}/config.json is of {kind}, wanted ...{SEMANTIC}, {' or '.join(QUERIES)}")
    return kind


def _classes(folder: Path) -> tuple[str, ...]:
    labels = _id2label(folder)
    indices = [str(index) for index in range(len(labels))]
    if not labels or set(labels) != set(indices):
        raise BadSuite(
            f"{WHO}: {folder}/config.json does not name its classes 0, 1, ... in id2label; name them: classes"
        )
    return tuple(str(labels[index]) for index in indices)


def _weights(folder: Path) -> list[Path]:
    """The files that transformers reads the weights from."""
    for single, index in STORES:
        if (folder / single).is_file():
            return _as_named([folder / single])
        if (folder / index).is_file():
            listed = _settings(folder, index).get("weight_map")
            shards = sorted({str(shard) for shard in (listed.values() if isinstance(listed, dict) else ())})
            for shard in shards:
                if not (folder / shard).is_file():
                    raise MissingData(f"{WHO}: {folder / shard} does not exist, which {index} names")
            return [folder / index, *_as_named([folder / shard for shard in shards])]
    raise MissingData(f"{WHO}: {folder} holds no weights, wanted {' or '.join(single for single, _ in STORES)}")


def _as_named(paths: list[Path]) -> list[Path]:
    """The files of weights; refused where one is something else."""
    for path in paths:
        if instead := disguise(path, "safetensors", "torch", "pickle"):
            raise MissingData(f"{WHO}: weights {path} cannot be read: {instead}")
    return paths


def _read(folder: Path, architecture: str) -> Any:
    """The network with its weights, on the CPU; a name or shape that does not fit is refused."""
    import torch
    import transformers

    cls = getattr(transformers, architecture, None)
    if cls is None:
        raise BadSuite(f"{WHO}: transformers {transformers.__version__} has no {architecture}; install a newer one")
    try:
        with _quiet():
            network, report = cls.from_pretrained(
                folder,
                dtype=torch.float32,
                local_files_only=True,
                trust_remote_code=False,
                weights_only=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # it reports them, and they are refused below
            )
    # What is wrong with a folder comes as whatever class the part of transformers that stumbled over it raises.
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = f"{type(error).__name__}: {lines[0] if lines else ''}"
        raise BadPlugin(f"{WHO}: {folder} cannot be loaded: {reason}") from None
    surplus = [name for name in report["unexpected_keys"] if not name.endswith(RECOMPUTED)]
    wrong = [str(key[0] if isinstance(key, tuple) else key) for key in report["mismatched_keys"]]
    amiss = {"missing": report["missing_keys"], "surplus": surplus, "of another shape": wrong}
    parts = [f"{len(names)} {what} (first: {min(names)})" for what, names in amiss.items() if names]
    if parts:
        raise MissingData(f"{WHO}: weights in {folder} do not fit the network: {', '.join(parts)}")
    _check_kinds(network, _weights(folder))
    return network


def _check_kinds(network: nn.Module, paths: Sequence[Path]) -> None:
    """Refuse numbers of another kind than the network has, such as int8, which transformers converts unsaid."""
    from bench.core.weights import kind_of, kinds

    own = {name: kind_of(tensor.dtype) for name, tensor in network.state_dict().items()}
    for path in paths:
        for name, kind in kinds(path).items() if path.suffix != ".json" else ():
            if own.get(name, kind) != kind:
                raise MissingData(
                    f"{WHO}: weights {path}: {name} holds {kind} numbers, the network wants {own[name]}; save the"
                    " weights as they were before they were converted"
                )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No bars and no report of its own: what is wrong is said by us, in one line."""
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


@dataclass(frozen=True)
class _Preparation:
    """From pixels in 0..255 to what the network takes: (x factor - mean) / std, perhaps in the order B, G, R."""

    factor: float
    mean: Sequence[float]  # of three channels
    std: Sequence[float]
    bgr: bool

    @classmethod
    def read(cls, folder: Path) -> _Preparation:
        """As transformers' image processors do it, with their defaults, all but resizing, cropping and padding."""
        name = next((name for name in PREPARATIONS if (folder / name).is_file()), "")
        if not name:
            raise MissingData(
                f"{WHO}: {folder} holds no {' or '.join(PREPARATIONS)}, which say how images are normalised; copy it"
                " from where the weights are from, or say mean and std of pixels in 0..1, often"
                " mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]"
            )
        settings = _settings(folder, name)
        inner = settings.get("image_processor")
        settings = inner if isinstance(inner, dict) else settings
        mean: Any = [0.0, 0.0, 0.0]
        std: Any = [1.0, 1.0, 1.0]
        if settings.get("do_normalize", True):
            mean, std = settings.get("image_mean"), settings.get("image_std")
            if not all(map(_three_numbers, (mean, std))) or 0 in std:
                raise MissingData(
                    f"{WHO}: {folder}/{name} normalises without three numbers in image_mean and in image_std; say mean"
                    " and std"
                )
        factor = settings.get("rescale_factor", 1 / 255) if settings.get("do_rescale", True) else 1.0
        if not isinstance(factor, int | float):
            raise MissingData(
                f"{WHO}: {folder}/{name} has the rescale_factor {factor!r}, wanted a number; say mean and std"
            )
        return cls(factor, mean, std, bool(settings.get("do_flip_channel_order", False)))

    def __call__(self, pixels: Tensor) -> torch.Tensor:
        """float32 [n, 3, h, w]."""
        ordered = pixels.flip(1) if self.bgr else pixels
        mean, std = (ordered.new_tensor(values).view(-1, 1, 1) for values in (self.mean, self.std))
        return (ordered * self.factor - mean) / std


def _three_numbers(values: Any) -> bool:
    return isinstance(values, list) and len(values) == 3 and all(isinstance(value, int | float) for value in values)
