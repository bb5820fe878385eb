"""How unsure members of an ensemble, or passes with dropout, are on their own."""

from bench.contract.disagreement import Disagreement


class ExpectedEntropy(Disagreement):
    """Score = mean_k H(p_k), in nats, with p_k the softmax of member k: what is left where all of them agree."""

    name = "expected_entropy"
    source = "Malinin and Gales, Predictive Uncertainty Estimation via Prior Networks, arXiv:1802.10501, section 2"
    measure = "expected_entropy"
