"""ToyQuery: a mask classifier on ToyNet's features, trained on Toytown by ``python -m bench.fit.toyquery``."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.api import CITYSCAPES, Network, Prediction, SegModel, View
from bench.core.errors import MissingData
from bench.core.files import digest
from bench.models import toynet

if TYPE_CHECKING:
    from torch import Tensor, nn

WEIGHTS = Path(__file__).with_name("toyquery.safetensors")
WIDTH = 48  # of queries and mask features


@dataclass(frozen=True)
class ToyQuery(SegModel):
    """A mask classifier with 19 queries, one per class, at a quarter of the resolution; the trunk is ToyNet, frozen.

    The class map is the argmax of ``class_scores``. ``logits`` are ToyNet's own; beside them stand two heads that were
    trained with pasted patches: ``void_logit`` [h, w], the logit of a 20th class, and ``ood_logit`` [h, w], that of
    "this is an outlier". Nothing else of the network has seen an outlier.
    """

    name = "toyquery"
    source = "trained by this project on synthetic images; docs/toytown.md"

    @property
    def outputs(self) -> frozenset[str]:
        maps = {"logits", "class_scores", "query_logits", "query_masks", "void_logit", "ood_logit", "labels"}
        return frozenset(maps | {"raw", "image", "again"})

    def check(self) -> None:
        toynet.ToyNet().check()
        if not WEIGHTS.is_file():
            raise MissingData(
                f"{WEIGHTS} does not exist; install the package again, or run python -m bench.fit.toyquery"
            )

    def digest(self) -> str:
        parts = toynet.ToyNet().digest(), digest(WEIGHTS), digest(Path(__file__))
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]

    def load(self, device: str) -> Network:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
        from torch import nn

        self.check()
        net = network()
        trunk = toynet.ToyNet().load(device).module()
        try:
            net.load_state_dict(load_file(WEIGHTS))
        except (SafetensorError, RuntimeError) as error:  # torch says RuntimeError for tensors that do not fit
            raise MissingData(
                f"{WEIGHTS} is damaged: {str(error).splitlines()[0]}; install the package again"
            ) from None
        whole = nn.ModuleDict({"trunk": trunk, "queries": net.eval().requires_grad_(False).to(device)})
        return LoadedToyQuery(whole.eval())


class LoadedToyQuery(Network):
    """ToyQuery with its weights and those of its trunk."""

    def __init__(self, net: nn.Module) -> None:
        self._net = net

    def predict(self, views: Sequence[View]) -> Sequence[Prediction]:
        return [self._prediction(view.pixels.float(), view.pixels) for view in views]

    def module(self) -> nn.Module:
        return self._net

    def _prediction(self, image: Tensor, pixels: Tensor | None) -> Prediction:
        """Return what one forward pass of float32 [3, h, w] in 0..255 says; ``pixels`` are those of the view."""
        import torch

        from bench.ops import queries

        size = int(image.shape[1]), int(image.shape[2])
        with torch.no_grad():
            features, logits = self._net.get_submodule("trunk")(image[None])
            outputs = self._net.get_submodule("queries")(features)
        maps = {"logits": logits[0]} | {name: output[0] for name, output in outputs.items()}
        maps["class_scores"] = queries.class_scores(maps["query_logits"], maps["query_masks"], size)
        labels = maps["class_scores"].argmax(dim=0).byte()
        return Prediction(maps, size, labels=labels, image=pixels, again=lambda other: self._prediction(other, None))


def network() -> nn.Module:
    """Make all but the trunk, with random weights; it maps ToyNet's features [n, 48, h, w] to outputs by name.

    ``query_logits`` [n, 19, 20], ``query_masks`` [n, 19, h, w], ``void_logit`` and ``ood_logit`` [n, h, w].
    """
    import torch
    from torch import nn
    from torch.nn import functional

    classes = len(CITYSCAPES)

    def block(inside: int, outside: int) -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(inside, outside, 3, padding=1, bias=False), nn.BatchNorm2d(outside), nn.ReLU())

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pixels = nn.Sequential(block(48, WIDTH), nn.Conv2d(WIDTH, WIDTH, 1))
            self.queries = nn.Parameter(torch.randn(classes, WIDTH))
            self.keys = nn.Conv2d(48, WIDTH, 1)
            self.values = nn.Conv2d(48, WIDTH, 1)
            self.mix = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 96), nn.ReLU(), nn.Linear(96, WIDTH))
            self.mask = nn.Linear(WIDTH, WIDTH + 1)  # the last one is an offset
            self.kind = nn.Linear(WIDTH, classes + 1)
            self.outliers = nn.Sequential(block(48, 32), nn.Conv2d(32, 2, 1))

        def forward(self, features: Tensor) -> dict[str, Tensor]:
            coarse = functional.avg_pool2d(features, 4, ceil_mode=True)
            keys, values = self.keys(coarse).flatten(2), self.values(coarse).flatten(2)
            attention = (self.queries @ keys / WIDTH**0.5).softmax(dim=2)  # [n, Q, tokens]
            seen = self.queries + attention @ values.transpose(1, 2)
            hidden = seen + self.mix(seen)
            mask = self.mask(hidden)
            masks = torch.einsum("nqd,ndhw->nqhw", mask[..., :-1], self.pixels(features)) / WIDTH**0.5
            void, ood = self.outliers(features).unbind(dim=1)
            return {
                "query_logits": self.kind(hidden),
                "query_masks": masks + mask[..., -1, None, None],
                "void_logit": void,
                "ood_logit": ood,
            }

    return Net()
