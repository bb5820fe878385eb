"""The score that the network brings itself."""

from torch import Tensor

from bench.api import Method, Prediction, State


class Own(Method):
    """Score = the output ``score`` [h, w] of the network as it is; higher must be more suspicious."""

    name = "own"
    source = "whatever the network, the program or the file says; name it by the label of the model"
    needs = frozenset({"score"})

    def score(self, prediction: Prediction, state: State) -> Tensor:
        return prediction.score
