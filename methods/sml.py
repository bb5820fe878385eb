"""Standardised maximum logit."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.api import CITYSCAPES, Constants, Fitting, Prediction, Sample, Scored, State
from bench.contract.logit_score import LogitScore
from bench.core.errors import MissingData
from bench.ops import dense, transfer

Doubles = NDArray[np.float64]

# Mean and variance of the maximum logit by predicted class, in the order of Cityscapes' train ids, as the code of
# FlowEneDet has them for the networks of mmsegmentation. The older set is there too, out of use.
PUBLISHED = {
    "deeplabv3plus_r101": (
        (9.08941269, 7.89703083, 8.17335129, 6.33317661, 6.43940592, 6.93818569, 6.31334782, 6.80468702, 8.14266872,
         6.85002375, 7.37686396, 6.92912626, 5.62570429, 8.23272228, 5.52825022, 5.47206068, 5.05167723, 5.15879631,
         6.20896339),
        (2.55288291, 1.81396711, 2.16587615, 1.89423168, 1.78679729, 2.07765007, 1.50867808, 2.06212974, 1.90717423,
         1.70643413, 1.74401367, 2.09695888, 2.1290369, 1.9848628, 2.45909405, 2.29201245, 1.55197382, 2.02900386,
         1.87817681),
    ),
    "deeplabv3plus_r101_older": (
        (9.245036, 9.03187, 9.081645, 7.6389194, 7.596713, 8.109738, 7.4709554, 8.309173, 9.198976, 7.7139444,
         8.799796, 8.097538, 7.2400327, 9.727406, 7.582097, 6.83076, 6.517006, 6.925336, 7.2537894),
        (0.20769611, 0.9072598, 0.7005657, 0.97401094, 0.98806524, 1.3872538, 0.8447538, 1.0696217, 0.99043494,
         0.8490232, 0.35153958, 1.3806854, 1.3625157, 2.5833855, 1.0239671, 0.88884085, 0.8729633, 1.0973964,
         1.2293454),
    ),
    "segformer_b2": (
        (5.3805456, 3.6617112, 2.3302677, 1.9280645, 2.1789162, 2.9806347, 2.743042, 3.3491263, 3.8155932, 2.8279028,
         4.810911, 3.0563781, 2.7660158, 3.814196, 1.9745747, 1.6802019, 2.0725608, 2.4728982, 2.6950345),
        (2.1149895, 1.3118162, 0.59761196, 0.8517033, 1.024318, 1.8134747, 1.0817857, 1.9584851, 1.0542632, 1.1857089,
         1.0924104, 1.9609584, 1.6634685, 1.5961114, 1.0449332, 0.9658174, 0.84914696, 1.2382355, 1.3940778),
    ),
    "segformer_b5": (
        (5.5343714, 3.6296852, 2.6308858, 2.2637699, 2.7084043, 3.579329, 3.196027, 4.2705283, 4.094109, 3.1227248,
         4.4199615, 3.9328082, 3.1804786, 4.207104, 2.4737117, 2.8840616, 3.03795, 2.9464016, 3.1708856),
        (2.6823127, 1.3747933, 0.93583477, 0.9714503, 1.4102285, 2.3407507, 1.3723124, 3.440775, 1.3492926, 1.3778759,
         1.0351747, 2.6922424, 2.266627, 2.3636127, 1.2852088, 1.2875468, 1.2889034, 1.4584093, 1.9024252),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Sml(LogitScore):
    """Score = (mean_k - max_c z_c) / std_k of the maximum logit, by predicted class k; suppressed at boundaries.

    ``statistics: fitted`` takes mean and variance from the suite's ``fit``: of the maximum logit at label size over all
    pixels of the training images, labelled or not, by predicted class, as the paper has it. They are exact: no
    order of the images changes a digit. A class that was predicted in fewer than two pixels, or always with the same
    logit, gets the mean and the variance of all pixels together. The other names are statistics that were published,
    for networks with the 19 classes of Cityscapes; with them there is nothing to fit.

    ``fidelity: reference`` fits by the rule of FlowEneDet's code: pixels that are predicted rightly, image by image in
    the order of the data, from mean 0 and variance 1; the first image with at least two such pixels of a class replaces
    them, every later one moves them by 0.01 of the way. Variance between images is left out, and a class never seen
    keeps 0 and 1. Unlike that code it sees whole images without augmentation, and the network as it is evaluated.
    """

    name = "sml"
    source = "Jung et al., Standardized Max Logits, arXiv:2107.11264, section 3"

    statistics: Literal["fitted", "deeplabv3plus_r101", "deeplabv3plus_r101_older", "segformer_b2", "segformer_b5"] = (
        "fitted"
    )
    post: Literal["none", "gaussian", "boundary"] = field(default="boundary", kw_only=True)

    @property
    def fitting(self) -> Fitting | Constants:
        if self.statistics == "fitted":
            return Fitting(must=True, reads=frozenset({"fidelity", "statistics"}))
        return Constants(CITYSCAPES)

    def fit(self, stream: Iterable[tuple[Prediction, Sample]], seed: int) -> State:
        """``mean`` and ``variance``: float64 [C]; ``pixels``: int64 [C], how many each class was estimated from."""
        return _by_momentum(stream) if self.fidelity == "reference" else _exact(stream)

    def score(self, prediction: Prediction, state: State) -> Tensor | Scored:
        if self.statistics == "fitted":
            mean, variance = state["mean"], state["variance"]
        else:
            mean, variance = (np.array(values) for values in PUBLISHED[self.statistics])
        device = prediction.raw["logits"].device if self.fidelity == "reference" else prediction.max_logit.device
        centre, width = (
            torch.from_numpy(statistic.astype(np.float32)).to(device) for statistic in (mean, np.sqrt(variance))
        )

        def standardised(top: Tensor, classes: Tensor) -> Tensor:
            index = classes.long()
            return (top - centre[index]) / width[index]

        if self.fidelity == "reference":
            return self.by_source(prediction, lambda logits: standardised(*dense.top(logits)))
        return self.smoothed(prediction, -standardised(prediction.max_logit, prediction.argmax))


def _exact(stream: Iterable[tuple[Prediction, Sample]]) -> State:
    images: list[tuple[Doubles, Doubles, Doubles]] = []  # pixels, mean, sum of squared distances to it, by class
    for _, top, classes, count in _tops(stream):
        pixels = np.bincount(classes, minlength=count).astype(np.float64)
        mean = np.bincount(classes, top, count) / np.maximum(pixels, 1)
        away = top - mean[classes]
        squares = np.bincount(classes, away * away, count).astype(np.float64)
        images.append((pixels, mean, squares))
    if not images:
        raise MissingData("sml cannot be fitted: there is no image in the data")
    parts = np.array(images)  # [images, 3, C]
    mean, variance, pixels = (np.array(column) for column in zip(*map(_pooled, parts.transpose(2, 1, 0)), strict=True))
    all_mean, all_variance, _ = _pooled(parts.transpose(1, 0, 2).reshape(3, -1))
    if not all_variance > 0:
        raise MissingData("sml cannot be fitted: the network's maximum logit is the same in every pixel of the data")
    own = (pixels > 1) & (variance > 0)
    return {
        "mean": np.where(own, mean, all_mean),
        "variance": np.where(own, variance, all_variance),
        "pixels": pixels.astype(np.int64),
    }


def _pooled(parts: Doubles) -> tuple[float, float, float]:
    """Mean, variance and pixels of parts [3, n]; sums rounded once, so that their order does not matter."""
    pixels, means, squares = parts
    total = math.fsum(pixels)
    if not total:
        return 0.0, 0.0, 0.0
    mean = math.fsum(pixels * means) / total
    return mean, (math.fsum(squares) + math.fsum(pixels * (means - mean) ** 2)) / total, total


def _by_momentum(stream: Iterable[tuple[Prediction, Sample]]) -> State:
    mean, variance, pixels = np.zeros(0), np.ones(0), np.zeros(0, np.int64)
    for sample, top, classes, count in _tops(stream):
        if not len(mean):
            mean, variance, pixels = np.zeros(count), np.ones(count), np.zeros(count, np.int64)
        if sample.labels is None:
            raise MissingData(f"sml needs labels, sample {sample.id} has none")
        right = classes == sample.labels.reshape(-1)
        for k in range(count):
            values = top[right & (classes == k)]
            if len(values) < 2:
                continue
            pixels[k] += len(values)
            if mean[k] == 0 and variance[k] == 1:
                mean[k], variance[k] = values.mean(), values.var()
            else:
                mean[k] = 0.99 * mean[k] + 0.01 * values.mean()
                variance[k] = 0.99 * variance[k] + 0.01 * values.var()
    if not pixels.any():
        raise MissingData("sml cannot be fitted: no two pixels of a class are predicted rightly in any image")
    if not (variance > 0).all():
        stuck = ", ".join(str(k) for k in np.flatnonzero(variance <= 0))
        raise MissingData(
            f"sml cannot be fitted by the reference rule: the maximum logit of class {stuck} never varies"
        )
    return {"mean": mean, "variance": variance, "pixels": pixels}


def _tops(
    stream: Iterable[tuple[Prediction, Sample]],
) -> Iterator[tuple[Sample, Doubles, NDArray[np.uint8], int]]:
    """Sample, maximum logit and its class of every pixel at label size, and the number of classes."""
    count = 0
    for prediction, sample in stream:
        if "logits" not in prediction.raw:
            raise MissingData(
                "sml cannot be fitted on probabilities averaged over scales or mirror images; "
                "say average: logits in the model's inference"
            )
        count = count or prediction.classes
        top, classes = transfer.all_to_host([prediction.max_logit, prediction.argmax])
        yield sample, top.reshape(-1).astype(np.float64), classes.reshape(-1), count
