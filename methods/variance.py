"""How far the softmax spreads over members of an ensemble, or over passes with dropout."""

from bench.contract.disagreement import Disagreement


class Variance(Disagreement):
    """Score = sum_c mean_k (p_kc - m_c)^2, with p_k the softmax of member k and m their mean."""

    name = "variance"
    source = (
        "Gal and Ghahramani, Dropout as a Bayesian Approximation, arXiv:1506.02142, section 4; of ensembles"
        " Lakshminarayanan et al., arXiv:1612.01474"
    )
    measure = "variance"
