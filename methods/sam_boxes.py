"""A score map whose suspicious regions are the objects that SAM finds in their boxes."""

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge
from numpy.typing import NDArray
from torch import Tensor

from bench.api import Row, Scores
from bench.fit.sam import Mask, Sam, SamRefinement, box_of, nearest
from bench.ops import segments


@dataclass(frozen=True)
class SamBoxes(SamRefinement):
    """Score = the confidence of the best box whose mask has the pixel; without one, the map, at most ``threshold``.

    Boxes are those of the 8-connected regions of at least ``pixels`` pixels at or above the threshold, and the
    confidence of one is the mean of the map over its region. S2M has boxes and confidences from a detector that was
    trained on score maps with pasted objects, needs no threshold, and scores 0 outside of all masks: this is what is
    left of it without that network.
    """

    name = "sam_boxes"
    source = (
        "Zhao et al., Segment Every Out-of-Distribution Object, arXiv:2311.16516; WenjieZhao1/S2M@5eb3d47,"
        " tools/inference.py: a mask of SAM in each box; SAM: Kirillov et al., Segment Anything, arXiv:2304.02643"
    )
    refines = "msp"
    computations = SamRefinement.computations | {"segments"}

    threshold: float = 0.5  # in the scale of the map that it begins with
    pixels: Annotated[int, Ge(1)] = 50

    def segments(self, sam: Sam, image: Tensor, score: Scores) -> tuple[Row, NDArray[np.int64]]:
        regions = segments.label(score >= np.float32(self.threshold))
        size = int(score.shape[0]), int(score.shape[1])
        counts = np.bincount(regions.reshape(-1))[1:]
        sums = np.bincount(regions.reshape(-1), score.reshape(-1).astype(np.float64))[1:]
        large = np.flatnonzero(counts >= self.pixels)
        order = large[np.argsort(sums[large] / counts[large], kind="stable")]  # the best last, over the others
        boxes = np.array([box_of(regions == number + 1) for number in order], np.float64).reshape(-1, 4)
        scale = np.array([image.shape[2] / size[1], image.shape[1] / size[0]] * 2)
        masks = list(sam.inside(image, boxes * scale)) if len(boxes) else []
        owners = np.zeros(size, np.int64)
        for number, (mask, _) in enumerate(masks, start=1):
            owners[nearest(mask, size)] = number
        columns: dict[str, NDArray[Any]] = {
            "id": np.arange(1, len(masks) + 1),
            "level": (sums[order] / counts[order]).astype(np.float32),
            "region": counts[order].astype(np.int64),
            "area": np.array([nearest(mask, size).sum() for mask, _ in masks], np.int64),
            "predicted_iou": np.array([overlap for _, overlap in masks], np.float32),
        }
        return columns, owners

    def changed(self, score: Scores, owned: Mask, level: Scores) -> Scores:
        kept: Scores = np.where(owned, level, np.minimum(score, np.float32(self.threshold)))
        return kept
