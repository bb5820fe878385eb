"""FED-C: a flow that looks at the energy of a pixel, under the condition of its features."""

from dataclasses import dataclass, field, replace
from typing import Annotated

from annotated_types import Ge

from bench.api import Fitting
from bench.fit.flow.detector import FlowDetector

DEFAULT = 32


@dataclass(frozen=True)
class FedC(FlowDetector):
    """Score = p(wrong or an anomaly | z, a), z as in FED-U, a the means of P groups of neighbouring feature channels.

    ``pooled`` is P: of a file it is what the file says, and to be trained it is 32. It must divide the number of
    feature channels. Fidelities differ as those of ``fed_u`` do, but here the published coupling sees only what it
    keeps. Everything that differs is listed in docs/fed.md.

    Parameters in ``reference``: 464,151 for 8 blocks, 232,079 for 4, at P = 32. Memory beside the network at
    1024 x 2048: 0.2 GB with ``upsample: after``, 0.5 GB with ``before``: hidden maps exist in strips alone.
    """

    name = "fed_c"
    source = "Gudovskiy et al., Concurrent Misclassification and OOD Detection..., arXiv:2305.09610, section 4"
    needs = frozenset({"logits", "raw", "features"})

    pooled: Annotated[int, Ge(1)] | None = field(default=None, kw_only=True)

    @property
    def fitting(self) -> Fitting | None:
        flow = super().fitting
        return flow and replace(flow, reads=frozenset({"pooled", *(flow.reads or ())}))

    @property
    def condition(self) -> int | None:
        if self.pooled is None and self.weights is None:
            return DEFAULT
        return self.pooled
