"""Segmentation networks: what they are given, and what they must do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from bench.contract import deprecated
from bench.contract.dataset import CITYSCAPES, Sample
from bench.contract.plugin import LATER, PlugIn
from bench.contract.prediction import Prediction
from bench.core.errors import BadPlugin

if TYPE_CHECKING:
    from torch import Tensor, nn


State = Literal["none", "per_image", "ordered"]


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """What one forward pass sees: a window of the scaled, perhaps mirrored image."""

    sample: str
    pixels: Tensor  # uint8 [3, h, w], RGB, on the device of the network
    scale: float
    flip: bool
    window: tuple[int, int, int, int]  # top, left, bottom, right in the scaled image
    scaled_size: tuple[int, int]  # (h, w) of the whole scaled image, filled up
    image_size: tuple[int, int]  # (H, W) of the labels
    content: tuple[int, int] | None = None  # (h, w) of the scaled image without what fills it up; None is all of it

    @property
    def input_size(self) -> tuple[int, int]:
        """(h, w) of the pixels."""
        return int(self.pixels.shape[1]), int(self.pixels.shape[2])


@dataclass(frozen=True)
class Inference:
    """How an image becomes views and views become one prediction. Part of the key of a cell.

    Windows average logits; scales and mirror images average probabilities or logits; the class map is the argmax of
    that. The image is resized by bilinear interpolation with half-pixel centres. Without antialiasing, ``bilinear`` is
    torch's in float32, rounded to uint8, and ``opencv`` is OpenCV's in fixed point, which the source systems use (the
    two differ by at most one grey level). ``pil`` is Pillow's, which averages over more pixels where it shrinks: what
    torchvision does to a PIL image.

    ``shortest`` and ``longest`` keep the proportions of an image: its shortest edge is brought to the one, unless the
    longest would exceed the other; ``longest`` alone is what the longest is brought to. Edges that follow are rounded
    down, as transformers' image processors do. Then sides become multiples of ``multiple``, by resizing or by filling
    up, and are filled up to ``pad`` at least: on the right and at the bottom, with ``fill``. What was filled up is cut
    off the outputs, once they were brought to the size of what the network saw. ``spacing: even`` has as few windows as
    cover a side, the overlap shared among them, in place of a stride.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid", "strict": True}

    size: tuple[int, int] | None = None  # (h, w) at scale 1; None is the image's own
    window: tuple[int, int] | None = None  # (h, w); None is the whole image
    stride: tuple[int, int] | None = None  # None is the window: no overlap but at the far edges
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False  # also the mirror image of every view
    average: Literal["probabilities", "logits"] = "probabilities"
    resize: Literal["bilinear", "opencv", "pil"] = "bilinear"
    shortest: int | None = field(default=None, metadata=LATER)
    longest: int | None = field(default=None, metadata=LATER)
    multiple: int = field(default=1, metadata=LATER)
    fit: Literal["up", "nearest", "down", "pad"] = field(default="up", metadata=LATER)  # to the multiple
    pad: tuple[int, int] | None = field(default=None, metadata=LATER)
    fill: tuple[int, int, int] = field(default=(0, 0, 0), metadata=LATER)  # R, G, B
    spacing: Literal["stride", "even"] = field(default="stride", metadata=LATER)

    @property
    def pads(self) -> bool:
        """True where an image may be filled up."""
        return self.pad is not None or (self.fit == "pad" and self.multiple > 1)

    def __post_init__(self) -> None:
        edges = [edge for edge in (self.shortest, self.longest) if edge is not None]
        sizes = [
            *(self.size or ()),
            *(self.window or ()),
            *(self.stride or ()),
            *(self.pad or ()),
            *edges,
            self.multiple,
        ]
        if any(side < 1 for side in sizes) or not self.scales or any(not scale > 0 for scale in self.scales):
            raise ValueError("sizes, windows and strides are at least 1, scales above 0, and at least one scale")
        if self.stride and not self.window:
            raise ValueError("a stride needs a window")
        if self.window and self.stride and any(s > w for s, w in zip(self.stride, self.window, strict=True)):
            raise ValueError("a stride larger than its window leaves pixels unseen")
        if self.size and edges:
            raise ValueError(
                "size is what an image is resized to, whatever its proportions; shortest and longest keep them"
            )
        if self.shortest and self.longest and self.longest < self.shortest:
            raise ValueError("longest is below shortest")
        if self.spacing == "even" and (self.stride or not self.window):
            raise ValueError("even spacing needs a window, and has no stride")
        if not all(0 <= value <= 255 for value in self.fill):
            raise ValueError("fill is R, G, B from 0 to 255")


@dataclass(frozen=True)
class SegModel(deprecated.OldModelNames, PlugIn, ABC):
    """The specification of a segmentation network: a value. A constructor reads no file; ``load`` makes the network."""

    inference: Inference = field(default_factory=Inference, kw_only=True)

    # Figures that its publishers say it makes: a method, as an entry of a suite, and globs by column of
    # ``bench list published`` that choose them.
    claims: ClassVar[tuple[tuple[str | Mapping[str, Any], Mapping[str, str]], ...]] = ()

    computations = frozenset({"inference", "scoring"})

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes in the order of the logits; data sets with other ones are not applicable to this network."""
        return CITYSCAPES

    @property
    def outputs(self) -> frozenset[str]:
        """Names of the outputs, and of what else there is to ask for.

        That is ``raw``, ``image``, ``again``, ``classify``, ``dropout``, ``forward`` where ``Network.forward`` gives
        gradients, and ``labels`` where the class map is not the argmax of ``logits`` or ``class_scores``.
        """
        return frozenset({"logits", "raw", "image"})

    @property
    def state(self) -> State:
        """The part of a network that images change, beside what it says of them.

        ``none`` is nothing. ``per_image``: ``reset`` is called before each image, and views of several images never go
        through together. ``ordered``: an image is seen in the state that those before it left; the whole data set is
        one shard, in its order, and results say so.
        """
        return "none"

    @abstractmethod
    def check(self) -> None:
        """Raise MissingData if a file is absent. Called before anything is computed; loads nothing."""

    @abstractmethod
    def digest(self) -> str:
        """Return 16 hex digits of the weights and of the code that reads them."""

    def about(self) -> Mapping[str, Any]:
        """Return what results say of it beside its parameters, as JSON has it; called after ``check``.

        ``uses_outliers: true``, where it was trained with pictures of anomalies, has it ranked apart.
        """
        return {}

    @abstractmethod
    def load(self, device: str) -> Network:
        """Read the weights onto ``cpu``, ``cuda`` or ``cuda:1`` and return the network, in evaluation mode."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        deprecated.adopt_model(cls)


class Network(ABC):
    """A network with its weights, on a device. Trainers apart, nothing changes them, but as ``state`` declares."""

    model: SegModel  # what it was loaded from; set by ``loaded``
    batched: bool = False  # views of several images may go through together: the output for one depends on no other

    @abstractmethod
    def predict(self, views: Sequence[View]) -> Sequence[Prediction]:
        """Return the predictions of equally sized views, from one forward pass where the network can.

        Each covers its view: its ``size`` is ``view.input_size``.
        """

    @abstractmethod
    def module(self) -> nn.Module:
        """Return the torch module: the one door for trainers. Raise BadPlugin if there is none."""

    def reset(self) -> None:
        """Be as it was loaded: called where the ``state`` of its model is ``per_image`` or ``ordered``."""
        raise BadPlugin(f"model {self.model.name} says state: {self.model.state}, but its network has no reset")

    def _compiled_part(self) -> nn.Module:
        """Return the part of the module that ``predict`` calls as a whole, with nothing hooked into it."""
        return self.module()

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits [n, C, h', w'] of float32 [n, 3, h, w], RGB in 0..255, with gradients.

        For those who train it, and for methods that need ``forward``. What ``module()`` computes in the mode that it is
        in, prepared as ``predict`` prepares images. Logits that are resized to h x w, bilinearly with half-pixel
        centres, cover the images. Raise BadPlugin if it cannot be trained.
        """
        raise BadPlugin(f"model {self.model.name} cannot be trained: it gives no gradients")

    def about(self) -> Mapping[str, Any]:
        """Return what results say of the loaded network, as JSON has it.

        ``backbone`` is what extracts its features, such as ``ResNetV1c-101``, for tables.
        """
        return {}


class ShardModel(SegModel):
    """The specification of a network that must see the samples of a shard together, before any is predicted."""

    @abstractmethod
    def load(self, device: str) -> ShardNetwork: ...

    @classmethod
    def __subclasshook__(cls, other: type) -> bool:
        """Count networks of the old contract in, which say ``by_shard``."""
        return True if cls is ShardModel and getattr(other, "by_shard", False) is True else NotImplemented


class ShardNetwork(Network):
    """A network that must see the samples of a shard together."""

    @abstractmethod
    def prepare(self, samples: Sequence[Sample]) -> None:
        """See all samples of a shard; called before the first of them is predicted."""


def loaded(model: SegModel, device: str) -> Network:
    """Return the network of a specification, which it knows from then on."""
    network: Network | None = model.load(device)
    if network is None:  # the contract before this one
        deprecated.warn(f"{type(model).__name__}.load that returns None", "return a Network, which predicts instead")
        network = _ItselfByShard(model) if isinstance(model, ShardModel) else _Itself(model)
    network.model = model
    return network


class _Itself(Network):
    """A specification of the old contract after ``load``: it predicts itself."""

    def __init__(self, specification: Any) -> None:
        self._specification = specification

    def predict(self, views: Sequence[View]) -> Sequence[Prediction]:
        several = getattr(self._specification, "predict_views", None)
        return list(several(views)) if several else [self._specification.predict(view) for view in views]

    def module(self) -> nn.Module:
        network: nn.Module = self._specification.module()
        return network

    def forward(self, pixels: Tensor) -> Tensor:
        own = getattr(self._specification, "forward", None)
        logits: Tensor = own(pixels) if own else super().forward(pixels)
        return logits

    def about(self) -> Mapping[str, Any]:
        return {"backbone": getattr(self._specification, "backbone", "")}


class _ItselfByShard(_Itself, ShardNetwork):
    """The same where the samples of a shard are seen together."""

    def prepare(self, samples: Sequence[Sample]) -> None:
        self._specification.prepare(samples)
