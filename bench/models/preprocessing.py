"""What networks that are a file of somebody's share: how pixels are prepared, and how outputs get their names."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AliasChoices, Field

from bench.api import CITYSCAPES, Network, Positive, Prediction, SegModel, View
from bench.contract.plugin import LATER
from bench.core.errors import BadPlugin

if TYPE_CHECKING:
    from torch import Tensor

    Returned = Tensor | Sequence[Tensor] | Mapping[str, Tensor]

SCORES = ("logits", "class_scores")  # one map per class
PLANES = ("score", "confidence", "void_logit", "ood_logit")  # one map, with or without an axis of length 1


@dataclass(frozen=True)
class FromPixels(SegModel):
    """A network that maps float32 [1, 3, h, w] to named outputs with a batch axis of 1.

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
    # The channel of ``logits`` beside those of the classes that is none: it becomes ``void_logit``.
    void: Literal["first", "last"] | None = field(default=None, kw_only=True, metadata=LATER)

    def __post_init__(self) -> None:
        names = {*self.output_names}
        if self.void and ("logits" not in names or "void_logit" in names):
            raise ValueError("void is a channel of the output logits, and becomes void_logit")
        if not names or len(names) < len(self.output_names) or {"score", "confidence"} <= names:
            raise ValueError("outputs are names, each once, and either score or confidence")

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.classes

    @property
    def outputs(self) -> frozenset[str]:
        named = {"score" if name == "confidence" else name for name in self.output_names}
        named |= {"class_scores"} if self.adds_up else set()
        return frozenset(named | {"raw", "image", "again"} | ({"void_logit"} if self.void else set()))

    @property
    def adds_up(self) -> bool:
        """True where ``class_scores`` are made of the queries."""
        names = {*self.output_names}
        return {"query_logits", "query_masks"} <= names and not names & {*SCORES, "labels"}


class PixelNetwork(Network):
    """A loaded network of this kind; a subclass runs it on prepared pixels."""

    def __init__(self, specification: FromPixels, place: str, device: str) -> None:
        """``place`` names the network in a complaint, such as its file."""
        import torch

        self._specification, self.place = specification, place
        self.names = specification.output_names
        self._mean, self._std = (
            torch.tensor(values, device=device).reshape(3, 1, 1) for values in (specification.mean, specification.std)
        )

    @abstractmethod
    def run(self, pixels: Tensor) -> Returned:
        """Return what prepared float32 [1, 3, h, w] give in one forward pass: by name, or in the order of ``names``."""

    def predict(self, views: Sequence[View]) -> Sequence[Prediction]:
        if len(views) == 1 or not self.batched:
            return [self._prediction(view.pixels.float(), view.pixels) for view in views]
        import torch

        with torch.inference_mode():
            returned = self._each_of(self.run(self._prepared(torch.stack([view.pixels for view in views]).float())))
            if len(returned) != len(views):
                raise BadPlugin(
                    f"{self._who} gives {len(returned)} predictions of a batch of {len(views)} images; say numerics:"
                    " {batch: 1} if it takes one at a time"
                )
            return [self._said(one, view.pixels) for one, view in zip(returned, views, strict=True)]

    def logits(self, pixels: Tensor) -> Tensor:
        """Return ``logits`` [n, C, h', w'] of float32 [n, 3, h, w], RGB in 0..255, as the network computes them."""
        from torch import Tensor

        returned = self.run(self._prepared(pixels))
        if not isinstance(returned, Mapping):
            parts = [returned] if isinstance(returned, Tensor) else list(returned)
            returned = dict(zip(self.names, parts, strict=False))
        logits, classes = returned.get("logits"), len(self._specification.classes)
        if not isinstance(logits, Tensor) or logits.ndim != 4 or logits.shape[1] != classes + bool(self._void):
            raise BadPlugin(
                f"{self._who} gives no logits of {classes} classes to train; its outputs are {', '.join(self.names)}"
            )
        return logits[:, 1:] if self._void == "first" else logits[:, :classes]

    @property
    def _void(self) -> str | None:
        return self._specification.void

    @property
    def _who(self) -> str:
        return f"model {self._specification.name}: {self.place}"

    def _prepared(self, pixels: Tensor) -> Tensor:
        """Return float32 [n, 3, h, w], RGB in 0..255, as the network wants it."""
        ordered = pixels.flip(1) if self._specification.channels == "bgr" else pixels
        return (ordered / self._specification.scale - self._mean) / self._std

    def _prediction(self, pixels: Tensor, image: Tensor) -> Prediction:
        """Return what the network says of float32 [3, h, w] in 0..255; ``image`` are the pixels of the view."""
        import torch

        with torch.inference_mode():
            return self._said(self.run(self._prepared(pixels[None])), image)

    def _each_of(self, returned: Returned) -> list[Returned]:
        """Return what a batch gave as that of each image, with a batch axis of 1."""
        from torch import Tensor

        if isinstance(returned, Mapping):
            columns = {name: _one_by_one(output) for name, output in returned.items() if isinstance(output, Tensor)}
            count = min(map(len, columns.values()), default=0)
            return [{name: parts[at] for name, parts in columns.items()} for at in range(count)]
        outputs = [returned] if isinstance(returned, Tensor) else list(returned)
        return list(zip(*map(_one_by_one, outputs), strict=False))

    def _said(self, returned: Returned, image: Tensor) -> Prediction:
        """Return the prediction for one image of what the network gave of it, with a batch axis of 1."""
        outputs = self._named(returned)
        size = int(image.shape[1]), int(image.shape[2])
        labels = outputs.pop("labels", None)
        if labels is not None:
            labels = self._class_map(labels, size)
        if self._specification.adds_up:
            from bench.ops import queries

            outputs["class_scores"] = queries.class_scores(outputs["query_logits"], outputs["query_masks"], size)
        return Prediction(outputs, size, labels=labels, image=image, again=lambda other: self._prediction(other, image))

    def _named(self, returned: Returned) -> dict[str, Tensor]:
        """Return the outputs without their batch axis, float32 but for ``labels``, checked."""
        from torch import Tensor

        if not isinstance(returned, Mapping):
            parts = [returned] if isinstance(returned, Tensor) else list(returned)
            if len(parts) != len(self.names):
                raise BadPlugin(
                    f"{self._who} gives {len(parts)} outputs, the suite's outputs are {', '.join(self.names)}; name"
                    " each, in their order"
                )
            returned = dict(zip(self.names, parts, strict=True))
        if missing := [name for name in self.names if not isinstance(returned.get(name), Tensor)]:
            raise BadPlugin(
                f"{self._who} gives {', '.join(sorted(returned))}, the suite's outputs name {', '.join(missing)} too"
            )
        outputs = {name: self._checked(name, returned[name]) for name in self.names}
        if "confidence" in outputs:
            outputs["score"] = 1 - outputs.pop("confidence")
        if self._void:
            logits = outputs["logits"]
            first = self._void == "first"
            outputs["logits"], outputs["void_logit"] = (logits[1:], logits[0]) if first else (logits[:-1], logits[-1])
        return outputs

    def _checked(self, name: str, output: Tensor) -> Tensor:
        """Return one output as a prediction holds it."""
        if output.ndim < 2 or len(output) != 1:
            raise BadPlugin(f"{self._who} gives {name} {list(output.shape)}, wanted a batch of one in front")
        plane = output[0]
        if name == "labels" or name in PLANES:
            plane = plane[0] if plane.ndim == 3 and len(plane) == 1 else plane
            if plane.ndim != 2:
                raise BadPlugin(f"{self._who} gives {name} {list(plane.shape)}, wanted [h, w]")
        if name == "labels":
            return plane
        plane, classes = plane.float(), len(self._specification.classes)
        wanted = classes + (name == "logits" and bool(self._void))
        if name in SCORES and (plane.ndim != 3 or len(plane) != wanted):
            more = plane.ndim == 3 and len(plane) == classes + 1 and name == "logits"
            cure = "say void: last, or first, if one more is no class" if more else "name further outputs on their own"
            beside = " and one for void" if wanted > classes else ""
            raise BadPlugin(
                f"{self._who} gives {name} {list(plane.shape)}, wanted [{wanted}, h, w], one per class{beside}; {cure}"
            )
        if name == "confidence" and not bool(((plane >= 0) & (plane <= 1)).all()):
            raise BadPlugin(f"{self._who} gives a confidence beyond 0..1; name it score if it is one")
        return plane

    def _class_map(self, labels: Tensor, size: tuple[int, int]) -> Tensor:
        """Return uint8 of ``size`` from whole numbers at any resolution."""
        from torch.nn import functional

        classes = len(self._specification.classes)
        if labels.is_floating_point() or labels.is_complex():
            raise BadPlugin(f"{self._who} gives labels of {labels.dtype}, wanted whole numbers")
        if labels.numel() and (int(labels.min()) < 0 or int(labels.max()) >= classes):
            raise BadPlugin(f"{self._who} gives the class {int(labels.max())}, wanted 0 to {classes - 1}")
        small = labels.byte()
        if tuple(small.shape) == size:
            return small
        return functional.interpolate(small[None, None], size=size, mode="nearest-exact")[0, 0]


def _one_by_one(batch: Tensor) -> list[Tensor]:
    return [batch[at : at + 1] for at in range(len(batch))]


def check_size(who: str, fixed: Sequence[object], size: Sequence[int]) -> None:
    """Refuse an image of another height and width than a network takes; a side that is no number is free."""
    if any(isinstance(side, int) and side != actual for side, actual in zip(fixed, size, strict=True)):
        sides = ", ".join(str(side) if isinstance(side, int) else "any" for side in fixed)
        raise BadPlugin(
            f"{who} takes images of [{sides}] alone, this one is {list(size)}; say inference: {{size: [h, w]}} to"
            " resize it, or {window: [h, w]} to slide over it"
        )


def failed(who: str, pixels: Tensor, error: Exception) -> Exception:
    """Return what to raise for a forward pass on [n, 3, h, w] that failed: one line with the usual cure.

    Want of memory is left as it is: the engine knows what to do.
    """
    if isinstance(error, MemoryError) or "allocate memory" in str(error) or type(error).__name__ == "OutOfMemoryError":
        return error
    return BadPlugin(
        f"{who} fails on {list(pixels.shape)}: {last_line(error)}; if it takes images of one size only, say so by"
        " inference: {size: [h, w]} or {window: [h, w]}"
    )


def last_line(error: Exception) -> str:
    """The last line of what an error says, which is where torch puts the cause."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
