"""Distance to the nearest training pixels and free energy, combined."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge
from torch import Tensor

from bench.api import Fitting, Prediction, Sample, State
from bench.core.errors import MissingData
from bench.fit.features import samples
from bench.fit.features.bank import Bank
from bench.fit.features.detector import BankDetector, constant, logits_at, pixelwise
from bench.fit.features.neighbours import mean_distance
from bench.ops import transfer

COMPARED = 30_000  # pixels of the bank whose distances say how far training pixels lie apart


@dataclass(frozen=True)
class Cdnp(BankDetector):
    """Score = (e - min e) / (max e - min e) + d / max d, with free energy e = -logsumexp z and ``knn``'s distance d.

    Minimum and maximum of e are over the labelled training pixels, and the largest d is over 30,000 pixels of the bank
    at most, each compared with all the others; the authors compare as many among themselves. They take the extremes of
    e over unlabelled pixels, too. So the score may leave [0, 2].
    """

    name = "cdnp"
    source = (
        "Galesso, Argus and Brox, Far Away in the Deep Space: Dense Nearest-Neighbor-Based Out-of-Distribution"
        " Detection, ICCV workshops 2023, arXiv:2211.06660; silviogalesso/dense-ood-knns@8f80666"
    )
    needs = frozenset({"features", "logits", "raw"})

    k: Annotated[int, Ge(1)] = 3

    @property
    def fitting(self) -> Fitting:
        return Fitting(must=True, reads=frozenset({"size", "k"}))

    def fit(self, stream: Iterable[tuple[Prediction, Sample]], seed: int) -> State:
        """``bank``: float32 [m, D]; ``energies``: float32 [2], smallest and largest; ``farthest``: float32 []."""
        bank, low, high = Bank(self.size, seed), np.inf, -np.inf
        for pixels in samples.labelled(stream, self.name, logits=True):
            bank.add(pixels, pixels.features)
            energies = -torch.from_numpy(pixels.logits).logsumexp(dim=1)
            low, high = min(low, float(energies.min())), max(high, float(energies.max()))
        known = torch.from_numpy(bank.rows())
        block = max(1, 2**22 // len(known))
        apart = [
            mean_distance(known[start : start + block], known, self.k, within=True)
            for start in range(0, min(len(known), COMPARED), block)
        ]
        farthest = transfer.to_host(torch.cat(apart).max())
        if not (farthest > 0 and high > low):
            raise MissingData("cdnp cannot be fitted: all labelled pixels have the same features, or the same energy")
        return {"bank": bank.rows(), "energies": np.array([low, high], np.float32), "farthest": np.array(farthest)}

    def score(self, prediction: Prediction, state: State) -> Tensor:
        features = prediction.raw["features"]
        bank = constant(state["bank"], features)
        low, high = (float(bound) for bound in state["energies"])
        energy = -logits_at(prediction, features).logsumexp(dim=0)

        def distance(pixels: Tensor) -> Tensor:
            return mean_distance(pixels, bank, self.k)

        apart = pixelwise(features, len(bank) + self.k * len(features), distance)
        return self.smoothed(prediction, (energy - low) / (high - low) + apart / float(state["farthest"]))
