"""What no sure query claims, less the borders between masks; and what chosen queries of a mask classifier claim."""

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor

from bench.api import Prediction, State
from bench.contract.smoothed import Smoothed
from bench.core.errors import BadSuite
from bench.ops import queries

SURE = 0.7  # probability above which a query's class counts
TOUCHES = 0.1  # mask above which a query is at a pixel


@dataclass(frozen=True)
class Maskomaly(Smoothed):
    """Score = w r + (1 - w) max_a m_a p_a over ``anomaly_queries`` a, where r is what the other queries leave over.

    m_q is the sigmoid of the mask of query q and p_q its largest probability, "no object" counted as a class. r is the
    least of 1 - m_q p_q over all queries that are sure of a class (p_q > 0.7), and over ``ground_queries``; before
    those, it is 0 where the masks of two queries with a class are both above 0.1: the border between two objects.

    Queries are chosen for one checkpoint. For facebook/mask2former-swin-large-cityscapes-semantic the authors have
    ``anomaly_queries: [49, 31, 83, 32]``, chosen by the truth of SegmentMeIfYouCan's validation frames, and
    ``ground_queries: [19, 24]``, by Cityscapes' validation images. With anomaly queries it is ranked with what has seen
    anomalies, and its figures on those frames are no test. Without any it is the half that nothing is chosen for.
    """

    name = "maskomaly"
    source = (
        "Ackermann, Sakaridis and Yu, Maskomaly: Zero-Shot Mask Anomaly Segmentation, BMVC 2023, arXiv:2305.16972;"
        " jan-ackermann/Maskomaly@4e82a9b, maskomaly/model.py"
    )
    needs = frozenset({"query_logits", "query_masks", "raw"})
    merge = "views"

    anomaly_queries: tuple[Annotated[int, Ge(0)], ...] = ()
    ground_queries: tuple[Annotated[int, Ge(0)], ...] = ()
    rejection: Annotated[float, Ge(0), Le(1)] = 0.6  # w

    @property
    def uses_outliers(self) -> bool:
        return bool(self.anomaly_queries)

    def score(self, prediction: Prediction, state: State) -> Tensor:
        masks = prediction.raw["query_masks"]
        shares, classes = prediction.raw["query_logits"].float().softmax(dim=1).max(dim=1)
        if absent := [query for query in (*self.anomaly_queries, *self.ground_queries) if query >= len(masks)]:
            raise BadSuite(
                f"maskomaly: query {absent[0]} is named, and the network has {len(masks)}, from 0; its queries are"
                " others than those of the authors' checkpoint: leave anomaly_queries and ground_queries out"
            )
        named = classes < prediction.raw["query_logits"].shape[1] - 1
        sure = named & (shares > SURE)
        score = masks.new_empty(prediction.size, dtype=torch.float32)
        for rows, block in queries.in_rows(masks, prediction.size):
            claims = block * shares[:, None, None]
            left = 1 - (claims * sure[:, None, None]).amax(dim=0)
            border = ((block > TOUCHES) & named[:, None, None]).sum(dim=0) > 1
            left = left.masked_fill(border, 0.0)
            if self.ground_queries:
                left = left.minimum(1 - _largest(claims, self.ground_queries))
            score[rows] = self.rejection * left
            if self.anomaly_queries:
                score[rows] += (1 - self.rejection) * _largest(claims, self.anomaly_queries)
        return self.smoothed(prediction, score)


def _largest(claims: Tensor, chosen: tuple[int, ...]) -> Tensor:
    """Return the largest of the chosen queries at each pixel, [h, w] of [Q, h, w]."""
    return torch.stack([claims[query] for query in chosen]).amax(dim=0)
