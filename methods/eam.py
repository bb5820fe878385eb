"""An ensemble over the anomaly scores of masks."""

from torch import Tensor

from bench.api import Method, Prediction, State
from bench.ops import queries


class Eam(Method):
    """Score = 1 - sum_q sigmoid(mask q) max_c softmax(query q)_c, over all classes c but "no object".

    Every query is asked how sure it is of some class before its mask is laid over the image; two queries that claim a
    pixel for different classes make it usual twice. Masks are brought to the size of the view before the sigmoid.
    """

    name = "eam"
    source = (
        "Grcic, Saric and Segvic, On Advantages of Mask-level Recognition for Outlier-aware Segmentation, CVPR"
        " workshops 2023, arXiv:2301.03407; matejgrcic/Open-set-M2F@4f79cb7,"
        " mask2former/evaluation/ood_detection_evaluation.py"
    )
    needs = frozenset({"query_logits", "query_masks", "raw"})
    merge = "views"

    def score(self, prediction: Prediction, state: State) -> Tensor:
        sure = prediction.raw["query_logits"].float().softmax(dim=1)[:, :-1].amax(dim=1, keepdim=True)
        return 1 - queries.weighed(sure, prediction.raw["query_masks"], prediction.size)[0]
