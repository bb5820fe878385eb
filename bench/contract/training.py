"""Trainers: cheap estimators, long trainings of methods, and networks made out of networks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from bench.contract import deprecated
from bench.contract.dataset import Dataset, Sample
from bench.contract.method import Method
from bench.contract.network import Network
from bench.contract.plugin import PlugIn
from bench.contract.prediction import Prediction
from bench.core.values import State


@dataclass(frozen=True)
class Trainer(PlugIn, ABC):
    """What makes tensors out of data. It is of one kind: an Estimator, a LongTrainer or a Finetuner."""

    version: ClassVar[int] = 1  # raised when its result changes

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.__module__ != __name__:
            deprecated.adopt_trainer(cls, Estimator, Finetuner)


@dataclass(frozen=True)
class Estimator(Trainer):
    """A fit that several methods share, cheap enough for ``bench run`` to call it. It has no parameters."""

    @abstractmethod
    def fit(self, stream: Iterable[tuple[Prediction, Sample]], seed: int) -> State:
        """Return the state of the methods that name it, from one pass over labelled predictions."""

    @classmethod
    def __subclasshook__(cls, other: type) -> bool:
        """Count trainers of the old contract in, which have a ``fit`` and no kind."""
        old = cls is Estimator and Trainer in other.__mro__ and hasattr(other, "fit")
        return True if old else NotImplemented


@dataclass(frozen=True, slots=True, eq=False)
class Source(deprecated.OldSource):
    """Images to train on."""

    dataset: Dataset
    samples: Callable[[Sequence[int], Sequence[int]], Iterable[Sample]]  # by index; the others will be asked for next


@dataclass(frozen=True, slots=True, eq=False)
class TrainingContext(deprecated.OldContext):
    """What a training that goes over its data many times is given, beside its own parameters."""

    network: Network
    data: Source  # labelled
    others: Mapping[str, Source]  # by the parameter of a Finetuner that names them
    predict: Callable[[Sample], Prediction]  # of the whole image, merged from its views
    seed: int
    device: str  # cpu or cuda
    folder: Path  # what is written here is there again when a killed training is started once more
    advance: Callable[[int, str], None]  # images done, and how it goes in a few words
    log: Callable[[int, Mapping[str, float]], None]  # iteration and figures, for those who draw curves


@dataclass(frozen=True)
class LongTrainer(Trainer):
    """A trainer of methods that goes over the data many times: ``bench fit`` calls it, ``bench run`` never does.

    Its parameters stand beside ``data`` in the ``fit`` of a suite.
    """

    @abstractmethod
    def images(self, data: Dataset) -> int:
        """Return how many images the network will see, for the time left."""

    @abstractmethod
    def train(self, method: Method, context: TrainingContext) -> tuple[State, Mapping[str, Any]]:
        """Return the ``state`` that the method's ``score`` wants, and what its file says of itself, as JSON has it.

        The network stays as it is. Killed and started again with the same ``folder``, it ends with the same state on a
        CPU.
        """


@dataclass(frozen=True)
class Finetuner(Trainer):
    """A trainer that makes another network out of one: ``bench fit`` calls it, the model ``retrained`` is the result.

    Data sets beside the labelled one are parameters of the type DatasetEntry.
    """

    @abstractmethod
    def images(self, data: Dataset, others: Mapping[str, Dataset]) -> int:
        """Return how many images the network will see, for the time left."""

    @abstractmethod
    def finetune(self, context: TrainingContext) -> tuple[State, Mapping[str, Any]]:
        """Return the tensors of the module's new state dict, and what their file says of itself, as JSON has it.

        The module of ``context.network`` is what is trained. Killed and started again with the same ``folder``, it ends
        with the same tensors on a CPU.
        """
