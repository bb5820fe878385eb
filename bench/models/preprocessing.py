"""What networks that are a file of somebody's share: how pixels are prepared, and how outputs get their names."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AliasChoices, Field

from bench.api import CITYSCAPES, Positive, Prediction, SegModel, View
from bench.core.errors import BadPlugin

if TYPE_CHECKING:
    from torch import Tensor

    Given = Tensor | Sequence[Tensor] | Mapping[str, Tensor]

SCORES = ("logits", "class_scores")  # one map per class
PLANES = ("score", "confidence", "void_logit", "ood_logit")  # one map, with or without an axis of length 1


@dataclass(frozen=True)
class FromPixels(SegModel):
    """A network that maps float32 [1, 3, h, w] to named outputs with a batch axis of 1; a subclass runs it.

    Pixels are (x / scale - mean) / std in the given order of channels. ``outputs`` name what the network gives, at any
    resolution. Two of the names are not passed on as they are: ``labels`` [h, w] is the class map, whole numbers, and
    ``confidence`` [h, w] in 0..1 becomes ``score`` = 1 - confidence. Where ``query_logits`` and ``query_masks`` are
    given alone, ``class_scores`` are made of them.
    """

    scale: Positive = field(default=255.0, kw_only=True)
    mean: tuple[float, float, float] = field(default=(0.0, 0.0, 0.0), kw_only=True)
    std: tuple[Positive, Positive, Positive] = field(default=(1.0, 1.0, 1.0), kw_only=True)
    channels: Literal["rgb", "bgr"] = field(default="rgb", kw_only=True)
    # ``outputs`` in a suite; here that is what every network has under this name.
    output_names: Annotated[
        tuple[str, ...], Field(validation_alias=AliasChoices("outputs", "output_names"), serialization_alias="outputs")
    ] = field(default=("logits",), kw_only=True)
    classes: tuple[str, ...] = field(default=CITYSCAPES, kw_only=True)

    def __post_init__(self) -> None:
        if (
            not self.output_names
            or len(set(self.output_names)) < len(self.output_names)
            or {"score", "confidence"} <= {*self.output_names}
        ):
            raise ValueError("outputs are names, each once, and either score or confidence")

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.classes

    @property
    def outputs(self) -> frozenset[str]:
        named = {"score" if name == "confidence" else name for name in self.output_names}
        return frozenset(named | {"raw", "image", "again"} | ({"class_scores"} if self._adds_up else set()))

    def predict(self, view: View) -> Prediction:
        return self._look(view.pixels.float(), view.pixels)

    @property
    @abstractmethod
    def _place(self) -> str:
        """What to call the network in a complaint, such as its file."""

    @abstractmethod
    def _run(self, pixels: Tensor) -> Given:
        """One forward pass of float32 [1, 3, h, w], prepared."""

    def _prepare(self, device: str) -> None:
        """Put the constants where the pixels will be."""
        import torch

        # The fields are frozen because they name the model; what was made for it is not one of them.
        for name, values in (("_mean", self.mean), ("_std", self.std)):
            object.__setattr__(self, name, torch.tensor(values, device=device).reshape(3, 1, 1))

    def _logits(self, pixels: Tensor) -> Tensor:
        """The ``logits`` among the outputs of float32 [n, 3, h, w], RGB in 0..255, as the network computes them."""
        from torch import Tensor

        ordered = pixels.flip(1) if self.channels == "bgr" else pixels
        given = self._run((ordered / self.scale - self.__dict__["_mean"]) / self.__dict__["_std"])
        if not isinstance(given, Mapping):
            parts = [given] if isinstance(given, Tensor) else list(given)
            given = dict(zip(self.output_names, parts, strict=False))
        logits = given.get("logits")
        if not isinstance(logits, Tensor) or logits.ndim != 4 or logits.shape[1] != len(self.classes):
            raise BadPlugin(
                f"model {self.name}: {self._place} gives no logits of {len(self.classes)} classes to train; its outputs"
                f" are {', '.join(self.output_names)}"
            )
        return logits

    def _look(self, pixels: Tensor, image: Tensor) -> Prediction:
        """Float pixels in 0..255."""
        import torch

        ordered = pixels.flip(0) if self.channels == "bgr" else pixels
        with torch.inference_mode():
            given = self._run((ordered / self.scale - self.__dict__["_mean"])[None] / self.__dict__["_std"])
            outputs = self._named(given)
            size = int(image.shape[1]), int(image.shape[2])
            labels = outputs.pop("labels", None)
            if labels is not None:
                labels = self._class_map(labels, size)
            if self._adds_up:
                from bench.ops import queries

                outputs["class_scores"] = queries.class_scores(outputs["query_logits"], outputs["query_masks"], size)
        return Prediction(outputs, size, labels=labels, image=image, again=lambda other: self._look(other, image))

    @property
    def _adds_up(self) -> bool:
        named = {*self.output_names}
        return {"query_logits", "query_masks"} <= named and not named & {*SCORES, "labels"}

    def _named(self, given: Given) -> dict[str, Tensor]:
        """The outputs without their batch axis, float32 but for ``labels``, checked."""
        from torch import Tensor

        if not isinstance(given, Mapping):
            parts = [given] if isinstance(given, Tensor) else list(given)
            if len(parts) != len(self.output_names):
                raise BadPlugin(
                    f"model {self.name}: {self._place} gives {len(parts)} outputs, the suite's outputs are"
                    f" {', '.join(self.output_names)}; name each, in their order"
                )
            given = dict(zip(self.output_names, parts, strict=True))
        if missing := [name for name in self.output_names if not isinstance(given.get(name), Tensor)]:
            raise BadPlugin(
                f"model {self.name}: {self._place} gives {', '.join(sorted(given))}, the suite's outputs name"
                f" {', '.join(missing)} too"
            )
        found = {name: self._checked(name, given[name]) for name in self.output_names}
        if "confidence" in found:
            found["score"] = 1 - found.pop("confidence")
        return found

    def _checked(self, name: str, output: Tensor) -> Tensor:
        """One output as a prediction holds it."""
        if output.ndim < 2 or len(output) != 1:
            raise BadPlugin(
                f"model {self.name}: {self._place} gives {name} {list(output.shape)}, wanted a batch of one in front"
            )
        one = output[0]
        if name == "labels" or name in PLANES:
            one = one[0] if one.ndim == 3 and len(one) == 1 else one
            if one.ndim != 2:
                raise BadPlugin(f"model {self.name}: {self._place} gives {name} {list(one.shape)}, wanted [h, w]")
        if name == "labels":
            return one
        one = one.float()
        if name in SCORES and (one.ndim != 3 or len(one) != len(self.classes)):
            raise BadPlugin(
                f"model {self.name}: {self._place} gives {name} {list(one.shape)}, wanted [{len(self.classes)}, h, w],"
                f" one per class; name further outputs on their own"
            )
        if name == "confidence" and not bool(((one >= 0) & (one <= 1)).all()):
            raise BadPlugin(
                f"model {self.name}: {self._place} gives a confidence beyond 0..1; name it score if it is one"
            )
        return one

    def _class_map(self, labels: Tensor, size: tuple[int, int]) -> Tensor:
        """uint8 of ``size`` from whole numbers at any resolution."""
        from torch.nn import functional

        if labels.is_floating_point() or labels.is_complex():
            raise BadPlugin(f"model {self.name}: {self._place} gives labels of {labels.dtype}, wanted whole numbers")
        if labels.numel() and (int(labels.min()) < 0 or int(labels.max()) >= len(self.classes)):
            raise BadPlugin(
                f"model {self.name}: {self._place} gives the class {int(labels.max())}, wanted 0 to"
                f" {len(self.classes) - 1}"
            )
        small = labels.byte()
        if tuple(small.shape) == size:
            return small
        return functional.interpolate(small[None, None], size=size, mode="nearest-exact")[0, 0]


def check_size(who: str, fixed: Sequence[object], found: Sequence[int]) -> None:
    """Refuse an image of another height and width than a network takes; a side that is no number is free."""
    if any(isinstance(wanted, int) and wanted != side for wanted, side in zip(fixed, found, strict=True)):
        sides = ", ".join(str(wanted) if isinstance(wanted, int) else "any" for wanted in fixed)
        raise BadPlugin(
            f"{who} takes images of [{sides}] alone, this one is {list(found)}; say inference: {{size: [h, w]}} to"
            " resize it, or {window: [h, w]} to slide over it"
        )
