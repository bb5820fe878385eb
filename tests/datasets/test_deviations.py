"""Every reader of files x every way in which copies differ from the official layout: read alike, or refused by name."""

import os
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from bench.core import listing
from bench.core.errors import MissingData
from bench.data.layouts import writers
from bench.datasets.acdc import Acdc, DarkZurich
from bench.datasets.ade_ood import AdeOod
from bench.datasets.bdd_anomaly import BddAnomaly
from bench.datasets.bravo import Bravo
from bench.datasets.cityscapes import Cityscapes
from bench.datasets.coco import Coco
from bench.datasets.coco_proxy import CocoProxy
from bench.datasets.fishyscapes import Fishyscapes
from bench.datasets.folder import Folder
from bench.datasets.frames import OnDisk
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
from bench.suite import registry

STREETS = Toytown(images=4, height=32, width=64)
ANOMALIES = Toytown(split="anomaly", images=4, height=32, width=64)

# name: (layout that is written, folder below $BENCH_DATA, reader)
READERS = {
    "cityscapes": ("cityscapes", "cityscapes", Cityscapes(frames=4)),
    "lost_and_found": ("lost_and_found", "lost_and_found", LostAndFound(frames=3)),
    "fishyscapes": ("fishyscapes", "fishyscapes", Fishyscapes("lost_and_found", frames=4)),
    "static": ("fishyscapes_static", "fishyscapes", Fishyscapes("static", 3, frames=4)),
    "renamed": ("fishyscapes_renamed", "fishyscapes", Fishyscapes("static", 3, "renamed", frames=4)),
    "original_labels": (
        "fishyscapes_original_labels", "fishyscapes", Fishyscapes("static", None, "original_labels", frames=4),
    ),
    "side_by_side": (
        "fishyscapes_side_by_side", "fishyscapes", Fishyscapes("static", None, "side_by_side", frames=4),
    ),
    "anomaly_track": ("smiyc_anomaly", "smiyc", SegmentMeIfYouCan("RoadAnomaly21", "validation", frames=3)),
    "obstacle_track": ("smiyc_obstacle", "smiyc", SegmentMeIfYouCan("RoadObstacle21", "validation", frames=3)),
    "submission": ("smiyc_anomaly", "smiyc", SegmentMeIfYouCan("RoadAnomaly21", "all", frames=4)),
    "smiyc_renamed": ("smiyc_renamed", "smiyc", SegmentMeIfYouCan("RoadAnomaly21", "validation", "renamed", frames=4)),
    "road_anomaly": ("road_anomaly", "road_anomaly", RoadAnomaly(frames=4)),
    "road_anomaly_copy": ("road_anomaly_original_labels", "road_anomaly", RoadAnomaly("original_labels", frames=4)),
    "validation_dataset": ("validation_dataset", "validation_dataset", ValidationDataset("RoadObsticle21", frames=4)),
    "fishy_laf": (
        "fishyscapes_fishy_laf", "fishyscapes", Fishyscapes("lost_and_found", None, "fishy_laf", frames=4),
    ),
    "road_obstacles": ("road_obstacles", "road_obstacles", RoadObstacles(frames=4)),
    "ade_ood": ("ade_ood", "ade_ood", AdeOod(frames=4)),
    "poc": ("poc", "poc", Poc("cityscapes", frames=4)),
    "poc_acdc": ("poc", "poc", Poc("acdc", frames=4)),
    "issu": ("issu", "issu", Issu("all", frames=4)),
    "synboost": ("synboost", "synboost", SynBoost("fs_lost_and_found", frames=4)),
    "coco": ("coco", "coco", Coco(frames=3, minimum=32)),
    "street_hazards": ("street_hazards", "street_hazards", StreetHazards(frames=4)),
    "bdd_anomaly": ("bdd_anomaly", "bdd_anomaly", BddAnomaly(frames=2)),
    "muad": ("muad", "muad", Muad(frames=4)),
    "mini_muad": ("mini_muad", "mini_muad", MiniMuad(frames=4)),
    "acdc": ("acdc", "acdc", Acdc(ignore_invalid=True, frames=4)),
    "dark_zurich": ("dark_zurich", "dark_zurich", DarkZurich(frames=4)),
    "nighttime_driving": ("nighttime_driving", "nighttime_driving", NighttimeDriving(frames=4)),
    "idd": ("idd", "idd", Idd(frames=4)),
    "wilddash2": ("wilddash2", "wilddash2", WildDash2(frames=4)),
}  # fmt: skip
ELSEWHERE = {  # what is not read in another case, format or nesting
    Folder: "its globs say what is read",
    CocoProxy: "this program writes it",
    Oodis: "its files are looked for at any depth: tests/submit/test_oodis.py",
    Bravo: "names of folders and endings are taken as the organisers write them: tests/datasets/test_bravo_subsets.py",
}

EVERY = set(READERS)
MADE_OF_TWO = {"fishyscapes", "static", "fishy_laf", "poc", "poc_acdc"}  # whose images are those of another data set
LISTED = {"coco", "road_anomaly"}  # whose file names stand in a list
BY_CONTENT = {"lost_and_found", "bdd_anomaly"}  # whose frames are chosen by what their labels hold
NO_MASK = {"submission", "coco"}
NO_ENDING = {"coco", "side_by_side"}  # whose endings say which file is which


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    out = tmp_path_factory.mktemp("written")
    for layout in {layout for layout, _, _ in READERS.values()}:
        writers.write(layout, STREETS if layout == "cityscapes" else ANOMALIES, out / layout)
    return out


@pytest.fixture
def place(written, tmp_path, monkeypatch):
    """A function of a reader's name: its folder, with a copy to be damaged, and the reader."""
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))

    def placed(name):
        layout, home, reader = READERS[name]
        return Path(shutil.copytree(written / layout, tmp_path / "data" / home)), replace(reader)

    return placed


def reading(reader):
    """All that figures depend on: ids in their order, groups, tags, sizes, labels, and the pixels of one image."""
    reader.check()
    samples = [reader.load(index) for index in range(len(reader.ids()))]
    truths = [
        None if truth is None else truth.tobytes() for sample in samples for truth in (sample.labels, sample.anomaly)
    ]
    return (
        [(sample.id, sample.group, dict(sample.tags), sample.size) for sample in samples],
        truths,
        samples[-1].image().tobytes(),
    )


def files(root):
    return sorted(path for path in root.rglob("*") if path.is_file())


def folders(root):
    """All folders, the deepest first."""
    return sorted((path for path in root.rglob("*") if path.is_dir()), reverse=True)


def other_case(home, name):
    home.rename(home.with_name(home.name.upper().replace("_", "-")))


def folders_in_another_case(home, name):
    for folder in folders(home):
        folder.rename(folder.with_name(folder.name.upper()))


def nested_once(home, name):
    nest(home, "Unpacked")


def nested_twice(home, name):
    nest(home, "Downloads", "trainvaltest")


def nest(home, *names):
    inner = home.parent.joinpath("aside")
    home.rename(inner)
    target = home.joinpath(*names)
    target.parent.mkdir(parents=True)
    inner.rename(target)


def endings_in_capitals(home, name):
    for path in files(home):
        if path.suffix in listing.IMAGES:
            path.rename(path.with_suffix(path.suffix.upper()))


def linked_folders(home, name):
    """Each folder that holds files is a link."""
    aside = home.parent / "aside"
    aside.mkdir()
    for number, folder in enumerate({path.parent for path in files(home)} - {home}):
        if not any(child.is_dir() for child in folder.iterdir()):
            folder.rename(aside / f"{number}")
            folder.symlink_to(aside / f"{number}", target_is_directory=True)


def a_link_to_itself(home, name):
    for folder in {path.parent for path in files(home)}:
        (folder / "again").symlink_to(home, target_is_directory=True)


def litter_of_a_mac(home, name):
    for path in files(home):
        (path.parent / f"._{path.name}").write_bytes(b"\0\5\x16\7")
    (home / "__MACOSX").mkdir()


def in_one_archive(home, name):
    with zipfile.ZipFile(home.parent / "packed.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in files(home):
            archive.write(path, path.relative_to(home))
    shutil.rmtree(home)
    home.mkdir()
    (home.parent / "packed.zip").rename(home / "packed.zip")


def right_in_the_data(home, name):
    for path in home.iterdir():
        path.rename(home.parent / path.name)
    home.rmdir()


def masks_in_another_lossless_format(home, name):
    for path in masks(home, name):
        with Image.open(path) as image:
            image.save(path.with_suffix(".bmp"))
        path.unlink()


def images_in_another_format(home, name):
    for path in images(home, name):
        with Image.open(path) as image:
            image.save(path.with_suffix(".tiff"))
        path.unlink()


def rename_masks(home, name, rename):
    for path in masks(home, name):
        path.rename(rename(path))


def masks_named_as_smiyc_names_them(home, name):
    rename_masks(home, name, lambda path: path.with_name(f"{path.stem}_labels_semantic.png"))
    for path in masks(home, name):  # the archives have pictures of the masks beside them
        shutil.copy(path, path.with_name(f"{path.stem}_color.png"))


def masks_right_beside_the_images(home, name):
    rename_masks(home, name, lambda path: path.parent.with_name(f"{path.parent.name}.png"))


def no_city_folders(home, name):
    for path in files(home):
        path.rename(path.parent.parent / path.name)


def archives_of_their_own(home, name):
    """One for the images and one for the labels, with a folder around, beside the folder of the data set."""
    for inner in list(home.iterdir()):
        with zipfile.ZipFile(home.parent / f"{inner.name}_trainvaltest.ZIP", "w") as archive:
            for path in files(inner):
                archive.write(path, Path("trainvaltest") / path.relative_to(home))
    shutil.rmtree(home)


def images_packed_and_labels_not(home, name):
    with zipfile.ZipFile(home / "leftImg8bit_trainvaltest.zip", "w") as archive:
        for path in files(home / "leftImg8bit"):
            archive.write(path, path.relative_to(home))
    shutil.rmtree(home / "leftImg8bit")


def a_broken_archive_beside_it(home, name):
    (home / "other.zip").write_bytes(b"PK")


def the_publishers_name(home, name):
    names = {"smiyc": "SegmentMeIfYouCan", "road_anomaly": "RoadAnomaly", "lost_and_found": "dataset_LostAndFound"}
    home.rename(home.with_name(names[home.name]))


def another_name_for_the_folder_of_masks(home, name):
    (home / "RoadObsticle21" / "labels_masks").rename(home / "RoadObsticle21" / "masks")


def the_right_spelling(home, name):
    (home / "RoadObsticle21").rename(home / "RoadObstacle21")


def masks(home, name):
    return [frame.mask for frame in replace(READERS[name][2]).scan() if frame.mask]


def images(home, name):
    return [frame.image for frame in replace(READERS[name][2]).scan()]


READ_ALIKE = {
    other_case: EVERY,
    folders_in_another_case: EVERY,
    nested_once: EVERY,
    nested_twice: EVERY - MADE_OF_TWO,
    endings_in_capitals: EVERY,
    linked_folders: EVERY,
    a_link_to_itself: EVERY,
    litter_of_a_mac: EVERY,
    in_one_archive: EVERY - {"coco"},
    right_in_the_data: EVERY,
    masks_in_another_lossless_format: EVERY - NO_MASK - NO_ENDING,
    images_in_another_format: EVERY - NO_ENDING,
    a_broken_archive_beside_it: EVERY,
    masks_named_as_smiyc_names_them: {"validation_dataset"},
    masks_right_beside_the_images: {"road_anomaly"},
    no_city_folders: {"cityscapes", "lost_and_found"},
    archives_of_their_own: {"cityscapes", "lost_and_found", "anomaly_track"},
    images_packed_and_labels_not: {"cityscapes", "lost_and_found"},
    the_publishers_name: {"anomaly_track", "obstacle_track", "road_anomaly", "lost_and_found"},
    the_right_spelling: {"validation_dataset"},
    another_name_for_the_folder_of_masks: {"validation_dataset"},
}


def test_every_reader_of_files_is_here():
    readers = {cls for cls in map(registry_class, registry.available("dataset")) if issubclass(cls, OnDisk)}
    assert readers - set(ELSEWHERE) == {type(reader) for _, _, reader in READERS.values()}


def registry_class(name):
    return registry.plugin("dataset", name, where="here")


@pytest.mark.parametrize(
    ("deviation", "name"),
    [
        pytest.param(act, name, id=f"{act.__name__}-{name}")
        for act, names in READ_ALIKE.items()
        for name in sorted(names)
    ],
)
def test_what_differs_in_no_value_is_read_as_the_official_layout(deviation, name, place):
    home, reader = place(name)
    official = reading(reader)
    deviation(home, name)
    assert reading(replace(reader)) == official


def test_labels_that_do_not_say_what_they_hold_are_read_as_the_suite_says(place):
    home, reader = place("cityscapes")
    official = reading(reader)
    for path in files(home):  # as BDD-Anomaly lies in these folders
        if path.stem.endswith("_labelIds"):
            path.unlink()
        else:
            path.rename(path.with_name(path.name.replace("_leftImg8bit", "").replace("_gtFine_labelTrainIds", "")))
    assert "does not say in its name which labels it holds; say labels: labelTrainIds" in complaint(reader)
    assert reading(replace(reader, labels="labelTrainIds")) == official


def complaint(reader):
    with pytest.raises(MissingData) as caught:
        replace(reader).check()
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 900
    return message


@pytest.mark.parametrize("name", sorted(EVERY - NO_ENDING))
def test_two_files_of_one_frame_are_refused_and_both_are_named(name, place):
    home, reader = place(name)
    image = images(home, name)[0]
    twin = image.with_name(image.stem + image.suffix.upper())
    shutil.copy(image, twin)
    message = complaint(reader)
    assert str(image) in message
    assert str(twin) in message
    twin.unlink()
    replace(reader).check()


@pytest.mark.parametrize("name", sorted(EVERY))
def test_two_folders_that_could_be_meant_are_refused_and_both_are_named(name, place):
    home, reader = place(name)
    first, second = (home.with_name(spelling) for spelling in (home.name.upper(), home.name.title()))
    shutil.copytree(home, first)
    shutil.copytree(home, second)
    replace(reader).check()  # the official name needs no choice
    shutil.rmtree(home)
    message = complaint(reader)
    assert str(first) in message
    assert str(second) in message


@pytest.mark.parametrize("name", sorted(EVERY))
def test_what_lies_in_the_place_of_an_absent_set_is_named(name, place):
    home, reader = place(name)
    home.rename(home.with_name(f"my_{home.name}.d"))
    message = complaint(reader)
    assert f"{home.parent} holds my_{home.name}.d/" in message
    assert message.startswith(f"{home} does not exist; wanted ")


def test_what_lies_in_the_place_of_an_absent_folder_of_ones_own_is_named(place):
    home, _ = place("original_labels")
    mine = Folder("fishyscapes/Static/original/*", "fishyscapes/Static/labels/*", anomaly=(1,), usual=(0,))
    mine.check()
    assert f"; {home / 'Static'} holds original/, labels/" in complaint(
        replace(mine, images="fishyscapes/Static/orig/*")
    )
    assert f"; {home.parent} holds fishyscapes/: set" in complaint(replace(mine, images="fishscapes/Static/original/*"))


@pytest.mark.parametrize("name", sorted(EVERY))
def test_an_absent_image_is_named_as_the_others_are(name, place):
    _, reader = place(name)
    frame = replace(reader).scan()[0]
    frame.image.unlink()
    message = complaint(reader)
    if name == "submission":  # whose images stand in no list
        assert "holds 3 frames, wanted 4" in message
    else:
        assert f"{frame.image.name} does not exist" in message


@pytest.mark.parametrize("name", sorted(EVERY - NO_MASK - MADE_OF_TWO - BY_CONTENT))
@pytest.mark.parametrize("side", ["image", "mask"])
def test_frames_says_how_many_whole_ones_there_are(name, side, place):
    _, reader = place(name)
    if name == "cityscapes":  # which has two kinds of labels
        reader = replace(reader, labels="labelTrainIds")
    getattr(replace(reader).scan()[0], side).unlink()
    fewer = replace(reader, frames=reader.count - 1)
    assert f"frames: {fewer.count}" in complaint(reader)
    fewer.check()
    assert len(fewer.ids()) == fewer.count


@pytest.mark.parametrize("name", sorted(EVERY - NO_MASK - {"side_by_side"}))
def test_a_mask_in_a_lossy_format_is_refused_for_that(name, place):
    home, reader = place(name)
    if name == "cityscapes":
        reader = replace(reader, labels="labelTrainIds")
    mask = masks(home, name)[0]
    with Image.open(mask) as image:
        image.convert("L").save(mask.with_suffix(".jpg"))
    mask.unlink()
    message = complaint(reader)
    assert "JPEG changes values" in message, message


@pytest.mark.parametrize("name", sorted(EVERY))
def test_a_folder_that_may_not_be_read_is_named(name, place, monkeypatch):
    home, reader = place(name)
    closed = images(home, name)[0].parent
    scandir = os.scandir

    def refuse(path):
        if Path(path) == closed:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert complaint(reader).startswith(f"{closed} cannot be listed: Permission denied")


@pytest.mark.parametrize("name", sorted(EVERY - {"coco"}))
@pytest.mark.parametrize("content", [b"", b"PK no archive", b"<html>"])
def test_an_archive_that_is_none_is_named(name, content, place):
    home, reader = place(name)
    shutil.rmtree(home)
    home.mkdir()
    for stem in ("leftImg8bit", "anything"):
        (home / f"{stem}.zip").write_bytes(content)
    assert ".zip: has no end of a .zip" in complaint(reader)


def test_an_archive_that_breaks_a_rule_is_refused_as_a_whole(place, tmp_path):
    home, reader = place("cityscapes")
    in_one_archive(home, "cityscapes")
    with zipfile.ZipFile(home / "packed.zip", "a") as archive:
        archive.writestr("../../outside.png", b"x")
    assert "the name leads out of the archive" in complaint(reader)
    assert not (tmp_path / "outside.png").exists()


def test_a_member_whose_bytes_were_changed_is_refused(place):
    home, reader = place("cityscapes")
    with zipfile.ZipFile(home.parent / "packed.zip", "w", zipfile.ZIP_STORED) as archive:
        for path in files(home):
            archive.write(path, path.relative_to(home))
        member = archive.getinfo(str(images(home, "cityscapes")[1].relative_to(home)))
    shutil.rmtree(home)
    home.mkdir()
    packed = bytearray((home.parent / "packed.zip").read_bytes())
    packed[member.header_offset + 300] ^= 255
    (home / "packed.zip").write_bytes(packed)
    assert "cannot be unpacked" in complaint(reader)


def test_a_file_in_the_place_of_a_folder_is_named(place):
    for name in ("cityscapes", "road_anomaly"):
        home, reader = place(name)
        shutil.rmtree(home)
        home.write_text("x")
        assert complaint(reader).startswith(f"{home} is a file, wanted a folder with ")


def test_data_yaml_may_name_either_folder(place, tmp_path, home):
    folder, reader = place("anomaly_track")
    official = reading(reader)
    elsewhere = tmp_path / "elsewhere"
    folder.rename(elsewhere)
    home.mkdir(exist_ok=True)
    for line in (f"smiyc: {elsewhere}", f"dataset_AnomalyTrack: {elsewhere / 'dataset_AnomalyTrack'}"):
        (home / "data.yaml").write_text(line)
        assert reading(replace(reader)) == official


def test_a_large_folder_is_listed_once_and_no_file_is_asked_for(place, monkeypatch):
    _, reader = place("cityscapes")
    listed, asked = [], []
    scandir, stat = os.scandir, os.stat
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(Path(path)) or scandir(path))
    monkeypatch.setattr(os, "stat", lambda path, **options: asked.append(path) or stat(path, **options))
    assert len(reader.scan()) == 4
    assert len(listed) == len(set(listed))
    assert not [path for path in map(str, asked) if path.endswith(".png")]
