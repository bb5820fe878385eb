"""Generalised entropy of the softmax."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt, Lt
from torch import Tensor

from bench.api import Prediction, State
from bench.contract.smoothed import Smoothed
from bench.ops import dense


@dataclass(frozen=True)
class Gen(Smoothed):
    """Score = sum of (p_c (1 - p_c))^gamma over the M largest p_c of p = softmax(z).

    ``top_classes`` is M; without it all classes count. The paper takes 100 of the 1000 classes of ImageNet. With a
    small ``gamma`` the many classes that are nearly impossible speak with the few that are not. 1 - p of the largest
    class is the sum of the others, so that a sure pixel keeps its digits.
    """

    name = "gen"
    source = "Liu, Lochman and Zach, GEN: Pushing the Limits of Softmax-Based OOD Detection, CVPR 2023"

    gamma: Annotated[float, Gt(0), Lt(1)] = 0.1
    top_classes: Annotated[int, Ge(2)] | None = None

    def score(self, prediction: Prediction, state: State) -> Tensor:
        others = prediction.other_mass()
        total = ((1 - others) * others).pow_(self.gamma)
        logits, normaliser, largest = prediction.logits, prediction.logsumexp(), prediction.argmax
        count = len(logits) if self.top_classes is None else min(self.top_classes, len(logits))
        for start in range(0, len(total), dense.ROWS):
            rows = slice(start, start + dense.ROWS)
            share = (logits[:, rows] - normaliser[rows]).exp_().scatter_(0, largest[rows].long()[None], 0.0)
            terms = (share * (1 - share)).pow_(self.gamma)  # below one half it grows with the share
            total[rows] += (terms if count == len(logits) else terms.topk(count - 1, dim=0).values).sum(dim=0)
        return self.smoothed(prediction, total)
