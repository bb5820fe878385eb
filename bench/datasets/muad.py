"""MUAD and miniMUAD: rendered streets in all weathers, with classes that training does not show, in their layout.

Splits, counts, file tree and label ids: ENSTA-U2IS-AI/torch-uncertainty, datasets/muad.py. Train ids are those of that
file, and differ from Cityscapes': a rider, a train, a motorcycle and a bicycle are out of distribution.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from bench.contract.dataset import CITYSCAPES
from bench.core.listing import Location
from bench.core.values import IGNORE
from bench.datasets.labelled_trees import LabelFile, LabelledTrees, Pair, encoding

UNKNOWN = (12, 16, 17, 18, 19, 20)  # label ids: rider, train, motorcycle, bicycle, animals, rubbish and stands
CLASSES = tuple(name for label, name in enumerate(CITYSCAPES) if label not in UNKNOWN)

_PUBLISHED = {
    "train": 3420, "val": 492, "test_id": 551, "test_ood": 1668, "test_id_low_adv": 605, "test_id_high_adv": 602,
    "test_ood_low_adv": 1552, "test_ood_high_adv": 1421,
}  # fmt: skip
_MINI = {"train": 400, "val": 54, "test": 112, "ood": 20}
_KNOWN = {CITYSCAPES.index(name): code for code, name in enumerate(CLASSES)}
_VOID = dict.fromkeys((21, IGNORE), IGNORE)
_IN_DISTRIBUTION = encoding("MUAD", _KNOWN | dict.fromkeys(UNKNOWN, IGNORE) | _VOID)
_WITH_ANOMALIES = encoding("MUAD, with anomalies", _KNOWN | dict.fromkeys(UNKNOWN, len(CLASSES)) | _VOID)


@dataclass(frozen=True)
class _Rendered(LabelledTrees):
    """``SPLIT/leftImg8bit/N_*.png`` and ``SPLIT/leftLabel/N_*.png``."""

    contents: ClassVar[str] = "SPLIT/leftImg8bit/ and SPLIT/leftLabel/ of MUAD"
    image_after: ClassVar[tuple[str, ...]] = ("_leftImg8bit", "_rgb", "")

    split: str

    @property
    def class_names(self) -> tuple[str, ...]:
        return CLASSES

    @property
    @abstractmethod
    def unknown(self) -> bool:
        """Whether the split shows what training does not."""

    @property
    def annotations(self) -> frozenset[str]:
        return frozenset({"labels", "anomaly"} if self.unknown else {"labels"})

    @property
    def pairs(self) -> Sequence[Pair]:
        return (Pair(((self.split, "leftImg8bit"),), ((self.split, "leftLabel"),)),)

    @property
    def label_files(self) -> Sequence[LabelFile]:
        after = ("_leftLabel", "_leftImg8bit", "_label", "_labelIds", "")
        return (LabelFile(after, _WITH_ANOMALIES if self.unknown else _IN_DISTRIBUTION),)


@dataclass(frozen=True)
class Muad(_Rendered):
    """1024x2048, 15 classes; anomalies are in ``test_ood`` (1668 frames) and its two adverse versions alone.

    Label ids are those of Cityscapes' train ids up to 18, 19 and 20 for animals and rubbish, 21 or 255 for void. Ids
    out of distribution are ignored in the other splits: ``train`` 3420, ``val`` 492, ``test_id`` 551. ``_low_adv`` and
    ``_high_adv`` are the same streets in worse weather. Networks of Cityscapes know four of the six unknown classes.
    """

    name = "muad"
    source = "Franchi et al., MUAD: Multiple Uncertainties for Autonomous Driving, arXiv:2203.01437"
    location: ClassVar[Location] = Location("muad")

    split: Literal[
        "test_ood", "train", "val", "test_id", "test_id_low_adv", "test_id_high_adv", "test_ood_low_adv",
        "test_ood_high_adv",
    ] = "test_ood"  # fmt: skip

    @property
    def unknown(self) -> bool:
        return self.split.startswith("test_ood")

    @property
    def published(self) -> int:
        return _PUBLISHED[self.split]


@dataclass(frozen=True)
class MiniMuad(_Rendered):
    """A smaller MUAD for courses: ``ood`` has 20 frames with anomalies, ``train`` 400, ``val`` 54, ``test`` 112.

    Classes, label ids and anomalies are those of ``muad``.
    """

    name = "mini_muad"
    source = "Franchi et al., MUAD: Multiple Uncertainties for Autonomous Driving, arXiv:2203.01437"
    location: ClassVar[Location] = Location("mini_muad", ("MUAD_small",))

    split: Literal["ood", "train", "val", "test"] = "ood"

    @property
    def unknown(self) -> bool:
        return self.split == "ood"

    @property
    def published(self) -> int:
        return _MINI[self.split]
