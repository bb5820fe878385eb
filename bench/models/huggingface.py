"""Networks of the package transformers, from a folder or by their name on the hub."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bench.api import File, Network, Positive, Prediction, SegModel, View
from bench.contract.plugin import LATER
from bench.core import files
from bench.core.disguised_files import disguise
from bench.core.errors import BadPlugin, BadSuite, MissingData, MissingPackage
from bench.models import huggingface_folder, huggingface_heads, huggingface_sizes
from bench.models.huggingface_folder import (
    CONFIG,
    PREPARATIONS,
    WHO,
    Preparation,
    id2label,
    named_classes,
    processor,
    read_settings,
)
from bench.models.huggingface_heads import Dense, Masks
from bench.models.preprocessing import failed

if TYPE_CHECKING:
    from torch import Tensor, nn

INSTALL = 'pip install "ood-seg-bench[transformers]"'
STORES = (  # in the order in which transformers looks for them: one file, or an index of several
    ("model.safetensors", "model.safetensors.index.json"),
    ("pytorch_model.bin", "pytorch_model.bin.index.json"),
)
TOKENS = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.json", "merges.txt")
TASK = "the task is semantic"  # as OneFormerProcessor spells it
EOMTS_OWN = ("network.encoder.", "network.q.")  # how names begin in checkpoints of tue-mps/eomt
RECOMPUTED = ".relative_position_index"  # of Swin: follows from the window's size, stored by older releases


CODE = (__file__, str(huggingface_folder.__file__), str(huggingface_heads.__file__))


@dataclass(frozen=True)
class Transformers(SegModel):
    """A semantic segmentation network or a mask classifier of transformers, from ``folder`` or by its name on ``hub``.

    A ``...ForSemanticSegmentation`` gives logits; those with a classifier of their own also the features before it, the
    classifier and the dropout between them. Mask classifiers (MaskFormer, Mask2Former, OneFormer, EoMT) give
    ``query_logits``, ``query_masks`` and ``class_scores``, which are no logits, ``mask_features`` and
    ``query_embeddings``, whose product the masks are, and the ``features`` of their backbone. ``class_scores`` are made
    of masks at the size of the view, or as transformers' own ``post_processing`` makes them. Images are normalised as
    ``preprocessor_config.json`` says, or as ``mean``, ``std``, ``scale`` and ``channels``; they are not resized as it
    says, but as ``inference`` does. Weights load strictly; no code of a checkpoint ever runs.
    """

    name = "transformers"
    source = "https://github.com/huggingface/transformers"

    folder: File | None = None  # with config.json, preprocessor_config.json and weights
    hub: str | None = None  # such as nvidia/segformer-b2-finetuned-cityscapes-1024-1024
    revision: str | None = None  # of what is on the hub: a commit, a tag, a branch
    classes: tuple[str, ...] | None = None  # None are those of config.json
    mean: tuple[float, float, float] | None = None  # of pixels in 0..1, in place of what preprocessor_config.json says
    std: tuple[Positive, Positive, Positive] | None = None
    scale: Positive = field(default=255.0, metadata=LATER)  # with mean and std: a pixel is (x / scale - mean) / std
    channels: Literal["rgb", "bgr"] = field(default="rgb", metadata=LATER)  # with mean and std
    post_processing: Literal["ours", "transformers"] = field(default="ours", metadata=LATER)
    sizes: Literal["free", "processor"] = field(default="free", metadata=LATER)  # processor: inference must be its rule

    def __post_init__(self) -> None:
        if (self.folder is None) == (self.hub is None):
            raise ValueError("it needs a folder or the name of one on the hub, and not both")
        if self.revision is not None and self.hub is None:
            raise ValueError("a revision is one of the hub, a folder has none")
        if (self.mean is None) != (self.std is None):
            raise ValueError("mean and std go together")
        if self.mean is None and (self.scale, self.channels) != (255.0, "rgb"):
            raise ValueError("scale and channels go with mean and std, in place of what preprocessor_config.json says")

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.classes or named_classes(self.place())

    @property
    def outputs(self) -> frozenset[str]:
        return frozenset({"raw", "image", "again"} | _head(self.place()).outputs)

    def check(self) -> None:
        for package in ("transformers", "huggingface_hub"):
            if importlib.util.find_spec(package) is None:
                raise MissingPackage(f"{WHO}: {package} is not installed; {INSTALL}")
        folder = self.place()
        if not folder.is_dir():
            raise MissingData(f"{WHO}: folder {folder} does not exist; paths in a suite are relative to its file")
        head = _head(folder)
        if self.post_processing == "transformers" and isinstance(head, Dense):
            raise BadSuite(
                f"{WHO}: post_processing is of masks, and {folder} gives logits, which transformers resizes as we do;"
                " leave it out"
            )
        self._check_sizes(folder, head)
        weight_files(folder)
        self._preparation(folder)
        known = len(id2label(folder))
        if self.classes and known and len(self.classes) != known:
            raise _other_count(f"{folder}/{CONFIG}", known, self.classes)
        if not self.classes:
            named_classes(folder)

    def _check_sizes(self, folder: Path, head: Dense | Masks) -> None:
        """Refuse an inference that is not the processor's where it must be, or not for a network of squares."""
        side = read_settings(folder, CONFIG).get("image_size") if isinstance(head, Masks) and head.fixed else None
        if isinstance(side, int) and not huggingface_sizes.all_squares(self.inference, side):
            raise BadSuite(
                f"{WHO}: the network in {folder} takes {side} x {side} pixels alone, images have many sizes; say"
                f" inference: {{shortest: {side}, window: [{side}, {side}], spacing: even}}, or, which distorts,"
                f" {{size: [{side}, {side}]}}"
            )
        if self.sizes == "free":
            return
        name, settings = processor(folder)
        try:
            rule = huggingface_sizes.by_processor(settings, _architecture(folder))
        except huggingface_sizes.Inexpressible as error:
            raise BadSuite(f"{WHO}: {folder}/{name} has no inference of its own: {error}; leave sizes out") from None
        if huggingface_sizes.differs(self.inference, rule):
            raise BadSuite(
                f"{WHO}: {folder}/{name} gives images other sizes than inference does; say inference:"
                f" {huggingface_sizes.spelled(rule)}, or leave sizes out"
            )

    def digest(self) -> str:
        folder = self.place()
        names = (CONFIG, *PREPARATIONS, *(TOKENS if _reads_text(folder) else ()))
        settings = [folder / name for name in names if (folder / name).is_file()]
        parts = [*settings, *weight_files(folder), *map(Path, CODE)]
        return hashlib.sha256(" ".join(map(files.digest, parts)).encode()).hexdigest()[:16]

    def load(self, device: str) -> Network:
        self.check()
        folder = self.place()
        network = read_network(folder, _architecture(folder)).to(device).eval().requires_grad_(False)
        count = int(network.config.num_labels)
        if count != len(self.class_names):
            raise _other_count(f"the network in {folder}", count, self.class_names)
        words = _tokens(folder, int(network.config.task_seq_len)).to(device) if _reads_text(folder) else None
        return TransformersNetwork(network, self._preparation(folder), self.post_processing, words)

    def _preparation(self, folder: Path) -> Preparation:
        if self.mean is None or self.std is None:
            return Preparation.read(folder)
        return Preparation(1 / self.scale, self.mean, self.std, self.channels == "bgr")

    def place(self) -> Path:
        return Path(self.folder) if self.folder is not None else snapshot(str(self.hub), self.revision)


class TransformersNetwork(Network):
    """A network of transformers with its weights, and how its images are prepared."""

    batched = True

    def __init__(
        self, net: nn.Module, prepared: Preparation, post_processing: str = "ours", words: Tensor | None = None
    ) -> None:
        """``words`` [1, length] are the tokens of the task, of a network that reads them."""
        self._net: Any = net
        self._prepared, self._words = prepared, words
        head = huggingface_heads.of(type(net).__name__)
        assert head is not None  # noqa: S101 - the specification looked
        self._head: Dense | Masks = head
        self._scored_at = head.scored_at if isinstance(head, Masks) and post_processing == "transformers" else "view"

    def about(self) -> Mapping[str, Any]:
        config = self._net.config
        return {"backbone": str(getattr(getattr(config, "backbone_config", None) or config, "model_type", ""))}

    def module(self) -> nn.Module:
        module: nn.Module = self._net
        return module

    def _compiled_part(self) -> nn.Module:
        if isinstance(self._head, Masks):
            part: nn.Module = self._net.get_submodule(self._head.whole)
            return part
        module: nn.Module = self._net.base_model  # features are hooked out of the head
        return module

    def forward(self, pixels: Tensor) -> Tensor:
        if isinstance(self._head, Masks):
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

        try:
            with torch.no_grad():
                outputs = huggingface_heads.outputs(self._net, self._head, self._prepared(pixels), self._words)
        except (RuntimeError, ValueError, AssertionError) as error:
            raise failed(f"{WHO}: {type(self._net).__name__}", pixels, error) from error
        return {name: output.float() for name, output in outputs.items()}

    def _prediction(self, outputs: Mapping[str, Tensor], image: Tensor) -> Prediction:
        size = int(image.shape[1]), int(image.shape[2])
        if isinstance(self._head, Masks):
            outputs = {**outputs, "class_scores": self._class_scores(outputs, size)}
            return Prediction(outputs, size, image=image, again=lambda other: self._again(other, image))
        dropout = self._net.get_submodule(self._head.dropout).p if self._head.dropout else None
        return Prediction(
            outputs,
            size,
            image=image,
            again=lambda other: self._again(other, image),
            classify=self._classify if self._head.classifier else None,
            dropout=None if dropout is None else float(dropout),
        )

    def _class_scores(self, outputs: Mapping[str, Tensor], size: tuple[int, int]) -> Tensor:
        """Return [C, h, w] of a view of that size, at the size where ``post_processing`` has masks weighed."""
        from bench.ops import queries

        masks, place = outputs["query_masks"], self._scored_at
        own = int(masks.shape[1]), int(masks.shape[2])
        grid = place if isinstance(place, tuple) else own if place == "own" else size
        return queries.class_scores(outputs["query_logits"], masks, grid)

    def _classify(self, features: Tensor) -> Tensor:
        import torch

        assert isinstance(self._head, Dense)  # noqa: S101 - offered by no other
        with torch.no_grad():
            logits: Tensor = self._net.get_submodule(self._head.classifier)(features[None])[0]
        return logits.float()


def _other_count(what: str, count: int, named: Sequence[str]) -> BadSuite:
    return BadSuite(
        f"{WHO}: {what} has {count} classes, the suite names {len(named)}; name all {count}, in their order: classes:"
        " [NAME, ...]"
    )


@cache
def snapshot(name: str, revision: str | None) -> Path:
    """The folder of a repository in the hub's cache, which is asked first; what is not in it is downloaded."""
    if importlib.util.find_spec("huggingface_hub") is None:
        raise MissingPackage(f"{WHO}: huggingface_hub is not installed; {INSTALL}")
    from huggingface_hub import snapshot_download

    # Files of tensors alone come first; a torch file only where there are none, and it is read as weights alone.
    for cached, pattern in product((True, False), ("model*.safetensors*", "pytorch_model*.bin*")):
        patterns = [CONFIG, *PREPARATIONS, *TOKENS, pattern]
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


def _architecture(folder: Path) -> str:
    named = read_settings(folder, CONFIG).get("architectures")
    kind = str(named[0]) if isinstance(named, list) and named else "no architecture"
    if huggingface_heads.of(kind) is None:
        others = [name for name in huggingface_heads.KNOWN if not name.endswith(huggingface_heads.SEMANTIC)]
        raise BadSuite(
            f"{WHO}: {folder}/config.json is of {kind}, wanted ...{huggingface_heads.SEMANTIC}, {' or '.join(others)}"
        )
    return kind


def _head(folder: Path) -> Dense | Masks:
    head = huggingface_heads.of(_architecture(folder))
    assert head is not None  # noqa: S101 - an architecture without one is refused
    return head


def _reads_text(folder: Path) -> bool:
    head = _head(folder)
    return isinstance(head, Masks) and head.text


def _tokens(folder: Path, length: int) -> Tensor:
    """Return the words of the semantic task as int64 [1, length], filled up with 0, as OneFormerProcessor has them."""
    import torch
    import transformers

    whole, *_, words, merges = TOKENS
    if not (folder / whole).is_file() and not ((folder / words).is_file() and (folder / merges).is_file()):
        raise MissingData(
            f"{WHO}: {folder} holds no tokenizer, which OneFormer reads its task with; copy {words} and {merges} from"
            " where the weights are from"
        )
    try:
        with _quiet():
            tokenizer = transformers.CLIPTokenizer.from_pretrained(folder, local_files_only=True)
            numbers = tokenizer([TASK], truncation=True, max_length=length)["input_ids"][0]
    # What is wrong with a folder comes as whatever class the part of transformers that stumbled over it raises.
    except Exception as error:
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise MissingData(f"{WHO}: the tokenizer in {folder} cannot be read: {reason}") from None
    return torch.tensor([[*numbers, *[0] * (length - len(numbers))]])


def weight_files(folder: Path) -> list[Path]:
    """The files that transformers reads the weights from."""
    for single, index in STORES:
        if (folder / single).is_file():
            return _as_named([folder / single])
        if (folder / index).is_file():
            listed = read_settings(folder, index).get("weight_map")
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


def read_network(folder: Path, architecture: str) -> Any:
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
    head = huggingface_heads.of(architecture)
    unread = head.training_alone if isinstance(head, Masks) else ()
    surplus = [
        name for name in report["unexpected_keys"] if not name.endswith(RECOMPUTED) and not name.startswith(unread)
    ]
    if any(name.startswith(EOMTS_OWN) for name in surplus):
        raise MissingData(
            f"{WHO}: weights in {folder} have the names of EoMT's own code, {min(surplus)}; those on DINOv3 are what is"
            " to be added to DINOv3's weights (a delta), not weights: convert them with transformers'"
            " convert_eomt_dinov3_to_hf, and give the folder that it writes"
        )
    wrong = [str(key[0] if isinstance(key, tuple) else key) for key in report["mismatched_keys"]]
    amiss = {"missing": report["missing_keys"], "surplus": surplus, "of another shape": wrong}
    parts = [f"{len(names)} {what} (first: {min(names)})" for what, names in amiss.items() if names]
    if parts:
        raise MissingData(f"{WHO}: weights in {folder} do not fit the network: {', '.join(parts)}")
    _check_kinds(network, weight_files(folder))
    if architecture.startswith("MaskFormer"):  # whose answers of earlier layers nobody reads; release 5 fails at them
        network.config.use_auxiliary_loss = False
    shares = getattr(network, "attn_mask_probs", torch.ones(0))
    if bool(((shares != 0) & (shares != 1)).any()):
        raise BadSuite(
            f"{WHO}: {folder} was saved while EoMT's masks were taken away by and by, attn_mask_probs are"
            f" {[round(float(share), 3) for share in shares]}: it would draw at random; give a checkpoint of the end of"
            " training"
        )
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
