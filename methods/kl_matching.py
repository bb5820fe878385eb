"""Distance of the softmax to the mean softmax of each class."""

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from bench.api import IGNORE, Fitting, Labels, Prediction, Sample, State
from bench.contract.smoothed import Smoothed
from bench.core.errors import MissingData
from bench.fit.features import samples
from bench.fit.features.exact_sums import ExactSum
from bench.ops import dense, transfer


class KlMatching(Smoothed):
    """Score = min_k KL(p || d_k), where p = softmax(z) and d_k is the mean of p over the pixels predicted as class k.

    Needs a fit, which takes all labelled pixels, whatever their label. A class that is never predicted in the data has
    no distribution, and nothing is matched with it. The means are exact: no order of the images changes a digit.
    """

    name = "kl_matching"
    source = "Hendrycks et al., Scaling Out-of-Distribution Detection for Real-World Settings, arXiv:1911.11132"
    fitting = Fitting(must=True, reads=frozenset())
    computations = Smoothed.computations | {"features"}

    def fit(self, stream: Iterable[tuple[Prediction, Sample]], seed: int) -> State:
        """``distributions``: float64 [K, C] of the K classes that are predicted; ``pixels``: int64 [K]."""
        total = ExactSum()
        for prediction, sample in stream:
            if "logits" not in prediction.raw:
                raise MissingData(
                    "kl_matching cannot be fitted on probabilities averaged over scales or mirror images; "
                    "say average: logits in the model's inference"
                )
            total.add(_by_class(prediction.logits, samples.labels_of(sample, self.name)))
        counted = total.value()
        if not counted.any():
            raise MissingData("kl_matching cannot be fitted: no labelled pixel in the data")
        sums, pixels = counted[:, :-1], counted[:, -1]
        present = pixels > 0
        return {
            "distributions": sums[present] / pixels[present, None],
            "pixels": pixels[present].astype(np.int64),
        }

    def score(self, prediction: Prediction, state: State) -> Tensor:
        logits = prediction.logits
        smallest = np.finfo(np.float32).tiny  # a class that is impossible in float32 has a logarithm all the same
        known = torch.from_numpy(np.log(np.maximum(state["distributions"], smallest)).astype(np.float32))
        known = known.to(logits.device)
        score = torch.empty_like(logits[0])
        for start in range(0, len(score), dense.ROWS):
            rows = slice(start, start + dense.ROWS)
            logs = logits[:, rows].log_softmax(dim=0).flatten(1)
            shares = logs.exp()
            nearest = (known @ shares).amax(dim=0)
            score[rows] = ((shares * logs).sum(dim=0) - nearest).reshape(-1, score.shape[1])
        return self.smoothed(prediction, score.clamp_(min=0))  # it is below 0 by rounding alone


def _by_class(logits: Tensor, labels: Labels) -> NDArray[np.float64]:
    """Return float64 [C, C + 1]: by predicted class the sum of the softmax over its pixels, and how many they are."""
    labelled = transfer.to_device(labels, logits.device) != IGNORE
    sums = logits.new_zeros(len(logits), len(logits) + 1, dtype=torch.float64)
    for start in range(0, logits.shape[1], dense.ROWS):
        rows = slice(start, start + dense.ROWS)
        block = logits[:, rows].flatten(1)
        predicted = functional.one_hot(block.argmax(dim=0), len(logits)).double() * labelled[rows].reshape(-1, 1)
        shares = functional.pad(block.double().softmax(dim=0), (0, 0, 0, 1), value=1.0)
        sums += predicted.T @ shares.T
    counted: NDArray[np.float64] = transfer.to_host(sums)
    return counted
