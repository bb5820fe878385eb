"""Trainers: cheap estimators, long trainings of methods, and networks made out of networks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from bench.contract.dataset import Dataset, Sample
from bench.contract.method import Method
from bench.contract.network import SegModel
from bench.contract.plugin import PlugIn
from bench.contract.prediction import Prediction
from bench.core.values import State


@dataclass(frozen=True)
class Trainer(PlugIn, ABC):
    """An estimator that several methods share, cheap enough for ``bench run`` to call it."""

    version: ClassVar[int] = 1  # raised when its result changes

    @abstractmethod
    def fit(self, stream: Iterable[tuple[Prediction, Sample]], seed: int) -> State:
        """One pass over labelled predictions."""


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """What a long training is given, beside its own parameters."""

    model: SegModel  # loaded
    data: Dataset
    samples: Callable[[Sequence[int], Sequence[int]], Iterable[Sample]]  # by index; the others will be asked for next
    predict: Callable[[Sample], Prediction]  # of the whole image, merged from its views
    seed: int
    device: str  # cpu or cuda
    folder: Path  # what is written here is there again when a killed training is started once more
    advance: Callable[[int, str], None]  # images done, and how it goes in a few words
    log: Callable[[int, Mapping[str, float]], None]  # iteration and figures, for those who draw curves


@dataclass(frozen=True)
class LongTrainer(Trainer):
    """A trainer that goes over the data many times: ``bench fit`` calls it, ``bench run`` never does.

    Its parameters stand beside ``data`` in the ``fit`` of a suite.
    """

    def fit(self, stream: Iterable[tuple[Prediction, Sample]], seed: int) -> State:
        raise NotImplementedError

    @abstractmethod
    def images(self, data: Dataset) -> int:
        """How many images the network will see, for the time left."""

    @abstractmethod
    def train(self, method: Method, course: Course) -> tuple[State, Mapping[str, Any]]:
        """The ``state`` that the method's ``score`` wants, and what its file says of itself, as JSON has it.

        The network stays as it is. Killed and started again with the same ``folder``, it ends with the same state on a
        CPU.
        """


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """Images to train on."""

    data: Dataset
    samples: Callable[[Sequence[int], Sequence[int]], Iterable[Sample]]  # by index; the others will be asked for next


@dataclass(frozen=True, slots=True, eq=False)
class Retraining:
    """What a trainer of networks is given, beside its own parameters."""

    model: SegModel  # loaded; its module is what is trained
    data: Source  # what the network knows, labelled
    others: Mapping[str, Source]  # by the parameter that names them
    seed: int
    device: str  # cpu or cuda
    folder: Path  # what is written here is there again when a killed training is started once more
    advance: Callable[[int, str], None]  # images done, and how it goes in a few words
    log: Callable[[int, Mapping[str, float]], None]  # step and figures, for those who draw curves


@dataclass(frozen=True)
class Retrainer(Trainer):
    """A trainer that makes another network out of one: ``bench fit`` calls it, the model ``retrained`` is the result.

    Data sets beside the labelled one are parameters of the type DatasetEntry.
    """

    def fit(self, stream: Iterable[tuple[Prediction, Sample]], seed: int) -> State:
        raise NotImplementedError

    @abstractmethod
    def images(self, data: Dataset, others: Mapping[str, Dataset]) -> int:
        """How many images the network will see, for the time left."""

    @abstractmethod
    def retrain(self, course: Retraining) -> tuple[State, Mapping[str, Any]]:
        """The tensors of the module's new state dict, and what their file says of itself, as JSON has it.

        Killed and started again with the same ``folder``, it ends with the same tensors on a CPU.
        """
