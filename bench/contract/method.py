"""Methods: from a prediction to one score per pixel, and refinements of such maps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from bench.contract import deprecated
from bench.contract.dataset import Sample
from bench.contract.network import Network, SegModel
from bench.contract.plugin import PlugIn
from bench.contract.prediction import Prediction, Scored
from bench.core.errors import BadPlugin
from bench.core.values import Labels, Row, Rows, Scores, State

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Fitting:
    """The state of a method is estimated from data that a suite names in ``fit``."""

    trainer: str | None = None  # the trainer that estimates it; None is the method's own ``fit``
    must: bool = False  # True: the method means nothing unfitted
    needs: frozenset[str] = frozenset({"labels"})  # of the samples it is fitted on
    reads: frozenset[str] | None = None  # the parameters of the method that the fit depends on; None is all


@dataclass(frozen=True, slots=True)
class Constants:
    """The state of a method stands in its source: nothing is fitted, and it is for these classes alone."""

    classes: tuple[str, ...]  # in the order of the logits


@dataclass(frozen=True)
class Method(deprecated.OldMethodNames, PlugIn, ABC):
    """A rule that turns a prediction into one suspicion score per pixel. It sees no label, file or metric.

    Properties are satisfied by plain class attributes, such as ``needs = frozenset({"score"})``; where a parameter
    decides, write a property.
    """

    computations = frozenset({"scoring"})

    @property
    def needs(self) -> frozenset[str]:
        """Names of what it reads: outputs of the network, and what else there is to ask a prediction for.

        That is ``raw``, ``image``, ``again``, ``forward``, ``classify``, ``dropout``. A network that does not offer one
        of them makes the cell n/a.
        """
        return frozenset({"logits"})

    @property
    def merge(self) -> Literal["merged", "views"]:
        """``merged`` scores the merged prediction of an image; ``views`` scores each view and averages the scores."""
        return "merged"

    @property
    def fitting(self) -> Fitting | Constants | None:
        """Where its state comes from: data, or its source; None if it has no state."""
        return None

    @property
    def uses_outliers(self) -> bool:
        """True if it was trained with data that shows anomalies: it is ranked apart."""
        return False

    def digest(self) -> str:
        """What its numbers depend on beside its own source file: files that parameters name, a version of other code.

        Called after ``check``.
        """
        return ""

    def check(self, model: SegModel, network: Network | None = None) -> None:
        """Raise a UserError if a file that a parameter names is absent or not for this network.

        Called with ``model`` alone before anything is computed, and once more in each process, with the loaded
        ``network``, before its predictions are scored.
        """

    @abstractmethod
    def score(self, prediction: Prediction, state: State) -> Tensor | Scored:
        """Return float32 [h, w] over the whole view, at any resolution; higher is more suspicious.

        ``state`` is what fitting left behind, empty where the suite asks for no fit.
        """

    def fit(self, stream: Iterable[tuple[Prediction, Sample]], seed: int) -> State:
        """Return the state, estimated in one pass over labelled predictions; for a ``fitting`` without a trainer."""
        raise BadPlugin(f"{self.name} has no fit, and its fitting names no trainer")

    def confidence(self, score: Scores) -> Scores | None:
        """Return the probability of being right, in [0, 1], of a score; None if it has no such reading."""
        return None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        deprecated.adopt_method(cls, Method, Fitting, Constants)


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """What a refinement makes of the segments of all images."""

    rows: Rows  # by sample id: what ``apply`` is given for that image, [n] each, in the order of its segments
    report: Mapping[str, Any]  # how it came to that, as JSON has it


@dataclass(frozen=True)
class Refinement(Method):
    """A method whose map is changed once every image of a set was seen, without asking the network again.

    First pass: ``score`` gives the map of the method in ``refines``, and ``describe`` the parts of it that may change.
    Then ``decide`` sees what was found in all images. Last, ``apply`` changes the map of each image, and that map is
    what every protocol counts. Of all methods it alone is shown labels: in ``describe``, to learn from them and so that
    its tables can say how right it was. What it decides about an image must not depend on the labels of that image,
    unless ``fidelity: reference`` reproduces a source that does.
    """

    refines: ClassVar[str]  # name of the method whose map it begins with

    @property
    def learns(self) -> bool:
        """True if, unfitted, it decides about an image by the truth of other images of the same data."""
        return True

    @abstractmethod
    def describe(self, prediction: Prediction, score: Scores, truth: Labels | None) -> Row:
        """Return columns [n] of tables, each named ``table.column``; every image must have the same ones.

        ``score`` is float32 [H, W] as ``score`` gave it, ``truth`` uint8 [H, W]: 0 normal, 1 anomaly, 255 ignored; None
        where the data set has none.
        """

    @abstractmethod
    def decide(self, rows: Rows, groups: Mapping[str, str], state: State, seed: int) -> Decision:
        """Decide about all images at once. ``groups`` by sample id; ``state`` is what fitting left behind.

        With a ``state`` no image may matter for another: images are then refined one by one, too.
        """

    @abstractmethod
    def apply(self, score: Scores, truth: Labels | None, decided: Row) -> Scores:
        """Return the changed map, float32 [H, W], finite. ``decided`` is this image's row of the decision."""
