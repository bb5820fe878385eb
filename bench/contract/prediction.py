"""What one network says about one view or one whole image: a lazy evaluator that all methods share."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, field
from math import log
from typing import TYPE_CHECKING, Any, TypeVar

from bench.core.values import Quantity

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")
Note = Callable[[Hashable, "Tensor"], None]  # told of a tensor that is handed out, and of a name for it


@dataclass(frozen=True, slots=True)
class Context:
    """Where a prediction stands; filled in by the engine, the defaults serve a prediction made by hand."""

    image_size: tuple[int, int]  # (H, W) of the labels of the whole image
    seed: int = 0  # of this view of this sample; what a method draws must derive from it
    fused: bool = False  # reduce the logits by the compiled pass
    asked: dict[Quantity, None] = field(default_factory=dict)  # so far, of this image and those before it


class _Noted(Mapping[str, "Tensor"]):
    """Outputs by name, none of which can be put in the place of another, and each noted when it is read."""

    def __init__(self, outputs: Mapping[str, Tensor], note: Note) -> None:
        self._outputs, self._note = outputs, note

    def __getitem__(self, name: str) -> Tensor:
        output = self._outputs[name]
        self._note(("raw", name), output)
        return output

    def __iter__(self) -> Iterator[str]:
        return iter(self._outputs)

    def __len__(self) -> int:
        return len(self._outputs)


class Prediction:
    """What one network says about one view, or, merged, about one whole image.

    Attributes are at label size, made on demand and shared by every method: ``prediction.logits`` is float32 [C, H,
    W], ``prediction.features`` float32 [D, H, W]. ``prediction.raw[name]`` is an output at the network's own
    resolution, for methods with ``raw`` in their ``needs``. Ask for the primitives (``max_logit``, ``other_mass``
    ...) rather than for the logits wherever they suffice: they are computed once for all methods, and on a CPU without
    ever holding the logits at label size. Whoever writes into a tensor of a prediction works on a ``clone()`` of it: a
    method that changes what others are given has no figures.

    Names of outputs that mean the same in every network: ``logits`` [C, h, w], exactly the classes of
    ``class_names``; ``class_scores`` [C, h, w], scores per class that are no logits and never go through a softmax;
    ``query_logits`` [Q, C + 1] and ``query_masks`` [Q, h, w], logits of a mask classifier, "no object" last,
    and ``query_negative`` [Q], the logit of "a negative" beside them; ``query_embeddings`` [Q, E] and ``mask_features``
    [E, h, w], whose product the masks are; ``members`` [M, C, h, w], logits of each member of an ensemble;
    ``features`` [D, h, w], what the classifier sees; ``score`` [h, w], the network's own suspicion.
    """

    def __init__(
        self,
        outputs: Mapping[str, Tensor],
        size: tuple[int, int],
        *,
        labels: Tensor | None = None,
        image: Tensor | None = None,
        again: Callable[[Tensor], Prediction] | None = None,
        classify: Callable[[Tensor], Tensor] | None = None,
        dropout: float | None = None,
        forward: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        """``outputs``: float32 [C, h, w] or [h, w]; ``size``: (H, W); ``labels``: uint8 [H, W] if not the argmax."""
        self._outputs = outputs
        self.size = size
        self._image = image
        self.again = again  # float32 [3, h, w] in 0..255 -> a second opinion
        self.classify = classify  # features [D, h, w] -> logits [C, h, w], without the dropout between them
        self.forward = forward  # float32 [n, 3, h, w] in 0..255 -> logits [n, C, h', w'], with gradients
        self.dropout = dropout  # rate at which whole channels of the features are dropped before ``classify``
        self.context = Context(size)
        self._labels = labels
        self._made: dict[Any, Any] = {}
        self._note: Note | None = None

    def lent(self, note: Note) -> Prediction:
        """Return what one of many methods is given: all that is computed is shared, attributes are its own.

        ``note`` is told of each shared tensor that is handed out.
        """
        lent = copy(self)
        lent._note = note
        return lent

    @property
    def raw(self) -> Mapping[str, Tensor]:
        """The outputs by name, float32 at the network's own resolution."""
        return self._outputs if self._note is None else _Noted(self._outputs, self._note)

    @raw.setter
    def raw(self, outputs: Mapping[str, Tensor]) -> None:
        self._outputs = outputs

    @property
    def own_labels(self) -> Tensor | None:
        """The class map that the network gave beside its outputs; None where it follows from them."""
        return self._labels

    @property
    def grids(self) -> frozenset[tuple[int, ...]]:
        """(h, w) of the outputs that are there; those that would have to be made first are left out."""
        if not isinstance(self._outputs, dict):
            return frozenset()
        return frozenset(tuple(output.shape[-2:]) for output in self._outputs.values() if output.ndim > 1)

    @property
    def image(self) -> Tensor | None:
        """uint8 [3, h, w], RGB, as the network saw it."""
        return None if self._image is None else self._handed("image", self._image)

    @image.setter
    def image(self, pixels: Tensor | None) -> None:
        self._image = pixels

    def __getattr__(self, name: str) -> Tensor:
        if name.startswith("_"):
            raise AttributeError(name)
        if name not in self._outputs:
            raise AttributeError(f"this network gives {', '.join(sorted(self._outputs)) or 'nothing'}, not {name!r}")
        return self._handed(name, self._resized(name))

    @property
    def labels(self) -> Tensor:
        """uint8 [H, W]: the class map that the network acts on."""
        if self._labels is not None:
            return self._handed("labels", self._labels)
        votes = next((name for name in ("class_scores", "probabilities") if name in self._outputs), None)
        if votes is None:
            return self._handed("labels", self._ask("top")[1])
        return self._handed("labels", self._once("labels", lambda: self._resized(votes).argmax(dim=0).byte()))

    @property
    def has_labels(self) -> bool:
        """Whether there is a class map at all."""
        return self._labels is not None or not {"logits", "probabilities", "class_scores"}.isdisjoint(self._outputs)

    @property
    def classes(self) -> int:
        """How many classes the logits have."""
        from bench.ops import reduce

        return reduce.count(self._outputs)

    @property
    def max_logit(self) -> Tensor:
        """float32 [H, W]."""
        return self._handed("max_logit", self._ask("top")[0])

    @property
    def argmax(self) -> Tensor:
        """uint8 [H, W]: the class of the largest logit, the lowest class where two are equal."""
        return self._handed("argmax", self._ask("top")[1])

    @property
    def top2_margin(self) -> Tensor:
        """float32 [H, W]: largest minus second largest logit."""
        return self._handed("top2_margin", self._ask("margin")[0])

    def logsumexp(self, temperature: float = 1.0) -> Tensor:
        """float32 [H, W]: log sum_c exp(z_c / T)."""
        key = "logsumexp", temperature
        return self._handed(key, self._once(key, lambda: self._ask("top")[0] / temperature + self._log1p(temperature)))

    def other_mass(self, temperature: float = 1.0) -> Tensor:
        """float32 [H, W]: 1 - max_c softmax(z / T)_c, without the cancellation of computing it so."""
        key = "other_mass", temperature
        others = self._ask(temperature)[0]
        return self._handed(key, self._once(key, lambda: others / (1 + others)))

    def entropy(self, temperature: float = 1.0) -> Tensor:
        """float32 [H, W]: Shannon entropy of softmax(z / T) in nats."""
        return self._handed(("entropy", temperature), self._entropy(temperature))

    def normalised_entropy(self, temperature: float = 1.0) -> Tensor:
        """float32 [H, W]: ``entropy`` divided by log C, from 0 to 1."""
        share = self._entropy(temperature) / log(self.classes)
        return share.clamp(max=1)  # rounding may put it above

    def softmax_at(self, index: Tensor) -> Tensor:
        """float32 [n, C]: the class probabilities of n pixels by flat index, without the whole volume."""
        from bench.ops import reduce

        return reduce.softmax_at(
            self._outputs, self.size, lambda: self._resized("logits"), index, fused=self.context.fused
        )

    def _handed(self, key: Hashable, tensor: Tensor) -> Tensor:
        """Return a shared tensor that a method is about to be given."""
        if self._note is not None:
            self._note(key, tensor)
        return tensor

    def _resized(self, name: str) -> Tensor:
        """An output at label size."""
        from bench.ops import dense

        return self._once(name, lambda: dense.resize(self._outputs[name], self.size))

    def _entropy(self, temperature: float) -> Tensor:
        others, weighted = self._ask(temperature)
        return self._once(("entropy", temperature), lambda: self._log1p(temperature) - weighted / (1 + others))

    def _log1p(self, temperature: float) -> Tensor:
        return self._once(("log1p", temperature), lambda: self._ask(temperature)[0].log1p())

    def _ask(self, quantity: Quantity) -> tuple[Tensor, ...]:
        """A reduction over the classes, together with those that were asked of the image before: one pass for all."""
        if quantity not in self._made:
            from bench.ops import reduce

            asked = self.context.asked
            asked[quantity] = None
            todo = [other for other in asked if other not in self._made]
            self._made |= reduce.classes(
                self._outputs, self.size, lambda: self._resized("logits"), todo, fused=self.context.fused
            )
        made: tuple[Tensor, ...] = self._made[quantity]
        return made

    def _once(self, key: Any, make: Callable[[], T]) -> T:
        if key not in self._made:
            self._made[key] = make()
        made: T = self._made[key]
        return made


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """A score that covers its view, at any resolution."""

    score: Tensor  # float32 [h, w]; higher is more suspicious; finite
    labels: Tensor | None = None  # uint8 [H, W]: only where `reference` reproduces a source that alters the class map
    logits: Tensor | None = None  # float32 [C, h, w]: the same where views are scored; merged in place of the network's
