"""SegmentMeIfYouCan: one zip of float16 maps in HDF5, streamed image by image.

Layout: SegmentMeIfYouCan/road-anomaly-benchmark@1c7804e. The storage name of a set is not a split: every split, hidden
or public, is read back from ``AnomalyTrack-all``, ``ObstacleTrack-all`` and the two of LostAndFound.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from bench.api import Labels, Scores
from bench.core import files
from bench.core.errors import BadScores, UnknownName, UsageError
from bench.datasets.frames import OnDisk
from bench.datasets.lost_and_found import LostAndFound
from bench.datasets.smiyc import SegmentMeIfYouCan
from bench.run import score_maps
from bench.submit import archive_writer, float16_maps
from bench.submit.archive_writer import Part, Progress

Root = Literal["tree", "sets"]
TREE = "anomaly_p"
ENDING = ".hdf5"


@dataclass(frozen=True)
class Stored:
    """One folder of maps, as the board names it."""

    count: int  # of frames
    protocol: str  # that gives the board's figures on the labelled ones
    sizes: tuple[tuple[int, int], ...]  # (H, W) of the published frames
    reader: Callable[[int | None], OnDisk]  # of every frame; the number is how many there must be, if not as published
    labelled: Callable[[int | None], OnDisk]  # of those whose truth is public
    required: bool = True


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
        1203, "smiyc_obstacle", ((1024, 2048),), _lost_and_found("test"), _lost_and_found("no_known"), required=False
    ),
    "LostAndFound-train": Stored(
        1036,
        "smiyc_obstacle",
        ((1024, 2048),),
        _lost_and_found("train"),
        _lost_and_found("train_valid"),
        required=False,
    ),
}


def stored(name: str) -> Stored:
    """The set of that name."""
    if name not in SETS:
        raise UnknownName("set", name, SETS, "bench submit")
    return SETS[name]


def labelled(name: str, frames: int | None) -> OnDisk:
    """The frames of a set whose truth is public; ``frames`` is how many the whole set has, if not as published."""
    one = stored(name)
    public = one.labelled(None)
    if frames is None:
        return public
    if isinstance(public, SegmentMeIfYouCan):
        return replace(public, frames=sum(public._wants(sample) for sample in one.reader(frames).ids()))
    return one.reader(frames)  # LostAndFound's truth is all public; a copy of another size has no official split


@dataclass(frozen=True)
class Request:
    """What the archive is to be."""

    out: Path
    name: str  # of the method on the board, and of its folder
    transform: str = "identity"
    sets: tuple[str, ...] = ("AnomalyTrack-all", "ObstacleTrack-all")
    frames: Mapping[str, int] = field(default_factory=dict)  # how many a set has, where not as published
    root: Root = "tree"
    processes: int = 1

    @property
    def archive(self) -> Path:
        return self.out / f"{self.name}.zip"

    def member(self, name: str, sample: str) -> str:
        """What a map is called in the archive."""
        inner = f"{name}/{sample}.hdf5"
        return f"{TREE}/{self.name}/{inner}" if self.root == "tree" else inner


@dataclass(frozen=True)
class Keep:
    """Write one map, and beside it how many distinct values it had before and after the cast."""

    folder: Path
    transform: str
    who: str

    def __call__(self, sample: str, score: Scores | None, labels: Labels | None) -> None:
        assert score is not None  # noqa: S101 - the caller chose a method
        half = float16_maps.halved(score, self.transform, f"{self.who} on {sample}")
        with files.writing(self.folder / f"{sample}.levels", "w") as file:
            file.write(f"{float16_maps.levels(score)} {float16_maps.levels(half)}\n")
        with files.writing(self.folder / f"{sample}{ENDING}") as file:
            file.write(float16_maps.packed(half))


def plain_name(name: str) -> str:
    """The name of a method as a folder. Raise UsageError if it is none."""
    if not name or not all(letter.isascii() and (letter.isalnum() or letter in "-_.+") for letter in name):
        raise UsageError(f"--name is {name!r}, wanted letters, digits, '-', '_', '+' and '.': it names a folder")
    if name.startswith("."):
        raise UsageError(f"--name is {name!r}, which would be hidden; start it with a letter")
    return name


def write(choice: score_maps.Choice, request: Request, progress: Progress) -> dict[str, Any]:
    """Make the archive, or go on where a killed call stopped; returns the record that stands beside it."""
    assert choice.method is not None  # noqa: S101 - the command line asks for one
    parts = [
        Part(
            name=name,
            reader=stored(name).reader(request.frames.get(name)),
            ending=ENDING,
            member=partial(request.member, name),
            sink=partial(Keep, transform=request.transform, who=f"method {choice.method.label}"),
            made_with=f"{request.transform} {files.digest(Path(float16_maps.__file__))}",
            summary=_kept,
        )
        for name in request.sets
    ]
    about = {"board": "smiyc", "name": request.name, "root": request.root, "transform": request.transform}
    return archive_writer.write(choice, request.archive, parts, about, request.processes, progress)


def _kept(folder: Path, ids: Sequence[str]) -> dict[str, Any]:
    """How many distinct values the maps had, and how many float16 left of them."""
    pairs = [_levels(folder, sample) for sample in ids]
    shares = [after / before for before, after in pairs]
    least = shares.index(min(shares))
    return {
        "distinct_before": sum(before for before, _ in pairs),
        "distinct_after": sum(after for _, after in pairs),
        "least_kept": {"frame": ids[least], "share": round(shares[least], 6)},
    }


def _levels(folder: Path, sample: str) -> tuple[int, int]:
    before, after = (folder / f"{sample}.levels").read_text(encoding="utf-8").split()
    return int(before), int(after)


GROUPS: Mapping[str, tuple[str, str]] = {  # of the board's JSON: split, component metric
    "anomaly_track": ("AnomalyTrack-test", "SegEval-AnomalyTrack"),
    "obstacle_track": ("ObstacleTrack-test", "SegEval-ObstacleTrack"),
    "laf_no_known": ("LostAndFound-testNoKnown", "SegEval-ObstacleTrack"),
}
PIXELS = ("area_PRC", "tpr95_fpr", "best_f1")
COMPONENTS = (
    "sIoU_gt", "prec_pred", "fn_25", "fp_25", "f1_25", "fn_50", "fp_50", "f1_50", "fn_75", "fp_75", "f1_75", "f1_mean",
)  # fmt: skip
COUNTS = frozenset({"fn_25", "fp_25", "fn_50", "fp_50", "fn_75", "fp_75"})


def keys(group: str) -> list[str]:
    """The board's keys of one group of its JSON, ``<split>-<metric>-<field>`` each."""
    split, components = GROUPS[group]
    return [f"{split}-PixBinaryClass-{name}" for name in PIXELS] + [
        f"{split}-{components}-{name}" for name in COMPONENTS
    ]


def entry(returned: Any, about: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The entry of the leaderboard from the scores that the server returned, with the board's exact keys.

    ``returned`` holds them by key, in one mapping or in one for each group; a group with none is left out, a group with
    some must have all. ``about`` is method, requires_ood, paper and code.
    """
    flat = dict(_flat(returned, where))
    known = {key: group for group in GROUPS for key in keys(group)}
    for key, value in flat.items():
        if key not in known:
            raise UnknownName("key", key, known, where)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise BadScores(f"{where}: {key} is {value!r}, wanted a number")
        if key.rpartition("-")[2] in COUNTS:
            if value < 0 or value != int(value):
                raise BadScores(f"{where}: {key} is {value!r}, wanted a count")
        elif not 0 <= value <= 1:
            raise BadScores(f"{where}: {key} is {value!r}, wanted a rate from 0 to 1; the board does not say percent")
    made = {}
    for group in GROUPS:
        wanted = keys(group)
        found = [key for key in wanted if key in flat]
        if found and len(found) < len(wanted):
            lacking = next(key for key in wanted if key not in flat)
            raise BadScores(f"{where}: {lacking} is missing ({len(found)} of {len(wanted)} keys of {group} are there)")
        if found:
            made[group] = dict(about) | {key: flat[key] for key in wanted}
    if not made:
        raise BadScores(f"{where}: holds no score; wanted keys such as {keys('anomaly_track')[0]}")
    return made


def _flat(returned: Any, where: str) -> Sequence[tuple[str, Any]]:
    if not isinstance(returned, dict):
        raise BadScores(f"{where}: wanted a mapping of keys to numbers, as the server returns it")
    pairs: list[tuple[str, Any]] = []
    for key, value in returned.items():
        if key in GROUPS and isinstance(value, dict):
            pairs += [(name, inner) for name, inner in value.items() if "-" in name]
        else:
            pairs.append((str(key), value))
    return pairs
