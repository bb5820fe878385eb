"""RoadAnomaly of 2019, and the repacked Validation_Dataset that must not pass for any official set."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from PIL import Image

from bench.core.errors import MissingData
from bench.data.layouts import writers
from bench.datasets import validation_dataset
from bench.datasets.frames import OnDisk
from bench.datasets.road_anomaly import RoadAnomaly
from bench.datasets.toytown.scenes import Toytown
from bench.datasets.validation_dataset import ValidationDataset
from bench.suite import expansion

SCENES = Toytown(split="anomaly", images=4, height=32, width=64)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("data")
    for layout in ("road_anomaly", "validation_dataset"):
        writers.write(layout, SCENES, out / layout)
    return out


@pytest.fixture
def data(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Copy what was written, so that a test may damage it."""
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    return Path(shutil.copytree(written, tmp_path / "data"))


def complaint(data: OnDisk) -> str:
    with pytest.raises(MissingData) as caught:
        replace(data).check()
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_the_published_counts() -> None:
    assert RoadAnomaly().count == 60
    counts = {name: ValidationDataset(name).count for name in get_args(validation_dataset.Set)}
    assert counts == {
        "RoadAnomaly": 60,
        "RoadAnomaly21": 10,
        "RoadObsticle21": 30,
        "FS_LostFound_full": 100,
        "fs_static": 30,
    }


def test_two_is_the_anomaly_and_one_is_refused(data: Path) -> None:
    path = RoadAnomaly(frames=4).scan()[1].mask
    assert path is not None
    stored = np.array(Image.open(path))
    assert set(np.unique(stored)) == {0, 2}
    Image.fromarray(stored // 2).save(path)
    message = complaint(RoadAnomaly(frames=4))
    assert message.startswith(f"{path} holds the value 1 at row ")
    assert "wanted 0 or 2 (RoadAnomaly); all masks together hold 0" in message and "(1 in 1 of 4 files)" in message


def test_the_archives_own_list_says_which_frames_there_are(data: Path) -> None:
    home = data / "road_anomaly" / "RoadAnomaly_jpg"
    listing = home / "frame_list.json"
    names = json.loads(listing.read_text())
    Image.new("RGB", (8, 4)).save(home / "frames" / "mine.jpg")
    assert len(RoadAnomaly(frames=4).ids()) == 4
    listing.write_text(json.dumps(names[::-1]))
    assert list(RoadAnomaly(frames=4).ids()) == sorted(Path(name).stem for name in names)
    listing.write_text(json.dumps(names[:3]))
    assert complaint(RoadAnomaly(frames=4)).startswith(f"{listing} holds 3 frames, wanted 4")
    for broken in ("{", '{"a": 1}', '["../x.jpg"]', "[1]"):
        listing.write_text(broken)
        assert complaint(RoadAnomaly(frames=4)).startswith(f"{listing} ")
    listing.unlink()
    assert complaint(RoadAnomaly(frames=4)).startswith(f"{listing} does not exist")


def test_names_with_other_characters_become_ids(data: Path) -> None:
    home = data / "road_anomaly" / "RoadAnomaly_jpg"
    names = json.loads((home / "frame_list.json").read_text())
    stem = Path(names[0]).stem
    (home / "frames" / names[0]).rename(home / "frames" / "zebra (1).jpg")
    (home / "frames" / f"{stem}.labels").rename(home / "frames" / "zebra (1).labels")
    (home / "frame_list.json").write_text(json.dumps(["zebra (1).jpg", *names[1:]]))
    reader = RoadAnomaly(frames=4)
    reader.check()
    assert "zebra__1_" in reader.ids()


def test_an_archive_that_was_unpacked_without_its_folder_is_read(data: Path) -> None:
    before = RoadAnomaly(frames=4).digest()
    for path in (data / "road_anomaly" / "RoadAnomaly_jpg").iterdir():
        shutil.move(path, data / "road_anomaly" / path.name)
    (data / "road_anomaly" / "RoadAnomaly_jpg").rmdir()
    assert RoadAnomaly(frames=4).digest() == before


def test_the_other_layout_is_recognised(data: Path) -> None:
    assert "holds the layout official" in complaint(RoadAnomaly("original_labels", frames=4))
    shutil.rmtree(data / "road_anomaly")
    writers.write("road_anomaly_original_labels", SCENES, data / "road_anomaly")
    assert "say layout: original_labels in the suite if that is meant" in complaint(RoadAnomaly(frames=4))
    RoadAnomaly("original_labels", frames=4).check()


def test_a_repacked_copy_has_a_name_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    sets = ", ".join(get_args(validation_dataset.Set))
    path.write_text(
        "protocols: [anomaly]\nmodels: [toynet]\nmethods: [msp]\n"
        f"datasets:\n  - validation_dataset: {{sweep: {{set: [{sets}]}}}}\n  - road_anomaly\n"
    )
    labels = [cell.dataset.label for cell in expansion.load(path).cells]
    assert labels == [f"validation_dataset[set={name}]" for name in get_args(validation_dataset.Set)] + ["road_anomaly"]


def test_a_repacked_copy_points_to_the_official_set(data: Path) -> None:
    shutil.rmtree(data / "validation_dataset" / "fs_static")
    message = complaint(ValidationDataset("fs_static"))
    assert message.startswith(f"{data / 'validation_dataset' / 'fs_static' / 'images'} does not exist")
    assert message.endswith("and checksum; the official set is fishyscapes: {set: static, version: 3}")


def test_indices_of_palette_masks_are_their_values_in_the_repacked_copy_alone(data: Path) -> None:
    reader = ValidationDataset("FS_LostFound_full", frames=4)
    wanted = reader.load(1).anomaly
    path = reader.scan()[1].mask
    assert path is not None
    coloured = Image.fromarray(np.array(Image.open(path)), "P")
    coloured.putpalette([0, 0, 0, 255, 0, 0] + [9, 9, 9] * 254)
    coloured.save(path)
    np.testing.assert_array_equal(ValidationDataset("FS_LostFound_full", frames=4).load(1).anomaly, wanted)


def test_images_of_the_repacked_copy_may_have_any_of_the_endings_in_use(data: Path) -> None:
    images = data / "validation_dataset" / "RoadAnomaly21" / "images"
    picture = Image.open(images / "2.png").convert("RGB")
    (images / "2.png").unlink()
    picture.save(images / "2.webp", lossless=True)
    reader = ValidationDataset("RoadAnomaly21", frames=4)
    reader.check()
    np.testing.assert_array_equal(reader.load(2).image(), SCENES.load(2).image())
    picture.save(images / "2.jpg")
    assert "are both the frame 2; keep one of them" in complaint(reader)
