"""How little queries know of a class, and how much of a negative."""

import torch
from torch import Tensor

from bench.api import Prediction, State
from bench.contract.smoothed import Smoothed
from bench.ops import queries


class Uno(Smoothed):
    """Score = 1 - sum_q sigmoid(mask q) (max_c p_qc - p_q,negative), p_q the softmax of a query over all its logits.

    Those are the classes c, ``query_negative`` and "no object". A network with it was trained with negatives, pasted
    or generated. The constant is ours: it brings a pixel that one class is sure of near 0.
    """

    name = "uno"
    source = (
        "Delic, Grcic and Segvic, Outlier detection by ensembling uncertainty with negative objectness, BMVC 2024,"
        " arXiv:2402.15374; matejgrcic/Open-set-M2F"
    )
    needs = frozenset({"query_logits", "query_masks", "query_negative", "raw"})
    merge = "views"
    uses_outliers = True

    def score(self, prediction: Prediction, state: State) -> Tensor:
        logits, negative = (prediction.raw[name].float() for name in ("query_logits", "query_negative"))
        shares = torch.cat([logits, negative[:, None]], dim=1).softmax(dim=1)
        known = shares[:, :-2].amax(dim=1) - shares[:, -1]
        score = 1 - queries.weighed(known[:, None], prediction.raw["query_masks"], prediction.size)[0]
        return self.smoothed(prediction, score)
