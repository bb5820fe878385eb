"""Inner product of the features with the stored pattern of the predicted class."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from bench.api import Fitting, Prediction, Sample, State
from bench.fit.features import samples
from bench.fit.features.detector import FeatureDetector, constant, logits_at
from bench.fit.features.exact_sums import ExactSum


class She(FeatureDetector):
    """Score = -f . S_k for the predicted class k; S_k is the mean of the features of its rightly predicted pixels.

    Those are labelled training pixels. A class that is never predicted rightly has the pattern 0, so that its pixels
    score 0, above all that resemble their pattern.
    """

    name = "she"
    source = (
        "Zhang et al., Out-of-Distribution Detection based on In-Distribution Data Patterns Memorization with Modern"
        " Hopfield Energy, ICLR 2023, the simplified energy with inner products"
    )
    needs = frozenset({"features", "logits", "raw"})
    fitting = Fitting(must=True, reads=frozenset())

    def fit(self, stream: Iterable[tuple[Prediction, Sample]], seed: int) -> State:
        """``patterns``: float64 [C, D]; ``pixels``: int64 [C]."""
        sums = ExactSum()
        for pixels in samples.labelled(stream, self.name, logits=True):
            predicted = pixels.logits.argmax(axis=1)
            right = predicted == pixels.labels
            each = np.zeros((pixels.logits.shape[1], pixels.features.shape[1] + 1))
            for k in np.unique(predicted[right]):
                of_class = pixels.features[right & (predicted == k)]
                each[k] = [*of_class.sum(axis=0, dtype=np.float64), len(of_class)]
            sums.add(each)
        counted = sums.value()
        return {
            "patterns": counted[:, :-1] / np.maximum(counted[:, -1:], 1),
            "pixels": counted[:, -1].astype(np.int64),
        }

    def score(self, prediction: Prediction, state: State) -> Tensor:
        features = prediction.raw["features"]
        patterns = constant(state["patterns"], features)
        likeness = torch.einsum("dhw,kd->khw", features, patterns)
        predicted = logits_at(prediction, features).argmax(dim=0, keepdim=True)
        return self.smoothed(prediction, -likeness.gather(0, predicted)[0])
