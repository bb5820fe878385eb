"""Images and label files in parallel trees: classes, anomalies or both, by a table of the stored values.

A reader names the folders, what follows an id in a file name, and the meaning of the values; this module finds the
files, pairs and counts them, and turns codes into labels and anomaly masks.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from bench.contract.dataset import CITYSCAPES
from bench.core import label_values, listing
from bench.core.listing import Location, Names, Tree
from bench.core.values import IGNORE, Labels
from bench.datasets import archives, frames, sides
from bench.datasets.frames import Encoding, Frame
from bench.datasets.masked import Masked
from bench.datasets.sides import Side

KEPT = "its labels are kept by the organisers: it is there to make a submission from"
UNLABELLED = (
    254  # the code of a pixel that has no class and is no anomaly; the code after the last class is the anomaly
)
Chain = tuple[Names, ...]  # the names of the folders that lead to a tree


@dataclass(frozen=True)
class Pair:
    """The tree of some images and that of their label files; the first of several chains that is there."""

    images: tuple[Chain, ...]
    labels: tuple[Chain, ...] = ()  # none where the publisher keeps them
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class LabelFile:
    """One kind of label file: what follows the id in its name, and what its values mean."""

    after: tuple[str, ...]
    encoding: Encoding
    ends: Sequence[str] = listing.MASKS
    chains: tuple[Chain, ...] = ()  # where they lie, if not where the pair says


def encoding(name: str, meaning: label_values.Meaning) -> Encoding:
    """The encoding of that name, with its legal values in words."""
    return Encoding(name, meaning, label_values.words_of(meaning))


@dataclass(frozen=True)
class LabelledTrees(Masked):
    """A data set in parallel trees. A subclass says which, and which codes the stored values mean.

    A code is a class, the number of classes for an anomaly, ``UNLABELLED``, or 255 for what counts nowhere. In
    ``values`` the words ``anomaly`` and ``normal`` stand for the two that are no class.
    """

    location: ClassVar[Location]
    contents: ClassVar[str]  # what the folder of the data set holds, for messages
    image_after: ClassVar[tuple[str, ...]] = ("",)  # what follows the id in the name of an image
    by_folder: ClassVar[bool] = False  # whether frames of one name lie in several folders
    by_group: ClassVar[bool] = False  # whether the frames of one folder were recorded one after the other
    chosen: ClassVar[bool] = False  # whether ``choose`` leaves some frames out

    @property
    @abstractmethod
    def pairs(self) -> Sequence[Pair]:
        """The trees that hold the frames."""

    @property
    @abstractmethod
    def label_files(self) -> Sequence[LabelFile]:
        """The kinds of label files, in the order in which they are looked for."""

    def choose(self, whole: Mapping[str, tuple[Path, Path]]) -> Collection[str]:
        """The ids that belong to the data set, of all images with their labels."""
        return whole

    @property
    def obtain(self) -> str:
        return archives.obtain(self.name, **{entry.name: getattr(self, entry.name) for entry in fields(self)})

    @property
    def conventions(self) -> Mapping[str, label_values.Meaning]:
        if self.class_names == CITYSCAPES:
            return label_values.conventions()
        return {"train_ids": self.label_files[0].encoding.meaning}  # as published, however odd they look

    def scan(self) -> Sequence[Frame]:
        again = self.obtain
        parts = [
            sides.side(self._tree(pair), again, after=self.image_after, folders=self.by_folder) for pair in self.pairs
        ]
        images = sides.joined(parts)
        tags = {name: pair.tags for pair, part in zip(self.pairs, parts, strict=True) for name in part.paths}

        def frame(name: str, image: Path, mask: Path | None = None, kind: LabelFile | None = None) -> Frame:
            group = image.parent.name if self.by_group else ""
            made = Frame(frames.plain(name), image, mask, group=group, tags=tags[name])
            return replace(made, encoding=kind.encoding) if kind else made

        if self.hidden:
            sides.counted(images.paths, self.count, images.folder, again)
            return frames.unique([frame(name, path) for name, path in images.paths.items()])
        masks, kind = self._labels(images, again)
        whole = sides.paired(images, masks, None if self.chosen else self.frames)
        kept = {name: whole[name] for name in sorted(self.choose(whole))}
        sides.counted(kept, self.count, images.folder, again)
        return frames.unique([frame(name, image, mask, kind) for name, (image, mask) in kept.items()])

    def _tree(self, pair: Pair) -> Tree:
        folder = self._first(pair.images)
        if folder is None:
            raise sides.absent(self.location.wanted(*pair.images[0]), self.location, self.contents, self.obtain)
        return listing.tree(folder)

    def _first(self, chains: Sequence[Chain]) -> Path | None:
        return next(filter(None, (self.location.find(*chain) for chain in chains)), None)

    def _labels(self, images: Side, again: str) -> tuple[Side, LabelFile]:
        """The kind of label file of which every image has one, or else the first of which there are any."""
        some: list[tuple[Side, LabelFile]] = []
        for kind in self.label_files:
            folders = [self._first(kind.chains or pair.labels) for pair in self.pairs]
            parts = [
                sides.side(
                    listing.tree(folder), again, after=kind.after, ends=kind.ends, like=images, folders=self.by_folder
                )
                for folder in folders
                if folder
            ]
            if not parts:
                continue
            labels = sides.joined(parts)
            if images.paths.keys() <= labels.paths.keys():
                return labels, kind
            some.append((labels, kind))
        if not some:
            wanted = self.label_files[0].chains or self.pairs[0].labels
            listing.tree(self.location.wanted(*wanted[0]), again)  # it is not there, and raises that
        return next(((labels, kind) for labels, kind in some if labels.paths.keys() & images.paths.keys()), some[0])

    def truth(self, frame: Frame) -> Mapping[str, Labels]:
        if frame.mask is None:
            return {}
        codes = frames.read_mask(frame.mask, self.revalued(frame.encoding), like=frame.image)
        return {kind: self._table(kind)[codes] for kind in sorted(self.annotations)}

    def _table(self, kind: str) -> Labels:
        """Uint8 [256]: a code as a label, or as a value of an anomaly mask."""
        table = np.full(256, IGNORE, np.uint8)
        anomaly = len(self.class_names)
        if kind == "labels":
            table[:anomaly] = np.arange(anomaly)
        else:
            table[[*range(anomaly), UNLABELLED]] = 0
            table[anomaly] = 1
        return table

    def meaning(self, base: label_values.Meaning) -> label_values.Meaning:
        codes: Mapping[str | int, int] = {"anomaly": len(self.class_names), "normal": UNLABELLED}
        values = self.values
        if isinstance(values, Mapping) and "anomaly" in self.annotations:
            values = {key: codes.get(word, word) for key, word in values.items()}
        return label_values.meaning(values, base, "labels", self.conventions)

    def doubt(self, scanned: Sequence[Frame], masks: Sequence[label_values.Counts]) -> str:
        masked = next((frame for frame in scanned if frame.mask), None)
        if masked is None:
            return ""
        now, said, classes = self.revalued(masked.encoding).meaning, self.values is not None, len(self.class_names)
        streets = self.class_names == CITYSCAPES
        doubt = label_values.doubt(masks, "labels", now, said=said, classes=classes, streets=streets)
        if doubt is None and "anomaly" in self.annotations:
            table = self._table("anomaly")
            anomaly = {value: int(table[code]) for value, code in now.items()}
            doubt = label_values.doubt(masks, "anomaly", anomaly, said=said)
        return doubt.text(label_values.in_suite) if doubt else ""
