"""The best class score of a mask classifier."""

from torch import Tensor

from bench.api import Method, Prediction, State


class MaskMax(Method):
    """Score = 1 - max_c L_c, where L_c are the class scores: as MSP, though nothing makes them add up to 1.

    L_c = sum_q softmax(query q)_c sigmoid(mask q). Where several queries claim a pixel the score is below 0.
    """

    name = "mask_max"
    source = (
        "Rai et al., Unmasking Anomalies in Road-Scene Segmentation (Mask2Anomaly), ICCV 2023, arXiv:2307.13316, the"
        " anomaly score; shyam671/Mask2Anomaly@455f613, anomaly_utils/anomaly_inference.py, without its mirror image"
        " and its refinement by masks of things"
    )
    needs = frozenset({"class_scores"})

    def score(self, prediction: Prediction, state: State) -> Tensor:
        return 1 - prediction.class_scores.max(dim=0).values
