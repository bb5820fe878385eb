"""Distance of the features to their nearest neighbours among training pixels."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge
from torch import Tensor
from torch.nn import functional

from bench.api import Fitting, Prediction, Sample, State
from bench.fit.features import samples
from bench.fit.features.bank import Bank
from bench.fit.features.detector import BankDetector, constant, pixelwise
from bench.fit.features.neighbours import mean_distance


@dataclass(frozen=True)
class Knn(BankDetector):
    """Score = mean Euclidean distance of the features to the ``k`` nearest of ``size`` labelled training pixels.

    The authors keep 100,000 pixels of 500 images of Cityscapes; time grows with ``size``. ``normalised`` divides
    features by their length first, as Sun et al. do (arXiv:2204.06507), who take the k-th distance instead.
    """

    name = "knn"
    source = (
        "Galesso, Argus and Brox, Far Away in the Deep Space: Dense Nearest-Neighbor-Based Out-of-Distribution"
        " Detection, ICCV workshops 2023, arXiv:2211.06660; silviogalesso/dense-ood-knns@8f80666"
    )
    fitting = Fitting(must=True, reads=frozenset({"size"}))

    k: Annotated[int, Ge(1)] = 3
    normalised: bool = False

    def fit(self, stream: Iterable[tuple[Prediction, Sample]], seed: int) -> State:
        """``bank``: float32 [m, D]."""
        bank = Bank(self.size, seed)
        for pixels in samples.labelled(stream, self.name):
            bank.add(pixels, pixels.features)
        return {"bank": bank.rows()}

    def score(self, prediction: Prediction, state: State) -> Tensor:
        features = prediction.raw["features"]
        bank = self._scaled(constant(state["bank"], features))

        def distance(pixels: Tensor) -> Tensor:
            return mean_distance(self._scaled(pixels), bank, self.k)

        return self.smoothed(prediction, pixelwise(features, len(bank) + self.k * len(features), distance))

    def _scaled(self, pixels: Tensor) -> Tensor:
        return functional.normalize(pixels, dim=1) if self.normalised else pixels
