"""ISSU: one .npz for each frame with its anomaly scores and its class map, evaluated offline: there is no server.

Names, arrays and tracks: vojirt/benchmark_issu@a7d8a65, benchmark/predictions/PREDICTIONS.md and
benchmark/example_inference_with_metrics.py. That program rounds scores to float16 before it reads anything off them and
finds its thresholds on a sketched curve; here every figure is that of the scores as they are stored, as in a run.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, cast, get_args

import numpy as np
from annotated_types import Ge
from numpy.typing import NDArray

from bench.api import (
    CITYSCAPES,
    Archive,
    Board,
    Compared,
    Failure,
    Labels,
    Made,
    Masks,
    Option,
    Part,
    Protocol,
    Refused,
    Rerun,
    Scores,
    Submission,
    Trial,
    Verdict,
)
from bench.core import files, npz, untrusted_arrays
from bench.core.errors import BadPlugin, BadScores, BadSuite, MissingData, UnknownName
from bench.core.untrusted_arrays import Unreadable
from bench.datasets import archives
from bench.datasets.frames import size as size_of
from bench.datasets.issu import Issu as Reader
from bench.evaluate.evaluation import Evaluation
from bench.evaluate.metric import Metric
from bench.submit import archive_writer, dry_run
from bench.submit.submission import check_classes
from bench.suite import registry

ENDING = ".npz"
SCORES, CLASSES = "anomaly_scores", "pred_id_labels"
Split = Literal["static", "temporal"]
SPLITS: tuple[Split, ...] = get_args(Split)
FRAME = re.compile(rf"({'|'.join(SPLITS)})_.+{re.escape(ENDING)}")
Track = Literal["anomaly", "obstacle"]
LEAST = 49  # pixels of a component and of an object that count, as in the suite issu
THREADS = 2
SLACK = 2**16  # bytes of a file beyond its pixels
LARGEST = 2**24  # pixels of a frame whose image is not here
HALF = 65504.0  # the largest float16


@dataclass(frozen=True)
class Issu(Board):
    """ISSU: a zip of scores and class maps, evaluated here. Kill it at any time: the same command goes on."""

    name = "issu"
    source = "Laskar et al., arXiv:2503.22309; vojirt/benchmark_issu@a7d8a65, benchmark/predictions/PREDICTIONS.md"
    title = "ISSU"
    status = "offline: there is no server, its truth is public, and bench submit dry-run evaluates an archive"
    checked = "2026-11"
    page = archives.of("issu").page
    takes = "a folder of .npz files with anomaly scores and class maps of the 2118 test frames"
    steps = (
        "evaluate it: bench submit dry-run ARCHIVE --run RUN",
        "for the figures of the authors' own program, unpack it below benchmark/predictions/ of"
        f" {archives.of('issu').page} and run example_inference_with_metrics.py there",
    )

    sets: Annotated[tuple[str, ...], Option("Which parts.", "static,temporal")] = SPLITS
    frames: Annotated[
        Mapping[str, int], Option("How many frames a part has, where not as published.", "PART=N,...")
    ] = field(default_factory=dict)
    processes: Annotated[int, Ge(1), Option("Processes that each hold the network.")] = 1

    def __post_init__(self) -> None:
        if not self.sets:
            raise ValueError(f"--sets names none; the parts are {', '.join(SPLITS)}")
        for name in (*self.sets, *self.frames):
            if name not in SPLITS:
                raise UnknownName("part", name, SPLITS, "bench submit")

    def recognises(self, members: Collection[str]) -> bool:
        return any(FRAME.fullmatch(PurePosixPath(name).name) for name in members)

    def _reader(self, split: str, track: Track = "anomaly") -> Reader:
        if split == "all":
            return Reader("all", track, frames=sum(self._reader(part).count for part in SPLITS))
        return Reader(cast(Split, split), track, frames=self.frames.get(split))

    # ------------------------------------------------------------------------------------------ making

    def make(self, submission: Submission) -> Made:
        check_classes(submission)
        parts = [
            Part(
                name=split,
                reader=self._reader(split),
                ending=ENDING,
                member=partial(_member, submission.title),
                sink=partial(Keep, who=f"method {submission.method_label}"),
                made_with=files.digest(Path(__file__)),
            )
            for split in self.sets
        ]
        record = submission.archive(parts, {"board": self.name, "name": submission.title}, self.processes)
        more = {"archive": {"name": record["archive"], "sha256": record["sha256"]}, "sets": record["sets"]}
        claims = submission.claims("anomaly", "components", "open_iou")
        submission.card(submission.out, claims, archive_writer.seconds(record), more)
        counts = ", ".join(f"{split} {kept['frames']}" for split, kept in record["sets"].items())
        return Made(submission.out, [f"{submission.out / record['archive']}: scores and class maps of {counts}"])

    # ------------------------------------------------------------------------------------------ checking

    def check(self, archive: Archive, masks: Masks | None = None) -> Verdict:
        verdict = Verdict(self.name, str(archive.path), list(archive.failures))
        members = _by_frame(archive, verdict)
        known: set[str] = set()
        for split in self.sets:
            reader = self._reader(split)
            sizes: dict[str, tuple[int, int] | None]
            try:
                sizes = {frame.id: size_of(frame.image) for frame in reader._frames}
            except MissingData as error:
                verdict.notes.append(f"{split}: names and sizes were not compared with its images: {error}")
                sizes = dict.fromkeys(frame for frame in members if frame.startswith(f"{split}_"))
                if len(sizes) != reader.count:
                    complaint = f"the archive holds {len(sizes)} frames, wanted {reader.count}"
                    verdict.failures.append(Failure("count", f"{split}_*{ENDING}", complaint))
            known.update(sizes)
            for frame in sorted(sizes.keys() - members.keys()):
                verdict.failures.append(Failure("count", frame + ENDING, "is absent: every frame has a file"))
            held = {frame: members[frame] for frame in sorted(sizes.keys() & members.keys())}
            with ThreadPoolExecutor(THREADS) as pool:
                judged = pool.map(partial(_judged, archive), held.values(), map(sizes.__getitem__, held))
                for name, (complained, doubts) in zip(held.values(), judged, strict=True):
                    verdict.warnings += [f"{name}: {doubt}" for doubt in doubts]
                    if complained:
                        verdict.failures.append(Failure(complained.rule, name, complained.text))
            verdict.counts[split] = len(held)
        for frame in sorted(members.keys() - known)[:3]:
            verdict.warnings.append(f"{members[frame]}: is no frame of {', '.join(self.sets)}, and is passed over")
        return verdict

    # ------------------------------------------------------------------------------------------ dry runs

    def dry_run(self, archive: Archive, verdict: Verdict, trial: Trial) -> Rerun:
        """Evaluate both tracks of each part, and of both parts together where a run claims figures of these."""
        members = _by_frame(archive, verdict)
        compared: list[Compared] = []
        for track in get_args(Track):
            components = _built("components", {"min_predicted": LEAST, "min_truth": LEAST})
            protocols = [_built("anomaly"), components] + [_built("open_iou")] * (track == "anomaly")
            for split in (*self.sets, *(["all"] if len(self.sets) == len(SPLITS) else [])):
                try:
                    reader = self._reader(split, track)
                    ids = reader.ids()
                except MissingData:
                    continue
                # Only components has parameters that change its figures; the sizes of anomaly are slices of them.
                asked = [each if each is components else each.name for each in protocols]
                if split == "all" and not any(trial.claimed(each, ids) for each in asked):
                    continue
                for each, evaluation in zip(asked, _evaluated(archive, members, reader, protocols), strict=True):
                    claims = trial.claimed(each, ids, sum(evaluation.pixels.values()))
                    where = f"{split} {track}, {evaluation.protocol.name}"
                    compared += dry_run.compared(where, evaluation.figures, claims, dry_run.EXACT)
        return Rerun(compared)


def _built(name: str, params: Mapping[str, Any] | None = None) -> Protocol:
    protocol: Protocol = registry.build("protocol", name, params or {}, where="dry-run")
    return protocol


def _evaluated(
    archive: Archive, members: Mapping[str, str], reader: Reader, protocols: Sequence[Protocol]
) -> Sequence[Evaluation]:
    """Return the evaluation under each protocol; one frame is in memory at a time."""
    metric = Metric(*protocols, resamples=0)

    def count() -> None:
        for index, frame in enumerate(reader.ids()):
            sample = reader.load(index)
            assert sample.anomaly is not None  # noqa: S101 - the reader has anomalies
            try:
                scores, classes = _read(archive, members[frame], sample.size)
            except Refused as error:
                raise BadScores(f"{members[frame]}: {error.text}") from None
            if sample.labels is None:
                metric.update(scores, sample.anomaly, id=frame)
            else:
                metric.update(scores, sample.labels, classes, anomaly=sample.anomaly, id=frame)

    count()
    while metric.again():
        count()
    return metric.compute().report.evaluations


def _member(title: str, frame: str) -> str:
    return f"{title}/{frame}{ENDING}"


@dataclass(frozen=True)
class Keep:
    """Write scores and classes of one frame."""

    folder: Path
    who: str

    def __call__(self, sample: str, score: Scores | None, labels: Labels | None) -> None:
        if score is None or labels is None:
            raise BadSuite(f"{sample}: ISSU takes scores and a class map, and the network gives no class map")
        if not np.isfinite(score).all():
            raise BadPlugin(f"{self.who} on {sample}: its scores are not finite")
        if labels.max() >= len(CITYSCAPES):
            raise BadSuite(f"{sample}: the class map holds {int(labels.max())}, wanted train ids from 0 to 18")
        with files.writing(self.folder / f"{sample}{ENDING}") as file:
            npz.write(file, {SCORES: score.astype(np.float32), CLASSES: labels}, plain="-")


def _by_frame(archive: Archive, verdict: Verdict) -> dict[str, str]:
    """Return the members by frame; what is none, or of a second method, is a failure or a warning."""
    members: dict[str, str] = {}
    folders: dict[str, str] = {}
    for name in archive.members:
        path = PurePosixPath(name)
        if path.suffix != ENDING:
            verdict.warnings.append(f"{name}: is no {ENDING}, and is passed over")
            continue
        folders.setdefault(path.parent.as_posix(), name)
        members.setdefault(path.stem, name)
    if len(folders) > 1:
        first, second = list(folders.values())[:2]
        verdict.failures.append(Failure("one method", second, f"and {first} lie in two folders; pack one method"))
    return members


def _read(archive: Archive, name: str, size: tuple[int, int] | None) -> tuple[NDArray[np.floating[Any]], Labels]:
    """Return scores [H, W] and classes, uint8 [H, W], of one file. Raise Refused for what cannot be evaluated.

    ``size`` is that of the image, None where that is not here.
    """
    pixels = math.prod(size) if size else LARGEST
    content = archive.read(name, 16 * pixels + SLACK)
    scores = _array(content, SCORES, "f", "floating point", size)
    classes = _array(content, CLASSES, "iu", "whole numbers", (scores.shape[0], scores.shape[1]))
    if not np.isfinite(scores).all():
        raise Refused("finite", f"{SCORES} holds NaN or infinities")
    low, high = int(classes.min()), int(classes.max())
    if low < 0 or high >= len(CITYSCAPES):
        raise Refused("values", f"{CLASSES} holds {low if low < 0 else high}, wanted train ids from 0 to 18")
    return scores, classes.astype(np.uint8)


def _array(content: bytes, name: str, kinds: str, words: str, size: tuple[int, int] | None) -> NDArray[Any]:
    def fits(shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        if dtype.kind not in kinds:
            raise Refused("dtype", f"{name} holds {dtype}, wanted {words}")
        if size is None:
            if len(shape) != 2 or not 0 < math.prod(shape) <= LARGEST:
                raise Refused("map size", f"{name} is {list(shape)}, which no frame is")
        elif shape != size:
            turned = "; is it transposed?" if shape == size[::-1] else ""
            raise Refused("map size", f"{name} is {list(shape)}, its image is {list(size)}{turned}")

    try:
        return untrusted_arrays.read(BytesIO(content), ENDING, fits, name=name)
    except Unreadable as error:
        held = f"; it holds {', '.join(error.names)}" if error.names else ""
        raise Refused("npz", f"{name}: {error}{held}") from None


def _judged(archive: Archive, name: str, size: tuple[int, int] | None) -> tuple[Refused | None, list[str]]:
    """Return the rule that one file breaks, and what is doubtful about it."""
    try:
        scores, _ = _read(archive, name, size)
    except Refused as error:
        return error, []
    return None, list(_doubts(scores))


def _doubts(scores: NDArray[np.floating[Any]]) -> Iterator[str]:
    if scores.min() == scores.max():
        yield f"holds {scores.flat[0]} everywhere and ranks nothing [constant]"
    if np.abs(scores).max() > HALF:
        yield f"holds scores beyond {HALF:g}, which the authors' program makes infinite [float16]"
