"""BDD-Anomaly: the frames of BDD100K that show a motorcycle, a bicycle or a train, in the layout of BDD100K.

The rule: hendrycks/anomaly-seg, create_bdd_dataset.py, which takes every labelled frame of the 10k set in which one of
these classes has a pixel; counts: arXiv:1911.11132, which in its first version had motorcycles and trains alone. Which
frames these are is read off the labels, once, and kept in ``$BENCH_HOME/bdd_anomaly``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from bench.contract.dataset import CITYSCAPES
from bench.core import files, label_values, packed
from bench.core.errors import MissingData
from bench.core.listing import Location
from bench.core.values import IGNORE
from bench.datasets import frames
from bench.datasets.labelled_trees import UNLABELLED, LabelFile, LabelledTrees, Pair, encoding

UNKNOWN: Mapping[str, tuple[str, ...]] = {
    "motorcycle_bicycle_train": ("motorcycle", "bicycle", "train"),
    "motorcycle_train": ("motorcycle", "train"),
}
_PUBLISHED: Mapping[str, Mapping[str, int]] = {
    "motorcycle_bicycle_train": {"train": 6280, "val": 910, "test": 810},
    "motorcycle_train": {"train": 6688, "val": 951, "test": 361},
}
_ABOVE = (("bdd100k",), ())  # the folder in the archives; some leave it out
_IMAGES = (("images", "10k"), ("seg", "images"))  # since 2021, and before
_LABELS = (("labels", "sem_seg", "masks"), ("seg", "labels"))
_TRAIN_IDS = encoding("BDD100K", label_values.train_ids())


@dataclass(frozen=True)
class BddAnomaly(LabelledTrees):
    """Dash cameras of the USA, 720x1280; ``test`` has 810 frames, each with an anomaly, ``train`` 6280, ``val`` 910.

    Label files hold the train ids of Cityscapes. ``anomalies`` says which classes are none here: motorcycle, bicycle
    and train, as the authors' code and the published paper have it, or ``motorcycle_train`` (6688, 951 and 361 frames),
    as its first version. The other classes are those that remain. 255 has no class and is normal, as in that code:
    ``values: {255: ignore}`` leaves it out. A network has to be trained without these classes, or they are no
    anomalies to it.
    """

    name = "bdd_anomaly"
    source = "Hendrycks et al., Scaling Out-of-Distribution Detection for Real-World Settings, arXiv:1911.11132"
    location: ClassVar[Location] = Location("bdd_anomaly", ("bdd100k", "BDD100K", "BDDAnomaly"))
    contents: ClassVar[str] = "images/10k/ and labels/sem_seg/masks/ of BDD100K"
    chosen: ClassVar[bool] = True

    split: Literal["test", "train", "val"] = "test"
    anomalies: Literal["motorcycle_bicycle_train", "motorcycle_train"] = "motorcycle_bicycle_train"

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(name for name in CITYSCAPES if name not in UNKNOWN[self.anomalies])

    @property
    def annotations(self) -> frozenset[str]:
        return frozenset({"labels", "anomaly"} if self.split == "test" else {"labels"})

    @property
    def published(self) -> int:
        return _PUBLISHED[self.anomalies][self.split]

    @property
    def pairs(self) -> Sequence[Pair]:
        folders = ("train", "val") if self.split == "test" else (self.split,)
        return [
            Pair(
                tuple((*above, *inner, each) for above in _ABOVE for inner in _IMAGES),
                tuple((*above, *inner, each) for above in _ABOVE for inner in _LABELS),
            )
            for each in folders
        ]

    @property
    def label_files(self) -> Sequence[LabelFile]:
        names, anomaly = self.class_names, len(self.class_names)
        codes = {train: names.index(name) if name in names else anomaly for train, name in enumerate(CITYSCAPES)}
        void = UNLABELLED if self.split == "test" else IGNORE
        return (LabelFile(("", "_train_id"), encoding("BDD100K", codes | {IGNORE: void})),)

    def choose(self, whole: Mapping[str, tuple[Path, Path]]) -> Collection[str]:
        held = _unknown_held({name: mask for name, (_, mask) in whole.items()})
        unknown = {CITYSCAPES.index(name) for name in UNKNOWN[self.anomalies]}
        return [name for name in whole if unknown.isdisjoint(held[name]) == (self.split != "test")]


def _unknown_held(masks: Mapping[str, Path]) -> Mapping[str, Sequence[int]]:
    """The train ids of motorcycle, bicycle and train that each mask holds. Kept until a mask is written again."""
    choice = json.dumps([(name, packed.size(path), _changed(path)) for name, path in sorted(masks.items())])
    kept = files.home() / "bdd_anomaly" / f"{hashlib.sha256(choice.encode()).hexdigest()[:16]}.json"
    if kept.is_file():
        try:
            known = json.loads(kept.read_text(encoding="ascii"))
            return {name: [int(train) for train in known[name]] for name in masks}
        except (KeyError, OSError, TypeError, ValueError) as error:
            raise MissingData(f"{kept} cannot be read: {error}; delete it, it is made again") from None
    every = [CITYSCAPES.index(name) for name in UNKNOWN["motorcycle_bicycle_train"]]
    held = {}
    with frames.counted_values():  # which frames there are is asked here, not what their values mean
        for name, path in masks.items():
            codes = np.unique(frames.read_mask(path, _TRAIN_IDS)).tolist()
            held[name] = [train for train in every if train in codes]
    with files.writing(kept) as file:
        file.write(json.dumps(held).encode())
    return held


def _changed(path: Path) -> int:
    """When a file was written, in ns; 0 inside an archive."""
    return path.stat().st_mtime_ns if path.is_file() else 0
