"""Virtual logit: how far the features lie outside of the space that training features span."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge
from numpy.typing import NDArray
from torch import Tensor

from bench.api import Fitting, Prediction, Sample, State
from bench.core.errors import MissingData
from bench.fit.features import head, samples
from bench.fit.features.bank import Bank
from bench.fit.features.detector import HeadDetector, constant, logits_at, pixelwise
from bench.fit.features.moments import Moments

Doubles = NDArray[np.float64]

SAMPLE = 100_000  # training pixels that alpha is the ratio of two means over
FLAT = 1e-6  # share of the length of features below which their residual is rounding


@dataclass(frozen=True)
class Vim(HeadDetector):
    """Score = alpha |R (f - o)| - logsumexp z, the log-odds of the virtual logit in a softmax with the classes.

    o = -W^+ b, where the last layer W f + b is 0 as nearly as can be. The principal space are the ``dims`` widest
    directions of f - o over labelled training pixels, not centred again, and R projects on the rest. alpha = mean of
    max z over mean of |R (f - o)|, so that the virtual logit is as large as the best class on training pixels: over
    100,000 of them that the seed draws, where the authors take 200,000 images.

    ``dims`` is half of the channels unless said; the authors take 512 of 768 and 1000 of 2048.
    """

    name = "vim"
    source = "Wang et al., ViM: Out-Of-Distribution with Virtual-logit Matching, CVPR 2022, arXiv:2203.10807, section 4"
    needs = frozenset({"features", "logits", "raw", "classify"})

    dims: Annotated[int, Ge(0)] | None = None

    @property
    def fitting(self) -> Fitting:
        return Fitting(must=True, reads=frozenset({"dims"}))

    def fit(self, stream: Iterable[tuple[Prediction, Sample]], seed: int) -> State:
        """``origin``: float64 [D]; ``rest``: float64 [D - dims, D], directions; ``alpha``: float64 []."""
        moments, drawn, layer = Moments(), Bank(SAMPLE, seed), head.Weights(self.name)
        for pixels in samples.labelled(layer.watching(stream), self.name, logits=True):
            moments.add(pixels.features, pixels.labels)
            drawn.add(pixels, np.concatenate([pixels.features, pixels.logits.max(axis=1, keepdims=True)], axis=1))
        origin: Doubles = -np.linalg.pinv(layer.weight) @ layer.offset
        rest = self._rest(moments, origin)
        moved = drawn.rows()[:, :-1] - origin
        residual = float(np.linalg.norm(moved @ rest.T, axis=1).mean())
        if not residual > FLAT * float(np.linalg.norm(moved, axis=1).mean()):
            raise MissingData(
                f"vim cannot be fitted: all features lie in the {len(origin) - len(rest)} principal directions;"
                " say fewer, as in vim: {dims: 8}"
            )
        best = float(drawn.rows()[:, -1].astype(np.float64).mean())
        return {"origin": origin, "rest": rest, "alpha": np.array(best / residual)}

    def score(self, prediction: Prediction, state: State) -> Tensor:
        features = prediction.raw["features"]
        origin, rest = (constant(state[name], features) for name in ("origin", "rest"))

        def residual(pixels: Tensor) -> Tensor:
            length: Tensor = torch.linalg.vector_norm((pixels - origin) @ rest.T, dim=1)
            return length

        virtual = float(state["alpha"]) * pixelwise(features, 2 * len(features), residual)
        return self.smoothed(prediction, virtual - logits_at(prediction, features).logsumexp(dim=0))

    def _rest(self, moments: Moments, origin: Doubles) -> Doubles:
        """Return the directions outside of the principal space, [D - dims, D]."""
        channels = len(origin)
        dims = channels // 2 if self.dims is None else self.dims
        if dims >= channels:
            raise MissingData(f"vim: dims is {dims}, and the features have {channels} channels; say fewer")
        away = moments.mean() - origin
        directions = np.linalg.eigh(moments.covariances()[1] + np.outer(away, away))[1]
        rest: Doubles = directions[:, : channels - dims].T
        return np.ascontiguousarray(rest)
