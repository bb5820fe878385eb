"""Several networks as one: an ensemble, snapshots of one network, or one network that sees an image in several ways."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import log
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bench.api import (
    Inference,
    ModelEntry,
    Network,
    Positive,
    Prediction,
    Sample,
    SegModel,
    ShardModel,
    ShardNetwork,
    View,
)
from bench.contract.network import State, loaded
from bench.core import files
from bench.core.errors import BadPlugin
from bench.models.derived import built

if TYPE_CHECKING:
    from torch import Tensor, nn

Aspect = tuple[float, bool]  # how a network sees a view: at which scale of it, and whether mirrored


@dataclass(frozen=True)
class Ensemble(SegModel):
    """The networks of ``members``, each an entry of its own; with ``flip`` and ``scales`` each sees a view so, too.

    ``members`` [M, C, h, w] are the logits of each network at each scale, upright before mirrored, at the finest of
    their resolutions. ``average`` says what is made of them: ``probabilities``, which have no logits;
    ``log_probabilities``, the logarithm of that average as ``logits``, which msp and entropy read rightly and scores
    that read the scale of logits, such as energy, do not; or ``logits``. The class map is the argmax of the average.

    ``inference`` is that of all members, and their own must be the default or the same. With ``resident: one`` a single
    network is in memory at a time: each goes over the images of a shard, and its logits wait on disk for the others. No
    digit depends on it.
    """

    name = "ensemble"
    source = "Lakshminarayanan et al., Simple and Scalable Predictive Uncertainty Estimation..., arXiv:1612.01474"

    members: tuple[ModelEntry, ...]
    average: Literal["probabilities", "log_probabilities", "logits"] = "probabilities"
    flip: bool = False
    scales: tuple[Positive, ...] = (1.0,)
    resident: Literal["all", "one"] = "all"

    def __post_init__(self) -> None:
        if not self.members or not self.scales or len(self.aspects) * len(self.members) < 2:
            raise ValueError("an ensemble has at least two members: networks, scales or mirror images")
        if len({*self.scales}) < len(self.scales):
            raise ValueError("scales name one of them twice")
        for network in self.networks:
            if "logits" not in network.outputs:
                raise ValueError(f"{network.name} gives no logits, and nothing else of members is averaged")
            if network.inference not in (Inference(), self.inference):
                raise ValueError(f"inference of {network.name} stands in the entry of the ensemble, for all members")
            if network.class_names != self.networks[0].class_names:
                raise ValueError(f"{network.name} has other classes than {self.networks[0].name}")
            if network.state not in ("none", self.state) or (network.state == "ordered" and self.resident == "one"):
                raise ValueError(
                    f"{network.name} has state {network.state}; members with one have the same, and ordered ones are"
                    " resident: all"
                )
            if isinstance(network, ShardModel) and len(self.aspects) > 1:
                raise ValueError(f"{network.name} sees images as they are; leave flip and scales out")

    @property
    def aspects(self) -> list[Aspect]:
        """How each network sees a view, in the order of the members."""
        return [(scale, mirrored) for scale in self.scales for mirrored in (False, True)[: 1 + self.flip]]

    @cached_property
    def networks(self) -> tuple[SegModel, ...]:
        """The specifications of its networks."""
        return tuple(built(entry, "a member of ensemble") for entry in self.members)

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.networks[0].class_names

    @property
    def outputs(self) -> frozenset[str]:
        averaged = "probabilities" if self.average == "probabilities" else "logits"
        return frozenset({"members", averaged, "raw", "image"})

    @property
    def state(self) -> State:
        return next((network.state for network in self.networks if network.state != "none"), "none")

    def check(self) -> None:
        for network in self.networks:
            network.check()

    def digest(self) -> str:
        parts = [*(network.digest() for network in self.networks), files.digest(Path(__file__))]
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]

    def about(self) -> Mapping[str, Any]:
        return {"uses_outliers": any(network.about().get("uses_outliers") for network in self.networks)}

    def load(self, device: str) -> Network:
        if self.resident == "one" or any(isinstance(network, ShardModel) for network in self.networks):
            return SpooledEnsembleNetwork(self, device)
        return EnsembleNetwork(self, [loaded(network, device) for network in self.networks])

    def combined(self, view: View, logits: Sequence[Tensor]) -> Prediction:
        """Return the prediction of a view from the logits of each member, [C, h, w] over the view at any resolution."""
        import torch

        from bench.ops import dense

        grid = max(each.shape[1] for each in logits), max(each.shape[2] for each in logits)
        members = torch.stack([dense.resize(each, grid) for each in logits])
        if self.average == "logits":
            averaged = members.mean(dim=0)
        elif self.average == "probabilities":
            averaged = torch.zeros_like(members[0])
            for each in members:
                averaged += each.softmax(dim=0)
            averaged /= len(members)
        else:  # in logarithms, where no probability is too small
            averaged = members.log_softmax(dim=1).logsumexp(dim=0) - log(len(members))
        name = "probabilities" if self.average == "probabilities" else "logits"
        return Prediction({name: averaged, "members": members}, view.input_size, image=view.pixels)

    def opinions(self, network: Network, view: View) -> Iterator[Tensor]:
        """Yield float32 [C, h, w], the logits of a network for each way to see a view, turned back.

        The view goes through alone, so that digits are the same whatever it would be batched with.
        """
        import torch

        from bench.models.inference import resize_image

        height, width = view.input_size
        for scale, mirrored in self.aspects:
            size = max(int(height * scale), 1), max(int(width * scale), 1)
            pixels = resize_image(view.pixels, size, self.inference.resize)
            seen = replace(view, pixels=(pixels.flip(-1) if mirrored else pixels).contiguous())
            with torch.no_grad():
                (prediction,) = network.predict([seen])
                logits = prediction.raw["logits"].float()
            yield logits.flip(-1) if mirrored else logits


class EnsembleNetwork(Network):
    """All networks of an ensemble with their weights."""

    def __init__(self, specification: Ensemble, networks: Sequence[Network]) -> None:
        self._specification, self.networks = specification, networks

    def predict(self, views: Sequence[View]) -> Sequence[Prediction]:
        opinions = self._specification.opinions
        return [
            self._specification.combined(view, [each for network in self.networks for each in opinions(network, view)])
            for view in views
        ]

    def reset(self) -> None:
        for network in self.networks:
            if network.model.state != "none":
                network.reset()

    def module(self) -> nn.Module:
        from torch import nn

        return nn.ModuleList([network.module() for network in self.networks])


class SpooledEnsembleNetwork(ShardNetwork):
    """An ensemble of which one network at a time is in memory; what each said of a shard lies on disk."""

    def __init__(self, specification: Ensemble, device: str) -> None:
        self._specification, self._device = specification, device
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._parameters: list[int] = []

    def prepare(self, samples: Sequence[Sample]) -> None:
        """Have each network go over all views of a shard."""
        import numpy as np

        from bench.models.inference import views
        from bench.ops import transfer

        self._folder = tempfile.TemporaryDirectory(prefix="bench-members-", ignore_cleanup_errors=True)
        self._parameters = []
        for number, specification in enumerate(self._specification.networks):
            network = loaded(specification, self._device)
            self._parameters.append(_parameters(network))
            if isinstance(network, ShardNetwork):
                network.prepare(samples)
            for sample in samples:
                if specification.state == "per_image":
                    network.reset()
                for view in views(sample, self._specification.inference, self._device):
                    for aspect, logits in enumerate(self._specification.opinions(network, view)):
                        np.save(self._file(view, number, aspect), transfer.to_host(logits.contiguous()))
            del network

    def predict(self, views: Sequence[View]) -> Sequence[Prediction]:
        import numpy as np
        import torch

        predictions = []
        for view in views:
            logits = [
                torch.from_numpy(np.load(self._file(view, number, aspect), allow_pickle=False)).to(self._device)
                for number in range(len(self._specification.networks))
                for aspect in range(len(self._specification.aspects))
            ]
            predictions.append(self._specification.combined(view, logits))
        return predictions

    def reset(self) -> None:
        """Do nothing: a network was reset before each image when it went over them."""

    def module(self) -> nn.Module:
        raise BadPlugin("model ensemble: one of its networks is in memory at a time, and there is no module of all")

    def about(self) -> Mapping[str, Any]:
        return {"parameters": sum(self._parameters)}

    def _file(self, view: View, number: int, aspect: int) -> Path:
        if self._folder is None:
            raise RuntimeError(f"model ensemble: {view.sample} belongs to no shard that was prepared")
        spot = hashlib.sha256(f"{view.sample} {view.scale} {view.flip} {view.window}".encode()).hexdigest()[:32]
        return Path(self._folder.name, f"{spot}-{number}-{aspect}.npy")


def _parameters(network: Network) -> int:
    """Return how many parameters a network has; 0 where it has no module."""
    try:
        return sum(tensor.numel() for tensor in network.module().parameters())
    except BadPlugin:
        return 0
