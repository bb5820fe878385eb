"""Every layout written from synthetic scenes and read back, and every way to damage a copy, in one line."""

from __future__ import annotations

import io
import pickle
import re
import resource
import shutil
import subprocess
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from bench.api import Sample
from bench.cli.main import main
from bench.core.errors import CannotWrite, MissingData, UserError
from bench.data.layouts import writers
from bench.datasets.acdc import Acdc, DarkZurich
from bench.datasets.ade_ood import AdeOod
from bench.datasets.bdd_anomaly import BddAnomaly
from bench.datasets.fishyscapes import Fishyscapes
from bench.datasets.frames import Frame, OnDisk
from bench.datasets.idd import Idd
from bench.datasets.issu import Issu
from bench.datasets.muad import MiniMuad, Muad
from bench.datasets.nighttime_driving import NighttimeDriving
from bench.datasets.poc import Poc
from bench.datasets.road_anomaly import RoadAnomaly
from bench.datasets.road_obstacles import RoadObstacles
from bench.datasets.smiyc import SegmentMeIfYouCan
from bench.datasets.street_hazards import StreetHazards
from bench.datasets.synboost import SynBoost
from bench.datasets.toytown.scenes import Toytown
from bench.datasets.validation_dataset import ValidationDataset
from bench.datasets.wilddash2 import WildDash2
from bench.suite import expansion

SCENES = Toytown(split="anomaly", images=8, height=64, width=128)
LABELLED = [0, 1, 2, 4, 5, 6]  # the places of the validation frames of SegmentMeIfYouCan: every fourth is hidden

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Case:
    """A layout, the reader of it and what must come out."""

    layout: str
    home: str  # below $BENCH_DATA
    data: OnDisk
    places: Sequence[int] = range(8)  # of the scenes, in the order of the ids
    lossless: bool = True
    zero_void: bool = False  # whether nothing is ignored
    narrowed: bool = False  # whether some frames are cropped or have more ignored
    listed: bool = False  # whether the archive alone says how many frames there are


VALIDATION_SETS = ("RoadAnomaly", "RoadAnomaly21", "RoadObsticle21", "FS_LostFound_full", "fs_static")
CASES = {
    "lost_and_found": Case("fishyscapes", "fishyscapes", Fishyscapes("lost_and_found", frames=8)),
    "static": Case("fishyscapes_static", "fishyscapes", Fishyscapes("static", 3, frames=8)),
    "renamed_lf": Case("fishyscapes_renamed", "fishyscapes", Fishyscapes("lost_and_found", None, "renamed", frames=8)),
    "renamed_static": Case("fishyscapes_renamed", "fishyscapes", Fishyscapes("static", 3, "renamed", frames=8)),
    "original_lf": Case(
        "fishyscapes_original_labels",
        "fishyscapes",
        Fishyscapes("lost_and_found", None, "original_labels", frames=8),
    ),
    "original_static": Case(
        "fishyscapes_original_labels", "fishyscapes", Fishyscapes("static", None, "original_labels", frames=8)
    ),
    "beside_static": Case(
        "fishyscapes_side_by_side",
        "fishyscapes",
        Fishyscapes("static", None, "side_by_side", frames=8),
        lossless=False,
    ),
    "fishy_laf": Case(
        "fishyscapes_fishy_laf", "fishyscapes", Fishyscapes("lost_and_found", None, "fishy_laf", frames=8)
    ),
    "road_obstacles": Case("road_obstacles", "road_obstacles", RoadObstacles(frames=8), narrowed=True, listed=True),
    "ade_ood": Case("ade_ood", "ade_ood", AdeOod(frames=8), lossless=False),
    "issu": Case("issu", "issu", Issu("all", "obstacle", frames=8), [0, 4, 2, 6, 1, 5, 3, 7], narrowed=True),
    "synboost_static": Case("synboost", "synboost", SynBoost("fs_static", frames=8)),
    "synboost_road_anomaly": Case("synboost", "synboost", SynBoost("road_anomaly", frames=8), lossless=False),
    "anomaly": Case(
        "smiyc_anomaly",
        "smiyc",
        SegmentMeIfYouCan("RoadAnomaly21", "validation", frames=6),
        LABELLED,
        lossless=False,
        narrowed=True,
    ),
    "obstacle": Case(
        "smiyc_obstacle",
        "smiyc",
        SegmentMeIfYouCan("RoadObstacle21", "validation", frames=6),
        LABELLED,
        narrowed=True,
    ),
    "smiyc_renamed": Case(
        "smiyc_renamed",
        "smiyc",
        SegmentMeIfYouCan("RoadAnomaly21", "validation", "renamed", frames=8),
        lossless=False,
    ),
    "road_anomaly": Case("road_anomaly", "road_anomaly", RoadAnomaly(frames=8), lossless=False, zero_void=True),
    "road_anomaly_original": Case(
        "road_anomaly_original_labels", "road_anomaly", RoadAnomaly("original_labels", frames=8), lossless=False
    ),
} | {
    f"copied_{name}": Case(
        "validation_dataset",
        "validation_dataset",
        ValidationDataset(name, frames=8),  # type: ignore[arg-type]
        lossless=name not in ("RoadAnomaly", "fs_static"),
        zero_void=name == "RoadAnomaly",
    )
    for name in VALIDATION_SETS
}
TREES = {  # with classes, anomalies or both
    "street_hazards": Case("street_hazards", "street_hazards", StreetHazards(frames=8)),
    "bdd_anomaly": Case("bdd_anomaly", "bdd_anomaly", BddAnomaly(frames=4), range(0, 8, 2), lossless=False),
    "muad": Case("muad", "muad", Muad(frames=8)),
    "mini_muad": Case("mini_muad", "mini_muad", MiniMuad(frames=8)),
    "acdc": Case("acdc", "acdc", Acdc(frames=8)),
    "dark_zurich": Case("dark_zurich", "dark_zurich", DarkZurich(frames=8)),
    "nighttime_driving": Case("nighttime_driving", "nighttime_driving", NighttimeDriving(frames=8)),
    "idd": Case("idd", "idd", Idd(classes="cityscapes", frames=8)),
    "idd_level3": Case("idd", "idd", Idd(frames=8)),
}
WITHOUT_VALUES = {"wilddash2": Case("wilddash2", "wilddash2", WildDash2(frames=8), lossless=False)}  # masks in colour
EVERY = CASES | TREES | WITHOUT_VALUES
DAMAGED = [
    "fishy_laf",
    "road_obstacles",
    "ade_ood",
    "synboost_static",
    "issu",
    "street_hazards",
    "bdd_anomaly",
    "acdc",
    "lost_and_found",
    "static",
    "original_static",
    "anomaly",
    "obstacle",
    "road_anomaly",
    "copied_fs_static",
]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("data")
    for layout in {case.layout for case in EVERY.values()}:
        writers.write(layout, SCENES, out / layout)
    return out


def use(case: Case, written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Copy one written layout to where its reader looks, so that a test may damage it."""
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    return Path(shutil.copytree(written / case.layout, tmp_path / "data" / case.home))


def fresh(name: str) -> OnDisk:
    """A reader that has listed nothing yet."""
    return replace(EVERY[name].data)


def complaint(data: OnDisk) -> str:
    with pytest.raises(MissingData) as caught:
        data.check()
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 900
    return message


def mask_of(frame: Frame) -> Path:
    assert frame.mask is not None
    return frame.mask


@pytest.mark.parametrize("name", CASES)
def test_what_is_written_is_read_back(
    name: str, written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = EVERY[name]
    use(case, written, tmp_path, monkeypatch)
    data = fresh(name)
    data.check()
    assert data.annotations == {"anomaly"}
    assert len(data.ids()) == data.count == len(case.places)
    assert list(data.ids()) == sorted(data.ids())
    values = set()
    for index, place in enumerate(case.places):
        theirs, ours = SCENES.load(place), data.load(index)
        assert theirs.anomaly is not None
        assert ours.anomaly is not None
        assert ours.id == data.ids()[index]
        assert ours.labels is None
        assert ours.size == ours.anomaly.shape == ours.image().shape[:2]
        height, width = ours.size
        values |= set(np.unique(ours.anomaly).tolist())
        wanted = theirs.anomaly[:height, :width]
        np.testing.assert_array_equal(ours.anomaly == 1, wanted == 1)
        if case.zero_void:
            assert not (ours.anomaly == 255).any()
        elif not case.narrowed:
            np.testing.assert_array_equal(ours.anomaly, wanted)
        picture = theirs.image()[:height, :width].astype(int)
        if case.lossless:
            np.testing.assert_array_equal(ours.image(), picture)
        else:
            assert np.abs(ours.image() - picture).mean() < 6
    assert values == ({0, 1} if case.zero_void else {0, 1, 255})


def test_labels_and_anomalies_of_one_file_are_told_apart(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(CASES["issu"], written, tmp_path, monkeypatch)
    data = Issu(frames=8)
    data.check()
    for index, place in enumerate(CASES["issu"].places):
        theirs, ours = SCENES.load(place), data.load(index)
        assert ours.labels is not None and theirs.labels is not None
        assert ours.anomaly is not None and theirs.anomaly is not None
        np.testing.assert_array_equal(ours.anomaly == 1, theirs.anomaly == 1)
        np.testing.assert_array_equal(ours.labels, theirs.labels)
        np.testing.assert_array_equal(ours.anomaly == 0, theirs.labels != 255)
    assert [dict(data.load(index).tags) for index in (0, 2, 4, 6)] == [
        {"part": part, "light": light} for part in ("static", "temporal") for light in ("normal", "low")
    ]
    assert {data.load(index).group for index in range(4)} == {"static_0", "static_fog"}
    Issu("static", light="low", frames=2).check()
    assert list(Issu("temporal", light="low", frames=2).ids()) == ["temporal_17_000003", "temporal_17_000007"]
    unlabelled = Issu(frames=8, values={"0": "ignore"}).load(0)
    assert unlabelled.labels is not None and unlabelled.anomaly is not None
    assert not (unlabelled.labels == 0).any() and (unlabelled.anomaly != 255).any()


@pytest.mark.parametrize("which", ["cityscapes", "acdc"])
def test_poc_is_made_of_the_images_below_and_the_differences(
    which: Literal["cityscapes", "acdc"], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    writers.write("poc", SCENES, tmp_path / "poc")
    data = Poc(which, frames=8)
    data.check()
    made = {int(name.split("_")[-1]): data.load(index) for index, name in enumerate(data.ids())}
    for index, ours in made.items():
        theirs = SCENES.load(index)
        assert theirs.labels is not None and theirs.anomaly is not None
        assert ours.labels is not None and ours.anomaly is not None
        np.testing.assert_array_equal(ours.image(), theirs.image())
        np.testing.assert_array_equal(ours.anomaly == 1, theirs.anomaly == 1)
        np.testing.assert_array_equal(ours.labels, theirs.labels)
    assert made[1].tags["object"] == "garbage bag"
    if which == "cityscapes":
        assert Poc(which).count == 8  # nobody publishes how many there are
        return
    assert made[1].tags["condition"] == "night"
    assert "holds 8 frames, wanted 200" in complaint(Poc(which))
    home = tmp_path / "poc" / "POC_ACDC_VAL"
    (home / "gt_trainval" / "gt").rename(home / "rgb_anon_trainvaltest" / "gt")  # as the program that packs writes it
    data = Poc(which, frames=8)
    data.check()
    frame = data.scan()[3]
    stamp(mask_of(frame), illegal)
    assert complaint(data).startswith(f"{mask_of(frame)} holds the value 77 at row 5, column 9, wanted 0..33, from 100")
    assert frame.overlay is not None
    before = data.digest()
    for arrays, words in (
        ({"img": np.zeros((64, 128, 3), np.int16)}, "holds int16 [64, 128, 3], wanted uint8 [64, 128, 3]"),
        ({"img": np.zeros((32, 128, 3), np.uint8)}, "holds uint8 [32, 128, 3], wanted uint8 [64, 128, 3]"),
        ({"rgb": np.zeros((64, 128, 3), np.uint8)}, "is it an overlay of POC?"),
        ({"img": np.zeros((64, 128, 3), np.uint8)}, ""),
    ):
        packed = io.BytesIO()
        np.savez_compressed(packed, **arrays)
        frame.overlay.write_bytes(packed.getvalue())
        with nullcontext() if not words else pytest.raises(MissingData, match=re.escape(words)):
            Poc(which, frames=8, values={"77": "ignore"}).load(3).image()
    assert Poc(which, frames=8, values={"77": "ignore"}).digest() != before
    frame.overlay.unlink()
    assert complaint(Poc(which, frames=8)).startswith(f"{frame.overlay} does not exist, but its label")
    frame.image.unlink()
    data = Poc(which, frames=7)
    data.check()
    data.scan()[0].image.unlink()
    assert "unpack rgb_anon_trainvaltest.zip of ACDC into" in complaint(data)


def test_frames_of_one_set_may_differ_in_size(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(CASES["anomaly"], written, tmp_path, monkeypatch)
    data = fresh("anomaly")
    assert {data.load(index).size for index in range(6)} == {(64, 128), (64, 96)}


@pytest.mark.parametrize("name", EVERY)
def test_no_place_is_part_of_a_pickle_and_the_order_is_that_of_the_ids(
    name: str, written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = use(EVERY[name], written, tmp_path, monkeypatch)
    data = fresh(name)
    ids, digest = data.ids(), data.digest()
    packed = pickle.dumps(data)
    assert str(root).encode() not in packed
    glob = Path.glob
    monkeypatch.setattr(Path, "glob", lambda self, pattern: iter(sorted(glob(self, pattern), reverse=True)))
    again = pickle.loads(packed)  # noqa: S301
    assert again.ids() == ids
    assert again.digest() == digest


def stamp(path: Path, alter: Callable[[Pixels], Pixels]) -> None:
    """Write a mask anew after a change."""
    Image.fromarray(alter(np.array(Image.open(path)))).save(path)


def illegal(pixels: Pixels) -> Pixels:
    pixels[5, 9] = 77
    return pixels


@pytest.mark.parametrize("name", CASES | TREES)
def test_an_illegal_value_is_named_with_its_place(
    name: str, written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(EVERY[name], written, tmp_path, monkeypatch)
    data = fresh(name)
    path = mask_of(data.scan()[3])
    stamp(path, illegal)
    assert complaint(data).startswith(f"{path} holds the value 77 at row 5, column 9, wanted 0")
    with pytest.raises(MissingData, match="holds the value 77 at row 5, column 9"):
        data.load(3)


@pytest.mark.parametrize("name", DAMAGED)
def test_a_mask_of_another_size_is_named(
    name: str, written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(EVERY[name], written, tmp_path, monkeypatch)
    path = mask_of(fresh(name).scan()[3])
    stamp(path, lambda pixels: pixels[::2, ::2])
    assert complaint(fresh(name)).startswith(f"{path} is 32x")


@pytest.mark.parametrize("name", DAMAGED)
def test_a_mask_in_colour_is_named(name: str, written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(EVERY[name], written, tmp_path, monkeypatch)
    path = mask_of(fresh(name).scan()[3])
    stamp(path, lambda pixels: np.dstack([pixels, pixels, pixels + 1]))
    assert complaint(fresh(name)).startswith(f"{path} is stored as RGB, and its channels differ")


def in_greys(pixels: Pixels) -> Image.Image:
    """The same numbers as the colours of a palette whose indices are others."""
    picture = Image.fromarray(255 - pixels, "P")
    picture.putpalette(np.repeat(np.arange(255, -1, -1, dtype=np.uint8), 3).tobytes())
    return picture


@pytest.mark.parametrize("name", CASES | TREES)
def test_every_reader_takes_pixels_however_they_are_stored_and_starts_no_program(
    name: str, written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(EVERY[name], written, tmp_path, monkeypatch)
    frames, before = fresh(name).scan(), [fresh(name).truth(frame) for frame in fresh(name).scan()]
    ways = [in_greys, lambda each: Image.fromarray(each.astype(np.uint16)), lambda each: Image.fromarray(each)]
    ways += [lambda each, mode=mode: Image.fromarray(each).convert(mode) for mode in ("LA", "RGB", "RGBA")]
    for frame, way in zip(frames, ways, strict=False):
        way(np.array(Image.open(mask_of(frame)))).save(mask_of(frame))
    for frame, mode in zip(frames, ("L", "LA", "P", "1", "I;16"), strict=False):
        picture = Image.open(frame.image).convert("RGB" if mode == "P" else "L")
        deep = mode == "I;16"
        stored = Image.fromarray(np.array(picture).astype(np.uint16) * 257) if deep else picture.convert(mode)
        stored.save(frame.image, "PNG")  # whatever its name ends in
    data = fresh(name)
    data.check()
    for index, frame in enumerate(frames):
        for kind, truth in before[index].items():
            np.testing.assert_array_equal(data.truth(frame)[kind], truth)
        assert data.load(index).image().shape == (*next(iter(before[index].values())).shape, 3)
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a program was started"))
    for path in (frames[1].image, mask_of(frames[1])):
        path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 128 64\nshowpage\n")
        assert complaint(fresh(name)).startswith(f"{path} is not an image of the formats ")


@pytest.mark.parametrize("kept", [0, 30, -30])
@pytest.mark.parametrize("which", ["image", "mask"])
@pytest.mark.parametrize("name", DAMAGED)
def test_a_truncated_file_is_named(
    name: str, which: str, kept: int, written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(EVERY[name], written, tmp_path, monkeypatch)
    path = getattr(fresh(name).scan()[3], which)
    path.write_bytes(path.read_bytes()[:kept])
    assert complaint(fresh(name)).startswith(str(path))


@pytest.mark.parametrize("name", DAMAGED)
def test_an_image_without_its_mask_is_named(
    name: str, written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(EVERY[name], written, tmp_path, monkeypatch)
    frame = fresh(name).scan()[3]
    mask_of(frame).unlink()
    message = complaint(fresh(name))
    if name in ("lost_and_found", "fishy_laf"):  # their masks alone say which frames there are
        assert "holds 7 frames, wanted 8" in message
    else:
        assert message.startswith(f"{frame.mask} does not exist, but")


@pytest.mark.parametrize("name", DAMAGED)
def test_a_mask_without_its_image_is_named(
    name: str, written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(EVERY[name], written, tmp_path, monkeypatch)
    frame = fresh(name).scan()[1]
    frame.image.unlink()
    message = complaint(fresh(name))
    assert message.startswith(f"{frame.image} does not exist")


@pytest.mark.parametrize("name", EVERY)
def test_a_half_unpacked_copy_is_refused_with_both_numbers(
    name: str, written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(EVERY[name], written, tmp_path, monkeypatch)
    data = fresh(name)
    published = replace(data, frames=None)
    if EVERY[name].listed:
        published.check()
        assert published.count == data.count
        return
    message = complaint(published)
    assert f"holds {data.count} frames, wanted {published.count}" in message
    assert f"frames: {data.count}" in message


@pytest.mark.parametrize("name", EVERY)
def test_an_absent_set_says_how_to_get_it(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = EVERY[name]
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    data = fresh(name)
    assert data.count == len(case.places)  # a constructor opens nothing
    message = complaint(data)
    assert message.startswith(f"{tmp_path / 'data' / case.home} does not exist")
    assert "$BENCH_DATA" in message
    assert message.endswith(data.obtain)


@pytest.mark.parametrize("name", EVERY)
def test_an_empty_root_says_what_is_missing(
    name: str, written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    (tmp_path / "data" / EVERY[name].home).mkdir(parents=True)
    data = fresh(name)
    message = complaint(data)
    assert message.startswith(str(tmp_path / "data" / EVERY[name].home))
    assert message.endswith(data.obtain)
    assert "say so" not in message


def test_the_digest_follows_masks_and_images(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(CASES["static"], written, tmp_path, monkeypatch)
    digests = [fresh("static").digest()]
    frame = fresh("static").scan()[2]
    assert frame.overlay is not None
    stamp(mask_of(frame), lambda pixels: np.where(pixels == 1, np.uint8(0), pixels))
    digests.append(fresh("static").digest())
    with frame.image.open("ab") as file:
        file.write(b"x")
    digests.append(fresh("static").digest())
    packed = io.BytesIO()
    np.savez_compressed(packed, rgb=np.zeros((64, 128, 3), np.int16))
    frame.overlay.write_bytes(packed.getvalue())
    digests.append(fresh("static").digest())
    assert len(set(digests)) == 4


@pytest.mark.parametrize("layout", [name for name, layout in writers.LAYOUTS.items() if layout.split == "anomaly"])
def test_a_layout_is_never_written_over_what_is_there(layout: str, tmp_path: Path) -> None:
    scenes = Toytown(split="anomaly", images=2, height=32, width=64)
    seen: list[tuple[int, int]] = []
    (tmp_path / "mine.txt").write_text("mine")
    writers.write(layout, scenes, tmp_path, progress=lambda done, whole: seen.append((done, whole)))
    assert seen == [(1, 2), (2, 2)]
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    with pytest.raises(CannotWrite, match="is there already"):
        writers.write(layout, scenes, tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    with pytest.raises(CannotWrite, match="cannot be written"):
        writers.write(layout, scenes, tmp_path / "mine.txt")
    with pytest.raises(UserError, match="choose split anomaly"):
        writers.write(layout, replace(scenes, split="val"), tmp_path / "other")


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@dataclass(frozen=True)
class Breaking(Toytown):
    """Runs out of frames that can be drawn."""

    def load(self, index: int) -> Sample:
        if index == 2:
            raise KeyboardInterrupt
        return super().load(index)


@pytest.mark.parametrize("layout", ["fishyscapes_static", "smiyc_obstacle", "validation_dataset"])
def test_what_was_begun_is_removed_and_what_was_there_is_kept(layout: str, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(KeyboardInterrupt):
        writers.write(layout, Breaking(split="anomaly", images=4, height=32, width=64), tmp_path)
    with files_of_at_most(500), pytest.raises(CannotWrite, match="no room left"):
        writers.write(layout, SCENES, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_the_command_line_draws_the_scenes_that_a_layout_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "smiyc")
    drawn = ["data", "toytown", "--layout", "smiyc_obstacle", "--images", "4", "--size", "32x64", "--out", out]
    assert main(drawn) == 0
    assert main(drawn) == 2
    assert "is there already" in capsys.readouterr().err
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    SegmentMeIfYouCan("RoadObstacle21", "validation", frames=3).check()


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_damaged_set_is_refused_before_the_network_is_read(
    command: str, written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use(CASES["static"], written, tmp_path, monkeypatch)
    path = mask_of(fresh("static").scan()[3])
    stamp(path, illegal)
    (tmp_path / "net.py").write_text("raise AssertionError('the network was read')\n")
    path_of_suite = tmp_path / "x.yaml"
    path_of_suite.write_text(
        "protocols: [anomaly]\nmodels: [{python: {factory: 'net.py:build'}}]\nmethods: [msp]\n"
        "datasets: [{fishyscapes: {set: static, version: 3, frames: 8}}]\n"
    )
    out = tmp_path / "run"
    assert main([command, str(path_of_suite), *(["--out", str(out)] if command == "run" else [])]) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith(f"bench: {path} holds the value 77 at row 5, column 9, wanted 0, 1 or 255 (anomaly)")
    assert "\n" not in said
    assert not list(out.rglob("*.json"))


DOCS = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("names", "text"), re.findall(r"<!-- datasets: (.+?) -->\n\n```yaml\n(.*?)```", DOCS, re.S))
def test_the_data_sets_of_the_docs_are_spelt_as_a_suite_has_them(names: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    head = "protocols: [anomaly]\nmodels: [toynet]\nmethods: [msp]\ndatasets:\n"
    path.write_text(head + textwrap.indent(text, "  "))
    assert {cell.dataset.name for cell in expansion.load(path).cells} == set(names.split(", "))


def test_the_docs_name_every_layout_that_can_be_written() -> None:
    table = DOCS.split("| `--layout` |")[1].split("\n\n")[0]
    named = [name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])]
    assert sorted(named) == sorted(writers.LAYOUTS)


HEADS = {
    "fishyscapes": "Fishyscapes",
    "smiyc": "SegmentMeIfYouCan",
    "road_anomaly": "RoadAnomaly",
    "validation_dataset": "Validation_Dataset",
    "ade_ood": "ADE-OoD",
    "issu": "ISSU",
    "street_hazards": "StreetHazards",
    "bdd_anomaly": "BDD-Anomaly",
    "muad": "MUAD",
    "mini_muad": "MUAD",
    "acdc": "ACDC",
    "dark_zurich": "Streets at night",
    "nighttime_driving": "Streets at night",
    "idd": "IDD",
    "wilddash2": "WildDash 2",
    "synboost": "SynBoost's packing",
}


@pytest.mark.parametrize("case", [case for case in EVERY.values() if not case.listed])
def test_the_docs_give_the_published_counts(case: Case) -> None:
    published = replace(case.data, frames=None)
    section = DOCS.split(f"\n## {HEADS[published.name]}\n")[1].split("\n## ")[0]
    assert re.search(rf"\b{published.count}\b", section)
