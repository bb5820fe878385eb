"""The best class score of a mask classifier, averaged over an image and its mirror image."""

from dataclasses import dataclass, field

from torch import Tensor

from bench.api import CITYSCAPES, Constants, Prediction, State
from bench.contract.plugin import LATER
from bench.contract.smoothed import Smoothed
from bench.core.errors import BadPlugin
from bench.ops import dense, queries

BACKGROUND = range(2, 11)  # building to sky of Cityscapes: stuff, without road and sidewalk
SURE = 0.95  # a query is, of its class
CLAIMED = 0.5  # by a sure query, at a pixel


@dataclass(frozen=True)
class Mask2anomaly(Smoothed):
    """Score = 1 - (max_c L_c(x) + max_c L_c(mirrored x)) / 2, L_c the class scores of a mask classifier.

    The second half asks the network again, of each view. With ``refinement`` each half is 0 where a query that is sure
    (softmax above 0.95) of a class of the background, from building to sky in Cityscapes, claims the pixel: its softmax
    times sigmoid(mask) is at least 0.5. As in the authors' code, a view with a single such query is left as it is.
    """

    name = "mask2anomaly"
    source = (
        "Rai et al., Unmasking Anomalies in Road-Scene Segmentation (Mask2Anomaly), ICCV 2023, arXiv:2307.13316;"
        " shyam671/Mask2Anomaly@455f613, anomaly_utils/anomaly_inference.py, mask2former/maskformer_model.py"
    )
    merge = "views"

    refinement: bool = field(default=False, metadata=LATER)

    @property
    def needs(self) -> frozenset[str]:
        masks = {"query_logits", "query_masks", "raw"} if self.refinement else set()
        return frozenset({"class_scores", "image", "again"} | masks)

    @property
    def fitting(self) -> Constants | None:
        return Constants(CITYSCAPES) if self.refinement else None

    def score(self, prediction: Prediction, state: State) -> Tensor:
        if prediction.again is None or prediction.image is None:
            raise BadPlugin("mask2anomaly: the network says that it gives image and again, but its prediction has not")
        other = prediction.again(prediction.image.float().flip(-1))
        mirrored = dense.resize(self._known(other).flip(-1), prediction.size)
        return self.smoothed(prediction, 1 - (self._known(prediction) + mirrored) / 2)

    def _known(self, prediction: Prediction) -> Tensor:
        """Return the largest class score, float32 [H, W], of one view; 1 where it is sure of the background."""
        known = prediction.class_scores.amax(dim=0)
        if not self.refinement:
            return known
        share, of_class = prediction.raw["query_logits"].float().softmax(dim=1).max(dim=1)
        sure = (share > SURE) & (of_class >= BACKGROUND.start) & (of_class < BACKGROUND.stop)
        weights = share * sure
        several = sure.sum() > 1
        for rows, masks in queries.in_rows(prediction.raw["query_masks"], prediction.size):
            claimed = (weights[:, None, None] * masks).amax(dim=0) >= CLAIMED
            known[rows] = known[rows].masked_fill(claimed & several, 1.0)
        return known
