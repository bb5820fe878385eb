"""A score map made even within each object that SAM finds, with sharper borders."""

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Ge
from numpy.typing import NDArray
from torch import Tensor

from bench.api import Row, Scores
from bench.fit.sam import Mask, Sam, SamRefinement, nearest
from bench.ops import smoothing, transfer


@dataclass(frozen=True)
class Objectomaly(SamRefinement):
    """Score = mean of the map over the object of a pixel; then borders of objects are cleared, and all is filtered.

    Objects are the masks of SAM's automatic generator. From the smallest to the largest each is given the mean that the
    map has over it, so that the largest mask of a pixel decides; pixels of none keep their score. A pixel that is below
    its four neighbours together (Laplacian above 0) becomes the mean of those around it, of 3 x 3, whose Laplacian is
    0; last comes the 7 x 7 Gaussian of standard deviation 1.
    """

    name = "objectomaly"
    source = (
        "Song et al., Objectomaly: Objectness-Aware Refinement for OoD Segmentation with Structural Consistency and"
        " Boundary Precision, arXiv:2507.07460; hon121215/Objectomaly@ae84ddf, anomaly_utils/anomaly_inference.py;"
        " SAM: Kirillov et al., Segment Anything, arXiv:2304.02643"
    )
    refines = "mask2anomaly"

    of: str | dict[str, Any] = "mask2anomaly"
    points_per_side: Annotated[int, Ge(1)] = 32
    least_iou: float = 0.88  # that SAM must predict for a mask
    least_stability: float = 0.95  # share of a mask that stays when its threshold is raised from -1 to 1

    def segments(self, sam: Sam, image: Tensor, score: Scores) -> tuple[Row, NDArray[np.int64]]:
        size = int(score.shape[0]), int(score.shape[1])
        objects = sam.everything(image, self.points_per_side, self.least_iou, self.least_stability)
        whole = [(nearest(mask, size), overlap) for mask, overlap in objects]
        whole = sorted((each for each in whole if each[0].any()), key=lambda each: int(each[0].sum()))
        owners = np.zeros(size, np.int64)
        for number, (mask, _) in enumerate(whole, start=1):
            owners[mask] = number
        columns: dict[str, NDArray[Any]] = {
            "id": np.arange(1, len(whole) + 1),
            "level": np.array([score[mask].mean(dtype=np.float64) for mask, _ in whole], np.float32),
            "area": np.array([mask.sum() for mask, _ in whole], np.int64),
            "predicted_iou": np.array([overlap for _, overlap in whole], np.float32),
        }
        return columns, owners

    def changed(self, score: Scores, owned: Mask, level: Scores) -> Scores:
        even = cleared(np.where(owned, level, score).astype(np.float32))
        filtered: Scores = transfer.to_host(smoothing.gaussian(torch.from_numpy(even)))
        return filtered


def cleared(even: Scores) -> Scores:
    """Return a map [H, W] whose pixels below their neighbours are the mean of the even ones around them."""
    around = np.pad(even, 1, mode="reflect") if min(even.shape) > 1 else np.pad(even, 1, mode="edge")
    laplacian = around[:-2, 1:-1] + around[2:, 1:-1] + (around[1:-1, :-2] + around[1:-1, 2:]) - 4 * even
    flat = laplacian == 0
    sums, counts = _of_nine(np.where(flat, even, 0).astype(np.float64)), _of_nine(flat.astype(np.float64))
    low = (laplacian > 0) & (counts > 0)
    low[[0, -1]] = low[:, [0, -1]] = False  # the outermost pixels stay
    result: Scores = np.where(low, sums / np.maximum(counts, 1), even).astype(np.float32)
    return result


def _of_nine(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sum over the 3 x 3 pixels around each, [H, W], those beyond the edge as 0."""
    padded = np.pad(plane, 1)
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    total: NDArray[np.float64] = rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]
    return total
