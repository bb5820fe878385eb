"""How much members of an ensemble, or passes with dropout, disagree beyond what each is unsure of."""

from bench.contract.disagreement import Disagreement


class MutualInformation(Disagreement):
    """Score = H(m) - mean_k H(p_k), in nats, with p_k the softmax of member k and m their mean."""

    name = "mutual_information"
    source = (
        "Houlsby et al., Bayesian Active Learning for Classification and Preference Learning, arXiv:1112.5745,"
        " equation 2; of ensembles Malinin and Gales, arXiv:1802.10501, section 2"
    )
    measure = "mutual_information"
