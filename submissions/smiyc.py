"""SegmentMeIfYouCan: one zip of float16 maps in HDF5.

Layout and rules: SegmentMeIfYouCan/road-anomaly-benchmark@1c7804e and the page of the board. The storage name of a set
is not a split: every split, hidden or public, is read back from ``AnomalyTrack-all``, ``ObstacleTrack-all`` and the two
of LostAndFound.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge
from numpy.typing import NDArray

from bench.api import (
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
from bench.core import files
from bench.core.errors import BadScores, MissingData, UnknownName
from bench.datasets.frames import OnDisk
from bench.datasets.frames import size as size_of
from bench.datasets.lost_and_found import LostAndFound
from bench.datasets.smiyc import SegmentMeIfYouCan
from bench.evaluate import evaluation
from bench.evaluate.frames import Folder, Frames, Published
from bench.evaluate.lint import Look
from bench.submit import archive_writer, direction, dry_run, entries, float16_maps
from bench.suite import registry

TREE = "anomaly_p"
ENDING = ".hdf5"
THREADS = 2
SLACK = 2**21  # bytes of a file beyond four for each pixel
LARGEST = 2**24  # pixels of a map whose image is not here
CAST = 0.005  # where a transform before the cast moves single values by a step of float16


@dataclass(frozen=True)
class Stored:
    """One folder of maps, as the board names it."""

    count: int  # of frames
    protocol: str  # that gives the board's figures on the labelled ones
    sizes: tuple[tuple[int, int], ...]  # (H, W) of the published frames
    reader: Callable[[int | None], OnDisk]  # of every frame; the number is how many there must be, if not as published
    labelled: Callable[[int | None], OnDisk]  # of those whose truth is public


def _track(track: Any, split: Any) -> Callable[[int | None], OnDisk]:
    return lambda frames: SegmentMeIfYouCan(track, split, frames=frames)


def _lost_and_found(split: Any) -> Callable[[int | None], OnDisk]:
    return lambda frames: LostAndFound(split, frames=frames)


SETS: Mapping[str, Stored] = {
    "AnomalyTrack-all": Stored(
        110,
        "smiyc_anomaly",
        ((1024, 2048), (720, 1280)),
        _track("RoadAnomaly21", "all"),
        _track("RoadAnomaly21", "validation"),
    ),
    "ObstacleTrack-all": Stored(
        442,
        "smiyc_obstacle",
        ((1080, 1920),),
        _track("RoadObstacle21", "all"),
        _track("RoadObstacle21", "validation"),
    ),
    "LostAndFound-test": Stored(
        1203, "smiyc_obstacle", ((1024, 2048),), _lost_and_found("test"), _lost_and_found("no_known")
    ),
    "LostAndFound-train": Stored(
        1036, "smiyc_obstacle", ((1024, 2048),), _lost_and_found("train"), _lost_and_found("train_valid")
    ),
}


@dataclass(frozen=True)
class Smiyc(Board):
    """SegmentMeIfYouCan: a zip of float16 maps. Kill it at any time: the same command goes on."""

    name = "smiyc"
    source = "SegmentMeIfYouCan/road-anomaly-benchmark@1c7804e; arXiv:2104.14812"
    title = "SegmentMeIfYouCan"
    status = "open: an automated competition on Codabench (number 5402)"
    checked = "2026-04-08"
    page = "https://segmentmeifyoucan.com/submit"
    takes = "one zip of float16 maps in HDF5, AnomalyTrack-all (110) and ObstacleTrack-all (442)"
    steps = (
        "read https://segmentmeifyoucan.com/submit: which folder stands at the root of the zip is said nowhere in"
        " words; --root tree (default) or --root sets chooses it",
        "create an account on https://www.codabench.org and join competition 5402",
        "upload the zip; keep what the server returns, and make leaderboard_entry.json of it:"
        " bench submit entry OUT --returned FILE",
        "questions go to submission at segmentmeifyoucan.com",
    )

    sets: Annotated[tuple[str, ...], Option("Which sets; LostAndFound-test is a third.", "SET,...")] = (
        "AnomalyTrack-all",
        "ObstacleTrack-all",
    )  # the page asks for both tracks, although methods of one alone stand on the board
    frames: Annotated[Mapping[str, int], Option("How many frames a set has, where not as published.", "SET=N,...")] = (
        field(default_factory=dict)
    )
    root: Annotated[Literal["tree", "sets"], Option("Root of the zip: anomaly_p/<Method>/..., or the set folders.")] = (
        "tree"
    )
    transform: Annotated[
        str | None, Option("identity, logit, -log(1-x) or asinh before float16. Default: the method's own.")
    ] = None
    processes: Annotated[int, Ge(1), Option("Processes that each hold the network.")] = 1

    def __post_init__(self) -> None:
        if not self.sets:
            raise ValueError(f"--sets names none; the sets are {', '.join(SETS)}")
        for name in self.sets:
            if name not in SETS:
                raise UnknownName("set", name, SETS, "bench submit")

    def recognises(self, members: Collection[str]) -> bool:
        return any(name.endswith(ENDING) or f"{folder}/" in name for folder in SETS for name in members)

    def wanted(self, name: str) -> int:
        """How many maps a set must have."""
        return self.frames.get(name, SETS[name].count)

    def labelled(self, name: str) -> OnDisk:
        """The frames of a set whose truth is public."""
        public, frames = SETS[name].labelled(None), self.frames.get(name)
        if frames is None:
            return public
        if isinstance(public, SegmentMeIfYouCan):
            return replace(public, frames=sum(public._wants(sample) for sample in SETS[name].reader(frames).ids()))
        return SETS[name].reader(frames)  # its truth is all public; a copy of another size has no official split

    # ------------------------------------------------------------------------------------------ making

    def make(self, submission: Submission) -> Made:
        transform = float16_maps.transform_of(type(submission.method), self.transform)
        parts = [
            Part(
                name=name,
                reader=SETS[name].reader(self.frames.get(name)),
                ending=ENDING,
                member=partial(self._member, submission.title, name),
                sink=partial(Keep, transform=transform, who=f"method {submission.method_label}"),
                made_with=f"{transform} {files.digest(Path(float16_maps.__file__))}",
                summary=_kept,
            )
            for name in self.sets
        ]
        about = {"board": self.name, "name": submission.title, "root": self.root, "transform": transform}
        record = submission.archive(parts, about, self.processes)
        more = {"transform": transform, "archive": {"name": record["archive"], "sha256": record["sha256"]}}
        claims = submission.claims(*sorted({SETS[name].protocol for name in self.sets}))
        submission.card(submission.out, claims, archive_writer.seconds(record), more | {"sets": record["sets"]})
        lines = [
            f"{name}: {kept['frames']} maps; float16 ({transform}) lost {_lost(kept):.1f} % of the distinct values,"
            f" most in {kept['least_kept']['frame']}, which kept {100 * kept['least_kept']['share']:.1f} %"
            for name, kept in record["sets"].items()
        ]
        root = f"{TREE}/{submission.title}/" if self.root == "tree" else "the folders of the sets"
        return Made(submission.out, [*lines, f"{submission.out / record['archive']}: its root is {root}"])

    def _member(self, title: str, name: str, sample: str) -> str:
        inner = f"{name}/{sample}{ENDING}"
        return f"{TREE}/{title}/{inner}" if self.root == "tree" else inner

    # ------------------------------------------------------------------------------------------ checking

    def check(self, archive: Archive, masks: Masks | None = None) -> Verdict:
        labels: Frames | None = None
        if masks is not None:
            labels = Folder(masks.folder, masks.pattern)
            labels.check([registry.build("protocol", "anomaly", {}, where="labels")])
        verdict = Verdict(self.name, str(archive.path), list(archive.failures))
        folders = _folders(archive, verdict)
        for name in self.sets:
            if name not in folders:
                complaint = f"is absent; wanted {self.wanted(name)} maps in it, or say --sets with those that are meant"
                verdict.failures.append(Failure("count", f"{name}/", complaint))
        for folder in folders.values():
            self._know(folder, labels)
            _check_count(folder, self.wanted(folder.name), verdict)
            with ThreadPoolExecutor(THREADS) as pool:
                for failures in pool.map(partial(_check_map, archive, folder), *zip(*folder.maps.items(), strict=True)):
                    verdict.failures.extend(failures)
            direction.judge(folder.name, folder.counts, folder.judged, folder.why, verdict)
            for finding in folder.look.findings():
                if finding.code != "constant":
                    verdict.warnings.append(f"{folder.name}/: {finding.text} [{finding.code}]")
            verdict.counts[folder.name] = len(folder.maps)
        for stray in archive.strays[:3]:
            verdict.warnings.append(f"{stray}: does not belong in an archive; the server may count it")
        verdict.notes += _losses(archive_writer.record_of(archive.path) or {})
        return verdict

    def _know(self, folder: _Folder, labels: Frames | None) -> None:
        """Sizes from the headers of the images, and the public truth, as far as they are on this machine."""
        try:
            reader = SETS[folder.name].reader(self.frames.get(folder.name))
            folder.sizes = {frame.id: size_of(frame.image) for frame in reader._frames}
        except MissingData as error:
            folder.why = str(error)
        try:
            truth = labels or Published(self.labelled(folder.name))
            folder.truth = truth if truth.ids else None
        except MissingData as error:
            folder.why = folder.why or str(error)

    # ------------------------------------------------------------------------------------------ dry runs

    def dry_run(self, archive: Archive, verdict: Verdict, trial: Trial) -> Rerun:
        made_from = trial.record.get("made_from", {})
        transform = made_from.get("transform", "identity") if isinstance(made_from, dict) else "identity"
        tolerance = dry_run.EXACT if transform == "identity" else CAST
        compared: list[Compared] = []
        for name in sorted({Path(member).parts[-2] for member in archive.members}):
            members = [Path(member) for member in archive.members if Path(member).parts[-2] == name]
            truth = self._truth(name, {member.stem for member in members}, trial.masks)
            if truth is None:
                continue
            protocol: Protocol = registry.build("protocol", SETS[name].protocol, {}, where=name)
            maps = archive.path / members[0].parent
            report = evaluation.score([protocol], [truth], maps, None, evaluation.Options(resamples=0))
            claimed = trial.claimed(protocol.name, truth.ids) if trial.masks is None else {}
            compared += dry_run.compared(name, report.evaluations[0].figures, claimed, tolerance)
        return Rerun(compared)

    def _truth(self, name: str, maps: Collection[str], masks: Masks | None) -> Frames | None:
        """The labelled frames of a set; of masks kept elsewhere None if they are of other frames than ``maps``."""
        if masks is None:
            return Published(self.labelled(name))
        truth = Folder(masks.folder, masks.pattern)
        truth.exact = False  # maps of frames without labels there are let be
        lacking = set(truth.ids).difference(maps)
        if len(lacking) == len(truth.ids):
            return None
        if lacking:
            raise BadScores(
                f"{masks.folder} holds masks of {len(lacking)} frames that are not in {name}; name one set's masks"
            )
        return truth

    def entry(self, returned: Any, about: Mapping[str, Any], where: str) -> Mapping[str, Any]:
        return entries.grouped(GROUPS, COUNTS, returned, about, where)


@dataclass(frozen=True)
class Keep:
    """Write one map, and beside it how many distinct values it had before and after the cast."""

    folder: Path
    transform: str
    who: str

    def __call__(self, sample: str, score: Scores | None, labels: Labels | None) -> None:
        assert score is not None  # noqa: S101 - the board takes scores
        half = float16_maps.halved(score, self.transform, f"{self.who} on {sample}")
        with files.writing(self.folder / f"{sample}.levels", "w") as file:
            file.write(f"{float16_maps.levels(score)} {float16_maps.levels(half)}\n")
        with files.writing(self.folder / f"{sample}{ENDING}") as file:
            file.write(float16_maps.packed(half))


def _kept(folder: Path, ids: Sequence[str]) -> dict[str, Any]:
    """How many distinct values the maps had, and how many float16 left of them."""
    texts = [(folder / f"{sample}.levels").read_text(encoding="utf-8").split() for sample in ids]
    pairs = [(int(before), int(after)) for before, after in texts]
    shares = [after / before for before, after in pairs]
    least = shares.index(min(shares))
    return {
        "distinct_before": sum(before for before, _ in pairs),
        "distinct_after": sum(after for _, after in pairs),
        "least_kept": {"frame": ids[least], "share": round(shares[least], 6)},
    }


def _lost(kept: Mapping[str, Any]) -> float:
    """Percent of the distinct values that the cast to float16 took."""
    return 100 * (1 - float(kept["distinct_after"]) / float(kept["distinct_before"]))


def _losses(record: Mapping[str, Any]) -> Iterator[str]:
    """What the record beside an archive says of the cast, if it is about these bytes; a strange one says nothing."""
    sets = record.get("sets")
    for name, kept in sets.items() if isinstance(sets, dict) else ():
        before, after = (
            kept.get(key) if isinstance(kept, dict) else None for key in ("distinct_before", "distinct_after")
        )
        if isinstance(before, int) and isinstance(after, int) and before > 0:
            yield f"{name}: {_lost(kept):.1f} % of the distinct values were lost in the cast to float16"


@dataclass
class _Folder:
    """One set of an archive."""

    name: str
    maps: Mapping[str, str]  # frame to member
    sizes: Mapping[str, tuple[int, int]] | None = None  # of every frame, where the images are here
    truth: Frames | None = None  # of the labelled ones
    why: str = ""  # the sizes are not known
    counts: NDArray[np.int64] = field(default_factory=direction.empty)
    look: Look = field(default_factory=Look)
    judged: int = 0  # labelled frames that were counted
    lock: threading.Lock = field(default_factory=threading.Lock)


def _folders(archive: Archive, verdict: Verdict) -> dict[str, _Folder]:
    """Sort the members into sets; what has no place in the tree is a failure."""
    maps: dict[str, dict[str, str]] = {}
    roots: dict[tuple[str, ...], str] = {}
    for member in archive.members:
        path = PurePosixPath(member)
        parents, name = path.parts[:-2], path.parts[-2] if len(path.parts) > 1 else ""
        if path.suffix != ENDING:
            verdict.failures.append(Failure("names", member, "is no .hdf5; the archive holds maps alone"))
        elif name not in SETS:
            complaint = f"lies in {name or 'no folder'!r}, wanted one of {', '.join(SETS)}"
            verdict.failures.append(Failure("names", member, complaint))
        elif len(parents) not in (0, 2) or (parents and parents[0] != TREE):
            complaint = f"wanted {TREE}/<Method>/{name}/{path.name} or {name}/{path.name}"
            verdict.failures.append(Failure("names", member, complaint))
        else:
            roots.setdefault(parents, member)
            maps.setdefault(name, {})[path.stem] = member
    if len(roots) > 1:
        first, second = list(roots.values())[:2]
        verdict.failures.append(Failure("one method", second, f"and {first} are of two methods; pack one"))
    return {name: _Folder(name, members) for name, members in maps.items()}


def _check_count(folder: _Folder, wanted: int, verdict: Verdict) -> None:
    if folder.sizes is not None:
        for missing in sorted(folder.sizes.keys() - folder.maps.keys()):
            verdict.failures.append(
                Failure("count", f"{folder.name}/{missing}.hdf5", "is absent: every frame has a map")
            )
        for extra in sorted(folder.maps.keys() - folder.sizes.keys()):
            verdict.failures.append(Failure("names", folder.maps[extra], f"{extra!r} is no frame of {folder.name}"))
    else:
        verdict.notes.append(
            f"{folder.name}: names and sizes were not compared with the images, which are not here: {folder.why}"
        )
    if len(folder.maps) != wanted:
        complaint = f"holds {len(folder.maps)} maps, wanted {wanted}"
        verdict.failures.append(Failure("count", f"{folder.name}/", complaint))


def _check_map(archive: Archive, folder: _Folder, frame: str, member: str) -> list[Failure]:
    size = folder.sizes.get(frame) if folder.sizes is not None else None
    if folder.sizes is not None and size is None:
        return []  # no frame of the set: said already
    try:
        limit = 4 * (math.prod(size) if size else LARGEST) + SLACK
        half = float16_maps.unpacked(archive.read(member, limit), size, LARGEST)
        if size is None and half.shape not in SETS[folder.name].sizes:
            shapes = " or ".join(f"{height}x{width}" for height, width in SETS[folder.name].sizes)
            raise Refused("map size", f"is {half.shape[0]}x{half.shape[1]}, the frames are {shapes}")
        _check_values(half)
        truth = _labels(folder, frame, half.shape)
    except Refused as error:
        return [Failure(error.rule, member, error.text)]
    with folder.lock:
        folder.look.add(member, half.astype(np.float32), half.dtype)
        if truth is not None:
            folder.counts += direction.counted(half, truth)
            folder.judged += 1
    return []


def _check_values(half: float16_maps.Halves) -> None:
    finite = np.isfinite(half)
    if not finite.all():
        row, column = divmod(int(np.argmin(finite)), half.shape[1])
        kind = "NaN" if np.isnan(half[row, column]) else "infinite"
        count = int(half.size - np.count_nonzero(finite))
        raise Refused("finite", f"is {kind} at row {row}, column {column} ({count} pixels are not finite)")
    distinct = float16_maps.levels(half)
    if distinct == 1:
        raise Refused("constant", f"holds {half[0, 0]} everywhere and ranks nothing")
    if distinct == 2:
        raise Refused(
            "distinct values", "holds 2 values; pixels at the threshold are lost to the component metric: write scores"
        )


def _labels(folder: _Folder, frame: str, size: tuple[int, ...]) -> Labels | None:
    """uint8 [H, W] of a labelled frame; None where its truth is not here."""
    if folder.truth is None or frame not in folder.truth.ids:
        return None
    with folder.lock:
        truth = folder.truth.load(frame).anomaly
    if truth is None:
        return None
    if truth.shape != size:
        raise Refused("map size", f"is {size[0]}x{size[1]}, its labels are {truth.shape[0]}x{truth.shape[1]}")
    return truth


_PIXELS = ("area_PRC", "tpr95_fpr", "best_f1")
_COMPONENTS = (
    "sIoU_gt", "prec_pred", "fn_25", "fp_25", "f1_25", "fn_50", "fp_50", "f1_50", "fn_75", "fp_75", "f1_75", "f1_mean",
)  # fmt: skip
COUNTS = frozenset({"fn_25", "fp_25", "fn_50", "fp_50", "fn_75", "fp_75"})


def _keys(split: str, components: str) -> tuple[str, ...]:
    """``<split>-<metric>-<field>`` each."""
    fields = [f"PixBinaryClass-{name}" for name in _PIXELS] + [f"{components}-{name}" for name in _COMPONENTS]
    return tuple(f"{split}-{name}" for name in fields)


GROUPS: Mapping[str, Sequence[str]] = {  # of the board's JSON: its keys
    "anomaly_track": _keys("AnomalyTrack-test", "SegEval-AnomalyTrack"),
    "obstacle_track": _keys("ObstacleTrack-test", "SegEval-ObstacleTrack"),
    "laf_no_known": _keys("LostAndFound-testNoKnown", "SegEval-ObstacleTrack"),
}
