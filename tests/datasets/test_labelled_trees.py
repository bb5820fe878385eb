"""Sets with classes and anomalies in one label file: what each stored value becomes, and what a copy may differ in."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.api import CITYSCAPES, IGNORE
from bench.core import files
from bench.core.errors import BadSuite, MissingData
from bench.data.layouts import trees, writers
from bench.datasets import bdd_anomaly, idd, muad, street_hazards, wilddash2
from bench.datasets.acdc import Acdc, DarkZurich
from bench.datasets.bdd_anomaly import BddAnomaly
from bench.datasets.idd import Idd
from bench.datasets.muad import MiniMuad, Muad
from bench.datasets.nighttime_driving import NighttimeDriving
from bench.datasets.street_hazards import StreetHazards
from bench.datasets.toytown.scenes import Toytown
from bench.datasets.wilddash2 import WildDash2
from bench.suite import registry

SCENES = Toytown(split="anomaly", images=4, height=48, width=96)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    out = tmp_path_factory.mktemp("data")
    for layout in trees.TREES:
        writers.write(layout, SCENES, out / layout)
    return out


@pytest.fixture
def data(written, tmp_path, monkeypatch):
    """The folder of all sets, a copy to be altered."""
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    return Path(shutil.copytree(written, tmp_path / "data"))


def truths(reader):
    reader = replace(reader)
    reader.check()
    return [reader.load(index) for index in range(reader.count)]


def complaint(reader):
    with pytest.raises(MissingData) as caught:
        replace(reader).check()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def stored_anew(folder, pattern, alter):
    """Write every label file that fits anew with other values."""
    paths = sorted(folder.rglob(pattern))
    assert paths
    for path in paths:
        Image.fromarray(alter(np.array(Image.open(path)))).save(path)
    return paths


def named(labels, names):
    """The names of classes, [H, W]; empty where a pixel is ignored."""
    return np.array([*names, *[""] * (256 - len(names))])[labels]


@pytest.mark.parametrize(
    "reader",
    [
        Acdc(frames=4),
        Acdc(split="val_ref", labelled=True, frames=4),
        DarkZurich(frames=4),
        NighttimeDriving(frames=4),
        Idd(classes="cityscapes", frames=4),
        WildDash2(frames=4),
    ],
    ids=lambda reader: f"{reader.name}-{getattr(reader, 'split', '')}",
)
def test_the_classes_of_cityscapes_are_read_as_they_were_drawn(reader, data):
    assert reader.class_names == CITYSCAPES
    for index, sample in enumerate(truths(reader)):
        assert np.array_equal(sample.labels, SCENES.load(index).labels) and sample.anomaly is None


def test_level_3_of_idd_has_26_classes_and_the_names_of_its_labels(data):
    assert len(idd.CLASSES) == 26 and len(idd.IDS) == 40
    assert [idd.IDS[name][0] for name in idd.CLASSES] == [*range(26)]
    as_cityscapes = {name: CITYSCAPES[train] for name, (_, train) in idd.IDS.items() if train != IGNORE}
    assert len(as_cityscapes) == 19 and as_cityscapes.pop("non-drivable fallback") == "terrain"
    assert all(name == other for name, other in as_cityscapes.items())
    for index, sample in enumerate(truths(Idd(frames=4))):
        theirs = named(SCENES.load(index).labels, CITYSCAPES)
        ours = named(sample.labels, idd.CLASSES)
        wanted = np.where(theirs == "terrain", "non-drivable fallback", theirs)
        wanted = np.where(theirs == "train", "vehicle fallback", wanted)
        assert np.array_equal(ours, wanted)


def test_street_hazards_holds_14_for_the_anomaly_and_1_for_a_class(data):
    assert len(street_hazards.CLASSES) == 13
    for index, sample in enumerate(truths(StreetHazards(frames=4))):
        scene = SCENES.load(index)
        assert np.array_equal(sample.anomaly == 1, scene.anomaly == 1) and not (sample.anomaly == IGNORE).any()
        assert np.array_equal(sample.labels == IGNORE, scene.anomaly == 1)
        pedestrians = np.isin(scene.labels, [CITYSCAPES.index("person"), CITYSCAPES.index("rider")])
        assert np.array_equal(named(sample.labels, street_hazards.CLASSES) == "pedestrian", pedestrians)
        assert np.array_equal((sample.labels == 0) | (sample.labels == IGNORE), np.isin(scene.labels, [10, IGNORE]))


def test_a_pixel_of_value_0_has_no_class_and_is_normal(data):
    path = stored_anew(data / "street_hazards", "0.png", lambda stored: stored)[0]
    before = truths(StreetHazards(frames=4))[0]
    stored = np.array(Image.open(path))
    assert stored[0, 0] != 14
    stored[0, 0] = 0
    Image.fromarray(stored).save(data / "street_hazards" / "test" / "annotations" / "test" / "t0" / "0.png")
    after = truths(StreetHazards(frames=4))[0]
    assert after.labels[0, 0] == IGNORE and after.anomaly[0, 0] == 0
    assert np.array_equal(before.labels[1:], after.labels[1:]) and np.array_equal(before.anomaly, after.anomaly)


def test_values_that_were_counted_from_0_are_doubted_and_read_as_the_suite_says(data):
    before = truths(StreetHazards(frames=4))
    stored_anew(data / "street_hazards" / "test" / "annotations", "*.png", lambda stored: stored - 1)
    message = complaint(StreetHazards(frames=4))
    assert "none of these is an anomaly" in message and "14: anomaly" in message
    after = truths(StreetHazards(frames=4, values="train_ids"))
    assert all(np.array_equal(a.labels, b.labels) for a, b in zip(before, after, strict=True))
    assert all(np.array_equal(a.anomaly, b.anomaly) for a, b in zip(before, after, strict=True))


def test_a_split_without_anomalies_refuses_their_value(data):
    home = data / "street_hazards"
    for side in ("images", "annotations"):
        shutil.copytree(home / "test" / side / "test", home / "train" / side / "training")
    message = complaint(StreetHazards(split="train", frames=4))
    assert "holds the value 14" in message and "wanted 0..13 (StreetHazards)" in message
    stored_anew(home / "train" / "annotations", "*.png", lambda stored: np.minimum(stored, 13))
    assert all(sample.anomaly is None for sample in truths(StreetHazards(split="train", frames=4)))


def test_frames_of_one_name_in_two_towns_are_two_frames(data):
    home = data / "street_hazards" / "test"
    for side in ("images", "annotations"):
        shutil.copytree(home / side / "test" / "t0", home / side / "test" / "t9")
    reader = StreetHazards(frames=8)
    reader.check()
    assert list(reader.ids()) == sorted(f"t{town}_{number}" for town in (0, 9) for number in range(4))
    (home / "annotations" / "test" / "t9" / "2.png").unlink()
    assert complaint(reader).startswith(
        f"{home / 'annotations' / 'test' / 't9' / '2.png'} does not exist, but its image"
    )


def test_the_words_anomaly_and_normal_say_what_a_value_is(data):
    before = truths(StreetHazards(frames=4))
    stored_anew(data / "street_hazards" / "test" / "annotations", "*.png", lambda s: np.where(s == 14, np.uint8(99), s))
    assert "holds the value 99" in complaint(StreetHazards(frames=4))
    after = truths(StreetHazards(frames=4, values={"99": "anomaly"}))
    assert all(np.array_equal(a.anomaly, b.anomaly) for a, b in zip(before, after, strict=True))
    assert not any((sample.anomaly == 1).any() for sample in truths(StreetHazards(frames=4, values={"99": "normal"})))
    with pytest.raises(BadSuite, match="values says 'odd', wanted"):
        registry.build("dataset", "street_hazards", {"values": {99: "odd"}}, where="x")


@pytest.mark.parametrize("reader", [Muad(frames=4), MiniMuad(frames=4)], ids=["muad", "mini_muad"])
def test_riders_trains_and_two_wheelers_are_anomalies_of_muad(reader, data):
    assert reader.class_names == (*CITYSCAPES[:12], "car", "truck", "bus")
    unknown = [CITYSCAPES.index(name) for name in ("rider", "train", "motorcycle", "bicycle")]
    for index, sample in enumerate(truths(reader)):
        scene = SCENES.load(index)
        anomaly = (scene.anomaly == 1) | np.isin(scene.labels, unknown)
        assert np.array_equal(sample.anomaly == 1, anomaly)
        theirs = np.where(anomaly, "", named(scene.labels, CITYSCAPES))
        assert np.array_equal(named(sample.labels, reader.class_names), theirs)


def test_unknown_ids_are_ignored_in_the_splits_of_muad_that_do_not_show_them(data):
    shutil.move(data / "muad" / "test_ood", data / "muad" / "val")
    with_anomaly = muad.UNKNOWN[-1]
    masks = sorted((data / "muad" / "val" / "leftLabel").iterdir())
    assert any((np.array(Image.open(path)) == with_anomaly).any() for path in masks)
    for index, sample in enumerate(truths(Muad("val", frames=4))):
        stored = np.array(Image.open(masks[index]))
        assert sample.anomaly is None
        assert np.array_equal(sample.labels == IGNORE, np.isin(stored, [*muad.UNKNOWN, IGNORE]))


@pytest.mark.parametrize("tails", [("", ""), ("_rgb", "_label"), ("_leftImg8bit", "_leftImg8bit")])
def test_names_of_muad_are_read_however_copies_end_them(tails, data):
    before = truths(Muad(frames=4))
    for folder, tail in zip(("leftImg8bit", "leftLabel"), tails, strict=True):
        for path in (data / "muad" / "test_ood" / folder).iterdir():
            path.rename(path.with_name(f"{path.stem.partition('_')[0]}{tail}.png"))
    after = truths(Muad(frames=4))
    assert [sample.id for sample in after] == [sample.id for sample in before]
    assert all(np.array_equal(a.labels, b.labels) for a, b in zip(before, after, strict=True))


def test_bdd_anomaly_takes_the_frames_that_show_an_unknown_class(data):
    every = sorted((data / "bdd_anomaly").rglob("*.png"), key=lambda path: path.name)
    held = {path.stem: set(np.unique(Image.open(path)).tolist()) for path in every}
    assert {path.parent.name for path in every} == {"train", "val"}
    shown = [name for name, values in held.items() if values & {16, 17, 18}]
    test = BddAnomaly(frames=2)
    test.check()
    assert list(test.ids()) == shown
    rest = [*BddAnomaly("train", frames=1).ids(), *BddAnomaly("val", frames=1).ids()]
    assert sorted([*rest, *shown]) == sorted(held)
    sample = test.load(0)
    stored = np.array(Image.open(next(path for path in every if path.stem == sample.id)))
    assert np.array_equal(sample.anomaly == 1, stored == 17) and not (sample.anomaly == IGNORE).any()
    assert np.array_equal(sample.labels == IGNORE, np.isin(stored, [17, 255]))
    assert len(test.class_names) == 16 and "motorcycle" not in test.class_names
    assert np.array_equal(named(sample.labels, test.class_names) == "car", stored == CITYSCAPES.index("car"))
    void = BddAnomaly(frames=2, values={"255": "ignore"}).load(0)
    assert np.array_equal(void.anomaly == IGNORE, stored == 255)


def test_the_first_choice_of_the_paper_leaves_bicycles_normal(data):
    stored_anew(data / "bdd_anomaly", "*.png", lambda stored: np.where(stored == 17, np.uint8(18), stored))
    BddAnomaly(frames=2).check()
    assert "holds 0 frames, wanted 361" in complaint(BddAnomaly("test", "motorcycle_train"))
    bicycles = [sample.labels == 16 for sample in truths(BddAnomaly("val", "motorcycle_train", frames=2))]
    assert BddAnomaly("val", "motorcycle_train").class_names[16] == "bicycle" and any(map(np.any, bicycles))
    counts = {
        (rule, split): BddAnomaly(split, rule).count
        for rule in bdd_anomaly.UNKNOWN
        for split in ("train", "val", "test")
    }
    assert [sum(counts[rule, split] for split in ("train", "val", "test")) for rule in bdd_anomaly.UNKNOWN] == [
        8000
    ] * 2


def test_labels_of_bdd_are_read_once_and_again_where_one_was_written_anew(data, monkeypatch):
    BddAnomaly(frames=2).check()
    read = []
    inner = bdd_anomaly.frames.read_mask
    monkeypatch.setattr(
        bdd_anomaly.frames, "read_mask", lambda path, *rest, **more: read.append(path) or inner(path, *rest, **more)
    )
    first = BddAnomaly(frames=2).ids()
    assert read == []
    (path,) = [path for path in (data / "bdd_anomaly").rglob("*.png") if path.stem == first[0]]
    Image.fromarray(np.zeros_like(np.array(Image.open(path)))).save(path)
    os.utime(path, ns=(1, 1))
    assert BddAnomaly(frames=1).ids() == first[1:] and len(read) == 4


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"00000000-00000000": 3}'])
def test_a_kept_list_that_is_none_says_what_to_do(content, data):
    BddAnomaly(frames=2).check()
    (kept,) = (files.home() / "bdd_anomaly").glob("*.json")
    kept.write_text(content)
    message = complaint(BddAnomaly(frames=2))
    assert message.startswith(f"{kept} cannot be read: ") and message.endswith("; delete it, it is made again")


def test_one_condition_of_acdc_is_a_fourth_and_a_tag_of_all(data):
    reader = Acdc(frames=4)
    assert {sample.tags["condition"] for sample in truths(reader)} == {"fog", "night", "rain", "snow"}
    assert [sample.tags for sample in truths(Acdc(condition="rain", frames=1))] == [{"condition": "rain"}]
    assert {sample.group for sample in truths(reader)} == {"GOPR0000"}
    counts = [Acdc(condition=condition).count for condition in (None, "fog", "night")]
    assert counts == [406, 100, 106] and Acdc(split="train_ref").count == 1600 and Acdc(split="test").count == 2000


def test_hidden_labels_and_references_give_images_alone(data):
    for split in ("val_ref", "test"):
        if split == "test":
            for condition in ("fog", "night", "rain", "snow"):
                shutil.move(
                    data / "acdc" / "rgb_anon" / condition / "val", data / "acdc" / "rgb_anon" / condition / split
                )
        reader = Acdc(split=split, frames=4)
        assert reader.hidden and reader.annotations == frozenset()
        samples = truths(reader)
        assert all(sample.labels is None and sample.size == (48, 96) for sample in samples)
        assert np.array_equal(samples[0].image(), SCENES.load(0).image())
    with pytest.raises(BadSuite, match="labelled is said of references alone"):
        registry.build("dataset", "acdc", {"labelled": True}, where="x")


@pytest.mark.parametrize("reader", [Acdc(frames=4), DarkZurich(frames=4)], ids=["acdc", "dark_zurich"])
def test_invalid_pixels_are_ignored_where_the_suite_says_so(reader, data):
    plain, less = truths(reader), truths(replace(reader, ignore_invalid=True))
    for before, after in zip(plain, less, strict=True):
        assert (after.labels[36:, :24] == IGNORE).all() and not (before.labels[36:, :24] == IGNORE).all()
        assert np.array_equal(before.labels[:36], after.labels[:36])
    assert reader.digest() != replace(reader, ignore_invalid=True).digest()
    path = replace(reader, ignore_invalid=True).scan()[1].overlay
    stored_anew(path.parent, path.name, lambda stored: stored * 9)
    assert f"{path} holds the value 9" in complaint(replace(reader, ignore_invalid=True))
    path.unlink()
    assert f"{path} does not exist" in complaint(replace(reader, ignore_invalid=True))
    reader.check()


def test_label_ids_are_read_where_there_are_no_train_ids(data):
    before = truths(DarkZurich(frames=4))
    table = np.array([*idd.label_values.LABEL_IDS, *[0] * 237], np.uint8)
    for path in stored_anew(data / "dark_zurich", "*_labelTrainIds.png", lambda stored: table[stored]):
        path.rename(path.with_name(path.name.replace("TrainIds", "Ids")))
    assert all(np.array_equal(a.labels, b.labels) for a, b in zip(before, truths(DarkZurich(frames=4)), strict=True))


def polygons(folder, objects):
    content = {"imgHeight": 48, "imgWidth": 96, "objects": objects}
    for path in sorted(folder.rglob("*_labellevel3Ids.png")):
        path.with_name(path.name.replace("labellevel3Ids.png", "polygons.json")).write_text(json.dumps(content))
    for path in folder.rglob("*.png"):
        path.unlink()


def test_polygons_of_idd_are_drawn_where_nobody_made_label_files(data):
    box = [[0, 0], [95, 0], [95, 23], [0, 23]]
    lower = [[0, 24], [95, 24], [95, 47], [0, 47]]
    objects = [{"label": "sky", "polygon": box}, {"label": "autorickshawgroup", "polygon": lower}]
    polygons(data / "idd" / "gtFine", objects)
    sample = truths(Idd(frames=4))[0]
    assert set(named(sample.labels, idd.CLASSES)[:24].ravel()) == {"sky"}
    assert set(named(sample.labels, idd.CLASSES)[24:].ravel()) == {"autorickshaw"}
    as_cityscapes = truths(Idd(classes="cityscapes", frames=4))[0]
    assert (as_cityscapes.labels[:24] == 10).all() and (as_cityscapes.labels[24:] == IGNORE).all()
    polygons(data / "idd" / "gtFine", [])
    path = Idd(frames=4).scan()[0].mask
    path.write_text(path.read_text().replace("sky", "ocean"))
    assert complaint(Idd(frames=4)).startswith(f"{path} is no annotation of IDD: IDD has no label 'ocean'; unpack")


def test_what_wilddash_merges_is_one_class_of_cityscapes():
    meaning = WildDash2().label_files[0].encoding.meaning
    assert meaning[35] == CITYSCAPES.index("car") and meaning[34] == CITYSCAPES.index("truck")
    assert meaning[38] == CITYSCAPES.index("road") and meaning[36] == meaning[18] == meaning[0] == IGNORE
    assert meaning.keys() == {*range(81), IGNORE}
    merged = [value for values in wilddash2.MERGED.values() for value in values]
    assert len(merged) == len(set(merged)) and min(merged) > 33


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "panoptic.json is no list of panoptic labels"),
        ("[]", "panoptic.json is no list of panoptic labels"),
        ('{"annotations": [{"file_name": "x.png"}]}', "it lacks 'segments_info'"),
        ('{"annotations": []}', "panoptic.json says nothing of xx0000_100000.png"),
        (
            '{"annotations": [{"file_name": "xx0000_100000.png", "segments_info": []}]}',
            "xx0000_100000.png has the segment ",
        ),
        (
            '{"annotations": [{"file_name": "a.png", "segments_info": [{"id": 1, "category_id": 81}]}]}',
            "panoptic.json is no list of panoptic labels",
        ),
    ],
)
def test_a_list_of_segments_that_is_none_is_named(content, words, data):
    WildDash2(frames=4).check()
    (data / "wilddash2" / "wd_public_v2p0" / "panoptic.json").write_text(content)
    assert words in complaint(WildDash2(frames=4))


def test_label_ids_of_wilddash_are_read_where_there_are_no_segments(data):
    before = truths(WildDash2(frames=4))
    home = data / "wilddash2" / "wd_public_v2p0"
    (home / "panoptic.json").unlink()
    assert "panoptic.json cannot be read: No such file" in complaint(WildDash2(frames=4))
    for path in sorted((home / "panoptic").iterdir()):
        rgb = np.array(Image.open(path)).astype(int)
        (home / "semantic").mkdir(exist_ok=True)
        ids = (rgb @ [1, 256, 65536]) // 1000
        Image.fromarray(ids.astype(np.uint8)).save(home / "semantic" / f"{path.stem}_labelIds.png")
    shutil.rmtree(home / "panoptic")
    assert all(np.array_equal(a.labels, b.labels) for a, b in zip(before, truths(WildDash2(frames=4)), strict=True))
