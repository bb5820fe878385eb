"""A network whose batch normalisation follows the images that it sees."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import exp
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Le

from bench.api import ModelEntry, Network, Positive, Prediction, View
from bench.contract.network import loaded
from bench.core import files
from bench.core.errors import BadPlugin
from bench.models.derived import Derived

if TYPE_CHECKING:
    from torch import Tensor, nn

Statistics = tuple["Tensor", "Tensor"]  # mean and variance by channel, float32 [C]

EPSILON = 1e-8  # of the divergence, in the code of ATTA


@dataclass(frozen=True)
class Shift:
    """The weight of an image's statistics by how far it is from the training images: ATTA's first half.

    With d the sum over layers and channels of KL(N(image) || N(training)), and its ``mean`` and ``std`` over training
    images, the weight is 1 / (1 + exp(-slope ((d - mean) / std - threshold))). ``discrepancies`` measures d.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid", "strict": True}

    mean: float
    std: Positive
    threshold: float = 50.0
    slope: Positive = 0.1

    def weight(self, discrepancy: float) -> float:
        """Return the weight, from 0 to 1."""
        steep = self.slope * ((discrepancy - self.mean) / self.std - self.threshold)
        return 1 / (1 + exp(-steep)) if steep > 0 else exp(steep) / (1 + exp(steep))  # neither overflows


@dataclass(frozen=True)
class BatchNormAdapted(Derived):
    """The network ``base`` with batch normalisation by a mixture of its statistics and those of what it looks at.

    ``state: per_image``: each view is normalised by (1 - w) of the training statistics and w of its own, with w the
    parameter ``mix``, or by ``shift``. ``state: ordered``: what is mixed into remains for the views and images after
    it, as batch normalisation with the momentum ``mix`` would in training.

    A layer's own statistics are those of its input in the same pass, the variance unbiased. ``shift`` takes a pass
    more, under the training statistics. The affine parameters of the layers stay as they are, and so does all else.
    """

    name = "batch_norm_adapted"
    source = (
        "Gao et al., ATTA: Anomaly-aware Test-Time Adaptation..., arXiv:2309.05994, its selective batch normalisation,"
        " as lib/ood_seg.py and lib/network/mynn.py of gaozhitong/ATTA@dd0f801 have it; with mix, Schneider et al.,"
        " arXiv:2006.16971"
    )

    base: ModelEntry
    state: Literal["per_image", "ordered"] = "per_image"
    mix: Annotated[float, Ge(0), Le(1)] = 0.1
    shift: Shift | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self._base.state != "none":
            raise ValueError(f"its base has a state of its own, {self._base.state}")
        if self.shift and (self.state == "ordered" or self.mix != type(self).mix):
            raise ValueError("shift says how much is mixed in, for each image alone; leave out mix, and state: ordered")

    @property
    def _entry(self) -> str | Mapping[str, Any]:
        return self.base

    def check(self) -> None:
        self._base.check()

    def digest(self) -> str:
        return hashlib.sha256(f"{self._base.digest()} {files.digest(Path(__file__))}".encode()).hexdigest()[:16]

    def about(self) -> Mapping[str, Any]:
        return self._base.about()

    @property
    def outputs(self) -> frozenset[str]:
        return super().outputs - {"forward"}  # gradients are of a state that has gone when a method asks

    def load(self, device: str) -> Network:
        return AdaptedNetwork(self, loaded(self._base, device))


class AdaptedNetwork(Network):
    """The base with its layers of batch normalisation at hand."""

    def __init__(self, specification: BatchNormAdapted, network: Network) -> None:
        from torch.nn.modules.batchnorm import _BatchNorm

        self._specification, self._network = specification, network
        modules = [module for module in network.module().modules() if isinstance(module, _BatchNorm)]
        self._layers: list[Any] = [module for module in modules if module.running_mean is not None]
        if not self._layers:
            raise BadPlugin(f"model {self._specification.name}: {network.model.name} has no batch normalisation")
        self._trained = self._statistics()
        self._kept = self._trained  # what is mixed into

    def predict(self, views: Sequence[View]) -> Sequence[Prediction]:
        return [self._adapted(view) for view in views]

    def module(self) -> nn.Module:
        return self._network.module()

    def _compiled_part(self) -> nn.Module:
        raise BadPlugin(f"model {self._specification.name} looks into its layers, which nothing compiled has")

    def about(self) -> Mapping[str, Any]:
        return self._network.about()

    def reset(self) -> None:
        self._kept = self._trained

    def discrepancy(self, view: View) -> float:
        """Return the sum over layers and channels of KL(N(view) || N(training)), in nats."""
        seen: list[Statistics] = []
        trained: list[Statistics] = []

        def note(layer: Any, inputs: tuple[Tensor, ...]) -> None:
            seen.append(_of_batch(inputs[0], unbiased=False))
            trained.append((layer.running_mean, layer.running_var))

        with self._normalised_by(self._trained), _hooked(self._layers, note):
            self._network.predict([view])
        terms = [_divergence(*own, *known) for own, known in zip(seen, trained, strict=True)]
        return float(sum(terms))

    def _adapted(self, view: View) -> Prediction:
        shift = self._specification.shift
        weight = self._specification.mix if shift is None else shift.weight(self.discrepancy(view))

        def mix(layer: Any, inputs: tuple[Tensor, ...]) -> None:
            mean, variance = _of_batch(inputs[0], unbiased=True)
            layer.running_mean = (1 - weight) * layer.running_mean + weight * mean
            layer.running_var = (1 - weight) * layer.running_var + weight * variance

        with self._normalised_by(self._kept):
            with _hooked(self._layers, mix):
                (prediction,) = self._network.predict([view])
            mixed = self._statistics()
        if self._specification.state == "ordered":
            self._kept = mixed
        return self._bound(prediction, mixed)

    def _bound(self, prediction: Prediction, mixed: Sequence[Statistics]) -> Prediction:
        """Have the network asked again as it was for one view."""
        again, classify = prediction.again, prediction.classify
        if again is not None:

            def asked_again(pixels: Tensor) -> Prediction:
                with self._normalised_by(mixed):
                    other = again(pixels)
                return self._bound(other, mixed)

            prediction.again = asked_again
        if classify is not None:

            def classified(features: Tensor) -> Tensor:
                with self._normalised_by(mixed):
                    return classify(features)

            prediction.classify = classified
        return prediction

    def _statistics(self) -> list[Statistics]:
        return [(layer.running_mean, layer.running_var) for layer in self._layers]

    @contextmanager
    def _normalised_by(self, statistics: Sequence[Statistics]) -> Iterator[None]:
        """Have the layers normalise by some statistics inside the context, and by those of the training after it."""
        self._put(statistics)
        try:
            yield
        finally:
            self._put(self._trained)

    def _put(self, statistics: Sequence[Statistics]) -> None:
        for layer, (mean, variance) in zip(self._layers, statistics, strict=True):
            layer.running_mean, layer.running_var = mean, variance


def discrepancies(network: AdaptedNetwork, views: Sequence[View]) -> list[float]:
    """Return how far each view is from what the network was trained on; their mean and deviation are for ``Shift``."""
    return [network.discrepancy(view) for view in views]


@contextmanager
def _hooked(layers: Sequence[nn.Module], hook: Callable[[Any, tuple[Tensor, ...]], None]) -> Iterator[None]:
    handles = [layer.register_forward_pre_hook(hook) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _of_batch(pixels: Tensor, *, unbiased: bool) -> Statistics:
    """Return mean and variance by channel of [n, C, ...]; a single value has the variance 0."""
    import torch

    flat = pixels.float().transpose(0, 1).flatten(1)
    variance, mean = torch.var_mean(flat, dim=1, correction=int(unbiased and flat.shape[1] > 1))
    return mean, variance


def _divergence(mean: Tensor, variance: Tensor, known_mean: Tensor, known_variance: Tensor) -> float:
    """Return the sum over channels of KL(N(mean, variance) || N(known)), in nats."""
    own, known = variance.double(), known_variance.double() + EPSILON
    offset = (mean.double() - known_mean.double()) ** 2
    return float(0.5 * ((known / (own + EPSILON)).log() + (own + offset) / known - 1).sum())
