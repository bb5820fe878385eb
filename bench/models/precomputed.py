"""Outputs of a network that ran elsewhere: logits, scores and class maps read from files, without any network."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from bench.api import CITYSCAPES, File, Prediction, Sample, ShardModel, ShardNetwork, View
from bench.core import files, label_values, untrusted_arrays
from bench.core.errors import BadPlugin, MissingData
from bench.core.label_values import Meaning, Values
from bench.core.noted_files import note
from bench.models import stored

if TYPE_CHECKING:
    from torch import nn

FRESH = 2.0  # seconds in which a file may change twice and keep its time stamp


@dataclass(frozen=True)
class Precomputed(ShardModel):
    """Stored outputs in place of a network: a folder with a .npy, .npz or .hdf5 per image, or one archive with all.

    It sees a shard together, so that an absent file is found before the images beside it are scored.

    Names are the ids of the samples, perhaps with an ending such as ``_leftImg8bit``; folders of cities are looked
    through. ``logits`` [C, h, w] and ``scores`` [h, w] are numbers at any resolution up to
    the image's, ``labels`` [h, w] whole numbers, the class map. A spool of ``bench run --keep-maps`` serves as
    ``scores`` and as ``labels``. ``values`` is what class maps hold if it is not train ids: ``label_ids``, ``from_1``,
    or such as ``{24: 0}``.
    """

    name = "precomputed"
    source = "files of the user's, made by whatever network"
    computations = frozenset({"scoring"})  # whole images: nothing is merged

    logits: File | None = None
    scores: File | None = None
    labels: File | None = None
    classes: tuple[str, ...] = CITYSCAPES
    values: Annotated[Values | None, Field(exclude_if=lambda said: said is None)] = None

    def __post_init__(self) -> None:
        self.meaning()
        if not self.places:
            raise ValueError("nothing is named; wanted logits, scores or labels: a folder or a file")
        stored.whole_images_only(self.inference, "stored")

    def meaning(self) -> Meaning | None:
        """The class of each value of a class map; None: the value itself."""
        if self.values is None:
            return None
        plain = {value: value for value in range(len(self.classes))}
        return label_values.meaning(self.values, plain, "labels", label_values.conventions(len(self.classes)))

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.classes

    @property
    def outputs(self) -> frozenset[str]:
        names: dict[stored.Kind, str] = {"logits": "logits", "scores": "score", "labels": "labels"}
        return frozenset({names[kind] for kind in self.places} | {"raw", "image"})

    def check(self) -> None:
        """Which images there will be is not known here: the first absent file ends the run at its shard."""
        for kind, source in self.places.items():
            if not stored.listed(source, kind).entries:
                ends = ".npy, .npz, .hdf5" + (", .png" if kind == "labels" else "")
                raise MissingData(f"model precomputed: {source} holds no {kind}; wanted files ending in {ends}")

    def digest(self) -> str:
        """16 hex digits of every file's content and of the code that reads it.

        A file is read once: its digest is kept in $BENCH_HOME with its size and time stamp and holds while both do.
        """
        parts = [
            files.digest(Path(__file__)),
            files.digest(Path(stored.__file__)),
            files.digest(Path(untrusted_arrays.__file__)),
        ]
        for kind, source in self.places.items():
            parts += [kind, _digest(source, stored.listed(source, kind).paths)]
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]

    def load(self, device: str) -> PrecomputedNetwork:
        return PrecomputedNetwork(self, device)

    @property
    def places(self) -> dict[stored.Kind, Path]:
        """The folder or archive of each kind that is named: ``logits``, ``scores``, ``labels``."""
        sources: dict[stored.Kind, File | None] = {"logits": self.logits, "scores": self.scores, "labels": self.labels}
        return {kind: Path(source) for kind, source in sources.items() if source is not None}


class PrecomputedNetwork(ShardNetwork):
    """What the folders and archives hold, read image by image."""

    def __init__(self, specification: Precomputed, device: str) -> None:
        self._places, self._device = specification.places, device
        self._classes, self._meaning = len(specification.classes), specification.meaning()
        self._listed = {kind: stored.listed(source, kind) for kind, source in self._places.items()}

    def prepare(self, samples: Sequence[Sample]) -> None:
        for kind, source in self._places.items():
            missing = [sample.id for sample in samples if self._listed[kind].of(sample.id) is None]
            if missing:
                raise MissingData(
                    f"model precomputed: {source} has no {kind} of {missing[0]}"
                    f" ({len(missing)} of {len(samples)} images"
                    " of this shard have none); wanted an entry of that name, found such as"
                    f" {self._listed[kind].example}"
                )

    def predict(self, views: Sequence[View]) -> Sequence[Prediction]:
        return [self._prediction(view) for view in views]

    def module(self) -> nn.Module:
        raise BadPlugin("model precomputed: there is no network to train, only what one left behind")

    def _prediction(self, view: View) -> Prediction:
        entries = {kind: entry for kind, listed in self._listed.items() if (entry := listed.of(view.sample))}
        largest = (max(view.image_size[0], view.input_size[0]), max(view.image_size[1], view.input_size[1]))
        outputs, labels = {}, None
        if "logits" in entries:
            outputs["logits"] = stored.volume(entries["logits"], self._classes, largest).to(self._device)
        if "scores" in entries:
            outputs["score"] = stored.volume(entries["scores"], None, largest).to(self._device)
        if "labels" in entries:
            values = stored.class_map(entries["labels"], self._classes, view.image_size, self._meaning, "values")
            labels = values.to(self._device)
        return Prediction(outputs, view.input_size, labels=labels, image=view.pixels)


def _digest(source: Path, paths: Sequence[Path]) -> str:
    """Of names and contents; what was read before and has its size and time stamp still is not read again."""
    name = hashlib.sha256(str(source.resolve()).encode()).hexdigest()[:16]
    kept_in = files.home() / "digests" / f"{name}.json"
    try:
        known = json.loads(kept_in.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # none yet, or a damaged one: then everything is read
        known = {}
    entries: dict[str, list[int | str]] = {}
    for path in paths:
        note(path)
        state, key = path.stat(), os.path.relpath(path, source)
        old = known.get(key) if isinstance(known, dict) else None
        if isinstance(old, list) and old[:2] == [state.st_size, state.st_mtime_ns] and len(old) == 3:
            entries[key] = old
        else:
            entries[key] = [state.st_size, state.st_mtime_ns, files.digest(path)]
    settled = {key: value for key, value in entries.items() if time.time() - int(value[1]) / 1e9 > FRESH}
    if settled != known:
        with files.writing(kept_in, "w") as file:
            json.dump(settled, file)
    whole = hashlib.sha256("".join(f"{key} {value[2]}\n" for key, value in sorted(entries.items())).encode())
    return whole.hexdigest()[:16]
