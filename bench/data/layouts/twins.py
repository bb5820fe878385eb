"""Toytown written in the layout of a published data set and read back by that data set's own reader.

So that a suite of synthetic twins runs the code that the real suite runs, from files to figures, without a download.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

from bench.contract.dataset import Dataset, Sample
from bench.core import files, versions
from bench.core.locks import locked
from bench.data.layouts import hf, writers
from bench.datasets.acdc import Acdc, DarkZurich
from bench.datasets.ade_ood import AdeOod
from bench.datasets.bdd_anomaly import BddAnomaly
from bench.datasets.bravo import Bravo, Subset
from bench.datasets.cityscapes import Cityscapes
from bench.datasets.fishyscapes import Fishyscapes
from bench.datasets.hf import HuggingFace
from bench.datasets.idd import Idd
from bench.datasets.issu import Issu
from bench.datasets.lost_and_found import LostAndFound
from bench.datasets.muad import MiniMuad, Muad
from bench.datasets.nighttime_driving import NighttimeDriving
from bench.datasets.oodis import Oodis
from bench.datasets.poc import Poc
from bench.datasets.road_anomaly import RoadAnomaly
from bench.datasets.road_obstacles import RoadObstacles
from bench.datasets.smiyc import SegmentMeIfYouCan
from bench.datasets.street_hazards import StreetHazards
from bench.datasets.synboost import SynBoost
from bench.datasets.toytown.scenes import Toytown
from bench.datasets.validation_dataset import ValidationDataset
from bench.datasets.wilddash2 import WildDash2

WRITING = 1  # raised when a layout is written in another way: what was written before is left alone

Twin = Literal[
    "bravo_acdc_fog", "bravo_acdc_rain", "bravo_acdc_night", "bravo_acdc_snow", "bravo_synrain", "bravo_smiyc",
    "bravo_synobjs", "bravo_synflare", "bravo_outofcontext",
    "cityscapes", "cityscapes_train", "fishyscapes_lost_and_found", "fishyscapes_static", "lost_and_found",
    "road_anomaly", "road_anomaly_21", "road_obstacle_21", "validation_dataset_static", "fishy_laf", "road_obstacles",
    "ade_ood", "synboost_static", "issu_anomaly", "issu_obstacle", "hf", "poc_cityscapes", "poc_acdc",
    "street_hazards", "bdd_anomaly", "muad", "mini_muad", "acdc", "wilddash2", "idd", "dark_zurich",
    "nighttime_driving", "oodis",
]  # fmt: skip


@dataclass(frozen=True)
class _Twin:
    layout: str
    family: str  # the folder where the reader looks
    split: Literal["train", "val", "anomaly"]
    reader: Callable[[int], Dataset]  # of so many scenes
    least: int = 4  # scenes, so that each part of the layout has one


def _shown(scenes: int) -> int:
    """The number of scenes of a track of SegmentMeIfYouCan with a mask: every fourth is a test frame."""
    return scenes - scenes // 4


def _bravo(subset: Subset) -> _Twin:
    """Return the twin of one subset of BRAVO, which the scenes are dealt out to in turn."""
    subsets = get_args(Subset)
    position = subsets.index(subset)
    return _Twin(
        "bravo",
        "bravo",
        "anomaly",
        lambda n: Bravo(subset, "present", frames=len(range(position, n, len(subsets)))),
        len(subsets),
    )


def _named(name: str, split: Literal["val", "anomaly"], reader: Callable[[int], Dataset]) -> _Twin:
    """The twin of a data set whose layout has its name."""
    return _Twin(name, name, split, reader)


_TWINS: Mapping[str, _Twin] = {
    "bravo_acdc_fog": _bravo("ACDCfog"),
    "bravo_acdc_rain": _bravo("ACDCrain"),
    "bravo_acdc_night": _bravo("ACDCnight"),
    "bravo_acdc_snow": _bravo("ACDCsnow"),
    "bravo_synrain": _bravo("synrain"),
    "bravo_smiyc": _bravo("SMIYC"),
    "bravo_synobjs": _bravo("synobjs"),
    "bravo_synflare": _bravo("synflare"),
    "bravo_outofcontext": _bravo("outofcontext"),
    "cityscapes": _Twin("cityscapes", "cityscapes", "val", lambda n: Cityscapes(split="val", frames=n)),
    "cityscapes_train": _Twin("cityscapes", "cityscapes", "train", lambda n: Cityscapes(split="train", frames=n)),
    "fishyscapes_lost_and_found": _Twin(
        "fishyscapes", "fishyscapes", "anomaly", lambda n: Fishyscapes("lost_and_found", frames=n)
    ),
    "fishyscapes_static": _Twin(
        "fishyscapes_static", "fishyscapes", "anomaly", lambda n: Fishyscapes("static", 3, frames=n)
    ),
    "lost_and_found": _Twin("lost_and_found", "lost_and_found", "anomaly", lambda n: LostAndFound(frames=_shown(n))),
    "road_anomaly": _Twin("road_anomaly", "road_anomaly", "anomaly", lambda n: RoadAnomaly(frames=n)),
    "road_anomaly_21": _Twin(
        "smiyc_anomaly",
        "smiyc",
        "anomaly",
        lambda n: SegmentMeIfYouCan("RoadAnomaly21", "validation", frames=_shown(n)),
    ),
    "road_obstacle_21": _Twin(
        "smiyc_obstacle",
        "smiyc",
        "anomaly",
        lambda n: SegmentMeIfYouCan("RoadObstacle21", "validation", frames=_shown(n)),
    ),
    "validation_dataset_static": _Twin(
        "validation_dataset", "validation_dataset", "anomaly", lambda n: ValidationDataset("fs_static", frames=n)
    ),
    "fishy_laf": _Twin(
        "fishyscapes_fishy_laf",
        "fishyscapes",
        "anomaly",
        lambda n: Fishyscapes("lost_and_found", layout="fishy_laf", frames=n),
    ),
    "road_obstacles": _Twin("road_obstacles", "road_obstacles", "anomaly", lambda n: RoadObstacles(frames=n)),
    "ade_ood": _Twin("ade_ood", "ade_ood", "anomaly", lambda n: AdeOod(frames=n)),
    "issu_anomaly": _Twin("issu", "issu", "anomaly", lambda n: Issu(frames=n)),
    "issu_obstacle": _Twin("issu", "issu", "anomaly", lambda n: Issu(track="obstacle", frames=n)),
    "poc_cityscapes": _Twin("poc", "poc", "anomaly", lambda n: Poc("cityscapes", frames=n)),
    "poc_acdc": _Twin("poc", "poc", "anomaly", lambda n: Poc("acdc", frames=n)),
    "hf": _Twin("hf", "hf", "anomaly", lambda n: HuggingFace(hf.NAME, id="name", anomaly=(1,), usual=(0,), frames=n)),
    "synboost_static": _Twin("synboost", "synboost", "anomaly", lambda n: SynBoost("fs_static", frames=n)),
    "street_hazards": _named("street_hazards", "anomaly", lambda n: StreetHazards(frames=n)),
    # Every other scene has an anomaly there.
    "bdd_anomaly": _named("bdd_anomaly", "anomaly", lambda n: BddAnomaly(frames=n - n // 2)),
    "muad": _named("muad", "anomaly", lambda n: Muad(frames=n)),
    "mini_muad": _named("mini_muad", "anomaly", lambda n: MiniMuad(frames=n)),
    "acdc": _named("acdc", "val", lambda n: Acdc(frames=n)),
    "wilddash2": _named("wilddash2", "val", lambda n: WildDash2(frames=n)),
    "idd": _named("idd", "val", lambda n: Idd(classes="cityscapes", frames=n)),
    "dark_zurich": _named("dark_zurich", "val", lambda n: DarkZurich(frames=n)),
    "oodis": _named("oodis", "anomaly", lambda n: Oodis(frames=n)),
    "nighttime_driving": _named("nighttime_driving", "val", lambda n: NighttimeDriving(frames=n)),
}


@dataclass(frozen=True)
class ToytownLayout(Dataset):
    """Synthetic street scenes in the files of a published data set, ``twin``, read by the reader of that data set.

    They are drawn once, below ``$BENCH_HOME/toytown``, which may be deleted at any time. ``scenes`` is how many are
    drawn; the tracks of SegmentMeIfYouCan hide the masks of every fourth, and the subsets of BRAVO
    take them in turn. Comparable with no paper.
    """

    name = "toytown_layout"
    source = "drawn by this project; docs/toytown.md"

    twin: Twin
    scenes: int = 20
    height: int = 128
    width: int = 256
    seed: int = 0

    def __post_init__(self) -> None:
        if self.scenes < self._kind.least:
            raise ValueError(f"scenes is {self.scenes}, wanted at least {self._kind.least} for {self.twin}")
        self._drawing  # noqa: B018 - it refuses sizes that cannot be drawn

    @property
    def annotations(self) -> frozenset[str]:
        return self._kind.reader(self.scenes).annotations

    @property
    def class_names(self) -> tuple[str, ...]:
        return self._kind.reader(self.scenes).class_names

    @property
    def count(self) -> int:
        return self._kind.reader(self.scenes).count

    def ids(self) -> Sequence[str]:
        with files.rooted(self._written):
            return self._reader.ids()

    def load(self, index: int) -> Sample:
        with files.rooted(self._written):
            return self._reader.load(index)

    def digest(self) -> str:
        with files.rooted(self._written):
            return self._reader.digest()

    def check(self) -> None:
        with files.rooted(self._written):
            self._reader.check()

    def __getstate__(self) -> dict[str, Any]:
        # Without the listing: the machine that unpickles it draws its own.
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}

    @property
    def _kind(self) -> _Twin:
        return _TWINS[self.twin]

    @property
    def _drawing(self) -> Toytown:
        return Toytown(split=self._kind.split, images=self.scenes, height=self.height, width=self.width, seed=self.seed)

    @cached_property
    def _reader(self) -> Dataset:
        return self._kind.reader(self.scenes)

    @cached_property
    def _written(self) -> Path:
        """The folder above that of the family; the first process that asks draws it."""
        what = f"{versions.NUMBERS['toytown']} {WRITING} {self._kind.layout} {self._drawing!r}"
        home = files.home() / "toytown"
        folder = home / hashlib.sha256(what.encode()).hexdigest()[:16]
        if not folder.is_dir():
            try:
                home.mkdir(parents=True, exist_ok=True)
                with locked(folder.with_name(f"{folder.name}.lock"), wait=True):
                    if not folder.is_dir():
                        self._write(folder)
            except OSError as error:
                raise files.cannot_write(folder, error) from error
        return folder

    def _write(self, target: Path) -> None:
        with _draft(target) as draft:
            writers.write(self._kind.layout, self._drawing, draft / self._kind.family)


@contextmanager
def _draft(target: Path) -> Any:
    """Yield a folder that becomes ``target`` when it is whole; what an interrupted call leaves is in nobody's way."""
    draft = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    try:
        yield draft
        draft.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
