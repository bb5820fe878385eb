"""Retrain a network so that it is unsure of what it does not know: entropy maximisation on outliers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.api import Dataset, Finetuner, State, TrainingContext
from bench.fit.outliers.recipe import Recipe


@dataclass(frozen=True)
class EntropyMax(Recipe, Finetuner):
    """Cross-entropy to the label on what the network knows, to the uniform distribution on outliers.

    An epoch is every labelled image once, and ``share`` as many outlier images, drawn anew, mixed at random. The loss
    of a batch is the sum over its pixels of (1 - w)(-log p_y) where there is a label, and of w / C sum_c (-log p_c)
    where there is an outlier, by the number of all pixels and classes; w is ``outlier_weight``. Images are mirrored at
    random and cropped, never scaled; all weights learn, batch normalisation with the statistics of the mixed batches.

    The defaults are those published for DeepLabv3+; DualGCNNet has ``epochs: 11`` and ``outlier_weight: 0.25``. With
    ``fidelity: reference`` Adam begins anew with every epoch, as in the source, and only outliers whose background has
    labels are taken, such as ``coco: {background: road}``: there whatever is not annotated is trained as road, which is
    what zero happens to mean. Where the source cannot crop an image of exactly the crop's size, it is taken whole.
    """

    name = "entropy_max"
    source = "Chan, Rottmann, Gottschalk, arXiv:2012.06575, section 3; robin-chan/meta-ood@8657a5e"

    def images(self, data: Dataset, others: Mapping[str, Dataset]) -> int:
        return self.epochs * (data.count + self.drawn(data.count))

    def finetune(self, context: TrainingContext) -> tuple[State, Mapping[str, Any]]:
        from bench.fit.outliers import loop

        return loop.finetune(self, context)
