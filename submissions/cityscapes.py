"""Cityscapes, pixel-level semantic labeling: one zip of PNG files of label ids.

Names, values and rules: mcordts/cityscapesScripts, helpers/labels.py and evaluation/evalPixelLevelSemanticLabeling.py:
PNG files of label ids at the size of the images, exactly one whose name begins with ``<city>_<sequence>_<frame>``, in
any folder.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge
from numpy.typing import NDArray
from PIL import Image

from bench.api import (
    IGNORE,
    Archive,
    Board,
    Failure,
    Labels,
    Made,
    Masks,
    Option,
    Part,
    Protocol,
    Refused,
    Rerun,
    Sample,
    Scores,
    Submission,
    Trial,
    Verdict,
)
from bench.core import files, images
from bench.core.errors import BadScores, BadSuite, MissingData
from bench.datasets.cityscapes import ENCODINGS, LABEL_IDS
from bench.datasets.cityscapes import Cityscapes as Reader
from bench.datasets.frames import size as size_of
from bench.evaluate import evaluation
from bench.submit import archive_writer, dry_run
from bench.submit.submission import check_classes
from bench.suite import registry

Split = Literal["val", "test"]
COUNTS: Mapping[Split, int] = {"val": 500, "test": 1525}
TAIL = "_pred_labelIds.png"  # the evaluator asks for <city>_<sequence>_<frame>*.png
THREADS = 2
SIZE = (1024, 2048)
NAME = re.compile(r"([A-Za-z-]+(?:_[A-Za-z-]+)*_\d{6}_\d{6}).*\.png")
IDS = frozenset(range(34))  # that exist; -1, the licence plate, has no place in 8 bits
TRAIN_IDS = 19

_TO_LABEL_ID = np.zeros(256, np.uint8)
_TO_LABEL_ID[: len(LABEL_IDS)] = LABEL_IDS


@dataclass(frozen=True)
class Cityscapes(Board):
    """Cityscapes: a zip of class maps as label ids. Kill it at any time: the same command goes on."""

    name = "cityscapes"
    source = "mcordts/cityscapesScripts, evaluation/evalPixelLevelSemanticLabeling.py; arXiv:1604.01685"
    title = "Cityscapes, pixel-level semantic labeling"
    status = "taken to be open: its page was not looked at"
    page = "https://www.cityscapes-dataset.com/submit"
    takes = "one zip of PNG files of label ids, 1525 of test (500 of val are for a check of your own)"
    steps = (
        "log in on https://www.cityscapes-dataset.com/submit and upload the zip of --split test",
        "the limit of its size is not published: try the upload before the day it is due",
        "test is for final figures: the server allows few submissions",
    )
    scored = False

    split: Annotated[Split, Option("Which frames.")] = "test"
    frames: Annotated[Mapping[str, int], Option("How many frames a set has, where not as published.", "SET=N,...")] = (
        field(default_factory=dict)
    )
    processes: Annotated[int, Ge(1), Option("Processes that each hold the network.")] = 1

    def recognises(self, members: Collection[str]) -> bool:
        instances = any(name.endswith("_instanceIds_pred.txt") for name in members)  # masks of OoDIS are PNG files, too
        return not instances and any(name.endswith(".png") for name in members)

    def make(self, submission: Submission) -> Made:
        check_classes(submission)
        part = Part(
            name=self.split,
            reader=Reader(self.split, frames=self.frames.get(self.split)),
            ending=".png",
            member=self._member,
            sink=Keep,
            made_with=files.digest(Path(__file__)),
        )
        about = {"board": self.name, "name": submission.title, "split": self.split}
        record = submission.archive([part], about, self.processes)
        more = {"split": self.split, "archive": {"name": record["archive"], "sha256": record["sha256"]}}
        submission.card(submission.out, submission.claims("miou"), archive_writer.seconds(record), more)
        count = record["sets"][self.split]["frames"]
        path = submission.out / record["archive"]
        return Made(submission.out, [f"{path}: {count} class maps of label ids, split {self.split}"])

    def _member(self, sample: str) -> str:
        return f"{self.split}/{sample.rsplit('_', 2)[0]}/{sample}{TAIL}"

    def check(self, archive: Archive, masks: Masks | None = None) -> Verdict:
        """Hold an archive against every rule; ``frames`` or else the number of files says which split is meant."""
        verdict = Verdict(self.name, str(archive.path), list(archive.failures))
        members = _members(archive, verdict)
        stated: list[Split] = [name for name in COUNTS if name in self.frames]
        split: Split = stated[0] if stated else "test" if len(members) > COUNTS["val"] else "val"
        wanted = self.frames.get(split, COUNTS[split])
        sizes = _sizes(split, self.frames.get(split), verdict)
        if len(members) != wanted:
            complaint = f"holds {len(members)} class maps, wanted {wanted}"
            verdict.failures.append(Failure("count", f"{split}/", complaint))
        if sizes is not None:
            for missing in sorted(sizes.keys() - members.keys()):
                verdict.failures.append(Failure("count", f"{missing}*.png", "is absent: every frame has a class map"))
            for extra in sorted(members.keys() - sizes.keys()):
                verdict.failures.append(Failure("names", members[extra], f"{extra} is no frame of {split}"))
        pixels = np.zeros(256, np.int64)  # by value
        with ThreadPoolExecutor(THREADS) as pool:
            counted = pool.map(partial(_counts, archive, sizes), members.keys(), members.values())
            for member, counts in zip(members.values(), counted, strict=True):
                if isinstance(counts, Refused):
                    verdict.failures.append(Failure(counts.rule, member, counts.text))
                else:
                    pixels += counts
        _judge(pixels, split, verdict)
        verdict.counts[split] = len(members)
        for stray in archive.strays[:3]:
            verdict.warnings.append(f"{stray}: does not belong in an archive")
        return verdict

    def dry_run(self, archive: Archive, verdict: Verdict, trial: Trial) -> Rerun:
        """Mean IoU of the class maps of val."""
        reader = Reader("val", frames=self.frames.get("val"))
        protocol: Protocol = registry.build("protocol", "miou", {}, where="dry-run")
        table = ENCODINGS["labelIds"].table
        members = {Path(member).name: member for member in archive.members}

        def images() -> Iterator[tuple[Sample, Labels]]:
            for index, sample_id in enumerate(reader.ids()):
                sample = reader.load(index)
                member = next(member for name, member in members.items() if name.startswith(sample_id))
                try:
                    label_ids = read(archive, member, sample.size)
                except Refused as error:
                    raise BadScores(f"{member}: {error.text}") from None
                yield sample, table[label_ids]

        figures = evaluation.class_map_figures(protocol, images())
        return Rerun(dry_run.compared("val", figures, trial.claimed("miou", reader.ids()), dry_run.EXACT))


@dataclass(frozen=True)
class Keep:
    """Write the class map of one image as label ids."""

    folder: Path

    def __call__(self, sample: str, score: Scores | None, labels: Labels | None) -> None:
        assert labels is not None  # noqa: S101 - the board takes class maps
        if (labels[labels != IGNORE] >= len(LABEL_IDS)).any():
            raise BadSuite(f"{sample}: the class map holds {int(labels.max())}, wanted train ids from 0 to 18")
        memory = BytesIO()
        Image.fromarray(_TO_LABEL_ID[labels]).save(memory, "PNG", compress_level=6)
        with files.writing(self.folder / f"{sample}.png") as file:
            file.write(memory.getvalue())


def _members(archive: Archive, verdict: Verdict) -> dict[str, str]:
    """Frame to member."""
    members: dict[str, str] = {}
    for member in archive.members:
        match = NAME.fullmatch(PurePosixPath(member).name)
        if match is None:
            complaint = "has no name that the evaluator finds, wanted <city>_<sequence>_<frame>*.png"
            verdict.failures.append(Failure("names", member, complaint))
        elif match[1] in members:
            complaint = f"and {members[match[1]]} are of one frame; keep one"
            verdict.failures.append(Failure("names", member, complaint))
        else:
            members[match[1]] = member
    return members


def _sizes(split: Split, frames: int | None, verdict: Verdict) -> Mapping[str, tuple[int, int]] | None:
    """(H, W) by frame; None where the images are not here."""
    try:
        return {frame.id: size_of(frame.image) for frame in Reader(split, frames=frames)._frames}
    except MissingData as error:
        verdict.notes.append(f"names were not compared with the images of {split}, which are not here: {error}")
        return None


def read(archive: Archive, member: str, size: tuple[int, int]) -> Labels:
    """uint8 [H, W] of one file: its values as they are. Raise Refused for what is no class map of that size."""
    content = archive.read(member, 4 * size[0] * size[1] + 2**20)
    try:
        header = images.header(BytesIO(content), ("PNG",))
        shape = header.size
        if shape != size:
            turned = "; is it transposed?" if shape == size[::-1] else ""
            raise Refused("map size", f"is {shape[0]}x{shape[1]}, its image is {size[0]}x{size[1]}{turned}")
        if header.layout != "L":
            raise Refused("dtype", f"is stored as {header.layout}, wanted 8-bit grey: one label id per pixel")
        return images.labels(BytesIO(content))
    except images.Undecodable as error:
        raise Refused("png", f"is no whole PNG: it {error}") from None


def _counts(
    archive: Archive, sizes: Mapping[str, tuple[int, int]] | None, frame: str, member: str
) -> NDArray[np.int64] | Refused:
    """int64 [256]: how often each value occurs."""
    size = SIZE if sizes is None else sizes.get(frame)
    if size is None:
        return np.zeros(256, np.int64)  # no frame of the set: said already
    try:
        counts = np.bincount(read(archive, member, size).ravel(), minlength=256)
        unknown = [value for value in np.flatnonzero(counts).tolist() if value not in IDS]
        if unknown:
            hint = "; 255 is no class: every pixel needs one" if unknown[-1] == IGNORE else ""
            raise Refused("values", f"holds {unknown[0]}, wanted label ids from 0 to 33{hint}")
    except Refused as error:
        return error
    return counts


def _judge(pixels: NDArray[np.int64], split: Split, verdict: Verdict) -> None:
    """Train ids in place of label ids would be near zero on the server."""
    values = np.flatnonzero(pixels)
    if not values.size:
        return
    ignored = int(pixels[[value for value in IDS if value not in LABEL_IDS]].sum())
    if values.max() < TRAIN_IDS and ignored:
        complaint = (
            f"no value is above {values.max()} and {100 * ignored / pixels.sum():.0f} % are ids that are never"
            " evaluated: these are train ids, wanted label ids (7 road ... 33 bicycle)"
        )
        verdict.failures.append(Failure("label ids", f"{split}/", complaint))
    elif ignored:
        verdict.warnings.append(
            f"{split}/: {ignored} pixels hold ids that are not evaluated; on a labelled pixel they count as misses"
        )
