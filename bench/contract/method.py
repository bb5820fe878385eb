"""Methods: from a prediction to one score per pixel, and refinements of such maps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from bench.contract.dataset import Sample
from bench.contract.network import SegModel
from bench.contract.plugin import PlugIn
from bench.contract.prediction import Prediction, Scored
from bench.core.values import Labels, Row, Rows, Scores, State

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Method(PlugIn, ABC):
    """A rule that turns a prediction into one suspicion score per pixel.

    It sees no label, file or metric. ``needs`` names what it reads: ``logits`` (the default), any other output of the
    network, ``raw``, ``image``, ``again``, ``classify``, ``dropout``. A model that does not give one of them makes the
    cell n/a.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"logits"})
    merge: ClassVar[Literal["merged", "views"]] = "merged"  # score the merged prediction, or each view and average
    trainer: ClassVar[str | None] = None  # who fits it, unless it brings its own ``fit``
    fit_needs: ClassVar[frozenset[str]] = frozenset({"labels"})  # of the samples it is fitted on
    must_fit: ClassVar[bool] = False  # whether it means nothing unfitted
    fit_reads: ClassVar[frozenset[str] | None] = None  # the parameters that its own ``fit`` depends on; None is all
    uses_outliers: ClassVar[bool] = False  # trained with data that shows anomalies: ranked apart

    def asks(self) -> frozenset[str]:
        """``needs``, where a parameter does not change it."""
        return self.needs

    def merges(self) -> Literal["merged", "views"]:
        """``merge``, where a parameter does not change it."""
        return self.merge

    def fits(self) -> Literal["must", "may", "cannot"]:
        """Whether it is fitted: ``must_fit``, where a parameter does not change it."""
        return "must" if self.must_fit else "may"

    def classes(self) -> tuple[str, ...] | None:
        """The classes of the networks that it holds constants for; None if it is for every network."""
        return None

    def digest(self) -> str:
        """What its numbers depend on beside its own source file: files that parameters name, a version of other code.

        Called after ``check``.
        """
        return ""

    def check(self, model: SegModel) -> None:
        """Raise a UserError if a file that a parameter names is absent or not for this network, which is not loaded."""

    def meet(self, model: SegModel) -> None:
        """The same with the network loaded; called once in each process, before its predictions are scored."""

    @abstractmethod
    def score(self, prediction: Prediction, state: State) -> Tensor | Scored:
        """float32 over the whole view, at any resolution; higher is more suspicious.

        ``state`` is what fitting left behind, empty where the suite asks for no fit.
        """

    def fit(self, stream: Iterable[tuple[Prediction, Sample]], seed: int) -> State:
        """Estimate ``state`` in one pass over labelled predictions (cheap fits only; others name a ``trainer``)."""
        raise NotImplementedError

    def confidence(self, score: Scores) -> Scores | None:
        """Map a score to the probability of being right, in [0, 1]; None if it has no such reading."""
        return None


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """What a refinement makes of the segments of all images."""

    rows: Rows  # by sample id: what ``refine`` is given for that image, [n] each, in the order of its segments
    report: Mapping[str, Any]  # how it came to that, as JSON has it


@dataclass(frozen=True)
class Refinement(Method):
    """A method whose map is changed once every image of a set was seen, without asking the network again.

    First pass: ``score`` gives the map of the method in ``refines``, and ``look`` describes the parts of it that may
    change. Then ``decide`` sees what was found in all images. Last, ``refine`` changes the map of each image, and that
    map is what every protocol counts. Of all methods it alone is shown labels: in ``look``, to learn from them and so
    that its tables can say how right it was. What it decides about an image must not depend on the labels of that
    image, unless ``fidelity: reference`` reproduces a source that does.
    """

    refines: ClassVar[str]  # name of the method whose map it begins with

    @abstractmethod
    def look(self, prediction: Prediction, score: Scores, truth: Labels | None) -> Row:
        """Columns [n] of tables, each named ``table.column``; every image must have the same ones.

        ``score`` is float32 [H, W] as ``score`` gave it, ``truth`` uint8 [H, W]: 0 usual, 1 anomaly, 255 ignored; None
        where the data set has none.
        """

    @abstractmethod
    def decide(self, rows: Rows, groups: Mapping[str, str], state: State, seed: int) -> Decision:
        """Decide about all images at once. ``groups`` by sample id; ``state`` is what fitting left behind.

        With a ``state`` no image may matter for another: images are then refined one by one, too.
        """

    @abstractmethod
    def refine(self, score: Scores, truth: Labels | None, decided: Row) -> Scores:
        """The changed map, float32 [H, W], finite. ``decided`` is this image's row of the decision."""
