"""The contract: the only module that methods, datasets, models, trainers and protocols must import.

Every array is one image, never a batch. H and W are the pixels of the label image: a model that works at another size
has its outputs resized, labels never are. Readers and protocols see NumPy only; torch is imported when a network or a
method runs, not before, so that data workers and ``bench score`` start without it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NewType, TypeVar

import numpy as np
from annotated_types import Gt
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor, nn

    from bench.counts.tally import Tally

T = TypeVar("T")

IGNORE = 255  # label value of a pixel that counts nowhere

Labels = NDArray[np.uint8]  # [H, W]
Scores = NDArray[np.float32]  # [H, W]; higher is more suspicious; finite
State = Mapping[str, NDArray[Any]]  # what fitting left behind; empty for a method that was not fitted
Row = Mapping[str, NDArray[Any]]  # figures of one image
Rows = Mapping[str, Row]  # by sample id, in the order of the ids

Positive = Annotated[float, Gt(0)]


@dataclass(frozen=True)
class Entry:
    """Marks a parameter that is an entry of a suite itself: a name, or one name with its parameters."""

    kind: Literal["model", "dataset"]


ModelEntry = Annotated[str | dict[str, Any], Entry("model")]
DatasetEntry = Annotated[str | dict[str, Any], Entry("dataset")]
File = NewType("File", str)  # a path given in a suite: its file name is part of a cell's key, its folder is not

CITYSCAPES = (
    "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation", "terrain",
    "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
)  # fmt: skip
"""The 19 evaluated classes of Cityscapes in the order of their train ids (cityscapesScripts, labels.py)."""


@dataclass(frozen=True, slots=True)
class Undefined:
    """A figure that has no value here, and why. Never 0, -1 or NaN."""

    reason: str


@dataclass(frozen=True, slots=True)
class Value:
    """A figure, how exactly it is known and how far the sample of images lets it vary."""

    value: float
    err: float = 0.0  # certified half-width of the computation; 0 is exact
    lo: float | None = None  # 2.5 and 97.5 percentiles of the bootstrap; None where none was made
    hi: float | None = None


@dataclass(frozen=True, slots=True)
class Metric:
    """What a figure means. The identifier it stands under is its definition, not a label."""

    title: str
    definition: str
    better: Literal["higher", "lower", "neither"] = "higher"
    unit: Literal["rate", "number"] = "rate"  # a rate lies in [0, 1] and is shown in percent


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One labelled image."""

    id: str  # unique in its dataset, stable across machines; letters, digits, '.', '_' and '-'
    size: tuple[int, int]  # (H, W) of the labels
    image: Callable[[], NDArray[np.uint8]]  # decodes on demand: uint8 [h, w, 3], RGB
    labels: Labels | None = None  # train ids, 255 ignored
    anomaly: Labels | None = None  # 0 usual, 1 anomaly, 255 ignored
    group: str = ""  # images of one group (a drive, a sequence) are not independent
    tags: Mapping[str, str] = field(default_factory=dict)  # such as weather: fog


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """What one forward pass sees: a window of the scaled, perhaps mirrored image."""

    sample: str
    pixels: Tensor  # uint8 [3, h, w], RGB, on the device of the network
    scale: float
    flip: bool
    window: tuple[int, int, int, int]  # top, left, bottom, right in the scaled image
    scaled_size: tuple[int, int]  # (h, w) of the whole scaled image
    image_size: tuple[int, int]  # (H, W) of the labels

    @property
    def input_size(self) -> tuple[int, int]:
        """(h, w) of the pixels."""
        return int(self.pixels.shape[1]), int(self.pixels.shape[2])


@dataclass(frozen=True)
class Inference:
    """How an image becomes views and views become one prediction. Part of the key of a cell.

    Windows average logits; scales and mirror images average probabilities or logits; the class map is the argmax of
    that. The image is resized by bilinear interpolation with half-pixel centres and without antialiasing: ``bilinear``
    is torch's in float32, rounded to uint8; ``opencv`` is OpenCV's in fixed point, which the source systems use (the
    two differ by at most one grey level).
    """

    __pydantic_config__: ClassVar = {"extra": "forbid", "strict": True}

    size: tuple[int, int] | None = None  # (h, w) at scale 1; None is the image's own
    window: tuple[int, int] | None = None  # (h, w); None is the whole image
    stride: tuple[int, int] | None = None  # None is the window: no overlap but at the far edges
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False  # also the mirror image of every view
    average: Literal["probabilities", "logits"] = "probabilities"
    resize: Literal["bilinear", "opencv"] = "bilinear"

    def __post_init__(self) -> None:
        sizes = [*(self.size or ()), *(self.window or ()), *(self.stride or ())]
        if any(side < 1 for side in sizes) or not self.scales or any(not scale > 0 for scale in self.scales):
            raise ValueError("sizes, windows and strides are at least 1, scales above 0, and at least one scale")
        if self.stride and not self.window:
            raise ValueError("a stride needs a window")
        if self.window and self.stride and any(s > w for s, w in zip(self.stride, self.window, strict=True)):
            raise ValueError("a stride larger than its window leaves pixels unseen")


Quantity = float | Literal["top", "margin"]
"""A reduction of the logits over their classes: the largest and its class, its lead, or the sums over the others at a
temperature."""


@dataclass(frozen=True, slots=True)
class Context:
    """Where a prediction stands; filled in by the engine, the defaults serve a prediction made by hand."""

    image_size: tuple[int, int]  # (H, W) of the labels of the whole image
    seed: int = 0  # of this view of this sample; what a method draws must derive from it
    fused: bool = False  # reduce the logits by the compiled pass
    asked: dict[Quantity, None] = field(default_factory=dict)  # so far, of this image and those before it


class Prediction:
    """What one network says about one view, or, merged, about one whole image.

    Attributes are at label size, made on demand and shared by every method: ``prediction.logits`` is float32 [C, H,
    W], ``prediction.features`` float32 [D, H, W]. ``prediction.raw[name]`` is an output at the network's own
    resolution, for methods with ``raw`` in their ``needs``. Ask for the primitives (``max_logit``, ``other_mass``
    ...) rather than for the logits wherever they suffice: they are computed once for all methods, and on a CPU without
    ever holding the logits at label size.

    Names of outputs that mean the same in every network: ``logits`` [C, h, w], exactly the classes of
    ``class_names``; ``class_scores`` [C, h, w], scores per class that are no logits and never go through a softmax;
    ``query_logits`` [Q, C + 1] and ``query_masks`` [Q, h, w], logits of a mask classifier, "no object" last;
    ``features`` [D, h, w], what the classifier sees; ``score`` [h, w], the network's own suspicion.
    """

    def __init__(
        self,
        outputs: Mapping[str, Tensor],
        size: tuple[int, int],
        *,
        labels: Tensor | None = None,
        image: Tensor | None = None,
        again: Callable[[Tensor], Prediction] | None = None,
        classify: Callable[[Tensor], Tensor] | None = None,
        dropout: float | None = None,
    ) -> None:
        """``outputs``: float32 [C, h, w] or [h, w]; ``size``: (H, W); ``labels``: uint8 [H, W] if not the argmax."""
        self.raw: Mapping[str, Tensor] = outputs
        self.size = size
        self.image = image  # uint8 [3, h, w], RGB, as the network saw it
        self.again = again  # float32 [3, h, w] in 0..255 -> a second opinion
        self.classify = classify  # features [D, h, w] -> logits [C, h, w], without the dropout between them
        self.dropout = dropout  # rate at which whole channels of the features are dropped before ``classify``
        self.context = Context(size)
        self._labels = labels
        self._made: dict[Any, Any] = {}

    def __getattr__(self, name: str) -> Tensor:
        if name.startswith("_") or name not in self.raw:
            raise AttributeError(f"this network gives {', '.join(sorted(self.raw)) or 'nothing'}, not {name!r}")
        from bench.ops import dense

        return self._once(name, lambda: dense.resize(self.raw[name], self.size))

    @property
    def labels(self) -> Tensor:
        """uint8 [H, W]: the class map that the network acts on."""
        if self._labels is not None:
            return self._labels
        votes = next((name for name in ("class_scores", "probabilities") if name in self.raw), None)
        if votes is None:
            return self.argmax
        return self._once("labels", lambda: self.__getattr__(votes).argmax(dim=0).byte())

    @property
    def has_labels(self) -> bool:
        """Whether there is a class map at all."""
        return self._labels is not None or not {"logits", "probabilities", "class_scores"}.isdisjoint(self.raw)

    @property
    def classes(self) -> int:
        """How many classes the logits have."""
        from bench.ops import reduce

        return reduce.count(self.raw)

    @property
    def max_logit(self) -> Tensor:
        """float32 [H, W]."""
        return self._ask("top")[0]

    @property
    def argmax(self) -> Tensor:
        """uint8 [H, W]: the class of the largest logit, the lowest class where two are equal."""
        return self._ask("top")[1]

    @property
    def top2_margin(self) -> Tensor:
        """float32 [H, W]: largest minus second largest logit."""
        return self._ask("margin")[0]

    def logsumexp(self, temperature: float = 1.0) -> Tensor:
        """float32 [H, W]: log sum_c exp(z_c / T)."""
        return self._once(("lse", temperature), lambda: self.max_logit / temperature + self._log1p(temperature))

    def other_mass(self, temperature: float = 1.0) -> Tensor:
        """float32 [H, W]: 1 - max_c softmax(z / T)_c, without the cancellation of computing it so."""
        others = self._ask(temperature)[0]
        return self._once(("mass", temperature), lambda: others / (1 + others))

    def entropy(self, temperature: float = 1.0) -> Tensor:
        """float32 [H, W]: Shannon entropy of softmax(z / T) in nats."""
        others, weighted = self._ask(temperature)
        return self._once(("entropy", temperature), lambda: self._log1p(temperature) - weighted / (1 + others))

    def softmax_at(self, index: Tensor) -> Tensor:
        """float32 [n, C]: the class probabilities of n pixels by flat index, without the whole volume."""
        from bench.ops import reduce

        return reduce.softmax_at(self.raw, self.size, lambda: self.logits, index, fused=self.context.fused)

    def _log1p(self, temperature: float) -> Tensor:
        return self._once(("log1p", temperature), lambda: self._ask(temperature)[0].log1p())

    def _ask(self, quantity: Quantity) -> tuple[Tensor, ...]:
        """A reduction over the classes, together with those that were asked of the image before: one pass for all."""
        if quantity not in self._made:
            from bench.ops import reduce

            wanted = self.context.asked
            wanted[quantity] = None
            todo = [one for one in wanted if one not in self._made]
            self._made |= reduce.classes(self.raw, self.size, lambda: self.logits, todo, fused=self.context.fused)
        made: tuple[Tensor, ...] = self._made[quantity]
        return made

    def _once(self, key: Any, make: Callable[[], T]) -> T:
        if key not in self._made:
            self._made[key] = make()
        made: T = self._made[key]
        return made


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """A score that covers its view, at any resolution."""

    score: Tensor  # float32 [h, w]; higher is more suspicious; finite
    labels: Tensor | None = None  # uint8 [H, W]: only where `reference` reproduces a source that alters the class map
    logits: Tensor | None = None  # float32 [C, h, w]: the same where views are scored; merged in place of the network's


@dataclass(frozen=True)
class PlugIn:
    """Parameters of a plug-in are fields of a frozen dataclass: typed, checked, printable, part of a cell's key."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "strict": True}

    name: ClassVar[str]
    source: ClassVar[str]  # the paper, and where in it; or the page that defines it


@dataclass(frozen=True)
class Dataset(PlugIn, ABC):
    """An ordered set of samples that knows how many it must hold.

    A constructor opens no file. ``ids`` may list folders, ``load`` reads one sample; both are called in other processes
    too and import neither torch nor numba.
    """

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes in the order of the label values."""
        return CITYSCAPES

    @property
    @abstractmethod
    def gives(self) -> frozenset[str]:
        """Which truths its samples carry: ``labels``, ``anomaly`` or both."""

    @property
    @abstractmethod
    def count(self) -> int:
        """How many samples there must be; any other number is refused: a half-unpacked archive is no benchmark."""

    @abstractmethod
    def ids(self) -> Sequence[str]:
        """The ids of all samples, sorted; independent of the file system's order."""

    @abstractmethod
    def load(self, index: int) -> Sample:
        """The sample ``ids()[index]``."""

    @abstractmethod
    def digest(self) -> str:
        """16 hex digits that change when a label or an image does."""

    def check(self) -> None:
        """Raise MissingData for the first thing that is absent, short or altered. Decodes labels, not images."""
        self.ids()


@dataclass(frozen=True)
class SegModel(PlugIn, ABC):
    """A frozen segmentation network. A constructor reads no weight: that waits for ``load``."""

    inference: Inference = field(default_factory=Inference, kw_only=True)

    by_shard: ClassVar[bool] = False  # whether ``prepare`` must see the samples of a shard together

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes in the order of the logits; data sets with other ones are not applicable to this network."""
        return CITYSCAPES

    @property
    def gives(self) -> frozenset[str]:
        """Names of the outputs, and of what else there is to ask for.

        That is ``raw``, ``image``, ``again``, ``classify``, ``dropout``, and ``labels`` where the class map is not the
        argmax of ``logits`` or ``class_scores``.
        """
        return frozenset({"logits", "raw", "image"})

    @abstractmethod
    def check(self) -> None:
        """Raise MissingData if a file is absent. Called before anything is computed; loads nothing."""

    @abstractmethod
    def digest(self) -> str:
        """16 hex digits of the weights and of the code that reads them."""

    @abstractmethod
    def load(self, device: str) -> None:
        """Read the weights onto ``cpu``, ``cuda`` or ``cuda:1``. Called once in each process."""

    @abstractmethod
    def predict(self, view: View) -> Prediction:
        """One forward pass. The prediction covers the view: its ``size`` is ``view.input_size``."""

    def predict_views(self, views: Sequence[View]) -> Sequence[Prediction]:
        """The predictions of equally sized views, in one forward pass where the network can."""
        return [self.predict(view) for view in views]

    def about(self) -> Mapping[str, Any]:
        """What results say of it beside its parameters, as JSON has it; called after ``check``.

        ``uses_outliers: true``, where it was trained with pictures of anomalies, has it ranked apart.
        """
        return {}

    @property
    def backbone(self) -> str:
        """What extracts its features, such as ``ResNetV1c-101``, for tables; empty if unknown. After ``load``."""
        return ""

    def prepare(self, samples: Sequence[Sample]) -> None:
        """Called with all samples of a shard before the first of them is predicted, if ``by_shard`` says so."""

    @abstractmethod
    def module(self) -> nn.Module:
        """The network itself: the one door for trainers."""

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits [n, C, h', w'] of float32 [n, 3, h, w], RGB in 0..255, with gradients: for those who train it.

        What ``module()`` computes in the mode that it is in, prepared as ``predict`` prepares images. Logits that are
        resized to h x w, bilinearly with half-pixel centres, cover the images. A network without it cannot be trained.
        """
        raise NotImplementedError


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


@dataclass(frozen=True)
class Protocol(PlugIn, ABC):
    """Which pixels count as what, and which figures are read off the counts.

    Nothing of the network is needed after the tally, the rows and, for a second phase, the spooled maps. ``read`` must
    depend on the multiset of pixels and on the rows alone, never on the order in which they came.
    """

    title: ClassVar[str] = ""  # for pages; the name where there is none
    version: ClassVar[int]  # of the definition: raised with every change that moves a number
    metrics: ClassVar[Mapping[str, Metric]]  # in the order of a table's columns; the first one ranks
    needs: ClassVar[frozenset[str]]  # of a sample: ``labels``, ``anomaly``
    scored: ClassVar[bool] = True  # False: reads the class map alone, once per model and not per method
    reads: ClassVar[Literal["score", "confidence"]] = (
        "score"  # or the method's probability of being right, n/a without one
    )
    needs_prediction: ClassVar[bool] = False  # whether it reads the class map
    second_phase: ClassVar[bool] = False
    spool: ClassVar[Literal["float16", "float32"]] = "float16"
    resizes: ClassVar[bool] = False  # whether ``bench score`` upsamples maps smaller than their labels unasked
    signed: ClassVar[frozenset[str]] = frozenset()  # rates that reach from -1 to 1; all others stay within 0 and 1
    ranked: ClassVar[bool] = True  # False: no table ranks by its figures; pages show them in a panel of their own

    @property
    @abstractmethod
    def category_names(self) -> tuple[str, ...]:
        """What each category is, at most 64; a class attribute where no parameter changes it."""

    @abstractmethod
    def categories(self, sample: Sample, predicted: Labels | None) -> Labels:
        """uint8 [H, W]: an index into ``category_names``, 255 ignored. ``predicted`` is the class map, uint8 [H, W]."""

    def seen(self, score: Scores) -> Scores:
        """The score as this protocol takes it, float32 [H, W]: rounded to float16 where a board stores that."""
        return score

    def row(self, sample: Sample, predicted: Labels | None, score: Scores | None = None) -> Row:
        """Figures of one image that the tally cannot hold. What the bootstrap needs is added by the engine itself.

        Every image must have the same fields; ``score`` is what the tally counts, None where ``scored`` is False.
        """
        return {}

    @abstractmethod
    def read(self, tally: Tally | None, rows: Rows) -> Mapping[str, Value | Undefined]:
        """The figures, in the order of ``metrics``. ``tally`` is None where ``scored`` is False."""

    def refuses(self, method: Method) -> str:
        """Why a pair with that method means nothing, for an n/a cell; empty where it does."""
        return ""

    def refined(self, sample: Sample, before: Scores, decided: Row) -> Row:
        """For a refinement, what else to say of one image, from the map as it was before. Joins the image's row."""
        return {}

    def parts(self, tally: Tally, rows: Rows) -> Mapping[str, Mapping[str, Mapping[str, Value | Undefined]]]:
        """Figures of parts of the truth that are counted apart, by axis and part, such as ``class`` and ``road``."""
        return {}

    @abstractmethod
    def replicate(self, weights: NDArray[np.float64], rows: Rows) -> Mapping[str, NDArray[np.float64]]:
        """The figures of R resamples, [R] each, NaN where one is undefined; metrics without an interval are left out.

        ``weights`` is [R, images]: how often each image, in the order of ``rows``, is in the resample.
        """

    def parameters(self, tally: Tally, rows: Rows) -> Mapping[str, float] | Undefined:
        """What the second phase takes from the first, such as a threshold."""
        raise NotImplementedError

    def frame(self, score: Scores, sample: Sample, predicted: Labels | None, parameters: Mapping[str, float]) -> Row:
        """Second phase: figures of one image from its spooled map. They join the row of the first phase."""
        raise NotImplementedError
