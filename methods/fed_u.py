"""FED-U: a flow that looks at the energy of a pixel and of its neighbours."""

from dataclasses import dataclass

from bench.fit.flow.detector import FlowDetector


@dataclass(frozen=True)
class FedU(FlowDetector):
    """Score = p(wrong or an anomaly | z), z = log sigmoid(E) and log(1 - sigmoid(E)) around the pixel, E its energy.

    E is the log-sum-exp of the logits after each is standardised by the statistics of its class.

    ``fidelity: reference`` is the published computation: activation norms that do not whiten, a coupling that sees what
    it moves, one network for scale and shift, log-determinants per channel in the score, components that see one
    coordinate each; trained with void pixels as positives and the batch statistics of the network.
    ``fidelity: corrected`` is a coupling flow with a true log-determinant and an exact inverse, two outputs of the
    network for scale and shift, two Gaussians; trained without void pixels on the network as it is evaluated.
    Everything that differs is listed in docs/fed.md.

    Features are never touched. Parameters in ``reference``: 1,815 for 8 blocks, 911 for 4. Memory beside the network at
    1024 x 2048: 0.2 GB with ``upsample: after``, 0.5 GB with ``before``, most of it upsampled logits.
    """

    name = "fed_u"
    source = "Gudovskiy et al., Concurrent Misclassification and OOD Detection..., arXiv:2305.09610, section 4"
