"""Free energy, guided by the nearest training pixels."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor
from torch.nn import functional

from bench.api import Fitting, Prediction, Sample, State
from bench.fit.features import samples
from bench.fit.features.bank import Bank
from bench.fit.features.detector import BankDetector, constant, logits_at, pixelwise
from bench.ops import transfer


@dataclass(frozen=True)
class Nnguide(BankDetector):
    """Score = -E(z) G(f): E = logsumexp z, G the mean of the ``k`` largest E_i cos(f, f_i) over a bank of pixels i.

    The bank are ``size`` labelled training pixels; the authors keep one image of ImageNet in a hundred, and k = 10.
    """

    name = "nnguide"
    source = (
        "Park, Jung and Teoh, Nearest Neighbor Guidance for Out-of-Distribution Detection, ICCV 2023, arXiv:2309.14888,"
        " section 3"
    )
    needs = frozenset({"features", "logits", "raw"})
    fitting = Fitting(must=True, reads=frozenset({"size"}))

    k: Annotated[int, Ge(1)] = 10

    def fit(self, stream: Iterable[tuple[Prediction, Sample]], seed: int) -> State:
        """``guides``: float32 [m, D], features of length E_i."""
        bank = Bank(self.size, seed)
        for pixels in samples.labelled(stream, self.name, logits=True):
            directions = functional.normalize(torch.from_numpy(pixels.features), dim=1)
            energies = torch.from_numpy(pixels.logits).logsumexp(dim=1, keepdim=True)
            bank.add(pixels, transfer.to_host(directions * energies))
        return {"guides": bank.rows()}

    def score(self, prediction: Prediction, state: State) -> Tensor:
        features = prediction.raw["features"]
        guides = constant(state["guides"], features)

        def guidance(pixels: Tensor) -> Tensor:
            likeness = functional.normalize(pixels, dim=1) @ guides.T
            return likeness.topk(min(self.k, len(guides)), dim=1).values.mean(dim=1)

        guided = pixelwise(features, len(guides) + len(features), guidance)
        return self.smoothed(prediction, -guided * logits_at(prediction, features).logsumexp(dim=0))
