"""The frames that maps made elsewhere are held against: a data set's, or PNG files in a folder."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.api import Dataset, Labels, Protocol, Sample
from bench.core import images, label_values, listing
from bench.core.errors import BadScores, MissingData
from bench.core.label_values import Values
from bench.datasets.frames import check_depths
from bench.evaluate import conventions
from bench.evaluate.conventions import Said, Seen
from bench.suite import parameters, registry

PICTURES = ("_color", "_instanceIds", "_instanceTrainIds", "_colormask", "_overlay")  # beside labels, for people
TRAINS, IDS = "_labelTrainIds", "_labelIds"  # of Cityscapes: where both lie, train ids count


class Frames(ABC):
    """Labelled frames by id."""

    label = ""  # for people; empty for a folder
    parameters: Mapping[str, Any] | None = None  # of the data set
    exact = False  # whether every map must belong to a frame
    names: Collection[str] = ()  # that a folder of its maps may have

    @property
    @abstractmethod
    def ids(self) -> Sequence[str]:
        """Sorted."""

    @abstractmethod
    def load(self, sample: str) -> Sample:
        """Decode the labels of one frame."""

    @abstractmethod
    def file_of(self, sample: str) -> str:
        """Return the name of its labels, for messages."""

    @abstractmethod
    def check(self, protocols: Sequence[Protocol]) -> None:
        """Raise BadScores if a protocol needs what these frames do not carry, and MissingData for labels amiss."""

    @abstractmethod
    def stored(self, sample: str) -> Labels | None:
        """The labels that are held against class maps, as they are stored, uint8 [H, W]; None where there are none."""

    @abstractmethod
    def doubt(self, seen: Seen, said: Said) -> str:
        """Return why the values that were seen can hardly mean what they are taken for; empty where they can."""


class Published(Frames):
    """Frames of a data set, with the labels as its reader maps them. Maps of other frames are let be."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.parameters = parameters.values(dataset)
        self.label = parameters.label(dataset)
        self.names = [dataset.name, *(value for value in self.parameters.values() if isinstance(value, str))]

    @classmethod
    def named(cls, name: str, params: Mapping[str, Any]) -> Published:
        """Nothing is opened yet."""
        return cls(registry.build("dataset", name, params, where="--dataset"))

    @cached_property
    def ids(self) -> Sequence[str]:
        ids = list(self.dataset.ids())
        if len(ids) != self.dataset.count:
            raise MissingData(f"{self.label} has {len(ids)} frames here, wanted {self.dataset.count}")
        return ids

    @cached_property
    def _places(self) -> Mapping[str, int]:
        return {sample: index for index, sample in enumerate(self.ids)}

    def load(self, sample: str) -> Sample:
        return self.dataset.load(self._places[sample])

    def file_of(self, sample: str) -> str:
        return f"{self.label}/{sample}"

    def check(self, protocols: Sequence[Protocol]) -> None:
        for protocol in protocols:
            if lacking := sorted(protocol.truths - self.dataset.annotations):
                has = getattr(self.dataset, "hidden", "") or f"it has {', '.join(sorted(self.dataset.annotations))}"
                raise BadScores(f"{self.label} has no {' and no '.join(lacking)}, which {protocol.name} needs; {has}")
        self.dataset.check()

    def stored(self, sample: str) -> Labels | None:
        return self.load(sample).labels

    def doubt(self, seen: Seen, said: Said) -> str:
        classes = len(self.dataset.class_names)
        return conventions.doubt(seen, label_values.train_ids(classes), said, classes=classes, fixed=True)


class Folder(Frames):
    """One PNG per frame: 0, 1 and 255 if a protocol needs anomalies, else train ids. Every map must have its labels.

    Without a pattern the files are named ``{id}.png``, or as publishers name them: pictures of labels are passed over.
    ``values`` is what their values mean if it is not that. ``invalid`` names masks beside train ids, which become the
    anomalies of their frames wherever they are not 0.
    """

    exact = True

    def __init__(self, folder: Path, pattern: str = "", values: Values | None = None, invalid: str = "") -> None:
        if invalid and invalid.count("{id}") != 1:
            raise BadScores(f"--invalid is {invalid!r}, wanted {{id}} in it exactly once, such as 'masks/{{id}}.png'")
        if pattern and pattern.count("{id}") != 1:
            raise BadScores(f"--pair is {pattern!r}, wanted {{id}} in it exactly once, such as '{{id}}_labels.png'")
        self.folder, self.pattern, self.values, self.invalid = folder, pattern, values, invalid
        self._kind: label_values.Kind = "labels"
        self._classes: int | None = None  # that a protocol counts

    @cached_property
    def _paths(self) -> Mapping[str, Path]:
        if not self.folder.is_dir():
            raise MissingData(f"{self.folder} is not a folder; wanted one PNG of labels per image in it")
        before, after = map(re.escape, (self.pattern or "{id}.png").split("{id}"))
        named = re.compile(f"{before}(.+){after}", 0 if self.pattern else re.IGNORECASE)
        paths: dict[str, Path] = {}
        for path in listing.nearest(self.folder, lambda path: bool(named.fullmatch(path.name)) and path.is_file()):
            name = str(named.fullmatch(path.name)[1])  # type: ignore[index]
            if name in paths:
                raise BadScores(
                    f"{path} and {paths[name]} are both the labels of {name}; name the folder of one of them"
                )
            paths[name] = path
        if not self.pattern:
            paths = _without_pictures(paths)
        if not paths:
            wanted = self.pattern or "{id}.png"
            raise MissingData(f"{self.folder} holds no labels; wanted files named {wanted}; --pair says otherwise")
        return dict(sorted(paths.items()))

    @property
    def ids(self) -> Sequence[str]:
        return list(self._paths)

    def load(self, sample: str) -> Sample:
        stored = images.read_labels(self._paths[sample])
        size = (stored.shape[0], stored.shape[1])
        if illegal := sorted(set(np.unique(stored).tolist()) - set(self._meaning)):
            wanted = label_values.words_of(self._meaning)
            raise MissingData(f"{self._paths[sample]} holds the value {illegal[0]}, wanted {wanted}")
        truth = conventions.table(self._meaning)[stored]
        if self._kind == "anomaly":
            return Sample(sample, size, _no_image, anomaly=truth)
        return Sample(sample, size, _no_image, labels=truth, anomaly=self._invalid(sample, size))

    def _invalid(self, sample: str, size: tuple[int, int]) -> Labels | None:
        if not self.invalid:
            return None
        path = Path(self.invalid.replace("{id}", sample))
        if not path.is_file():
            raise MissingData(f"{path} does not exist; wanted the invalid pixels of {sample}, as --invalid says")
        mask = images.read_labels(path)
        if mask.shape != size:
            raise MissingData(f"{path} is {list(mask.shape)}, its labels are {list(size)}")
        return np.not_equal(mask, 0).astype(np.uint8)

    def file_of(self, sample: str) -> str:
        return self._paths[sample].name

    def check(self, protocols: Sequence[Protocol]) -> None:
        needs = {need: protocol.name for protocol in protocols for need in protocol.truths}
        if "instances" in needs:
            raise BadScores(
                f"{needs['instances']} needs instances, and {self.folder} holds masks; name a data set that has them"
                " with --dataset, or say mask_instances: the objects of a mask"
            )
        alone = any(protocol.truths == {"anomaly"} for protocol in protocols)
        if len(needs) > 1 and (alone or not self.invalid):
            also = "" if alone else ", or name masks of the anomalies beside them with --invalid"
            both = " and ".join(f"{need} ({name})" for need, name in sorted(needs.items()))
            raise BadScores(
                f"{self.folder} holds one kind of labels, the protocols need {both}; evaluate them apart{also}"
            )
        self._kind = "anomaly" if needs.keys() == {"anomaly"} else "labels"
        if self.invalid and self._kind == "anomaly":
            raise BadScores("--invalid is about train ids; masks of anomalies are what --labels names")
        counted = [classes for each in protocols if isinstance(classes := getattr(each, "classes", None), int)]
        self._classes = min(counted, default=None)
        try:
            self._meaning  # noqa: B018 - words that say nothing are refused before any file is read
        except ValueError as error:
            raise BadScores(f"{conventions.LABELS}: {error}") from None
        check_depths({path: images.read_header(path) for path in self._paths.values()})

    @cached_property
    def _meaning(self) -> label_values.Meaning:
        if self._kind == "anomaly":
            return label_values.meaning(self.values, label_values.ANOMALY, "anomaly", {})
        count = self._classes or label_values.CLASSES
        known = dict(label_values.conventions(count))
        if self._classes is None:  # no protocol says how many there are
            known["train_ids"] = {value: value for value in range(256)}
        return label_values.meaning(self.values, known["train_ids"], "labels", known)

    def stored(self, sample: str) -> Labels:
        return images.read_labels(self._paths[sample])

    def doubt(self, seen: Seen, said: Said) -> str:
        if self._kind == "labels":
            told = conventions.doubt(seen, self._meaning, said, classes=self._classes, fixed=False)
        else:
            doubt = label_values.doubt(seen.masks, "anomaly", self._meaning, said=self.values is not None)
            told = doubt.text(conventions.as_label_option) if doubt else ""
        if not told:
            return ""
        for sample, counts in zip(seen.frames, seen.masks, strict=True):
            if illegal := [value for value in np.flatnonzero(counts).tolist() if value not in self._meaning]:
                return f"{self._paths[sample]} holds the value {illegal[0]}; {told}"
        return f"{self.folder}: {told}"


def _without_pictures(paths: Mapping[str, Path]) -> dict[str, Path]:
    """Files by what is left of their names, without the pictures that publishers keep beside labels."""
    kept = {name: path for name, path in paths.items() if not name.endswith(PICTURES)}
    trains = {name.removesuffix(TRAINS) for name in kept if name.endswith(TRAINS)}
    return {name: path for name, path in kept.items() if not (name.endswith(IDS) and name.removesuffix(IDS) in trains)}


def _no_image() -> NDArray[np.uint8]:
    raise AssertionError("score maps are evaluated without images")
