"""The best class score of a mask classifier, averaged over an image and its mirror image."""

from torch import Tensor

from bench.api import Prediction, State
from bench.contract.smoothed import Smoothed
from bench.core.errors import BadPlugin
from bench.ops import dense


class Mask2anomaly(Smoothed):
    """Score = 1 - (max_c L_c(x) + max_c L_c(mirrored x)) / 2, L_c the class scores of a mask classifier.

    The second half asks the network again, of each view. The authors' refinement is left out: it multiplies by masks of
    things and road that their network gives beside the classes.
    """

    name = "mask2anomaly"
    source = (
        "Rai et al., Unmasking Anomalies in Road-Scene Segmentation (Mask2Anomaly), ICCV 2023, arXiv:2307.13316;"
        " shyam671/Mask2Anomaly@455f613, anomaly_utils/anomaly_inference.py"
    )
    needs = frozenset({"class_scores", "image", "again"})
    merge = "views"

    def score(self, prediction: Prediction, state: State) -> Tensor:
        if prediction.again is None or prediction.image is None:
            raise BadPlugin("mask2anomaly: the network says that it gives image and again, but its prediction has not")
        mirrored = prediction.again(prediction.image.float().flip(-1)).class_scores.amax(dim=0).flip(-1)
        plain = prediction.class_scores.amax(dim=0)
        return self.smoothed(prediction, 1 - (plain + dense.resize(mirrored, prediction.size)) / 2)
