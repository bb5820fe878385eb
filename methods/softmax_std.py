"""Standard deviation of the softmax over the classes."""

from torch import Tensor

from bench.api import Prediction, Scored, State
from bench.contract.logit_score import TemperatureScore


class SoftmaxStd(TemperatureScore):
    """Score = 1 - sum_c p_c^2 of p = softmax(z / T), which falls as the standard deviation of p over classes rises.

    (C - 1) std^2 = sum_c p_c^2 - 1/C: it ranks as -std does, but a confident pixel keeps its digits. It is also the
    probability that two draws from p differ.
    """

    name = "softmax_std"
    source = "the baseline STD of Gudovskiy et al., Concurrent Misclassification and OOD Detection..., arXiv:2305.09610"

    def score(self, prediction: Prediction, state: State) -> Tensor | Scored:
        if self.fidelity == "reference":
            return self.by_source(prediction, lambda logits: logits.softmax(dim=0).std(dim=0))
        temperature = self.fitted(state)
        others = prediction.other_mass(temperature)
        # Squares of the exponentials are the exponentials at half the temperature.
        halved = prediction.other_mass(temperature / 2)
        squares = (1 - others) ** 2 * halved / (1 - halved)  # of the other classes' probabilities
        return self.smoothed(prediction, others * (2 - others) - squares)
