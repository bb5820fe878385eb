"""Maps of a network's logits that calibrate its probabilities, by maximum likelihood on a sample of labelled pixels."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch
from annotated_types import Ge
from numpy.typing import NDArray
from torch import Tensor

from bench.api import IGNORE, Fitting, Prediction, Sample, Scores, State
from bench.contract.smoothed import Smoothed
from bench.core.errors import MissingData
from bench.fit.features.bank import Bank
from bench.fit.features.samples import Pixels, labels_of
from bench.ops import transfer

STEPS = 2000  # of L-BFGS, which takes some hundred
REMEMBERED = 50  # steps that it learns the curvature from: logits of one network differ much in size
FLAT = 1e-5  # slope of the mean loss, by any parameter, at which it has arrived
STILL = 1e-9  # share of the loss that a step must take off: where the optimum lies far out, it is not worth the way
NOTHING = 1e-5  # a mean loss below it is that of pixels that can be told apart: the larger the map, the better
ROWS = 64  # of logits that are mapped at once

Doubles = NDArray[np.float64]
Loss = Callable[[Doubles], tuple[float, Doubles]]  # of parameters: the value, and its derivative by each


@dataclass(frozen=True)
class Calibrated(Smoothed):
    """A score of softmax(z'), z' a fitted affine map of what ``inputs`` makes of the logits of a pixel.

    ``measure``: ``msp`` is 1 - max_c p_c, ``entropy`` the entropy of p in nats. The fit takes ``size`` labelled pixels
    at label size, drawn by the seed: neither the order of the images nor how they are divided matters. The class map of
    the network stays as it is, also where another class has the largest calibrated probability.

    A class without a pixel among them cannot be fitted. It is left out of the softmax there; afterwards it is mapped as
    an average class is, by the mean of the diagonal and an offset of 0, where offsets of the others add up to 0.
    """

    fitting = Fitting(must=True, reads=frozenset({"size"}))
    computations = Smoothed.computations | {"features"}

    measure: Literal["msp", "entropy"] = "msp"
    size: Annotated[int, Ge(1)] = 50_000  # labelled pixels of all images together

    @abstractmethod
    def inputs(self, logits: Tensor) -> Tensor:
        """Return what is mapped, [C, ...], of logits [C, ...]."""

    @abstractmethod
    def fitted(self, inputs: Doubles, labels: NDArray[np.int64]) -> tuple[Doubles, Doubles]:
        """Return weight [K, K] and offset [K] of pixels [n, K] with labels 0..K - 1, all of which there are."""

    def fit(self, stream: Iterable[tuple[Prediction, Sample]], seed: int) -> State:
        """``weight``: float64 [C, C]; ``offset``: float64 [C]; ``pixels``: int64 [C], by class."""
        bank = Bank(self.size, seed)
        for prediction, sample in stream:
            truth = labels_of(sample, self.name).reshape(-1)
            if "probabilities" in prediction.raw:
                raise MissingData(
                    f"{self.name} cannot be fitted: the network gives no logits; say average: logits in the model's"
                    " inference"
                )
            index = np.flatnonzero(truth != IGNORE)
            logits: NDArray[np.float32] = transfer.to_host(prediction.logits.flatten(1))[:, index].T
            pixels = Pixels(sample.id, 0, index, logits, truth[index], logits)
            bank.add(pixels, np.column_stack([logits, truth[index].astype(np.float32)]))
        rows = bank.rows()
        if not len(rows):
            raise MissingData(f"{self.name} cannot be fitted: no labelled pixel in the data")
        logits, labels = rows[:, :-1], rows[:, -1].astype(np.int64)
        counts = np.bincount(labels, minlength=logits.shape[1])
        there = np.flatnonzero(counts)
        inputs = transfer.to_host(self.inputs(torch.from_numpy(logits.T.astype(np.float64)))).T
        weight, offset = self.fitted(inputs[:, there], np.searchsorted(there, labels))
        whole = np.diag(np.full(len(counts), np.diag(weight).mean()))
        whole[np.ix_(there, there)] = weight
        offsets = np.zeros(len(counts))
        offsets[there] = offset - offset.mean()
        return {"weight": whole, "offset": offsets, "pixels": counts}

    def score(self, prediction: Prediction, state: State) -> Tensor:
        logits = prediction.logits
        weight, offset = (torch.from_numpy(state[name]).float().to(logits.device) for name in ("weight", "offset"))
        mapped = torch.empty_like(logits)
        for start in range(0, logits.shape[1], ROWS):
            part = self.inputs(logits[:, start : start + ROWS])
            mapped[:, start : start + ROWS] = torch.einsum("kc,chw->khw", weight, part) + offset[:, None, None]
        calibrated = Prediction({"logits": mapped}, prediction.size)
        calibrated.context = prediction.context
        return self.smoothed(prediction, calibrated.other_mass() if self.measure == "msp" else calibrated.entropy())

    def confidence(self, score: Scores) -> Scores | None:
        return 1 - score if self.measure == "msp" else None


def likelihood(mapped: Doubles, labels: NDArray[np.int64]) -> tuple[float, Doubles]:
    """Return the mean of -log softmax(mapped)[label] over n pixels [n, K], and its derivative by ``mapped``."""
    apart = mapped - mapped.max(axis=1, keepdims=True)
    exponentials = np.exp(apart)
    mass = exponentials.sum(axis=1, keepdims=True)
    rows = np.arange(len(labels))
    loss = float(np.log(mass[:, 0]).mean() - apart[rows, labels].mean())
    slope = exponentials / mass
    slope[rows, labels] -= 1
    return loss, slope / len(labels)


def minimised(loss: Loss, start: Doubles, who: str) -> Doubles:
    """Return where a loss is least. Raise MissingData, to ``who``, where it keeps falling: the pixels are too few."""
    from scipy.optimize import minimize
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):  # the number of threads moves the last digits of a sum
        options = {"maxiter": STEPS, "maxfun": 2 * STEPS, "maxcor": REMEMBERED, "ftol": STILL, "gtol": FLAT}
        outcome = minimize(loss, start, jac=True, method="L-BFGS-B", options=options)
    if not outcome.success or outcome.fun < NOTHING:
        raise MissingData(
            f"{who} cannot be fitted: its likelihood has no optimum on these pixels, which are too few, or labelled by"
            " the network itself; take more images, or raise size"
        )
    best: Doubles = outcome.x
    return best
