"""OoDIS: one zip with a text file for each frame, which lists the masks of its instances and their scores.

Layout and rules: kumuji/anomaly-benchmark-suite, verify_submission.py@44ff0d4, scoring_program/preprocess_files.py and
evaluation/@b2d5a82. A line is ``MASK.png ... SCORE``: the first and the last word count. A frame without an instance
has one empty mask, which the evaluation skips, because a text file without a line is refused.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from math import isfinite
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge
from numpy.typing import NDArray
from PIL import Image

from bench.api import (
    Archive,
    Board,
    Failure,
    Labels,
    Made,
    Masks,
    Option,
    Part,
    Refused,
    Rerun,
    Scores,
    Submission,
    Trial,
    Value,
    Verdict,
)
from bench.core import files, images
from bench.core.errors import BadScores, BadSuite, MissingData
from bench.core.values import Row
from bench.datasets import archives
from bench.datasets.frames import OnDisk
from bench.datasets.frames import size as size_of
from bench.datasets.lost_and_found import LostAndFound
from bench.datasets.oodis import Oodis as Reader
from bench.datasets.smiyc import SegmentMeIfYouCan
from bench.metrics import instances
from bench.submit import archive_writer, dry_run

ENDING = "_instanceIds_pred.txt"
MASK = re.compile(r"(?P<start>[^/\s]+)_instanceIds_(?P<number>\d+)_1\.png")
CLASS = 1  # the second word of a line, which the evaluation replaces
LINES = 2**20  # bytes of a text file
SLACK = 2**20  # bytes of a mask beyond one for each pixel
LARGEST = 2**24  # pixels of a mask whose image is not here
THREADS = 2


@dataclass(frozen=True)
class Frames:
    """The frames of one source that belong to a folder of the archive."""

    folder: str
    count: int
    after: str  # what follows the id in a file name
    reader: Any  # of every frame; given how many there must be, if not as published


def _smiyc(track: Any, split: Any) -> Any:
    return lambda frames: SegmentMeIfYouCan(track, split, frames=frames)


def _lost_and_found(split: Any) -> Any:
    return lambda frames: LostAndFound(split, frames=frames)


SETS: Mapping[str, Frames] = {
    "fishyscapes-train": Frames("fishyscapes", 1036, "_gtCoarse", _lost_and_found("train")),
    "fishyscapes-test": Frames("fishyscapes", 1203, "_gtCoarse", _lost_and_found("test")),
    "roadanomaly": Frames("roadanomaly", 100, "", _smiyc("RoadAnomaly21", "test")),
    "roadobstacle-test": Frames("roadobstacle", 327, "", _smiyc("RoadObstacle21", "test")),
    "roadobstacle-night": Frames("roadobstacle", 30, "", _smiyc("RoadObstacle21", "night")),
    "roadobstacle-snowstorm": Frames("roadobstacle", 55, "", _smiyc("RoadObstacle21", "snowstorm")),
}
FOLDERS = tuple(sorted({part.folder for part in SETS.values()}))


@dataclass(frozen=True)
class Oodis(Board):
    """OoDIS: a zip of instance masks with scores. Kill it at any time: the same command goes on.

    Instances are the connected parts of the pixels whose score reaches a threshold: that of ``--threshold``, or the one
    that the run found under the protocol ``instances``.
    """

    name = "oodis"
    source = "Nekrasov et al., arXiv:2406.11835; kumuji/anomaly-benchmark-suite@44ff0d4"
    title = "OoDIS, anomaly instance segmentation"
    status = "not known: its page was not looked at"
    page = archives.of("oodis").page
    takes = "one zip of fishyscapes (2239), roadanomaly (100) and roadobstacle (412): a list and masks for each frame"
    steps = (
        "hold the zip against the organisers' own check: verify_submission.py --task segmentation, in their repository",
        f"read {archives.of('oodis').page} for where to upload it",
    )

    threshold: Annotated[float | None, Option("Scores from here on are instances. Default: the run's.")] = None
    min_predicted: Annotated[int, Ge(1), Option("Pixels that an instance has at least.")] = instances.LEAST
    most: Annotated[int, Ge(1), Option("Instances of an image that are kept, by their scores.")] = instances.MOST
    frames: Annotated[Mapping[str, int], Option("How many frames a set has, where not as published.", "SET=N,...")] = (
        field(default_factory=dict)
    )
    processes: Annotated[int, Ge(1), Option("Processes that each hold the network.")] = 1

    def recognises(self, members: Collection[str]) -> bool:
        return any(name.endswith(ENDING) for name in members)

    def _reader(self, name: str) -> OnDisk:
        reader: OnDisk = SETS[name].reader(self.frames.get(name))
        return reader

    # ------------------------------------------------------------------------------------------ making

    def make(self, submission: Submission) -> Made:
        threshold = self.threshold if self.threshold is not None else _of_run(submission)
        parts = [
            Part(
                name=name,
                reader=self._reader(name),
                ending=".txt",
                member=partial(_member, frames),
                sink=partial(Keep, after=frames.after, threshold=threshold, least=self.min_predicted, most=self.most),
                made_with=f"{threshold!r} {self.min_predicted} {self.most} {files.digest(Path(__file__))}",
                beside=partial(_masks_of, frames.folder),
                roots=(frames.folder,),
            )
            for name, frames in SETS.items()
        ]
        about = {"board": self.name, "name": submission.title, "threshold": threshold}
        record = submission.archive(parts, about, self.processes)
        more = {"threshold": threshold, "archive": {"name": record["archive"], "sha256": record["sha256"]}}
        submission.card(submission.out, submission.claims("instances"), archive_writer.seconds(record), more)
        path = submission.out / record["archive"]
        counts = ", ".join(f"{name} {kept['frames']}" for name, kept in record["sets"].items())
        return Made(submission.out, [f"{path}: instances at scores from {threshold:.6g} on; frames of {counts}"])

    # ------------------------------------------------------------------------------------------ checking

    def check(self, archive: Archive, masks: Masks | None = None) -> Verdict:
        verdict = Verdict(self.name, str(archive.path), list(archive.failures))
        known = {name for name in archive.folders if "/" not in name}
        if known != set(FOLDERS):
            complaint = (
                f"names the folders {', '.join(sorted(known)) or 'none'}, wanted entries for {', '.join(FOLDERS)}"
            )
            verdict.failures.append(Failure("folders", str(archive.path.name), complaint))
        lists, pictures = _sorted_members(archive, verdict)
        sizes: dict[str, tuple[int, int]] = {}
        for folder in FOLDERS:
            sizes |= self._count(folder, lists[folder], verdict)
        named: set[str] = set()
        with ThreadPoolExecutor(THREADS) as pool:
            outcomes = pool.map(
                partial(_check_list, archive, sizes), [name for each in lists.values() for name in each]
            )
            for failures, masks_named in outcomes:
                verdict.failures.extend(failures)
                named |= masks_named
        for extra in sorted(pictures - named):
            verdict.failures.append(Failure("names", extra, "no text file names this mask"))
        verdict.counts.update({folder: len(lists[folder]) for folder in FOLDERS})
        for stray in archive.strays[:3]:
            verdict.warnings.append(f"{stray}: does not belong in an archive")
        return verdict

    def _count(self, folder: str, members: Collection[str], verdict: Verdict) -> Mapping[str, tuple[int, int]]:
        """Hold the lists of one folder against the frames; return (H, W) by list, empty where no frames are here."""
        sizes: dict[str, tuple[int, int]] = {}
        sources = {name: frames for name, frames in SETS.items() if frames.folder == folder}
        expected = sum(self.frames.get(name, frames.count) for name, frames in sources.items())
        try:
            for name, frames in sources.items():
                for frame in self._reader(name)._frames:
                    sizes[_member(frames, frame.id)] = size_of(frame.image)
        except MissingData as error:
            verdict.notes.append(f"{folder}: names were not compared with the images, which are not here: {error}")
            sizes = {}
        else:
            for missing in sorted(sizes.keys() - set(members)):
                verdict.failures.append(Failure("count", missing, "is absent: every frame has a list"))
            for extra in sorted(set(members) - sizes.keys()):
                verdict.failures.append(Failure("names", extra, f"is of no frame of {folder}"))
        if len(members) != expected:
            verdict.failures.append(Failure("count", f"{folder}/", f"holds {len(members)} lists, wanted {expected}"))
        return sizes

    # ------------------------------------------------------------------------------------------ dry runs

    def dry_run(self, archive: Archive, verdict: Verdict, trial: Trial) -> Rerun:
        """Average precision on the frames whose instances are public."""
        reader = Reader()
        rows: list[Row] = []
        for index, sample_id in enumerate(reader.ids()):
            member = f"fishyscapes/{sample_id}_gtCoarse{ENDING}"
            if member not in archive.members:
                raise BadScores(f"{member} is absent, and its frame has labels")
            sample = reader.load(index)
            assert sample.instances is not None  # noqa: S101 - every frame of that reader has them
            try:
                lines = listed(archive, member)
                pictures = (mask(archive, f"fishyscapes/{name}", sample.size) for name, _ in lines)
                rows.append(instances.row_of(sample.instances, pictures, np.array([score for _, score in lines])))
            except Refused as error:
                raise BadScores(f"{member}: {error.text}") from None
        figures = instances.read(rows)
        return Rerun(dry_run.compared("fishyscapes", figures, trial.claimed("instances", reader.ids()), dry_run.EXACT))


@dataclass(frozen=True)
class Keep:
    """Write the masks of one frame and, when all are there, the list of them."""

    folder: Path
    after: str
    threshold: float
    least: int
    most: int

    def __call__(self, sample: str, score: Scores | None, labels: Labels | None) -> None:
        assert score is not None  # noqa: S101 - the board takes scores
        numbers, scores = instances.predicted(score, self.threshold, self.least, self.most)
        values = scores.tolist() or [0.0]
        lines = []
        for index, value in enumerate(values):
            name = f"{sample}{self.after}_instanceIds_{index}_1.png"
            with files.writing(self.folder / name) as file:
                file.write(_png(numbers == index + 1))
            lines.append(f"{name} {CLASS} {value!r}\n")
        with files.writing(self.folder / f"{sample}.txt", "w") as file:
            file.write("".join(lines))


def _of_run(submission: Submission) -> float:
    """Return the threshold that the run found. Raise BadSuite where there is none, or more than one."""
    figures = [claim.figures["threshold"] for claim in submission.claims("instances")]
    values = {figure.value for figure in figures if isinstance(figure, Value)}
    if len(values) != 1:
        raise BadSuite(
            f"{submission.method_label} has {len(values)} thresholds under the protocol instances; say --threshold, or"
            " name a --run of the suite oodis"
        )
    return values.pop()


def _member(frames: Frames, sample: str) -> str:
    return f"{frames.folder}/{sample}{frames.after}{ENDING}"


def _masks_of(folder: str, work: Path, frame: str) -> Iterator[tuple[str, Path]]:
    """Yield the masks that the list of a frame names."""
    for line in (work / f"{frame}.txt").read_text(encoding="utf-8").splitlines():
        name = line.split(" ")[0]
        yield f"{folder}/{name}", work / name


def _png(pixels: NDArray[np.bool_]) -> bytes:
    memory = BytesIO()
    Image.fromarray(pixels.astype(np.uint8) * np.uint8(255)).save(memory, "PNG", compress_level=6)
    return memory.getvalue()


def _sorted_members(archive: Archive, verdict: Verdict) -> tuple[dict[str, list[str]], set[str]]:
    """Return the lists by folder and all masks; what is neither is a failure."""
    lists: dict[str, list[str]] = {folder: [] for folder in FOLDERS}
    pictures: set[str] = set()
    for member in archive.members:
        path = PurePosixPath(member)
        if member == "description.txt":
            continue
        if len(path.parts) != 2 or path.parts[0] not in FOLDERS:
            complaint = f"wanted a file of one of {', '.join(FOLDERS)}, or description.txt"
            verdict.failures.append(Failure("names", member, complaint))
        elif member.endswith(ENDING):
            lists[path.parts[0]].append(member)
        elif MASK.fullmatch(path.name):
            pictures.add(member)
        else:
            complaint = f"wanted <frame>{ENDING} or <frame>_instanceIds_<number>_1.png"
            verdict.failures.append(Failure("names", member, complaint))
    return lists, pictures


def listed(archive: Archive, member: str) -> Sequence[tuple[str, float]]:
    """Return the masks and the scores that a text file names. Raise Refused for what the server would not read."""
    try:
        lines = archive.read(member, LINES).decode("utf-8").strip().split("\n")
    except UnicodeDecodeError:
        raise Refused("lines", "is no text in UTF-8") from None
    entries = []
    for number, line in enumerate(lines, 1):
        words = line.split(" ")
        if not line.strip():
            raise Refused("lines", f"line {number} is empty; a frame without instances lists one empty mask")
        if len(words) < 2 or not MASK.fullmatch(words[0]):
            raise Refused(
                "lines", f"line {number} is {line[:80]!r}, wanted <frame>_instanceIds_<number>_1.png ... SCORE"
            )
        try:
            score = float(words[-1])
        except ValueError:
            score = float("nan")
        if not isfinite(score):
            raise Refused("lines", f"line {number} ends in {words[-1][:40]!r}, wanted a finite score")
        entries.append((words[0], score))
    if len({name for name, _ in entries}) < len(entries):
        raise Refused("lines", "names a mask twice")
    return entries


def mask(archive: Archive, member: str, size: tuple[int, int] | None) -> NDArray[np.bool_]:
    """Return bool [H, W]: what is not 0 in a mask. Raise Refused for what is none of that size."""
    if member not in archive.members:
        raise Refused("masks", f"names {PurePosixPath(member).name}, which is absent")
    pixels = LARGEST if size is None else size[0] * size[1]

    def fits(shape: tuple[int, int]) -> None:
        if size is not None and shape != size:
            raise Refused("map size", f"{member} is {shape[0]}x{shape[1]}, its image is {size[0]}x{size[1]}")
        if shape[0] * shape[1] > pixels:
            raise Refused("map size", f"{member} has {shape[0] * shape[1]} pixels, wanted at most {pixels}")

    try:
        return np.asarray(images.numbers(BytesIO(archive.read(member, pixels + SLACK)), fits) != 0)
    except images.Undecodable as error:
        raise Refused("png", f"{member} is no mask: it {error}") from None


def _check_list(archive: Archive, sizes: Mapping[str, tuple[int, int]], member: str) -> tuple[list[Failure], set[str]]:
    """Return what a list and its masks break, and the masks that it names."""
    folder = PurePosixPath(member).parts[0]
    start = PurePosixPath(member).name.removesuffix(ENDING)
    named: set[str] = set()
    shapes: set[tuple[int, ...]] = set()
    try:
        for name, _ in listed(archive, member):
            named.add(f"{folder}/{name}")
            match = MASK.fullmatch(name)
            if match is None or match["start"] != start:
                raise Refused("lines", f"names {name}, a mask of another frame")
            shapes.add(mask(archive, f"{folder}/{name}", sizes.get(member)).shape)
    except Refused as error:
        return [Failure(error.rule, member, error.text)], named
    if len(shapes) > 1:
        return [Failure("map size", member, f"names masks of {len(shapes)} sizes, wanted that of its image")], named
    return [], named
