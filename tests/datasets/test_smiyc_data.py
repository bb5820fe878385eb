"""SegmentMeIfYouCan on disk: splits by name, hidden masks refused for evaluation and loaded for submissions."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from PIL import Image

from bench.cli.main import main
from bench.core.errors import BadSuite, MissingData
from bench.data.layouts import writers
from bench.datasets.smiyc import SegmentMeIfYouCan, Split, Track
from bench.datasets.toytown.scenes import Toytown
from bench.suite import expansion, registry

SCENES = Toytown(split="anomaly", images=16, height=32, width=64)  # 12 of them with masks, 4 of them hidden
LISTS = Path(__file__).parents[1] / "fixtures" / "leaderboards" / "frame_lists.json"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("data") / "smiyc"
    writers.write("smiyc_anomaly", SCENES, out)
    writers.write("smiyc_obstacle", SCENES, out)
    return out


@pytest.fixture
def root(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Copy what was written, so that a test may damage it."""
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    return Path(shutil.copytree(written, tmp_path / "data" / "smiyc"))


def reader(track: Track, split: Split, frames: int | None) -> SegmentMeIfYouCan:
    return SegmentMeIfYouCan(track, split, frames=frames)


def complaint(data: SegmentMeIfYouCan) -> str:
    with pytest.raises(MissingData) as caught:
        replace(data).check()
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_the_published_counts() -> None:
    counts = {
        (track, split): SegmentMeIfYouCan(track, split).count
        for track in get_args(Track)
        for split in get_args(Split)
        if track == "RoadObstacle21" or split in ("validation", "test", "all")
    }
    assert counts == {
        ("RoadAnomaly21", "validation"): 10,
        ("RoadAnomaly21", "test"): 100,
        ("RoadAnomaly21", "all"): 110,
        ("RoadObstacle21", "validation"): 30,
        ("RoadObstacle21", "test"): 327,
        ("RoadObstacle21", "all"): 442,
        ("RoadObstacle21", "night"): 30,
        ("RoadObstacle21", "snowstorm"): 55,
    }
    assert counts["RoadObstacle21", "all"] == 327 + 30 + 55 + 30


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"track": "RoadAnomaly21", "split": "night"}, "RoadAnomaly21 has no split night"),
        ({"track": "RoadObstacle21", "split": "all", "layout": "renamed"}, "layout renamed holds validation frames"),
        ({"track": "RoadObstacle21"}, "split"),
        ({"track": "RoadAnomaly", "split": "all"}, "track"),
    ],
)
def test_what_is_no_set_is_refused(params: dict[str, Any], said: str) -> None:
    with pytest.raises(BadSuite, match=said):
        registry.build("dataset", "smiyc", params, where="x.yaml")


def fill(folder: Path, names: list[str], end: str) -> None:
    (folder / "images").mkdir(parents=True)
    (folder / "labels_masks").mkdir()
    for name in names:
        Image.new("RGB", (8, 4)).save(folder / "images" / f"{name}{end}")


def test_the_published_ids_of_road_anomaly_21_fall_into_their_splits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lists = json.loads(LISTS.read_text())["AnomalyTrack"]
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    folder = tmp_path / "smiyc" / "dataset_AnomalyTrack"
    fill(folder, lists["test"] + lists["validation"], ".jpg")
    for name in lists["validation"]:
        Image.new("L", (8, 4), 1).save(folder / "labels_masks" / f"{name}_labels_semantic.png")
    splits: dict[Split, list[str]] = {
        "test": lists["test"],
        "validation": lists["validation"],
        "all": lists["test"] + lists["validation"],
    }
    for split, ids in splits.items():
        data = reader("RoadAnomaly21", split, None)
        data.check()
        assert list(data.ids()) == sorted(ids)
    assert data.load(list(data.ids()).index("boat_trailer0003")).tags == {"object": "boat_trailer"}


def test_scenes_of_road_obstacle_21_fall_into_their_splits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rules = json.loads(LISTS.read_text())["ObstacleTrack"]
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    names = [f"{scene}_dog_{number}" for scene in rules["scenes_all"] for number in (1, 2) if scene != "validation"]
    dropped = [f"validation_{number}" for number in (19, 21, 25, 29, 291)]
    kept = [f"validation_{number}" for number in (1, 2, 18, 20, 30)]
    folder = tmp_path / "smiyc" / "dataset_ObstacleTrack"
    fill(folder, [*names, *dropped, *kept, "elsewhere_dog_1"], ".webp")
    for name in kept:
        Image.new("L", (8, 4), 1).save(folder / "labels_masks" / f"{name}_labels_semantic.png")
    splits = {name.removeprefix("ObstacleTrack-"): rule["scenes"] for name, rule in rules["splits"].items()}
    hidden: tuple[Split, ...] = ("test", "night", "snowstorm")
    for split in hidden:
        wanted = sorted(name for name in names if name.partition("_")[0] in splits[split])
        data = reader("RoadObstacle21", split, len(wanted))
        data.check()
        assert list(data.ids()) == wanted
    data = reader("RoadObstacle21", "validation", len(kept))
    data.check()
    assert list(data.ids()) == sorted(kept)
    data = reader("RoadObstacle21", "all", len([*names, *dropped, *kept]))
    assert list(data.ids()) == sorted([*names, *dropped, *kept])
    places = list(data.ids())
    weathers = {places[index].partition("_")[0]: data.load(index).tags.get("weather") for index in range(len(places))}
    assert weathers["driveway"] == "night"
    assert weathers["snowstorm2"] == "snowstorm"
    assert weathers["curvy-street"] == "clear"
    assert weathers["validation"] is None
    first = data.load(places.index("curvy-street_dog_1"))
    assert (first.group, first.tags["object"], first.tags["scene"]) == ("curvy-street_dog", "dog", "curvy-street")


@pytest.mark.parametrize("track", get_args(Track))
@pytest.mark.parametrize(("split", "count"), [("test", None), ("all", 16)])
def test_hidden_frames_are_loaded_but_carry_no_truth(root: Path, track: Track, split: Split, count: int | None) -> None:
    hidden = count or (4 if track == "RoadAnomaly21" else 2)
    data = reader(track, split, hidden)
    data.check()
    assert data.annotations == frozenset()
    assert "make a submission from" in data.hidden
    for index in range(hidden):
        sample = data.load(index)
        assert sample.anomaly is None
        assert sample.labels is None
        assert sample.size == sample.image().shape[:2]
    assert reader(track, "validation", 12).hidden == ""


def test_dummy_masks_beside_test_frames_are_let_be(root: Path) -> None:
    """Others have evaluated on such masks: every frame of the test set empty, and a figure of no meaning."""
    masks = root / "dataset_AnomalyTrack" / "labels_masks"
    for number in range(4):
        Image.new("L", (64, 32)).save(masks / f"cow{number:04}_labels_semantic.png")
    data = reader("RoadAnomaly21", "all", 16)
    data.check()
    assert data.load(0).anomaly is None
    reader("RoadAnomaly21", "validation", 12).check()


def test_pictures_of_masks_are_no_masks(root: Path) -> None:
    assert len(list((root / "dataset_AnomalyTrack" / "labels_masks").glob("*_color.png"))) == 12
    assert len(reader("RoadAnomaly21", "validation", 12).ids()) == 12


def test_what_is_off_the_road_is_ignored(root: Path) -> None:
    data = reader("RoadObstacle21", "validation", 12)
    share = np.mean([data.load(index).anomaly == 255 for index in range(12)])
    assert 0.3 < share < 0.95


def test_a_damaged_hidden_image_is_named(root: Path) -> None:
    path = root / "dataset_AnomalyTrack" / "images" / "cow0002.jpg"
    path.write_bytes(path.read_bytes()[:-40])
    assert complaint(reader("RoadAnomaly21", "test", 4)).startswith(f"{path} cannot be read")
    path.unlink()
    assert "holds 3 frames, wanted 4" in complaint(reader("RoadAnomaly21", "test", 4))


def test_the_archive_may_be_unpacked_right_into_the_folder_of_data(root: Path) -> None:
    """$BENCH_DATA may be the DIR_DATASETS of the official code."""
    before = reader("RoadAnomaly21", "validation", 12).digest()
    shutil.move(root / "dataset_AnomalyTrack", root.parent / "dataset_AnomalyTrack")
    assert reader("RoadAnomaly21", "validation", 12).digest() == before
    shutil.rmtree(root)
    reader("RoadAnomaly21", "validation", 12).check()


def test_the_renamed_copy_is_recognised_and_never_taken_for_the_official_set(root: Path) -> None:
    for track in get_args(Track):
        assert "holds the layout official" in complaint(SegmentMeIfYouCan(track, "validation", "renamed", frames=16))
    shutil.rmtree(root)
    writers.write("smiyc_renamed", SCENES, root)
    for track, folder in (("RoadAnomaly21", "dataset_AnomalyTrack"), ("RoadObstacle21", "dataset_ObstacleTrack")):
        message = complaint(SegmentMeIfYouCan(track, "validation"))  # type: ignore[arg-type]
        assert message.startswith(f"{root / folder / 'images'} does not exist; {root} holds the layout renamed: say")
        SegmentMeIfYouCan(track, "validation", "renamed", frames=16).check()  # type: ignore[arg-type]


def test_hidden_frames_are_refused_for_evaluation_in_one_line(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = "{track: RoadAnomaly21, split: all, frames: 16}"
    path = tmp_path / "x.yaml"
    path.write_text(f"protocols: [anomaly]\nmodels: [toynet]\ndatasets:\n  - smiyc: {asked}\nmethods: [msp]\n")
    assert expansion.load(path).cells[0].dataset.label == "smiyc[frames=16,split=all,track=RoadAnomaly21]"
    assert main(["check", str(path)]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "n/a: " in line or "n/a  " in line]
    assert "has no anomaly, which anomaly needs: its masks are kept by the organisers" in line
    assert "evaluate split validation" in line
    (tmp_path / "maps").mkdir()
    words = ["score", "--protocol", "anomaly", "--scores", str(tmp_path / "maps"), "--dataset"]
    assert main([*words, "smiyc:track=RoadAnomaly21,split=all,frames=16"]) == 2
    assert "its masks are kept by the organisers" in capsys.readouterr().err
